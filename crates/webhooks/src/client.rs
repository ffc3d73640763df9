//! The HTTP client that talks to receivers: the second of the two places where outbound HTTP is built.
//!
//! Guarantee: it connects only where its [`Guard`] allows, to literal addresses as to names; every call ends within [`CALL_TIMEOUT`]; no answer takes more
//! than a bound of memory; nothing is followed (redirects), nothing is taken from the environment (proxies); and what it says of a failure holds neither
//! the url's path or query nor a header.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use connectors::{
    dial::{Unanswered, Way},
    outgoing,
};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use model::{Secret, Timestamp, header::is_connections_own};
use reqwest::{RequestBuilder, Response, redirect::Policy};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use crate::{
    guard::Guard,
    resolver::{Lookup, NoAddress, Resolver, SystemLookup},
};

/// How long a connection may take to stand, its name looked up and its TLS agreed on.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a whole call may take. A receiver should take note and answer, and do its work afterwards.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of a receiver's answer that are read, so that the connection of one that says a little more than is kept can be used again.
pub const BODY_MAX_BYTES: usize = 16 * 1_024;

/// Bytes of a receiver's answer that are kept with the attempt.
pub const BODY_KEPT_BYTES: usize = 4 * 1_024;

/// Bytes of an answer that was asked for: a full page of events is smaller.
pub const PAGE_MAX_BYTES: usize = 16 * 1_024 * 1_024;

/// Idle connections kept to one receiver: as many as it may be sent at once, since who is sent much is sent more in the next moment.
const IDLE_PER_HOST: usize = 32;

/// How long an idle connection is kept. Common servers close theirs after five seconds, and what is sent into one as it closes is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// What came back. It counts from when its head has arrived, whatever becomes of the body.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long `Retry-After` says to wait, counted from the call. As the receiver said it: whoever waits bounds it.
    pub retry_after_s: Option<u64>,
    /// What was kept of the body.
    pub body: Vec<u8>,
    /// Whether there was more of it, or might have been.
    pub body_is_cut: bool,
}

/// Without the body, which may tell of people.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("retry_after_s", &self.retry_after_s)
            .field("body_bytes", &self.body.len())
            .field("body_is_cut", &self.body_is_cut)
            .finish()
    }
}

/// Why nothing came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The guard does not allow it, or it cannot be put into a request. Nothing was sent.
    Refused,
    /// No connection stood: the name is not known, nobody listens, TLS failed, or it took too long. Nothing was sent.
    Unreachable,
    /// It may have been sent, and no answer began within [`CALL_TIMEOUT`].
    TimedOut,
    /// It may have been sent, and what came was broken off or no HTTP.
    Broken,
}

/// That nothing came back, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of reason it is.
    pub kind: FailureKind,
    /// The reason. It may name the host, and nothing else of the url.
    pub words: String,
}

/// The client.
#[derive(Clone)]
pub struct Client {
    client: reqwest::Client,
    way: Way,
    guard: Arc<Guard>,
    resolver: Resolver,
    call_timeout: Duration,
}

impl Client {
    /// A client that sends only where `guard` allows, at the addresses that `lookup` finds.
    ///
    /// # Errors
    /// In words, when TLS cannot be set up.
    pub fn new(guard: Guard, lookup: Arc<dyn Lookup>) -> Result<Self, String> {
        Self::with_timeouts(guard, lookup, CONNECT_TIMEOUT, CALL_TIMEOUT)
    }

    /// The same client, over another way than the network. The guard still looks at each url, and at
    /// no address behind a name.
    #[must_use]
    pub fn over(self, way: Way) -> Self {
        Self { way, ..self }
    }

    /// A client that goes wherever it is told to, also to this machine and over http. It is for the command line alone, which calls a server and a receiver
    /// that the person at the keyboard named: whatever it can reach that person can reach without it, and the answers go to nobody else. It must never be
    /// handed a url that came in over the network.
    ///
    /// # Errors
    /// In words, when TLS cannot be set up.
    pub fn anywhere() -> Result<Self, String> {
        Self::new(Guard::off(), Arc::new(SystemLookup::default()))
    }

    fn with_timeouts(
        guard: Guard,
        lookup: Arc<dyn Lookup>,
        connect_timeout: Duration,
        call_timeout: Duration,
    ) -> Result<Self, String> {
        // Another part of the process may have chosen ring before: it is the only provider compiled in.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let guard = Arc::new(guard);
        let resolver = Resolver::new(Arc::clone(&guard), lookup);
        #[expect(clippy::disallowed_methods, reason = "one of the two places")]
        let client = reqwest::Client::builder()
            .dns_resolver(Arc::new(resolver.clone()))
            .connect_timeout(connect_timeout)
            .redirect(Policy::none())
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(concat!("Portico/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|why| {
                format!(
                    "the webhook client cannot be made: {}",
                    outgoing::reason(&why)
                )
            })?;
        Ok(Self {
            client,
            way: Way::Network,
            guard,
            resolver,
            call_timeout,
        })
    }

    /// The url in `text`, if it could be sent to now: asked when a subscription is saved and when it is tested, it is the rule of [`Client::post`]. A name that
    /// cannot be looked up at the moment passes, for it is looked at again whenever it is sent to.
    ///
    /// # Errors
    /// In words, when it is not a url, or leads only where the operator does not allow.
    pub async fn check(&self, text: &str) -> Result<Url, String> {
        let url = self.guard.url(text)?;
        if let Some(Host::Domain(name)) = url.host()
            && let Err(NoAddress::Refused(why)) = self.resolver.allowed(name).await
        {
            return Err(why);
        }
        Ok(url)
    }

    /// Sends `body` to a receiver, with `headers`, but for those that are the connection's own. `now` is what a date in `Retry-After` is counted from.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn post(
        &self,
        url: &Url,
        mut headers: HeaderMap,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Answer, Failure> {
        let own: Vec<_> = headers
            .keys()
            .filter(|name| is_connections_own(name.as_str()))
            .cloned()
            .collect();
        for name in own {
            headers.remove(name);
        }
        let request = self.client.post(url.clone()).headers(headers).body(body);
        let mut answer = self.call(url, request, now, BODY_MAX_BYTES).await?;
        if answer.body.len() > BODY_KEPT_BYTES {
            answer.body.truncate(BODY_KEPT_BYTES);
            answer.body_is_cut = true;
        }
        Ok(answer)
    }

    /// Asks a server for something, with `bearer` as its token if it takes one. The server may wait
    /// for that up to `wait_s`, which is to be well below [`CALL_TIMEOUT`]. `now` is what a date in
    /// `Retry-After` is counted from.
    ///
    /// # Errors
    /// When no answer came, or not the whole of it.
    pub async fn get(
        &self,
        url: &Url,
        bearer: Option<&Secret>,
        wait_s: Option<u32>,
        now: Timestamp,
    ) -> Result<Answer, Failure> {
        let mut request = self.client.get(url.clone());
        if let Some(bearer) = bearer {
            let token = HeaderValue::try_from(format!("Bearer {}", bearer.expose()));
            let mut token = token.map_err(|_| Failure {
                kind: FailureKind::Refused,
                words: "the token cannot be sent in an HTTP header".to_owned(),
            })?;
            token.set_sensitive(true);
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(wait_s) = wait_s {
            request = request.header("prefer", format!("wait={wait_s}"));
        }
        let answer = self.call(url, request, now, PAGE_MAX_BYTES).await?;
        if answer.body_is_cut {
            return Err(Failure {
                kind: FailureKind::Broken,
                words: format!(
                    "the answer of {} broke off, or is larger than {PAGE_MAX_BYTES} bytes",
                    host(url)
                ),
            });
        }
        Ok(answer)
    }

    /// Makes one call, and reads at most `body_max_bytes` of what it brings.
    async fn call(
        &self,
        url: &Url,
        request: RequestBuilder,
        now: Timestamp,
        body_max_bytes: usize,
    ) -> Result<Answer, Failure> {
        // Names are checked by the resolver; literal addresses never come to it.
        self.guard.check(url).map_err(|words| Failure {
            kind: FailureKind::Refused,
            words,
        })?;
        let deadline = Instant::now() + self.call_timeout;
        let mut response = match timeout_at(deadline, self.way.send(request)).await {
            Err(_) => {
                return Err(Failure {
                    kind: FailureKind::TimedOut,
                    words: format!("no answer of {} within {:?}", host(url), self.call_timeout),
                });
            }
            Ok(Err(why)) => return Err(failure(url, why)),
            Ok(Ok(response)) => response,
        };
        let status = response.status().as_u16();
        let retry_after_s = outgoing::retry_after_s(response.headers(), Some(now));
        let (body, is_whole) = read(&mut response, deadline, body_max_bytes).await;
        Ok(Answer {
            status,
            retry_after_s,
            body,
            body_is_cut: !is_whole,
        })
    }
}

/// What comes of a body until `deadline`, at most `max_bytes`; and whether that is all of it.
async fn read(response: &mut Response, deadline: Instant, max_bytes: usize) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        match timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let room = max_bytes - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return (body, false);
                }
            }
            Ok(Ok(None)) => return (body, true),
            // The head is known, and it is what counts.
            Ok(Err(_)) | Err(_) => return (body, false),
        }
    }
}

/// What `why` means for a call to `url`.
fn failure(url: &Url, why: Unanswered) -> Failure {
    let why = match why {
        Unanswered::Network(why) => why,
        Unanswered::NotSent(words) => return unreachable(url, &words),
        Unanswered::Lost(words) => return broken(url, &words),
    };
    let mut next: Option<&dyn std::error::Error> = Some(&why);
    while let Some(one) = next {
        match one.downcast_ref::<NoAddress>() {
            Some(NoAddress::Refused(words)) => {
                return Failure {
                    kind: FailureKind::Refused,
                    words: words.clone(),
                };
            }
            Some(NoAddress::Unknown(words)) => {
                return Failure {
                    kind: FailureKind::Unreachable,
                    words: words.clone(),
                };
            }
            None => next = one.source(),
        }
    }
    let words = outgoing::reason(&why);
    if why.is_connect() || why.is_builder() {
        return unreachable(url, &words);
    }
    broken(url, &words)
}

fn unreachable(url: &Url, words: &str) -> Failure {
    Failure {
        kind: FailureKind::Unreachable,
        words: format!("{} cannot be reached: {words}", host(url)),
    }
}

fn broken(url: &Url, words: &str) -> Failure {
    Failure {
        kind: FailureKind::Broken,
        words: format!("the call to {} broke off: {words}", host(url)),
    }
}

/// What may be told of a url.
fn host(url: &Url) -> &str {
    url.host_str().unwrap_or("the receiver")
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::mpsc,
    };

    use super::*;
    use crate::{guard::Ports, resolver::tests::Answers};

    /// What a receiver does once it has said what it has to say.
    #[derive(Clone, Copy)]
    enum Then {
        /// Closes the connection.
        Close,
        /// Says nothing more.
        Hang,
        /// Says the same, without end.
        GoOn,
        /// Waits for the next request.
        Again,
    }

    /// A receiver on this machine: says `says` to each request, whatever it is, and then does `then`.
    struct Receiver {
        port: u16,
        connections: Arc<AtomicUsize>,
        requests: mpsc::UnboundedReceiver<String>,
    }

    impl Receiver {
        async fn start(says: impl Into<Vec<u8>>, then: Then) -> Self {
            let says = says.into();
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let connections = Arc::new(AtomicUsize::new(0));
            let (tell, requests) = mpsc::unbounded_channel();
            let count = Arc::clone(&connections);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(answer(stream, says.clone(), then, tell.clone()));
                }
            });
            Self {
                port,
                connections,
                requests,
            }
        }

        fn url(&self, host: &str) -> Url {
            let text = format!("http://{host}:{}/s3cret?s3cret", self.port);
            text.parse().expect("a url")
        }

        fn connections(&self) -> usize {
            self.connections.load(Ordering::SeqCst)
        }
    }

    async fn answer(
        mut stream: TcpStream,
        says: Vec<u8>,
        then: Then,
        tell: mpsc::UnboundedSender<String>,
    ) {
        while matches!(
            (say(&mut stream, &says, then, &tell).await, then),
            (Some(()), Then::Again)
        ) {}
    }

    async fn say(
        stream: &mut TcpStream,
        says: &[u8],
        then: Then,
        tell: &mpsc::UnboundedSender<String>,
    ) -> Option<()> {
        let mut request = Vec::new();
        // The bodies that these tests send end like this.
        while !request.ends_with(b"{}") {
            let mut part = [0; 4_096];
            match stream.read(&mut part).await {
                Ok(length) if length > 0 => request.extend_from_slice(&part[..length]),
                _ => return None,
            }
        }
        let _ = tell.send(String::from_utf8(request).expect("text"));
        stream.write_all(says).await.ok()?;
        match then {
            Then::Close | Then::Again => {}
            Then::Hang => std::future::pending().await,
            Then::GoOn => while stream.write_all(says).await.is_ok() {},
        }
        Some(())
    }

    const NOW: Timestamp = Timestamp::from_micros(1_795_541_405_250_000);
    const LONG: Duration = Duration::from_secs(60);
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    fn client_of(lookup: Arc<dyn Lookup>, networks: &[&str], call_timeout: Duration) -> Client {
        let networks = networks.iter().map(|one| one.parse().expect("a network"));
        let guard = Guard::new(true, networks, [Ports::ANY]).expect("a guard");
        Client::with_timeouts(guard, lookup, LONG, call_timeout).expect("a client")
    }

    /// A client that may talk to this machine, under whatever name.
    fn client(call_timeout: Duration) -> Client {
        client_of(
            Answers::new([&["127.0.0.1"]]),
            &["127.0.0.0/8"],
            call_timeout,
        )
    }

    async fn post(client: &Client, url: &Url) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert("x-key", HeaderValue::from_static("s3cret"));
        let sent = client.post(url, headers, Bytes::from_static(b"{}"), NOW);
        let answer = sent.await;
        if let Err(failure) = &answer {
            assert!(!failure.words.contains("s3cret"), "{failure:?}");
        }
        answer
    }

    async fn post_to(says: impl Into<Vec<u8>>, then: Then) -> Result<Answer, Failure> {
        let receiver = Receiver::start(says, then).await;
        post(&client(LONG), &receiver.url("receiver.example")).await
    }

    #[track_caller]
    fn expect_failure(found: Result<Answer, Failure>, kind: FailureKind, part: &str) {
        let failure = found.expect_err("a failure");
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.words.contains(part), "{failure:?}");
    }

    #[tokio::test]
    async fn what_is_sent_is_what_was_given() {
        let mut receiver = Receiver::start(OK, Then::Hang).await;
        let url = receiver.url("receiver.example");
        let client = client(LONG);
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", "evt_1"),
            ("host", "elsewhere.example"),
            ("content-length", "7"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("keep-alive", "1"),
            ("proxy-connection", "close"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("trailer", "x"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let sent = client.post(&url, headers, Bytes::from_static(b"{}"), NOW);
        let answer = sent.await.expect("an answer");
        assert_eq!(
            (answer.status, answer.body.as_slice(), answer.body_is_cut),
            (200, &b"ok"[..], false)
        );
        let request = receiver.requests.recv().await.expect("a request");
        let (head, body) = request.split_once("\r\n\r\n").expect("a head");
        let mut lines: Vec<_> = head.split("\r\n").collect();
        assert_eq!(lines.remove(0), "POST /s3cret?s3cret HTTP/1.1");
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "accept: */*".to_owned(),
                "content-length: 2".to_owned(),
                format!("host: receiver.example:{}", receiver.port),
                format!("user-agent: Portico/{}", env!("CARGO_PKG_VERSION")),
                "webhook-id: evt_1".to_owned(),
            ]
        );
        assert_eq!(body, "{}");
    }

    #[tokio::test]
    async fn connections_are_used_again() {
        const POSTS: usize = 50;
        let receiver = Receiver::start(OK, Then::Again).await;
        let client = client(LONG);
        for _ in 0..POSTS {
            let answer = post(&client, &receiver.url("receiver.example")).await;
            assert_eq!(answer.map(|answer| answer.status), Ok(200));
        }
        // One comes back a moment after its answer was read, so there may be a few.
        assert!(receiver.connections() < POSTS, "{}", receiver.connections());
    }

    #[tokio::test]
    async fn every_status_is_an_answer_and_no_redirect_is_followed() {
        let elsewhere = Receiver::start(OK, Then::Close).await;
        for (head, status, retry_after_s) in [
            ("204 No Content", 204, None),
            ("301 Moved Permanently", 301, None),
            ("307 Temporary Redirect", 307, None),
            ("404 Not Found", 404, None),
            ("410 Gone", 410, None),
            ("429 Too Many\r\nretry-after: 120", 429, Some(120)),
            (
                "503 Later\r\nretry-after: Tue, 24 Nov 2026 17:31:00 GMT",
                503,
                Some(55),
            ),
            ("500 Oh\r\nretry-after: soon", 500, None),
        ] {
            let location = elsewhere.url("127.0.0.1");
            let says =
                format!("HTTP/1.1 {head}\r\nlocation: {location}\r\nconnection: close\r\n\r\n");
            let answer = post_to(says, Then::Close).await.expect("an answer");
            assert_eq!(
                (answer.status, answer.retry_after_s, answer.body_is_cut),
                (status, retry_after_s, false),
                "{head}"
            );
        }
        assert_eq!(elsewhere.connections(), 0);
    }

    #[tokio::test]
    async fn what_keeps_silent_times_out() {
        let receiver = Receiver::start("", Then::Hang).await;
        let short = client(Duration::from_millis(100));
        let found = post(&short, &receiver.url("receiver.example")).await;
        expect_failure(
            found,
            FailureKind::TimedOut,
            "receiver.example within 100ms",
        );
    }

    #[tokio::test]
    async fn once_the_head_has_arrived_the_status_counts() {
        let head = "HTTP/1.1 410 Gone\r\ncontent-length: 10\r\nretry-after: 3\r\n\r\nhalf";
        // Long enough for the head to arrive on a busy machine.
        let receiver = Receiver::start(head, Then::Hang).await;
        let patient = client(Duration::from_secs(3));
        let hung = post(&patient, &receiver.url("receiver.example")).await;
        for answer in [hung, post_to(head, Then::Close).await] {
            let expected = Answer {
                status: 410,
                retry_after_s: Some(3),
                body: b"half".to_vec(),
                body_is_cut: true,
            };
            assert_eq!(answer, Ok(expected));
        }
    }

    #[tokio::test]
    async fn of_a_body_no_more_is_kept_than_there_is_room_for() {
        for (length, is_cut) in [
            (BODY_KEPT_BYTES, false),
            (BODY_KEPT_BYTES + 1, true),
            (100_000, true),
        ] {
            let body = "x".repeat(length);
            let says = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            let answer = post_to(says, Then::Hang).await.expect("an answer");
            assert_eq!(
                (answer.body.len(), answer.body_is_cut),
                (BODY_KEPT_BYTES, is_cut)
            );
        }
        // One without an end, in chunks: it says the same again and again. Nothing but the bound ends this call in time.
        let chunk = format!("400\r\n{}\r\n", "y".repeat(1_024));
        let says = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}",
            chunk.repeat(32)
        );
        let answer = post_to(says, Then::GoOn).await.expect("an answer");
        assert_eq!(
            (answer.status, answer.body, answer.body_is_cut),
            (200, vec![b'y'; BODY_KEPT_BYTES], true)
        );
    }

    #[tokio::test]
    async fn what_is_no_http_or_breaks_off_is_said_to_be() {
        for says in [
            "",
            "HTTP/1.1 200 O",
            "SSH-2.0-OpenSSH_9.6\r\n",
            "\0\0\0\0\r\n\r\n",
            "HTTP/9.9 200 OK\r\n\r\n",
        ] {
            expect_failure(
                post_to(says, Then::Close).await,
                FailureKind::Broken,
                "receiver.example broke off",
            );
        }
        // A head without an end.
        let says = format!(
            "HTTP/1.1 200 OK\r\n{}",
            "x-filler: 0123456789\r\n".repeat(1_000)
        );
        expect_failure(
            post_to(says, Then::GoOn).await,
            FailureKind::Broken,
            "receiver.example broke off",
        );
    }

    #[tokio::test]
    async fn who_does_not_listen_or_has_no_tls_is_unreachable() {
        let gone = {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            listener.local_addr().expect("an address").port()
        };
        let url = format!("http://127.0.0.1:{gone}/s3cret");
        expect_failure(
            post(&client(LONG), &url.parse().expect("a url")).await,
            FailureKind::Unreachable,
            "127.0.0.1 cannot be reached: Connection refused",
        );
        // It does not wait for the end of the request, which is no HTTP.
        let plain = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!(
            "https://127.0.0.1:{}/s3cret",
            plain.local_addr().expect("an address").port()
        );
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = plain.accept().await {
                let _ = stream.write_all(OK.as_bytes()).await;
            }
        });
        expect_failure(
            post(&client(LONG), &url.parse().expect("a url")).await,
            FailureKind::Unreachable,
            "127.0.0.1 cannot be reached",
        );
        let unknown = client_of(Answers::failing("no such name"), &[], LONG);
        expect_failure(
            post(
                &unknown,
                &"https://receiver.example/s3cret".parse().expect("a url"),
            )
            .await,
            FailureKind::Unreachable,
            "no such name",
        );
    }

    #[tokio::test]
    async fn a_connection_that_does_not_stand_in_time_is_given_up() {
        // It takes connections and never agrees on TLS.
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = silent.local_addr().expect("an address").port();
        let url = format!("https://receiver.example:{port}/s3cret")
            .parse()
            .expect("a url");
        let guard = Guard::new(
            false,
            ["127.0.0.1".parse().expect("a network")],
            [Ports::ANY],
        )
        .expect("a guard");
        let short = Duration::from_millis(100);
        let client = Client::with_timeouts(guard, Answers::new([&["127.0.0.1"]]), short, LONG);
        expect_failure(
            post(&client.expect("a client"), &url).await,
            FailureKind::Unreachable,
            "receiver.example cannot be reached: operation timed out",
        );
    }

    #[tokio::test]
    async fn where_the_guard_does_not_allow_no_connection_is_made() {
        let receiver = Receiver::start(OK, Then::Close).await;
        // A literal address, a name, and a name of which no address will do.
        let strict = client_of(Answers::new([&["127.0.0.1", "::1"]]), &[], LONG);
        for (host, part) in [
            ("127.0.0.1", "127.0.0.1 is a loopback address"),
            ("2130706433", "127.0.0.1 is a loopback address"),
            ("receiver.example", "leads to no address"),
            ("localhost", "leads to no address"),
        ] {
            let found = post(&strict, &receiver.url(host)).await;
            expect_failure(found, FailureKind::Refused, part);
        }
        let https = Client::with_timeouts(
            Guard::new(
                false,
                ["127.0.0.1".parse().expect("a network")],
                [Ports::ANY],
            )
            .expect("a guard"),
            Answers::new([&["127.0.0.1"]]),
            LONG,
            LONG,
        )
        .expect("a client");
        let found = post(&https, &receiver.url("127.0.0.1")).await;
        expect_failure(found, FailureKind::Refused, "--webhook-allow-http");
        assert_eq!(receiver.connections(), 0);

        // The same receiver, once it is allowed: among its addresses one that is not is left alone.
        let allowed = client_of(
            Answers::new([&["10.0.0.1", "127.0.0.1"]]),
            &["127.0.0.1"],
            LONG,
        );
        let answer = post(&allowed, &receiver.url("receiver.example")).await;
        assert_eq!(answer.map(|answer| answer.status), Ok(200));
        assert_eq!(receiver.connections(), 1);
    }

    #[tokio::test]
    async fn a_name_that_changes_its_answer_after_the_check_gains_nothing() {
        let receiver = Receiver::start(OK, Then::Close).await;
        let url = receiver.url("receiver.example");
        let turning = client_of(Answers::new([&["8.8.8.8"], &["127.0.0.1"]]), &[], LONG);
        assert_eq!(turning.check(url.as_str()).await, Ok(url.clone()));
        let found = post(&turning, &url).await;
        expect_failure(found, FailureKind::Refused, "leads to no address");
        assert_eq!(receiver.connections(), 0);
    }

    #[tokio::test]
    async fn a_url_is_checked_by_the_same_rule_before_it_is_saved() {
        let text = "https://receiver.example/s3cret";
        let check = async |lookup: Arc<dyn Lookup>| {
            let mut client = client_of(lookup, &[], LONG);
            client.resolver = client.resolver.with_timeout(Duration::from_millis(20));
            client.check(text).await.map(String::from)
        };
        assert_eq!(
            check(Answers::new([&["8.8.8.8"]])).await.as_deref(),
            Ok(text)
        );
        let mixed = Answers::new([&["127.0.0.1", "8.8.8.8"]]);
        assert_eq!(check(mixed).await.as_deref(), Ok(text));
        let why = check(Answers::new([&["127.0.0.1", "10.0.0.1"]]))
            .await
            .expect_err("refused");
        assert!(
            why.contains("leads to no address") && !why.contains("s3cret"),
            "{why}"
        );
        // What cannot be told now is told when it is sent to.
        assert_eq!(check(Answers::silent()).await.as_deref(), Ok(text));
        assert_eq!(
            check(Answers::failing("no such name")).await.as_deref(),
            Ok(text)
        );

        let strict = client_of(Answers::silent(), &[], LONG);
        let why = strict
            .check("https://[::1]/s3cret")
            .await
            .expect_err("refused");
        assert!(why.contains("a loopback address"), "{why}");
    }

    #[tokio::test]
    async fn the_command_lines_client_goes_where_its_user_says() {
        let page = "x".repeat(200_000);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = tokio::spawn(async move {
            let mut heads = Vec::new();
            for says in [
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: 200000\r\nconnection: close\r\n\r\n{page}"
                ),
                "HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\nx".to_owned(),
            ] {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a byte"));
                }
                heads.push(String::from_utf8(head).expect("text"));
                stream.write_all(says.as_bytes()).await.expect("sent");
            }
            heads
        });
        let client = Client::anywhere().expect("a client");
        let url = format!("http://localhost:{port}/events?cursor=s3cret");
        let url = client.check(&url).await.expect("a url");
        let token = Secret::new("s3cret");
        let answer = client
            .get(&url, Some(&token), None, NOW)
            .await
            .expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (200, 200_000));
        // Half a page is none.
        let failure = client
            .get(&url, Some(&token), None, NOW)
            .await
            .expect_err("broken off");
        assert_eq!(failure.kind, FailureKind::Broken);
        assert!(!failure.words.contains("s3cret"), "{failure:?}");
        for head in server.await.expect("heads") {
            assert!(
                head.starts_with("GET /events?cursor=s3cret HTTP/1.1\r\n"),
                "{head}"
            );
            assert!(head.contains("authorization: Bearer s3cret\r\n"), "{head}");
        }
        let no_token = client
            .get(&url, Some(&Secret::new("s3\ncret")), None, NOW)
            .await;
        expect_failure(no_token, FailureKind::Refused, "cannot be sent");
    }

    /// Names the receiver to the test below, in the process that it runs in.
    const RECEIVER_VARIABLE: &str = "PORTICO_TEST_RECEIVER";

    #[tokio::test]
    async fn a_proxy_of_the_environment_is_not_used() {
        // Started by itself with an environment of its own, it is the one that sends.
        if let Ok(url) = env::var(RECEIVER_VARIABLE) {
            let answer = post(&client(LONG), &url.parse().expect("a url")).await;
            assert_eq!(answer.map(|answer| answer.status), Ok(200));
            return;
        }
        let receiver = Receiver::start(OK, Then::Close).await;
        let proxy = Receiver::start(OK, Then::Close).await;
        // The environment is the process's own, so it is another process, of this program, that sends.
        let mut sender = tokio::process::Command::new(env::current_exe().expect("a path"));
        sender
            .args([
                "--exact",
                "client::tests::a_proxy_of_the_environment_is_not_used",
            ])
            .env(RECEIVER_VARIABLE, receiver.url("receiver.example").as_str())
            .env_remove("NO_PROXY")
            .env_remove("no_proxy");
        for variable in [
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
        ] {
            sender.env(variable, format!("http://127.0.0.1:{}", proxy.port));
        }
        let ended = sender.output().await.expect("a process");
        assert!(
            ended.status.success(),
            "{}",
            String::from_utf8_lossy(&ended.stdout)
        );
        assert_eq!((receiver.connections(), proxy.connections()), (1, 0));
    }
}
