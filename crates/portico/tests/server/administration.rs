//! Integrations and keys, changed while Portico runs.
//!
//! Goal: what is wrong with a body of administration is told all at once and in words that help; a change is in force for the next request; nothing is lost by it.
//! Method: the real binary and a sandbox; answers that refuse are snapshots.

use crate::support;

use std::{process::Command, time::Duration};

use serde_json::{Map, Value, json};
use support::{Caller, Stage, text, with};

fn integration(stage: &Stage, more: Value) -> Value {
    let least = json!({
        "integration_vendor": "KNOCK", "name": "Harbor Homes", "system": "SANDBOX", "credentials": { "apiKey": "syndication-prospect-TEST-KEY" },
        "base_url": stage.sandbox.text("sandbox_url"),
    });
    with(&least, more)
}

/// The result of a request that is to succeed.
fn done(caller: &Caller, method: &str, path: &str, body: &Value) -> Value {
    let answer = caller.send(method, path, body);
    let told = answer.json();
    assert_eq!(answer.status, 200, "{method} {path}: {told}");
    told
}

#[test]
fn what_is_wrong_with_a_body_is_told_all_at_once() {
    let stage = Stage::set();
    let admin = stage.caller();
    let here = stage.server.text("integration_id");
    let path = |rest: &str| format!("/v1/admin/integrations{rest}");
    let own = |rest: &str| path(&format!("/{here}{rest}"));
    let cases = [
        (
            "an integration",
            "POST",
            path(""),
            json!({
                "integration_vendor": "ENTRATA", "name": " \n", "credentials": { "apiKey": "with a blank", "user": "x" }, "system": "PLAY", "sync_frequency": 0,
                "sync_cadence": "WEEK", "max_job_concurrency": 101, "base_url": "http://169.254.169.254/latest", "key_header_name": "host", "zork": 1,
                "extra_headers": [{ "header": "cookie", "value": "a=b" }, { "header": "x-one", "value": "1" }, { "header": "X-One", "value": "2" }, { "header": "x y", "value": "a\r\nb" }],
            }),
        ),
        ("an empty integration", "POST", path(""), json!({})),
        (
            "a change of an integration",
            "PUT",
            own(""),
            json!({ "base_url": "https://user@syndication.knockrentals.com", "extra_headers": [{ "header": "x-api-key", "value": "1" }], "integration_vendor": "KNOCK" }),
        ),
        (
            "a community",
            "POST",
            own("/communities"),
            json!({ "x_id": "with a blank", "name": "", "timezone": "Mars/Olympus", "phone_region": "ZZ", "active": "yes" }),
        ),
        (
            "an attribution",
            "POST",
            own("/attributions"),
            json!({ "x_id": "\u{7}", "community_ids": ["com_0", 5] }),
        ),
        (
            "agents",
            "POST",
            own("/agents/bulk"),
            json!([
                { "x_id": "ann", "name": "Ann", "community_ids": [stage.server.ready["communities"][0]["id"]] },
                { "x_id": "bob", "name": "Bob", "community_ids": [] },
                { "x_id": "ann", "name": "Ann again", "community_ids": [stage.server.ready["communities"][0]["id"]] },
                { "name": 5, "community_ids": ["com_nowhere"] },
                7,
            ]),
        ),
        ("no agents", "POST", own("/agents/bulk"), json!([])),
        (
            "a key",
            "POST",
            "/v1/admin/keys".to_owned(),
            json!({
                "name": "", "permissions": ["read", "cats:read", "prospects"], "integration_ids": ["int_0", here], "expires_at": "2020-01-01T00:00:00Z",
                "rate_limit": { "requests_per_minute": 0, "burst": 60_000_001 },
            }),
        ),
        (
            "a key without anything",
            "POST",
            "/v1/admin/keys".to_owned(),
            json!({ "permissions": [] }),
        ),
    ];
    let mut shown = Map::new();
    for (name, method, path, body) in cases {
        let answer = admin.send(method, &path, &body);
        assert_eq!(answer.status, 400, "{name}: {}", answer.body);
        shown.insert(name.to_owned(), answer.json()["error"].clone());
    }
    let before = admin.get("/crm/v1/agents");
    assert!(!before.to_string().contains("Ann again"), "all or none");
    insta::with_settings!({ filters => vec![(r"http://127\.0\.0\.1:\d+", "[SANDBOX]"), (r"int_[0-9a-z]{26}", "int_[ID]")] }, {
        insta::assert_json_snapshot!("refused_bodies", Value::Object(shown));
    });
}

#[test]
fn a_thousand_communities_are_registered_at_once_and_again() {
    let stage = Stage::set();
    let admin = stage.caller();
    let made = done(
        &admin,
        "POST",
        "/v1/admin/integrations/",
        &integration(&stage, json!({ "new_properties_are_enabled": false })),
    );
    let id = text(&made["result"]["id"]);
    assert_eq!(made["result"]["active"], false);
    let of = |name: &str| {
        let all = (0..1_000).map(|n| json!({ "x_id": format!("x{n}"), "name": format!("{name} {n}"), "timezone": "America/Denver", "city": "Boulder" }));
        Value::Array(all.collect())
    };
    let path = format!("/v1/admin/integrations/{id}/communities/bulk/");
    let first = done(&admin, "POST", &path, &of("First"));
    let again = done(&admin, "POST", &path, &of("Second"));
    for place in [0, 999] {
        assert_eq!(first["results"][place]["is_new"], true);
        assert_eq!(again["results"][place]["is_new"], false);
        assert_eq!(first["results"][place]["id"], again["results"][place]["id"]);
    }
    let listed = admin.get(&format!("/crm/v1/communities?integration_id={id}&limit=1"));
    assert_eq!(listed["meta"]["total"], 1_000);
    assert_eq!(listed["results"][0]["city"], "Boulder");
    let too_many: Value = (0..1_001)
        .map(|n| json!({ "x_id": format!("y{n}"), "name": "n", "timezone": "UTC" }))
        .collect();
    assert_eq!(admin.send("POST", &path, &too_many).status, 400);
}

#[test]
fn activating_says_plainly_what_the_credentials_allow() {
    let stage = Stage::set();
    let admin = stage.caller();
    let wrong = integration(
        &stage,
        json!({ "credentials": { "apiKey": "wrong" }, "active": true }),
    );
    let refused = admin
        .send("POST", "/v1/admin/integrations/", &wrong)
        .conflict();
    assert!(
        refused.contains("does not take these credentials"),
        "{refused}"
    );
    assert_eq!(
        admin.get("/v1/admin/integrations")["meta"]["total"],
        1,
        "nothing was made"
    );

    let made = done(
        &admin,
        "POST",
        "/v1/admin/integrations/",
        &with(&wrong, json!({ "active": false })),
    );
    let path = format!("/v1/admin/integrations/{}", text(&made["result"]["id"]));
    assert_eq!(
        admin.get(&format!("{path}/data-access"))["result"]["credentials"],
        Value::Null
    );
    let tried = done(&admin, "POST", &format!("{path}/data-access"), &Value::Null);
    assert_eq!(tried["result"]["credentials"], "DENIED");
    let community = json!({ "x_id": stage.server.ready["communities"][0]["x_id"], "name": "Harbor Point", "timezone": "America/New_York" });
    done(&admin, "POST", &format!("{path}/communities"), &community);
    admin
        .send("PUT", &path, &json!({ "active": true }))
        .conflict();
    let good =
        json!({ "active": true, "credentials": { "apiKey": "syndication-prospect-TEST-KEY" } });
    let changed = done(&admin, "PUT", &path, &good);
    assert_eq!(changed["result"]["active"], true);
    assert!(!changed.to_string().contains("TEST-KEY"));
    let mut found = admin.get(&format!("{path}/data-access"));
    for time in ["checked_at", "last_data_access_check"] {
        found["result"][time] = json!("[TIME]");
    }
    insta::assert_json_snapshot!("data_access", found);
}

#[test]
fn what_is_paused_waits_and_nothing_is_lost() {
    let mut stage = Stage::set();
    let admin = stage.caller();
    let path = format!(
        "/v1/admin/integrations/{}",
        stage.server.text("integration_id")
    );
    assert_ne!(
        done(&admin, "POST", &format!("{path}/pause"), &Value::Null)["result"]["paused_at"],
        Value::Null
    );
    let sent: Vec<String> = support::leads(&stage.server, 20)
        .iter()
        .map(|lead| admin.send("POST", "/crm/v1/prospects/knock", lead).job_id())
        .collect();
    assert!(
        admin
            .send("POST", &format!("{path}/manual-sync"), &Value::Null)
            .conflict()
            .contains("paused")
    );
    assert!(
        admin
            .send("DELETE", &path, &Value::Null)
            .conflict()
            .contains("have not ended: 20")
    );
    stage.restart_server();
    std::thread::sleep(Duration::from_millis(300));
    for job_id in &sent {
        let state = admin.get(&format!("/v1/admin/write-status/{job_id}"));
        assert_eq!(
            (&state["write_status"], &state["attempts"]),
            (&json!("PENDING"), &json!(0))
        );
    }
    // What it took before it was deactivated is still delivered.
    done(&admin, "PUT", &path, &json!({ "active": false }));
    let refused = admin.send(
        "POST",
        "/crm/v1/prospects/knock",
        &support::leads(&stage.server, 1)[0],
    );
    assert_eq!(refused.issues()[0]["path"], json!(["integration_id"]));
    done(&admin, "POST", &format!("{path}/resume"), &Value::Null);
    for job_id in &sent {
        assert_eq!(admin.end_of(job_id)["write_status"], "SUCCESS");
    }
    let archived = done(&admin, "DELETE", &path, &Value::Null);
    assert_eq!(archived["result"]["active"], false);
    admin
        .send("PUT", &path, &json!({ "active": true }))
        .conflict();
    assert_eq!(admin.get("/v1/admin/integrations")["meta"]["total"], 0);
    assert_eq!(
        admin.get("/v1/admin/integrations?archived=true")["meta"]["total"],
        1
    );
    assert_eq!(
        admin.get("/crm/v1/prospects?limit=1")["meta"]["total"],
        20,
        "what was written stays"
    );
}

#[test]
fn replaced_credentials_deliver_what_waited_for_them() {
    let stage = Stage::set();
    let admin = stage.caller();
    let path = format!(
        "/v1/admin/integrations/{}",
        stage.server.text("integration_id")
    );
    done(
        &admin,
        "PUT",
        &path,
        &json!({ "credentials": { "apiKey": "expired" } }),
    );
    let job_id = admin
        .send(
            "POST",
            "/crm/v1/prospects/knock",
            &support::leads(&stage.server, 1)[0],
        )
        .job_id();
    let started = std::time::Instant::now();
    while admin.get(&format!("/v1/admin/write-status/{job_id}"))["errors"] == json!([]) {
        assert!(started.elapsed() < support::PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    done(
        &admin,
        "PUT",
        &path,
        &json!({ "credentials": { "apiKey": "syndication-prospect-TEST-KEY" } }),
    );
    assert_eq!(admin.end_of(&job_id)["write_status"], "SUCCESS");
}

#[test]
fn a_key_that_has_sent_enough_is_told_to_wait_and_others_are_not() {
    let stage = Stage::set();
    let admin = stage.caller();
    let limit = json!({ "name": "slow", "permissions": ["read"], "rate_limit": { "requests_per_minute": 6, "burst": 2 } });
    let made = done(&admin, "POST", "/v1/admin/keys/", &limit);
    let slow = admin.with_token(&text(&made["token"]));
    let get = || {
        slow.call("GET", "/crm/v1/prospects", &[], "")
            .expect("an answer")
    };
    let first = get();
    for header in [
        "x-ratelimit-limit: 6",
        "x-ratelimit-remaining: 1",
        "ratelimit: \"key\";r=1;t=10",
        "ratelimit-policy: \"key\";q=6;w=60",
    ] {
        assert!(first.head.contains(header), "{header} in {}", first.head);
    }
    assert_eq!(get().status, 200);
    let refused = get();
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (429, &json!("rate_limited"))
    );
    assert!(
        refused.head.contains("retry-after: ") && refused.head.contains("x-ratelimit-remaining: 0"),
        "{}",
        refused.head
    );
    assert_eq!(
        admin
            .call("GET", "/crm/v1/prospects", &[], "")
            .expect("an answer")
            .status,
        200
    );
    // And who has no key at all.
    let nobody = admin.with_token("ptk_test_x");
    let mut last = nobody
        .call("GET", "/crm/v1/prospects", &[], "")
        .expect("an answer");
    for _ in 0..700 {
        if last.status == 429 {
            break;
        }
        assert_eq!(last.status, 401);
        last = nobody
            .call("GET", "/crm/v1/prospects", &[], "")
            .expect("an answer");
    }
    assert!(
        last.status == 429 && last.head.contains("retry-after: "),
        "{}",
        last.head
    );
    assert_eq!(
        admin
            .call("GET", "/crm/v1/prospects", &[], "")
            .expect("an answer")
            .status,
        200,
        "a valid key goes through"
    );
}

#[test]
fn nobody_gives_more_than_they_have() {
    let stage = Stage::set();
    let admin = stage.caller();
    let here = stage.server.text("integration_id");
    let make = |caller: &Caller, body: Value| {
        let body = with(&json!({ "name": "k" }), body);
        caller.send("POST", "/v1/admin/keys", &body)
    };
    let made = make(
        &admin,
        json!({ "permissions": ["keys:admin", "prospects:read"], "integration_ids": [here] }),
    )
    .json();
    let limited = admin.with_token(&text(&made["token"]));
    let more = make(
        &limited,
        json!({ "permissions": ["prospects:write", "read", "prospects:read"] }),
    );
    let places: Vec<Value> = more
        .issues()
        .iter()
        .map(|one| one["path"][1].clone())
        .collect();
    assert_eq!(places, [0, 1]);
    let child = make(&limited, json!({ "permissions": ["prospects:read"] })).json();
    assert_eq!(
        child["result"]["integration_ids"],
        json!([here]),
        "no more integrations than its own"
    );
    let seen = limited.get("/v1/admin/keys");
    let names: Vec<&Value> = seen["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["integration_ids"])
        .collect();
    assert_eq!(
        names,
        [&json!([here]), &json!([here])],
        "of keys that see more it knows nothing"
    );
    // A key that may do more, though it sees no more, is not to be had by rotating it.
    let strong = make(
        &admin,
        json!({ "permissions": ["admin"], "integration_ids": [here] }),
    )
    .json();
    for (method, rest) in [("POST", "/rotate"), ("DELETE", "")] {
        let path = format!("/v1/admin/keys/{}{rest}", text(&strong["result"]["id"]));
        assert_eq!(limited.send(method, &path, &Value::Null).status, 403);
    }
    let integrations = make(
        &admin,
        json!({ "permissions": ["integrations:admin"], "integration_ids": [here] }),
    )
    .json();
    let other = admin.with_token(&text(&integrations["token"]));
    assert_eq!(
        other
            .send(
                "POST",
                "/v1/admin/integrations",
                &integration(&stage, json!({}))
            )
            .status,
        403
    );
}

#[test]
fn an_audit_log_that_was_tampered_with_is_noticed() {
    let mut stage = Stage::set();
    let admin = stage.caller();
    for n in 0..3 {
        done(
            &admin,
            "POST",
            "/v1/admin/keys",
            &json!({ "name": format!("key {n}"), "permissions": ["read"] }),
        );
    }
    let log = admin.get("/v1/admin/audit-log/?limit=2");
    assert_eq!(log["results"][0]["action"], "key_create");
    assert_eq!(log["results"][0]["address"], "127.0.0.1");
    assert_eq!(log["results"][0]["after"]["name"], "key 2");
    let (newest, before) = (
        text(&log["results"][0]["hash"]),
        text(&log["results"][1]["hash"]),
    );
    let database = stage.dir.path().join("portico.db");
    let verify = |head: &str| {
        let data_dir = stage.dir.path().to_str().expect("UTF-8").to_owned();
        Command::new(env!("CARGO_BIN_EXE_portico"))
            .args(["audit", "verify", "--data-dir", &data_dir, "--head", head])
            .output()
            .expect("it runs")
    };
    assert!(verify(&newest).status.success() && verify(&before).status.success());
    let other = verify(&"0".repeat(64));
    assert!(String::from_utf8_lossy(&other.stderr).contains("no entry of it has the hash"));
    stage.server.kill();
    // Folds the write-ahead log into the database when it is done.
    assert!(verify(&newest).status.success());
    // By who may write to the file, past the triggers.
    let mut bytes = std::fs::read(&database).expect("the database");
    let (old, new) = (b"\"name\":\"key 1\"", b"\"name\":\"key 7\"");
    let mut places = 0;
    for at in 0..bytes.len() - old.len() {
        if bytes[at..].starts_with(old) {
            bytes[at..at + new.len()].copy_from_slice(new);
            places += 1;
        }
    }
    assert!(places > 0, "there was something to change");
    std::fs::write(&database, bytes).expect("written");
    let noticed = verify(&newest);
    assert!(!noticed.status.success());
    let told = String::from_utf8_lossy(&noticed.stderr);
    assert!(told.contains("was tampered with"), "{told}");
}
