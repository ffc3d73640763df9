//! Events told to receivers, on the real parts, while these fail and the server is killed.
//!
//! Goal: every event reaches every receiver, under one id and with one body, and in the end nothing
//! is pending. Method: `portico-bench webhooks chaos`, which is the same at full size. It starts
//! the `portico` of the same build, which a build of the whole workspace makes.

use std::process::Command;

use serde_json::Value;

/// Their events are enough for each receiver to fail in each of its ways.
const WRITES: u64 = 400;
const KILLS: u64 = 3;

/// What is waited for at most once all is accepted, in seconds: a second try that also fails waits
/// five minutes for the next, so beyond that is no hope.
const DRAIN_S: &str = "120";

#[test]
fn every_event_reaches_every_receiver_through_failures_and_kills() {
    let (writes, kills) = (WRITES.to_string(), KILLS.to_string());
    let ran = Command::new(env!("CARGO_BIN_EXE_portico-bench"))
        .args(["webhooks", "chaos", "--json"])
        .args(["--writes", &writes])
        .args(["--kills", &kills])
        .args(["--drain-seconds", DRAIN_S])
        .env("PORTICO_LOG", "error")
        .output()
        .expect("the benchmark starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    let shown = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{shown}");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");

    let number = |of: &Value, member: &str| of[member].as_u64().expect("a number");
    for (member, expected) in [
        ("writes", WRITES),
        ("kills", KILLS),
        ("untold", 0),
        ("missing", 0),
        ("unknown", 0),
        ("pending", 0),
    ] {
        assert_eq!(number(&shown, member), expected, "{member} of {shown:#}");
    }
    // A write that ends well brings two events: how it ended, and the prospect.
    let refused = number(&shown, "writes_failed");
    assert!(refused > 0, "{shown:#}");
    let events = 2 * WRITES - refused;
    assert_eq!(number(&shown, "events"), events, "{shown:#}");
    let receivers = shown["receivers"].as_array().expect("receivers");
    assert_eq!(receivers.len(), 6, "{shown:#}");
    for receiver in receivers {
        assert_eq!(number(receiver, "taken"), events, "{shown:#}");
        // That they failed is what was tried.
        let name = receiver["receiver"].as_str().expect("a name");
        let is_sound = ["well", "slow"].contains(&name);
        let failed = number(receiver, "failed_on_purpose");
        assert_eq!(failed == 0, is_sound, "{shown:#}");
    }
}
