#![expect(dead_code, reason = "each test binary uses its own part of this")]
//! Runs the real binary and talks to it over real sockets.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How long anything in these tests may take before it counts as lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A running portico, killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// The line of JSON that it printed when it was ready.
    pub(crate) ready: Value,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portico"))
            .args(arguments)
            .env("PORTICO_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .expect("portico starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its stdout"))
            .read_line(&mut line)
            .expect("a line when it is ready");
        let ready = serde_json::from_str(&line).expect("the line is JSON");
        Self { child, ready }
    }

    pub(crate) fn sandbox() -> Self {
        Self::start(&["sandbox", "--json", "--listen", "127.0.0.1:0"])
    }

    /// A server on `data_dir`, listening on `listen`, that writes to `sandbox`.
    pub(crate) fn dev(data_dir: &Path, listen: &str, sandbox: &Self) -> Self {
        let data_dir = data_dir.to_str().expect("a path in UTF-8");
        Self::start(&[
            "dev",
            "--json",
            "--listen",
            listen,
            "--sandbox-url",
            &sandbox.text("sandbox_url"),
            "--data-dir",
            data_dir,
        ])
    }

    pub(crate) fn text(&self, member: &str) -> String {
        self.ready[member].as_str().expect("a text").to_owned()
    }

    /// `host:port` of the url in `member`.
    pub(crate) fn address(&self, member: &str) -> String {
        self.text(member).trim_start_matches("http://").to_owned()
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server, the sandbox it writes to, and its data directory. Dropped in this order.
pub(crate) struct Stage {
    pub(crate) server: Process,
    pub(crate) sandbox: Process,
    pub(crate) dir: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn set() -> Self {
        let (dir, sandbox) = (
            tempfile::tempdir().expect("a directory"),
            Process::sandbox(),
        );
        let server = Process::dev(dir.path(), "127.0.0.1:0", &sandbox);
        Self {
            server,
            sandbox,
            dir,
        }
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller::of(&self.server)
    }

    pub(crate) fn add_fault(&self, fault: &Value) {
        let headers = [("content-type", "application/json")];
        let answer = request(
            &self.sandbox.address("sandbox_url"),
            "POST",
            "/_sandbox/faults",
            &headers,
            &fault.to_string(),
        )
        .expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// As `kill -9` of the server, and its next start on the same data and address.
    pub(crate) fn restart_server(&mut self) {
        let address = self.server.address("base_url");
        self.server.kill();
        self.server = Process::dev(self.dir.path(), &address, &self.sandbox);
    }
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("JSON: {}", self.body))
    }
}

/// One request on a connection of its own; `None` when the connection broke.
pub(crate) fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    text += body;
    stream.write_all(text.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    })
}

/// A caller of a server.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) address: String,
    token: String,
}

impl Caller {
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    pub(crate) fn of(server: &Process) -> Self {
        Self {
            address: server.address("base_url"),
            token: server.text("token"),
        }
    }

    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        let bearer = self.bearer();
        let mut all = vec![
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        all.extend_from_slice(headers);
        request(&self.address, method, path, &all, body)
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.call("GET", path, &[], "").expect("an answer").json()
    }

    /// Posts until an answer comes, always under the same key, as a careful client does.
    pub(crate) fn post_until_answered(&self, body: &Value, key: &str) -> Answer {
        let (text, started) = (body.to_string(), Instant::now());
        loop {
            match self.call(
                "POST",
                "/crm/v1/prospects/knock",
                &[("idempotency-key", key)],
                &text,
            ) {
                Some(answer) if answer.status != 503 => return answer,
                _ => assert!(started.elapsed() < PATIENCE, "no answer to {key}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The status of a write once it has ended.
    pub(crate) fn end_of(&self, job_id: &str) -> Value {
        let started = Instant::now();
        loop {
            let path = format!("/v1/admin/write-status/{job_id}");
            if let Some(answer) = self.call("GET", &path, &[("prefer", "wait=20")], "") {
                let state = answer.json();
                assert_eq!(answer.status, 200, "{state}");
                if state["write_status"] != "PENDING" {
                    return state;
                }
                assert!(
                    started.elapsed() < PATIENCE,
                    "{job_id} has not ended: {state}"
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Runs `work` on every item, `threads` at a time, and returns what it gave, in order.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(usize, &T) -> R + Sync,
) -> Vec<R> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results = std::sync::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(item) = items.get(place) else { return };
                    let result = work(place, item);
                    results
                        .lock()
                        .expect("no thread panicked")
                        .insert(place, result);
                }
            });
        }
    });
    results
        .into_inner()
        .expect("no thread panicked")
        .into_values()
        .collect()
}

/// The bodies to send, ids added: those of the NDJSON file in `PORTICO_LEADS`, else as many made ones.
pub(crate) fn leads(server: &Process, count: usize) -> Vec<Value> {
    let bodies: Vec<Value> = match std::env::var("PORTICO_LEADS") {
        Ok(path) => std::fs::read_to_string(path)
            .expect("PORTICO_LEADS")
            .lines()
            .map(|line| serde_json::from_str(line).expect("a body"))
            .collect(),
        Err(_) => (0..count).map(made_lead).collect(),
    };
    let communities = server.ready["communities"].as_array().expect("communities");
    let attributions = server.ready["attributions"]
        .as_array()
        .expect("attributions");
    bodies
        .into_iter()
        .enumerate()
        .map(|(place, mut body)| {
            let community = &communities[place % communities.len()]["id"];
            let fitting: Vec<&Value> = attributions
                .iter()
                .filter(|one| {
                    one["community_ids"]
                        .as_array()
                        .expect("ids")
                        .contains(community)
                })
                .collect();
            body["integration_id"] = server.ready["integration_id"].clone();
            body["community_id"] = community.clone();
            body["attribution_id"] = fitting[place % fitting.len()]["id"].clone();
            body
        })
        .collect()
}

/// A body in which every field is there for some `place` and missing for another, in every spelling that counts.
fn made_lead(place: usize) -> Value {
    let digits = format!("206{:03}{:04}", 200 + place % 700, (place * 7_919) % 10_000);
    let phones = [
        digits.clone(),
        format!("({}) {}-{}", &digits[..3], &digits[3..6], &digits[6..]),
        format!("+1 {}.{}.{}", &digits[..3], &digits[3..6], &digits[6..]),
        format!(" 1-{}-{}-{} ", &digits[..3], &digits[3..6], &digits[6..]),
    ];
    let mut body = json!({});
    if place % 7 != 1 {
        body["email_1"] = json!(format!("Seeker.{place}@Mail.example.com"));
    }
    if place % 7 == 1 || place.is_multiple_of(3) {
        body["phone_1"] = json!(phones[place % phones.len()]);
    }
    let mut maybe = |every: usize, field: &str, value: Value| {
        if place.is_multiple_of(every) {
            body[field] = value;
        }
    };
    maybe(
        2,
        "first_name",
        json!(["Ada", "  Renée ", "丽娟", ""][place / 2 % 4]),
    );
    maybe(3, "last_name", json!("O'Neil-Ünal"));
    maybe(4, "address_1", json!("12 St James Square"));
    maybe(4, "city", json!("Seattle"));
    maybe(4, "state", json!("WA"));
    maybe(4, "zip", json!("98101"));
    maybe(
        2,
        "move_in_date",
        json!(
            [
                "2027-03-01",
                "2027-03-10T23:59:59.000-08:00",
                "2026-12-23T00:00:00Z"
            ][place / 2 % 3]
        ),
    );
    maybe(3, "number_of_occupants", json!(1 + place % 5));
    maybe(5, "lease_term_in_months", json!(1 + place % 18));
    maybe(2, "rent_minimum_in_cents", json!(100_000 + place));
    maybe(3, "rent_maximum_in_cents", json!(200_001 + place));
    maybe(2, "notes", json!("Line one\nLine two — ¿mascotas? 🔌"));
    maybe(
        3,
        "desired_num_bedrooms",
        json!([[0, 3].to_vec(), [1].to_vec(), [2, 2, 1].to_vec()][place / 3 % 3]),
    );
    maybe(
        4,
        "pets",
        json!([["CAT", "CAT"].to_vec(), ["SMALL_DOG", "LARGE_DOG"].to_vec()][place / 4 % 2]),
    );
    maybe(2, "subscribe", json!(place.is_multiple_of(4)));
    maybe(
        3,
        "first_contact_type",
        json!(["INTERNET", "CALL", "VISIT"][place / 3 % 3]),
    );
    maybe(6, "agent_id", Value::Null);
    body
}
