//! Webhooks as those who subscribe meet them: the API of subscriptions, deliveries and the log of events.
//!
//! Goal: what is wrong with a subscription is told all at once; secrets are seen by who may change them alone; nobody meets an event that their key may not see;
//! and who follows the log by cursor meets every event once, after an absence too.
//! Method: the real binary and a sandbox; a receiver of the test's own takes one request. Answers that refuse are snapshots.

use crate::support;

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use support::{Caller, PATIENCE, Stage, leads, text, with};

/// Where webhooks go that nothing is to be sent to: nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9/hook";

/// The answer to a request that is to succeed.
fn done(caller: &Caller, method: &str, path: &str, body: &Value) -> Value {
    let answer = caller.send(method, path, body);
    let told = answer.json();
    assert_eq!(answer.status, 200, "{method} {path}: {told}");
    told
}

fn made(caller: &Caller, more: Value) -> Value {
    let least = json!({ "url": NOWHERE, "triggers": ["WRITE_OPERATION_SUCCESS"] });
    done(caller, "POST", "/v1/webhooks/", &with(&least, more))["result"].take()
}

/// A caller with a key of its own.
fn with_key(admin: &Caller, body: &Value) -> Caller {
    let body = with(&json!({ "name": "one", "system": "SANDBOX" }), body.clone());
    let told = done(admin, "POST", "/v1/admin/keys", &body);
    admin.with_token(&text(&told["token"]))
}

fn ids(page: &Value) -> Vec<String> {
    let results = page["results"].as_array().expect("results");
    results.iter().map(|one| text(&one["id"])).collect()
}

#[test]
fn what_is_wrong_with_a_webhook_is_told_all_at_once() {
    let stage = Stage::set();
    let admin = stage.caller();
    let own = text(&made(&admin, json!({}))["id"]);
    let create = "/v1/webhooks".to_owned();
    let change = format!("/v1/webhooks/{own}");
    let replay = format!("{change}/replay");
    let cases = [
        (
            "everything",
            "POST",
            create.clone(),
            json!({
                "url": "http://169.254.169.254/latest/meta-data", "triggers": ["DATA_GONE", "JOB_FAILURE"], "active": "yes", "secret": "short", "model": "crm_units", "zork": 1,
                "headers": [{ "header": "Content-Type", "value": "text/plain" }, { "header": "x-one", "value": "1" }, { "header": "X-One", "value": "2" }],
            }),
        ),
        (
            "headers that cannot be sent",
            "POST",
            create.clone(),
            json!({
                "url": "", "triggers": [],
                "headers": [{ "header": "x y", "value": "a\r\nb" }, { "header": "", "value": "" }, { "value": "v" }, 7],
            }),
        ),
        ("nothing", "POST", create.clone(), json!({})),
        (
            "a model for triggers that have none",
            "POST",
            create.clone(),
            json!({ "url": "https://user:secret@example.com/", "triggers": ["SYNC_COMPLETE"], "model": "crm_prospects" }),
        ),
        (
            "a private address",
            "POST",
            create.clone(),
            json!({ "url": "https://10.0.0.7/hook", "triggers": ["JOB_FAILURE"] }),
        ),
        (
            "a change",
            "PUT",
            change.clone(),
            json!({ "url": "ftp://example.com", "triggers": [], "secret": "with a blank", "headers": [{ "header": "webhook-id", "value": "1" }] }),
        ),
        (
            "a model for the triggers that there are",
            "PUT",
            change.clone(),
            json!({ "model": "crm_prospects" }),
        ),
        (
            "a rotation",
            "POST",
            format!("{change}/rotate-secret?overlap_s=2592001&secret=mine"),
            Value::Null,
        ),
        ("a replay of nothing", "POST", replay.clone(), json!({})),
        (
            "a replay of two things",
            "POST",
            replay.clone(),
            json!({ "failed": true, "since": "2026-11-24T00:00:00Z" }),
        ),
        (
            "a replay of what has not failed",
            "POST",
            replay.clone(),
            json!({ "failed": false }),
        ),
        (
            "a replay since no time",
            "POST",
            replay,
            json!({ "since": "yesterday", "all": true }),
        ),
    ];
    let mut shown = Map::new();
    for (name, method, path, body) in cases {
        let answer = admin.send(method, &path, &body);
        assert_eq!(answer.status, 400, "{name}: {}", answer.body);
        shown.insert(name.to_owned(), answer.json()["error"].clone());
    }
    let own = format!("/v1/webhooks/{own}");
    for (name, path) in [
        ("a list", "/v1/webhooks?active=maybe&limit=251".to_owned()),
        (
            "deliveries",
            format!("{own}/deliveries?status=LOST&cursor=x&offset=1"),
        ),
        (
            "deliveries behind an event that is not there",
            format!("{own}/deliveries?cursor=evt_00000000000000000000000000"),
        ),
        (
            "the log of events",
            "/v1/admin/events?order-by=trigger&trigger=DATA&model=crm_units&created_at_gte=now&cursor=1&limit=x".to_owned(),
        ),
        (
            "the log behind an event that is not there",
            "/v1/admin/events?cursor=evt_00000000000000000000000000".to_owned(),
        ),
    ] {
        let answer = admin.call("GET", &path, &[], "").expect("an answer");
        assert_eq!(answer.status, 400, "{name}: {}", answer.body);
        shown.insert(name.to_owned(), answer.json()["error"].clone());
    }
    assert_eq!(
        admin.get("/v1/webhooks?active=any")["meta"]["total"],
        1,
        "none was made"
    );
    insta::assert_json_snapshot!("refused_webhooks", Value::Object(shown));
}

#[test]
fn a_webhook_is_made_shown_changed_rotated_and_removed() {
    let stage = Stage::set();
    let admin = stage.caller();
    let one = made(
        &admin,
        json!({
            "headers": [{ "header": "Authorization", "value": "Bearer of-the-receivers-own" }],
            "triggers": ["DATA_NEW", "JOB_FAILURE", "DATA_NEW"], "model": "crm_prospects",
        }),
    );
    assert!(text(&one["secret"]).starts_with("whsec_"), "{one}");
    assert_eq!(
        (&one["active"], &one["url"], &one["system"]),
        (&json!(false), &json!(NOWHERE), &json!("SANDBOX"))
    );
    let triggers = |webhook: &Value| -> Vec<(String, Value)> {
        let all = webhook["triggers"].as_array().expect("triggers");
        all.iter()
            .map(|one| (text(&one["trigger"]), one["model"].clone()))
            .collect()
    };
    assert_eq!(
        triggers(&one),
        [
            ("DATA_NEW".to_owned(), json!("crm_prospects")),
            ("JOB_FAILURE".to_owned(), Value::Null)
        ]
    );
    let other = made(
        &admin,
        json!({ "secret": "chosen-by-the-caller", "active": true }),
    );
    assert_eq!(other["secret"], "chosen-by-the-caller");
    assert_ne!(made(&admin, json!({}))["secret"], one["secret"]);

    let path = format!("/v1/webhooks/{}", text(&one["id"]));
    assert_eq!(admin.get(&path)["result"], one, "read as it was answered");
    assert_eq!(admin.get(&format!("{path}/"))["result"], one);
    let list = |query: &str| ids(&admin.get(&format!("/v1/webhooks/{query}")));
    assert_eq!(list("?active=true"), [text(&other["id"])]);
    assert_eq!(list(""), [text(&other["id"])], "as the contract has it");
    assert_eq!(list("?active=false").len(), 2);
    let newest_first = list("?active=any");
    assert_eq!(newest_first.len(), 3);
    let mut oldest_first = list("?active=any&order-by=created_at:asc");
    assert_eq!(oldest_first.first(), Some(&text(&one["id"])));
    oldest_first.reverse();
    assert_eq!(oldest_first, newest_first);
    assert_eq!(list("?active=any&limit=1&offset=1"), [text(&other["id"])]);
    let found = admin.get(&path);
    assert_eq!(found["results"], found["result"]);
    assert_eq!(found["meta"]["total"], 1);

    // Who may only read sees no secret; who may only administer cannot read.
    let reader = with_key(&admin, &json!({ "permissions": ["webhooks:read"] }));
    let hidden = reader.get(&path)["result"].clone();
    assert_eq!(hidden["secret"], Value::Null);
    assert_eq!(
        hidden["headers"][0],
        json!({ "header": "Authorization", "value": null })
    );
    let listed = reader.get("/v1/webhooks?active=any").to_string();
    for secret in [
        &one["secret"],
        &other["secret"],
        &one["headers"][0]["value"],
    ] {
        assert!(!listed.contains(&text(secret)), "{listed}");
    }
    let administrator = with_key(&admin, &json!({ "permissions": ["webhooks:admin"] }));
    assert_eq!(
        administrator
            .call("GET", &path, &[], "")
            .expect("an answer")
            .status,
        403
    );

    // What is absent, or null, stays.
    let put = |body: Value| done(&admin, "PUT", &path, &body)["result"].clone();
    let changed = put(json!({ "active": true, "headers": null }));
    assert_eq!(
        changed,
        with(
            &one,
            json!({ "active": true, "updated_at": changed["updated_at"] })
        )
    );
    let changed = put(json!({ "url": "http://127.0.0.1:9/other", "triggers": ["DATA_UPDATE"] }));
    assert_eq!(
        triggers(&changed),
        [("DATA_UPDATE".to_owned(), Value::Null)]
    );
    let changed = put(json!({ "model": "crm_agents", "active": false, "headers": [] }));
    assert_eq!(
        triggers(&changed),
        [("DATA_UPDATE".to_owned(), json!("crm_agents"))]
    );
    assert_eq!(
        (&changed["secret"], &changed["headers"]),
        (&one["secret"], &json!([]))
    );

    let rotated = |query: &str| {
        let path = format!("{path}/rotate-secret{query}");
        done(&admin, "POST", &path, &Value::Null)["result"].clone()
    };
    let first = rotated("?overlap_s=60");
    assert_ne!(first["secret"], one["secret"]);
    let overlap_ms = support::instant(&first["previous_secret_expires_at"])
        .millis_since(support::instant(&first["updated_at"]));
    assert!((59_000..=60_000).contains(&overlap_ms), "{first}");
    let second = rotated("?overlap_s=0");
    assert_ne!(second["secret"], first["secret"]);
    assert_eq!(second["previous_secret_expires_at"], Value::Null, "at once");
    let given = put(json!({ "secret": "another-of-the-callers" }));
    assert_eq!(given["secret"], "another-of-the-callers");
    assert!(given["previous_secret_expires_at"].is_string(), "{given}");

    let gone = done(&admin, "DELETE", &path, &Value::Null)["result"].clone();
    assert_eq!(gone, given, "as it was");
    for method in ["GET", "DELETE"] {
        let answer = admin.call(method, &path, &[], "").expect("an answer");
        assert_eq!(answer.status, 404, "{method}");
    }

    let log = admin.get("/v1/admin/audit-log").to_string();
    for action in [
        "webhook_create",
        "webhook_update",
        "webhook_secret_rotate",
        "webhook_delete",
    ] {
        assert!(log.contains(action), "{action}");
    }
    for secret in [
        &one["secret"],
        &first["secret"],
        &given["secret"],
        &one["headers"][0]["value"],
    ] {
        assert!(!log.contains(&text(secret)), "no secret in the audit log");
    }
}

#[test]
fn a_limited_key_sees_the_webhooks_that_get_no_more_than_it_does() {
    let stage = Stage::set();
    let admin = stage.caller();
    let all = text(&made(&admin, json!({}))["id"]);
    let limited = with_key(
        &admin,
        &json!({
            "permissions": ["webhooks:read", "webhooks:write", "webhooks:admin"], "integration_ids": [stage.server.ready["integration_id"]],
        }),
    );
    let own = made(&limited, json!({}));
    assert_eq!(
        own["integration_ids"],
        json!([stage.server.ready["integration_id"]])
    );
    assert_eq!(
        ids(&limited.get("/v1/webhooks?active=any")),
        [text(&own["id"])]
    );
    assert_eq!(
        ids(&admin.get("/v1/webhooks?active=any&order-by=created_at")),
        [all.clone(), text(&own["id"])]
    );
    let nobodys = "whk_00000000000000000000000000";
    for (method, rest, body) in [
        ("GET", "", Value::Null),
        ("PUT", "", json!({ "active": true })),
        ("DELETE", "", Value::Null),
        ("POST", "/rotate-secret", Value::Null),
        ("POST", "/test", Value::Null),
        ("GET", "/deliveries", Value::Null),
        ("POST", "/replay", json!({ "failed": true })),
    ] {
        let told = |id: &str| {
            let path = format!("/v1/webhooks/{id}{rest}");
            let answer = limited.send(method, &path, &body);
            (answer.status, answer.body)
        };
        assert_eq!(told(&all), told(nobodys), "{method} {rest}");
        assert_eq!(told(&all).0, 404, "{method} {rest}");
        assert_eq!(told(&all), told("no-id-at-all"), "{method} {rest}");
    }
}

#[test]
fn who_follows_the_log_of_events_meets_each_once() {
    let stage = Stage::set();
    let admin = stage.caller();
    let of_writes = "/v1/admin/events?trigger=WRITE_OPERATION_SUCCESS";
    let follow = |cursor: &str, limit: usize| {
        admin.get(&format!(
            "{of_writes}&order-by=created_at:asc&limit={limit}&cursor={cursor}"
        ))
    };
    let newest_of_all = || {
        let page = admin.get("/v1/admin/events?limit=1");
        text(&page["results"][0]["id"])
    };
    // Nothing is asked for that is there; the place is behind all that was looked at. Ids rise.
    let is_moved_past = |page: &Value, id: &str| {
        assert_eq!(page["results"], json!([]));
        assert!(text(&page["meta"]["nextCursor"]).as_str() >= id, "{page}");
    };
    let known = newest_of_all();
    is_moved_past(
        &admin.get(&format!("{of_writes}&order-by=created_at")),
        &known,
    );
    let bodies = leads(&stage.server, 9);
    let sent: Vec<String> = bodies[..6]
        .iter()
        .map(|body| admin.send("POST", "/crm/v1/prospects/knock", body).job_id())
        .collect();
    for job in &sent {
        assert_eq!(admin.end_of(job)["write_status"], "SUCCESS");
    }

    // From the oldest on, in pages.
    let first = admin.get(&format!("{of_writes}&order-by=created_at:asc&limit=4"));
    assert_eq!(first["meta"]["hasMore"], true);
    assert_eq!(
        first["meta"]["orderBy"],
        json!([{ "field": "created_at", "direction": "asc" }])
    );
    let second = follow(&text(&first["meta"]["nextCursor"]), 4);
    assert_eq!(second["meta"]["hasMore"], false);
    let subjects = |page: &Value| -> Vec<String> {
        let results = page["results"].as_array().expect("results");
        results.iter().map(|one| text(&one["subject_id"])).collect()
    };
    let mut met = [subjects(&first), subjects(&second)].concat();
    met.sort();
    let mut expected = sent.clone();
    expected.sort();
    assert_eq!(met, expected, "each write, once");

    // At the end there is a place to go on from, now and as long as nothing happens.
    let end = text(&second["meta"]["nextCursor"]);
    assert!(end >= *ids(&second).last().expect("one"));
    is_moved_past(&follow(&end, 4), &end);
    let held = admin.call(
        "GET",
        &format!("{of_writes}&order-by=created_at:asc&cursor={end}"),
        &[("prefer", "wait=1")],
        "",
    );
    is_moved_past(&held.expect("an answer").json(), &end);

    // Who waits hears of what happens next.
    let waiting: JoinHandle<Value> = std::thread::spawn({
        let (admin, path) = (
            admin.clone(),
            format!("{of_writes}&order-by=created_at:asc&cursor={end}"),
        );
        move || {
            let answer = admin.call("GET", &path, &[("prefer", "wait=55")], "");
            answer.expect("an answer").json()
        }
    });
    let job = admin
        .send("POST", "/crm/v1/prospects/knock", &bodies[6])
        .job_id();
    let heard = waiting.join().expect("an answer");
    assert_eq!(subjects(&heard), std::slice::from_ref(&job));

    // Who was away catches up.
    for body in &bodies[7..] {
        admin.delivered("POST", "/crm/v1/prospects/knock", body);
    }
    let caught_up = follow(&text(&heard["meta"]["nextCursor"]), 250);
    assert_eq!(caught_up["results"].as_array().expect("results").len(), 2);

    // The newest first, to the end, where there is nothing to go on to.
    let newest = admin.get(&format!("{of_writes}&limit=5"));
    let rest = admin.get(&format!(
        "{of_writes}&limit=5&cursor={}",
        text(&newest["meta"]["nextCursor"])
    ));
    assert_eq!(rest["meta"]["hasMore"], false);
    let end = admin.get(&format!(
        "{of_writes}&limit=5&cursor={}",
        text(&rest["meta"]["nextCursor"])
    ));
    assert_eq!(
        (&end["results"], &end["meta"]["nextCursor"]),
        (&json!([]), &Value::Null)
    );
    let mut backwards = [ids(&newest), ids(&rest)].concat();
    backwards.reverse();
    assert_eq!(
        backwards,
        [ids(&first), ids(&second), ids(&heard), ids(&caught_up)].concat()
    );
}

#[test]
fn a_key_has_a_bounded_number_of_waits_for_events() {
    let stage = Stage::set();
    let (admin, started) = (stage.caller(), Instant::now());
    let end = text(&admin.get("/v1/admin/events?order-by=created_at")["meta"]["nextCursor"]);
    let path = format!(
        "/v1/admin/events?trigger=WRITE_OPERATION_SUCCESS&order-by=created_at&cursor={end}"
    );
    let refused = AtomicUsize::new(0);
    let held: Vec<usize> = std::thread::scope(|scope| {
        let waits: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    let wait = [("prefer", "wait=55")];
                    let answer = admin.call("GET", &path, &wait, "").expect("an answer");
                    let told = answer.json();
                    if answer.status == 429 {
                        let message = text(&told["error"]["message"]);
                        assert!(message.contains("16 requests that wait"), "{message}");
                        assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
                        refused.fetch_add(1, Ordering::Relaxed);
                        return 0;
                    }
                    assert_eq!(answer.status, 200, "{told}");
                    told["results"].as_array().expect("results").len()
                })
            })
            .collect();
        while refused.load(Ordering::Relaxed) < 4 {
            assert!(started.elapsed() < PATIENCE, "none is refused");
            std::thread::sleep(Duration::from_millis(10));
        }
        // Who does not wait is answered, and those who wait hear of what happens.
        assert_eq!(admin.get(&path)["results"], json!([]));
        admin.delivered(
            "POST",
            "/crm/v1/prospects/knock",
            &leads(&stage.server, 1)[0],
        );
        let waits = waits.into_iter();
        waits.map(|one| one.join().expect("it ends")).collect()
    });
    assert_eq!(refused.into_inner(), 4);
    assert_eq!(held.iter().filter(|rows| **rows == 1).count(), 16);
}

#[test]
fn the_log_of_events_shows_what_is_sent_and_is_narrowed_by_what_it_is_about() {
    let stage = Stage::set();
    let admin = stage.caller();
    let lead = &leads(&stage.server, 1)[0];
    let end = admin.delivered("POST", "/crm/v1/prospects/knock", lead);
    let prospect = text(&end["created_record_id"]);
    let page = admin.get(&format!("/v1/admin/events/?subject_id={prospect}"));
    assert_eq!(
        page["results"].as_array().expect("results").len(),
        1,
        "{page}"
    );
    let event = &page["results"][0];
    assert_eq!(
        (&event["trigger"], &event["model"], &event["integration_id"]),
        (
            &json!("DATA_NEW"),
            &json!("crm_prospects"),
            &lead["integration_id"]
        )
    );
    let body = &event["body"];
    assert_eq!(body["meta"]["event_id"], event["id"]);
    assert_eq!(body["data"]["payload"]["id"], json!(prospect));
    let one = admin.get(&format!("/v1/admin/events/{}", text(&event["id"])));
    assert_eq!(one["result"], *event);

    let count = |query: &str| {
        let page = admin.get(&format!("/v1/admin/events?{query}"));
        page["results"].as_array().expect("results").len()
    };
    let of = |more: &str| count(&format!("subject_id={prospect}&{more}"));
    let at = text(&event["created_at"]);
    let after = support::instant(&event["created_at"]).plus_millis(1);
    for (query, expected) in [
        ("model=crm_prospects".to_owned(), 1),
        ("model=crm_agents".to_owned(), 0),
        ("trigger=DATA_NEW".to_owned(), 1),
        ("trigger=DATA_UPDATE".to_owned(), 0),
        (
            format!("integration_id={}", text(&lead["integration_id"])),
            1,
        ),
        (
            "integration_id=int_00000000000000000000000000".to_owned(),
            0,
        ),
        ("integration_id=no-id".to_owned(), 0),
        (format!("created_at_gte={at}"), 1),
        (format!("created_at_gte={after}"), 0),
        ("limit=0".to_owned(), 0),
    ] {
        assert_eq!(of(&query), expected, "{query}");
    }
    assert_eq!(count("subject_id=pro_none"), 0);
}

#[test]
fn deliveries_are_listed_and_replayed() {
    let stage = Stage::set();
    let admin = stage.caller();
    for lead in leads(&stage.server, 3) {
        admin.delivered("POST", "/crm/v1/prospects/knock", &lead);
    }
    // Not active: what is due for it waits.
    let webhook = text(&made(&admin, json!({}))["id"]);
    let path = format!("/v1/webhooks/{webhook}");
    let deliveries = |query: &str| admin.get(&format!("{path}/deliveries{query}"));
    assert_eq!(deliveries("")["results"], json!([]));

    let replay = |body: &Value| {
        let told = done(&admin, "POST", &format!("{path}/replay"), body);
        told["result"]["replayed"].clone()
    };
    assert_eq!(replay(&json!({ "failed": true })), 0);
    let at = text(&admin.get("/crm/v1/communities")["results"][0]["created_at"]);
    assert_eq!(replay(&json!({ "since": at })), 3, "all since this began");
    assert_eq!(replay(&json!({ "since": "2030-01-01T00:00:00Z" })), 0);

    let first = deliveries("?limit=2");
    let second = deliveries(&format!(
        "?limit=2&cursor={}",
        text(&first["meta"]["nextCursor"])
    ));
    assert_eq!(
        (&first["meta"]["hasMore"], &second["meta"]["hasMore"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(second["meta"]["nextCursor"], Value::Null);
    let rows: Vec<Value> = [&first, &second]
        .iter()
        .flat_map(|page| page["results"].as_array().expect("results").clone())
        .collect();
    let log = admin.get("/v1/admin/events?trigger=WRITE_OPERATION_SUCCESS");
    let events: Vec<String> = rows.iter().map(|row| text(&row["event_id"])).collect();
    assert_eq!(events, ids(&log), "the newest event first");
    for row in &rows {
        assert_eq!(
            (&row["status"], &row["attempts"], &row["next_attempt_at"]),
            (&json!("PENDING"), &json!(0), &Value::Null),
            "it waits: {row}"
        );
    }
    assert_eq!(deliveries("?status=PENDING")["results"], json!(rows));
    assert_eq!(deliveries("?status=FAILED")["results"], json!([]));

    let one = format!("{path}/deliveries/{}", events[0]);
    assert_eq!(admin.get(&one)["result"], rows[0]);
    assert_eq!(admin.get(&format!("{one}/attempts/"))["results"], json!([]));
    let again = done(&admin, "POST", &format!("{one}/replay"), &Value::Null);
    assert_eq!(again, json!({ "result": { "replayed": 1 } }));

    // An event that it is not to has no delivery, until somebody asks for one.
    let other = &admin.get("/v1/admin/events?trigger=DATA_NEW&model=crm_prospects")["results"][0];
    let one = format!("{path}/deliveries/{}", text(&other["id"]));
    let status = |method: &str, path: &str| {
        let answer = admin.call(method, path, &[], "");
        answer.expect("an answer").status
    };
    assert_eq!(status("GET", &one), 404);
    assert_eq!(status("GET", &format!("{one}/attempts")), 404);
    done(&admin, "POST", &format!("{one}/replay"), &Value::Null);
    assert_eq!(admin.get(&one)["result"]["model"], "crm_prospects");
    let metrics = admin.call("GET", "/metrics", &[], "").expect("an answer");
    for gauge in [
        "portico_deliveries_pending 0",
        "portico_deliveries_oldest_age_seconds 0",
    ] {
        assert!(
            metrics.body.contains(gauge),
            "what waits for nobody: {gauge}"
        );
    }
}

/// What a receiver was sent: the head of the request, by its names in lower case, and the body.
type Sent = (HashMap<String, String>, String);

/// A receiver that takes one request, answers it with `answer`, and gives it back.
fn receiver(answer: &'static str) -> (String, JoinHandle<Sent>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "http://{}/hook?k=1",
        listener.local_addr().expect("an address")
    );
    let taken = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream);
        let mut head = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            match line.trim().split_once(": ") {
                Some((name, value)) => {
                    head.insert(name.to_lowercase(), value.to_owned());
                }
                None if line.trim().is_empty() => break,
                None => {
                    head.insert("request".to_owned(), line.trim().to_owned());
                }
            }
        }
        let mut body = vec![0; head["content-length"].parse().expect("a length")];
        reader.read_exact(&mut body).expect("a body");
        let mut stream = reader.into_inner();
        stream.write_all(answer.as_bytes()).expect("answered");
        (head, String::from_utf8(body).expect("UTF-8"))
    });
    (url, taken)
}

#[test]
fn a_test_event_is_sent_signed_and_what_came_of_it_is_answered() {
    let stage = Stage::set();
    let admin = stage.caller();
    let (url, taken) = receiver("HTTP/1.1 201 Created\r\ncontent-length: 5\r\n\r\nthere");
    let webhook = made(
        &admin,
        json!({ "url": url, "secret": "plain-text-secret", "headers": [{ "header": "x-own", "value": "mine" }] }),
    );
    let path = format!("/v1/webhooks/{}", text(&webhook["id"]));
    let result = done(&admin, "POST", &format!("{path}/test"), &Value::Null)["result"].clone();
    let told = json!({
        "delivered": true, "event_id": result["event_id"], "url": url, "status": 201, "duration_ms": result["duration_ms"], "error": null,
        "response": "there", "response_is_cut": false,
    });
    assert_eq!(result, told);

    let (head, body) = taken.join().expect("taken");
    assert_eq!(head["request"], "POST /hook?k=1 HTTP/1.1");
    assert_eq!(head["x-own"], "mine");
    let sent: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (&sent["trigger"], &sent["data"]["event"]),
        (&json!("TEST"), &json!("TEST"))
    );
    assert_eq!(sent["data"]["webhook_id"], webhook["id"]);
    assert_eq!(sent["meta"]["event_id"], result["event_id"]);
    assert_eq!(head["webhook-id"], text(&result["event_id"]));
    let secret = model::Secret::new("plain-text-secret");
    let timestamp_s = head["webhook-timestamp"].parse().expect("seconds");
    let key = webhooks::signing::Key::new(&secret);
    let signature =
        webhooks::signing::signature(&[key], &head["webhook-id"], timestamp_s, body.as_bytes());
    assert_eq!(head["webhook-signature"], signature);
    assert_eq!(
        head["propexo-signature"],
        webhooks::signing::propexo_signature(&secret, body.as_bytes())
    );

    // It stands in no log, and says nothing about the webhook.
    let id = text(&result["event_id"]);
    let answer = admin.call("GET", &format!("/v1/admin/events/{id}"), &[], "");
    assert_eq!(answer.expect("an answer").status, 404);
    assert_eq!(
        admin.get(&format!("{path}/deliveries"))["results"],
        json!([])
    );

    let (url, taken) = receiver("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n");
    done(&admin, "PUT", &path, &json!({ "url": url, "active": true }));
    let result = done(&admin, "POST", &format!("{path}/test"), &Value::Null)["result"].clone();
    taken.join().expect("taken");
    assert_eq!(
        (&result["delivered"], &result["status"]),
        (&json!(false), &json!(410))
    );
    assert!(text(&result["error"]).contains("410"), "{result}");
    let after = admin.get(&path)["result"].clone();
    assert_eq!(
        (&after["active"], &after["failing_since"]),
        (&json!(true), &Value::Null)
    );
}
