//! A stderr or stdout that cannot be written.
//!
//! Goal: nothing about logging ends or blocks the server, and lines are lost only where they must
//! be, and are counted then. Method: the real binary, with each kind of broken stream.

use crate::support;

use std::{
    fs::{File, OpenOptions},
    io::{PipeReader, PipeWriter, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde_json::Value;
use support::{Caller, PATIENCE, Process, ended, leads, request, tell_to_stop};

/// A stream that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Broken {
    /// A disk that is full.
    Full,
    /// A file that may not grow, by `ulimit -f`.
    Limited,
    /// A pipe whose reader is gone.
    ReaderGone,
    /// A pipe that is full, and that nobody reads.
    NobodyReads,
    /// The same, of a kind that does not block.
    NobodyReadsUnblocked,
    /// None at all.
    Closed,
}

const ALL: [Broken; 6] = [
    Broken::Full,
    Broken::Limited,
    Broken::ReaderGone,
    Broken::NobodyReads,
    Broken::NobodyReadsUnblocked,
    Broken::Closed,
];

/// A broken stream for a process, and what must live as long as it.
fn broken(kind: Broken, directory: &Path) -> (Stdio, Option<PipeReader>) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    match kind {
        Broken::Full => (full().into(), None),
        Broken::Limited => {
            let path = directory.join("limited.log");
            let file = File::create(path).expect("a file");
            (file.into(), None)
        }
        Broken::ReaderGone => (writer.into(), None),
        Broken::NobodyReads | Broken::NobodyReadsUnblocked => {
            fill(&writer, kind == Broken::NobodyReadsUnblocked);
            (writer.into(), Some(reader))
        }
        Broken::Closed => (Stdio::null(), None),
    }
}

fn full() -> File {
    OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("a full device")
}

fn fill(mut writer: &PipeWriter, stays_unblocked: bool) {
    let flags = fcntl_getfl(writer).expect("flags");
    fcntl_setfl(writer, flags | OFlags::NONBLOCK).expect("it does not block");
    for bytes in [&[b'x'; 4_096][..], b"x"] {
        while writer.write(bytes).is_ok() {}
    }
    if !stays_unblocked {
        fcntl_setfl(writer, flags).expect("it blocks");
    }
}

/// Portico with these arguments; `streams` is for the shell, before it becomes portico.
fn command(streams: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("bash");
    command
        .args(["-c", &format!("{streams} exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_portico"))
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// What the shell does first for a stderr of this kind.
fn stderr_of(kind: Broken) -> &'static str {
    match kind {
        Broken::Closed => "exec 2>&-;",
        // Blocks of 1 KiB. The database has its own files, which stay below.
        Broken::Limited => "ulimit -f 16384; head -c 16777216 /dev/zero >&2;",
        _ => "",
    }
}

fn lost(address: &str) -> u64 {
    let answer = request(address, "GET", "/metrics", &[], "").expect("an answer");
    let line = answer
        .body
        .lines()
        .find(|line| line.starts_with("portico_log_lines_lost_total "))
        .expect("the metric");
    line.rsplit(' ')
        .next()
        .and_then(|count| count.parse().ok())
        .expect("a number")
}

#[test]
fn a_stderr_that_cannot_be_written_neither_ends_nor_blocks_the_server() {
    let sandbox = Process::sandbox();
    let sandbox_url = sandbox.text("sandbox_url");
    thread::scope(|scope| {
        for kind in ALL {
            let sandbox_url = &sandbox_url;
            scope.spawn(move || check_server(kind, sandbox_url));
        }
    });
}

fn check_server(kind: Broken, sandbox_url: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().join("data");
    let arguments = [
        "dev",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--sandbox-url",
        sandbox_url,
        "--data-dir",
        data_dir.to_str().expect("a path in UTF-8"),
    ];
    let (stderr, _reader) = broken(kind, directory.path());
    let mut command = command(stderr_of(kind), &arguments);
    command.env("PORTICO_LOG", "debug").stderr(stderr);
    let mut server = Process::run(command);
    let caller = Caller::of(&server);
    for lead in leads(&server, 5) {
        let answer = caller.send("POST", "/crm/v1/prospects/knock", &lead);
        let end = caller.end_of(&answer.job_id());
        assert_eq!(end["write_status"], "SUCCESS", "{kind:?}: {end}");
    }
    // A stderr that was closed reaches /dev/null, which takes everything.
    let deadline = Instant::now() + PATIENCE;
    while kind != Broken::Closed && lost(&caller.address) == 0 {
        assert!(Instant::now() < deadline, "{kind:?}: no line is counted");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let answer = request(&caller.address, "GET", "/healthz", &[], "");
                        assert_eq!(answer.expect("an answer").status, 200, "{kind:?}");
                    }
                });
            }
        });
    }
    let end = server
        .stopped()
        .unwrap_or_else(|| panic!("{kind:?}: it does not stop"));
    assert!(end.success(), "{kind:?}: {end}");
}

#[test]
fn a_command_that_fails_ends_with_a_stderr_that_cannot_be_written() {
    let directory = tempfile::tempdir().expect("a directory");
    for kind in ALL {
        let (stderr, _reader) = broken(kind, directory.path());
        let mut child = command(stderr_of(kind), &["serve", "--config", "missing.toml"])
            .current_dir(directory.path())
            .stderr(stderr)
            .spawn()
            .expect("portico starts");
        let end = ended(&mut child);
        let code = end.and_then(|status| status.code());
        assert_eq!(code, Some(1), "{kind:?}: {end:?}");
    }
}

/// On an ordinary end no line is missing: with many that wait, after a failure, and whatever
/// stands between them.
#[test]
fn lines_are_all_there_at_the_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let data_dir = directory.path().join("data");
    let mut command = command(
        "",
        &[
            "dev",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--sandbox-listen",
            "127.0.0.1:0",
            "--data-dir",
            data_dir.to_str().expect("a path in UTF-8"),
        ],
    );
    command
        .env("PORTICO_LOG", "debug")
        .env("PORTICO_LOG_FORMAT", "json")
        .stderr(File::create(&log).expect("a file"));
    let mut server = Process::run(command);
    let address = server.address("base_url");
    const ASKED: usize = 300;
    for _ in 0..ASKED {
        request(&address, "GET", "/healthz", &[], "").expect("an answer");
    }
    assert_eq!(lost(&address), 0);
    let end = server.stopped().expect("it stops");
    assert!(end.success(), "{end}");
    let text = std::fs::read_to_string(&log).expect("the log");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let message = |line: &Value| line["fields"]["message"].as_str().map(str::to_owned);
    let answered = lines
        .iter()
        .filter(|line| line["span"]["route"] == "/healthz")
        .filter(|line| message(line).as_deref() == Some("answered"))
        .count();
    assert_eq!(answered, ASKED);
    assert!(
        lines.iter().any(|line| message(line)
            .is_some_and(|message| message.starts_with("stopped; all that was accepted"))),
        "{text}"
    );
}

#[test]
fn a_stdout_that_cannot_be_written_is_told_and_a_reader_that_left_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let shown = |stdout: Stdio, arguments: &[&str]| {
        let output = command("", arguments)
            .current_dir(directory.path())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .output()
            .expect("portico runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), told)
    };
    for arguments in [
        &["openapi"][..],
        &["keys", "list", "--data-dir", "data"],
        &["doctor", "--data-dir", "data", "--json"],
        &["--help"],
    ] {
        if arguments.contains(&"list") {
            let key = directory.path().join("master.key");
            support::private(&key, &"ab".repeat(32));
            let made = [
                "keys",
                "create",
                "--name",
                "one",
                "--data-dir",
                "data",
                "--master-key-file",
                "master.key",
            ];
            let (code, told) = shown(Stdio::null(), &made);
            assert_eq!(code, Some(0), "{told}");
            // A token that nobody has is a failure.
            let (code, told) = shown(full().into(), &made);
            assert_eq!(code, Some(1), "{told}");
            assert!(told.contains("stdout cannot be written"), "{told}");
        }
        let mut arguments = arguments.to_vec();
        if arguments.contains(&"--data-dir") {
            arguments.extend(["--master-key-file", "master.key"]);
        }
        let (_, writer) = std::io::pipe().expect("a pipe");
        let (code, told) = shown(writer.into(), &arguments);
        assert!(!told.contains("fault of Portico"), "{arguments:?}: {told}");
        assert!(!told.contains("stdout"), "{arguments:?}: {told}");
        assert!(code.is_some_and(|code| code <= 2), "{arguments:?}: {told}");
    }
}

/// An address that nothing else on this machine listens on.
const OWN: &str = "127.0.77.9";

#[test]
fn a_server_serves_whatever_its_stdout_is() {
    let directory = tempfile::tempdir().expect("a directory");
    thread::scope(|scope| {
        for (place, kind) in ALL.into_iter().enumerate() {
            let directory = directory.path();
            scope.spawn(move || check_stdout(place, kind, directory));
        }
    });
}

fn check_stdout(place: usize, kind: Broken, directory: &Path) {
    let (listen, sandbox) = (
        format!("{OWN}:{}", 20_000 + place),
        format!("{OWN}:{}", 21_000 + place),
    );
    let data_dir = directory.join(format!("data-{place}"));
    let streams = if kind == Broken::Closed {
        "exec >&-;"
    } else {
        ""
    };
    let (stdout, _reader) = broken(kind, directory);
    let mut child = command(
        streams,
        &[
            "dev",
            "--json",
            "--listen",
            &listen,
            "--sandbox-listen",
            &sandbox,
            "--data-dir",
            data_dir.to_str().expect("a path in UTF-8"),
        ],
    )
    .stdout(stdout)
    .spawn()
    .expect("portico starts");
    let deadline = Instant::now() + PATIENCE;
    let is_ready = || {
        let answer = request(&listen, "GET", "/readyz", &[], "");
        answer.is_some_and(|answer| answer.status == 200)
    };
    while !is_ready() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    let serves = is_ready();
    tell_to_stop(&child);
    let end = ended(&mut child);
    let _ = child.kill();
    let _ = child.wait();
    assert!(serves, "{kind:?}: it does not serve");
    assert!(end.is_some(), "{kind:?}: it does not stop");
}
