//! A disk that fails under the server.
//!
//! Goal: no answer says that nothing was stored of a lead that is delivered later, whatever is
//! answered can be repeated until it is stored once, and `/readyz` tells while changes fail.
//! Method: the real binary with a library before the system's that makes writes or syncs of the
//! write-ahead log fail; the server is killed in the midst of it and started again.
#![cfg(target_os = "linux")]

use crate::support;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Answer, Caller, PATIENCE, Process, Stage, in_parallel, request, text, with};

/// Leads that are answered before the trouble, and in each round of it.
const LEADS: usize = 4;

/// Rounds of trouble and a kill after each, until one has left a lead that was in doubt.
const ROUNDS_MAX: usize = 20;

/// A library that makes the disk fail while `control` is there, and the log of the server that has
/// it.
struct Trouble {
    dir: tempfile::TempDir,
}

impl Trouble {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/server/support/failing_disk.c"
        );
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(dir.path().join("failing_disk.so"))
            .arg(source)
            .arg("-ldl")
            .output()
            .expect("a C compiler");
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        Self { dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The disk fails in this way from now on.
    fn begin(&self, how: &str) {
        fs::write(self.at("new"), how).expect("written");
        fs::rename(self.at("new"), self.at("control")).expect("renamed");
    }

    fn end(&self) {
        fs::remove_file(self.at("control")).expect("removed");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("log")).expect("a log")
    }

    /// A server on `data_dir` on whose disk this is.
    fn serve(&self, data_dir: &Path, listen: &str, sandbox: &Process) -> Process {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.at("log"))
            .expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command
            .args(["dev", "--json", "--listen", listen, "--data-dir"])
            .arg(data_dir)
            .args(["--sandbox-url", &sandbox.text("sandbox_url")])
            .env("PORTICO_LOG", "info")
            .env("LD_PRELOAD", self.at("failing_disk.so"))
            .env("FAILING_DISK", self.at("control"))
            .stderr(log);
        Process::run(command)
    }
}

fn set(trouble: &Trouble) -> Stage {
    let dir = tempfile::tempdir().expect("a directory");
    let sandbox = Process::sandbox();
    Stage {
        server: trouble.serve(dir.path(), "127.0.0.1:0", &sandbox),
        sandbox,
        dir,
    }
}

fn readiness(caller: &Caller) -> u16 {
    request(&caller.address, "GET", "/readyz", &[], "").map_or(0, |answer| answer.status)
}

fn wait_until_ready(caller: &Caller, status: u16) {
    let started = Instant::now();
    while readiness(caller) != status {
        assert!(started.elapsed() < PATIENCE, "/readyz is not {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn email(name: &str) -> String {
    format!("{name}@mail.example.com")
}

fn post(caller: &Caller, references: &Value, name: &str) -> Answer {
    let body = with(references, json!({ "email_1": email(name) }));
    let headers = [("idempotency-key", name)];
    caller
        .call(
            "POST",
            "/crm/v1/prospects/knock",
            &headers,
            &body.to_string(),
        )
        .expect("an answer")
}

/// Every lead is delivered once, and repeats of its request say so.
fn check_all(stage: &Stage, references: &Value, names: &[String]) -> usize {
    let caller = stage.caller();
    let mut replayed = 0;
    for name in names {
        let body = with(references, json!({ "email_1": email(name) }));
        let answer = caller.post_until_answered(&body, name);
        replayed += usize::from(answer.head.contains("idempotency-replayed: true"));
        let end = caller.end_of(&answer.job_id());
        assert_eq!(end["write_status"], "SUCCESS", "{name}: {end}");
    }
    let mut cards = BTreeMap::<String, usize>::new();
    for card in stage.cards() {
        *cards.entry(text(&card["email"])).or_default() += 1;
    }
    for name in names {
        assert_eq!(cards.get(&email(name)), Some(&1), "{name}");
    }
    replayed
}

#[test]
fn a_commit_whose_sync_failed_is_in_doubt_and_is_told_so() {
    let trouble = Trouble::new();
    let mut stage = set(&trouble);
    let references = stage.references("Saguaro Flats");
    let mut names = Vec::new();
    let mut next = || {
        let name = format!("lead-{}", names.len());
        names.push(name.clone());
        name
    };
    for _ in 0..LEADS {
        assert_eq!(post(&stage.caller(), &references, &next()).status, 200);
    }
    let mut stored = Vec::new();
    for _ in 0..ROUNDS_MAX {
        trouble.begin("sync");
        let (caller, mut refused) = (stage.caller(), Vec::new());
        // Before the leads: what it tries to store would take the place of the last one.
        wait_until_ready(&caller, 503);
        for _ in 0..LEADS {
            let name = next();
            let answer = post(&caller, &references, &name);
            assert_eq!(answer.status, 503, "{}", answer.body);
            let told = text(&answer.json()["error"]["message"]);
            assert!(
                told.contains("has not said whether this was stored"),
                "{told}"
            );
            assert!(told.contains("Idempotency-Key"), "{told}");
            assert!(!told.contains("Nothing was stored"), "{told}");
            refused.push(name);
        }
        stage.server.kill();
        trouble.end();
        let address = caller.address.clone();
        stage.server = trouble.serve(stage.dir.path(), &address, &stage.sandbox);
        // The last commit before the kill was whole but for its sync: whoever opens the file finds
        // it.
        for name in refused {
            let answer = post(&stage.caller(), &references, &name);
            assert_eq!(answer.status, 200, "{}", answer.body);
            if answer.head.contains("idempotency-replayed: true") {
                stored.push(name);
            }
        }
        if !stored.is_empty() {
            break;
        }
    }
    assert!(!stored.is_empty(), "no round shows what is in doubt");
    wait_until_ready(&stage.caller(), 200);
    check_all(&stage, &references, &names);
    let log = trouble.log();
    assert!(!log.contains("nothing of it was stored"), "{log}");
    assert!(log.contains("may be stored all the same"), "{log}");
}

#[test]
fn a_server_whose_disk_fails_is_not_ready_and_goes_on_when_it_is_mended() {
    // Mostly they wait.
    in_parallel(&["sync", "write", "read-only"], 3, |_, how| {
        let trouble = Trouble::new();
        let mut stage = set(&trouble);
        let references = stage.references("Saguaro Flats");
        let caller = stage.caller();
        let mut names = Vec::new();
        for round in 0..3 {
            for (phase, expected) in [("well", 200), ("failing", 503)] {
                if phase == "failing" {
                    trouble.begin(how);
                }
                for lead in 0..LEADS {
                    let name = format!("{phase}-{round}-{lead}");
                    let answer = post(&caller, &references, &name);
                    assert_eq!(answer.status, expected, "{how}: {}", answer.body);
                    names.push(name);
                }
                // It is asked again and again, and each time something is tried to be stored.
                for _ in 0..3 {
                    assert_eq!(readiness(&caller), expected, "{how} {phase}");
                }
            }
            trouble.end();
            wait_until_ready(&caller, 200);
        }
        check_all(&stage, &references, &names);
        // A database and a log that are sound, and complete.
        stage.server.kill();
        stage.server = trouble.serve(stage.dir.path(), &caller.address, &stage.sandbox);
        assert_eq!(
            check_all(&stage, &references, &names),
            names.len(),
            "all are known"
        );
        let (out, err, code) = support::portico(
            stage.dir.path(),
            &[],
            &[
                "backup",
                "--json",
                "--data-dir",
                ".",
                &text(&json!(trouble.at("copy.db"))),
            ],
        );
        assert_eq!(code, Some(0), "{out}{err}");
    });
}

/// A file system in memory, of some MiB; unmounted when dropped.
struct Volume(tempfile::TempDir);

impl Volume {
    /// None where this process may not mount: the tests with the failing library cover that.
    fn mount(mib: u32) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let size = format!("size={mib}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .output();
        mounted
            .is_ok_and(|done| done.status.success())
            .then(|| Self(dir))
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(self.0.path().join("filler"))
            .expect("a file");
        for bytes in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![1; bytes]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.0.path().join("filler")).expect("removed");
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_loses_nothing_and_is_not_ready() {
    let Some(volume) = Volume::mount(48) else {
        return;
    };
    let sandbox = Process::sandbox();
    let data_dir = volume.0.path().join("data");
    let dir = tempfile::tempdir().expect("a directory");
    let mut stage = Stage {
        server: Process::dev(&data_dir, "127.0.0.1:0", &sandbox),
        sandbox,
        dir,
    };
    let (caller, references) = (stage.caller(), stage.references("Saguaro Flats"));
    let mut names = Vec::new();
    for round in 0..2 {
        // Nobody writes: it is found out by looking.
        volume.fill();
        wait_until_ready(&caller, 503);
        for lead in 0..LEADS {
            let name = format!("full-{round}-{lead}");
            let answer = post(&caller, &references, &name);
            assert!([200, 503].contains(&answer.status), "{}", answer.body);
            names.push(name);
        }
        if round == 1 {
            stage.server.kill();
        }
        volume.make_room();
        if round == 1 {
            stage.server = Process::dev(&data_dir, &caller.address, &stage.sandbox);
        }
        wait_until_ready(&caller, 200);
        let name = format!("well-{round}");
        assert_eq!(post(&caller, &references, &name).status, 200);
        names.push(name);
    }
    check_all(&stage, &references, &names);
}
