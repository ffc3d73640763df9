//! What SIGHUP has a server read again, on the real binary.
//!
//! Goal: the log level of the configuration file is in force after a hangup, and nothing that is
//! wrong with the file ends the server. Method: the file is changed while the server runs; what it
//! does is awaited in its log.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running server, killed when dropped.
struct Server {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Server {
    fn start(directory: &Path, level: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command
            .current_dir(directory)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--config",
                "portico.toml",
            ])
            .env_remove("PORTICO_LOG")
            .env("PORTICO_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(level) = level {
            command.env("PORTICO_LOG", level);
        }
        let mut child = command.spawn().expect("portico starts");
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().expect("its stderr"));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line of the log that has `part` in it.
    fn line(&self, part: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(part) => return line,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("no line with {part:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended before {part:?}"),
            }
        }
    }

    fn hang_up(&self) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        let pid = Pid::from_raw(pid).expect("a process id");
        kill_process(pid, Signal::HUP).expect("it is told");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory with a configuration file that says this of the log.
fn directory(log: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let key = directory.path().join("master.key");
    std::fs::write(&key, "ab".repeat(32)).expect("written");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("a mode");
    configure(directory.path(), log);
    directory
}

fn configure(directory: &Path, log: &str) {
    let text = format!("data_dir = 'kept'\nmaster_key_file = 'master.key'\n{log}\n");
    std::fs::write(directory.join("new"), text).expect("written");
    std::fs::rename(directory.join("new"), directory.join("portico.toml")).expect("renamed");
}

#[test]
fn the_log_level_of_the_file_is_read_again() {
    let directory = directory("log = 'info'");
    let server = Server::start(directory.path(), None);
    server.line("serving");
    for (log, level, part) in [
        ("log = 'debug'", "INFO", "\"level\":\"debug\""),
        ("log = 'loud'", "ERROR", "the one in force stays"),
        ("lgo = 'info'", "ERROR", "the one in force stays"),
        ("", "INFO", "\"level\":\"info\""),
        (
            "log = 'info,delivery=debug'",
            "INFO",
            "\"level\":\"info,delivery=debug\"",
        ),
    ] {
        configure(directory.path(), log);
        server.hang_up();
        let line = server.line("log level");
        let line = if line.contains("told to read again") {
            server.line("log level")
        } else {
            line
        };
        assert!(
            line.contains(&format!("\"level\":\"{level}\"")),
            "{log}: {line}"
        );
        assert!(line.contains(part), "{log}: {line}");
    }
}

#[test]
fn the_environment_goes_before_the_file() {
    let directory = directory("log = 'error'");
    let server = Server::start(directory.path(), Some("info"));
    server.line("serving");
    configure(directory.path(), "log = 'warn'");
    server.hang_up();
    server.line("told to read again");
    let line = server.line("the log level is read");
    assert!(line.contains("\"level\":\"info\""), "{line}");
}

#[test]
fn a_level_in_the_file_that_is_none_is_refused_at_start() {
    let directory = directory("log = 'loud'");
    let mut server = Server::start(directory.path(), None);
    let status = server.child.wait().expect("it ends");
    assert_eq!(status.code(), Some(1));
}
