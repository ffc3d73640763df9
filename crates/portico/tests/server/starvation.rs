//! Goal: one caller's load never becomes another caller's wait. Method: a store with many prospects
//! and events, callers that ask for as much as they can in every expensive way there is, and
//! another caller whose times are compared with those without them.

use crate::support;

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Caller, PATIENCE, Process, text, with};
use testkit::place::Place;

/// Prospects, and as many events, that are stored; `PORTICO_TEST_PROSPECTS` says another number.
const PROSPECTS: usize = 60_000;

/// Requests of each kind that are timed.
const ROUNDS: usize = 60;

/// How long they are timed at most: where each takes seconds, a few say enough.
const TIMED_MAX: Duration = Duration::from_secs(20);

/// How many times as long as without the load a request may take with it, and how long it may take
/// in any case.
const TIMES_MAX: u32 = 20;
const SHORT: Duration = Duration::from_millis(100);

const LIST: &str = "/crm/v1/prospects";

fn prospects() -> usize {
    match std::env::var("PORTICO_TEST_PROSPECTS") {
        Ok(count) => count.parse().expect("a number of prospects"),
        Err(_) => PROSPECTS,
    }
}

/// A server whose store is full, the sandbox it writes to, and its data directory. Dropped in this
/// order.
struct Full {
    server: Process,
    _sandbox: Process,
    place: Place,
    body: Value,
    stored: usize,
}

fn dir(place: &Place) -> PathBuf {
    match place {
        Place::Disk(dir) => dir.path().to_owned(),
        Place::Database(_) => panic!("it is on disk"),
    }
}

impl Full {
    fn of(stored: usize) -> Self {
        let place = Place::Disk(tempfile::tempdir().expect("a directory"));
        let sandbox = Process::sandbox();
        let mut server = Process::dev(&dir(&place), "127.0.0.1:0", &sandbox);
        let caller = Caller::of(&server);
        let query = |sql: &str| place.query(sql).expect("SQL");
        let counted = || -> BTreeSet<String> {
            query("SELECT CAST(term AS TEXT) FROM record_counts")
                .into_iter()
                .collect()
        };
        let before = counted();
        let body = with(
            &references(&server),
            json!({ "email_1": "one@example.com" }),
        );
        caller.prospect(&body);
        // What is counted since is of prospects, and of this one.
        let own: Vec<String> = counted().difference(&before).cloned().collect();
        let own = own.join(", ");
        server.stop();
        let numbers = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {stored})"
        );
        let first: i64 = query("SELECT CAST(max(seq) AS TEXT) FROM records")[0]
            .parse()
            .expect("a place");
        query(&format!(
            "{numbers} INSERT INTO records (id, kind, lane, x_id, body, created_at, updated_at, last_seen)
             SELECT printf('pro_%026d', i), t.kind, t.lane, NULL, json_set(t.body, '$.email_1', 'p' || i || '@example.com'),
                 t.created_at + i, t.updated_at + i, t.last_seen + i
             FROM n, records t WHERE t.seq = {first} ORDER BY i"
        ));
        query(&format!(
            "INSERT INTO record_terms (term, seq)
             SELECT t.term, r.seq FROM record_terms t, records r
             WHERE t.seq = {first} AND t.term IN ({own}) AND r.seq > {first} ORDER BY t.term, r.seq"
        ));
        query(&format!(
            "UPDATE record_counts SET n = n + {stored} WHERE term IN ({own})"
        ));
        query(&format!(
            "{numbers} INSERT INTO events (id, at, lane, trigger, kind, subject, body)
             SELECT printf('evt_%026d', i), t.at, t.lane, t.trigger, t.kind, t.subject, t.body
             FROM n, events t WHERE t.seq = (SELECT max(seq) FROM events) ORDER BY i"
        ));
        let server = Process::dev(&dir(&place), "127.0.0.1:0", &sandbox);
        Self {
            server,
            _sandbox: sandbox,
            place,
            body,
            stored,
        }
    }

    fn caller(&self) -> Caller {
        Caller::of(&self.server)
    }

    /// A caller with a key of its own, and the key's id.
    fn key(&self, name: &str, permissions: &[&str]) -> (Caller, String) {
        let body = json!({ "name": name, "system": "SANDBOX", "permissions": permissions });
        let made = self.caller().send("POST", "/v1/admin/keys", &body);
        let told = made.json();
        assert_eq!(made.status, 200, "{told}");
        let caller = self.caller().with_token(&text(&told["token"]));
        (caller, text(&told["result"]["id"]))
    }

    /// The list whose pages cost most: two filters and two orders.
    fn dear(&self) -> String {
        format!(
            "{LIST}?community_id={}&integration_id={}&order-by=updated_at:desc,last_seen:asc",
            text(&self.body["community_id"]),
            text(&self.body["integration_id"]),
        )
    }
}

/// The ids that a prospect needs.
fn references(server: &Process) -> Value {
    let attribution = &server.ready["attributions"][0];
    json!({
        "integration_id": server.ready["integration_id"],
        "community_id": attribution["community_ids"][0],
        "attribution_id": attribution["id"],
    })
}

/// How long the slowest in a hundred takes.
#[derive(Debug)]
struct Times {
    read: Duration,
    accept: Duration,
    administration: Duration,
}

fn slowest(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[(all.len() * 99) / 100]
}

/// Times requests of a caller, one after the other.
fn times(full: &Full, caller: &Caller, key_id: &str, run: &str) -> Times {
    let mut all = [const { Vec::new() }; 3];
    let timed = |call: &dyn Fn() -> u16| {
        let begun = Instant::now();
        assert_eq!(call(), 200, "{run}");
        begun.elapsed()
    };
    let rotate = format!("/v1/admin/keys/{key_id}/rotate?overlap_s=0");
    let begun = Instant::now();
    for n in 0..ROUNDS {
        if n > 0 && begun.elapsed() > TIMED_MAX {
            break;
        }
        all[0].push(timed(&|| {
            let page = caller.call("GET", &format!("{LIST}?limit=10"), &[], "");
            page.expect("an answer").status
        }));
        let email = json!({ "email_1": format!("{run}{n}@example.com") });
        let body = with(&full.body, email).to_string();
        let key = format!("{run}-{n}");
        all[1].push(timed(&|| {
            let headers = [("idempotency-key", key.as_str())];
            let path = "/crm/v1/prospects/knock";
            caller
                .call("POST", path, &headers, &body)
                .expect("an answer")
                .status
        }));
        all[2].push(timed(&|| {
            caller
                .call("POST", &rotate, &[], "")
                .expect("an answer")
                .status
        }));
    }
    let [read, accept, administration] = all.map(slowest);
    Times {
        read,
        accept,
        administration,
    }
}

/// Who asks again and again until told to stop, and how often they were answered.
#[derive(Default)]
struct Load {
    is_over: AtomicBool,
    answers: AtomicUsize,
    refusals: AtomicUsize,
}

impl Load {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn note(&self, status: u16) {
        let of = if status == 200 {
            &self.answers
        } else {
            &self.refusals
        };
        of.fetch_add(1, Ordering::Relaxed);
        if status != 200 {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until so many were answered in one way or the other.
    fn is_under_way(&self, count: usize) {
        let begun = Instant::now();
        let all = || self.answers.load(Ordering::Relaxed) + self.refusals.load(Ordering::Relaxed);
        while all() < count {
            assert!(begun.elapsed() < PATIENCE, "nobody is answered");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Announces a body, sends nearly all of it and stops, again and again.
fn stall(caller: &Caller, load: &Load) {
    let head = format!(
        "POST /crm/v1/prospects/knock HTTP/1.1\r\nhost: portico\r\nauthorization: {}\r\ncontent-type: application/json\r\ncontent-length: 262000\r\n\r\n",
        caller.bearer()
    );
    while !load.is_over() {
        let Ok(mut stream) = TcpStream::connect(&caller.address) else {
            continue;
        };
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout");
        let part = [b' '; 250_000];
        if stream.write_all(head.as_bytes()).is_err() || stream.write_all(&part).is_err() {
            continue;
        }
        let mut answer = [0; 12];
        while !load.is_over() {
            match stream.read(&mut answer) {
                Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => break,
            }
        }
    }
}

/// Asserts that `with` the load no request takes much longer than `without`.
#[expect(clippy::print_stdout, reason = "who runs it with more wants to know")]
fn compare(load: &str, without: &Times, with: &Times) {
    println!("{load}: {with:?}, without: {without:?}");
    for (what, without, with) in [
        ("a page", without.read, with.read),
        ("an accept", without.accept, with.accept),
        ("a rotation", without.administration, with.administration),
    ] {
        let most = SHORT.max(without * TIMES_MAX);
        assert!(
            with <= most,
            "{what} takes {with:?} with {load}, {without:?} without"
        );
    }
}

#[test]
fn no_load_of_one_key_becomes_the_wait_of_another() {
    let full = Full::of(prospects());
    let (other, key_id) = full.key("rotated", &["prospects:read"]);
    drop(other);
    let caller = full.caller();
    times(&full, &caller, &key_id, "warm");
    let without = times(&full, &caller, &key_id, "without");

    let (reader, _) = full.key("reads", &["prospects:read"]);
    let far = format!("{}&limit=10&offset={}", full.dear(), full.stored - 10);
    let load = Load::default();
    let with = std::thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| {
                while !load.is_over() {
                    load.note(
                        reader
                            .call("GET", &far, &[], "")
                            .map_or(0, |one| one.status),
                    );
                }
            });
        }
        load.is_under_way(30);
        let with = times(&full, &caller, &key_id, "reads");
        load.is_over.store(true, Ordering::Relaxed);
        with
    });
    compare("expensive reads", &without, &with);
    assert!(
        load.refusals.load(Ordering::Relaxed) > 0,
        "the rest is refused"
    );

    let (follower, _) = full.key("follows", &["webhooks:read"]);
    let never = "/v1/admin/events?order-by=created_at:asc&trigger=JOB_FAILURE";
    let load = Load::default();
    let with = std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !load.is_over() {
                    let wait = [("prefer", "wait=2")];
                    load.note(
                        follower
                            .call("GET", never, &wait, "")
                            .map_or(0, |one| one.status),
                    );
                }
            });
        }
        load.is_under_way(8);
        let with = times(&full, &caller, &key_id, "follows");
        load.is_over.store(true, Ordering::Relaxed);
        with
    });
    compare("waits for events that never come", &without, &with);

    let (uploader, _) = full.key("uploads", &["prospects:write"]);
    let load = Load::default();
    let with = std::thread::scope(|scope| {
        for _ in 0..140 {
            scope.spawn(|| stall(&uploader, &load));
        }
        std::thread::sleep(Duration::from_secs(1));
        let with = times(&full, &caller, &key_id, "uploads");
        load.is_over.store(true, Ordering::Relaxed);
        with
    });
    compare("bodies that stop", &without, &with);
    drop(full.place);
}

#[test]
fn a_walk_by_offset_goes_on_where_the_page_before_ended() {
    let full = Full::of(8_000);
    let (caller, walker) = (full.caller(), full.key("walks", &["prospects:read"]).0);
    let ids = |page: &Value| -> Vec<String> {
        let rows = page["results"].as_array().expect("a page");
        rows.iter().map(|row| text(&row["id"])).collect()
    };
    let at = |caller: &Caller, offset: usize| {
        caller.get(&format!("{}&limit=10&offset={offset}", full.dear()))
    };
    let first = at(&walker, 6_000);
    assert_eq!(
        (&first["meta"]["offset"], &first["meta"]["total"]),
        (&json!(6_000), &json!(8_001))
    );
    assert_eq!(first["meta"]["total_is_exact"], Value::Null);
    // One more stands in front of all others.
    caller.prospect(&with(&full.body, json!({ "email_1": "new@example.com" })));
    let by_cursor = walker.get(&format!(
        "{}&limit=10&cursor={}",
        full.dear(),
        text(&first["meta"]["nextCursor"])
    ));
    let next = at(&walker, 6_010);
    assert_eq!(ids(&next), ids(&by_cursor), "none is repeated");
    assert_eq!(next["meta"]["total"], 8_002);
    // Who has not walked there, and who walks another list, is told what stands there now.
    let jumped = at(&caller, 6_010);
    assert_eq!(ids(&jumped)[0], ids(&first)[9]);
    assert_eq!(ids(&jumped)[1..], ids(&next)[..9]);
    let other = walker.get(&format!(
        "{LIST}?order-by=updated_at:desc&limit=10&offset=6010"
    ));
    assert_eq!(ids(&other), ids(&jumped));
    // Near the beginning, every page is what stands there now.
    let near = |offset: usize| ids(&at(&walker, offset));
    let before = near(10);
    caller.prospect(&with(&full.body, json!({ "email_1": "newer@example.com" })));
    assert_eq!(near(20)[0], before[9]);
}
