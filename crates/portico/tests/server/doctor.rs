//! What `portico doctor` finds, as snapshots: on what is healthy, and on what was broken in one way each. Method: the real binary on a data directory that
//! the real server made; numbers of this machine are masked.

use crate::support;

use std::{
    collections::BTreeMap,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use model::{
    CommunityId, Entropy, Secret, Timestamp,
    directory::{Community, Contents},
};
use serde_json::Value;
use store::{Registration, Sealer, Store, Unobserved};
use support::{Stage, portico, private};
use testbed::{Database, Options, Server};

/// The files of a directory: mode and content.
fn files(directory: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let listing = std::fs::read_dir(directory).expect("a listing");
    listing
        .map(|one| {
            let one = one.expect("a file");
            let mode = one.metadata().expect("metadata").permissions().mode();
            let content = std::fs::read(one.path()).expect("content");
            (
                one.file_name().to_string_lossy().into_owned(),
                (mode, content),
            )
        })
        .collect()
}

fn check(name: &str, directory: &Path, more: &[&str]) {
    let mut arguments = vec!["doctor", "--data-dir", "."];
    arguments.extend(more);
    check_with(name, directory, &[], &arguments);
}

/// On a database, with the master key that is in `directory`.
fn check_database(name: &str, directory: &Path, url: &str) {
    let settings = [
        ("PORTICO_STORE", url),
        ("PORTICO_MASTER_KEY_FILE", "master.key"),
    ];
    check_with(name, directory, &settings, &["doctor"]);
}

fn check_with(name: &str, directory: &Path, settings: &[(&str, &str)], arguments: &[&str]) {
    let (out, err, code) = portico(directory, settings, arguments);
    let shown = format!(
        "$ portico {}\n{out}--- stderr\n{err}--- exit code {}\n",
        arguments.join(" "),
        code.expect("it ends by itself")
    );
    // How much room there is, how fast the disk is and how many files may be open is this machine's.
    insta::with_settings!({filters => vec![
        (r"(?m)^(ok  |warn)  (disk space|disk write|open files) .*\n( +-> .*\n)?", "[..]  $2\n"),
        (r"All is well\.|It works; \d to look at\.", "[WELL]"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]"),
        (r"127\.0\.0\.1(:\d+)?", "[ADDRESS]"),
        (r"version \d+(\.\d+)?( \([^)]*\))? ", "version [VERSION] "),
        (r"\d+ of at most \d+ are there", "[COUNT] of at most [COUNT] are there"),
        (r"standby_[0-9a-f]+", "standby_[ID]"),
        (r"portico_test_[0-9a-f]+", "portico_test_[ID]"),
        (r"\b[0-9a-f]{16}\b", "[KEY]"),
    ]}, {
        insta::assert_snapshot!(name, shown);
    });
}

/// As [`check`], and no file is changed, made or removed by it.
fn check_stopped(name: &str, directory: &Path, more: &[&str]) {
    let before = files(directory);
    check(name, directory, more);
    let after = files(directory);
    let names = |files: &BTreeMap<String, _>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before), "{name}");
    // What ends in -shm is no data: SQLite's notes on who reads the log, made anew at will.
    for (file, was) in before.iter().filter(|(file, _)| !file.ends_with("-shm")) {
        assert!(after.get(file) == Some(was), "{name}: it changed {file}");
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
}

struct Fixed;

impl Entropy for Fixed {
    fn bytes(&self) -> [u8; 16] {
        [7; 16]
    }
}

/// Runs `change` on the store in `directory`, which no server has open.
fn with_store<F: Future<Output = Result<(), store::Error>>>(
    directory: &Path,
    change: impl FnOnce(Arc<Store>, Contents) -> F,
) {
    let key = std::fs::read_to_string(directory.join("dev-master.key")).expect("the key");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime
        .block_on(async {
            let sealer = Sealer::new(&Secret::new(key), Arc::new(Fixed))?;
            let path = directory.join("portico.db");
            let now = Timestamp::from_micros(1_795_000_000_000_000);
            let store =
                store::sqlite::open(&path, sealer, Arc::new(Unobserved), now).map(Arc::new)?;
            let contents = store.directory_contents(0).await?;
            change(store.clone(), contents).await?;
            store.close().await;
            Ok::<_, store::Error>(())
        })
        .expect("the store takes it");
}

#[test]
fn a_healthy_directory_is_well_while_a_server_runs_and_after() {
    let mut stage = Stage::set();
    let directory = stage.dir.path().to_owned();
    set_mode(&directory, 0o700);
    check("running", &directory, &[]);
    let (out, _, code) = portico(&directory, &[], &["doctor", "--data-dir", ".", "--json"]);
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&report["ok"], code), (&Value::Bool(true), Some(0)));
    let checks = report["checks"].as_array().expect("checks");
    let named = |name: &str| checks.iter().find(|check| check["name"] == name);
    assert_eq!(
        named("server").expect("the server")["found"],
        "one runs on this data"
    );
    let secrets = ["dev-master.key", "dev-token"]
        .map(|name| std::fs::read_to_string(directory.join(name)).expect("a secret"));
    for secret in &secrets {
        assert!(!out.contains(secret.trim()));
    }
    // The log that a killed server leaves is looked at too.
    stage.server.kill();
    check("killed", &directory, &[]);
}

#[test]
fn what_is_broken_is_told_with_how_to_mend_it() {
    let mut stage = Stage::set();
    let directory = stage.dir.path().to_owned();
    set_mode(&directory, 0o700);
    stage.server.kill();
    // Folds in the log, so that the database is one file.
    with_store(&directory, |_, _| async { Ok(()) });
    check_stopped("stopped", &directory, &[]);

    let database = directory.join("portico.db");
    set_mode(&directory, 0o755);
    check_stopped("directory_open_to_others", &directory, &[]);
    set_mode(&directory, 0o770);
    set_mode(&database, 0o644);
    check_stopped("files_open_to_others", &directory, &[]);
    set_mode(&directory, 0o700);
    set_mode(&database, 0o600);

    let key_file = directory.join("dev-master.key");
    let key = std::fs::read_to_string(&key_file).expect("the key");
    let wrong = "ab".repeat(32);
    private(&directory.join("wrong.key"), &wrong);
    check_stopped("wrong_key", &directory, &["--master-key-file", "wrong.key"]);
    private(&directory.join("short.key"), "abc");
    check_stopped(
        "no_key",
        &directory,
        &["--master-key-command", "cat short.key"],
    );
    private(&key_file, &format!("{wrong}\n{key}\n"));
    check_stopped("key_being_replaced", &directory, &[]);
    private(&key_file, &key);
    set_mode(&key_file, 0o644);
    check_stopped("key_open_to_others", &directory, &[]);
    std::fs::remove_file(&key_file).expect("removed");
    check_stopped("key_gone", &directory, &[]);
    private(&key_file, &key);

    stage.sandbox.kill();
    check_stopped("vendor_away", &directory, &[]);

    with_store(&directory, |store, contents| async move {
        for key in contents.keys {
            store
                .key_revoke(&support::operator(), key.id, false, Timestamp::ZERO)
                .await?;
        }
        let mut integration = contents
            .branches
            .into_iter()
            .next()
            .expect("one")
            .integration;
        integration.active = false;
        // Stored by a clock that was ahead by some years.
        let ahead = Timestamp::from_micros(2_000_000_000_000_000);
        let community = Community {
            id: CommunityId::new(ahead, &Fixed),
            integration_id: integration.id,
            x_id: "ahead".to_owned(),
            name: "Ahead".to_owned(),
            timezone: "America/Phoenix".to_owned(),
            phone_region: None,
            active: true,
        };
        let registration = Registration {
            integration,
            communities: vec![community],
            attributions: Vec::new(),
            agents: Vec::new(),
        };
        store
            .integration_register(&support::operator(), registration, ahead)
            .await
    });
    check_stopped("nobody_may_come_in", &directory, &[]);

    let mut damaged = std::fs::read(&database).expect("the database");
    // Behind the first page, which has the schema.
    damaged[8_192..].fill(0x5a);
    std::fs::write(&database, damaged).expect("written");
    check_stopped("damaged", &directory, &[]);
    std::fs::write(&database, "a text").expect("written");
    check_stopped("no_database", &directory, &[]);
    std::fs::remove_file(&database).expect("removed");
    check_stopped("nothing_there", &directory, &[]);
}

/// The check of this name in a report.
fn named<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("{name}: {report}"))
}

/// What doctor says to a user who may not do everything.
fn report_to_nobody(directory: &Path) -> Value {
    const NOBODY: u32 = 65_534;
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
    command.args(["doctor", "--json", "--data-dir", "."]);
    command.current_dir(directory);
    if rustix::process::geteuid().is_root() {
        chown(directory, Some(NOBODY), Some(NOBODY)).expect("the directory is theirs");
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().expect("portico runs");
    assert_eq!(output.status.code(), Some(1));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn what_a_start_would_refuse_is_told_and_missing_rights_are_not_called_damage() {
    let mut stage = Stage::set();
    let directory = stage.dir.path().to_owned();
    set_mode(&directory, 0o700);
    stage.server.kill();
    with_store(&directory, |_, _| async { Ok(()) });
    let fails = |report: &Value, name: &str, words: &str| {
        let check = named(report, name);
        assert_eq!(check["state"], "fail", "{check}");
        let found = check["found"].as_str().unwrap_or_default();
        assert!(found.contains(words), "{check}");
        assert!(!report.to_string().contains("restore a backup"), "{report}");
    };
    let report = |settings: &[(&str, &str)]| -> Value {
        let arguments = ["doctor", "--json", "--data-dir", "."];
        let (out, _, code) = portico(&directory, settings, &arguments);
        assert_eq!(code, Some(1), "{out}");
        serde_json::from_str(&out).expect("JSON")
    };
    let lock = directory.join("serve.lock");
    let database = directory.join("portico.db");
    for file in [&lock, &database] {
        set_mode(file, 0o400);
        fails(&report(&[]), "database files", "cannot be written to");
        set_mode(file, 0o600);
    }
    std::fs::remove_file(&lock).expect("removed");
    std::fs::create_dir(&lock).expect("made");
    fails(&report(&[]), "database files", "is no file");
    std::fs::remove_dir(&lock).expect("removed");
    for (name, value, words) in [
        ("PORTICO_VOCABULARY", "missing.toml", "missing.toml"),
        ("PORTICO_TLS_CERT", "missing.pem", "without its key"),
        ("PORTICO_CALLS_MAX", "many", "many"),
    ] {
        fails(&report(&[(name, value)]), "settings", words);
    }
    set_mode(&database, 0o000);
    let report = report_to_nobody(&directory);
    fails(&report, "database", "cannot be read");
}

/// Everything that changes the database or its files happens at once, and nothing is wrong.
#[test]
fn beside_a_busy_server_nothing_is_called_wrong() {
    const RUNS: usize = 12;
    let stage = Stage::set();
    let directory = stage.dir.path();
    set_mode(directory, 0o700);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let (is_over, backups, rotations, audits) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let caller = stage.caller();
    let bodies = support::leads(&stage.server, 64);
    let until_over = |count: &AtomicUsize, arguments: &dyn Fn(usize) -> Vec<String>| {
        while !is_over.load(Ordering::Relaxed) {
            let number = count.load(Ordering::Relaxed);
            let arguments = arguments(number);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let (out, err, code) = portico(directory, &[], &arguments);
            assert_eq!(code, Some(0), "{arguments:?}: {out}{err}");
            count.store(number + 1, Ordering::Relaxed);
        }
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        for part in bodies.chunks(32) {
            let (caller, is_over) = (&caller, &is_over);
            scope.spawn(move || {
                for body in part.iter().cycle() {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    caller.send("POST", "/crm/v1/prospects/knock", body);
                }
            });
        }
        scope.spawn(|| {
            until_over(&backups, &|number| {
                let file = elsewhere.path().join(format!("{number}.db"));
                let mut arguments = words("backup --data-dir .");
                arguments.push(file.display().to_string());
                arguments
            });
        });
        scope.spawn(|| {
            until_over(&rotations, &|_| words("keys --data-dir . rotate-master"));
        });
        scope.spawn(|| until_over(&audits, &|_| words("audit --data-dir . verify")));
        let begun = Instant::now();
        let mut failed = None;
        let mut runs = 0;
        let all = [&backups, &rotations, &audits];
        let is_busy = || all.iter().all(|count| count.load(Ordering::Relaxed) > 0);
        while failed.is_none() && (runs < RUNS || !is_busy()) && begun.elapsed() < support::PATIENCE
        {
            let arguments = ["doctor", "--json", "--data-dir", "."];
            let (out, _, _) = portico(directory, &[], &arguments);
            let report: Value = serde_json::from_str(&out).expect("JSON");
            let checks = report["checks"].as_array().expect("checks");
            // How fast and how full this machine is, is not what is tried.
            let of_this_machine = ["disk space", "disk write", "open files", "vendors"];
            failed = checks
                .iter()
                .find(|check| {
                    let name = check["name"].as_str().unwrap_or_default();
                    check["state"] == "fail" && !of_this_machine.contains(&name)
                })
                .cloned();
            runs += 1;
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(failed.is_none(), "run {runs}: {failed:?}");
    });
    for count in [&backups, &rotations, &audits] {
        assert!(count.load(Ordering::Relaxed) > 0, "it was not busy");
    }
}

#[test]
fn a_postgresql_server_is_looked_at() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    private(&directory.join("master.key"), &"ab".repeat(32));
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    let made = made.expect("a certificate");
    std::fs::write(directory.join("ca.pem"), made.cert.pem()).expect("written");
    let options = Options::durable().with_tls(&made.cert.pem(), &made.signing_key.serialize_pem());
    let Some(mut primary) = Server::start(options.clone()).expect("a server") else {
        return;
    };
    let plain = primary.database_create("leads").expect("a database");
    let url = format!("{plain}?sslmode=verify-full&sslrootcert=ca.pem");
    let settings = [
        ("PORTICO_STORE", url.as_str()),
        ("PORTICO_MASTER_KEY_FILE", "master.key"),
    ];
    let done = |arguments: &[&str]| {
        let (_, err, code) = portico(directory, &settings, arguments);
        assert_eq!(code, Some(0), "{err}");
    };
    check_database("postgres_empty", directory, &url);
    done(&["keys", "create", "--name", "operator"]);
    check_database("postgres_on_one_machine", directory, &url);

    let standby = Server::standby_of(&primary, options).expect("a standby");
    check_database("postgres_with_a_standby", directory, &url);
    // Of others' connections a user without further rights is told that they are there.
    let limited = "CREATE ROLE limited LOGIN PASSWORD 's3cret'";
    primary.query(limited).expect("a user");
    let by_limited = {
        let mut url = url::Url::parse(&url).expect("a URL");
        url.set_username("limited").expect("a user");
        url.set_password(Some("s3cret")).expect("a password");
        url.to_string()
    };
    check_database("postgres_by_a_stranger", directory, &by_limited);
    let grant = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO limited";
    testbed::client::query(&plain, grant).expect("granted");
    check_database("postgres_by_a_reader", directory, &by_limited);
    let grant = "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO limited";
    testbed::client::query(&plain, grant).expect("granted");
    check_database("postgres_by_a_limited_user", directory, &by_limited);
    let other = primary.database_create("other").expect("a database");
    check_database("postgres_without_rights", directory, &{
        let mut url = url::Url::parse(&by_limited).expect("a URL");
        url.set_path("other");
        url.to_string()
    });
    // As many programs' own steps of a schema are called.
    let made = "CREATE TABLE migrations (id BIGINT, name TEXT)";
    testbed::client::query(&other, made).expect("made");
    let other = format!("{other}?sslmode=verify-full&sslrootcert=ca.pem");
    check_database("postgres_of_others", directory, &other);
    let (_, err, code) = portico(
        directory,
        &[("PORTICO_STORE", &other)],
        &["store", "migrate"],
    );
    assert_eq!(code, Some(1));
    assert!(err.contains("is not Portico's (migrations, …)"), "{err}");
    drop(standby);
    let begun = Instant::now();
    let standbys = || {
        primary
            .query("SELECT pid FROM pg_stat_replication")
            .expect("rows")
    };
    while !standbys().is_empty() {
        assert!(begun.elapsed() < support::PATIENCE, "the standby stays");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Nothing that changes something would be answered now, but for settings.
    primary
        .query("ALTER SYSTEM SET autovacuum = off")
        .expect("set");
    primary.query("SELECT pg_reload_conf()").expect("read");
    check_database("postgres_without_its_standby", directory, &url);

    primary
        .query("ALTER SYSTEM SET synchronous_standby_names = ''")
        .expect("set");
    primary.query("SELECT pg_reload_conf()").expect("read");
    let newer = "INSERT INTO migrations VALUES (99, 'later', 'x', 0, 99)";
    testbed::client::query(&plain, newer).expect("stored");
    check_database("postgres_of_a_newer_portico", directory, &url);

    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    std::fs::write(
        directory.join("ca.pem"),
        other.expect("a certificate").cert.pem(),
    )
    .expect("written");
    let (out, _, code) = portico(directory, &settings, &["doctor"]);
    assert_eq!(code, Some(1));
    assert!(
        out.contains("cannot be reached") && out.contains("certificate"),
        "{out}"
    );
    primary.stop().expect("stopped");
    let (out, _, code) = portico(directory, &settings, &["doctor"]);
    assert_eq!(code, Some(1));
    assert!(
        out.contains("cannot be reached") && out.contains("refused"),
        "{out}"
    );
}

#[test]
fn a_postgresql_server_that_waits_for_no_disk_fails() {
    let directory = tempfile::tempdir().expect("a directory");
    private(&directory.path().join("master.key"), &"ab".repeat(32));
    // That of all tests.
    let Some(database) = Database::create().expect("a database") else {
        return;
    };
    check_database("postgres_not_durable", directory.path(), database.url());
}
