//! `portico-bench` on PostgreSQL, for a moment.
//!
//! Goal: every accepted write arrives once, whatever the store is, and however many workers there
//! are. How fast is nobody's to assert. Method: the benchmark itself. It starts the `portico` of
//! the same build, which a build of the whole workspace makes.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::Command;

use serde_json::Value;
use testbed::Database;

/// Rows that the command shows, which must succeed.
fn rows(arguments: &[&str], store: &str) -> Vec<Value> {
    let ran = Command::new(env!("CARGO_BIN_EXE_portico-bench"))
        .args(arguments)
        .arg("--json")
        .env("PORTICO_BENCH_STORE", store)
        .env("PORTICO_LOG", "off")
        .output()
        .expect("the benchmark starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    let shown = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{arguments:?}: {said}\n{shown}");
    match serde_json::from_str(&shown) {
        Ok(Value::Array(rows)) => rows,
        other => panic!("{other:?}"),
    }
}

/// Asserts that all of a row arrived, and returns how much that was.
fn arrived(row: &Value) -> u64 {
    let number = |member: &str| row["delivery"][member].as_u64().expect("a number");
    let accepted = number("accepted");
    assert_eq!(number("arrived"), accepted, "{row:#}");
    assert_eq!(number("open"), 0, "{row:#}");
    assert!(accepted > 0, "{row:#}");
    accepted
}

#[test]
fn bench_accept_takes_writes_into_postgresql_alone_and_together() {
    let Some(database) = Database::create().expect("a database") else {
        return;
    };
    let short = ["accept", "--seconds", "1", "--connections", "1,4"];
    let rows = rows(&short, database.url());
    assert_eq!(rows.len(), 2);
    for row in &rows {
        arrived(row);
        assert_eq!(row["single"]["accepts_per_commit"], 1.0, "{row:#}");
        for way in ["ceiling", "single", "durable"] {
            assert_eq!(row[way]["non_200"], 0, "{row:#}");
            assert_eq!(row[way]["broken"], 0, "{row:#}");
        }
    }

    // It is in use now: a bench is not to mix its rows with anybody's.
    let again = Command::new(env!("CARGO_BIN_EXE_portico-bench"))
        .args(["accept", "--store", database.url()])
        .env("PORTICO_LOG", "off")
        .output()
        .expect("the benchmark starts");
    let said = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(1), "{said}");
    assert!(said.contains("is in use"), "{said}");
}

#[test]
fn bench_workers_delivers_everything_once() {
    // Where there is no PostgreSQL the command has none to start.
    if Database::create().expect("a database").is_none() {
        return;
    }
    let few = [
        "workers",
        "--workers",
        "1,2",
        "--writes",
        "100",
        "--latency-ms",
        "10",
        "--calls-max",
        "8",
        "--integrations",
        "3",
    ];
    let rows = rows(&few, "postgres");
    let workers: Vec<_> = rows.iter().map(|row| row["workers"].clone()).collect();
    assert_eq!(workers, [1, 2]);
    for row in &rows {
        assert_eq!(arrived(row), 100);
        assert_eq!(row["again"], 0, "{row:#}");
    }
}
