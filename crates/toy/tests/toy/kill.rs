//! The real program of the build with Toy, killed in the middle of calls.
//!
//! Goal: what was accepted stands at Toy, once. Method: `portico-toy dev` on a sandbox of its own
//! process; the server is killed while calls are under way, and started again on its data.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testkit::{Outcome, wrong};

const KILLS: usize = 3;
const PEOPLE: usize = 24;

/// Far longer than leases and retries take.
const PATIENCE: Duration = Duration::from_secs(150);

struct Process {
    child: Child,
    ready: Value,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(arguments: &[&str]) -> Outcome<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portico-toy"))
            .args(arguments)
            .env("PORTICO_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("its stdout")?;
        BufReader::new(out).read_line(&mut line)?;
        let ready = serde_json::from_str(&line)?;
        Ok(Self { child, ready })
    }

    fn dev(data_dir: &Path, sandbox: &str) -> Outcome<Self> {
        let data_dir = data_dir.to_str().ok_or("a path in UTF-8")?;
        Self::start(&[
            "dev",
            "--vendor",
            "toy",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--sandbox-url",
            sandbox,
            "--data-dir",
            data_dir,
        ])
    }

    fn text(&self, member: &str) -> &str {
        self.ready[member].as_str().unwrap_or_default()
    }
}

fn request(base: &str, token: &str, method: &str, path: &str, body: &Value) -> Outcome<Value> {
    let address = base.strip_prefix("http://").unwrap_or(base);
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("an answer")?;
    Ok(serde_json::from_str(body)?)
}

#[test]
fn what_was_accepted_stands_at_toy_once_whenever_the_server_is_killed() -> Outcome {
    let dir = tempfile::tempdir()?;
    let sandbox = Process::start(&[
        "sandbox",
        "--vendor",
        "toy",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--latency-ms",
        "150",
    ])?;
    let sandbox_url = sandbox.text("sandbox_url").to_owned();
    let mut server = Process::dev(dir.path(), &sandbox_url)?;
    let token = server.text("token").to_owned();
    let integration = server.ready["integration_id"].clone();
    let community = server.ready["communities"][0]["id"].clone();
    let mut jobs = Vec::new();
    for round in 0..=KILLS {
        for person in 0..PEOPLE / (KILLS + 1) {
            let body = json!({
                "integration_id": integration, "community_id": community,
                "email_1": format!("p{round}-{person}@example.com"), "notes": format!("{round}"),
            });
            let base = server.text("base_url");
            let answer = request(base, &token, "POST", "/crm/v1/prospects/toy", &body)?;
            let job_id = answer["meta"]["job_id"].as_str();
            jobs.push(job_id.ok_or_else(|| wrong(answer.to_string()))?.to_owned());
        }
        if round < KILLS {
            // A call takes longer than this: the kill falls into the middle of some.
            std::thread::sleep(Duration::from_millis(220));
            server.child.kill()?;
            server.child.wait()?;
            server = Process::dev(dir.path(), &sandbox_url)?;
        }
    }
    let begun = Instant::now();
    for job in &jobs {
        loop {
            let path = format!("/v1/admin/write-status/{job}");
            let write = request(server.text("base_url"), &token, "GET", &path, &Value::Null)?;
            match write["write_status"].as_str() {
                Some("SUCCESS") => break,
                Some("PENDING") if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                _ => return Err(wrong(write)),
            }
        }
    }
    let counts = request(&sandbox_url, "", "GET", "/_sandbox/counts", &Value::Null)?;
    assert_eq!(counts["prospects"], json!(jobs.len()), "{counts}");
    assert_eq!(counts["doubled"], 0, "{counts}");
    Ok(())
}
