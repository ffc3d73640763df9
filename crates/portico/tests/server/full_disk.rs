//! A disk that fills up under a server.
//!
//! Goal: nothing that was accepted is lost, callers hear 503 in words, the log of an outage is short, the server goes on when
//! there is space again, and it starts on a disk that is full. Method: the real binary on a file system of 52 MB.
#![cfg(target_os = "linux")]

use crate::support;

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::{Value, json};
use support::{Answer, Caller, PATIENCE, Process, in_parallel, leads, with};

const WRITES: &str = "/crm/v1/prospects/knock";

const MIB: u64 = 1_024 * 1_024;

/// A small file system, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=52m,mode=700", "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        testbed::not_tested("this user may not mount a file system of limited size");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.path()).expect("it can be looked at");
        disk.f_bavail * disk.f_frsize
    }

    /// Has others take space until so much is left.
    fn fill(&self, left: u64) -> PathBuf {
        let path = self.path().join("of-others");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .expect("a file");
        while self.free() > left {
            let bytes = (self.free() - left).min(64 * 1_024);
            let bytes = vec![0x5a; usize::try_from(bytes).expect("few")];
            match file.write_all(&bytes) {
                Ok(()) => {}
                Err(why) if why.kind() == ErrorKind::StorageFull => break,
                Err(why) => panic!("{why}"),
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

struct Trial {
    disk: SmallDisk,
    sandbox: Process,
    /// The server's log.
    log: tempfile::NamedTempFile,
}

impl Trial {
    /// `None` where no small disk can be had.
    fn set() -> Option<Self> {
        Some(Self {
            disk: SmallDisk::mount()?,
            sandbox: Process::sandbox(),
            log: tempfile::NamedTempFile::new().expect("a file"),
        })
    }

    fn start(&self) -> Process {
        Process::run(self.command())
    }

    /// Tries to start it on a disk without space. Returns what it says.
    fn refused(&self) -> String {
        let before = self.log().len();
        let mut child = self
            .command()
            .stdout(Stdio::null())
            .spawn()
            .expect("it is run");
        let Some(status) = support::ended(&mut child) else {
            let _ = child.kill();
            panic!("it serves");
        };
        assert!(!status.success(), "it serves");
        self.log().split_off(before)
    }

    fn command(&self) -> Command {
        let log = File::options()
            .append(true)
            .open(self.log.path())
            .expect("the log");
        let data_dir = self.disk.path().join("data");
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command
            .args(["dev", "--json", "--listen", "127.0.0.1:0", "--sandbox-url"])
            .arg(self.sandbox.text("sandbox_url"))
            .arg("--data-dir")
            .arg(data_dir)
            .env("PORTICO_LOG", "error")
            .stderr(log);
        command
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("the log")
    }
}

/// Sends leads. Returns the ids of those that were accepted, and the refusal, if one came.
fn send(caller: &Caller, round: usize, bodies: &[Value]) -> (Vec<String>, Option<Answer>) {
    let answers = in_parallel(bodies, 4, |place, body| {
        let key = format!("lead-{round}-{place}");
        let answer = caller.call(
            "POST",
            WRITES,
            &[("idempotency-key", &key)],
            &body.to_string(),
        );
        answer.expect("an answer")
    });
    let (accepted, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    let accepted = accepted.iter().map(Answer::job_id).collect();
    (accepted, refused.into_iter().next())
}

fn assert_all_there(caller: &Caller, accepted: &[String]) {
    let statuses = in_parallel(accepted, 4, |_, job_id| {
        let path = format!("/v1/admin/write-status/{job_id}");
        caller
            .call("GET", &path, &[], "")
            .expect("an answer")
            .status
    });
    assert!(statuses.iter().all(|status| *status == 200), "one is lost");
}

fn readiness(caller: &Caller) -> Answer {
    caller.call("GET", "/readyz", &[], "").expect("an answer")
}

#[test]
fn a_disk_that_fills_up_loses_nothing_and_the_server_goes_on() {
    let Some(trial) = Trial::set() else {
        return;
    };
    let disk = &trial.disk;
    let mut server = trial.start();
    let caller = Caller::of(&server);
    let body = |round: usize| -> Vec<Value> {
        let leads = leads(&server, 120);
        let notes = format!("{round} {}", "a long story ".repeat(60));
        let fields = json!({ "notes": notes });
        leads
            .iter()
            .map(|lead| with(lead, fields.clone()))
            .collect()
    };

    // The log stays short: before, 452 writes filled this disk.
    let mut accepted = Vec::new();
    for round in 0..4 {
        let (some, refused) = send(&caller, round, &body(round));
        let refused = refused.map(|answer| answer.body);
        assert!(
            refused.is_none(),
            "round {round}: {refused:?}, {} bytes are free",
            disk.free()
        );
        accepted.extend(some);
    }
    assert!(accepted.len() > 452);
    let log_bytes = std::fs::metadata(disk.path().join("data/portico.db-wal"));
    let log_bytes = log_bytes.expect("the write-ahead log").len();
    assert!(log_bytes < 12 * MIB, "{log_bytes} bytes");
    assert_eq!(readiness(&caller).status, 200);

    // Others leave little.
    let others = disk.fill(5 * MIB);
    let begun = Instant::now();
    let refused = (4..).find_map(|round| {
        let (some, refused) = send(&caller, round, &body(round));
        accepted.extend(some);
        assert!(
            begun.elapsed() < 4 * PATIENCE,
            "{} bytes are free",
            disk.free()
        );
        refused
    });
    let refused = refused.expect("a refusal");
    assert_eq!(refused.status, 503, "{}", refused.body);
    let message = refused.json()["error"]["message"].to_string();
    assert!(
        message.contains("nearly full") && message.contains("Nothing was stored"),
        "{message}"
    );
    assert!(refused.head.contains("retry-after:"), "{}", refused.head);
    let ready = readiness(&caller);
    assert_eq!(ready.status, 503, "{}", ready.body);
    assert_all_there(&caller, &accepted);
    let metrics = caller.call("GET", "/metrics", &[], "").expect("an answer");
    assert!(
        metrics.body.contains("portico_commits_failed_total"),
        "{}",
        metrics.body
    );

    // However many are refused, the log is not.
    for round in 100..102 {
        let (some, refused) = send(&caller, round, &body(round));
        assert!(refused.is_some());
        accepted.extend(some);
    }
    let lines = trial.log().lines().count();
    assert!(lines < 20, "{}", trial.log());

    // Others take the last byte: it starts all the same.
    disk.fill(0);
    server.kill();
    server = trial.start();
    let caller = Caller::of(&server);
    assert_all_there(&caller, &accepted);

    std::fs::remove_file(others).expect("removed");
    let begun = Instant::now();
    while readiness(&caller).status != 200 {
        assert!(begun.elapsed() < PATIENCE, "{}", trial.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let leads = leads(&server, 1);
    caller.delivered(
        "POST",
        WRITES,
        &with(&leads[0], json!({ "notes": "at last" })),
    );
    assert_all_there(&caller, &accepted);
    server.stop();
}

#[test]
fn a_start_on_a_full_disk_says_so_and_leaves_nothing_in_the_way() {
    let Some(trial) = Trial::set() else {
        return;
    };
    let data_dir = trial.disk.path().join("data");
    let others = trial.disk.fill(0);
    let told = trial.refused();
    assert!(told.contains("No space left"), "{told}");
    std::fs::remove_file(&others).expect("removed");
    let mut server = trial.start();
    let caller = Caller::of(&server);
    caller.delivered("POST", WRITES, &leads(&server, 1)[0]);
    server.stop();

    // Not even the reserve is left. SQLite has other words for it: "disk I/O error".
    std::fs::remove_file(data_dir.join("portico.db-reserve")).expect("removed");
    trial.disk.fill(0);
    let told = trial.refused();
    let is_told = ["is full", "0 KiB are free", "free 7 MiB"];
    assert!(is_told.iter().all(|words| told.contains(words)), "{told}");
    std::fs::remove_file(&others).expect("removed");
    trial.start().stop();
}
