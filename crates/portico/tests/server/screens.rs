//! What the command line shows, as snapshots: help, answers and refusals. Method: the real binary, with what is random or of this machine masked.

use crate::support;

use std::path::Path;

use support::{portico, private};

/// Runs portico in `directory` and shows what it said, where, and how it ended.
fn screen(directory: &Path, arguments: &[&str]) -> String {
    let (out, err, code) = portico(directory, &[], arguments);
    format!(
        "$ portico {}\n{out}--- stderr\n{err}--- exit status: {}\n",
        arguments.join(" "),
        code.expect("it was not killed")
    )
}

fn check(name: &str, directory: &Path, screens: &[&[&str]]) {
    let shown: Vec<String> = screens
        .iter()
        .map(|arguments| screen(directory, arguments))
        .collect();
    insta::with_settings!({filters => vec![
        (r"ptk_(live|test)_[0-9A-Za-z]+", "ptk_${1}_[TOKEN]"),
        (r"(read,write +)\w{4}\b", "${1}[END]"),
        (r"key_[0-9a-z]{26}", "key_[ID]"),
        (r"(Step \d+ \(\w+\) is applied\.\n)+", "[STEPS]\n"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]"),
        (r"\d+\.\d MiB", "[SIZE] MiB"),
        (r"in \d+\.\d s", "in [TOOK] s"),
        (r#""(bytes|took_s)":[0-9.e-]+"#, "\"${1}\":[NUMBER]"),
    ]}, {
        insta::assert_snapshot!(name, shown.join("\n"));
    });
}

#[test]
fn help_says_what_there_is() {
    let directory = tempfile::tempdir().expect("a directory");
    check(
        "help",
        directory.path(),
        &[
            &["--help"],
            &["dev", "--help"],
            &["serve", "--help"],
            &["sandbox", "--help"],
            &["keys", "--help"],
            &["keys", "create", "--help"],
            &["keys", "rotate-master", "--help"],
            &["store", "--help"],
            &["store", "migrate", "--help"],
            &["store", "copy", "--help"],
            &["store", "check", "--help"],
            &["backup", "--help"],
            &["doctor", "--help"],
        ],
    );
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let directory = tempfile::tempdir().expect("a directory");
    private(&directory.path().join("master.key"), &"ab".repeat(32));
    let with = |rest: &[&'static str]| {
        let mut arguments = vec!["keys"];
        arguments.extend(rest);
        arguments.extend(["--data-dir", "kept", "--master-key-file", "master.key"]);
        arguments
    };
    check(
        "keys",
        directory.path(),
        &[
            &with(&["list"]),
            &with(&["create", "--name", " "]),
            &with(&["create", "--name", "a listing site"]),
            &with(&["list"]),
            &with(&["revoke", "key_00000000000000000000000000"]),
            &with(&["revoke", "nonsense"]),
        ],
    );
}

#[test]
fn a_backup_is_made_once_and_elsewhere() {
    let directory = tempfile::tempdir().expect("a directory");
    private(&directory.path().join("master.key"), &"ab".repeat(32));
    let to = |file: &'static str| ["backup", file, "--data-dir", "kept"];
    check(
        "backup",
        directory.path(),
        &[
            &to("one.db"),
            &[
                "keys",
                "create",
                "--name",
                "a listing site",
                "--data-dir",
                "kept",
                "--master-key-file",
                "master.key",
            ],
            &to("one.db"),
            &to("one.db"),
            &["backup", "two.db", "--data-dir", "kept", "--json"],
            &to("kept/three.db"),
            &to("missing/three.db"),
            &to("kept"),
            &to("three/"),
        ],
    );
}

#[test]
fn a_schema_is_brought_up_to_date_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let migrate = ["store", "migrate", "--data-dir", "kept"];
    let json = [&migrate[..], &["--json"]].concat();
    check("migrate", directory.path(), &[&migrate, &migrate, &json]);
}

#[test]
fn what_cannot_be_moved_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    check(
        "moving",
        directory.path(),
        &[
            &["store", "copy"],
            &["store", "check", "--to", "mysql://me:s3cret@one/leads"],
            &["store", "copy", "--to", "postgres://me:s3cret@one"],
            &[
                "store",
                "copy",
                "--to",
                "postgres://one/leads",
                "--to-file",
                "url",
            ],
            &["store", "copy", "--to", "postgres://me:s3cret@one/leads"],
        ],
    );
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("written");
    };
    private(&directory.path().join("short.key"), "abc");
    at("open.key", &"ab".repeat(32));
    private(
        &directory.path().join("portico.toml"),
        "master_key_file = 'short.key'\nmaster_key_command = 'cat short.key'\n",
    );
    at("bad.toml", "listen = 80000\n");
    at("words.toml", "[knock.pets]\nDRAGON = 7\n");
    at(
        "unread.toml",
        "store = 'postgres://me:a password@db/leads'\n",
    );
    check(
        "mistakes",
        directory.path(),
        &[
            &["serve"],
            &["serve", "--listen", "nowhere"],
            &["serve", "--config", "missing.toml"],
            &["serve", "--config", "bad.toml"],
            &["serve", "--master-key-file", "missing.key"],
            &["serve", "--master-key-file", "short.key"],
            &["serve", "--master-key-file", "open.key"],
            &["serve", "--master-key-command", "exit 3"],
            &[
                "serve",
                "--master-key-command",
                "cat short.key",
                "--master-key-file",
                "short.key",
            ],
            &["serve", "--config", "portico.toml"],
            &["serve", "--config", "unread.toml"],
            &["serve", "--role", "api"],
            &["serve", "--role", "both"],
            &["serve", "--store", "postgres://me:a password@db"],
            &["serve", "--store", "portico-data"],
            &["serve", "--store-file", "open.key"],
            &[
                "serve",
                "--store",
                "postgres://me@db/leads",
                "--data-dir",
                "kept",
            ],
            &[
                "serve",
                "--store",
                "postgres://me@db/leads",
                "--store-readers",
                "0",
            ],
            &["serve", "--store", "postgres://me@db/leads"],
            &["serve", "--vocabulary", "words.toml"],
            &["serve", "--trusted-proxies", "10.0.0.0/8,nginx"],
            &["serve", "--tls-cert", "cert.pem"],
            &["serve", "--tls-key", "key.pem"],
            &["dev", "--data-dir", "short.key"],
            &["dev", "--sandbox-url", "ftp://nowhere"],
            &["serv"],
        ],
    );
}
