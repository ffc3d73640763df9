//! `scripts/test`, where what a step needs cannot be had.
//!
//! Method: a `cargo-deny` of the test's own on the `PATH`, which does what the test says.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Runs the step `advisories` with a `cargo-deny` that ends `fetch` and `check` like that.
fn advisories(fetch: u8, check: u8) -> (String, bool) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let script = fs::read_to_string(root.join("scripts/test")).expect("the script");
    let version = script
        .lines()
        .find_map(|line| line.strip_prefix("cargo_deny_version="))
        .expect("a version");
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("cargo-deny");
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in\n--version) echo cargo-deny {version};;\n'fetch db') exit {fetch};;\n*'check advisories') exit {check};;\n*) exit 3;;\nesac\n"
    );
    fs::write(&program, text).expect("written");
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("a mode");
    let path = std::env::var_os("PATH").expect("a path");
    let path = std::iter::once(PathBuf::from(dir.path())).chain(std::env::split_paths(&path));
    let ran = Command::new(root.join("scripts/test"))
        .arg("advisories")
        .env("PATH", std::env::join_paths(path).expect("a path"))
        .env("CI", "true")
        .output()
        .expect("it runs");
    let told = [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (told.concat(), ran.status.success())
}

#[test]
fn advisories_are_checked_or_skipped_aloud() {
    for (fetch, check, word, passes) in [
        (0, 0, "passed", true),
        (0, 1, "FAILED", false),
        (1, 0, "SKIPPED", true),
    ] {
        let (told, has_passed) = advisories(fetch, check);
        let line = told.lines().find(|line| line.starts_with("advisories "));
        assert!(line.is_some_and(|line| line.contains(word)), "{told}");
        assert_eq!(has_passed, passes, "{told}");
        assert_eq!(word == "SKIPPED", told.contains("NOT CHECKED"), "{told}");
    }
}
