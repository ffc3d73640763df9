//! What callers hear while the database is gone, and that it goes on by itself when it is back.

use crate::support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Caller, Node, PATIENCE, Process, leads, text};
use testbed::{Options, Server};

/// How long an answer may take while the database is gone: nobody waits for it then.
const ANSWER_MAX: Duration = Duration::from_secs(15);

const WRITES: &str = "/crm/v1/prospects/knock";

/// Asserts that a request is answered with 503, when to come again, and `words`.
fn assert_turned_away(
    caller: &Caller,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &str,
    words: &str,
) {
    let begun = Instant::now();
    let answer = caller.call(method, path, headers, body);
    let answer = answer.unwrap_or_else(|| panic!("{method} {path} is answered"));
    let took = begun.elapsed();
    assert_eq!(answer.status, 503, "{method} {path}: {}", answer.body);
    assert!(
        answer.head.contains("\r\nretry-after: "),
        "{method} {path}: {}",
        answer.head
    );
    let body = answer.json();
    assert_eq!(body["error"]["code"], "unavailable", "{body}");
    let message = body["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(words), "{method} {path}: {message}");
    assert!(took < ANSWER_MAX, "{method} {path}: {took:?}");
}

#[test]
fn while_the_database_is_gone_callers_are_told_to_come_again() {
    let Some(mut database) = Server::start(Options::throw_away()).expect("PostgreSQL starts")
    else {
        return;
    };
    let url = database.database_create("leads").expect("a database");
    let (dir, sandbox) = (
        tempfile::tempdir().expect("a directory"),
        Process::sandbox(),
    );
    // A file of its owner's alone, as a URL with a password must be in.
    let named = dir.path().join("store");
    support::private(&named, &url);
    let data_dir = dir.path().join("data");
    let server = Process::on_database(&data_dir, &named, "127.0.0.1:0", &sandbox, &[]);
    let caller = Caller::of(&server);
    let leads: Vec<Value> = leads(&server, 3);
    let first = caller.post_until_answered(&leads[0], "first");
    assert_eq!(first.status, 200, "{}", first.body);
    let job_id = first.job_id();
    let id = caller.end_of(&job_id)["created_record_id"].clone();
    let id = id.as_str().expect("the id of a prospect");

    database.kill().expect("it was running");
    let second = leads[1].to_string();
    for headers in [
        &[("idempotency-key", "second")][..],
        &[("prefer", "wait=5")],
        &[],
    ] {
        let words = "Nothing was stored";
        assert_turned_away(&caller, ("POST", WRITES), headers, &second, words);
    }
    for path in [
        "/crm/v1/prospects".to_owned(),
        format!("/crm/v1/prospects/{id}"),
        format!("/v1/admin/write-status/{job_id}"),
        "/v1/admin/events".to_owned(),
        "/v1/admin/audit-log/".to_owned(),
        "/readyz".to_owned(),
    ] {
        let words = if path == "/readyz" {
            "The store does not answer"
        } else {
            "does not answer, or more is coming in than it can store. Send the same request again"
        };
        assert_turned_away(&caller, ("GET", &path), &[], "", words);
    }
    let alive = caller.call("GET", "/healthz", &[], "").expect("an answer");
    assert_eq!(alive.status, 200);
    let metrics = caller.call("GET", "/metrics", &[], "").expect("an answer");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.body.contains("portico_store_answers 0"),
        "{}",
        metrics.body
    );

    database.start_again().expect("it starts again");
    let answer = caller.post_until_answered(&leads[1], "second");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let replay = caller.post_until_answered(&leads[0], "first");
    assert_eq!(replay.body, first.body);
    assert!(replay.head.contains("idempotency-replayed: true"));
    caller.delivered("POST", WRITES, &leads[2]);
    assert_eq!(caller.end_of(&answer.job_id())["write_status"], "SUCCESS");
    let begun = Instant::now();
    while caller
        .call("GET", "/readyz", &[], "")
        .is_none_or(|answer| answer.status != 200)
    {
        assert!(begun.elapsed() < PATIENCE, "it is ready again");
    }
}

/// Lines of a log that want to be looked at, in short.
fn warnings(log: &[Value]) -> Vec<String> {
    let wants = |line: &&Value| line["level"] == "WARN" || line["level"] == "ERROR";
    let lines = log.iter().filter(wants);
    lines.map(|line| text(&line["fields"]["message"])).collect()
}

#[test]
fn an_outage_of_the_database_is_told_in_a_few_lines() {
    let Some(mut database) = Server::start(Options::throw_away()).expect("PostgreSQL starts")
    else {
        return;
    };
    let url = database.database_create("leads").expect("a database");
    let dir = tempfile::tempdir().expect("a directory");
    support::private(&dir.path().join("master.key"), &"ab".repeat(32));
    let node = Node::start(dir.path(), &url, "all");
    let caller = node.caller("none");
    assert_eq!(warnings(&node.log()), Vec::<String>::new());

    database.kill().expect("it was running");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let ready = caller.call("GET", "/readyz", &[], "").expect("an answer");
        assert_eq!(ready.status, 503, "{}", ready.body);
        std::thread::sleep(Duration::from_millis(50));
    }
    let log = node.log();
    let told = warnings(&log);
    let lost = "the database cannot be reached; it is tried again and again, and who asks meanwhile hears 503";
    assert!(told.iter().any(|line| line == lost), "{log:?}");
    // Once for all, and besides once for each connection that was in the middle of something.
    assert!(told.len() <= 8, "{told:#?}");
    assert_eq!(told.iter().filter(|line| *line == lost).count(), 1);

    database.start_again().expect("it starts again");
    let begun = Instant::now();
    let mut since = Vec::new();
    let is_back = |line: &Value| line["fields"]["message"] == "the database can be reached again";
    while !since.iter().any(is_back) {
        assert!(begun.elapsed() < PATIENCE, "{since:?}");
        std::thread::sleep(Duration::from_millis(50));
        since.extend(node.log());
    }
    let back: Vec<&Value> = since.iter().filter(|line| is_back(line)).collect();
    assert_eq!(back.len(), 1, "{since:?}");
    assert!(
        back[0]["fields"]["after_ms"].as_u64() >= Some(2_500),
        "{back:?}"
    );
}
