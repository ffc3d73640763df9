//! What the command line shows: help, as a snapshot, and refusals.
#![expect(
    clippy::expect_used,
    reason = "a test fails by panicking, and says what it saw"
)]

use std::{path::Path, process::Command};

/// Runs the benchmark without settings from the environment, and returns stdout, stderr and how it
/// ended.
fn bench(arguments: &[&str]) -> (String, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico-bench"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PORTICO_") {
            command.env_remove(name);
        }
    }
    let ran = command.args(arguments).output().expect("it runs");
    (
        String::from_utf8_lossy(&ran.stdout).into_owned(),
        String::from_utf8_lossy(&ran.stderr).into_owned(),
        ran.status.code(),
    )
}

#[test]
fn help_says_what_there_is() {
    let screens = [
        &["--help"][..],
        &["accept", "--help"],
        &["deliver", "--help"],
        &["workers", "--help"],
        &["reads", "--help"],
        &["webhooks", "--help"],
        &["webhooks", "chaos", "--help"],
        &["webhooks", "latency", "--help"],
    ];
    let shown = screens.map(|arguments| {
        let (out, err, code) = bench(arguments);
        assert_eq!((err.as_str(), code), ("", Some(0)), "{arguments:?}");
        format!("$ portico-bench {}\n{out}", arguments.join(" "))
    });
    insta::assert_snapshot!("help", shown.join("\n"));
}

#[test]
fn a_missing_portico_is_told_with_how_to_build_it() {
    let (out, told, code) = bench(&["accept", "--portico", "/nowhere/portico"]);
    assert_eq!((out.as_str(), code), ("", Some(1)), "{told}");
    for part in ["/nowhere/portico", "cargo build --release -p portico"] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn no_error_repeats_what_is_in_a_file_of_bodies() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    let named = path.to_str().expect("a path in UTF-8");
    // The file is read before any process is started.
    let portico = Path::new(env!("CARGO_BIN_EXE_portico-bench"));
    let portico = portico.to_str().expect("a path in UTF-8");
    for content in [
        "0123hush",
        "hush=\n",
        "aws_secret = \"hush\"\n",
        "\"hush\"\n",
        "postgres://hush:hush@/hush?hush=hush\n",
        "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n",
    ] {
        std::fs::write(&path, content).expect("written");
        let (_, told, code) = bench(&["accept", "--portico", portico, "--bodies", named]);
        assert_eq!(code, Some(1), "{content:?}: {told}");
        assert!(told.contains("line 1 of the bodies"), "{content:?}: {told}");
        assert!(!told.contains("hush"), "{content:?}: {told}");
    }
}
