//! The public contract, as a caller meets it.
//!
//! Goal: every status has the one error shape and words that help. That no route forgets its key or its permission is shown in access.rs.

use crate::support;

use std::{
    io::{Read, Write},
    path::Path,
    process::Command,
};

use serde_json::{Value, json};
use support::{Answer, Caller, PATIENCE, Stage, leads};

fn portico(arguments: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_portico"))
        .args(arguments)
        .output()
        .expect("portico runs");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).expect("UTF-8")
}

/// `portico keys` on the data of a running server.
fn keys(stage: &Stage, arguments: &[&str]) -> String {
    let data_dir = stage.dir.path().to_str().expect("UTF-8");
    portico(&[&["keys", "--data-dir", data_dir], arguments].concat())
}

/// A caller whose new key has just `permissions`.
fn with_key(stage: &Stage, permissions: &str) -> (Caller, String) {
    let made = keys(
        stage,
        &[
            "create",
            "--name",
            permissions,
            "--permissions",
            permissions,
            "--sandbox",
            "--json",
        ],
    );
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let caller = stage
        .caller()
        .with_token(made["token"].as_str().expect("a token"));
    // Made by another process: in force within a quarter of a second.
    let started = std::time::Instant::now();
    while caller
        .call("GET", "/crm/v1/prospects", &[], "")
        .expect("an answer")
        .status
        == 401
    {
        assert!(started.elapsed() < PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    (caller, made["id"].as_str().expect("an id").to_owned())
}

fn error_of(answer: &Answer, status: u16, code: &str) -> Value {
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["error"]["code"]),
        (status, &json!(code)),
        "{body}"
    );
    assert!(
        body["error"]["message"]
            .as_str()
            .is_some_and(|words| words.len() > 20),
        "{body}"
    );
    assert!(answer.head.contains("x-request-id: "), "{}", answer.head);
    body
}

#[test]
fn a_revoked_key_is_out_within_a_second() {
    let stage = Stage::set();
    let (reader, key_id) = with_key(&stage, "read");
    keys(&stage, &["revoke", &key_id]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    error_of(
        &reader
            .call("GET", "/crm/v1/prospects", &[], "")
            .expect("an answer"),
        401,
        "unauthorized",
    );
    let listed = keys(&stage, &["list", "--json"]);
    assert!(!listed.contains("token_hash"));
}

#[test]
fn the_command_line_names_the_webhooks_of_a_key_that_it_revokes() {
    let stage = Stage::set();
    let admin = stage.caller();
    for (keeps, is_active) in [(false, false), (true, true)] {
        let (maker, key_id) = with_key(&stage, "webhooks:admin,prospects:read");
        let body = json!({ "url": "http://127.0.0.1:9/hook", "triggers": ["JOB_FAILURE"], "active": true });
        let made = maker.send("POST", "/v1/webhooks", &body).json();
        let id = made["result"]["id"].as_str().expect("an id").to_owned();
        let mut arguments = vec!["revoke", &key_id, "--json"];
        if keeps {
            arguments.push("--keep-webhooks");
        }
        let told: Value = serde_json::from_str(&keys(&stage, &arguments)).expect("JSON");
        let (disabled, kept) = if keeps {
            (json!([]), json!([id]))
        } else {
            (json!([id]), json!([]))
        };
        assert_eq!(
            told["webhooks"],
            json!({ "disabled": disabled, "kept": kept })
        );
        let webhook = admin.get(&format!("/v1/webhooks/{id}"));
        assert_eq!(webhook["result"]["active"], is_active, "{webhook}");
    }
}

#[test]
fn all_problems_of_a_body_are_told_at_once() {
    let stage = Stage::set();
    let caller = stage.caller();
    let body = json!({
        "community_id": "com_nowhere", "attribution_id": 5, "agent_id": "agt_nobody", "email_1": "none@none.com", "phone_1": "12", "zork": 1,
        "lease_term_in_months": 19, "pets": ["COW", 3], "number_of_occupants": 1.5, "notes": "x".repeat(1_001), "first_contact_type": "FAX",
        "desired_num_bedrooms": [0, 4], "move_in_date": "2027-02-30", "rent_minimum_in_cents": 5, "rent_maximum_in_cents": 3, "subscribe": "yes",
    });
    let answer = caller
        .call("POST", "/crm/v1/prospects/knock/", &[], &body.to_string())
        .expect("an answer");
    insta::assert_json_snapshot!("every_problem", error_of(&answer, 400, "invalid_request"));
    let lenient = caller
        .call(
            "POST",
            "/crm/v1/prospects/knock?ignore_unknown_fields=true",
            &[],
            "{\"zork\":1}",
        )
        .expect("an answer");
    insta::assert_json_snapshot!(
        "what_is_missing",
        error_of(&lenient, 400, "invalid_request")
    );
}

#[test]
fn every_other_error_has_the_same_shape() {
    let stage = Stage::set();
    let (caller, body) = (stage.caller(), leads(&stage.server, 1).remove(0));
    let post = |headers: &[(&str, &str)], body: &str| {
        caller
            .call("POST", "/crm/v1/prospects/knock", headers, body)
            .expect("an answer")
    };
    let mut shown = serde_json::Map::new();
    let mut show = |name: &str, body: Value| shown.insert(name.to_owned(), body);

    show(
        "no route",
        error_of(
            &caller
                .call("GET", "/crm/v1/nothing", &[], "")
                .expect("an answer"),
            404,
            "not_found",
        ),
    );
    let wrong_method = caller
        .call("DELETE", "/crm/v1/prospects/knock", &[], "")
        .expect("an answer");
    assert!(
        wrong_method.head.contains("allow: post"),
        "{}",
        wrong_method.head
    );
    show(
        "wrong method",
        error_of(&wrong_method, 405, "method_not_allowed"),
    );
    show(
        "no record",
        error_of(
            &caller
                .call("GET", "/crm/v1/prospects/pro_1", &[], "")
                .expect("an answer"),
            404,
            "not_found",
        ),
    );
    let form = support::request(
        &caller.address,
        "POST",
        "/crm/v1/prospects/knock",
        &[
            ("authorization", &caller.bearer()),
            ("content-type", "text/plain"),
        ],
        "{}",
    );
    show(
        "not JSON by its type",
        error_of(&form.expect("an answer"), 415, "unsupported_media_type"),
    );
    show(
        "too large",
        error_of(
            &post(&[], &format!("\"{}\"", "x".repeat(300_000))),
            413,
            "payload_too_large",
        ),
    );
    show(
        "not JSON",
        error_of(&post(&[], "{'a': 1}"), 400, "invalid_request"),
    );
    show(
        "nested too deep",
        error_of(&post(&[], &"[".repeat(1_000)), 400, "invalid_request"),
    );
    show(
        "an idempotency key that is too long",
        error_of(
            &post(&[("idempotency-key", &"k".repeat(256))], &body.to_string()),
            400,
            "invalid_request",
        ),
    );
    assert_eq!(
        post(&[("idempotency-key", "k")], &body.to_string()).status,
        200
    );
    let mut other = body.clone();
    other["notes"] = json!("another body");
    show(
        "another body under the same key",
        error_of(
            &post(&[("idempotency-key", "k")], &other.to_string()),
            422,
            "idempotency_mismatch",
        ),
    );
    let answer = post(&[("prefer", "wait=30")], &body.to_string());
    let accepted = answer.json();
    assert_eq!(accepted["meta"]["write_status"], "SUCCESS", "{accepted}");
    let retry = format!(
        "/v1/admin/retry-write/{}",
        accepted["meta"]["job_id"].as_str().expect("a job id")
    );
    show(
        "a retry of a write that did not fail",
        error_of(
            &caller.call("POST", &retry, &[], "").expect("an answer"),
            409,
            "conflict",
        ),
    );
    show(
        "a limit that is too large",
        error_of(
            &caller
                .call("GET", "/crm/v1/prospects?limit=251", &[], "")
                .expect("an answer"),
            400,
            "invalid_request",
        ),
    );
    insta::with_settings!({ filters => vec![(r"job_[0-9a-z]{26}", "job_[ID]")] }, {
        insta::assert_json_snapshot!("other_errors", Value::Object(shown));
    });

    let own = post(&[("x-request-id", "my-own.id:1")], "{}");
    assert!(
        own.head.contains("x-request-id: my-own.id:1"),
        "{}",
        own.head
    );
    let insane = post(&[("x-request-id", "a b")], "{}");
    assert!(
        !insane.head.contains("x-request-id: a b"),
        "{}",
        insane.head
    );
}

#[test]
fn a_refusal_by_knock_ends_in_its_own_words_and_can_be_retried_once() {
    let stage = Stage::set();
    let (caller, body) = (stage.caller(), leads(&stage.server, 1).remove(0));
    let fault =
        json!({ "match": { "path": "/prospect" }, "kind": "status", "status": 400, "times": 1 });
    stage.add_fault(&fault);
    let accepted = caller.post_until_answered(&body, "refused").json();
    let job_id = accepted["meta"]["job_id"].as_str().expect("a job id");
    let end = caller.end_of(job_id);
    assert_eq!(end["write_status"], "FAILURE", "{end}");
    assert!(
        end["errors"][0]
            .as_str()
            .is_some_and(|words| words.starts_with("Knock answered 400: ")),
        "{end}"
    );
    let retry = || {
        caller
            .call("POST", &format!("/v1/admin/retry-write/{job_id}"), &[], "")
            .expect("an answer")
    };
    let retried = retry().json();
    assert_eq!(retried["success"], true);
    assert_eq!(
        caller.end_of(retried["job_id"].as_str().expect("a job id"))["outcome"],
        "CREATED"
    );
    error_of(&retry(), 409, "conflict");
    let again = caller.post_until_answered(&body, "again").json();
    let end = caller.end_of(again["meta"]["job_id"].as_str().expect("a job id"));
    assert_eq!(
        (&end["write_status"], &end["outcome"]),
        (&json!("SUCCESS"), &json!("MATCHED"))
    );
    let attempts = caller.get(&format!("/v1/admin/writes/{job_id}/attempts"));
    assert_eq!(attempts["results"][0]["response"]["status"], 400);
    assert_eq!(attempts["results"][0]["outcome"], "rejected");
}

#[test]
fn the_checked_in_document_is_the_one_that_is_served() {
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi.json");
    let checked_in = std::fs::read_to_string(checked_in).expect("openapi.json");
    let served = portico(&["openapi"]);
    // Not the whole of both, which nobody would read.
    let differs = checked_in
        .lines()
        .zip(served.lines())
        .position(|(kept, now)| kept != now);
    assert!(
        checked_in.trim() == served.trim(),
        "line {:?} differs, or one is shorter; write it anew: cargo run -- openapi > openapi.json",
        differs.map(|place| place + 1)
    );
}

/// Sends bytes as they are and returns the answer up to where the server closes, or stops for a while.
fn raw(address: &str, bytes: &[u8]) -> String {
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(bytes).expect("sent");
    let mut answer = vec![0; 64 * 1_024];
    let count = stream.read(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

#[test]
fn a_request_that_stalls_or_swells_is_told_so() {
    let stage = Stage::set();
    let caller = stage.caller();
    let stalled = format!(
        "POST /crm/v1/prospects/knock HTTP/1.1\r\nhost: portico\r\nauthorization: {}\r\ncontent-type: application/json\r\ncontent-length: 200\r\n\r\n{{\"a\"",
        caller.bearer()
    );
    let answer = raw(&caller.address, stalled.as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("fewer than 16 KiB in 4 s"),
        "{answer}"
    );
    let swollen = format!(
        "GET /healthz HTTP/1.1\r\nhost: portico\r\nx: {}\r\n\r\n",
        "a".repeat(20_000)
    );
    let answer = raw(&caller.address, swollen.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[test]
fn what_a_library_refuses_has_our_shape_too() {
    let stage = Stage::set();
    let caller = stage.caller();
    for (path, status, code) in [
        ("/crm/v1/prospects/pro_%ff", 400, "invalid_request"),
        ("/v1/admin/write-status/%ff", 400, "invalid_request"),
        ("/docs/nope", 404, "not_found"),
    ] {
        let answer = caller.call("GET", path, &[], "").expect("an answer");
        error_of(&answer, status, code);
    }
    let answer = caller
        .call(
            "POST",
            "/crm/v1/prospects/knock",
            &[("content-encoding", "gzip")],
            "{}",
        )
        .expect("an answer");
    error_of(&answer, 415, "unsupported_media_type");
}

#[test]
fn what_a_write_refers_to_is_listed_and_read_by_its_id() {
    let stage = Stage::set();
    let caller = stage.caller();
    for (plural, singular) in [
        ("communities", "community"),
        ("attributions", "attribution"),
        ("agents", "agent"),
    ] {
        let made = stage.server.ready[plural].as_array().expect("a list");
        let page = caller.get(&format!("/crm/v1/{plural}/?limit=250"));
        assert_eq!(page["meta"]["total"], made.len(), "{page}");
        assert_eq!(page["meta"]["hasMore"], false);
        let rows = page["results"].as_array().expect("rows");
        for one in made {
            let id = one["id"].as_str().expect("an id");
            let read = caller.get(&format!("/crm/v1/{plural}/{id}"))["results"].clone();
            assert!(rows.contains(&read), "{read}");
            assert_eq!(read["integration_id"], stage.server.ready["integration_id"]);
            assert_eq!(read["integration_vendor"], "KNOCK");
            for (member, value) in one.as_object().expect("an object") {
                assert_eq!(read[member], *value, "{member} of {read}");
            }
            // An id is of one kind.
            let other = if plural == "agents" {
                "communities"
            } else {
                "agents"
            };
            let answer = caller.call("GET", &format!("/crm/v1/{other}/{id}"), &[], "");
            error_of(&answer.expect("an answer"), 404, "not_found");
        }
        let first = caller.get(&format!("/crm/v1/{plural}?limit=1"));
        assert_eq!(first["results"][0], rows[0]);
        assert_eq!(first["meta"]["hasMore"], made.len() > 1);
        for (path, status, code) in [
            (
                format!("/crm/v1/{plural}?limit=251"),
                400,
                "invalid_request",
            ),
            (format!("/crm/v1/{plural}?nope=1"), 400, "invalid_request"),
            (format!("/crm/v1/{plural}/{singular}"), 404, "not_found"),
        ] {
            let answer = caller.call("GET", &path, &[], "").expect("an answer");
            error_of(&answer, status, code);
        }
    }
}

/// Bytes that the document may have without its white space.
const DOCUMENT_MAX_BYTES: usize = 250_000;

/// Names that mean something else in the languages that clients are generated in.
const RESERVED: &[&str] = &[
    "Access", "Class", "Diff", "Event", "Health", "Logs", "Model", "Order", "Outcome", "Slot",
    "System",
];

/// The name that a generator for Python gives the module of a component.
fn snake(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push('_');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// Where a schema has a default: generated clients would send it by themselves.
fn defaults(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            // A property may be called so; it is described by an object.
            if members.get("default").is_some_and(|one| !one.is_object()) {
                found.push(at.to_owned());
            }
            for (name, member) in members {
                defaults(member, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(values) => {
            for value in values {
                defaults(value, at, found);
            }
        }
        _ => {}
    }
}

#[test]
fn the_document_is_one_that_client_generators_bear() {
    let document = Stage::set().caller().get("/openapi.json");
    let bytes = document.to_string().len();
    assert!(bytes < DOCUMENT_MAX_BYTES, "{bytes} bytes");
    let mut found = Vec::new();
    defaults(&document, "", &mut found);
    assert_eq!(found, Vec::<String>::new(), "a default");
    let schemas = document["components"]["schemas"].as_object();
    for (name, schema) in schemas.expect("schemas") {
        assert!(!RESERVED.contains(&&**name), "{name}");
        let own = &schema["properties"][snake(name)];
        assert!(own.is_null(), "{name} has a member of its own name");
    }
}
