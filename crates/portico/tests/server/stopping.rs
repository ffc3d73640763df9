//! What becomes of callers when the server is told to stop, or to read its files again, on the real
//! binary.
//!
//! Goal: callers who wait are answered at once and hold nothing up; a call to a vendor has its
//! time, unless somebody does not want to wait. Method: callers that would wait for most of a
//! minute, and a vendor that does not answer.

use crate::support;

use std::{
    io::Write,
    net::TcpStream,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{Answer, PATIENCE, Stage, text, with};

/// How long a stop may take when only callers who wait remain, and how much longer on a machine
/// that is as busy as in tests.
const STOP_WITHIN: Duration = Duration::from_secs(2);
const BUSY: Duration = Duration::from_secs(4);

fn tell(stage: &Stage, signal: Signal) {
    let pid = stage.server.ready["pid"].as_i64().expect("a number");
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("a process id");
    kill_process(pid, signal).expect("it is told");
}

/// Waits until so many calls are under way at the vendor.
fn await_calls(stage: &Stage, count: usize) {
    let begun = Instant::now();
    while stage.received().len() < count {
        assert!(begun.elapsed() < PATIENCE, "the vendor is not called");
        sleep(Duration::from_millis(20));
    }
}

/// Waits until the server takes no connection any more.
fn await_deaf(address: &str) {
    let begun = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it still listens");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn callers_who_wait_are_answered_at_once_and_hold_nothing_up() {
    let mut stage = Stage::set();
    let caller = stage.caller();
    let address = caller.address.clone();
    // A vendor that cannot be reached leaves writes pending, with no call under way.
    stage.sandbox.kill();
    let lead = with(
        &stage.references("Saguaro Flats"),
        json!({ "email_1": "ada@example.com" }),
    );
    let job = caller
        .send("POST", "/crm/v1/prospects/knock", &lead)
        .job_id();
    let newest = caller.get("/v1/admin/events?limit=1");
    let cursor = newest["meta"]["nextCursor"].as_str().map(str::to_owned);
    let follow = format!(
        "/v1/admin/events?order-by=created_at:asc&cursor={}",
        cursor.expect("an event")
    );
    let status = format!("/v1/admin/write-status/{job}");
    let other = with(
        &stage.references("Saguaro Flats"),
        json!({ "email_1": "bea@example.com" }),
    );
    // Callers that never send a whole head, or are idle.
    let mut partial = TcpStream::connect(&address).expect("a connection");
    partial.write_all(b"GET /healthz HT").expect("sent");
    let idle = TcpStream::connect(&address).expect("a connection");

    let wait = [("prefer", "wait=50")];
    let other = other.to_string();
    let asks: [(&str, &str, &str); 3] = [
        ("POST", "/crm/v1/prospects/knock", &other),
        ("GET", &status, ""),
        ("GET", &follow, ""),
    ];
    let answers: Vec<(Answer, Duration)> = std::thread::scope(|scope| {
        let callers: Vec<_> = asks
            .iter()
            .map(|(method, path, body)| {
                scope.spawn(|| {
                    let answer = caller.call(method, path, &wait, body).expect("an answer");
                    (answer, Instant::now())
                })
            })
            .collect();
        // The write that waits is stored, so all of them are on their way; then they wait.
        let begun = Instant::now();
        loop {
            let page = caller.get("/v1/admin/logs/writes");
            if page["results"]["logs"].as_array().expect("logs").len() == 2 {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{page}");
            sleep(Duration::from_millis(20));
        }
        sleep(Duration::from_millis(500));
        let told = Instant::now();
        tell(&stage, Signal::TERM);
        callers
            .into_iter()
            .map(|one| {
                let (answer, at) = one.join().expect("no panic");
                (answer, at - told)
            })
            .collect()
    });
    let told = Instant::now();
    stage.server.wait();
    let stopped = told.elapsed();
    assert!(stopped < STOP_WITHIN + BUSY, "{stopped:?}");
    for (answer, took) in &answers {
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(*took < STOP_WITHIN + BUSY, "{took:?}: {}", answer.body);
    }
    assert_eq!(answers[0].0.json()["meta"]["write_status"], "PENDING");
    assert_eq!(answers[1].0.json()["write_status"], "PENDING");
    assert_eq!(answers[2].0.json()["results"], json!([]));
    drop((partial, idle));
}

#[test]
fn a_call_to_a_vendor_has_its_time_unless_the_server_is_told_again() {
    for is_told_again in [false, true] {
        let mut stage = Stage::set();
        let caller = stage.caller();
        stage.add_fault(&json!({
            "kind": "timeout_after_store",
            "latency_ms": if is_told_again { 60_000 } else { 3_000 },
            "match": { "method": "POST" },
        }));
        let lead = with(
            &stage.references("Saguaro Flats"),
            json!({ "email_1": "ada@example.com" }),
        );
        let job = caller
            .send("POST", "/crm/v1/prospects/knock", &lead)
            .job_id();
        await_calls(&stage, 1);
        tell(&stage, Signal::TERM);
        await_deaf(&caller.address);
        let told = Instant::now();
        if is_told_again {
            tell(&stage, Signal::INT);
        }
        stage.server.wait();
        let took = told.elapsed();
        // The drain of the worker alone takes ten seconds.
        assert!(!is_told_again || took < Duration::from_secs(8), "{took:?}");
        // What was under way is sent again, and is the same card.
        stage.clear_faults();
        stage.restart_server();
        let caller = stage.caller();
        let attempts = caller.get(&format!("/v1/admin/writes/{job}/attempts"));
        assert_eq!(caller.end_of(&job)["write_status"], "SUCCESS", "{attempts}");
        assert_eq!(stage.cards().len(), 1);
    }
}

#[test]
fn a_hangup_does_not_end_the_server() {
    let stage = Stage::set();
    let caller = stage.caller();
    for _ in 0..3 {
        tell(&stage, Signal::HUP);
        let lead = with(
            &stage.references("Saguaro Flats"),
            json!({ "email_1": "ada@example.com" }),
        );
        let end: Value = caller.delivered("POST", "/crm/v1/prospects/knock", &lead);
        assert_eq!(text(&end["write_status"]), "SUCCESS");
    }
}
