//! What must not be anywhere: secrets, and people in logs and metrics.
//!
//! Goal: after a run of all kinds of work, trouble included, no file of the data directory holds a credential or a token, and neither the log at its most verbose
//! level nor the metrics hold one, or an email address or a phone number. Method: the real binary with everything logged; every byte of every file is searched.

use crate::support;

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use support::{Caller, Process, leads_of, text, with};

/// A key of a vendor that nothing else in the run looks like.
const CREDENTIAL: &str = "vendor-credential-4f9a1c";

/// Texts that are found in `bytes`.
fn found<'a>(bytes: &[u8], texts: &'a [String]) -> Vec<&'a String> {
    let lower: Vec<String> = texts.iter().map(|text| text.to_ascii_lowercase()).collect();
    let found = testkit::found_in(&bytes.to_ascii_lowercase(), &lower);
    let is_found = |text: &&String| found.contains(&&text.to_ascii_lowercase());
    texts.iter().filter(is_found).collect()
}

/// Starts a server that logs all there is into a file.
fn start(data_dir: &Path, sandbox: &Process, log: &Path) -> (std::process::Child, Value) {
    use std::io::{BufRead, BufReader};
    let mut child = Command::new(env!("CARGO_BIN_EXE_portico"))
        .args(["dev", "--json", "--listen", "127.0.0.1:0"])
        .args(["--sandbox-url", &sandbox.text("sandbox_url")])
        .arg("--data-dir")
        .arg(data_dir)
        .env("PORTICO_LOG", "trace")
        .stdout(Stdio::piped())
        .stderr(File::create(log).expect("a log"))
        .spawn()
        .expect("portico starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its stdout"))
        .read_line(&mut line)
        .expect("a line");
    (child, serde_json::from_str(&line).expect("JSON"))
}

#[test]
fn no_secret_is_anywhere_and_no_person_in_logs_or_metrics() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data_dir, log) = (dir.path().join("data"), dir.path().join("log"));
    let sandbox = Process::sandbox();
    let (mut child, ready) = start(&data_dir, &sandbox, &log);
    let base_url = text(&ready["base_url"]);
    let admin = Caller::at(
        base_url.trim_start_matches("http://"),
        &text(&ready["token"]),
    );
    let mut secrets = vec![CREDENTIAL.to_owned()];
    let mut people = Vec::new();

    // Keys, and requests with keys that are none.
    for n in 0..3 {
        let made = admin
            .send(
                "POST",
                "/v1/admin/keys",
                &json!({ "name": format!("k{n}"), "permissions": ["read"] }),
            )
            .json();
        secrets.push(text(&made["token"]));
        let id = text(&made["result"]["id"]);
        secrets.push(text(
            &admin
                .send("POST", &format!("/v1/admin/keys/{id}/rotate"), &Value::Null)
                .json()["token"],
        ));
    }
    let mistyped = "ptk_test_0123456789mistyped-token".to_owned();
    admin
        .with_token(&mistyped)
        .call("GET", "/crm/v1/prospects", &[], "")
        .expect("an answer");
    secrets.push(mistyped);

    // An integration whose vendor refuses the credential, and one that was given another.
    let body = json!({
        "integration_vendor": "KNOCK", "name": "other", "credentials": { "apiKey": CREDENTIAL }, "base_url": text(&ready["sandbox_url"]),
    });
    let made = admin.send("POST", "/v1/admin/integrations", &body).json();
    let path = format!("/v1/admin/integrations/{}", text(&made["result"]["id"]));
    admin.send("POST", &format!("{path}/data-access"), &Value::Null);
    admin
        .send("PUT", &path, &json!({ "active": true }))
        .conflict();
    admin.send(
        "PUT",
        &path,
        &json!({ "credentials": { "apiKey": format!("{CREDENTIAL}-second") } }),
    );
    admin
        .send(
            "PUT",
            &path,
            &json!({ "credentials": { "apiKey": 5, "secret": CREDENTIAL } }),
        )
        .issues();

    // Prospects: delivered, refused, lost, malformed, in paths and in queries.
    let faults = [
        json!({ "match": { "path": "/prospect" }, "kind": "status", "status": 400, "times": 3 }),
        json!({ "match": { "path": "/prospect" }, "kind": "reset_after_store", "times": 3 }),
        json!({ "match": { "path": "/prospect" }, "kind": "malformed_body", "times": 3 }),
    ];
    for fault in &faults {
        support::request(
            &sandbox.address("sandbox_url"),
            "POST",
            "/_sandbox/faults",
            &[("content-type", "application/json")],
            &fault.to_string(),
        )
        .expect("an answer");
    }
    let sent: Vec<(Value, String)> = leads_of(&ready, 60)
        .into_iter()
        .map(|lead| {
            let job_id = admin
                .send("POST", "/crm/v1/prospects/knock", &lead)
                .job_id();
            (lead, job_id)
        })
        .collect();
    for (lead, job_id) in &sent {
        for member in ["email_1", "phone_1"] {
            people.extend(lead[member].as_str().map(str::to_owned));
        }
        admin.end_of(job_id);
    }
    let lead = &sent[0].0;
    let email = "eve.unlikely@mail.example.com";
    people.push(email.to_owned());
    people.push("2065550133".to_owned());
    admin.send(
        "POST",
        "/crm/v1/prospects/knock",
        &with(
            lead,
            json!({ "email_1": email, "phone_1": "1", "zork": email }),
        ),
    );
    admin
        .call(
            "POST",
            "/crm/v1/prospects/knock",
            &[],
            &format!("{{\"email_1\":\"{email}\""),
        )
        .expect("an answer");
    admin
        .call(
            "GET",
            &format!("/crm/v1/prospects?email_1={email}&zork={email}"),
            &[],
            "",
        )
        .expect("an answer");
    admin
        .call(
            "GET",
            &format!("/crm/v1/prospects/{email}"),
            &[("idempotency-key", email)],
            "",
        )
        .expect("an answer");
    admin
        .call("GET", &format!("/crm/{email}"), &[], "")
        .expect("an answer");
    let metrics = admin
        .call("GET", "/metrics", &[], "")
        .expect("metrics")
        .body;

    // The worker and the log are let finish what they are at.
    std::thread::sleep(Duration::from_millis(300));
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    child.wait().expect("it ends");

    let logged = std::fs::read(&log).expect("the log");
    assert!(logged.len() > 10_000, "it was verbose");
    assert!(people.len() > 60, "there were people");
    let own = vec![text(&ready["token"])];
    for (name, bytes) in [("the log", &logged[..]), ("metrics", metrics.as_bytes())] {
        for texts in [&secrets, &own, &people] {
            let in_it = found(bytes, texts);
            assert!(in_it.is_empty(), "{name} has {in_it:?}");
        }
    }
    for entry in std::fs::read_dir(&data_dir).expect("the data directory") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a file");
        let in_it = found(&bytes, &secrets);
        assert!(in_it.is_empty(), "{} has {in_it:?}", path.display());
        // The development token is kept for who develops, in a file of its own.
        if path.file_name().is_none_or(|name| name != "dev-token") {
            assert!(found(&bytes, &own).is_empty(), "{}", path.display());
        }
    }
}
