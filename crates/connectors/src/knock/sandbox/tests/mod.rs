//! Tests of the sandbox over real HTTP on loopback, and the helpers they share.

mod activities;
mod appointments;
mod cards;
mod control;
mod faults;
mod journal;
mod listings;
mod server;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::{Clock, Timestamp};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::{Options, Sandbox};

const KEY: &str = "syndication-prospect-TEST-KEY";
const HOME: &str = "b9XQN6eMvvrr07zg";
const OTHER: &str = "k3TzWq81LmPdYc5s";

/// Far longer than any answer takes; only a bug runs into it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A clock that a test moves. Starts at 2026-11-24T09:00:00Z.
struct HandClock(AtomicI64);

impl HandClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_795_510_800_000_000)))
    }

    fn set(&self, text: &str) {
        let now = Timestamp::parse(text).unwrap();
        self.0.store(now.as_micros(), Ordering::Relaxed);
    }

    fn advance(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// A sandbox that listens.
struct Running {
    sandbox: Sandbox,
    clock: Arc<HandClock>,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    #[track_caller]
    fn id(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()["id"].as_str().unwrap().to_owned()
    }
}

async fn start() -> Running {
    start_with(|_| {}).await
}

async fn start_journaled(path: PathBuf, clock: Arc<HandClock>) -> Running {
    let mut options = Options::new(clock.clone());
    options.journal = Some(path);
    run(options, clock).await
}

async fn start_with(change: impl FnOnce(&mut Options)) -> Running {
    let clock = HandClock::new();
    let mut options = Options::new(clock.clone());
    change(&mut options);
    run(options, clock).await
}

async fn run(options: Options, clock: Arc<HandClock>) -> Running {
    let sandbox = Sandbox::new(options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(sandbox.clone().serve(listener, async {
        let _ = stopped.await;
    }));
    Running {
        sandbox,
        clock,
        address,
        stop,
        served,
    }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }

    /// Sends one request on its own connection. `Err` when the connection ends without an answer.
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, ErrorKind> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        let is_typed = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case("content-type");
        if !body.is_empty() && !headers.iter().any(is_typed) {
            request += "content-type: application/json\r\n";
        }
        request += &format!("content-length: {}\r\n\r\n{body}", body.len());
        let stream = TcpStream::connect(self.address).await.unwrap();
        // The server may refuse the body and answer while it is still being sent.
        let _ = write_all(&stream, request.as_bytes()).await;
        let mut bytes = Vec::new();
        let read = read_to_end(&stream, &mut bytes);
        let read = tokio::time::timeout(PATIENCE, read).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        match text.split_once("\r\n\r\n") {
            Some((head, body)) => Ok(Answer {
                status: head[9..12].parse().unwrap(),
                head: head.to_lowercase(),
                body: body.to_owned(),
            }),
            None => Err(read.err().map_or(ErrorKind::UnexpectedEof, |e| e.kind())),
        }
    }

    async fn vendor(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers = [("x-api-key", KEY)];
        self.send(method, path, &headers, body).await.unwrap()
    }

    /// `POST /prospect` with a valid key.
    async fn post(&self, body: &Value) -> Answer {
        self.vendor("POST", "/prospect", &body.to_string()).await
    }

    /// `POST /prospect` where no answer may come.
    async fn try_post(&self, body: &Value) -> Result<Answer, ErrorKind> {
        let headers = [("x-api-key", KEY)];
        let body = body.to_string();
        self.send("POST", "/prospect", &headers, &body).await
    }

    /// The card as `GET /prospect/{id}` shows it.
    async fn card(&self, id: &str) -> Value {
        let answer = self.vendor("GET", &format!("/prospect/{id}"), "").await;
        assert_eq!(answer.status, 200);
        answer.json()
    }

    async fn post_to(&self, path: &str, body: &Value) -> Answer {
        self.vendor("POST", path, &body.to_string()).await
    }

    /// Requests a tour and returns its id.
    #[track_caller]
    fn book(&self, body: &Value) -> impl Future<Output = String> {
        let at = std::panic::Location::caller();
        async move {
            let answer = self.post_to("/appointment/request", body).await;
            assert_eq!(answer.status, 200, "{at}: {}", answer.body);
            let id = answer.json()["appointment"]["id"].clone();
            let confirmed = json!({ "appointment": { "id": id, "status": "CONFIRMED" } });
            assert_eq!(answer.json(), confirmed);
            id.as_str().unwrap().to_owned()
        }
    }

    async fn cancel(&self, id: &str) -> Answer {
        let path = format!("/appointment/{id}/cancel");
        self.vendor("PUT", &path, "").await
    }

    /// One list of the state.
    async fn held(&self, list: &str) -> Vec<Value> {
        let state = self.control_get("/state").await;
        state[list].as_array().unwrap().clone()
    }

    /// A call that is refused with 400, in words with `naming` in them.
    async fn check_refused(&self, path: &str, body: &Value, naming: &str) {
        let answer = self.post_to(path, body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        let reason = answer.json()["errorMessage"].as_str().unwrap().to_owned();
        assert!(reason.contains(naming), "{reason} lacks {naming}");
    }

    /// A call of the control surface.
    async fn control(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let path = format!("/_sandbox{path}");
        self.send(method, &path, &[], &body).await.unwrap()
    }

    async fn control_get(&self, path: &str) -> Value {
        let answer = self.control("GET", path, &Value::Null).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    async fn arrange(&self, fault: Value) -> u64 {
        let answer = self.control("POST", "/faults", &fault).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["id"].as_u64().unwrap()
    }
}

/// Sends all of `bytes`. Written out, as the workspace's tokio comes without the helpers for it.
async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Adds what arrives next to `bytes`, and says how much it was; 0 at the end.
async fn read_some(stream: &TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut part = [0; 4096];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut part) {
            Ok(read) => {
                bytes.extend_from_slice(&part[..read]);
                return Ok(read);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn read_to_end(stream: &TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    while read_some(stream, bytes).await? > 0 {}
    Ok(())
}

/// The least that is accepted, with `more` on top.
fn lead(more: Value) -> Value {
    let mut body = json!({ "communityId": HOME, "sourceTitle": "Zillow.com" });
    let Value::Object(more) = more else {
        panic!("{more} is no object");
    };
    body.as_object_mut().unwrap().extend(more);
    body
}

/// The request of a tour for Ann at that time.
fn tour(start: &str) -> Value {
    json!({
        "communityId": HOME, "sourceTitle": "Zillow.com",
        "requestedTimes": [{ "startTime": start }],
        "profile": { "email": "ann@example.com" },
    })
}

fn ann() -> Value {
    lead(json!({ "email": "ann@example.com", "phone": "2065550155" }))
}
