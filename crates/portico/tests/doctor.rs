//! What `portico doctor` finds, as snapshots: on what is healthy, and on what was broken in one way each. Method: the real binary on a data directory that
//! the real server made; numbers of this machine are masked.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use model::{
    CommunityId, Entropy, Secret, Timestamp,
    directory::{Community, Contents},
};
use serde_json::Value;
use store::{Registration, Sealer, Store, Unobserved};
use support::Stage;

/// Runs portico in `directory`, without the settings of who runs this, and gives what it said and how it ended.
fn portico(directory: &Path, arguments: &[&str]) -> (String, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PORTICO_") {
            command.env_remove(name);
        }
    }
    let output = command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("portico runs");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
        output.status.code(),
    )
}

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
    let (out, err, code) = portico(directory, &arguments);
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
        (r"127\.0\.0\.1:\d+", "[ADDRESS]"),
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

/// A file that its owner alone may read.
fn private(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    set_mode(path, 0o600);
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
    change: impl FnOnce(Arc<dyn Store>, Contents) -> F,
) {
    let key = std::fs::read_to_string(directory.join("dev-master.key")).expect("the key");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime
        .block_on(async {
            let sealer = Sealer::new(&Secret::new(key), Arc::new(Fixed))?;
            let path = directory.join("portico.db");
            let now = Timestamp::from_micros(1_795_000_000_000_000);
            let store = store::sqlite::open(&path, sealer, Arc::new(Unobserved), now)?;
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
    let (out, _, code) = portico(&directory, &["doctor", "--data-dir", ".", "--json"]);
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
    set_mode(&key_file, 0o640);
    check_stopped("key_open_to_others", &directory, &[]);
    std::fs::remove_file(&key_file).expect("removed");
    check_stopped("key_gone", &directory, &[]);
    private(&key_file, &key);

    stage.sandbox.kill();
    check_stopped("vendor_away", &directory, &[]);

    with_store(&directory, |store, contents| async move {
        for key in contents.keys {
            store
                .key_revoke(&support::operator(), key.id, Timestamp::ZERO)
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
