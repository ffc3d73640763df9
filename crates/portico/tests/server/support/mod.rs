//! Runs the real binary and talks to it over real sockets.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use model::Timestamp;
use serde_json::{Value, json};

/// How long anything in these tests may take before it counts as lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// How long a write may take to end that was cut off again and again, once nothing fails any more. One
/// that was cut off ten times waits by the schedule of eight failures, a minute at most, and longer for
/// each call that the vendor failed besides. This is several times as long.
pub(crate) const REST: Duration = Duration::from_secs(600);

/// A running portico, killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// The line of JSON that it printed when it was ready.
    pub(crate) ready: Value,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// The same with these settings.
    pub(crate) fn start_with(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command
            .args(arguments)
            .envs(settings.iter().copied())
            .env("PORTICO_LOG", "error");
        Self::run(command)
    }

    /// Runs a command that ends as portico, and says on stdout when it is ready.
    pub(crate) fn run(mut command: Command) -> Self {
        let mut child = command
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

    /// `portico serve` on the database that `store_file` names, with these settings. It is ready as
    /// [`Self::dev`] is: the first start registers the sandbox, and keeps in `data_dir` what is to
    /// be known of it.
    pub(crate) fn on_database(
        data_dir: &Path,
        store_file: &Path,
        listen: &str,
        sandbox: &Self,
        settings: &[(&str, &str)],
    ) -> Self {
        let (key, known) = (data_dir.join("dev-master.key"), data_dir.join("known.json"));
        std::fs::create_dir_all(data_dir).expect("a directory");
        if !key.exists() {
            private(&key, &"ab".repeat(32));
        }
        let utf8 = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let (store_file, key) = (utf8(store_file), utf8(&key));
        let located = ["--store-file", &store_file, "--master-key-file", &key];
        if !known.exists() {
            let all = "read,write,admin";
            let create = [
                "keys",
                "create",
                "--json",
                "--name",
                "dev",
                "--permissions",
                all,
            ];
            let (made, told, _) = portico(data_dir, &[], &[&create[..], &located].concat());
            assert!(!made.is_empty(), "{told}");
            std::fs::write(&known, made).expect("written");
        }
        // A port that is free now: the log of a server that is told to be quiet names none.
        let listen = TcpListener::bind(listen).and_then(|free| free.local_addr());
        let listen = listen.expect("an address").to_string();
        let child = Command::new(env!("CARGO_BIN_EXE_portico"))
            .args(["serve", "--listen", &listen, "--vendor-url"])
            .arg(sandbox.text("sandbox_url"))
            .args(located)
            .envs(settings.iter().copied())
            .env("PORTICO_LOG", "error")
            .spawn()
            .expect("portico starts");
        let ready = std::fs::read_to_string(&known).expect("what is known");
        let mut server = Self {
            child,
            ready: serde_json::from_str(&ready).expect("JSON"),
        };
        let begun = Instant::now();
        while request(&listen, "GET", "/readyz", &[], "").is_none_or(|got| got.status != 200) {
            assert!(begun.elapsed() < PATIENCE, "it does not serve");
            std::thread::sleep(Duration::from_millis(20));
        }
        server.ready["base_url"] = json!(format!("http://{listen}"));
        if server.ready["integration_id"].is_null() {
            let registered = register(&Caller::of(&server), sandbox);
            let community = &registered["community_id"];
            server.ready["integration_id"] = registered["integration_id"].clone();
            server.ready["communities"] = json!([{ "id": community }]);
            server.ready["attributions"] =
                json!([{ "id": registered["attribution_id"], "community_ids": [community] }]);
            std::fs::write(&known, server.ready.to_string()).expect("written");
        }
        server
    }

    pub(crate) fn text(&self, member: &str) -> String {
        self.ready[member].as_str().expect("a text").to_owned()
    }

    /// `host:port` of the url in `member`.
    pub(crate) fn address(&self, member: &str) -> String {
        self.text(member).trim_start_matches("http://").to_owned()
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) {
        tell_to_stop(&self.child);
        self.child.wait().expect("it ends");
    }

    /// Tells it to stop, and gives how it ended, if it does in time.
    pub(crate) fn stopped(&mut self) -> Option<ExitStatus> {
        tell_to_stop(&self.child);
        ended(&mut self.child)
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) {
        let begun = Instant::now();
        while self.child.try_wait().expect("its state").is_none() {
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

/// As `kill`.
pub(crate) fn tell_to_stop(child: &Child) {
    let id = i32::try_from(child.id()).expect("a process id");
    let id = rustix::process::Pid::from_raw(id).expect("a process id");
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it is told");
}

/// How a process ended, if it does in time.
pub(crate) fn ended(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `portico serve` whose log is read, killed when dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) address: String,
    /// Its log until it served, a line of JSON each.
    pub(crate) start_log: String,
    /// Its log since it serves.
    log: Arc<Mutex<Vec<Value>>>,
}

impl Node {
    /// Starts one in `directory`, where nothing is kept, that may call vendors on this machine.
    pub(crate) fn start(directory: &Path, store: &str, role: &str) -> Self {
        Self::start_with(directory, store, role, &["--master-key-file", "master.key"])
    }

    /// The same with these arguments besides.
    pub(crate) fn start_with(directory: &Path, store: &str, role: &str, more: &[&str]) -> Self {
        let mut command = Self::command(directory);
        command.env("PORTICO_STORE", store);
        Self::run(command, role, more)
    }

    /// The same on a data directory, which the arguments name.
    pub(crate) fn start_alone(directory: &Path, role: &str, more: &[&str]) -> Self {
        Self::run(Self::command(directory), role, more)
    }

    fn run(mut command: Command, role: &str, more: &[&str]) -> Self {
        command
            .args(["--role", role, "--vendor-url", "http://127.0.0.1:*"])
            .args(more);
        Self::serve(command).unwrap_or_else(|log| panic!("it does not serve: {log}"))
    }

    /// `portico serve` on a free port, in `directory`. The caller adds arguments and settings.
    pub(crate) fn command(directory: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command
            .current_dir(directory)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env_remove("PORTICO_STORE");
        command
    }

    /// Runs a [`Self::command`] until it serves. Returns its log if it ends instead.
    pub(crate) fn serve(mut command: Command) -> Result<Self, String> {
        let mut child = command
            .env("PORTICO_LOG", "info")
            .env("PORTICO_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("portico starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
        let mut start_log = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                let _ = child.wait();
                return Err(start_log);
            };
            start_log += &line;
            start_log.push('\n');
            let line = serde_json::from_str::<Value>(&line).unwrap_or_default();
            if line["fields"]["message"] == "serving" {
                break text(&line["fields"]["address"]);
            }
        };
        // The rest is read too, so that the server never waits for a reader.
        let log = Arc::<Mutex<Vec<Value>>>::default();
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lock().expect("nobody panicked").push(line);
            }
        });
        Ok(Self {
            child,
            address,
            start_log,
            log,
        })
    }

    /// Takes what it has put into its log by now, since it serves or since this was asked last.
    pub(crate) fn log(&self) -> Vec<Value> {
        std::mem::take(&mut *self.log.lock().expect("nobody panicked"))
    }

    pub(crate) fn caller(&self, token: &str) -> Caller {
        Caller::at(&self.address, token)
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs portico in `directory`, without the settings of who runs this but with these, and gives what it said on stdout and on stderr, and how it ended.
pub(crate) fn portico(
    directory: &Path,
    settings: &[(&str, &str)],
    arguments: &[&str],
) -> (String, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PORTICO_") {
            command.env_remove(name);
        }
    }
    let output = command
        .args(arguments)
        .envs(settings.iter().copied())
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

/// All that a sandbox knows and holds.
pub(crate) fn sandbox_state(sandbox: &Process) -> Value {
    let address = sandbox.address("sandbox_url");
    let answer = request(&address, "GET", "/_sandbox/state", &[], "");
    answer.expect("an answer").json()
}

/// Registers the first community of a sandbox and a source of it; what a prospect refers to.
pub(crate) fn register(admin: &Caller, sandbox: &Process) -> Value {
    let state = sandbox_state(sandbox);
    let id = |path: &str, body: &Value| result(admin, "POST", path, body)["id"].clone();
    let integration = json!({
        "integration_vendor": "KNOCK", "name": "Harbor Homes", "system": "SANDBOX",
        "credentials": { "apiKey": "syndication-prospect-TEST-KEY" },
        "base_url": sandbox.text("sandbox_url"), "max_job_concurrency": 10, "active": true,
    });
    let integration_id = id("/v1/admin/integrations/", &integration);
    let at = |rest: &str| format!("/v1/admin/integrations/{}/{rest}", text(&integration_id));
    let community = json!({
        "x_id": state["communities"][0]["id"], "name": "Harbor Point",
        "timezone": "America/Phoenix",
    });
    let community_id = id(&at("communities/"), &community);
    let source = &state["sources"][0]["sourceTitle"];
    let attribution = json!({ "x_id": source, "name": source, "community_ids": [community_id] });
    let attribution_id = id(&at("attributions/"), &attribution);
    json!({
        "integration_id": integration_id, "community_id": community_id,
        "attribution_id": attribution_id,
    })
}

/// The result of a request that is to succeed.
pub(crate) fn result(caller: &Caller, method: &str, path: &str, body: &Value) -> Value {
    let answer = caller.send(method, path, body);
    let told = answer.json();
    assert_eq!(answer.status, 200, "{method} {path}: {told}");
    told["result"].clone()
}

/// A file that its owner alone may read.
pub(crate) fn private(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("a mode");
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

    /// One call of the sandbox's control surface.
    fn control(&self, method: &str, path: &str, body: &str) -> Value {
        let (address, path) = (
            self.sandbox.address("sandbox_url"),
            format!("/_sandbox/{path}"),
        );
        let headers = [("content-type", "application/json")];
        let answer = request(&address, method, &path, &headers, body).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    pub(crate) fn add_fault(&self, fault: &Value) {
        self.control("POST", "faults", &fault.to_string());
    }

    pub(crate) fn clear_faults(&self) {
        self.control("DELETE", "faults", "");
    }

    /// Three writes in ten fail at the vendor, in every way there is.
    pub(crate) fn break_the_vendor(&self) {
        let kinds = [
            json!({ "kind": "timeout_after_store", "latency_ms": 200 }),
            json!({ "kind": "reset_after_store" }),
            json!({ "kind": "reset_before_store" }),
            json!({ "kind": "malformed_body" }),
            json!({ "kind": "empty_body" }),
            json!({ "kind": "error_in_200" }),
            json!({ "kind": "status", "status": 500 }),
            json!({ "kind": "status", "status": 502 }),
            json!({ "kind": "status", "status": 503 }),
            json!({ "kind": "status", "status": 429 }),
        ];
        for (place, mut fault) in kinds.into_iter().enumerate() {
            fault["match"] = json!({ "method": "POST" });
            // Ten kinds, each so likely that all together make three in ten; under one seed they would strike one right after the other.
            fault["probability"] = json!(0.035);
            fault["seed"] = json!(place);
            self.add_fault(&fault);
        }
    }

    /// A list of what the vendor holds: `prospects`, `appointments`, `activities` or `listings`, oldest first.
    pub(crate) fn held(&self, list: &str) -> Vec<Value> {
        let state = self.control("GET", "state", "");
        state[list].as_array().expect("a list").clone()
    }

    pub(crate) fn cards(&self) -> Vec<Value> {
        self.held("prospects")
    }

    /// The calls that the vendor received, oldest first, without those of synchronisation, which come when they like.
    pub(crate) fn received(&self) -> Vec<Value> {
        let page = self.control("GET", "requests?limit=20000", "");
        let mut calls = page["requests"].as_array().expect("requests").clone();
        calls.retain(|call| {
            let path = text(&call["path"]);
            let reads = path.ends_with("/sources") || path.starts_with("/prospect/");
            call["method"] != "GET" || !reads
        });
        calls
    }

    /// A record of the first line, such as a community, by its name.
    pub(crate) fn named(&self, list: &str, name: &str) -> &Value {
        let all = self.server.ready[list].as_array().expect("a list");
        all.iter()
            .find(|one| one["name"] == name)
            .expect("one of this name")
    }

    /// The ids of a community, of its integration, and of an attribution and an agent of it.
    pub(crate) fn references(&self, community: &str) -> Value {
        let community = &self.named("communities", community)["id"];
        let fitting = |list: &str| {
            let all = self.server.ready[list].as_array().expect("a list");
            let is_fitting = |one: &&Value| {
                let ids = one["community_ids"].as_array().expect("ids");
                ids.contains(community)
            };
            all.iter().find(is_fitting).expect("one")["id"].clone()
        };
        json!({
            "integration_id": self.server.ready["integration_id"],
            "community_id": community,
            "attribution_id": fitting("attributions"),
            "agent_id": fitting("agents"),
        })
    }

    /// When this stage was set, as the server tells it.
    pub(crate) fn set_at(&self) -> Timestamp {
        instant(&self.caller().get("/crm/v1/communities")["results"][0]["created_at"])
    }

    /// When a tour is possible, in the afternoon there, whatever the clocks do: a date and a time.
    pub(crate) fn tour(&self) -> (String, String) {
        let today = format!("{}T18:00:00Z", date_and_time(self.set_at()).0);
        date_and_time(instant(&json!(today)).plus_millis(30 * DAY_MS))
    }

    /// How much the vendor has taken: cards, repeats, tours, activities and listings.
    fn taken(&self) -> u64 {
        let counts = self.control("GET", "counts", "");
        let of = [
            "prospects",
            "updates",
            "appointments",
            "activities",
            "listings",
        ];
        of.iter().filter_map(|member| counts[member].as_u64()).sum()
    }

    /// Kills the server so often while it delivers, and starts it anew each time. Each kill waits until
    /// the vendor has taken something since the last start, unless no more is sent: so the work goes
    /// on, however slow the machine is.
    pub(crate) fn kill_amid_calls(&mut self, kills: u64, is_over: impl Fn() -> bool) {
        for round in 0..kills {
            let (taken, started) = (self.taken(), Instant::now());
            while self.taken() <= taken && !is_over() {
                assert!(started.elapsed() < PATIENCE, "it delivers nothing");
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_millis((round * 67) % 210));
            self.restart_server();
        }
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

    /// What a body was refused for.
    pub(crate) fn issues(&self) -> Vec<Value> {
        let body = self.json();
        let code = &body["error"]["code"];
        assert_eq!(
            (self.status, code),
            (400, &json!("invalid_request")),
            "{body}"
        );
        let issues = &body["error"]["details"]["issues"];
        issues.as_array().expect("issues").clone()
    }

    /// Why a request does not go together with what is stored.
    pub(crate) fn conflict(&self) -> String {
        let body = self.json();
        let code = &body["error"]["code"];
        assert_eq!((self.status, code), (409, &json!("conflict")), "{body}");
        text(&body["error"]["message"])
    }

    /// The id of the write that was accepted, by either kind of route.
    pub(crate) fn job_id(&self) -> String {
        let body = self.json();
        assert_eq!(self.status, 200, "{body}");
        let own = &body["meta"]["job_id"];
        text(if own.is_null() { &body["job_id"] } else { own })
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

    pub(crate) fn token(&self) -> &str {
        &self.token
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

    pub(crate) fn at(address: &str, token: &str) -> Self {
        Self {
            address: address.to_owned(),
            token: token.to_owned(),
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

    /// One request with a JSON body.
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.call(method, path, &[], &body.to_string())
            .expect("an answer")
    }

    /// Sends a write and returns its status once it has ended.
    pub(crate) fn end_of_sent(&self, method: &str, path: &str, body: &Value) -> Value {
        self.end_of(&self.send(method, path, body).job_id())
    }

    /// Sends a write that is to end well and returns its status then.
    pub(crate) fn delivered(&self, method: &str, path: &str, body: &Value) -> Value {
        let end = self.end_of_sent(method, path, body);
        assert_eq!(end["write_status"], "SUCCESS", "{end} of {body}");
        end
    }

    /// Makes a prospect and returns its id.
    pub(crate) fn prospect(&self, body: &Value) -> String {
        text(&self.delivered("POST", "/crm/v1/prospects/knock", body)["created_record_id"])
    }

    /// Posts a prospect until an answer comes.
    pub(crate) fn post_until_answered(&self, body: &Value, key: &str) -> Answer {
        self.send_until_answered("POST", "/crm/v1/prospects/knock", body, key)
    }

    /// Sends until an answer comes, always under the same key, as a careful client does.
    pub(crate) fn send_until_answered(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        key: &str,
    ) -> Answer {
        let (text, started) = (body.to_string(), Instant::now());
        loop {
            match self.call(method, path, &[("idempotency-key", key)], &text) {
                Some(answer) if answer.status != 503 => return answer,
                _ => assert!(started.elapsed() < PATIENCE, "no answer to {key}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The status of a write once it has ended.
    pub(crate) fn end_of(&self, job_id: &str) -> Value {
        self.end_within(job_id, PATIENCE)
    }

    /// The same for a write that may take longer.
    pub(crate) fn end_within(&self, job_id: &str, patience: Duration) -> Value {
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
                    started.elapsed() < patience,
                    "{job_id} has not ended: {state}"
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whoever works at the machine itself.
pub(crate) fn operator() -> model::Actor {
    #[expect(clippy::disallowed_methods, reason = "a test may act as the operator")]
    model::Actor::local(model::Scope::operator())
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// The instant that a text tells, in whatever offset.
pub(crate) fn instant(value: &Value) -> Timestamp {
    Timestamp::parse(&text(value)).expect("an instant")
}

pub(crate) const HOUR_MS: i64 = 3_600_000;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// The date and the time of day of an instant, in UTC, as an appointment takes them.
pub(crate) fn date_and_time(at: Timestamp) -> (String, String) {
    let told = at.to_string();
    (told[..10].to_owned(), told[11..19].to_owned())
}

/// `body` with the members of `more`.
pub(crate) fn with(body: &Value, more: Value) -> Value {
    let (mut body, Value::Object(more)) = (body.clone(), more) else {
        panic!("an object")
    };
    body.as_object_mut().expect("an object").extend(more);
    body
}

/// `body` without a member.
pub(crate) fn without(body: &Value, member: &str) -> Value {
    let mut body = body.clone();
    body.as_object_mut().expect("an object").remove(member);
    body
}

/// Runs `work` on every item, `threads` at a time, and returns what it gave, in order.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(usize, &T) -> R + Sync,
) -> Vec<R> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
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
    leads_of(&server.ready, count)
}

/// The same for a server that said `ready`.
pub(crate) fn leads_of(ready: &Value, count: usize) -> Vec<Value> {
    let bodies: Vec<Value> = match std::env::var("PORTICO_LEADS") {
        Ok(path) => std::fs::read_to_string(path)
            .expect("PORTICO_LEADS")
            .lines()
            .map(|line| serde_json::from_str(line).expect("a body"))
            .collect(),
        Err(_) => (0..count).map(made_lead).collect(),
    };
    let communities = ready["communities"].as_array().expect("communities");
    let attributions = ready["attributions"].as_array().expect("attributions");
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
            body["integration_id"] = ready["integration_id"].clone();
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
