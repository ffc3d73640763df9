//! Three nodes on one database, while the vendor fails three calls in ten, nodes are killed all the time, and the database is lost.
//!
//! Goal: whatever any node has acknowledged is delivered, once for each person and in the order acknowledged, and is told once. Method: the real binary, a primary with a
//! synchronous standby, and the sandbox. Senders write about persons of their own, each request at a node that chance picks and again at others until it is answered, always under its key.
//! Every two seconds a node is killed and started again; half-way the primary is killed and its standby promoted. Then all sides are compared: what was answered, where
//! the writes stand, the log of events, and what the vendor received.
//!
//! How much is set by the environment: `PORTICO_CHAOS_SECONDS` for how long is sent (8), `PORTICO_CHAOS_SENDERS` at once (6), `PORTICO_CHAOS_SEED` for what chance decides (each run its own),
//! `PORTICO_CHAOS_LOGS` for a folder where what the nodes said is kept. More than 60 seconds is for plain `cargo test -p portico --test nodes_chaos -- --nocapture`: cargo-nextest ends
//! a test after three minutes.
#![expect(
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

use crate::support;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fs::OpenOptions,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Answer, Caller, PATIENCE, Process, in_parallel, private, text, with};
use testbed::{Options, Server};

const NODES: usize = 3;

const SECONDS: u64 = 8;

const SENDERS: usize = 6;

/// Between a kill and the next.
const KILL_EVERY: Duration = Duration::from_secs(2);

/// How long the database has no primary before its standby is promoted: as long as whoever watches over it takes to be sure.
const PRIMARY_GONE: Duration = Duration::from_secs(2);

/// How long after the primary was killed a node that starts may find none and end.
const FAILOVER_MAX: Duration = Duration::from_secs(20);

/// How long an answer may take, whatever happens to the node or the database: callers give up after half a minute.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long writes may take to end once nothing is killed any more: leases of dead nodes lapse after twenty seconds, and a write that has failed six times waits up to a minute.
const DRAIN_MAX: Duration = Duration::from_secs(120);

/// Calls to the vendor that the integration allows at once. Those of killed nodes count until their leases have lapsed, so there must be more than a kill leaves behind.
const CONCURRENCY_MAX: u64 = 60;

/// What a call to the vendor takes, in milliseconds.
const LATENCY_MS: &str = "25";

/// The writes about a person, in order; the first few at once, the rest when these have ended.
const STEPS: [Kind; 7] = [
    Kind::Create,
    Kind::Create,
    Kind::Create,
    Kind::Event,
    Kind::Update,
    Kind::Event,
    Kind::Update,
];
const CREATES: usize = 3;

/// Persons of one sender whose first writes have not ended: a sender that has so many makes no more.
const WAITING_MAX: usize = 12;

/// How long a sender pauses between two persons.
const SENDER_PAUSE: Duration = Duration::from_millis(40);

/// How long a sender waits before it sends again what was not answered with 200.
const RESEND_PAUSE: Duration = Duration::from_millis(20);

/// One accepted write in so many is sent again under its key, at another node.
const RESENT: u64 = 4;

/// Calls that the sandbox keeps: they must be read before there are more.
const CALLS_KEPT: usize = 20_000;

/// How long a call is given until it is read how it was answered. Calls that take longer are not answered at all.
const CALL_SETTLES: Duration = Duration::from_secs(5);

/// Ports of nodes: below those that the system gives to whoever connects, so that a node finds its own free when it comes back.
const PORTS: std::ops::Range<u64> = 20_000..30_000;

const MASTER_KEY: &str = "abababababababababababababababababababababababababababababababab";

/// How the vendor fails, how often, and with what besides. The first that strikes counts, so together they strike three calls in ten.
fn faults() -> Vec<Value> {
    let ways = [
        (0.10, json!({ "kind": "reset_after_store" })),
        (0.04, json!({ "kind": "reset_before_store" })),
        (
            0.03,
            json!({ "kind": "timeout_after_store", "latency_ms": 1_000 }),
        ),
        (0.03, json!({ "kind": "malformed_body" })),
        (0.02, json!({ "kind": "empty_body" })),
        (0.03, json!({ "kind": "error_in_200" })),
        (0.03, json!({ "kind": "status", "status": 500 })),
        (0.02, json!({ "kind": "status", "status": 502 })),
        (0.03, json!({ "kind": "status", "status": 503 })),
        (0.01, json!({ "kind": "status", "status": 429 })),
        // The whole integration waits for that long.
        (
            0.002,
            json!({ "kind": "status", "status": 429, "retry_after_s": 1 }),
        ),
        // For good.
        (0.005, json!({ "kind": "status", "status": 400 })),
        // Longer than Portico has patience.
        (0.01, json!({ "kind": "timeout_after_store", "times": 3 })),
    ];
    let matched = json!({ "match": { "method": "POST" } });
    let seeded = |(seed, (probability, way)): (usize, (f64, Value))| {
        let more = json!({ "probability": probability, "seed": seed });
        with(&with(&way, more), matched.clone())
    };
    ways.into_iter().enumerate().map(seeded).collect()
}

/// What chance decides, the same for the same seed: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// The place of one of so many.
    fn place(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count.max(1) as u64)).unwrap_or_default()
    }
}

struct Plan {
    seconds: u64,
    senders: usize,
    seed: u64,
    logs: Option<PathBuf>,
}

impl Plan {
    fn read() -> Self {
        let number = |name: &str| {
            let told = std::env::var(name).ok()?;
            let number = told.parse::<u64>();
            Some(number.unwrap_or_else(|_| panic!("{name} must be a whole number")))
        };
        let senders = number("PORTICO_CHAOS_SENDERS").map(usize::try_from);
        Self {
            seconds: number("PORTICO_CHAOS_SECONDS").unwrap_or(SECONDS).max(1),
            senders: senders.map_or(SENDERS, |count| count.expect("a count")),
            seed: number("PORTICO_CHAOS_SEED").unwrap_or_else(|| seed_drawn() % 1_000_000),
            logs: std::env::var_os("PORTICO_CHAOS_LOGS").map(PathBuf::from),
        }
    }
}

/// A number that the next run does not have.
fn seed_drawn() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// What is wrong, of whatever was seen.
#[derive(Default)]
struct Complaints(Mutex<Vec<String>>);

impl Complaints {
    fn add(&self, what: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    fn add_unless(&self, is_well: bool, what: String) {
        if !is_well {
            self.add(what);
        }
    }

    fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A node, killed when dropped.
struct Node {
    address: String,
    log: PathBuf,
    child: Option<Child>,
    /// Whether it has served since it was started.
    has_served: bool,
}

/// How nodes are started.
struct Launch {
    store: String,
    key_file: String,
    vendor: String,
}

impl Launch {
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command
            .env("PORTICO_STORE", &self.store)
            .env("PORTICO_MASTER_KEY_FILE", &self.key_file)
            .stdin(Stdio::null());
        command
    }

    fn node(&self, node: &mut Node) {
        let log = OpenOptions::new().create(true).append(true).open(&node.log);
        let child = self
            .command()
            .args(["serve", "--role", "all", "--listen", &node.address])
            .args(["--vendor-url", &self.vendor])
            .env("PORTICO_LOG", "info")
            .stdout(Stdio::null())
            .stderr(log.expect("its log"))
            .spawn();
        node.child = Some(child.expect("portico starts"));
        node.has_served = false;
    }

    /// The token of a new key that may do everything, as often as it likes.
    fn token(&self) -> String {
        let output = self
            .command()
            .args(["keys", "create", "--name", "chaos", "--json"])
            .args(["--permissions", "read,write,admin"])
            .args(["--requests-per-minute", "60000000"])
            .output()
            .expect("portico runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        text(&shown["token"])
    }
}

impl Node {
    fn answers(&self) -> bool {
        let answer = support::request(&self.address, "GET", "/readyz", &[], "");
        answer.is_some_and(|answer| answer.status == 200)
    }

    /// As `kill -9`.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What it said of this level.
    fn said(&self, level: &str) -> Vec<String> {
        let told = std::fs::read_to_string(&self.log).unwrap_or_default();
        let of_level = told.lines().filter(|line| line.contains(level));
        of_level.map(str::to_owned).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that is free for a node.
fn port(dice: &mut Dice) -> u64 {
    loop {
        let port = PORTS.start + dice.below(PORTS.end - PORTS.start);
        if TcpListener::bind(format!("127.0.0.1:{port}")).is_ok() {
            return port;
        }
    }
}

/// The sandbox, by its control surface.
struct Vendor(Process);

impl Vendor {
    fn open() -> Self {
        let arguments = ["sandbox", "--json", "--listen", "127.0.0.1:0"];
        let latency = ["--latency-ms", LATENCY_MS];
        Self(Process::start(&[&arguments[..], &latency].concat()))
    }

    fn url(&self) -> String {
        self.0.text("sandbox_url")
    }

    fn control(&self, method: &str, path: &str, body: &str) -> Value {
        let (address, path) = (self.0.address("sandbox_url"), format!("/_sandbox/{path}"));
        let headers = [("content-type", "application/json")];
        let answer = support::request(&address, method, &path, &headers, body);
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }
}

/// Makes an integration at the sandbox with all that it has. Returns what bodies refer to.
fn integrate(admin: &Caller, vendor: &Vendor) -> Value {
    let done = |path: &str, body: &Value| {
        let answer = admin.send("POST", path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()["result"]["id"].clone()
    };
    let state = vendor.control("GET", "state", "");
    let integration = done(
        "/v1/admin/integrations/",
        &json!({
            "integration_vendor": "KNOCK", "name": "Chaos", "system": "SANDBOX", "credentials": { "apiKey": "syndication-prospect-TEST-KEY" },
            "base_url": vendor.url(), "max_job_concurrency": CONCURRENCY_MAX, "active": true,
        }),
    );
    let path = format!("/v1/admin/integrations/{}", text(&integration));
    let place = &state["communities"][0];
    let community = done(
        &format!("{path}/communities"),
        &json!({ "x_id": place["id"], "name": place["name"], "timezone": place["timezone"] }),
    );
    let sources = state["sources"].as_array().expect("sources");
    let is_there = |one: &&Value| {
        let there = one["communityIds"].as_array().expect("ids");
        there.contains(&place["id"])
    };
    let source = sources.iter().find(is_there).expect("a source");
    let attribution = done(
        &format!("{path}/attributions"),
        &json!({ "x_id": source["sourceTitle"], "community_ids": [community] }),
    );
    json!({ "integration_id": integration, "community_id": community, "attribution_id": attribution })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Create,
    Update,
    Event,
}

/// Whom writes are about. Their places, counted from 1, are their order.
struct Person {
    email: String,
    /// The ids of the writes that were acknowledged.
    jobs: Vec<String>,
}

/// What all threads share.
struct Field {
    callers: Vec<Caller>,
    vendor: Vendor,
    references: Value,
    complaints: Complaints,
    /// Nothing new is sent.
    sent: AtomicBool,
    /// All that was accepted has ended.
    ended: AtomicBool,
    slowest: Mutex<Duration>,
}

impl Field {
    /// One request at a node that chance picks; `None` when the connection broke.
    fn ask(
        &self,
        dice: &mut Dice,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        let started = Instant::now();
        let caller = &self.callers[dice.place(self.callers.len())];
        let answer = caller.call(method, path, headers, body);
        let took = started.elapsed();
        let mut slowest = self.slowest.lock().unwrap_or_else(PoisonError::into_inner);
        *slowest = took.max(*slowest);
        drop(slowest);
        if took > ANSWER_MAX {
            let end = answer.as_ref().map(|answer| answer.status);
            self.complaints.add(format!(
                "{method} {path} took {took:?} and ended in {end:?}"
            ));
        }
        answer
    }

    /// What a node that can be asked says.
    fn get(&self, dice: &mut Dice, path: &str) -> Option<Value> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            match self.ask(dice, ("GET", path), &[], "") {
                Some(answer) if answer.status == 200 => return Some(answer.json()),
                Some(answer) if answer.status != 503 => {
                    let told = format!("GET {path}: {} {}", answer.status, answer.body);
                    self.complaints.add(told);
                    return None;
                }
                _ => thread::sleep(RESEND_PAUSE),
            }
        }
        self.complaints.add(format!("GET {path} is not answered"));
        None
    }

    /// Sends a write until it is accepted, always under the same key, as a careful client does.
    fn accepted(
        &self,
        dice: &mut Dice,
        path: &str,
        (method, body): (&str, &str),
        key: &str,
    ) -> Option<String> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            match self.ask(dice, (method, path), &[("idempotency-key", key)], body) {
                Some(answer) if answer.status == 200 => return Some(answer.job_id()),
                Some(answer) if answer.status == 503 => {
                    let asks_to_wait = answer.head.contains("\r\nretry-after:");
                    let told = format!("{key}: a 503 without Retry-After: {}", answer.body);
                    self.complaints.add_unless(asks_to_wait, told);
                }
                Some(answer) => {
                    let told = format!("{key}: {} {}", answer.status, answer.body);
                    self.complaints.add(told);
                    return None;
                }
                None => {}
            }
            thread::sleep(RESEND_PAUSE);
        }
        self.complaints.add(format!("{key} is not answered"));
        None
    }

    /// Sends a person's next write. `false` when it was not accepted.
    fn send(&self, dice: &mut Dice, person: &mut Person, record: &str) -> bool {
        let number = person.jobs.len() + 1;
        let occupants = json!({ "number_of_occupants": number });
        let (method, path, body) = match STEPS[number - 1] {
            Kind::Create => (
                "POST",
                "/crm/v1/prospects/knock".to_owned(),
                with(
                    &with(&self.references, occupants),
                    json!({ "email_1": person.email }),
                ),
            ),
            Kind::Update => (
                "PUT",
                format!("/crm/v1/prospects/knock/{record}"),
                occupants,
            ),
            Kind::Event => (
                "POST",
                "/crm/v1/events/knock".to_owned(),
                with(
                    &self.references,
                    json!({ "prospect_id": record, "event_name": "ACTIVITY", "event_datetime": "2026-03-01T09:30:00Z", "notes": number.to_string() }),
                ),
            ),
        };
        let (key, body) = (format!("{}-{number}", person.email), body.to_string());
        let Some(job_id) = self.accepted(dice, &path, (method, &body), &key) else {
            return false;
        };
        if dice.below(RESENT) == 0 {
            let again = self.accepted(dice, &path, (method, &body), &key);
            if again.as_ref().is_some_and(|again| *again != job_id) {
                let told = format!("{key} was accepted twice, as {job_id} and {again:?}");
                self.complaints.add(told);
            }
        }
        person.jobs.push(job_id);
        true
    }

    /// What the person's first writes made, once these have ended: nothing, when all were refused.
    fn record(&self, dice: &mut Dice, person: &Person) -> Option<Option<String>> {
        let mut state = |job_id: &String| {
            let state = self.get(dice, &format!("/v1/admin/write-status/{job_id}"))?;
            (state["write_status"] != "PENDING").then_some(state)
        };
        // The last ends last.
        state(person.jobs.last()?)?;
        let ends: Option<Vec<Value>> = person.jobs.iter().map(state).collect();
        let mut records = ends?.into_iter();
        Some(records.find_map(|end| end["created_record_id"].as_str().map(str::to_owned)))
    }

    /// Sends until it is time to end, and returns whom about.
    fn send_all(&self, sender: usize, mut dice: Dice) -> Vec<Person> {
        let (mut done, mut waiting) = (Vec::new(), VecDeque::new());
        for count in 0.. {
            if self.sent.load(Ordering::Relaxed) {
                break;
            }
            if waiting.len() < WAITING_MAX {
                let mut person = Person {
                    email: format!("person.{count}.of.{sender}@mail.example.com"),
                    jobs: Vec::new(),
                };
                for _ in 0..CREATES {
                    if !self.send(&mut dice, &mut person, "") {
                        break;
                    }
                }
                waiting.push_back(person);
            }
            for _ in 0..waiting.len() {
                let Some(mut person) = waiting.pop_front() else {
                    break;
                };
                match self.record(&mut dice, &person) {
                    None => waiting.push_back(person),
                    Some(record) => {
                        while let Some(record) = &record
                            && person.jobs.len() < STEPS.len()
                            && self.send(&mut dice, &mut person, record)
                        {}
                        done.push(person);
                    }
                }
                if self.sent.load(Ordering::Relaxed) {
                    break;
                }
            }
            thread::sleep(SENDER_PAUSE);
        }
        done.extend(waiting);
        done
    }

    /// Follows the log of events from node to node until all has ended, and returns what it told, in order.
    fn follow_events(&self, mut dice: Dice) -> Vec<Value> {
        let (mut events, mut behind) = (Vec::new(), String::new());
        loop {
            let is_over = self.ended.load(Ordering::Relaxed);
            let path = format!("/v1/admin/events?order-by=created_at:asc&limit=250{behind}");
            let page = match self.ask(&mut dice, ("GET", &path), &[("prefer", "wait=2")], "") {
                Some(answer) if answer.status == 200 => answer.json(),
                Some(answer) if answer.status != 503 => {
                    let told = format!("GET {path}: {} {}", answer.status, answer.body);
                    self.complaints.add(told);
                    return events;
                }
                _ => {
                    thread::sleep(RESEND_PAUSE);
                    continue;
                }
            };
            let rows = page["results"].as_array().expect("rows");
            events.extend_from_slice(rows);
            if let Some(next) = page["meta"]["nextCursor"].as_str() {
                behind = format!("&cursor={next}");
            }
            if is_over && rows.is_empty() {
                return events;
            }
        }
    }

    /// Reads what the vendor receives until all has ended, and returns it in order.
    fn follow_calls(&self) -> Vec<Value> {
        let (mut calls, mut after, mut settled) = (Vec::new(), 0, 0);
        loop {
            let is_over = self.ended.load(Ordering::Relaxed);
            let path = format!("requests?after={after}&limit={CALLS_KEPT}");
            let page = self.vendor.control("GET", &path, "");
            let number = |call: &Value| call["n"].as_u64().expect("a number");
            let rows = page["requests"].as_array().expect("requests");
            let newest = rows.last().map_or(after, number);
            for row in rows {
                if !is_over && number(row) > settled {
                    break;
                }
                if number(row) != after + 1 {
                    self.complaints
                        .add("the sandbox received more than could be read".to_owned());
                }
                after = number(row);
                calls.push(row.clone());
            }
            if is_over {
                return calls;
            }
            settled = newest;
            let looked_at = Instant::now();
            while looked_at.elapsed() < CALL_SETTLES && !self.ended.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Waits until the writes have ended, and returns how, by their ids.
    fn ends(&self, people: &[Person], dice: &mut Dice) -> HashMap<String, Value> {
        let deadline = Instant::now() + DRAIN_MAX;
        let jobs: Vec<&String> = people.iter().flat_map(|person| &person.jobs).collect();
        let seed = dice.below(u64::MAX);
        let ends = in_parallel(&jobs, SENDERS, |place, job_id| {
            let mut dice = Dice(seed ^ place as u64);
            let path = format!("/v1/admin/write-status/{job_id}");
            loop {
                let state = self.get(&mut dice, &path)?;
                if state["write_status"] != "PENDING" {
                    return Some(state);
                }
                if Instant::now() > deadline {
                    self.complaints
                        .add(format!("{job_id} has not ended: {state}"));
                    return None;
                }
                thread::sleep(Duration::from_millis(200));
            }
        });
        let all = jobs.into_iter().cloned().zip(ends);
        all.filter_map(|(job_id, end)| Some((job_id, end?)))
            .collect()
    }
}

/// A call that the vendor received about a person.
#[derive(Clone, Copy, Debug)]
struct Call {
    /// Which of their writes.
    step: usize,
    /// Whether it was answered as it should be.
    is_taken: bool,
    /// Whether the vendor holds what it said.
    is_stored: bool,
    /// Whether it was refused for good.
    is_refused: bool,
}

/// The calls about each person, in order; what cannot be told is complained about.
fn by_person(
    calls: &[Value],
    cards: &[Value],
    complaints: &Complaints,
) -> BTreeMap<String, Vec<Call>> {
    let email_of: HashMap<&str, &str> = cards
        .iter()
        .filter_map(|card| Some((card["prospectId"].as_str()?, card["email"].as_str()?)))
        .collect();
    let mut all: BTreeMap<String, Vec<Call>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call["method"] == "POST") {
        let (path, body) = (text(&call["path"]), &call["body"]);
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let told: (Option<&str>, Option<usize>) = match parts.as_slice() {
            ["prospect"] => (
                body["email"].as_str(),
                body["occupants"].as_u64().and_then(|n| n.try_into().ok()),
            ),
            ["prospect", card, "activity"] => (
                email_of.get(card).copied(),
                body["message"].as_str().and_then(|n| n.parse().ok()),
            ),
            _ => (None, None),
        };
        let (Some(email), Some(step)) = told else {
            complaints.add(format!("the vendor received what nobody sent: {call}"));
            continue;
        };
        let (fault, status) = (call["fault"].as_str(), call["status"].as_u64());
        // That Knock took an event need not be said in words.
        let is_event = STEPS.get(step.wrapping_sub(1)) == Some(&Kind::Event);
        let is_stored = match fault {
            None => status == Some(200),
            Some(kind) => [
                "timeout_after_store",
                "reset_after_store",
                "malformed_body",
                "empty_body",
            ]
            .contains(&kind),
        };
        all.entry(email.to_owned()).or_default().push(Call {
            step,
            is_taken: status == Some(200)
                && (fault.is_none() || (is_event && fault == Some("empty_body"))),
            is_stored,
            is_refused: status == Some(400),
        });
    }
    all
}

/// How a person's writes ended, compared with what the vendor received.
fn check_person(person: &Person, calls: &[Call], ends: &HashMap<String, Value>, field: &Field) {
    let complain = |what: String| field.complaints.add(format!("{}: {what}", person.email));
    let steps: Vec<usize> = calls.iter().map(|call| call.step).collect();
    if !steps.is_sorted() {
        complain(format!("received out of order: {calls:?}"));
    }
    if steps.iter().any(|step| *step > person.jobs.len()) {
        complain(format!("received what was not accepted: {steps:?}"));
    }
    let mut records = BTreeSet::new();
    for (place, job_id) in person.jobs.iter().enumerate() {
        let of_step = || calls.iter().filter(|call| call.step == place + 1);
        let Some(end) = ends.get(job_id) else {
            continue;
        };
        match end["write_status"].as_str() {
            Some("SUCCESS") => {
                if !of_step().any(|call| call.is_taken) {
                    complain(format!("{job_id} was not taken by the vendor: {end}"));
                }
                if STEPS[place] != Kind::Event {
                    records.insert(end["created_record_id"].to_string());
                }
            }
            Some("FAILURE") => {
                let is_told = end["errors"].as_array().is_some_and(|all| !all.is_empty());
                if !of_step().next_back().is_some_and(|call| call.is_refused) || !is_told {
                    complain(format!("{job_id} failed without a refusal: {end}"));
                }
            }
            _ => complain(format!("{job_id} ended as {end}")),
        }
    }
    if records.len() > 1 {
        complain(format!("has several records: {records:?}"));
    }
}

/// One card a person, and on it what was said last.
fn check_cards(
    people: &[Person],
    cards: &[Value],
    calls: &BTreeMap<String, Vec<Call>>,
    complaints: &Complaints,
) {
    let mut by_email: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for card in cards {
        let email = card["email"].as_str().unwrap_or_default();
        by_email.entry(email).or_default().push(card);
    }
    for person in people {
        let held = by_email.remove(&*person.email).unwrap_or_default();
        let calls = calls.get(&person.email).map_or(&[][..], Vec::as_slice);
        let stored: Vec<usize> = calls
            .iter()
            .filter(|call| call.is_stored)
            .map(|call| call.step)
            .collect();
        let is_said = |step: &&usize| STEPS[**step - 1] != Kind::Event;
        let last = stored.iter().rfind(is_said);
        let occupants: Vec<Option<u64>> =
            held.iter().map(|card| card["occupants"].as_u64()).collect();
        let expected: Vec<Option<u64>> = last.map(|step| Some(*step as u64)).into_iter().collect();
        if occupants != expected {
            complaints.add(format!(
                "{}: the vendor's cards say {occupants:?}, and it was told {stored:?}",
                person.email
            ));
        }
    }
    if !by_email.is_empty() {
        complaints.add(format!("cards of nobody: {:?}", by_email.keys()));
    }
}

/// The log tells each end once, and tells everybody the same.
fn check_events(followed: &[Value], ends: &HashMap<String, Value>, field: &Field, dice: Dice) {
    let complain = |what: String| field.complaints.add(what);
    let id = |event: &Value| text(&event["id"]);
    let ids: Vec<String> = followed.iter().map(id).collect();
    // All has ended: this one reads the whole log and returns.
    let again: Vec<String> = field.follow_events(dice).iter().map(id).collect();
    if ids != again {
        let seen: BTreeSet<&String> = ids.iter().collect();
        let missed: Vec<&String> = again.iter().filter(|id| !seen.contains(id)).collect();
        complain(format!(
            "who followed saw {} events, and the log has {}; missed were {missed:?}",
            ids.len(),
            again.len()
        ));
    }
    if ids.iter().collect::<BTreeSet<_>>().len() != ids.len() {
        complain("an event was told twice".to_owned());
    }
    let mut told: HashMap<String, Vec<String>> = HashMap::new();
    for event in followed {
        let trigger = text(&event["trigger"]);
        if let Some(end) = trigger.strip_prefix("WRITE_OPERATION_") {
            let subject = event["subject_id"].as_str().unwrap_or_default();
            told.entry(subject.to_owned())
                .or_default()
                .push(end.to_owned());
        }
    }
    for (job_id, end) in ends {
        let told = told.remove(job_id).unwrap_or_default();
        if told != [text(&end["write_status"])] {
            complain(format!("of {job_id} the log tells {told:?}: {end}"));
        }
    }
    if !told.is_empty() {
        complain(format!("the log tells of writes of nobody: {told:?}"));
    }
}

/// What is done to nodes and database.
struct Trouble<'a> {
    field: &'a Field,
    launch: &'a Launch,
    nodes: Vec<Node>,
    primary: Server,
    standby: &'a Server,
    /// When the primary was killed.
    lost_at: Option<Instant>,
    kills: u64,
    /// Nodes that ended before they served, for want of a primary.
    gave_up: u64,
}

impl Trouble<'_> {
    /// Makes it for as long as is sent.
    fn make(&mut self, seconds: u64, dice: &mut Dice) {
        let (begun, lasts) = (Instant::now(), Duration::from_secs(seconds));
        let mut next_kill = KILL_EVERY;
        while begun.elapsed() < lasts {
            thread::sleep(Duration::from_millis(100));
            self.keep_up();
            if self.lost_at.is_none() && begun.elapsed() > lasts / 2 {
                self.primary.kill().expect("it is killed");
                self.lost_at = Some(Instant::now());
                // One starts while there is none.
                self.kill_a_node(dice);
                thread::sleep(PRIMARY_GONE);
                self.standby.promote().expect("it is promoted");
            }
            if begun.elapsed() > next_kill {
                next_kill += KILL_EVERY;
                self.kill_a_node(dice);
            }
        }
    }

    /// Kills one of the nodes that serve and starts it again.
    fn kill_a_node(&mut self, dice: &mut Dice) {
        let serving = self.nodes.iter_mut().filter(|node| node.has_served);
        let mut serving: Vec<&mut Node> = serving.collect();
        let place = dice.place(serving.len());
        if let Some(node) = serving.get_mut(place) {
            node.kill();
            self.launch.node(node);
            self.kills += 1;
        }
    }

    /// Starts again what has ended by itself, as an init system does.
    fn keep_up(&mut self) {
        for node in &mut self.nodes {
            let ended = node.child.as_mut().and_then(|one| one.try_wait().ok()?);
            if let Some(status) = ended {
                let may_end = self
                    .lost_at
                    .is_some_and(|at| at.elapsed() < FAILOVER_MAX && !node.has_served);
                if may_end {
                    self.gave_up += 1;
                } else {
                    let said = node.said("").pop().unwrap_or_default();
                    let told = format!("{} ended by itself ({status}): {said}", node.address);
                    self.field.complaints.add(told);
                }
                self.launch.node(node);
            } else if !node.has_served {
                node.has_served = node.answers();
            }
        }
    }

    /// Waits until every node serves.
    fn end(&mut self) {
        let started = Instant::now();
        while self.nodes.iter().any(|node| !node.has_served) {
            assert!(started.elapsed() < PATIENCE, "a node does not come back");
            thread::sleep(Duration::from_millis(100));
            self.keep_up();
        }
    }
}

/// The nodes, not started.
fn nodes(logs: &Path, dice: &mut Dice) -> Vec<Node> {
    (0..NODES)
        .map(|place| Node {
            address: format!("127.0.0.1:{}", port(dice)),
            log: logs.join(format!("node-{place}.log")),
            child: None,
            has_served: false,
        })
        .collect()
}

#[test]
fn killed_nodes_and_a_lost_primary_lose_and_double_nothing() {
    let plan = Plan::read();
    let mut dice = Dice(plan.seed);
    let Some(primary) = Server::start(Options::durable()).expect("a primary") else {
        return;
    };
    let standby = Server::standby_of(&primary, Options::durable()).expect("a standby");
    primary.database_create("portico").expect("a database");
    let dir = tempfile::tempdir().expect("a directory");
    let key_file = dir.path().join("master.key");
    private(&key_file, MASTER_KEY);
    let logs = plan.logs.as_deref().unwrap_or(dir.path());
    let vendor = Vendor::open();
    let launch = Launch {
        store: primary.url_with(&standby, "portico"),
        key_file: key_file.to_str().expect("a path in UTF-8").to_owned(),
        vendor: vendor.url(),
    };
    let token = launch.token();
    let mut nodes = nodes(logs, &mut dice);
    for node in &mut nodes {
        launch.node(node);
    }
    let started = Instant::now();
    while !nodes.iter().all(Node::answers) {
        let said = || nodes.iter().map(|node| node.said("")).collect::<Vec<_>>();
        assert!(started.elapsed() < PATIENCE, "not ready: {:?}", said());
        thread::sleep(Duration::from_millis(50));
    }
    nodes.iter_mut().for_each(|node| node.has_served = true);
    let callers: Vec<Caller> = nodes
        .iter()
        .map(|node| Caller::at(&node.address, &token))
        .collect();
    let references = integrate(&callers[0], &vendor);
    for fault in faults() {
        vendor.control("POST", "faults", &fault.to_string());
    }
    // What was changed at one node is in force at the others within a second.
    thread::sleep(Duration::from_secs(1));

    let field = Field {
        callers,
        vendor,
        references,
        complaints: Complaints::default(),
        sent: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        slowest: Mutex::default(),
    };
    let mut trouble = Trouble {
        field: &field,
        launch: &launch,
        nodes,
        primary,
        standby: &standby,
        lost_at: None,
        kills: 0,
        gave_up: 0,
    };
    let other_dice = |place: usize| Dice(plan.seed.wrapping_add(1 + place as u64) << 20);
    let begun = Instant::now();
    let (people, ends, events, calls, drained) = thread::scope(|scope| {
        let field = &field;
        let senders: Vec<_> = (0..plan.senders)
            .map(|sender| {
                let dice = other_dice(sender);
                scope.spawn(move || field.send_all(sender, dice))
            })
            .collect();
        let follower = other_dice(plan.senders);
        let events = scope.spawn(move || field.follow_events(follower));
        let calls = scope.spawn(|| field.follow_calls());
        trouble.make(plan.seconds, &mut dice);
        field.sent.store(true, Ordering::Relaxed);
        let people: Vec<Person> = senders
            .into_iter()
            .flat_map(|sender| sender.join().expect("a sender"))
            .collect();
        let sent_at = Instant::now();
        trouble.end();
        let ends = field.ends(&people, &mut dice);
        let drained = sent_at.elapsed();
        field.ended.store(true, Ordering::Relaxed);
        let (events, calls) = (events.join(), calls.join());
        (
            people,
            ends,
            events.expect("who follows events"),
            calls.expect("who follows calls"),
            drained,
        )
    });
    let took = begun.elapsed();

    let state = field.vendor.control("GET", "state", "");
    let cards = state["prospects"].as_array().expect("cards");
    let received = by_person(&calls, cards, &field.complaints);
    for person in &people {
        let calls = received.get(&person.email).map_or(&[][..], Vec::as_slice);
        check_person(person, calls, &ends, &field);
    }
    check_cards(&people, cards, &received, &field.complaints);
    check_events(&events, &ends, &field, other_dice(plan.senders + 1));
    let counts = field.vendor.control("GET", "counts", "");
    let at_once = counts["changes_at_once_max"].as_u64().expect("a count");
    if at_once > CONCURRENCY_MAX {
        let told = format!("the vendor was called {at_once} times at once");
        field.complaints.add(told);
    }

    let failed = calls.iter().filter(|call| !call["fault"].is_null()).count();
    let tried = calls.iter().filter(|call| call["method"] == "POST").count();
    let refused = ends.values().filter(|end| end["write_status"] == "FAILURE");
    let slowest = field.slowest.lock().map(|slowest| *slowest);
    eprintln!(
        "seed {}: {} writes about {} persons; {failed} of {tried} calls failed, {} writes were refused; {} kills, {} starts in vain; {at_once} calls at once at most, the slowest answer {:?}; {} events; ended {drained:?} after the last was sent, in {took:?}",
        plan.seed,
        ends.len(),
        people.len(),
        refused.count(),
        trouble.kills,
        trouble.gave_up,
        slowest.unwrap_or_default(),
        events.len(),
    );
    let complaints = field.complaints.all();
    if !complaints.is_empty() {
        for node in &trouble.nodes {
            let said = node.said("ERROR");
            eprintln!("{} said {} errors:", node.address, said.len());
            said.iter()
                .rev()
                .take(5)
                .for_each(|one| eprintln!("  {one}"));
        }
        let first: Vec<&str> = complaints.iter().take(40).map(String::as_str).collect();
        panic!(
            "PORTICO_CHAOS_SEED={}: {} complaints:\n{}",
            plan.seed,
            complaints.len(),
            first.join("\n")
        );
    }
}
