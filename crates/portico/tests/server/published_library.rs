//! Goal: whoever verifies deliveries with the published library of Standard Webhooks accepts every one of ours, and none that is not.
//!
//! Method: our signatures, judged by that library (the Python one, which `scripts/test` installs) in `scripts/webhook_receiver`: one by one, as a
//! receiver that our client sends to, and as one that subscribes to a running server. Without the library the tests say so, and in continuous integration they fail.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::support;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::{Secret, Timestamp};
use serde_json::{Value, json};
use support::{PATIENCE, Stage, leads, text};
use url::Url;
use webhooks::{
    client::{Answer, Client},
    guard::{Guard, Ports},
    resolver::SystemLookup,
    signing::{self, Key},
};

const ID: &str = "evt_0199";
const BODY: &str = r#"{"trigger":"WRITE_OPERATION_SUCCESS","data":{"errors":[]}}"#;

/// `scripts/webhook_receiver` with `arguments`, not started yet; `None` where the library is not installed.
fn receiver(arguments: &[&str]) -> Option<Command> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join(".venv/bin/python");
    // Written when all of the tools are installed.
    let is_complete = root.join(".venv/requirements.sum").exists();
    if !python.exists() || !is_complete {
        testkit::not_tested(
            "the published library is not installed. `scripts/test test` installs it into .venv",
        );
        return None;
    }
    let mut command = Command::new(python);
    command
        .arg(root.join("scripts/webhook_receiver"))
        .args(arguments)
        .stdout(Stdio::piped());
    Some(command)
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it, and hands over what it prints.
fn start(command: &mut Command) -> (Running, BufReader<ChildStdout>) {
    let mut child = command.spawn().expect("python starts");
    let prints = BufReader::new(child.stdout.take().expect("a pipe"));
    (Running(child), prints)
}

fn line(prints: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    prints.read_line(&mut line).expect("a line");
    serde_json::from_str(&line).expect("JSON")
}

/// The library compares with the system's clock, so the test has to sign by it.
fn now_s() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "what judges the signature reads the system's clock"
    )]
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("a time after 1970").as_secs()).expect("a time before 292 billion")
}

fn new_secret(seed: u8) -> String {
    signing::secret_new([[seed; 16], [seed + 1; 16]])
        .expose()
        .to_owned()
}

/// The headers of a delivery, signed with `secrets`, the newest first.
fn headers(
    secrets: &[&str],
    id: &str,
    timestamp_s: i64,
    body: &[u8],
) -> BTreeMap<&'static str, String> {
    let secrets: Vec<_> = secrets.iter().map(|one| Secret::new(*one)).collect();
    let keys: Vec<_> = secrets.iter().map(Key::new).collect();
    BTreeMap::from([
        (signing::ID_HEADER, id.to_owned()),
        (signing::TIMESTAMP_HEADER, timestamp_s.to_string()),
        (
            signing::SIGNATURE_HEADER,
            signing::signature(&keys, id, timestamp_s, body),
        ),
        (
            signing::PROPEXO_HEADER,
            signing::propexo_signature(&secrets[0], body),
        ),
    ])
}

/// Deliveries with what the library must make of them: its words for the signature, and whether `propexo-signature` is right.
#[derive(Default)]
struct Cases {
    deliveries: Vec<Value>,
    expected: Vec<(String, Value)>,
}

impl Cases {
    fn add(
        &mut self,
        name: &str,
        secret: &str,
        headers: &BTreeMap<&'static str, String>,
        body: &[u8],
        expected: (&str, bool),
    ) {
        let body = STANDARD.encode(body);
        self.deliveries
            .push(json!({"secret": secret, "headers": headers, "body": body}));
        let verdict = json!({"standard": expected.0, "propexo": expected.1});
        self.expected.push((name.to_owned(), verdict));
    }

    fn judge(self, command: &mut Command) {
        let (mut running, mut prints) = start(command.stdin(Stdio::piped()));
        let mut deliveries = running.0.stdin.take().expect("a pipe");
        for (delivery, (name, expected)) in self.deliveries.iter().zip(&self.expected) {
            writeln!(deliveries, "{delivery}").expect("it reads");
            assert_eq!(line(&mut prints), *expected, "{name}");
        }
    }
}

#[test]
fn the_published_library_accepts_what_we_sign_and_nothing_else() {
    const NO_MATCH: &str = "No matching signature found";
    let Some(mut command) = receiver(&["--self-test"]) else {
        return;
    };
    let (old, new, other) = (new_secret(1), new_secret(3), new_secret(5));
    let body = BODY.as_bytes();
    let now_s = now_s();
    let signed = headers(&[&new], ID, now_s, body);
    let mut cases = Cases::default();

    cases.add("as sent", &new, &signed, body, ("accepted", true));
    let people = r#"{"trigger":"DATA_NEW","data":{"first_name":"Zo\u00eb","last_name":"Ångström \"Å\" 安"}}"#;
    let of_people = headers(&[&new], ID, now_s, people.as_bytes());
    cases.add(
        "not ASCII",
        &new,
        &of_people,
        people.as_bytes(),
        ("accepted", true),
    );
    for at in 0..body.len() {
        let mut changed = body.to_vec();
        changed[at] ^= 1;
        let name = format!("byte {at} changed");
        cases.add(&name, &new, &signed, &changed, (NO_MATCH, false));
    }
    cases.add("another secret", &other, &signed, body, (NO_MATCH, false));

    // Rightly signed, but at another time: what was seen once cannot be sent again later.
    for (shift_s, words) in [
        (-400, "Message timestamp too old"),
        (400, "Message timestamp too new"),
    ] {
        let stale = headers(&[&new], ID, now_s + shift_s, body);
        cases.add(words, &new, &stale, body, (words, true));
    }
    for (name, value) in [
        (signing::TIMESTAMP_HEADER, (now_s - 1).to_string()),
        (signing::ID_HEADER, "evt_0200".to_owned()),
    ] {
        let mut changed = signed.clone();
        changed.insert(name, value);
        cases.add(name, &new, &changed, body, (NO_MATCH, true));
    }

    // While one secret replaces the other, either is enough.
    let both = headers(&[&new, &old], ID, now_s, body);
    cases.add("the new of two", &new, &both, body, ("accepted", true));
    cases.add("the old of two", &old, &both, body, ("accepted", false));
    cases.add("none of two", &other, &both, body, (NO_MATCH, false));

    // A secret of the user's own choice, which the receiver hands to the library as `whsec_` and its base64; one longer than a block of the hash.
    for own in ["correct horse", "my-own-s3cret \u{e4}", &"long ".repeat(30)] {
        let of_own = headers(&[own], ID, now_s, body);
        cases.add(own, own, &of_own, body, ("accepted", true));
        cases.add(own, &format!("{own}."), &of_own, body, (NO_MATCH, false));
    }
    cases.judge(&mut command);
}

#[tokio::test]
async fn a_receiver_with_the_published_library_takes_what_our_client_sends() {
    let (old, new) = (new_secret(1), new_secret(3));
    let Some(mut command) = receiver(&["--port", "0", "--secret", &old]) else {
        return;
    };
    let (_running, mut prints) = start(&mut command);
    let port = &line(&mut prints)["port"];
    let url: Url = format!("http://127.0.0.1:{port}/hooks")
        .parse()
        .expect("a url");
    let guard = Guard::new(
        true,
        ["127.0.0.0/8".parse().expect("a network")],
        [Ports::ANY],
    )
    .expect("a guard");
    let client = Client::new(guard, Arc::new(SystemLookup::default())).expect("a client");
    let now_s = now_s();
    let post = async |secrets: &[&str], id: &str, timestamp_s: i64, signed: &str, sent: &str| {
        let mut all = HeaderMap::new();
        for (name, value) in headers(secrets, id, timestamp_s, signed.as_bytes()) {
            let value = HeaderValue::try_from(value).expect("a value");
            all.insert(HeaderName::from_static(name), value);
        }
        let sent = client.post(&url, all, sent.to_owned().into(), Timestamp::ZERO);
        let Answer { status, body, .. } = sent.await.expect("an answer");
        (status, String::from_utf8(body).expect("text"))
    };
    let taken = (204, String::new());
    let refused = |why: &str| (400, why.to_owned());

    assert_eq!(post(&[&old], "evt_1", now_s, BODY, BODY).await, taken);
    assert_eq!(post(&[&old], "evt_1", now_s + 1, BODY, BODY).await, taken);
    assert_eq!(post(&[&old], "evt_2", now_s, BODY, BODY).await, taken);
    assert_eq!(
        post(
            &[&old],
            "evt_3",
            now_s,
            BODY,
            &BODY.replace("SUCCESS", "FAILURE")
        )
        .await,
        refused("No matching signature found")
    );
    assert_eq!(
        post(&[&old], "evt_3", now_s - 400, BODY, BODY).await,
        refused("Message timestamp too old")
    );
    assert_eq!(
        post(&[&new], "evt_3", now_s, BODY, BODY).await,
        refused("No matching signature found")
    );
    // The library accepts the older of two; `propexo-signature` has room for one, which is the newer.
    assert_eq!(
        post(&[&new, &old], "evt_3", now_s, BODY, BODY).await,
        refused("propexo-signature is wrong")
    );

    let asked = url.join("/_taken").expect("a url");
    let told = client.get(&asked, None, None, Timestamp::ZERO).await;
    let told: Value = serde_json::from_slice(&told.expect("an answer").body).expect("JSON");
    let of =
        |count: u8| json!({"count": count, "trigger": "WRITE_OPERATION_SUCCESS", "is_same": true});
    assert_eq!(
        told,
        json!({
            "taken": {"evt_1": of(2), "evt_2": of(1)},
            "refused": {"No matching signature found": 2, "Message timestamp too old": 1, "propexo-signature is wrong": 1},
        })
    );
}

#[test]
fn a_receiver_with_the_published_library_takes_every_delivery_of_a_server() {
    const WRITES: usize = 60;
    let secret = new_secret(7);
    let Some(mut command) = receiver(&["--port", "0", "--secret", &secret]) else {
        return;
    };
    let (_running, mut prints) = start(&mut command);
    let port = line(&mut prints)["port"].to_string();
    let stage = Stage::set();
    let caller = stage.caller();
    let subscription = json!({
        "url": format!("http://127.0.0.1:{port}/hooks"),
        "triggers": ["WRITE_OPERATION_SUCCESS", "WRITE_OPERATION_FAILURE", "DATA_NEW", "DATA_UPDATE"],
        "active": true,
        "secret": secret,
    });
    let made = caller.send("POST", "/v1/webhooks/", &subscription).json();
    let id = text(&made["result"]["id"]);
    for lead in leads(&stage.server, WRITES) {
        caller
            .send("POST", "/crm/v1/prospects/knock", &lead)
            .job_id();
    }

    let port: u16 = port.parse().expect("a port");
    let taken = |trigger: &str| {
        let told = support::request(&format!("127.0.0.1:{port}"), "GET", "/_taken", &[], "");
        let told = told.expect("an answer").json();
        assert_eq!(told["refused"], json!({}));
        let all = told["taken"].as_object().expect("what was taken").clone();
        let of_trigger = all.values().filter(|one| one["trigger"] == trigger).count();
        (of_trigger, all)
    };
    let started = Instant::now();
    while taken("WRITE_OPERATION_SUCCESS").0 < WRITES {
        assert!(started.elapsed() < PATIENCE, "not all was delivered");
        std::thread::sleep(Duration::from_millis(50));
    }
    let pending = format!("/v1/webhooks/{id}/deliveries?status=PENDING");
    while caller.get(&pending)["results"] != json!([]) {
        assert!(started.elapsed() < PATIENCE, "something is still pending");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Every event that it subscribed to is there under its id, with one body.
    let (_, all) = taken("DATA_NEW");
    let delivered = format!("/v1/webhooks/{id}/deliveries?limit=250");
    let delivered = caller.get(&delivered);
    let delivered = delivered["results"].as_array().expect("deliveries");
    assert_eq!(delivered.len(), all.len());
    for one in delivered {
        assert_eq!(one["status"], "DELIVERED");
        assert_eq!(all[&text(&one["event_id"])]["is_same"], true, "{one}");
    }
}
