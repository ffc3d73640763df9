//! Backups of a server that goes on, and a server on a backup.
//!
//! Goal: what was accepted before a backup was begun is in it, and a server that starts on it delivers all of it without a second card; a backup is whole or absent. Method: the real
//! binary, under load, with a vendor that is slow and breaks off; backups that are killed, told to stop, or meet a full disk.

use crate::support;

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{Caller, Process, Stage, in_parallel, text, with};

const THREADS: usize = 8;

/// How long is written before each backup and after the last: more is accepted meanwhile than is delivered.
const BETWEEN: Duration = Duration::from_millis(600);

/// What the server and `dev` keep besides the database: the master key and the token.
const SECRETS: [&str; 2] = ["dev-master.key", "dev-token"];

fn portico(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PORTICO_") {
            command.env_remove(name);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn backup(data_dir: &Path, file: &Path) -> Command {
    let mut command = portico(env!("CARGO_BIN_EXE_portico"));
    command.args(["backup", "--json", "--data-dir"]);
    command.arg(data_dir).arg(file);
    command
}

/// What is said of a backup that was made.
fn told(output: &Output) -> Value {
    let (out, err) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    serde_json::from_slice(out).expect("JSON")
}

fn names(directory: &Path) -> BTreeSet<String> {
    let listing = std::fs::read_dir(directory).expect("a listing");
    let name = |one: std::io::Result<std::fs::DirEntry>| one.expect("a file").file_name();
    listing
        .map(|one| name(one).to_string_lossy().into_owned())
        .collect()
}

/// A write that was accepted.
#[derive(Clone)]
struct Accepted {
    email: String,
    job_id: String,
}

fn prospect(references: &Value, email: &str) -> Value {
    with(
        references,
        json!({ "email_1": email, "notes": "Is it still available?" }),
    )
}

/// Sends prospects until it is over.
fn send(
    caller: &Caller,
    references: &Value,
    next: &AtomicUsize,
    accepted: &Mutex<Vec<Accepted>>,
    is_over: &AtomicBool,
) {
    while !is_over.load(Ordering::Relaxed) {
        let place = next.fetch_add(1, Ordering::Relaxed);
        let email = format!("seeker.{place}@mail.example.com");
        let body = prospect(references, &email);
        let job_id = caller
            .send("POST", "/crm/v1/prospects/knock", &body)
            .job_id();
        let mut accepted = accepted.lock().expect("no thread panicked");
        accepted.push(Accepted { email, job_id });
    }
}

#[test]
fn all_that_was_accepted_before_a_backup_is_delivered_once_by_a_server_on_it() {
    let mut stage = Stage::set();
    for fault in [
        json!({ "kind": "latency", "latency_ms": 400 }),
        json!({ "kind": "reset_after_store", "probability": 0.2 }),
    ] {
        stage.add_fault(&with(&fault, json!({ "match": { "method": "POST" } })));
    }
    let (caller, references) = (stage.caller(), stage.references("Saguaro Flats"));
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let accepted: Mutex<Vec<Accepted>> = Mutex::default();
    let so_far = || accepted.lock().expect("no thread panicked").clone();
    let backups = tempfile::tempdir().expect("a directory");
    let before = std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| send(&caller, &references, &next, &accepted, &is_over));
        }
        let made = ["1.db", "2.db", "3.db"].map(|name| {
            std::thread::sleep(BETWEEN);
            let (file, before) = (backups.path().join(name), so_far());
            let told = told(&backup(stage.dir.path(), &file).output().expect("it runs"));
            let after = so_far().len() + THREADS;
            let writes = told["writes"].as_u64().expect("a number");
            assert!(
                (before.len() as u64..=after as u64).contains(&writes),
                "{told}"
            );
            assert_eq!(told["file"], file.to_str().expect("UTF-8"));
            assert_eq!(told["master_keys"].as_array().map(Vec::len), Some(1));
            let metadata = std::fs::metadata(&file).expect("it is there");
            assert_eq!(told["bytes"], metadata.len());
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
            before
        });
        std::thread::sleep(BETWEEN);
        is_over.store(true, Ordering::Relaxed);
        let [_, before, _] = made;
        before
    });
    assert_eq!(
        names(backups.path()),
        ["1.db", "2.db", "3.db"].map(str::to_owned).into(),
        "nothing else is left"
    );
    let all = so_far();
    assert!(before.len() > THREADS && all.len() > before.len() + THREADS);

    // What the machine had is gone, but for the backup and the secrets, which were kept elsewhere.
    stage.server.kill();
    let restored = tempfile::tempdir().expect("a directory");
    std::fs::copy(
        backups.path().join("2.db"),
        restored.path().join("portico.db"),
    )
    .expect("a copy");
    for name in SECRETS {
        std::fs::copy(stage.dir.path().join(name), restored.path().join(name)).expect("a copy");
    }
    let sent = stage.received().len();
    stage.clear_faults();
    stage.server = Process::dev(restored.path(), "127.0.0.1:0", &stage.sandbox);
    let caller = stage.caller();
    in_parallel(&before, THREADS, |_, one| {
        let end = caller.end_of(&one.job_id);
        assert_eq!(end["write_status"], "SUCCESS", "{end} of {}", one.email);
    });
    assert!(
        stage.received().len() > sent,
        "none of it was open: the test shows nothing"
    );
    let cards: Vec<String> = stage
        .cards()
        .iter()
        .map(|card| text(&card["email"]))
        .collect();
    let people: BTreeSet<&String> = cards.iter().collect();
    assert_eq!(people.len(), cards.len(), "one card a person");
    for one in &before {
        assert!(people.contains(&one.email), "{}", one.email);
    }
    // What came after the backup is lost; the server goes on.
    let last = all.last().expect("one");
    let path = format!("/v1/admin/write-status/{}", last.job_id);
    assert_eq!(
        caller
            .call("GET", &path, &[], "")
            .expect("an answer")
            .status,
        404
    );
    caller.prospect(&prospect(&references, "newcomer@mail.example.com"));
}

/// What is called a backup is one, whatever happened to those that made it.
fn check_whole(file: &Path) {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::copy(file, directory.path().join("portico.db")).expect("a copy");
    let again = tempfile::tempdir().expect("a directory");
    told(
        &backup(directory.path(), &again.path().join("again.db"))
            .output()
            .expect("it runs"),
    );
}

#[test]
fn a_backup_is_whole_or_absent() {
    let stage = Stage::set();
    let data = stage.dir.path();
    let backups = tempfile::tempdir().expect("a directory");
    let file = backups.path().join("portico.db");

    // A disk that takes no more: here a limit on files, since a test cannot fill a disk.
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" backup --data-dir \"$1\" \"$2\"";
    let full = portico("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_portico")])
        .arg(data)
        .arg(&file)
        .output()
        .expect("it runs");
    let why = String::from_utf8_lossy(&full.stderr).into_owned();
    assert_eq!(full.status.code(), Some(1), "{why}");
    assert!(
        why.contains("no backup was made, and nothing is left of it"),
        "{why}"
    );
    assert!(names(backups.path()).is_empty());

    // Told to stop, or killed, at any point.
    let ends = (0..25_u64)
        .map(|round| (Signal::TERM, round))
        .chain((0..25).map(|round| (Signal::KILL, round)));
    for (signal, after_ms) in ends {
        let mut making = backup(data, &file).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(after_ms));
        let pid = Pid::from_raw(i32::try_from(making.id()).expect("a pid")).expect("a pid");
        let _ = kill_process(pid, signal);
        let is_made = making.wait().expect("it ends").success();
        assert!(file.exists() || !is_made, "it is there when that was said");
        if file.exists() {
            check_whole(&file);
            std::fs::remove_file(&file).expect("removed");
        }
        if signal == Signal::TERM {
            assert!(names(backups.path()).is_empty(), "after {after_ms} ms");
        }
    }
    // What the killed ones have left stands in nobody's way.
    told(&backup(data, &file).output().expect("it runs"));
    check_whole(&file);
}
