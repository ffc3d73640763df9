//! Goal: `portico dev` forgets a person altogether, though it plays the vendor and keeps the vendor's memory in its own data directory. Method: make one, forget
//! them, and read every file while the server runs.

use crate::support;

use std::path::Path;

use serde_json::json;
use support::{Caller, Process, leads, text, with};

/// What only the person has.
const TRACES: [&str; 4] = [
    "quillfeather@example.com",
    "2065550188",
    "Zephyrine",
    "harpsichord",
];

/// The traces that are in any file of a directory.
fn found(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("a file").path();
        let bytes = std::fs::read(&path).expect("it can be read");
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let traces = testkit::found_in(&bytes, &TRACES).into_iter();
        all.extend(traces.map(|one| format!("{one} in {name}")));
    }
    all
}

#[test]
fn a_person_is_forgotten_by_portico_and_by_the_vendor_that_it_plays() {
    let dir = tempfile::tempdir().expect("a directory");
    let data_dir = dir.path().to_str().expect("a path in UTF-8");
    let server = Process::start(&[
        "dev",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--sandbox-listen",
        "127.0.0.1:0",
        "--data-dir",
        data_dir,
    ]);
    let caller = Caller::of(&server);
    let mut bodies = leads(&server, 2);
    let person = with(
        &bodies.remove(0),
        json!({ "email_1": TRACES[0], "phone_1": "(206) 555-0188", "first_name": TRACES[2], "notes": "Plays the harpsichord" }),
    );
    let path = "/crm/v1/prospects/knock";
    let id = text(&caller.end_of_sent("POST", path, &person)["created_record_id"]);
    let other = text(&caller.end_of_sent("POST", path, &bodies[0])["created_record_id"]);
    let before = found(dir.path());
    for name in ["sandbox.ndjson", "portico.db"] {
        assert!(before.iter().any(|one| one.contains(name)), "{before:?}");
    }
    let erase = format!("/v1/admin/prospects/{id}/erase");
    let answer = caller.call("POST", &erase, &[], "").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(found(dir.path()), Vec::<String>::new());
    assert!(caller.get(&format!("/crm/v1/prospects/{other}"))["results"]["x_id"].is_string());
    let state = server.address("sandbox_url");
    let state = support::request(&state, "GET", "/_sandbox/state", &[], "").expect("an answer");
    assert_eq!(state.json()["prospects"].as_array().map(Vec::len), Some(1));
}
