//! Takes connections.
//!
//! Guarantee: connections, and what each may hold of a request's head, are bounded in number, bytes and time; each ends, whatever its caller does or does
//! not do; told to stop, it takes no new connection, lets requests under way finish within the drain time, and then returns. Who makes room when all
//! slots are taken is said in `slots`.

use std::{
    borrow::Cow,
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, Response, Version, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::{
    peer::TrustedProxies,
    slots::{Origin, Slot, Slots},
    tls::Certificate,
    transfer::{Download, Taken, Upload, is_worth_reading, linger},
};

/// How long a connection is kept that its caller does not use, unless the operator says otherwise:
/// longer than the minute for which usual proxies keep theirs, so that none of them sends a request
/// into a connection that is just closed.
pub const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(75);

/// How much longer than it tells its callers the server keeps a connection: a request may be on its
/// way.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// How long a caller that has sent a part of a head is waited for once the server is told to stop.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long a caller and the server may take to agree on TLS: two turns of few kilobytes.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's head. Callers send some hundreds; a longer one hears 431.
pub const HEAD_MAX_BYTES: usize = 16 * 1_024;

/// Connections that are open at once. With the bytes of a head, and those of bodies under way, this bounds memory.
pub const CONNECTIONS_MAX: usize = 12_000;

/// Of six connections, those that one address may have unless the operator says otherwise: one caller alone cannot take every slot.
const ADDRESS_SHARE_OF_SIX: usize = 5;

/// Connections that the system may keep until they are taken, if its own limit is not lower. More than come while the processor does something else: whoever finds
/// no room here tries again after a second.
const BACKLOG: u32 = 4_096;

/// How long to wait after the system refused a connection (out of file descriptors, mostly).
const ACCEPT_TROUBLE_WAIT: Duration = Duration::from_millis(50);

/// What a browser is told over TLS: for a year, never to come here without it.
const TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=31536000");

const CLOSE: HeaderValue = HeaderValue::from_static("close");
const KEEP_ALIVE: HeaderValue = HeaderValue::from_static("keep-alive");

/// What the operator decides.
pub struct Settings {
    /// Who may say for whom they ask.
    pub trusted_proxies: TrustedProxies,
    /// What is shown to callers over TLS; without it, plain HTTP is spoken.
    pub certificate: Option<Arc<Certificate>>,
    /// Connections that are open at once; no more than [`CONNECTIONS_MAX`], and no more than the process may have.
    pub connections_max: usize,
    /// Those that one address may have, be it no trusted proxy's; `None` leaves room for others.
    pub connections_per_address_max: Option<usize>,
    /// How long a connection is kept that its caller does not use, in whole seconds.
    pub idle_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trusted_proxies: TrustedProxies::default(),
            certificate: None,
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: None,
            idle_timeout: IDLE_TIMEOUT_DEFAULT,
        }
    }
}

/// What all connections share.
struct Shared {
    router: Router,
    trusted_proxies: TrustedProxies,
    tls: Option<TlsAcceptor>,
    idle_timeout: Duration,
    /// The `Keep-Alive` header that tells callers the idle timeout.
    keep_alive: HeaderValue,
}

/// Takes an address to serve at.
///
/// # Errors
/// When it is not this machine's, or another has it.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // After a restart, connections of the process before may still be fading.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A source of connections: a port of the machine, or a simulated one.
pub trait Listen: Send {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and the address at its other end.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, IpAddr)>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, IpAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        let _ = stream.set_nodelay(true);
        Ok((stream, peer.ip()))
    }
}

/// Serves until `stop` ends, then drains for at most `drain`.
///
/// # Errors
/// In words, when TLS cannot be set up.
pub async fn serve(
    listener: impl Listen,
    router: Router,
    settings: Settings,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> Result<(), String> {
    let tls = match &settings.certificate {
        Some(certificate) => Some(TlsAcceptor::from(Arc::new(certificate.server()?))),
        None => None,
    };
    let follower = settings
        .certificate
        .map(|certificate| tokio::spawn(certificate.follow()));
    let shared = Arc::new(Shared {
        router,
        trusted_proxies: settings.trusted_proxies,
        tls,
        idle_timeout: settings.idle_timeout,
        keep_alive: keep_alive(settings.idle_timeout),
    });
    let (stopping, stopped) = watch::channel(false);
    let mut stop = std::pin::pin!(stop);
    let total = settings.connections_max.clamp(1, CONNECTIONS_MAX);
    let per_address = settings
        .connections_per_address_max
        .unwrap_or(total * ADDRESS_SHARE_OF_SIX / 6)
        .max(1);
    let slots = Slots::new(total, per_address);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(connection) => connection,
                Err(why) => {
                    trouble(&why);
                    tokio::time::sleep(ACCEPT_TROUBLE_WAIT).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let origin = Origin::new(peer, shared.trusted_proxies.contains(peer.to_canonical()));
        let slot = tokio::select! {
            slot = slots.take(origin) => slot,
            () = &mut stop => break,
        };
        // The address has all that it may have, and the server works for all of them.
        let Some(slot) = slot else { continue };
        let (shared, stopped) = (shared.clone(), stopped.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = converse(&shared, stream, peer, &slot, stopped) => {}
                () = slot.closed() => {}
            }
        });
    }
    drop((listener, stopped));
    stopping.send_replace(true);
    let unasked = async {
        tokio::time::sleep(STOP_GRACE).await;
        slots.close_unasked();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // Each connection has a receiver until it has ended.
        () = stopping.closed() => {}
        () = unasked => {}
        () = tokio::time::sleep(drain) => {
            tracing::warn!("requests still under way are broken off; what was accepted is stored");
        }
    }
    if let Some(follower) = follower {
        follower.abort();
    }
    Ok(())
}

/// The `Keep-Alive` header for how long an unused connection is kept.
fn keep_alive(idle_timeout: Duration) -> HeaderValue {
    let told = format!("timeout={}", idle_timeout.as_secs());
    HeaderValue::try_from(told).unwrap_or(HeaderValue::from_static("timeout=1"))
}

/// Who is at the other end.
#[derive(Clone)]
struct Caller {
    peer: IpAddr,
    slot: Arc<Slot>,
    stopped: watch::Receiver<bool>,
}

/// One connection, from its first byte to its last. A caller that breaks off, or that does not agree on TLS, is the caller's affair.
async fn converse(
    shared: &Arc<Shared>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    slot: &Arc<Slot>,
    mut stopped: watch::Receiver<bool>,
) {
    let stream = Taken::new(stream, slot.clone());
    let caller = |stopped| Caller {
        peer,
        slot: slot.clone(),
        stopped,
    };
    let stream = match &shared.tls {
        None => speak(shared.clone(), stream, caller(stopped)).await,
        Some(tls) => {
            let agreed = tokio::select! {
                agreed = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => agreed,
                _ = stopped.changed() => return,
            };
            let Ok(Ok(stream)) = agreed else { return };
            let stream = speak(shared.clone(), stream, caller(stopped)).await;
            stream.map(|stream| stream.into_inner().0)
        }
    };
    // Nobody waits for this when the server stops.
    if let Some(stream) = stream {
        Box::pin(linger(stream.into_inner())).await;
    }
}

/// HTTP, over whatever is below it. Gives that back if the caller may still be sending what is not
/// read.
async fn speak<S>(shared: Arc<Shared>, stream: S, caller: Caller) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (slot, mut stopped) = (caller.slot.clone(), caller.stopped.clone());
    let idle_timeout = shared.idle_timeout + IDLE_GRACE;
    let service = service_fn(move |request| answer(shared.clone(), caller.clone(), request));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
        .max_buf_size(HEAD_MAX_BYTES)
        // A caller may close its sending half behind its last request, and is answered.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut is_told = false;
    let ended = loop {
        let ended = tokio::select! {
            ended = &mut connection => Some(ended),
            _ = stopped.changed(), if !is_told => None,
        };
        match ended {
            Some(ended) => break ended,
            None => {
                is_told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    // Of a head that was refused, the rest is not read either.
    let is_cut = slot.is_cut() || ended.is_err_and(|why| why.is_parse());
    is_cut.then(|| connection.into_parts().io.into_inner())
}

async fn answer(
    shared: Arc<Shared>,
    Caller {
        peer,
        slot,
        stopped,
    }: Caller,
    request: Request<Incoming>,
) -> Result<Response<Download>, Infallible> {
    slot.asked();
    let client = shared.trusted_proxies.client(peer, request.headers());
    let stays = stays(&request);
    let expects = request.headers().contains_key(header::EXPECT);
    let (head, body) = request.into_parts();
    let (body, rest) = Upload::new(body, slot.clone());
    let mut request = Request::from_parts(head, Body::new(body));
    request.extensions_mut().insert(client);
    let router = shared.router.clone();
    let mut response = router.oneshot(in_plain_form(request)).await?;
    // It was answered before all of its body had come.
    let rest = rest.and_then(|rest| rest.take());
    let is_cut = rest
        .as_ref()
        .is_some_and(|rest| expects || !is_worth_reading(rest));
    let headers = response.headers_mut();
    if shared.tls.is_some() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, TRANSPORT_SECURITY);
    }
    if is_cut {
        slot.cut();
        headers.insert(header::CONNECTION, CLOSE);
    } else if stays && !*stopped.borrow() {
        headers.insert(header::CONNECTION, KEEP_ALIVE);
        headers.insert("keep-alive", shared.keep_alive.clone());
    }
    let rest = rest.filter(|_| !is_cut).map(|rest| (rest, stopped));
    Ok(response.map(|body| Download::new(body, slot, rest)))
}

/// True if it is sure that the connection stays open behind a request, as far as its caller says.
fn stays<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let says = |word: &str| {
        let lines = headers.get_all(header::CONNECTION).iter();
        lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .any(|one| one.trim().eq_ignore_ascii_case(word))
    };
    // hyper closes the connection behind a request that has a Content-Length too, and says so. It
    // hides that length, so a promise to stay could not be told from a false one.
    let is_chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let by_default = request.version() >= Version::HTTP_11;
    !is_chunked && !says("close") && (by_default || says("keep-alive"))
}

fn trouble(why: &io::Error) {
    tracing::error!(%why, "a connection could not be taken");
}

/// The request with its path as routes have it. The contract prints some paths with and some
/// without a trailing slash; both are served, without a redirect. A character that needs no escape
/// is the same with one (RFC 3986, section 6.2.2).
fn in_plain_form(mut request: Request) -> Request {
    let path = request.uri().path();
    let plain = unescaped(path);
    // The pages under /docs/ tell their own slashes apart.
    let plain = match plain.strip_suffix('/') {
        Some(shorter) if !shorter.is_empty() && !plain.starts_with("/docs") => shorter,
        _ => &plain,
    };
    if plain.len() < path.len() {
        let target = match request.uri().query() {
            Some(query) => format!("{plain}?{query}"),
            None => plain.to_owned(),
        };
        if let Ok(uri) = target.parse() {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// A path without the escapes that stand for letters, digits and `-._~`. The others mean something:
/// an escaped slash does not end a segment.
fn unescaped(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let byte = escape
            .get(1..3)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        match byte.filter(|&byte| is_plain(byte)) {
            Some(byte) => {
                plain.push(char::from(byte));
                rest = &escape[3..];
            }
            None => {
                plain.push('%');
                rest = &escape[1..];
            }
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::oneshot,
    };

    use super::*;
    use crate::peer::ClientAddress;

    /// A server of one page, which tells the caller's address.
    async fn start(settings: Settings) -> (SocketAddr, oneshot::Sender<()>) {
        let listener = listen(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = listener.local_addr().expect("its address");
        let router = Router::new().route(
            "/",
            get(async |ClientAddress(address): ClientAddress| address.to_string()),
        );
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        tokio::spawn(serve(
            listener,
            router,
            settings,
            stopped,
            Duration::from_secs(1),
        ));
        (address, stop)
    }

    async fn ask(address: SocketAddr, headers: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let request = format!("GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    #[tokio::test]
    async fn every_request_carries_the_address_of_its_caller() {
        let forwarded = "x-forwarded-for: 203.0.113.9\r\n";
        let (address, _stop) = start(Settings::default()).await;
        assert!(ask(address, forwarded).await.ends_with("\r\n127.0.0.1"));

        let trusted_proxies = TrustedProxies(vec!["127.0.0.0/8".parse().expect("a network")]);
        let (address, _stop) = start(Settings {
            trusted_proxies,
            ..Settings::default()
        })
        .await;
        assert!(ask(address, forwarded).await.ends_with("\r\n203.0.113.9"));
        assert!(ask(address, "").await.ends_with("\r\n127.0.0.1"));
    }

    #[test]
    fn a_path_is_the_same_with_and_without_escapes() {
        for (path, expected) in [
            ("/crm/v1/prospects", "/crm/v1/prospects"),
            ("/crm/v1/prospects/", "/crm/v1/prospects"),
            (
                "/crm/v1/%70rospects/?limit=%31",
                "/crm/v1/prospects?limit=%31",
            ),
            ("/%63%72%6D/v1/prospects/pro%5f1", "/crm/v1/prospects/pro_1"),
            ("/crm/v1/prospects/%7E%2D%2e", "/crm/v1/prospects/~-."),
            ("/crm%2Fv1/prospects", "/crm%2Fv1/prospects"),
            ("/crm/v1/prospects/%2f/", "/crm/v1/prospects/%2f"),
            ("/crm/v1/prospects/%2541", "/crm/v1/prospects/%2541"),
            ("/crm/v1/prospects/%c3%a9%41", "/crm/v1/prospects/%c3%a9A"),
            ("/crm/v1/%+5/%4/%", "/crm/v1/%+5/%4/%"),
            ("/docs/%69ndex.html", "/docs/index.html"),
            ("/%64ocs/", "/docs/"),
            ("/docs/", "/docs/"),
            ("/", "/"),
            ("/?a=b", "/?a=b"),
            ("//", "/"),
        ] {
            let request = Request::builder()
                .uri(path)
                .body(Body::empty())
                .expect("a request");
            let plain = in_plain_form(request);
            let target = plain.uri().path_and_query().map(ToString::to_string);
            assert_eq!(target.as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_connection_stays_as_its_caller_says() {
        for (version, headers, expected) in [
            (Version::HTTP_11, &[][..], true),
            (Version::HTTP_11, &[("connection", "close")], false),
            (Version::HTTP_11, &[("connection", "te, Close")], false),
            (Version::HTTP_11, &[("connection", "keep-alive")], true),
            (Version::HTTP_11, &[("transfer-encoding", "chunked")], false),
            (Version::HTTP_10, &[], false),
            (Version::HTTP_10, &[("connection", "Keep-Alive")], true),
        ] {
            let mut request = Request::builder().version(version);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(()).expect("a request");
            assert_eq!(stays(&request), expected, "{version:?} {headers:?}");
        }
    }

    #[tokio::test]
    async fn a_newcomer_is_served_though_all_places_are_taken() {
        let (address, _stop) = start(Settings {
            connections_max: 3,
            connections_per_address_max: Some(3),
            ..Settings::default()
        })
        .await;
        let mut idle = Vec::new();
        for _ in 0..20 {
            idle.push(TcpStream::connect(address).await.expect("a connection"));
        }
        assert!(ask(address, "").await.ends_with("\r\n127.0.0.1"));
        // The first that came made room long ago.
        let closed = idle[0].read(&mut [0]).await;
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
        drop(idle);
        assert!(ask(address, "").await.ends_with("\r\n127.0.0.1"));
    }
}
