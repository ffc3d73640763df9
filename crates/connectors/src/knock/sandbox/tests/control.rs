//! The control surface: its shapes, its bounds, and what it refuses.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{HOME, KEY, OTHER, PATIENCE, Running, ann, lead, start, tour, write_all};
use crate::sandbox::request_log::{MOST_BYTES, MOST_CALLS};

#[tokio::test]
async fn a_wrong_fault_is_refused_in_words() {
    let sandbox = start().await;
    let check = async |fault: Value, naming: &str| {
        let answer = sandbox.control("POST", "/faults", &fault).await;
        assert_eq!(answer.status, 400, "{fault}");
        let reason = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(reason.contains(naming), "{reason} lacks {naming}");
    };
    check(json!({ "kind": "explode" }), "`reset_after_store`").await;
    check(json!({}), "kind").await;
    check(json!({ "kind": "status" }), "400 to 599").await;
    check(json!({ "kind": "empty_body", "until": 1 }), "`probability`").await;
    check(
        json!({ "kind": "empty_body", "match": { "host": "x" } }),
        "`community_id`",
    )
    .await;
    check(
        json!({ "kind": "empty_body", "match": { "path": "x" } }),
        "match.path",
    )
    .await;
    check(
        json!({ "kind": "empty_body", "status": 500 }),
        "kinds status and gateway only",
    )
    .await;
    check(
        json!({ "kind": "empty_body", "retry_after_s": 5 }),
        "kinds status and gateway only",
    )
    .await;
    check(json!({ "kind": "latency" }), "latency_ms").await;
    check(
        json!({ "kind": "latency", "latency_ms": 0 }),
        "from 1 to 3600000",
    )
    .await;
    check(
        json!({ "kind": "latency", "latency_ms": 3_600_001 }),
        "from 1 to 3600000",
    )
    .await;
    for status in [99, 200, 399, 600] {
        check(
            json!({ "kind": "status", "status": status }),
            "from 400 to 599",
        )
        .await;
    }
    for status in [199, 600] {
        check(
            json!({ "kind": "gateway", "status": status }),
            "from 200 to 599",
        )
        .await;
    }
    check(json!({ "kind": "gateway" }), "200 to 599").await;
    check(json!({ "kind": "status", "status": 70_000 }), "70000").await;
    check(
        json!({ "kind": "status", "status": 429, "retry_after_s": 86_401 }),
        "86400",
    )
    .await;
    check(json!({ "kind": "empty_body", "times": 0 }), "times").await;
    check(json!({ "kind": "empty_body", "times": -1 }), "-1").await;
    check(
        json!({ "kind": "empty_body", "probability": 1.1 }),
        "from 0 to 1",
    )
    .await;
    check(
        json!({ "kind": "empty_body", "probability": -0.1 }),
        "from 0 to 1",
    )
    .await;
    check(Value::Null, "EOF").await;
    assert_eq!(
        sandbox.control_get("/faults").await,
        json!({ "faults": [] })
    );
}

#[tokio::test]
async fn faults_are_listed_and_removed_and_bounded() {
    let sandbox = start().await;
    let fault = json!({ "match": { "path": "/prospect" }, "kind": "empty_body", "times": 4 });
    let first = sandbox.arrange(fault).await;
    let second = sandbox.arrange(json!({ "kind": "error_in_200" })).await;
    assert_ne!(first, second);
    assert_eq!(
        sandbox.control_get("/faults").await,
        json!({ "faults": [
            { "id": first, "match": { "path": "/prospect" }, "kind": "empty_body", "times": 4, "fired": 0 },
            { "id": second, "match": {}, "kind": "error_in_200", "fired": 0 },
        ] })
    );
    let path = format!("/faults/{first}");
    assert_eq!(
        sandbox.control("DELETE", &path, &Value::Null).await.status,
        200
    );
    assert_eq!(
        sandbox.control("DELETE", &path, &Value::Null).await.status,
        404
    );
    assert_eq!(
        sandbox
            .control("DELETE", "/faults/x", &Value::Null)
            .await
            .status,
        400
    );
    assert_eq!(
        sandbox
            .control("DELETE", "/faults", &Value::Null)
            .await
            .status,
        200
    );
    assert_eq!(
        sandbox.control_get("/faults").await,
        json!({ "faults": [] })
    );
    for _ in 0..crate::sandbox::faults::MOST_FAULTS {
        sandbox.sandbox.add_fault(crate::sandbox::Fault::new(
            crate::sandbox::FaultKind::Latency,
        ));
    }
    let one_more = json!({ "kind": "empty_body" });
    assert_eq!(
        sandbox.control("POST", "/faults", &one_more).await.status,
        400
    );
}

#[tokio::test]
async fn state_shows_the_seed_and_the_cards() {
    let sandbox = start().await;
    let id = sandbox.post(&ann()).await.id();
    let state = sandbox.control_get("/state").await;
    assert_eq!(state, sandbox.sandbox.state());
    let zones: Vec<_> = state["communities"].as_array().unwrap().iter().collect();
    assert_eq!(zones.len(), 3);
    assert_eq!(
        *zones[0],
        json!({ "id": HOME, "name": "Harbor Point", "timezone": "America/New_York" })
    );
    let sources = state["sources"].as_array().unwrap();
    assert!(
        sources
            .iter()
            .any(|source| source["communityIds"].as_array().unwrap().len() == 3)
    );
    assert!(
        sources
            .iter()
            .any(|source| source["communityIds"].as_array().unwrap().len() == 1)
    );
    assert_eq!(state["agents"][0]["username"], "dana.whitfield");
    assert_eq!(state["agents"][0]["communityIds"], json!([OTHER]));
    assert_eq!(state["prospects"][0]["prospectId"], json!(id));
    assert_eq!(state["prospects"][0]["autorespond"], Value::Null);
    assert_eq!(state["prospects"][0]["messages"], json!([]));
    for list in ["appointments", "activities", "listings"] {
        assert_eq!(state[list], json!([]), "{list}");
    }
}

#[tokio::test]
async fn prospects_come_in_pages() {
    let sandbox = start().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let email = format!("{n}@x.org");
        ids.push(sandbox.post(&lead(json!({ "email": email }))).await.id());
    }
    let state = sandbox.control_get("/state").await;
    let (mut after, mut seen) = ("0".to_owned(), Vec::new());
    loop {
        let page = sandbox
            .control_get(&format!("/prospects?after={after}&limit=2"))
            .await;
        let cards = page["prospects"].as_array().unwrap().clone();
        assert!(cards.len() <= 2);
        let Some(last) = cards.last() else { break };
        after = last["prospectId"].as_str().unwrap().to_owned();
        seen.extend(cards);
    }
    assert_eq!(Value::from(seen), state["prospects"]);
    for query in ["after=x", "limit=0", "limit=10001", "limit=", "page=2"] {
        let answer = sandbox
            .control("GET", &format!("/prospects?{query}"), &Value::Null)
            .await;
        assert_eq!(answer.status, 400, "{query}");
    }
    let all = sandbox
        .control_get(&format!("/prospects?after={}", u64::MAX))
        .await;
    assert_eq!(all["prospects"], json!([]));
}

#[tokio::test]
async fn requests_are_logged_as_they_came_with_the_key_masked() {
    let sandbox = start().await;
    let body = ann().to_string();
    let headers = [("apikey", KEY), ("company-id", "c1"), ("property-id", HOME)];
    sandbox
        .send("POST", "/prospect?a=1", &headers, &body)
        .await
        .unwrap();
    sandbox
        .send("POST", "/prospect", &[("x-api-key", "my-secret")], "nojson")
        .await
        .unwrap();
    sandbox.vendor("GET", "/nope", "").await;
    let answer = sandbox.control("GET", "/requests", &Value::Null).await;
    assert!(!answer.body.contains(KEY) && !answer.body.contains("my-secret"));
    assert_eq!(
        answer.json(),
        json!({ "requests": [
            { "n": 1, "at": "2026-11-24T09:00:00.000000Z", "method": "POST", "path": "/prospect?a=1",
              "headers": { "apikey": "***", "company-id": "c1", "content-type": "application/json",
                           "property-id": HOME },
              "body": ann(), "status": 200, "fault": null },
            { "n": 2, "at": "2026-11-24T09:00:00.000000Z", "method": "POST", "path": "/prospect",
              "headers": { "content-type": "application/json", "x-api-key": "***" }, "body": "nojson", "status": 403, "fault": null },
            { "n": 3, "at": "2026-11-24T09:00:00.000000Z", "method": "GET", "path": "/nope",
              "headers": { "x-api-key": "***" }, "body": null, "status": 404, "fault": null },
        ] })
    );
    assert!(answer.body.contains(&body), "the body is shown as it came");
    let page = sandbox.control_get("/requests?after=1&limit=1").await;
    assert_eq!(page["requests"].as_array().unwrap().len(), 1);
    assert_eq!(page["requests"][0]["n"], 2);
    assert_eq!(
        sandbox.control_get("/requests?after=3").await["requests"],
        json!([])
    );
    let counts = sandbox.control_get("/counts").await;
    assert_eq!(
        counts,
        json!({ "prospects": 1, "requests": 3, "updates": 0,
                "appointments": 0, "activities": 0, "listings": 0, "changes_at_once_max": 1 })
    );
}

#[tokio::test]
async fn the_most_changes_at_once_are_counted_until_their_callers_are_gone() {
    let sandbox = start().await;
    let at_once = || sandbox.sandbox.counts().changes_at_once_max;
    sandbox
        .arrange(json!({ "kind": "timeout_after_store" }))
        .await;
    let body = ann().to_string();
    let length = body.len();
    let held = format!(
        "POST /prospect HTTP/1.1\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let mut callers = Vec::new();
    for count in 1..=3 {
        let stream = TcpStream::connect(sandbox.address).await.unwrap();
        write_all(&stream, held.as_bytes()).await.unwrap();
        callers.push(stream);
        while at_once() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(at_once(), 3);
    drop(callers);
    let began = Instant::now();
    loop {
        sandbox.control("POST", "/reset", &Value::Null).await;
        if at_once() == 0 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "those who are gone still count");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sandbox.vendor("GET", "/nope", "").await;
    assert_eq!(at_once(), 0, "it changes nothing");
}

#[tokio::test]
async fn a_body_that_readers_choke_on_is_logged_as_a_text() {
    let sandbox = start().await;
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    for body in [
        deep(126),
        deep(5_000),
        "1".repeat(400),
        "{\"a\":1} x".to_owned(),
    ] {
        sandbox.vendor("POST", "/prospect", &body).await;
        let last = sandbox.sandbox.counts().requests - 1;
        let page = sandbox
            .control_get(&format!("/requests?after={last}"))
            .await;
        assert_eq!(page["requests"][0]["body"], Value::from(body));
    }
}

#[test]
fn the_log_is_bounded_by_count_and_by_bytes() {
    use crate::sandbox::{
        Form, Imitation as _,
        request_log::{ReceivedCall, RequestLog, ShownHeaders},
    };
    const FORM: Form = super::super::KnockImitation::FORM;
    let call = |bytes: usize| ReceivedCall {
        at: model::Timestamp::ZERO,
        method: http::Method::POST,
        path: "/".into(),
        headers: ShownHeaders::pick(&http::HeaderMap::new(), &FORM),
        body: vec![b'x'; bytes].into(),
    };
    let shown = |log: &RequestLog| serde_json::to_value(log.page(0, usize::MAX)).unwrap();
    let mut log = RequestLog::default();
    let early = log.begin(call(0), None);
    for _ in 0..MOST_CALLS + 4 {
        log.begin(call(0), None);
    }
    // The answer to a call that was dropped has nowhere to go.
    log.finish(early, 200);
    let calls = shown(&log);
    assert_eq!(calls.as_array().unwrap().len(), MOST_CALLS);
    assert_eq!(calls[0]["n"], 6);
    assert!(
        calls
            .as_array()
            .unwrap()
            .iter()
            .all(|call| call["status"].is_null())
    );
    assert_eq!(serde_json::to_value(log.page(7, 2)).unwrap()[0]["n"], 8);
    let mib = 1024 * 1024;
    let mut last = log.begin(call(mib), None);
    for _ in 0..40 {
        last = log.begin(call(mib), None);
    }
    log.finish(last, 200);
    let calls = shown(&log);
    assert_eq!(calls.as_array().unwrap().len(), MOST_BYTES / mib - 1);
    assert_eq!(calls.as_array().unwrap().last().unwrap()["status"], 200);
    // After a reset a late answer is not noted on the new call of that number.
    let mut log = RequestLog::default();
    let late = log.begin(call(0), None);
    log.clear();
    log.begin(call(0), None);
    log.finish(late, 200);
    assert_eq!(shown(&log)[0]["n"], 1);
    assert_eq!(shown(&log)[0]["status"], Value::Null);
}

#[tokio::test]
async fn an_unknown_source_can_be_accepted() {
    let sandbox = start().await;
    let settings = json!({ "unknown_source": "refuse" });
    assert_eq!(sandbox.control_get("/settings").await, settings);
    let body = lead(json!({ "sourceTitle": "Nope.com", "email": "a@x.org" }));
    assert_eq!(sandbox.post(&body).await.status, 400);
    for wrong in [
        json!({}),
        json!({ "unknown_source": "ignore" }),
        json!({ "x": 1 }),
    ] {
        assert_eq!(
            sandbox.control("POST", "/settings", &wrong).await.status,
            400
        );
    }
    let settings = json!({ "unknown_source": "accept" });
    let answer = sandbox.control("POST", "/settings", &settings).await;
    assert_eq!((answer.status, answer.json()), (200, settings));
    let id = sandbox.post(&body).await.id();
    assert_eq!(sandbox.card(&id).await["source"]["title"], "Nope.com");
}

#[tokio::test]
async fn a_reset_leaves_only_the_seed() {
    let sandbox = start().await;
    let seeded = sandbox.control_get("/state").await;
    let id = sandbox.post(&ann()).await.id();
    sandbox.post(&ann()).await.id();
    sandbox.book(&tour("2026-11-25T09:00:00-05:00")).await;
    let path = format!("/prospect/{id}/sms");
    sandbox
        .post_to(&path, &json!({ "message": "Hi" }))
        .await
        .id();
    let listing = json!({ "title": "1A", "url": "https://x.org/1.html", "isListed": true,
                          "publishDate": "2026-11-24T09:00:00Z" });
    let path = format!("/community/{HOME}/listing");
    sandbox.post_to(&path, &listing).await.id();
    let sources = json!({ "sources": ["Only.com"] });
    let path = format!("/communities/{HOME}");
    assert_eq!(sandbox.control("POST", &path, &sources).await.status, 200);
    sandbox.arrange(json!({ "kind": "empty_body" })).await;
    let accept = json!({ "unknown_source": "accept" });
    sandbox.control("POST", "/settings", &accept).await;
    assert_eq!(
        sandbox.control("POST", "/reset", &Value::Null).await.status,
        200
    );
    assert_eq!(sandbox.control_get("/state").await, seeded);
    assert_eq!(
        sandbox.control_get("/faults").await,
        json!({ "faults": [] })
    );
    assert_eq!(
        sandbox.control_get("/settings").await["unknown_source"],
        "refuse"
    );
    assert_eq!(sandbox.sandbox.counts(), super::super::Counts::default());
    sandbox.post(&ann()).await.id();
    assert_eq!(
        sandbox.control_get("/requests").await["requests"][0]["n"],
        1
    );
    assert_eq!(sandbox.sandbox.counts().updates, 0);
}

#[tokio::test]
async fn unknown_control_paths_say_what_there_is() {
    let sandbox = start().await;
    for (method, path) in [
        ("GET", ""),
        ("GET", "/"),
        ("GET", "/nope"),
        ("GET", "/reset"),
        ("PUT", "/faults"),
        ("POST", "/state"),
        ("GET", "/faults/1"),
        ("PUT", "/prospects/1"),
        ("POST", "/nope/1"),
        ("DELETE", "/communities/1"),
    ] {
        let answer = sandbox.control(method, path, &Value::Null).await;
        assert_eq!(answer.status, 404, "{method} {path}");
        assert!(
            answer.json()["error"]
                .as_str()
                .unwrap()
                .contains("GET state")
        );
    }
    assert_eq!(sandbox.sandbox.counts().requests, 0);
    // Only the whole first segment belongs to the control surface.
    assert_eq!(sandbox.vendor("GET", "/_sandboxes", "").await.status, 404);
    assert_eq!(sandbox.sandbox.counts().requests, 1);
}

async fn check_edit_refused(sandbox: &Running, id: &str, edit: Value, naming: &str) {
    let path = format!("/prospects/{id}");
    let answer = sandbox.control("POST", &path, &edit).await;
    assert_eq!(answer.status, 400, "{edit}");
    let reason = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(reason.contains(naming), "{reason} lacks {naming}");
}

#[tokio::test]
async fn a_card_is_changed_as_a_person_at_knock_would() {
    let sandbox = start().await;
    let id = sandbox.post(&ann()).await.id();
    let mut expected = sandbox.card(&id).await;
    sandbox.clock.advance(1_000_000);
    let edit = json!({
        "status": "Applied (in review)", "isDeleted": true, "notProspect": true,
        "agent": { "username": "sam.okafor" }, "email": "Anna@x.org", "phone": "2065550177",
        "firstName": "Anna", "lastName": "Li",
    });
    let path = format!("/prospects/{id}");
    let answer = sandbox.control("POST", &path, &edit).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for (name, value) in edit.as_object().unwrap() {
        expected[name] = value.clone();
    }
    expected["phone"] = json!("+12065550177");
    expected["updatedAt"] = json!("2026-11-24T09:00:01.000000+00:00");
    assert_eq!(sandbox.card(&id).await, expected);
    assert_eq!(answer.json(), sandbox.held("prospects").await[0]);
    assert_eq!(answer.json()["updates"], 0);
    // The contacts moved with the card: the new ones lead to it, the old ones to nobody.
    for contact in [
        json!({ "email": "anna@x.org" }),
        json!({ "phone": "2065550177" }),
    ] {
        assert_eq!(sandbox.post(&lead(contact)).await.id(), id);
    }
    assert_ne!(sandbox.post(&ann()).await.id(), id);

    for status in [
        "New",
        "Open",
        "Waiting",
        "Booked",
        "Visited",
        "Canceled (Manager)",
        "Canceled (Renter)",
        "No Show",
        "Applied (in review)",
        "Applied (Leased)",
        "Applied (Lost)",
        "Lost",
    ] {
        let answer = sandbox
            .control("POST", &path, &json!({ "status": status }))
            .await;
        assert_eq!(answer.json()["status"], status);
    }
    let check = async |edit: Value, naming: &str| {
        check_edit_refused(&sandbox, &id, edit, naming).await;
    };
    check(json!({ "status": "Closed" }), "`Applied (in review)`").await;
    check(json!({ "city": "Tacoma" }), "known are status, isDeleted").await;
    check(json!({}), "at least one").await;
    check(json!({ "email": null }), "at least one").await;
    check(json!({ "isDeleted": "yes" }), "true or false").await;
    check(
        json!({ "agent": { "username": "dana.whitfield" } }),
        "not an agent",
    )
    .await;
    check(json!({ "agent": { "name": "Sam" } }), "known are username").await;
    check(json!({ "agent": {} }), "agent.username is required").await;
    check(json!({ "email": "ann" }), "an email address").await;
    check(json!({ "phone": "1" }), "10 digits").await;
    check(Value::Null, "EOF").await;
    assert_eq!(sandbox.card(&id).await["status"], "Lost");
    for id in ["1", "x"] {
        let path = format!("/prospects/{id}");
        assert_eq!(sandbox.control("POST", &path, &edit).await.status, 404);
    }
}

#[tokio::test]
async fn a_card_vanishes_with_its_contacts() {
    let sandbox = start().await;
    let id = sandbox.post(&ann()).await.id();
    sandbox.post(&ann()).await.id();
    let tour_id = sandbox.book(&tour("2026-11-25T09:00:00-05:00")).await;
    let path = format!("/prospects/{id}");
    let gone = sandbox.control("DELETE", &path, &Value::Null).await;
    assert_eq!((gone.status, gone.json()), (200, json!({})));
    let of_vendor = format!("/prospect/{id}");
    assert_eq!(sandbox.vendor("GET", &of_vendor, "").await.status, 404);
    let sms = json!({ "message": "Hi" });
    let answer = sandbox.post_to(&format!("{of_vendor}/sms"), &sms).await;
    assert_eq!(answer.status, 404);
    for method in ["DELETE", "POST"] {
        let edit = json!({ "status": "Lost" });
        assert_eq!(sandbox.control(method, &path, &edit).await.status, 404);
    }
    // What was matched before is still counted, and the tour is still there to be cancelled.
    let counts = sandbox.sandbox.counts();
    assert_eq!((counts.prospects, counts.updates), (0, 2));
    assert_eq!(sandbox.cancel(&tour_id).await.status, 200);
    let again = sandbox.post(&ann()).await.id();
    assert_ne!(again, id);
    assert_eq!(sandbox.card(&again).await["status"], "New");
}

#[tokio::test]
async fn the_sources_of_a_community_are_replaced_while_running() {
    let sandbox = start().await;
    let path = format!("/communities/{HOME}");
    let sources = json!({ "sources": ["Rent.com", "Zillow.com"] });
    let answer = sandbox.control("POST", &path, &sources).await;
    assert_eq!((answer.status, answer.json()), (200, sources));
    let of_vendor = format!("/community/{HOME}/sources");
    let listed = sandbox.vendor("GET", &of_vendor, "");
    assert_eq!(
        listed.await.json(),
        json!({ "edges": [
            { "node": { "sourceTitle": "Rent.com" } },
            { "node": { "sourceTitle": "Zillow.com" } },
        ] })
    );
    let of = |title: &str| lead(json!({ "sourceTitle": title, "email": "a@x.org" }));
    sandbox.post(&of("Rent.com")).await.id();
    assert_eq!(sandbox.post(&of("Drive By")).await.status, 400);
    let rent = sandbox.held("sources").await;
    let rent = rent
        .iter()
        .find(|source| source["sourceTitle"] == "Rent.com");
    assert_eq!(
        rent.unwrap()["communityIds"],
        json!([HOME, "r7HnBv42XeJuGa9f"])
    );

    for (wrong, naming) in [
        (json!({ "sources": [] }), "no source"),
        (json!({ "sources": ["A", " "] }), "blank"),
        (json!({ "sources": ["A "] }), "blank"),
        (json!({ "sources": ["A", "B", "A"] }), "repeats a source: A"),
        (json!({ "sources": "A" }), "sequence"),
        (json!({ "titles": ["A"] }), "`sources`"),
        (json!({}), "`sources`"),
    ] {
        let answer = sandbox.control("POST", &path, &wrong).await;
        assert_eq!(answer.status, 400, "{wrong}");
        let reason = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(reason.contains(naming), "{reason} lacks {naming}");
    }
    let sources = json!({ "sources": ["A"] });
    let answer = sandbox.control("POST", "/communities/nope", &sources).await;
    assert_eq!(answer.status, 404);
    sandbox.post(&of("Rent.com")).await.id();
    sandbox.sandbox.reset();
    assert_eq!(sandbox.post(&of("Rent.com")).await.status, 400);
    sandbox.post(&of("Drive By")).await.id();
}
