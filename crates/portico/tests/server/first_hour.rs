//! The first hour with Portico.
//!
//! Goal: what README shows works as it stands. Method: its commands are taken out of it and run by
//! bash with the real binary; only the address is one of the test's own.

use crate::support;

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use support::{Process, ended, portico, request};

const README: &str = include_str!("../../../../README.md");

/// An address that nothing else on this machine listens on.
const OWN: &str = "127.0.78.1";

/// The fenced blocks of a section of README.
fn blocks(section: &str) -> Vec<String> {
    let heading = format!("\n## {section}\n");
    let (_, text) = README.split_once(&heading).expect("the section");
    let text = text.split("\n## ").next().unwrap_or_default();
    text.split("\n```")
        .skip(1)
        .step_by(2)
        .map(|block| {
            let (_, commands) = block.split_once('\n').expect("a block has lines");
            format!("{commands}\n")
        })
        .collect()
}

/// bash in `directory`, with portico on its path and without settings of who runs this.
fn bash(directory: &Path) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_portico"));
    let folder = binary.parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").expect("a path");
    let mut command = Command::new("bash");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PORTICO_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(directory)
        .env("PATH", format!("{folder}:{path}"))
        // Servers that it starts end with it.
        .process_group(0);
    command
}

/// Ends a process and all that it started.
fn end_group(child: &mut Child) {
    let id = i32::try_from(child.id()).expect("a process id");
    let group = rustix::process::Pid::from_raw(id).expect("a process id");
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    let _ = child.wait();
}

/// Runs `script` as somebody who pastes it, and gives what it showed, with how it ended.
fn pasted(mut bash: Command, directory: &Path, script: &str) -> (String, Option<i32>) {
    let file = |name: &str| directory.join(name);
    std::fs::write(file("pasted"), script).expect("written");
    let shown = File::create(file("shown")).expect("a file");
    let mut child = bash
        .stdin(File::open(file("pasted")).expect("a file"))
        .stdout(shown.try_clone().expect("the same file"))
        .stderr(shown)
        .spawn()
        .expect("bash starts");
    let end = ended(&mut child);
    end_group(&mut child);
    let text = std::fs::read_to_string(file("shown")).expect("text");
    (text, end.and_then(|status| status.code()))
}

#[test]
fn run_it_for_real_pastes_as_it_stands() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = blocks("Run it for real").swap_remove(0);
    let script = script.replace("127.0.0.1", OWN);
    let mut bash = bash(directory.path());
    bash.env("PORTICO_LISTEN", format!("{OWN}:8080"))
        .env("PORTICO_SANDBOX_LISTEN", format!("{OWN}:8089"));
    let (shown, _) = pasted(bash, directory.path(), &script);
    for part in [
        r#""write_status":"SUCCESS""#,
        r#""outcome":"CREATED""#,
        "ok    master key",
        "ok    server",
    ] {
        assert!(shown.contains(part), "{part} is missing in: {shown}");
    }
    assert!(!shown.contains("command not found"), "{shown}");
}

/// The commands of the sections between, in their order, with what `dev --env` exports.
#[test]
fn examples_of_readme_work_beside_a_development_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().join("portico-data");
    let server = Process::start(&[
        "dev",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--sandbox-listen",
        "127.0.0.1:0",
        "--data-dir",
        data_dir.to_str().expect("a path in UTF-8"),
    ]);
    let sections = [
        "Two commands",
        "What can be written and read",
        "Try trouble",
        "Consent, and forgetting a person",
        "Webhooks",
    ];
    let examples: Vec<String> = sections
        .into_iter()
        .flat_map(blocks)
        .filter(|block| block.starts_with("curl ") && !block.contains("hooks.example.com"))
        .collect();
    assert!(examples.len() >= 7, "{examples:#?}");
    // An answer that is no success ends it. What a person reads in answers is read here.
    let mut script = String::from(
        r#"set -e -o pipefail
eval "$(portico dev --env)"
curl() { command curl --fail-with-body "$@"; }
member() { grep -oE "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }
"#,
    );
    for (place, block) in examples.iter().enumerate() {
        let more = match place {
            0 => {
                "> sent; cat sent; JOB_ID=$(member job_id < sent)
PROSPECT=$(curl -s -H 'Prefer: wait=50' $BASE/v1/admin/write-status/$JOB_ID \\
  -H \"Authorization: Bearer $TOKEN\" | member created_record_id)
CURSOR=$(curl -s \"$BASE/v1/admin/events?order-by=created_at:asc&limit=1\" \\
  -H \"Authorization: Bearer $TOKEN\" | member nextCursor)
"
            }
            _ => "",
        };
        let block = block.trim_end();
        script += &format!("{block} {more}\necho; echo example {place} is done\n");
    }
    let (shown, code) = pasted(bash(directory.path()), directory.path(), &script);
    assert_eq!(code, Some(0), "{shown}\nof\n{script}");
    let last = format!("example {} is done", examples.len() - 1);
    assert!(shown.contains(&last), "{shown}");
    drop(server);
}

#[test]
fn exports_are_of_a_server_that_is_ready() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = bash(directory.path());
    let arguments = "exec portico dev --env --listen 0 --sandbox-listen :0";
    let mut child = command
        .args(["-c", arguments])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("portico starts");
    let lines = BufReader::new(child.stdout.take().expect("its stdout")).lines();
    let first: Vec<String> = lines.map_while(Result::ok).take(9).collect();
    let base = first
        .first()
        .and_then(|line| line.strip_prefix("export PORTICO_URL='http://"))
        .and_then(|rest| rest.strip_suffix('\''))
        .map(str::to_owned);
    let answer = base
        .as_ref()
        .and_then(|base| request(base, "GET", "/readyz", &[], ""));
    // Another that is asked meanwhile says the same of the first, and ends.
    let (out, err, code) = portico(directory.path(), &[], &["dev", "--env"]);
    support::tell_to_stop(&child);
    let end = ended(&mut child);
    end_group(&mut child);
    assert_eq!(answer.map(|answer| answer.status), Some(200), "{first:?}");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out.lines().collect::<Vec<_>>(), first);
    assert!(end.is_some_and(|status| status.success()), "{end:?}");
    let left = directory.path().join("portico-data/dev-ready.json");
    assert!(!left.exists(), "it says that a server is ready");
}

/// A server that was killed has left its file, which says nothing of the next.
#[test]
fn exports_are_not_of_a_server_that_is_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let sandbox = Process::sandbox();
    let data_dir = directory.path().join("portico-data");
    let mut first = Process::dev(&data_dir, "127.0.0.1:0", &sandbox);
    first.kill();
    assert!(data_dir.join("dev-ready.json").exists());
    let second = Process::dev(&data_dir, "127.0.0.1:0", &sandbox);
    let (out, _, code) = portico(directory.path(), &[], &["dev", "--env"]);
    assert_eq!(code, Some(0));
    let expected = format!("export BASE='{}'", second.text("base_url"));
    assert!(out.lines().any(|line| line == expected), "{out}");
}
