//! Goal: whoever sets the machine's clock under a running server, or while it is down, keeps no
//! lead waiting and makes nothing old. Method: the real binary with a library in front of its clock
//! that adds what a file says.

use crate::support;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Caller, DAY_MS, HOUR_MS, PATIENCE, Process, portico, private, text};
use testbed::Database;

const MINUTE_MS: i64 = 60_000;
const YEARS_MS: i64 = 3_652 * DAY_MS;

/// A server whose clock can be set, and the sandbox that it writes to.
struct Clocked {
    server: Process,
    sandbox: Arc<Process>,
    library: PathBuf,
    offset_ms: i64,
    /// Where its store is, unless in its data directory.
    store_file: Option<PathBuf>,
    dir: tempfile::TempDir,
}

impl Clocked {
    fn start() -> Self {
        Self::start_on(None)
    }

    fn start_on(store_file: Option<PathBuf>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let library = dir.path().join("clockset.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/support/clockset.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .status()
            .expect("a C compiler");
        assert!(built.success(), "the library is built");
        let sandbox = Arc::new(Process::sandbox());
        write_offset(dir.path(), 0);
        let store = store_file.as_deref();
        let server = serve(dir.path(), &library, "127.0.0.1:0", &sandbox, store);
        Self {
            server,
            sandbox,
            library,
            offset_ms: 0,
            store_file,
            dir,
        }
    }

    /// Another node on the same database, whose clock differs by so much.
    fn beside(&self, offset_ms: i64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(data_dir(dir.path())).expect("a directory");
        for name in ["dev-master.key", "known.json"] {
            let (from, to) = (data_dir(self.dir.path()), data_dir(dir.path()));
            std::fs::copy(from.join(name), to.join(name)).expect("copied");
        }
        write_offset(dir.path(), offset_ms);
        let library = self.library.clone();
        let store = self.store_file.as_deref();
        let server = serve(dir.path(), &library, "127.0.0.1:0", &self.sandbox, store);
        Self {
            server,
            sandbox: self.sandbox.clone(),
            library,
            offset_ms,
            store_file: self.store_file.clone(),
            dir,
        }
    }

    fn caller(&self) -> Caller {
        Caller::of(&self.server)
    }

    /// Sets the clock by so much, whether the server runs or not.
    fn set_by(&mut self, millis: i64) {
        self.offset_ms += millis;
        write_offset(self.dir.path(), self.offset_ms);
    }

    /// The same under a running server, which notices it.
    fn set_and_notice(&mut self, millis: i64) {
        let name = if millis > 0 { "ahead" } else { "back" };
        let line = format!("portico_clock_jumps_total{{direction=\"{name}\"}}");
        let before = self.metric(&line).unwrap_or(0.0);
        self.set_by(millis);
        self.until("the jump to be noticed", || {
            (self.metric(&line).unwrap_or(0.0) > before).then_some(())
        });
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn restart(&mut self) {
        let address = self.server.address("base_url");
        let store = self.store_file.as_deref();
        self.server = serve(
            self.dir.path(),
            &self.library,
            &address,
            &self.sandbox,
            store,
        );
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let page = self.caller().call("GET", "/metrics", &[], "")?;
        let line = page.body.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn control(&self, method: &str, path: &str, body: &Value) {
        let path = format!("/_sandbox/{path}");
        let headers = [("content-type", "application/json")];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let address = self.sandbox.address("sandbox_url");
        let answer = support::request(&address, method, &path, &headers, &body).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// The vendor refuses for now, and asks for some seconds.
    fn refuse(&self) {
        let fault = json!({
            "match": { "method": "POST" },
            "kind": "status",
            "status": 503,
            "retry_after_s": 3,
        });
        self.control("POST", "faults", &fault);
    }

    fn lead(&self, email: &str) -> Value {
        let community = self.server.ready["communities"][0].clone();
        let attributions = self.server.ready["attributions"]
            .as_array()
            .expect("a list");
        let attribution = attributions
            .iter()
            .find(|one| {
                let ids = one["community_ids"].as_array().expect("ids");
                ids.contains(&community["id"])
            })
            .expect("an attribution");
        json!({
            "integration_id": self.server.ready["integration_id"],
            "community_id": community["id"],
            "attribution_id": attribution["id"],
            "first_name": "Ada",
            "email_1": email,
        })
    }

    fn send(&self, email: &str, key: &str) -> String {
        let answer = self.caller().post_until_answered(&self.lead(email), key);
        answer.job_id()
    }

    /// Waits until a write was tried and waits for its next attempt.
    fn tried(&self, job_id: &str) {
        let path = format!("/v1/admin/write-status/{job_id}");
        self.until("an attempt", || {
            let write = self.caller().get(&path);
            let is_waiting = write["attempts"].as_u64() >= Some(1)
                && !write["next_attempt_at"].is_null()
                && write["errors"]
                    .as_array()
                    .is_some_and(|all| !all.is_empty());
            is_waiting.then_some(())
        });
    }

    fn command(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let (library, offset) = (self.library.clone(), offset_file(self.dir.path()));
        let settings = [
            ("LD_PRELOAD", library.to_str().expect("UTF-8")),
            ("CLOCKSET", offset.to_str().expect("UTF-8")),
        ];
        let mut all = arguments.to_vec();
        let data_dir = data_dir(self.dir.path());
        let key = data_dir.join("dev-master.key");
        match &self.store_file {
            None => all.extend(["--data-dir", data_dir.to_str().expect("UTF-8")]),
            Some(file) => all.extend([
                "--store-file",
                file.to_str().expect("UTF-8"),
                "--master-key-file",
                key.to_str().expect("UTF-8"),
            ]),
        }
        let (out, _, code) = portico(self.dir.path(), &settings, &all);
        (out, code)
    }
}

fn data_dir(dir: &Path) -> PathBuf {
    dir.join("data")
}

fn offset_file(dir: &Path) -> PathBuf {
    dir.join("offset")
}

fn write_offset(dir: &Path, millis: i64) {
    // Whole at any moment: the server reads it all the time.
    let new = dir.join("offset.new");
    std::fs::write(&new, (millis * 1_000).to_string()).expect("written");
    std::fs::rename(new, offset_file(dir)).expect("renamed");
}

fn serve(
    dir: &Path,
    library: &Path,
    listen: &str,
    sandbox: &Process,
    store_file: Option<&Path>,
) -> Process {
    let (data_dir, offset) = (data_dir(dir), offset_file(dir));
    let settings = [
        ("LD_PRELOAD", library.to_str().expect("UTF-8")),
        ("CLOCKSET", offset.to_str().expect("UTF-8")),
    ];
    if let Some(file) = store_file {
        return Process::on_database(&data_dir, file, listen, sandbox, &settings);
    }
    let sandbox_url = sandbox.text("sandbox_url");
    let mut arguments = vec!["dev", "--json", "--listen", listen];
    arguments.extend(["--sandbox-url", &sandbox_url]);
    arguments.extend(["--data-dir", data_dir.to_str().expect("UTF-8")]);
    Process::start_with(&arguments, &settings)
}

#[test]
fn a_clock_that_is_set_under_a_server_keeps_no_lead_waiting() {
    let mut clocked = Clocked::start();
    // Far ahead from here on, and back from there at the end.
    let jumps = [
        -5 * MINUTE_MS,
        -HOUR_MS,
        MINUTE_MS,
        DAY_MS,
        YEARS_MS,
        -YEARS_MS,
    ];
    for (place, jump) in jumps.into_iter().enumerate() {
        clocked.refuse();
        let sent = Instant::now();
        let job_id = clocked.send(&format!("waits{place}@example.com"), &format!("w{place}"));
        clocked.tried(&job_id);
        // The metric may be of a moment ago, and of the write before.
        let age_s = clocked.until("the age of this write", || {
            let age_s = clocked.metric("portico_queue_age_seconds")?;
            (age_s <= sent.elapsed().as_secs_f64() + 1.0).then_some(age_s)
        });
        let begun = Instant::now();
        clocked.set_and_notice(jump);
        let later_s = clocked.metric("portico_queue_age_seconds").expect("an age");
        // The age goes on by steady time; what the metric rounds off is less than a second.
        let most_s = age_s + begun.elapsed().as_secs_f64() + 1.0;
        assert!(
            (age_s - 1.0..=most_s).contains(&later_s),
            "{jump}: {age_s}, {later_s}"
        );
        clocked.control("DELETE", "faults", &Value::Null);
        let write = clocked.caller().end_of(&job_id);
        assert_eq!(write["write_status"], "SUCCESS", "{jump}: {write}");
        let job_id = clocked.send(&format!("new{place}@example.com"), &format!("n{place}"));
        let write = clocked.caller().end_of(&job_id);
        assert_eq!(write["write_status"], "SUCCESS", "{jump}: {write}");
    }
}

#[test]
fn a_clock_that_is_set_ahead_makes_nothing_old_until_it_is_confirmed() {
    let mut clocked = Clocked::start();
    clocked.refuse();
    let job_id = clocked.send("once@example.com", "once");
    clocked.tried(&job_id);
    assert_eq!(
        clocked.command(&["clock", "accept"]).1,
        Some(0),
        "nothing to confirm"
    );
    clocked.set_and_notice(5 * DAY_MS);
    let unconfirmed_s = clocked.metric("portico_clock_unconfirmed_seconds");
    assert!(unconfirmed_s > Some(431_000.0), "{unconfirmed_s:?}");
    assert_eq!(
        clocked.send("once@example.com", "once"),
        job_id,
        "the same write"
    );
    // It is tried again meanwhile, and not given up after "72 hours".
    let status = format!("/v1/admin/write-status/{job_id}");
    clocked.until("another attempt", || {
        let write = clocked.caller().get(&status);
        assert_eq!(write["write_status"], "PENDING", "{write}");
        (write["attempts"].as_u64() >= Some(2)).then_some(())
    });
    let (checks, _) = clocked.command(&["doctor", "--json"]);
    let checks: Value = serde_json::from_str(&checks).expect("JSON");
    let all = checks["checks"].as_array().expect("checks");
    let clock = all.iter().find(|one| one["name"] == "clock").expect("one");
    assert_eq!(clock["state"], "warn", "{clock}");
    assert!(
        text(&clock["mend"]).contains("portico clock accept"),
        "{clock}"
    );

    let (said, code) = clocked.command(&["clock", "accept", "--json"]);
    assert_eq!(code, Some(0));
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert!(said["confirmed_s"].as_i64() > Some(431_000), "{said}");
    clocked.until("the server to follow", || {
        let left = clocked.metric("portico_clock_unconfirmed_seconds");
        (left == Some(0.0)).then_some(())
    });
    assert_ne!(
        clocked.send("once@example.com", "once"),
        job_id,
        "the key is old"
    );
    // Not delivered within the maximum age, by the clock that the operator confirmed.
    let write = clocked.caller().end_of(&job_id);
    assert_eq!(write["write_status"], "FAILURE", "{write}");
}

#[test]
fn a_clock_that_is_set_while_the_server_is_down_is_noticed_at_the_start() {
    let mut clocked = Clocked::start();
    clocked.refuse();
    let job_id = clocked.send("back@example.com", "back");
    clocked.tried(&job_id);
    clocked.kill();
    clocked.set_by(-HOUR_MS);
    clocked.restart();
    clocked.control("DELETE", "faults", &Value::Null);
    let write = clocked.caller().end_of(&job_id);
    assert_eq!(write["write_status"], "SUCCESS", "{write}");

    clocked.kill();
    clocked.set_by(5 * DAY_MS);
    clocked.restart();
    let unconfirmed_s = clocked.metric("portico_clock_unconfirmed_seconds");
    assert!(unconfirmed_s > Some(428_000.0), "{unconfirmed_s:?}");
    assert_eq!(
        clocked.send("back@example.com", "back"),
        job_id,
        "the same write"
    );
    // And it is known over one more restart, which itself is no jump.
    clocked.kill();
    clocked.restart();
    let unconfirmed_s = clocked.metric("portico_clock_unconfirmed_seconds");
    assert!(unconfirmed_s > Some(428_000.0), "{unconfirmed_s:?}");
    // The hour that the clock was set back before is no jump ahead.
    assert!(unconfirmed_s < Some(429_000.0), "{unconfirmed_s:?}");
    // Set right again, there is nothing left to confirm.
    clocked.set_and_notice(-5 * DAY_MS);
    clocked.until("nothing to confirm", || {
        let left = clocked.metric("portico_clock_unconfirmed_seconds");
        (left == Some(0.0)).then_some(())
    });
    let job_id = clocked.send("right@example.com", "right");
    let write = clocked.caller().end_of(&job_id);
    assert_eq!(write["write_status"], "SUCCESS", "{write}");
}

#[test]
fn a_return_is_no_jump_and_a_jump_is_confirmed_while_the_server_is_down() {
    let mut clocked = Clocked::start();
    let unconfirmed_s = |clocked: &Clocked| {
        clocked
            .metric("portico_clock_unconfirmed_seconds")
            .expect("one")
    };
    clocked.set_and_notice(-HOUR_MS);
    clocked.set_and_notice(HOUR_MS);
    assert!(unconfirmed_s(&clocked) < 1.0, "it was there before");
    clocked.kill();
    clocked.set_by(10 * DAY_MS);
    let (said, code) = clocked.command(&["clock", "accept", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert!(said["confirmed_s"].as_i64() > Some(863_000), "{said}");
    clocked.restart();
    assert!(unconfirmed_s(&clocked) < 1.0, "it is confirmed");
}

#[test]
fn nodes_whose_clocks_differ_go_by_that_of_the_database_whatever_it_does() {
    let Some(database) = Database::create().expect("a database") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let store_file = dir.path().join("store");
    private(&store_file, database.url());
    let first = Clocked::start_on(Some(store_file));
    let second = first.beside(-HOUR_MS);
    // Each takes leads that either delivers, and holds under leases that the other knows.
    for (place, node) in [&first, &second, &first, &second].into_iter().enumerate() {
        let job_id = node.send(&format!("node{place}@example.com"), &format!("k{place}"));
        let write = first.caller().end_of(&job_id);
        assert_eq!(write["write_status"], "SUCCESS", "{write}");
        assert_eq!(write["attempts"], 1, "{write}");
    }
    // Wall time less steady time moves as it would if the database's clock were set.
    let dial = || {
        let rows = database.query("SELECT revision, apart_micros FROM clock");
        rows.expect("a row").swap_remove(0)
    };
    for (place, jump) in [-HOUR_MS, HOUR_MS, 5 * DAY_MS].into_iter().enumerate() {
        first.refuse();
        let job_id = first.send(&format!("jump{place}@example.com"), &format!("j{place}"));
        first.tried(&job_id);
        let before = dial();
        let sql = format!("UPDATE clock SET apart_micros = apart_micros - {jump}000");
        database.query(&sql).expect("it is set");
        first.until("one node to note it", || {
            (dial()[0] != before[0]).then_some(())
        });
        // The other has looked since, and believes it.
        std::thread::sleep(Duration::from_secs(3));
        let after = dial();
        let revision = |dial: &[String]| dial[0].parse::<i64>().expect("a number");
        assert_eq!(
            revision(&after),
            revision(&before) + 1,
            "{jump}: once for both"
        );
        first.control("DELETE", "faults", &Value::Null);
        let write = second.caller().end_of(&job_id);
        assert_eq!(write["write_status"], "SUCCESS", "{jump}: {write}");
    }
    for node in [&first, &second] {
        node.until("both to know of it", || {
            let unconfirmed_s = node.metric("portico_clock_unconfirmed_seconds");
            (unconfirmed_s > Some(431_000.0)).then_some(())
        });
    }
    assert_eq!(first.command(&["clock", "accept"]).1, Some(0));
    for node in [&first, &second] {
        node.until("both to follow", || {
            let unconfirmed_s = node.metric("portico_clock_unconfirmed_seconds");
            (unconfirmed_s == Some(0.0)).then_some(())
        });
    }
}
