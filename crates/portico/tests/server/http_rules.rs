//! The rules of HTTP that proxies and libraries rest on, kept by the real binary.
//!
//! Goal: a request that two parties could read differently is refused, and one that only looks
//! unusual is answered. Method: raw requests over loopback, a table each.

use crate::support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use serde_json::json;
use support::{Answer, Caller, Node, PATIENCE, Stage, private, text, with};

/// What comes back until the server makes an end.
fn hear(address: &str, request: &str, is_half_closed: bool) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(request.as_bytes()).expect("sent");
    if is_half_closed {
        stream.shutdown(Shutdown::Write).expect("shut");
    }
    let mut heard = String::new();
    stream.read_to_string(&mut heard).expect("an end");
    heard
}

#[test]
fn a_request_has_one_host() {
    let stage = Stage::set();
    let address = stage.caller().address;
    for (line, headers, expected) in [
        ("GET /healthz HTTP/1.1", "host: a\r\n", "200"),
        ("GET /healthz HTTP/1.1", "host: a.example:8080\r\n", "200"),
        ("GET /healthz HTTP/1.1", "host:\r\n", "200"),
        ("GET http://a/healthz HTTP/1.1", "host: a\r\n", "200"),
        ("GET /healthz HTTP/1.0", "", "200"),
        ("GET /healthz HTTP/1.1", "", "400"),
        ("GET http://a/healthz HTTP/1.1", "", "400"),
        ("GET /healthz HTTP/1.1", "host: a\r\nhost: a\r\n", "400"),
        ("GET /healthz HTTP/1.1", "host: a\r\nHost: b\r\n", "400"),
        ("GET /healthz HTTP/1.0", "host: a\r\nhost: b\r\n", "400"),
        ("GET /healthz HTTP/1.1", "host: a b\r\n", "400"),
        ("GET /healthz HTTP/1.1", "host: ada@a\r\n", "400"),
        ("GET /crm/v1/prospects HTTP/1.1", "", "400"),
        ("GET /nothing HTTP/1.1", "", "400"),
    ] {
        let heard = hear(
            &address,
            &format!("{line}\r\nconnection: close\r\n{headers}\r\n"),
            false,
        );
        let status = heard.split(' ').nth(1).unwrap_or_default();
        assert_eq!(status, expected, "{line} {headers:?}: {heard}");
        let is_told = heard.contains("\"invalid_request\"") && heard.contains("x-request-id: ");
        assert_eq!(is_told, expected == "400", "{line} {headers:?}: {heard}");
    }
}

#[test]
fn a_caller_that_closes_its_sending_half_is_answered() {
    let stage = Stage::set();
    let caller = stage.caller();
    let lead = with(
        &stage.references("Saguaro Flats"),
        json!({ "email_1": "half@example.com" }),
    );
    let lead = lead.to_string();
    let write = |more: &str| {
        format!(
            "POST /crm/v1/prospects/knock HTTP/1.1\r\nhost: portico\r\nauthorization: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{more}\r\n{lead}",
            caller.bearer(),
            lead.len()
        )
    };
    for request in [
        "GET /healthz HTTP/1.1\r\nhost: portico\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nhost: portico\r\n\r\n".repeat(3),
        write(""),
        write("prefer: wait=50\r\n"),
    ] {
        let heard = hear(&caller.address, &request, true);
        let wanted = request.matches("host: ").count();
        assert_eq!(heard.matches("HTTP/1.1 200 ").count(), wanted, "{heard}");
        assert!(
            !request.contains("wait") || heard.contains("SUCCESS"),
            "{heard}"
        );
    }
    // One that closes it amid its request is not.
    let cut = write("");
    let heard = hear(&caller.address, &cut[..cut.len() - 1], true);
    assert!(
        heard.is_empty() || heard.starts_with("HTTP/1.1 400 "),
        "{heard}"
    );
}

#[test]
fn the_idle_time_is_a_setting_and_told() {
    let directory = tempfile::tempdir().expect("a directory");
    private(&directory.path().join("master.key"), &"ab".repeat(32));
    let mut command = Node::command(directory.path());
    command.args(["--data-dir", "kept", "--master-key-file", "master.key"]);
    command.args(["--idle-timeout-s", "2"]);
    let node = Node::serve(command).unwrap_or_else(|log| panic!("it does not serve: {log}"));
    let address = &node.address;
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: portico\r\n\r\n")
        .expect("sent");
    let (begun, mut heard) = (Instant::now(), String::new());
    stream.read_to_string(&mut heard).expect("an end");
    assert!(heard.contains("\r\nkeep-alive: timeout=2\r\n"), "{heard}");
    assert!(heard.contains("\r\nconnection: keep-alive\r\n"), "{heard}");
    // It is kept for as long as was told at least.
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    for (line, header, stays) in [
        ("GET /healthz HTTP/1.1", "connection: close", false),
        ("GET /healthz HTTP/1.0", "x: y", false),
        ("GET /healthz HTTP/1.0", "connection: keep-alive", true),
    ] {
        let heard = hear(
            address,
            &format!("{line}\r\nhost: portico\r\n{header}\r\n\r\n"),
            false,
        );
        assert!(heard.contains(" 200 "), "{heard}");
        assert_eq!(
            heard.contains("keep-alive: timeout=2"),
            stays,
            "{line} {header}: {heard}"
        );
    }
}

#[test]
fn what_is_wrong_with_the_text_of_a_body_is_named() {
    let stage = Stage::set();
    let caller = stage.caller();
    for (body, expected) in [
        (r#"{"first_name":"\ud83d"}"#, "half a character"),
        (r#"{"first_name":"\ude00"}"#, "half a character"),
        ("\u{feff}{}", "byte order mark"),
        ("{}\u{feff}", "byte order mark"),
    ] {
        let answer = caller
            .call("POST", "/crm/v1/prospects/knock", &[], body)
            .expect("an answer");
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(
            text(&answer.issues()[0]["message"]).contains(expected),
            "{}",
            answer.body
        );
    }
}

#[test]
fn an_idempotency_key_comes_once_and_its_quotes_are_syntax() {
    let stage = Stage::set();
    let caller = stage.caller();
    let lead = with(
        &stage.references("Saguaro Flats"),
        json!({ "email_1": "once@example.com" }),
    );
    let post = |keys: &[&str]| -> Answer {
        let headers: Vec<_> = keys.iter().map(|key| ("idempotency-key", *key)).collect();
        let path = "/crm/v1/prospects/knock";
        caller
            .call("POST", path, &headers, &lead.to_string())
            .expect("an answer")
    };
    let first = post(&["abc"]);
    assert_eq!(first.status, 200, "{}", first.body);
    for key in ["abc", "\"abc\""] {
        let again = post(&[key]);
        assert_eq!((again.status, &again.body), (200, &first.body));
        assert!(
            again.head.contains("idempotency-replayed: true"),
            "{}",
            again.head
        );
    }
    let quoted = post(&[r#""a\"b c""#]);
    assert_eq!(post(&[r#""a\"b c""#]).body, quoted.body);
    for keys in [
        &["abc", "abc"][..],
        &["abc", "def"],
        &["\"abc"],
        &["\"a\";b"],
        &["\"\""],
    ] {
        let refused = post(keys);
        assert_eq!(refused.status, 400, "{keys:?}: {}", refused.body);
        assert_eq!(
            refused.issues()[0]["path"],
            json!(["Idempotency-Key"]),
            "{}",
            refused.body
        );
    }
}

/// The ids of the prospects on a page.
fn found(caller: &Caller, path: &str) -> Vec<String> {
    let page = caller.get(path);
    let all = page["results"]
        .as_array()
        .unwrap_or_else(|| panic!("{path}: {page}"));
    all.iter().map(|one| text(&one["id"])).collect()
}

#[test]
fn filters_are_read_as_they_arrive() {
    let stage = Stage::set();
    let caller = stage.caller();
    let lead = json!({ "email_1": "ada+home@example.com", "phone_1": "+442079460958" });
    let id = caller.prospect(&with(&stage.references("Saguaro Flats"), lead));
    for query in [
        "phone_1=%2B442079460958",
        "phone_1=+442079460958",
        "phone_1=%20442079460958",
        "phone_1=+44%2020%207946%200958",
        "ph%6Fne_1=+442079460958",
        "email_1=ada+home@example.com",
        "email%5F1=ada%2Bhome%40example.com",
        "updated_at_lte=9999-12-31T23:59:59Z",
        "updated_at_lte=9999-12-31",
        "updated_at_gte=2020-01-01",
        "updated_at_gte=2020-01-01T00:00:00",
        "updated_at_gte=2020-01-01+00:00:00",
        "updated_at_gte=2020-01-01%2000:00",
        "updated_at_gte=2020-01-01T00:00:00+02:00",
        "updated_at_gte=2020-01-01+00:00:00+02:00",
        "updated%5Fat_gte=2020-01-01T00:00:00Z&last_seen_lte=9999-12-31T23:59:59%2B00:00",
        "limit=%31&order%2Dby=created_at%3Adesc",
    ] {
        for path in [
            "/crm/v1/prospects",
            "/crm/v1/%70rospects/",
            "/%63rm/v1/prospec%74s",
        ] {
            assert_eq!(
                found(&caller, &format!("{path}?{query}")),
                std::slice::from_ref(&id),
                "{path}?{query}"
            );
        }
    }
    for query in [
        "phone_1=+442079460959",
        "updated_at_gte=9999-12-31T23:59:59Z",
        "updated_at_lte=2020-01-01",
    ] {
        assert!(
            found(&caller, &format!("/crm/v1/prospects?{query}")).is_empty(),
            "{query}"
        );
    }
    for query in [
        "updated_at_gte=2027-02-29",
        "updated_at_gte=tomorrow",
        "order%2Dbi=x",
    ] {
        let path = format!("/crm/v1/prospects?{query}");
        let refused = caller.call("GET", &path, &[], "").expect("an answer");
        assert_eq!(refused.status, 400, "{query}: {}", refused.body);
    }
    let escaped = id.replace('_', "%5F");
    assert_eq!(
        caller.get(&format!("/crm/v1/prospects/{escaped}"))["results"]["id"],
        json!(id)
    );
    let events =
        caller.get("/v1/admin/events?created_at_gte=2020-01-01&order%2Dby=created_at%3Aasc");
    assert!(!events["results"].as_array().expect("events").is_empty());
}
