//! A gateway that answers for the vendor, and vendors that never answer.
//!
//! Goal: what a gateway says is not taken for the vendor's word, so nothing is lost and nothing counts
//! as gone; and integrations that hang do not delay another. Method: the real binary, with a gateway
//! of the test's own between it and the sandbox.

use crate::support;

#[path = "support/gateway.rs"]
mod gateway;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use gateway::{Fate, Gateway};
use serde_json::{Value, json};
use support::{Caller, Node, PATIENCE, Process, portico, private, request, text, with};

const WRITES: &str = "/crm/v1/prospects/knock";

/// Waits until `holds`.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it does not come to {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The sandbox, a gateway in front of it, and a server that knows only the gateway. Dropped in this
/// order.
struct Stage {
    server: Process,
    sandbox: Process,
    gateway: Gateway,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn set() -> Self {
        let (dir, sandbox) = (
            tempfile::tempdir().expect("a directory"),
            Process::sandbox(),
        );
        let gateway = Gateway::before(&sandbox.address("sandbox_url"));
        let data_dir = dir.path().to_str().expect("a path in UTF-8");
        let server = Process::start(&[
            "dev",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--sandbox-url",
            &gateway.url,
            "--data-dir",
            data_dir,
        ]);
        Self {
            server,
            sandbox,
            gateway,
            _dir: dir,
        }
    }

    fn caller(&self) -> Caller {
        Caller::of(&self.server)
    }

    /// What a lead refers to.
    fn place(&self) -> Value {
        let community = &self.server.ready["communities"][0]["id"];
        let attributions = self.server.ready["attributions"].as_array().expect("some");
        let attribution = attributions.iter().find(|one| {
            let ids = one["community_ids"].as_array().expect("ids");
            ids.contains(community)
        });
        json!({
            "integration_id": self.server.ready["integration_id"],
            "community_id": community,
            "attribution_id": attribution.expect("one")["id"],
        })
    }

    /// One call of the sandbox's control surface.
    fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let address = self.sandbox.address("sandbox_url");
        let headers = [("content-type", "application/json")];
        let path = format!("/_sandbox/{path}");
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let answer = request(&address, method, &path, &headers, &body).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    fn cards(&self) -> Vec<Value> {
        let state = self.control("GET", "state", &Value::Null);
        state["prospects"].as_array().expect("cards").clone()
    }
}

fn attempts(caller: &Caller, job_id: &str) -> Vec<Value> {
    let attempts = caller.get(&format!("/v1/admin/writes/{job_id}/attempts"));
    attempts["results"].as_array().expect("attempts").clone()
}

#[test]
fn what_a_gateway_refuses_is_delivered_once_it_is_gone() {
    let stage = Stage::set();
    let (caller, place) = (stage.caller(), stage.place());
    let known = with(&place, json!({ "email_1": "known@mail.example.com" }));
    let known = caller.prospect(&known);
    let mut emails = BTreeSet::from(["known@mail.example.com".to_owned()]);
    for status in [400, 404, 405, 410, 200] {
        stage.gateway.rule(move |asked| match asked.method {
            "GET" => Fate::Passes,
            _ => Fate::Page(status),
        });
        let before = stage.gateway.pages();
        let mut jobs: Vec<String> = (0..6)
            .map(|n| {
                let email = format!("{status}.{n}@mail.example.com");
                let lead = with(&place, json!({ "email_1": email }));
                emails.insert(email);
                caller.send("POST", WRITES, &lead).job_id()
            })
            .collect();
        let change = json!({ "last_name": format!("King {status}") });
        let path = format!("{WRITES}/{known}");
        jobs.push(caller.send("PUT", &path, &change).job_id());
        let event = json!({
            "prospect_id": known, "event_name": "ACTIVITY", "event_datetime": "2026-01-01T00:00:00Z",
            "notes": status.to_string(),
        });
        let event = with(&place, event);
        jobs.push(caller.send("POST", "/crm/v1/events/knock", &event).job_id());

        until("a page for each", || {
            stage.gateway.pages() >= before + jobs.len()
        });
        let first = &jobs[0];
        until("an attempt", || !attempts(&caller, first).is_empty());
        let attempt = attempts(&caller, first).remove(0);
        let outcome = if status == 200 { "unknown" } else { "retry" };
        assert_eq!(attempt["outcome"], outcome, "{attempt}");
        let error = text(&attempt["error"]);
        for words in [
            &status.to_string(),
            "text/html; charset=iso-8859-1",
            "<html><head><title>",
        ] {
            assert!(error.contains(words), "{words}: {attempt}");
        }
        for job_id in &jobs {
            let state = caller.get(&format!("/v1/admin/write-status/{job_id}"));
            assert_eq!(state["write_status"], "PENDING", "{state}");
        }

        stage.gateway.rule(|_| Fate::Passes);
        for job_id in &jobs {
            let end = caller.end_of(job_id);
            assert_eq!(end["write_status"], "SUCCESS", "{end}");
        }
    }
    let cards = stage.cards();
    let held: BTreeSet<String> = cards.iter().map(|card| text(&card["email"])).collect();
    assert_eq!(held, emails);
    assert_eq!(cards.len(), emails.len(), "one card a person");
    // The vendor's own refusal is one.
    let refused = json!({ "match": { "method": "POST" }, "kind": "status", "status": 400 });
    stage.control("POST", "faults", &refused);
    let lead = with(&place, json!({ "email_1": "refused@mail.example.com" }));
    let end = caller.end_of_sent("POST", WRITES, &lead);
    assert_eq!(
        (&end["write_status"], &end["attempts"]),
        (&json!("FAILURE"), &json!(1))
    );
}

impl Stage {
    /// Synchronises, and gives the log of the run once it has ended.
    fn synchronise(&self, caller: &Caller) -> Value {
        let runs = || {
            let logs = caller.get("/v1/admin/logs/jobs");
            logs["results"]["logs"].as_array().expect("runs").clone()
        };
        until("no run", || {
            runs().iter().all(|run| run["status"] != "PENDING")
        });
        let before = runs().len();
        let id = text(&self.server.ready["integration_id"]);
        let path = format!("/v1/admin/integrations/{id}/manual-sync");
        assert_eq!(caller.send("POST", &path, &Value::Null).status, 200);
        until("the end of a run", || {
            let runs = runs();
            runs.len() > before && runs[0]["status"] != "PENDING"
        });
        runs().remove(0)
    }
}

/// Records that are marked as gone at the vendor.
fn vanished(caller: &Caller, ids: &[String]) -> usize {
    let is_vanished = |id: &&String| {
        let record = caller.get(&format!("/crm/v1/prospects/{id}"));
        !record["results"]["vanished_at"].is_null()
    };
    ids.iter().filter(is_vanished).count()
}

#[test]
fn a_synchronisation_believes_the_vendor_and_nobody_else() {
    let stage = Stage::set();
    let (caller, place) = (stage.caller(), stage.place());
    let ids: Vec<String> = (0..15)
        .map(|n| {
            let lead = with(
                &place,
                json!({ "email_1": format!("{n}@mail.example.com") }),
            );
            caller.prospect(&lead)
        })
        .collect();
    let x_ids: Vec<String> = stage
        .cards()
        .iter()
        .map(|card| text(&card["prospectId"]))
        .collect();
    assert_eq!(stage.synchronise(&caller)["status"], "SUCCESS");

    // A gateway has nothing at this path.
    stage.gateway.rule(|_| Fate::Page(404));
    let run = stage.synchronise(&caller);
    assert_eq!(run["status"], "FAILURE", "{run}");
    let error = text(&run["error"]);
    assert!(
        error.contains("text/html") && error.contains("404"),
        "{error}"
    );
    assert_eq!(vanished(&caller, &ids), 0);
    stage.gateway.rule(|_| Fate::Passes);

    // The vendor itself has none of them: somebody may have given the credential of another account.
    // What it shows of one that changed is not stored either.
    let edit = json!({ "status": "Visited" });
    stage.control("POST", &format!("prospects/{}", x_ids[0]), &edit);
    for gone in [4, 15] {
        for x_id in &x_ids[15 - gone..] {
            let fault = json!({
                "match": { "method": "GET", "path": format!("/prospect/{x_id}") },
                "kind": "status", "status": 404,
            });
            stage.control("POST", "faults", &fault);
        }
        let run = stage.synchronise(&caller);
        assert_eq!(run["status"], "FAILURE", "{run}");
        let error = text(&run["error"]);
        assert!(error.contains("prospects are gone"), "{error}");
        assert_eq!(vanished(&caller, &ids), 0);
        let first = caller.get(&format!("/crm/v1/prospects/{}", ids[0]));
        assert_eq!(
            first["results"]["status"], "New",
            "nothing changes: {first}"
        );
        stage.control("DELETE", "faults", &Value::Null);
    }
    // They take changes all the while.
    let change = json!({ "last_name": "King" });
    caller.delivered("PUT", &format!("{WRITES}/{}", ids[14]), &change);

    // Three of fifteen are no more than a fifth.
    for x_id in &x_ids[12..] {
        stage.control("DELETE", &format!("prospects/{x_id}"), &Value::Null);
    }
    let run = stage.synchronise(&caller);
    assert_eq!(run["status"], "SUCCESS", "{run}");
    assert_eq!(vanished(&caller, &ids), 3);
    let first = caller.get(&format!("/crm/v1/prospects/{}", ids[0]));
    assert_eq!(first["results"]["status"], "Visited", "{first}");
    // Those are known to be gone: two more are not five of fifteen.
    for x_id in &x_ids[10..12] {
        stage.control("DELETE", &format!("prospects/{x_id}"), &Value::Null);
    }
    let run = stage.synchronise(&caller);
    assert_eq!(run["status"], "SUCCESS", "{run}");
    assert_eq!(vanished(&caller, &ids), 5);
}

const INTEGRATIONS: usize = 50;

/// Registers integrations that all lead through the gateway, and gives what a lead of each refers to.
fn register(caller: &Caller, gateway: &Gateway, state: &Value) -> Vec<Value> {
    let made = |path: &str, body: &Value| {
        let answer = caller.send("POST", path, body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["result"]["id"].clone()
    };
    let numbers: Vec<usize> = (0..INTEGRATIONS).collect();
    support::in_parallel(&numbers, 4, |_, number| {
        let integration = json!({
            "integration_vendor": "KNOCK", "name": format!("Customer {number}"), "system": "SANDBOX",
            "credentials": { "apiKey": "syndication-prospect-TEST-KEY" }, "active": true,
            "base_url": format!("{}/i{number}", gateway.url), "max_job_concurrency": 32,
        });
        let integration_id = made("/v1/admin/integrations/", &integration);
        let at = |rest: &str| format!("/v1/admin/integrations/{}/{rest}/", text(&integration_id));
        let community = json!({
            "x_id": state["communities"][0]["id"], "name": "Harbor Point", "timezone": "UTC",
        });
        let community_id = made(&at("communities"), &community);
        let source = &state["sources"][0]["sourceTitle"];
        let attribution =
            json!({ "x_id": source, "name": source, "community_ids": [community_id] });
        let attribution_id = made(&at("attributions"), &attribution);
        json!({
            "integration_id": integration_id, "community_id": community_id,
            "attribution_id": attribution_id,
        })
    })
}

/// With all but one of the integrations hanging, the last is delivered while hung calls take as many
/// places as there are.
fn check_hanging(calls_max: usize) {
    let (dir, sandbox) = (
        tempfile::tempdir().expect("a directory"),
        Process::sandbox(),
    );
    private(&dir.path().join("master.key"), &"ab".repeat(32));
    let address = sandbox.address("sandbox_url");
    let state = request(&address, "GET", "/_sandbox/state", &[], "").expect("an answer");
    let gateway = Gateway::before(&address);
    let told = calls_max.to_string();
    let store = ["--data-dir", "data", "--master-key-file", "master.key"];
    let arguments = [&store[..], &["--calls-max", &told]].concat();

    let server = Node::start_alone(dir.path(), "all", &arguments);
    let keys = ["keys", "create", "--name", "operator", "--permissions"];
    let keys = [&keys[..], &["read,write,admin", "--data-dir", "data"]].concat();
    let key_file = [("PORTICO_MASTER_KEY_FILE", "master.key")];
    let (token, err, code) = portico(dir.path(), &key_file, &keys);
    assert_eq!(code, Some(0), "{err}");
    let caller = server.caller(token.trim());
    until("take the key", || {
        let answer = caller.call("GET", "/v1/admin/integrations", &[], "");
        answer.is_some_and(|answer| answer.status == 200)
    });
    let mut places = register(&caller, &gateway, &state.json());
    let last = places.pop().expect("one");
    let each = calls_max / places.len() + 2;
    let leads: Vec<Value> = (0..each)
        .flat_map(|n| {
            let email = json!({ "email_1": format!("{n}@mail.example.com") });
            places.iter().map(move |place| with(place, email.clone()))
        })
        .collect();
    // Everything is accepted before the first call.
    let switch = |what: &'static str| {
        support::in_parallel(&places, 4, |_, place| {
            let id = text(&place["integration_id"]);
            let path = format!("/v1/admin/integrations/{id}/{what}");
            assert_eq!(
                caller.send("POST", &path, &Value::Null).status,
                200,
                "{what}"
            );
        });
    };
    switch("pause");
    support::in_parallel(&leads, 16, |_, lead| {
        caller.send("POST", WRITES, lead).job_id()
    });

    let (hanging, seen) = (gateway.hanging_now(), Arc::new(Mutex::new(0)));
    let (most, own) = (seen.clone(), format!("/i{}/", INTEGRATIONS - 1));
    gateway.rule(move |asked| {
        if asked.method != "POST" {
            return Fate::Passes;
        }
        if !asked.path.starts_with(&own) {
            return Fate::Hangs;
        }
        let mut most = most.lock().expect("nobody panicked");
        *most = hanging().max(*most);
        Fate::Passes
    });
    switch("resume");
    until("hung calls in all places", || {
        gateway.hanging() >= calls_max
    });
    let begun = Instant::now();
    let mut sent = 0;
    // Should hung calls time out just then, it is looked once more.
    while *seen.lock().expect("nobody panicked") < calls_max {
        assert!(begun.elapsed() < PATIENCE, "it waits for hung calls to end");
        sent += 1;
        let lead = with(
            &last,
            json!({ "email_1": format!("{sent}@last.example.com") }),
        );
        let end = caller.end_of_sent("POST", WRITES, &lead);
        assert_eq!(end["write_status"], "SUCCESS", "{end}");
    }
}

#[test]
fn integrations_that_hang_do_not_delay_another_with_few_places() {
    check_hanging(64);
}

#[test]
fn integrations_that_hang_do_not_delay_another_with_the_usual_places() {
    check_hanging(512);
}
