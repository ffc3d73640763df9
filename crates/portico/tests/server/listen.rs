//! Goal: whoever develops a receiver meets at their desk what a subscriber would be sent, and misses nothing while the server is away.
//!
//! Method: the real binary twice, as server and as `portico listen`, and a receiver of the test's own.

use crate::support;

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use model::Secret;
use serde_json::{Value, json};
use support::{PATIENCE, Stage, leads, text};
use testkit::{
    SECRET,
    receiver::{Deed, Delivery, TestReceiver},
};
use webhooks::signing::{Key, propexo_signature, signature};

/// `portico listen`, killed when dropped.
struct Listening {
    child: Child,
    prints: Lines<BufReader<ChildStdout>>,
}

impl Listening {
    fn start(stage: &Stage, forward_to: &str, more: &[&str]) -> Self {
        let caller = stage.caller();
        let mut child = Command::new(env!("CARGO_BIN_EXE_portico"))
            .args(["listen", "--json", "--forward-to", forward_to])
            .args([
                "--server",
                &stage.server.text("base_url"),
                "--secret",
                SECRET,
            ])
            .args(more)
            .env("PORTICO_TOKEN", caller.token())
            .env("PORTICO_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .expect("portico starts");
        let prints = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut listening = Self { child, prints };
        assert_eq!(listening.line()["forward_to"], forward_to);
        listening
    }

    fn line(&mut self) -> Value {
        let line = self.prints.next().expect("a line").expect("text");
        serde_json::from_str(&line).expect("JSON")
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn came(receiver: &TestReceiver, count: usize) -> Vec<Delivery> {
    let started = Instant::now();
    loop {
        let taken = receiver.taken();
        if taken.len() >= count {
            return taken;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{} of {count} came",
            taken.len()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn events_are_forwarded_as_they_happen_and_after_an_absence() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let receiver = runtime.block_on(TestReceiver::start()).expect("a receiver");
    let mut stage = Stage::set();
    let caller = stage.caller();
    let before = leads(&stage.server, 12);
    // What happened before is not forwarded.
    caller.prospect(&before[0]);
    let ends = [
        "--trigger",
        "WRITE_OPERATION_SUCCESS,WRITE_OPERATION_FAILURE",
    ];
    let mut listening = Listening::start(&stage, &receiver.url, &ends);
    for lead in &before[1..6] {
        caller.prospect(lead);
    }
    let all = came(&receiver, 5);
    let secret = Secret::new(SECRET);
    for one in &all {
        assert_eq!(one.trigger(), "WRITE_OPERATION_SUCCESS");
        let (id, time) = (one.header("webhook-id"), one.header("webhook-timestamp"));
        let time = time.parse().expect("a time");
        let expected = signature(&[Key::new(&secret)], id, time, &one.body);
        assert_eq!(one.header("webhook-signature"), expected);
        assert_eq!(
            one.header("propexo-signature"),
            propexo_signature(&secret, &one.body)
        );
        let told = caller.get(&format!("/v1/admin/events/{id}"));
        assert_eq!(one.json(), told["result"]["body"], "as the log has it");
        let line = listening.line();
        assert_eq!(
            (&line["event_id"], &line["is_taken"]),
            (&json!(id), &json!(true))
        );
    }

    // A receiver that fails is shown to.
    receiver.next([Deed::Status(500)]);
    caller.prospect(&before[6]);
    let line = listening.line();
    assert_eq!(
        (&line["is_taken"], &line["status"]),
        (&json!(false), &json!(500))
    );

    // What happens while the server is away, or as it comes back, is forwarded then.
    stage.restart_server();
    let caller = stage.caller();
    for lead in &before[7..12] {
        caller.prospect(lead);
    }
    let all = came(&receiver, 11);
    let mut ids: Vec<&str> = all.iter().map(|one| one.header("webhook-id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 11, "each once");
}

#[test]
fn one_can_begin_with_what_has_happened() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let receiver = runtime.block_on(TestReceiver::start()).expect("a receiver");
    let stage = Stage::set();
    let caller = stage.caller();
    let leads = leads(&stage.server, 3);
    let ids: Vec<String> = leads.iter().map(|lead| caller.prospect(lead)).collect();
    let since = stage.set_at().to_string();
    let more = [
        "--since",
        &since,
        "--trigger",
        "DATA_NEW",
        "--model",
        "crm_prospects",
    ];
    let _listening = Listening::start(&stage, &receiver.url, &more);
    let all = came(&receiver, 3);
    let told: Vec<String> = all
        .iter()
        .map(|one| text(&one.json()["data"]["record_id"]))
        .collect();
    assert_eq!(told, ids, "in the order that it happened");
}
