//! Receivers of events, in this process: one that works, and some that do not.
//!
//! Guarantee: each takes note of every delivery before it does anything else with it; one that
//! fails an event fails it the first time only, so that how long all of it takes does not hang on
//! the waits between later tries.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    fmt,
    hash::{DefaultHasher, Hasher},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Request, Response, StatusCode, body::Incoming, header::RETRY_AFTER,
    server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use model::{Clock, EventId, Secret};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use webhooks::signing::{
    ID_HEADER, Key, PROPEXO_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, propexo_signature,
    signature,
};

use crate::{people::mix, system::SystemClock};

/// Bytes of a delivery that are read: a prospect has some hundreds.
const BODY_MAX_BYTES: usize = 1_024 * 1_024;

/// How far a delivery's time may be from now, in seconds: what the libraries of Standard Webhooks
/// allow.
const AGE_MAX_S: u64 = 300;

/// How long the slow one takes at most, in milliseconds: 20 on average, thirty times what the
/// others take.
const SLOW_MAX_MS: u64 = 40;

/// The one that fails at random fails one new event of so many.
const FAILS_ONE_OF: u64 = 8;

/// The one that hangs does so with one new event of so many: each keeps one of its 32 places for 15
/// s.
const HANGS_ONE_OF: u64 = 1_000;

/// The one that breaks off does so with two new events of so many: one before it reads the body,
/// one after.
const BREAKS_TWO_OF: u64 = 20;

/// The busy one says so with one new event of so many, and asks to be left alone for so many
/// seconds.
const BUSY_ONE_OF: u64 = 500;
const BUSY_S: u64 = 1;

/// How long to wait before taking connections again when the system gave none.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a receiver is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Takes everything at once.
    Well,
    /// Takes everything, after a while.
    Slow,
    /// Answers 500 at random.
    Failing,
    /// Says nothing now and then, for as long as it is waited for.
    Hanging,
    /// Closes the connection without an answer now and then, with the body read or not.
    Breaking,
    /// Answers 429 or 503 now and then, with a `Retry-After`.
    Busy,
}

impl Manner {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::Well,
        Self::Slow,
        Self::Failing,
        Self::Hanging,
        Self::Breaking,
        Self::Busy,
    ];

    /// In a word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Slow => "slow",
            Self::Failing => "failing",
            Self::Hanging => "hanging",
            Self::Breaking => "breaking off",
            Self::Busy => "busy",
        }
    }

    /// What it does with the event that is its `number`th new one.
    fn deed(self, number: u64) -> Deed {
        // Each also happens in a short run, so not in the first place: with the first of so many
        // the others were yet to come.
        let is_one_of = |count: u64, place: u64| number % count == place % count;
        match self {
            Self::Failing if mix(number).is_multiple_of(FAILS_ONE_OF) => {
                Deed::Say(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Self::Hanging if is_one_of(HANGS_ONE_OF, 100) => Deed::Hang,
            Self::Breaking if is_one_of(BREAKS_TWO_OF, 5) => Deed::BreakUnread,
            Self::Breaking if is_one_of(BREAKS_TWO_OF, 15) => Deed::BreakRead,
            Self::Busy if is_one_of(2 * BUSY_ONE_OF, 100) => {
                Deed::Say(StatusCode::TOO_MANY_REQUESTS)
            }
            Self::Busy if is_one_of(2 * BUSY_ONE_OF, 100 + BUSY_ONE_OF) => {
                Deed::Say(StatusCode::SERVICE_UNAVAILABLE)
            }
            _ => Deed::Take,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Take,
    Say(StatusCode),
    Hang,
    BreakUnread,
    BreakRead,
}

/// What a receiver knows of one event.
#[derive(Default)]
struct Seen {
    /// A hash of its body, once that was read.
    body: Option<u64>,
    tries: u32,
    is_taken: bool,
}

/// What a receiver has counted.
#[derive(Clone, Default)]
pub(super) struct Counts {
    /// Deliveries that came, of any event.
    pub(super) attempts: u64,
    /// Events that it took.
    pub(super) taken: u64,
    /// Deliveries of events that it had taken before.
    pub(super) duplicates: u64,
    /// Deliveries that it failed on purpose.
    pub(super) failed: u64,
}

#[derive(Default)]
struct Noted {
    events: HashMap<EventId, Seen>,
    counts: Counts,
    trouble: Option<String>,
}

/// A delivery that was read: its body, and when that was.
pub(super) struct Heard {
    pub(super) body: Bytes,
    pub(super) at: Instant,
}

struct Shared {
    manner: Manner,
    secret: OnceLock<Secret>,
    noted: Mutex<Noted>,
    /// Who is told of each event that is new.
    heard: Option<mpsc::UnboundedSender<Heard>>,
}

/// A receiver on a port of its own. It ends when it is dropped.
pub(super) struct Receiver {
    /// Where it is.
    pub(super) url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Starts it. Whoever holds the other end of `heard` is told of each event that is new.
    ///
    /// # Errors
    /// When there is no port.
    pub(super) async fn start(
        manner: Manner,
        heard: Option<mpsc::UnboundedSender<Heard>>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("a receiver cannot listen")?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let shared = Arc::new(Shared {
            manner,
            secret: OnceLock::new(),
            noted: Mutex::default(),
            heard,
        });
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Ok(Self {
            url,
            shared,
            serving,
        })
    }

    /// What it is like.
    pub(super) fn manner(&self) -> Manner {
        self.shared.manner
    }

    /// Gives it the secret that deliveries to it are signed with.
    pub(super) fn trust(&self, secret: Secret) {
        let _ = self.shared.secret.set(secret);
    }

    /// What it has counted so far.
    pub(super) fn counts(&self) -> Counts {
        self.shared.noted().counts.clone()
    }

    /// What was first wrong with a delivery, in words.
    pub(super) fn trouble(&self) -> Option<String> {
        self.shared.noted().trouble.clone()
    }

    /// How many of these events, each with the hash of its body, it has not taken as they are.
    pub(super) fn missing(&self, events: &HashMap<EventId, u64>) -> u64 {
        let noted = self.shared.noted();
        let lacks = |(id, body): &(&EventId, &u64)| {
            let seen = noted.events.get(*id);
            !seen.is_some_and(|seen| seen.is_taken && seen.body == Some(**body))
        };
        events.iter().filter(lacks).count() as u64
    }

    /// How many events came that are none of these.
    pub(super) fn unknown(&self, events: &HashMap<EventId, u64>) -> u64 {
        let noted = self.shared.noted();
        let ids: HashSet<&EventId> = noted.events.keys().collect();
        ids.iter().filter(|id| !events.contains_key(id)).count() as u64
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A hash of a body, by which two are told apart.
pub(super) fn fingerprint(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    hasher.finish()
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Ended with this task.
    let mut open = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.spawn(converse(stream, shared.clone()));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        while open.try_join_next().is_some() {}
    }
}

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| take(shared.clone(), request));
    // It ends with an error when the receiver breaks off, or the server is killed: that is what is
    // tried.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// That the connection is closed without an answer.
#[derive(Debug)]
struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken off")
    }
}

impl std::error::Error for BrokenOff {}

async fn take(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, BrokenOff> {
    let Ok(id) = header(request.headers(), ID_HEADER).parse::<EventId>() else {
        shared.trouble(|| format!("a delivery without an event's id in {ID_HEADER}"));
        return Ok(said(StatusCode::BAD_REQUEST));
    };
    let deed = shared.came(id);
    if deed == Deed::BreakUnread {
        return Err(BrokenOff);
    }
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, BODY_MAX_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Err(BrokenOff),
    };
    let at = Instant::now();
    shared.check(&head.headers, id, &body);
    match deed {
        Deed::BreakUnread | Deed::BreakRead => Err(BrokenOff),
        Deed::Hang => match std::future::pending::<Infallible>().await {},
        Deed::Say(status) => {
            let mut answer = said(status);
            if status != StatusCode::INTERNAL_SERVER_ERROR {
                answer.headers_mut().insert(RETRY_AFTER, BUSY_S.into());
            }
            Ok(answer)
        }
        Deed::Take => {
            if shared.manner == Manner::Slow {
                let chance = mix(fingerprint(&body));
                tokio::time::sleep(Duration::from_millis(chance % (SLOW_MAX_MS + 1))).await;
            }
            shared.took(id, body, at);
            Ok(said(StatusCode::NO_CONTENT))
        }
    }
}

fn said(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or("")
}

impl Shared {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self, what: impl FnOnce() -> String) {
        self.noted().trouble.get_or_insert_with(what);
    }

    /// A delivery of this event is there: what is to be done with it.
    fn came(&self, id: EventId) -> Deed {
        let mut noted = self.noted();
        noted.counts.attempts += 1;
        let number = noted.events.len() as u64;
        let seen = noted.events.entry(id).or_default();
        seen.tries += 1;
        let (is_first, is_taken) = (seen.tries == 1, seen.is_taken);
        noted.counts.duplicates += u64::from(is_taken);
        let deed = if is_first {
            self.manner.deed(number)
        } else {
            Deed::Take
        };
        noted.counts.failed += u64::from(deed != Deed::Take);
        deed
    }

    /// Takes note of the body, and of what is wrong with the delivery.
    fn check(&self, headers: &HeaderMap, id: EventId, body: &[u8]) {
        let came = fingerprint(body);
        let before = self
            .noted()
            .events
            .get_mut(&id)
            .and_then(|seen| seen.body.replace(came));
        if before.is_some_and(|before| before != came) {
            self.trouble(|| format!("{id} came with two different bodies"));
        }
        if let Err(why) = self.verify(headers, id, body) {
            self.trouble(|| format!("{id} {why}"));
        }
    }

    fn verify(&self, headers: &HeaderMap, id: EventId, body: &[u8]) -> Result<(), &'static str> {
        let secret = self
            .secret
            .get()
            .ok_or("came before anybody had subscribed")?;
        let now_s = SystemClock.now().as_micros().div_euclid(1_000_000);
        let sent_s: i64 = header(headers, TIMESTAMP_HEADER)
            .parse()
            .map_err(|_| "came without its time")?;
        if now_s.abs_diff(sent_s) > AGE_MAX_S {
            return Err("came with a time that is not now");
        }
        let signed = signature(&[Key::new(secret)], &id.to_string(), sent_s, body);
        if header(headers, SIGNATURE_HEADER) != signed {
            return Err("came with another signature");
        }
        if header(headers, PROPEXO_HEADER) != propexo_signature(secret, body) {
            return Err("came with another signature for existing receivers");
        }
        Ok(())
    }

    fn took(&self, id: EventId, body: Bytes, at: Instant) {
        let mut noted = self.noted();
        let was_taken = noted
            .events
            .get_mut(&id)
            .is_some_and(|seen| std::mem::replace(&mut seen.is_taken, true));
        noted.counts.taken += u64::from(!was_taken);
        drop(noted);
        if let Some(heard) = self.heard.as_ref().filter(|_| !was_taken) {
            let _ = heard.send(Heard { body, at });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_manner_shows_in_a_short_run_and_most_deliveries_are_taken() {
        for manner in Manner::ALL {
            let deeds: Vec<Deed> = (0..3_000).map(|number| manner.deed(number)).collect();
            let taken = deeds.iter().filter(|deed| **deed == Deed::Take).count();
            let has_faults = ![Manner::Well, Manner::Slow].contains(&manner);
            assert_eq!(taken < deeds.len(), has_faults, "{manner:?}");
            assert!(taken > deeds.len() * 4 / 5, "{manner:?}: {taken}");
        }
        let of = |manner: Manner, deed: Deed| (0..3_000).any(|number| manner.deed(number) == deed);
        assert!(of(Manner::Breaking, Deed::BreakUnread) && of(Manner::Breaking, Deed::BreakRead));
        assert!(of(Manner::Busy, Deed::Say(StatusCode::TOO_MANY_REQUESTS)));
        assert!(of(Manner::Busy, Deed::Say(StatusCode::SERVICE_UNAVAILABLE)));
    }

    fn shared() -> Shared {
        let secret = OnceLock::new();
        let _ = secret.set(Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        Shared {
            manner: Manner::Well,
            secret,
            noted: Mutex::default(),
            heard: None,
        }
    }

    fn headers(secret: &Secret, id: EventId, sent_s: i64, body: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: String| {
            headers.insert(name, value.parse().expect("a value"));
        };
        put(
            SIGNATURE_HEADER,
            signature(&[Key::new(secret)], &id.to_string(), sent_s, body),
        );
        put(PROPEXO_HEADER, propexo_signature(secret, body));
        put(TIMESTAMP_HEADER, sent_s.to_string());
        headers
    }

    #[test]
    fn what_is_not_ours_is_noticed() {
        let now_s = SystemClock.now().as_micros() / 1_000_000;
        let check = |secret: &str, sent_s: i64, body: &[u8], trouble: Option<&str>| {
            let shared = shared();
            let headers = headers(&Secret::new(secret), EventId::NOBODY, sent_s, b"{}");
            shared.came(EventId::NOBODY);
            shared.check(&headers, EventId::NOBODY, body);
            let found = shared.noted().trouble.clone();
            assert_eq!(found.is_some(), trouble.is_some(), "{found:?}");
            assert!(found.unwrap_or_default().contains(trouble.unwrap_or("")));
        };
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        check(secret, now_s, b"{}", None);
        check(secret, now_s, b"{ }", Some("another signature"));
        check(secret, now_s - 1_000, b"{}", Some("a time that is not now"));
        check(
            "whsec_AQEBAQEBAQEBAQEBAQEBAQ",
            now_s,
            b"{}",
            Some("another signature"),
        );
    }

    #[test]
    fn two_bodies_under_one_id_are_noticed_and_repeats_are_counted() {
        let shared = shared();
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let now_s = SystemClock.now().as_micros() / 1_000_000;
        for (body, has_trouble) in [(b"{}", false), (b"{}", false), (b"[]", true)] {
            shared.came(EventId::NOBODY);
            let headers = headers(&secret, EventId::NOBODY, now_s, body);
            shared.check(&headers, EventId::NOBODY, body);
            shared.took(EventId::NOBODY, Bytes::from_static(body), Instant::now());
            assert_eq!(shared.noted().trouble.is_some(), has_trouble);
        }
        let counts = shared.noted().counts.clone();
        let got = (counts.attempts, counts.taken, counts.duplicates);
        assert_eq!(got, (3, 1, 2));
    }
}
