//! From SQLite to PostgreSQL with `portico store copy`, and on from there. Method: the real binary, a vendor that fails at first, and a PostgreSQL of the test's own.

use crate::support;

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};
use support::{Caller, Stage, text, with};
use testbed::Database;

/// Writes that are delivered before the move, and those that are open then.
const DELIVERED: usize = 3;
const OPEN: usize = 20;

/// `portico` with these arguments, without what the environment says to others.
fn portico(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PORTICO_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn store(command: &str, data_dir: &Path, database: &Database) -> Output {
    portico(&["store", command, "--json"])
        .env("PORTICO_DATA_DIR", data_dir)
        .env("PORTICO_STORE", database.url())
        .output()
        .expect("portico runs")
}

/// What it printed, when it ended well.
fn told(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What it said on stderr; never a password.
fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for text in [&*said, &*String::from_utf8_lossy(&output.stdout)] {
        assert!(!text.contains("postgres://"), "{text}");
    }
    said
}

/// A server on PostgreSQL, killed when dropped.
struct Served {
    process: Child,
    address: String,
}

impl Served {
    /// Starts one that delivers to the sandbox of `stage`, with the master key that `dev` made.
    fn start(stage: &Stage, database: &Database) -> Self {
        let key = stage.dir.path().join("dev-master.key");
        let mut process = portico(&["serve", "--listen", "127.0.0.1:0"])
            .env("PORTICO_STORE", database.url())
            .env("PORTICO_MASTER_KEY_FILE", key)
            .env("PORTICO_VENDOR_URLS", stage.sandbox.text("sandbox_url"))
            .env("PORTICO_LOG_FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()
            .expect("portico starts");
        let mut lines = BufReader::new(process.stderr.take().expect("its stderr")).lines();
        let address = lines.find_map(|line| {
            let line: Value = serde_json::from_str(&line.ok()?).ok()?;
            line["fields"]["address"].as_str().map(str::to_owned)
        });
        // What it says later is not waited for, and must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            address: address.expect("it serves"),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn all_goes_on_where_it_stopped() {
    let Some(database) = Database::create().expect("a database") else {
        return;
    };
    let mut stage = Stage::set();
    let (caller, references) = (stage.caller(), stage.references("Saguaro Flats"));
    let body = |n: usize| {
        let email = format!("seeker.{n}@mail.example.com");
        with(&references, json!({ "email_1": email }))
    };
    let send = |caller: &Caller, n: usize| {
        caller
            .post_until_answered(&body(n), &format!("once-{n}"))
            .job_id()
    };
    let mut jobs: Vec<String> = (0..DELIVERED).map(|n| send(&caller, n)).collect();
    for job_id in &jobs {
        assert_eq!(caller.end_of(job_id)["write_status"], "SUCCESS");
    }
    stage.add_fault(&json!({ "kind": "status", "status": 503, "match": { "method": "POST" } }));
    jobs.extend((DELIVERED..DELIVERED + OPEN).map(|n| send(&caller, n)));

    let data_dir = &stage.dir.path().to_owned();
    for command in ["copy", "check"] {
        let refused = store(command, data_dir, &database);
        assert_eq!(refused.status.code(), Some(1));
        let why = said(&refused);
        assert!(why.contains("another portico already serves"), "{why}");
    }
    stage.server.stop();

    let copied = store("copy", data_dir, &database);
    let (report, why) = (told(&copied), said(&copied));
    assert_eq!(report["is_same"], true);
    let table = |report: &Value, name: &str| {
        let tables = report["tables"].as_array().expect("tables");
        let found = tables.iter().find(|one| one["table"] == name);
        found.expect("it is there").clone()
    };
    let writes = table(&report, "writes");
    assert_eq!(writes["source"], writes["target"]);
    assert_eq!(writes["source"]["rows"], DELIVERED + OPEN);
    assert_eq!(table(&report, "queue")["source"]["rows"], OPEN);
    for line in ["copied    writes", "compared  writes", "same master key"] {
        assert!(why.contains(line), "{why}");
    }
    assert_eq!(told(&store("check", data_dir, &database)), report);
    let again = store("copy", data_dir, &database);
    assert!(said(&again).contains("is not empty"), "{}", said(&again));

    stage.clear_faults();
    let served = Served::start(&stage, &database);
    let caller = Caller::at(&served.address, caller.token());
    for (n, job_id) in jobs.iter().enumerate() {
        let end = caller.end_of(job_id);
        assert_eq!(end["write_status"], "SUCCESS", "{end}");
        assert_eq!(send(&caller, n), *job_id, "its key is known");
    }
    caller.prospect(&body(DELIVERED + OPEN));
    let cards: Vec<String> = stage
        .cards()
        .iter()
        .map(|one| text(&one["email"]))
        .collect();
    let people: BTreeSet<&String> = cards.iter().collect();
    assert_eq!(
        (cards.len(), people.len()),
        (jobs.len() + 1, jobs.len() + 1)
    );

    let differs = store("check", data_dir, &database);
    assert_eq!(differs.status.code(), Some(1));
    let why = said(&differs);
    assert!(
        why.contains("do not hold the same") && why.contains("writes"),
        "{why}"
    );
    let report: Value = serde_json::from_slice(&differs.stdout).expect("JSON");
    let key = format!("seq {}", DELIVERED + 1);
    assert_eq!(table(&report, "writes")["difference"]["key"], key);
}
