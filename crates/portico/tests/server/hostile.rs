//! What callers may do to the server, done to the real binary over loopback.
//!
//! Goal: while it is under attack an honest caller from the same address, with a request on a new connection each time, always hears 200; afterwards no connection and no memory is
//! held that the named bounds do not allow. Method: an honest caller sends prospects without a pause through all attacks; what the server holds is read from the system.
#![cfg(target_os = "linux")]
#![expect(
    clippy::print_stderr,
    reason = "a test fails by panicking, and this one says what it measured"
)]

use crate::support;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use listener::{
    LINGER_MAX_BYTES,
    serve::{CONNECTIONS_MAX, HEAD_MAX_BYTES},
};
use portico_http::{
    door::{body::BODY_MAX_BYTES, json::BYTES_A_VALUE},
    limits::bodies::BODIES_MAX_KIB,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use support::{Caller, PATIENCE, Stage, leads};

/// Connections of an attacker that does nothing, where the system allows as many.
const IDLE: usize = 10_000;

/// Connections on top of these, which are more than one address may have.
const TOO_MANY: usize = 3_000;

/// Connections of attackers that send or read slowly, of each kind.
const SLOW: usize = 300;

/// Connections that ask and never read. The system keeps megabytes of answers for each.
const DEAF: usize = 10;

/// Requests that each of those sends at once: more of answers than the system keeps for it.
const DEAF_REQUESTS: usize = 100;

/// Open files that this process needs besides those of the attackers.
const FILES_BESIDES: usize = 500;

/// Open files that the server keeps for others than callers.
const SERVER_FILES_BESIDES: usize = 1_024;

/// Prospects that the honest caller gets through during each attack at least.
const HONEST: usize = 20;

/// Between two of its requests: the attacks need the processor too.
const HONEST_PAUSE: Duration = Duration::from_millis(25);

/// The longest that an honest request may take, on a machine that is as busy as in these tests.
const HONEST_WITHIN: Duration = Duration::from_secs(10);

const GIGABYTE: usize = 1 << 30;
const MEBIBYTE: usize = 1 << 20;

/// Bytes that the system may keep for a connection, at both ends.
const KEPT_BYTES: usize = 32 * MEBIBYTE;

/// What the program needs without callers: its code, the store's caches, the worker.
const AT_REST_BYTES: usize = 160 * MEBIBYTE;

/// What a connection takes beside its head: its task, its timers, its part of the tables.
const CONNECTION_BYTES: usize = 8 * 1_024;

/// What a value of a parsed body takes at most, and how many bodies are looked at at once.
const VALUE_BYTES: usize = 128;
const PARSED_AT_ONCE: usize = 16;

/// The most memory that the server may ever have held. A head and the room for bodies count twice, since what a text is read into grows by doubling.
fn memory_max() -> usize {
    AT_REST_BYTES
        + CONNECTIONS_MAX * (2 * HEAD_MAX_BYTES + CONNECTION_BYTES)
        + 2 * BODIES_MAX_KIB * 1_024
        + PARSED_AT_ONCE * (BODY_MAX_BYTES / BYTES_A_VALUE) * VALUE_BYTES
}

/// A figure of the server's, in bytes, from the system.
fn memory(pid: &Value, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<usize>().ok()).expect("KiB") * 1_024
}

/// What the server has open.
fn files(pid: &Value) -> usize {
    let listed = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its files");
    listed.count()
}

/// Lets this process open as many files as it may, and says how many that is.
fn files_max() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, wanted).expect("raised");
    maximum.map_or(usize::MAX, |files| usize::try_from(files).expect("a count"))
}

/// An honest caller, as its thread leaves word.
#[derive(Default)]
struct Honest {
    answered: AtomicUsize,
    is_over: AtomicBool,
    trouble: Mutex<Vec<String>>,
    slowest: Mutex<Duration>,
    last: Mutex<String>,
}

impl Honest {
    /// Sends one prospect after the other until it is over.
    fn send_all(&self, caller: &Caller, leads: &[Value]) {
        for lead in leads.iter().cycle() {
            if self.is_over.load(Relaxed) {
                return;
            }
            let begun = Instant::now();
            let answer = caller.call("POST", "/crm/v1/prospects/knock", &[], &lead.to_string());
            let took = begun.elapsed();
            match answer {
                Some(answer) if answer.status == 200 && took < HONEST_WITHIN => {
                    *self.last.lock().expect("no panic") = answer.job_id();
                }
                Some(answer) => {
                    self.complain(format!("{} after {took:?}: {}", answer.status, answer.body));
                }
                None => self.complain(format!("no answer after {took:?}")),
            }
            let mut slowest = self.slowest.lock().expect("no panic");
            *slowest = took.max(*slowest);
            drop(slowest);
            self.answered.fetch_add(1, Relaxed);
            sleep(HONEST_PAUSE);
        }
    }

    fn complain(&self, trouble: String) {
        self.trouble.lock().expect("no panic").push(trouble);
    }

    /// Waits until so many requests were begun and answered after this moment.
    fn await_answers(&self, count: usize) {
        let (begun, until) = (Instant::now(), self.answered.load(Relaxed) + count + 1);
        while self.answered.load(Relaxed) < until {
            assert!(
                begun.elapsed() < PATIENCE,
                "the honest caller is not answered"
            );
            sleep(Duration::from_millis(5));
        }
    }

    /// What the honest caller has to say of an attack that ends here.
    fn check(&self, attack: &str, begun: Instant) {
        let trouble = std::mem::take(&mut *self.trouble.lock().expect("no panic"));
        assert!(trouble.is_empty(), "during {attack}: {trouble:?}");
        let slowest = std::mem::take(&mut *self.slowest.lock().expect("no panic"));
        eprintln!(
            "{attack}: {:?}, the slowest honest answer took {slowest:?}",
            begun.elapsed()
        );
    }
}

/// The server under attack, and all that the attackers need.
struct Siege<'a> {
    stage: &'a Stage,
    caller: Caller,
    honest: &'a Honest,
    /// What the server has open when nobody attacks.
    files_at_rest: usize,
}

impl Siege<'_> {
    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.caller.address).expect("a connection")
    }

    fn connect_many(&self, count: usize, opening: &[u8]) -> Vec<TcpStream> {
        let open = |_| {
            let mut stream = self.connect();
            stream.write_all(opening).expect("sent");
            stream
        };
        (0..count).map(open).collect()
    }

    fn pid(&self) -> &Value {
        &self.stage.server.ready["pid"]
    }

    /// Waits until the server has let go of all that attackers held, though they hold on.
    fn await_rest(&self) {
        let begun = Instant::now();
        // The honest caller has one connection at most.
        while files(self.pid()) > self.files_at_rest + 1 {
            assert!(
                begun.elapsed() < PATIENCE,
                "{} files are open, {} were",
                files(self.pid()),
                self.files_at_rest
            );
            sleep(Duration::from_millis(100));
        }
    }

    /// A head of a write with these lines in it.
    fn head(&self, lines: &str) -> String {
        format!(
            "POST /crm/v1/prospects/knock HTTP/1.1\r\nhost: portico\r\nauthorization: {}\r\ncontent-type: application/json\r\n{lines}\r\n",
            self.caller.bearer()
        )
    }

    /// What comes back when all of `bytes` is sent, or as much as is taken of it, until the server makes an end.
    fn hear(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        // Who hears too early that it is too much may find the door closed.
        let _ = stream.write_all(bytes);
        let mut heard = Vec::new();
        match stream.read_to_end(&mut heard) {
            Ok(_) => {}
            Err(why) if why.kind() == ErrorKind::ConnectionReset => {}
            Err(why) => panic!("{why}: neither an answer nor an end"),
        }
        String::from_utf8(heard).expect("text")
    }

    /// Heads, bodies and readers that make no end: each is let go of, in the end. They have half a
    /// minute, so other attacks are made meanwhile.
    fn slow(&self, others: impl FnOnce()) {
        let begun = Instant::now();
        let mut streams = self.connect_many(SLOW, b"GET /healthz HTTP/1.1\r\nx: ");
        let announced = format!("content-length: {}\r\n", BODY_MAX_BYTES - 1);
        streams.extend(self.connect_many(SLOW, self.head(&announced).as_bytes()));
        let chunked = format!("{}20000\r\n\"", self.head("transfer-encoding: chunked\r\n"));
        streams.extend(self.connect_many(SLOW, chunked.as_bytes()));
        let asking = "GET /openapi.json HTTP/1.1\r\nhost: portico\r\n\r\n".repeat(DEAF_REQUESTS);
        let deaf = self.connect_many(DEAF, asking.as_bytes());
        for stream in &streams {
            stream.set_nonblocking(true).expect("set");
        }
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let over = Over(&is_over);
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    for mut stream in &streams {
                        let _ = stream.write(b"a");
                    }
                    sleep(Duration::from_millis(300));
                }
            });
            self.honest.await_answers(HONEST);
            others();
            self.await_rest();
            drop(over);
        });
        drop(deaf);
        self.honest.check("slow heads, bodies and readers", begun);
    }

    /// Connections that do nothing, then send the longest head that is not refused, all but its end; and then more than there may be.
    fn idle(&self, files_max: usize) {
        let begun = Instant::now();
        let allowed = files_max.saturating_sub(FILES_BESIDES);
        // The server lets one address have five sixths of its places.
        let places = files_max
            .saturating_sub(SERVER_FILES_BESIDES)
            .min(CONNECTIONS_MAX);
        let count = IDLE.min(allowed).min(places / 6 * 5);
        let more = TOO_MANY.min(allowed - count);
        if count < IDLE || more < TOO_MANY {
            eprintln!(
                "the limit of open files allows {count} idle connections and {more} more, instead of {IDLE} and {TOO_MANY}"
            );
        }
        let mut streams = self.connect_many(count, b"");
        let opened = Instant::now();
        let mut most = 0;
        // They are all there at once, unless this machine is so slow that the first are let go of before the last have come.
        while most < count && opened.elapsed() < Duration::from_secs(5) {
            most = files(self.pid()).max(most);
        }
        eprintln!("{count} idle connections, {most} files open at the server");
        assert!(most * 10 >= count * 9, "{most} of {count}");
        self.honest.await_answers(HONEST);

        let line = "x".repeat(HEAD_MAX_BYTES - 100);
        for stream in &mut streams {
            let _ = write!(stream, "GET /healthz HTTP/1.1\r\nx: {line}");
        }
        self.honest.await_answers(HONEST);

        streams.extend(self.connect_many(more, b""));
        self.honest.await_answers(HONEST);
        let most = files(self.pid());
        assert!(most <= CONNECTIONS_MAX + self.files_at_rest + 1, "{most}");
        // The first that came had to go, and is gone.
        let mut first = &streams[0];
        first.set_read_timeout(Some(PATIENCE)).expect("set");
        match first.read(&mut [0; 1_024]) {
            Ok(0) => {}
            Err(why) if why.kind() == ErrorKind::ConnectionReset => {}
            // Before, if it had time, it heard that it is late.
            heard => assert!(heard.is_ok(), "{heard:?}"),
        }
        drop(streams);
        self.await_rest();
        self.honest
            .check("idle connections and endless heads", begun);
    }

    /// A gigabyte, announced or not, where a body is read and where none is.
    fn huge(&self) {
        let begun = Instant::now();
        let announced = self.head(&format!("content-length: {GIGABYTE}\r\n"));
        let chunked = self.head("transfer-encoding: chunked\r\n");
        let aside = format!(
            "POST /healthz HTTP/1.1\r\nhost: portico\r\ncontent-length: {GIGABYTE}\r\n\r\n"
        );
        std::thread::scope(|scope| {
            for opening in [&announced, &chunked, &aside].repeat(3) {
                scope.spawn(|| {
                    let mut stream = self.connect();
                    stream.set_write_timeout(Some(PATIENCE)).expect("set");
                    stream.write_all(opening.as_bytes()).expect("sent");
                    let mut part = Vec::new();
                    if opening.contains("chunked") {
                        part.extend(format!("{MEBIBYTE:x}\r\n").bytes());
                    }
                    part.resize(part.len() + MEBIBYTE, b' ');
                    if opening.contains("chunked") {
                        part.extend(b"\r\n");
                    }
                    let mut taken = 0;
                    while taken < GIGABYTE {
                        match stream.write(&part[taken % part.len()..]) {
                            Ok(bytes) => taken += bytes,
                            Err(why) => {
                                let kind = why.kind();
                                let is_end = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                                assert!(is_end.contains(&kind), "{why} after {taken} bytes");
                                break;
                            }
                        }
                    }
                    let most = LINGER_MAX_BYTES + KEPT_BYTES;
                    assert!(taken < most, "{taken} bytes were taken");
                });
            }
            self.honest.await_answers(HONEST);
        });
        // Who waits for the answer before it sends hears why.
        let mut stream = self.connect();
        stream.write_all(announced.as_bytes()).expect("sent");
        let mut heard = [0; 12];
        stream.read_exact(&mut heard).expect("an answer");
        assert_eq!(&heard, b"HTTP/1.1 413");
        drop(stream);
        self.await_rest();
        self.honest.check("gigabytes", begun);
    }

    /// Bodies that are not what they should be: refused, each for what it is.
    fn rubbish_bodies(&self) {
        let begun = Instant::now();
        let mut lead = self.stage.references("Saguaro Flats");
        lead["email_1"] = json!("ada@example.com");
        let with = |member: &str| {
            let text = lead.to_string();
            format!("{{{member},{}", &text[1..]).into_bytes()
        };
        let cases: Vec<(Vec<u8>, u16, &str)> = vec![
            (vec![b'['; 100_000], 400, "it is nested too deep"),
            (
                r#"{"a":"#.repeat(40_000).into_bytes(),
                400,
                "it is nested too deep",
            ),
            (
                with(&format!("\"pets\":[{}1]", "1,".repeat(1_000_000))),
                413,
                "larger than 262144 bytes",
            ),
            (
                with(&format!("\"pets\":[{}1]", "1,".repeat(100_000))),
                400,
                "it has more than 16384 values",
            ),
            (
                with(&format!("\"pets\":[{}1]", "1,".repeat(10_000))),
                400,
                "at most 100 element(s)",
            ),
            (
                [&with("\"notes\":\"")[..10], b"\xff\xfe\"}"].concat(),
                400,
                "it is not UTF-8 text",
            ),
            (
                with("\"notes\":\"a\",\"notes\":\"b\""),
                400,
                "The member 'notes' is there more than once",
            ),
            (
                with("\"number_of_occupants\":1e999"),
                400,
                "a number that no double can hold",
            ),
            (
                with("\"number_of_occupants\":99999999999999999999999"),
                400,
                "number_of_occupants",
            ),
            (
                with("\"number_of_occupants\":-1"),
                400,
                "number_of_occupants",
            ),
            (
                with("\"rent_minimum_in_cents\":1e300"),
                400,
                "rent_minimum_in_cents",
            ),
            (b"\0".repeat(1_000), 400, "it is not JSON"),
        ];
        support::in_parallel(&vec![cases; 4].concat(), 4, |_, (body, status, reason)| {
            let head = self.head(&format!(
                "content-length: {}\r\nconnection: close\r\n",
                body.len()
            ));
            let heard = self.hear(&[head.as_bytes(), body].concat());
            // One that is far too large may hear nothing any more.
            let is_cut = *status == 413 && heard.is_empty();
            let is_told =
                heard.starts_with(&format!("HTTP/1.1 {status} ")) && heard.contains(reason);
            assert!(is_told || is_cut, "{reason:?} is not in {heard:?}");
        });
        self.honest.await_answers(HONEST);
        self.honest.check("rubbish in bodies", begun);
    }

    /// What is no HTTP, or means to be two things at once: ended, or refused.
    fn rubbish_requests(&self) {
        let begun = Instant::now();
        let get = "GET /healthz HTTP/1.1\r\nhost: portico\r\n";
        let many: String = (0..5_000)
            .map(|number| format!("x-{number}: y\r\n"))
            .collect();
        let write = self.head("content-length: 2\r\ntransfer-encoding: chunked\r\n");
        let cases: Vec<Vec<u8>> = vec![
            format!("{get}{many}\r\n").into(),
            format!("{get}x: {}\r\n\r\n", "y".repeat(MEBIBYTE)).into(),
            format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(MEBIBYTE)).into(),
            format!("{get}x\0y: z\r\n\r\n").into(),
            format!("{get}content-length: -1\r\n\r\n").into(),
            format!("{get}content-length: 1\r\ncontent-length: 2\r\n\r\n").into(),
            format!("{get}content-length: 99999999999999999999999\r\n\r\n").into(),
            format!("{get}transfer-encoding: gzip\r\n\r\n").into(),
            format!("{write}FFFFFFFFFFFFFFFFFFFF\r\n{{}}").into(),
            format!("{write}zz\r\n{{}}\r\n").into(),
            "GET / HTTP/9.9\r\n\r\n".into(),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            // The beginning of TLS.
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(100),
            b"\0".repeat(50_000),
            b"\xff".repeat(50_000),
        ];
        support::in_parallel(&vec![cases; 4].concat(), 4, |_, request| {
            let heard = self.hear(request);
            assert!(
                heard.is_empty() || heard.starts_with("HTTP/1.1 4"),
                "{heard} to {:?}",
                String::from_utf8_lossy(&request[..request.len().min(200)])
            );
        });
        // Rubbish behind honest requests on one connection: those are answered, it is not.
        let pipelined = format!("{get}\r\n").repeat(100) + "rubbish\r\n\r\n";
        let heard = self.hear(pipelined.as_bytes());
        let answers = ["HTTP/1.1 200", "HTTP/1.1 400"].map(|kind| heard.matches(kind).count());
        assert_eq!(answers, [100, 1], "{heard}");
        self.honest.await_answers(HONEST);
        self.honest.check("rubbish instead of requests", begun);
    }
}

#[test]
fn an_honest_caller_is_served_whatever_others_do() {
    let files_max = files_max();
    let (stage, honest) = (Stage::set(), Honest::default());
    let caller = stage.caller();
    let leads = leads(&stage.server, 2_000);
    let pid = &stage.server.ready["pid"];
    std::thread::scope(|scope| {
        scope.spawn(|| honest.send_all(&caller, &leads));
        // Whatever comes of it, the honest caller is told to stop.
        let over = Over(&honest.is_over);
        honest.await_answers(HONEST);
        // Files that the worker and the store keep open come and go; some are allowed for.
        let files_at_rest = files(pid) + 64;
        honest.check("peace", Instant::now());
        let siege = Siege {
            stage: &stage,
            caller: caller.clone(),
            honest: &honest,
            files_at_rest,
        };
        siege.slow(|| {
            siege.rubbish_bodies();
            siege.rubbish_requests();
            siege.huge();
        });
        siege.idle(files_max);
        drop(over);
    });

    let held = memory(pid, "VmHWM");
    eprintln!(
        "{} prospects were taken; {} MiB of memory were held at most, now {} MiB; the bounds allow {} MiB",
        honest.answered.load(Relaxed),
        held / MEBIBYTE,
        memory(pid, "VmRSS") / MEBIBYTE,
        memory_max() / MEBIBYTE
    );
    assert!(held <= memory_max(), "{held} bytes");
    // What was accepted then is delivered, and the server is well.
    let last = honest.last.lock().expect("no panic").clone();
    assert_eq!(caller.end_of(&last)["write_status"], "SUCCESS");
    assert_eq!(caller.get("/readyz"), json!({ "status": "ok" }));
}

/// Tells a thread to stop, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
