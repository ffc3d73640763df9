//! What happens to the data directory beside the server: files that are removed or replaced, a log
//! that is cut, no database.
//!
//! Goal: nothing is answered 200 that goes into a file that nobody will find, no two servers work
//! on one directory, and commits that are missing at a start are noticed. Method: the real binary,
//! and the hands of a careless operator.

use crate::support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    Answer, Caller, Node, PATIENCE, Process, Stage, in_parallel, portico, request, result, text,
    with,
};

/// Leads that are open when the server is killed.
const OPEN: usize = 6;

fn post(caller: &Caller, references: &Value, name: &str) -> Answer {
    let body = with(
        references,
        json!({ "email_1": format!("{name}@mail.example.com") }),
    );
    caller
        .call(
            "POST",
            "/crm/v1/prospects/knock",
            &[("idempotency-key", name)],
            &body.to_string(),
        )
        .expect("an answer")
}

fn status(caller: &Caller, path: &str) -> u16 {
    let answer = caller.call("GET", path, &[], "");
    answer.map_or(0, |answer| answer.status)
}

fn wait_for(caller: &Caller, path: &str, expected: u16) {
    let started = Instant::now();
    while status(caller, path) != expected {
        assert!(started.elapsed() < PATIENCE, "{path} is not {expected}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A stage whose server writes its log into a file.
fn logged(log: &Path) -> Stage {
    let (dir, sandbox) = (
        tempfile::tempdir().expect("a directory"),
        Process::sandbox(),
    );
    let data_dir = dir.path().join("data");
    Stage {
        server: dev(&data_dir, "127.0.0.1:0", &sandbox, log),
        sandbox,
        dir,
    }
}

fn dev(data_dir: &Path, listen: &str, sandbox: &Process, log: &Path) -> Process {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
    command
        .args(["dev", "--json", "--listen", listen, "--data-dir"])
        .arg(data_dir)
        .args(["--sandbox-url", &sandbox.text("sandbox_url")])
        .env("PORTICO_LOG", "info")
        .stderr(log);
    Process::run(command)
}

/// A master key.
const KEY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Starts `portico serve` on a data directory. Returns its log if it ends instead.
fn serve(directory: &Path, data_dir: &str, arguments: &[&str], key: &str) -> Result<Node, String> {
    let mut command = Node::command(directory);
    command
        .args(["--data-dir", data_dir])
        .args(arguments)
        .env("PORTICO_MASTER_KEY", key);
    Node::serve(command)
}

#[test]
fn a_directory_that_others_may_write_to_is_not_served() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    fs::create_dir(&data).expect("a directory");
    for (mode, is_served) in [(0o777, false), (0o703, false), (0o755, true)] {
        fs::set_permissions(&data, PermissionsExt::from_mode(mode)).expect("a mode");
        match serve(dir.path(), "data", &[], KEY) {
            Ok(_) => assert!(is_served, "{mode:o}"),
            Err(log) => {
                assert!(!is_served && log.contains("chmod o-w"), "{mode:o}: {log}");
                // Nothing was made in it.
                assert_eq!(fs::read_dir(&data).expect("a listing").count(), 0);
            }
        }
    }
}

/// What is done to the files of a data directory.
type Deed = (&'static str, fn(&Path));

/// What happens to a log while the server is down.
type Damage<'a> = (&'static str, &'a (dyn Fn(&Path) + Sync));

fn copy_of(path: &Path) -> PathBuf {
    let copy = path.with_extension("copy");
    fs::copy(path, &copy).expect("a copy");
    copy
}

fn database(data_dir: &Path) -> PathBuf {
    data_dir.join("portico.db")
}

fn log_of(data_dir: &Path) -> PathBuf {
    data_dir.join("portico.db-wal")
}

#[test]
fn nothing_is_answered_from_files_that_are_not_those_of_the_directory() {
    let deeds: [Deed; 9] = [
        ("database removed", |dir| {
            fs::remove_file(database(dir)).expect("removed");
        }),
        ("database replaced", |dir| {
            fs::rename(copy_of(&database(dir)), database(dir)).expect("renamed");
        }),
        ("database removed and made anew", |dir| {
            fs::remove_file(database(dir)).expect("removed");
            fs::write(database(dir), "").expect("written");
        }),
        ("log removed", |dir| {
            fs::remove_file(log_of(dir)).expect("removed");
        }),
        ("database emptied", |dir| {
            fs::write(database(dir), "").expect("emptied");
        }),
        ("log emptied", |dir| {
            fs::write(log_of(dir), "").expect("emptied");
        }),
        ("all removed", |dir| {
            fs::remove_dir_all(dir).expect("removed");
        }),
        ("directory moved away", |dir| {
            fs::rename(dir, dir.with_extension("aside")).expect("renamed");
        }),
        ("directory replaced", |dir| {
            fs::rename(dir, dir.with_extension("aside")).expect("renamed");
            fs::create_dir(dir).expect("made");
            fs::copy(database(&dir.with_extension("aside")), database(dir)).expect("a copy");
        }),
    ];
    let cases: Vec<(Deed, bool)> = deeds
        .into_iter()
        .flat_map(|deed| [(deed, false), (deed, true)])
        .collect();
    // Mostly they wait.
    in_parallel(&cases, 4, |_, ((name, deed), is_read_first)| {
        let logs = tempfile::tempdir().expect("a directory");
        let log = logs.path().join("log");
        let stage = logged(&log);
        let (caller, references) = (stage.caller(), stage.references("Saguaro Flats"));
        assert_eq!(post(&caller, &references, "before").status, 200, "{name}");
        assert_eq!(status(&caller, "/readyz"), 200);
        deed(&stage.dir.path().join("data"));
        if *is_read_first {
            // Within a second, without anything that is stored.
            wait_for(&caller, "/crm/v1/prospects", 503);
        }
        for lead in 0..3 {
            let answer = post(&caller, &references, &format!("after-{lead}"));
            assert_eq!(answer.status, 503, "{name}: {}", answer.body);
        }
        for path in ["/crm/v1/prospects", "/readyz"] {
            assert_eq!(status(&caller, path), 503, "{name}: {path}");
        }
        assert_eq!(status(&caller, "/healthz"), 200);
        // Once, however many asked; lines are written a little later than what they tell of.
        let started = Instant::now();
        let lines = || {
            let told = fs::read_to_string(&log).expect("a log");
            told.matches("every request gets 503").count()
        };
        while lines() == 0 {
            assert!(started.elapsed() < PATIENCE, "{name}: nothing is told");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(lines(), 1, "{name}");
    });
}

#[test]
fn files_that_are_put_back_are_served_again() {
    let logs = tempfile::tempdir().expect("a directory");
    let mut stage = logged(&logs.path().join("log"));
    let (caller, references) = (stage.caller(), stage.references("Saguaro Flats"));
    let data_dir = stage.dir.path().join("data");
    let aside = stage.dir.path().join("aside");
    for round in 0..3 {
        fs::rename(&data_dir, &aside).expect("renamed");
        wait_for(&caller, "/crm/v1/prospects", 503);
        wait_for(&caller, "/readyz", 503);
        fs::rename(&aside, &data_dir).expect("renamed");
        wait_for(&caller, "/readyz", 200);
        let name = format!("round-{round}");
        assert_eq!(post(&caller, &references, &name).status, 200);
        let body = with(
            &references,
            json!({ "email_1": format!("{name}@mail.example.com") }),
        );
        let job_id = caller.post_until_answered(&body, &name).job_id();
        assert_eq!(caller.end_of(&job_id)["write_status"], "SUCCESS");
    }
    stage.server.stop();
    let told = fs::read_to_string(logs.path().join("log")).expect("a log");
    assert!(told.contains("are back"), "{told}");
    // Nothing of it is missing for the next one.
    let log = logs.path().join("log");
    stage.server = dev(&data_dir, "127.0.0.1:0", &stage.sandbox, &log);
    assert_eq!(stage.cards().len(), 3);
}

/// A server that stops when its files were replaced leaves those in their place alone.
#[test]
fn a_stop_leaves_what_others_put_there_alone() {
    let logs = tempfile::tempdir().expect("a directory");
    let mut stage = logged(&logs.path().join("log"));
    let (caller, references) = (stage.caller(), stage.references("Saguaro Flats"));
    let data_dir = stage.dir.path().join("data");
    assert_eq!(post(&caller, &references, "before").status, 200);
    fs::rename(&data_dir, stage.dir.path().join("aside")).expect("renamed");
    fs::create_dir(&data_dir).expect("made");
    for ending in ["", "-wal", "-shm"] {
        fs::write(data_dir.join(format!("portico.db{ending}")), "another's").expect("written");
    }
    wait_for(&caller, "/readyz", 503);
    stage.server.stop();
    for ending in ["", "-wal", "-shm"] {
        let kept = fs::read_to_string(data_dir.join(format!("portico.db{ending}")));
        assert_eq!(kept.expect("it is there"), "another's", "{ending}");
    }
    let told = fs::read_to_string(logs.path().join("log")).expect("a log");
    assert!(!told.contains("all that was accepted is stored"), "{told}");
}

#[test]
fn a_directory_has_one_server_also_without_its_lock_file() {
    let stage = Stage::set();
    let (caller, references) = (stage.caller(), stage.references("Saguaro Flats"));
    let data_dir = stage.dir.path();
    let second = |arguments: &[&str]| {
        let mut all = vec!["--data-dir", ".", "--listen", "127.0.0.1:0"];
        all.splice(0..0, arguments.iter().copied());
        portico(
            data_dir,
            &[("PORTICO_MASTER_KEY_FILE", "dev-master.key")],
            &all,
        )
    };
    for _ in 0..2 {
        let (_, err, code) = second(&["serve"]);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains("another portico already serves"), "{err}");
        // Also when it was tried before, and the file is another.
        let _ = fs::remove_file(data_dir.join("serve.lock"));
        assert!(!data_dir.join("serve.lock").exists());
        let (_, err, code) = second(&["serve"]);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains("another portico already serves"), "{err}");
    }
    assert_eq!(post(&caller, &references, "after").status, 200);
    assert_eq!(status(&caller, "/readyz"), 200);
    let (out, err, _) = portico(data_dir, &[], &["doctor", "--data-dir", "."]);
    assert!(out.contains("one runs on this data"), "{out}{err}");
}

#[test]
fn a_log_that_was_cut_is_noticed_at_the_start() {
    let mut stage = Stage::set();
    let (caller, references) = (stage.caller(), stage.references("Saguaro Flats"));
    let address = caller.address.clone();
    stage.server.stop();
    stage.server = Process::dev(stage.dir.path(), &address, &stage.sandbox);
    // Nothing is delivered for now.
    let integration = format!(
        "/v1/admin/integrations/{}",
        stage.server.text("integration_id")
    );
    result(
        &caller,
        "POST",
        &format!("{integration}/pause"),
        &Value::Null,
    );
    let jobs: Vec<String> = (0..OPEN)
        .map(|n| post(&caller, &references, &format!("lead-{n}")).job_id())
        .collect();
    stage.server.kill();
    let whole = stage.dir.path();
    let length = fs::metadata(log_of(whole)).expect("a log").len();
    let cut = |dir: &Path, length: u64| {
        let file = fs::File::options().write(true).open(log_of(dir));
        file.and_then(|file| file.set_len(length)).expect("cut");
    };
    let damages: [Damage<'_>; 5] = [
        ("its last bytes are gone", &|dir| cut(dir, length - 1)),
        ("half of it is gone", &|dir| cut(dir, length / 2)),
        ("it is empty", &|dir| cut(dir, 0)),
        ("it is gone", &|dir| {
            fs::remove_file(log_of(dir)).expect("removed");
        }),
        ("a byte of it is another", &|dir| {
            let mut bytes = fs::read(log_of(dir)).expect("a log");
            let half = bytes.len() / 2;
            bytes[half] ^= 1;
            fs::write(log_of(dir), bytes).expect("written");
        }),
    ];
    let key = fs::read_to_string(whole.join("dev-master.key")).expect("a key");
    let settings = [("PORTICO_MASTER_KEY", key.trim())];
    let copied = || {
        let copy = tempfile::tempdir().expect("a directory");
        for entry in fs::read_dir(whole).expect("a listing") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name");
            fs::copy(&path, copy.path().join(name)).expect("a copy");
        }
        copy
    };
    in_parallel(&damages, 5, |_, (name, damage)| {
        let copy = copied();
        let dir = copy.path();
        damage(dir);
        let before = fs::read(log_of(dir)).ok();
        for command in [
            &["serve", "--listen", "127.0.0.1:0", "--data-dir", "."][..],
            &[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--data-dir",
                ".",
                "--init",
            ],
            &["keys", "list", "--data-dir", "."],
            &["store", "migrate", "--data-dir", "."],
        ] {
            let (out, err, code) = portico(dir, &settings, command);
            assert_eq!(code, Some(1), "{name}: {out}{err}");
            assert!(err.contains("lacks the last"), "{name}: {err}");
            assert!(err.contains("--accept-loss"), "{name}: {err}");
            // All is as it was, for whoever can mend it.
            let after = fs::read(log_of(dir)).ok();
            assert!(before.is_none() || after == before, "{name}");
        }
        let (out, err, code) = portico(dir, &settings, &["doctor", "--data-dir", "."]);
        assert_eq!(code, Some(1), "{name}: {err}");
        assert!(out.contains("lacks the last"), "{name}: {out}");
        let arguments = [
            "--accept-loss",
            "--vendor-url",
            &stage.sandbox.text("sandbox_url"),
        ];
        let served = serve(dir, ".", &arguments, key.trim()).expect("it serves");
        let log = &served.start_log;
        assert!(log.contains("missing_commits"), "{name}: {log}");
        drop(served);
        // It is accepted once.
        let served = serve(dir, ".", &[], key.trim()).expect("it serves");
        assert!(!served.start_log.contains("missing_commits"), "{name}");
    });
    // What is whole is served, and delivered.
    stage.server = Process::dev(stage.dir.path(), &address, &stage.sandbox);
    result(
        &caller,
        "POST",
        &format!("{integration}/resume"),
        &Value::Null,
    );
    for job_id in jobs {
        assert_eq!(stage.caller().end_of(&job_id)["write_status"], "SUCCESS");
    }
    // After a stop in order, too, when the log is folded in.
    stage.server.stop();
    stage.server = Process::dev(stage.dir.path(), &address, &stage.sandbox);
    assert_eq!(status(&stage.caller(), "/readyz"), 200);
}

#[test]
fn an_older_copy_in_the_place_of_the_database_is_noticed_and_a_restored_backup_is_not() {
    let mut stage = Stage::set();
    let (caller, references) = (stage.caller(), stage.references("Saguaro Flats"));
    assert_eq!(post(&caller, &references, "in-the-backup").status, 200);
    let backups = tempfile::tempdir().expect("a directory");
    let backup = text(&json!(backups.path().join("backup.db")));
    let (_, err, code) = portico(
        stage.dir.path(),
        &[],
        &["backup", "--data-dir", ".", &backup],
    );
    assert_eq!(code, Some(0), "{err}");
    let body = with(&references, json!({ "email_1": "after@mail.example.com" }));
    caller.prospect(&body);
    stage.server.stop();
    let key = fs::read_to_string(stage.dir.path().join("dev-master.key")).expect("a key");
    // As README has it: into an empty directory.
    let restored = tempfile::tempdir().expect("a directory");
    fs::copy(&backup, database(restored.path())).expect("a copy");
    drop(serve(restored.path(), ".", &[], key.trim()).expect("it serves"));
    // Over the newer one.
    fs::copy(&backup, database(stage.dir.path())).expect("a copy");
    let refused = serve(stage.dir.path(), ".", &[], key.trim());
    let log = refused.err().expect("it is refused");
    assert!(log.contains("an older copy is in its place"), "{log}");
    let allowed = ["--accept-loss"];
    drop(serve(stage.dir.path(), ".", &allowed, key.trim()).expect("it serves"));
}

#[test]
fn a_new_database_is_made_in_an_empty_directory_or_when_that_is_asked_for() {
    const MADE: &str = "a new, empty one is made";
    let dir = tempfile::tempdir().expect("a directory");
    let at = |path: &str| dir.path().join(path);
    // Nothing there; a volume as ext4 makes it; a directory in which a start failed before.
    fs::create_dir_all(at("volume/lost+found")).expect("made");
    fs::create_dir(at("tried")).expect("made");
    fs::write(at("tried/serve.lock"), "").expect("written");
    for data_dir in ["none", "volume", "tried"] {
        let served = serve(dir.path(), data_dir, &[], KEY).expect("it serves");
        assert!(served.start_log.contains(MADE), "{data_dir}");
        let ready = request(&served.address, "GET", "/readyz", &[], "");
        assert_eq!(ready.expect("an answer").status, 200);
        drop(served);
        let again = serve(dir.path(), data_dir, &[], KEY).expect("it serves");
        assert!(!again.start_log.contains(MADE), "{data_dir}");
    }
    for (data_dir, file) in [("key", "master.key"), ("lost", "portico.db-wal")] {
        fs::create_dir(at(data_dir)).expect("made");
        fs::write(at(data_dir).join(file), "").expect("written");
        let log = serve(dir.path(), data_dir, &[], KEY)
            .err()
            .expect("it is refused");
        assert!(log.contains(file) && log.contains("--init"), "{log}");
        for command in [
            &["keys", "create", "--name", "a", "--permissions", "read"][..],
            &["store", "migrate"],
        ] {
            let named = [command, &["--data-dir", data_dir]].concat();
            let key = "a".repeat(64);
            let (_, err, code) = portico(dir.path(), &[("PORTICO_MASTER_KEY", &key)], &named);
            assert_eq!(code, Some(1), "{command:?}: {err}");
            assert!(err.contains(file) && err.contains("--init"), "{err}");
        }
        assert!(!database(&at(data_dir)).exists(), "{data_dir}");
    }
    let served = serve(dir.path(), "key", &["--init"], KEY).expect("it serves");
    assert!(served.start_log.contains(MADE));
    drop(served);
    let create = || {
        portico(
            dir.path(),
            &[("PORTICO_MASTER_KEY", KEY)],
            &[
                "keys",
                "create",
                "--data-dir",
                "key",
                "--name",
                "operator",
                "--permissions",
                "read",
            ],
        )
    };
    let (_, err, code) = create();
    assert_eq!(code, Some(0), "{err}");
    // A database that was there and is not: neither a start nor another command makes a new one.
    fs::remove_file(database(&at("key"))).expect("removed");
    let log = serve(dir.path(), "key", &[], KEY)
        .err()
        .expect("it is refused");
    assert!(log.contains("there is no database"), "{log}");
    let log = serve(dir.path(), "key", &["--init"], KEY)
        .err()
        .expect("it is refused");
    assert!(log.contains("lacks the last"), "{log}");
    let (_, err, code) = create();
    assert_eq!(code, Some(1));
    assert!(err.contains("there is no database"), "{err}");
    let allowed = ["--init", "--accept-loss"];
    drop(serve(dir.path(), "key", &allowed, KEY).expect("it serves"));
}

#[test]
fn the_newest_entry_of_the_audit_log_is_noted_outside_of_the_database() {
    let dir = tempfile::tempdir().expect("a directory");
    let directory = dir.path();
    let settings = [("PORTICO_MASTER_KEY", KEY), ("PORTICO_DATA_DIR", "data")];
    let often = ["--audit-head-file", "heads", "--audit-head-every-s", "1"];
    let served = serve(directory, "data", &often, KEY).expect("it serves");
    let heads = directory.join("heads");
    let verify = |file: &str| {
        let arguments = ["audit", "verify", "--json", "--head-file", file];
        portico(directory, &settings, &arguments)
    };
    for place in 1..=2_usize {
        let make = ["keys", "create", "--name", "one", "--permissions", "read"];
        let (_, told, code) = portico(directory, &settings, &make);
        assert_eq!(code, Some(0), "{told}");
        let until = Instant::now() + PATIENCE;
        let lines = loop {
            let lines = fs::read_to_string(&heads).unwrap_or_default();
            if lines.lines().count() >= place {
                break lines;
            }
            assert!(Instant::now() < until, "{lines}");
            std::thread::sleep(Duration::from_millis(50));
        };
        let (out, told, _) = verify("heads");
        let shown: Value = serde_json::from_str(&out).expect(&told);
        let counts = [&shown["entries"], &shown["with_mac"], &shown["without_mac"]];
        assert_eq!(counts, [&json!(place), &json!(place), &json!(0)]);
        let head = text(&shown["head"]);
        assert!(
            lines.trim_end().ends_with(&format!(" {place} {head}")),
            "{lines}"
        );
        let until = Instant::now() + PATIENCE;
        while !served
            .log()
            .iter()
            .any(|line| line["fields"]["head"] == head)
        {
            assert!(Instant::now() < until, "{head}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let noted = fs::read_to_string(&heads).expect("notes");
    let mode = fs::metadata(&heads)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "its owner's alone");
    let zeros = "0".repeat(64);
    for (more, part) in [
        (
            format!("t 3 {zeros}\n"),
            "ends with entry 2, but entry 3 was noted",
        ),
        (format!("t 1 {zeros}\n"), "two hashes for entry 1"),
    ] {
        fs::write(directory.join("other"), noted.clone() + &more).expect("written");
        let (_, told, code) = verify("other");
        assert!(code == Some(1) && told.contains(part), "{told}");
    }
    fs::write(directory.join("other"), format!("t 1 {zeros}\n")).expect("written");
    let (_, told, code) = verify("other");
    assert!(
        code == Some(1) && told.contains("is not the one that was noted"),
        "{told}"
    );
}
