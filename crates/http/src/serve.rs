//! Takes connections.
//!
//! Guarantee: connections, and what each may hold of a request's head, are bounded in number, bytes and time; each ends, whatever its caller does or does
//! not do; told to stop, it takes no new connection, lets requests under way finish within the drain time, and then returns. Who makes room when all
//! places are taken is said in `places`.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, Response, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::{
    conversation::{Download, Taken, Upload},
    peer::TrustedProxies,
    places::{Origin, Place, Places},
    tls::Certificate,
};

/// How long a request's head may take to arrive, counted from when the connection is open or the answer before was given.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a caller and the server may take to agree on TLS: two turns of few kilobytes.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's head. Callers send some hundreds; a longer one hears 431.
pub const HEAD_MAX_BYTES: usize = 16 * 1_024;

/// Connections that are open at once. With the bytes of a head, and those of bodies under way, this bounds memory.
pub const CONNECTIONS_MAX: usize = 12_000;

/// Of six connections, those that one address may have unless the operator says otherwise: one caller alone cannot take every place.
const ADDRESS_SHARE_OF_SIX: usize = 5;

/// Connections that the system may keep until they are taken, if its own limit is not lower. More than come while the processor does something else: whoever finds
/// no room here tries again after a second.
const BACKLOG: u32 = 4_096;

/// How long to wait after the system refused a connection (out of file descriptors, mostly).
const ACCEPT_TROUBLE_WAIT: Duration = Duration::from_millis(50);

/// What a browser is told over TLS: for a year, never to come here without it.
const TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=31536000");

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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trusted_proxies: TrustedProxies::default(),
            certificate: None,
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: None,
        }
    }
}

/// What all connections share.
struct Shared {
    router: Router,
    trusted_proxies: TrustedProxies,
    tls: Option<TlsAcceptor>,
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

/// Serves until `stop` ends, then drains for at most `drain`.
///
/// # Errors
/// In words, when TLS cannot be set up.
pub async fn serve(
    listener: TcpListener,
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
    });
    let graceful = GracefulShutdown::new();
    let (stopping, stopped) = watch::channel(());
    let mut stop = std::pin::pin!(stop);
    let total = settings.connections_max.clamp(1, CONNECTIONS_MAX);
    let per_address = settings
        .connections_per_address_max
        .unwrap_or(total * ADDRESS_SHARE_OF_SIX / 6)
        .max(1);
    let places = Places::new(total, per_address);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => (stream, peer.ip()),
                Err(why) => {
                    trouble(&why);
                    tokio::time::sleep(ACCEPT_TROUBLE_WAIT).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let origin = Origin::new(peer, shared.trusted_proxies.contains(peer.to_canonical()));
        let place = tokio::select! {
            place = places.take(origin) => place,
            () = &mut stop => break,
        };
        // The address has all that it may have, and the server works for all of them.
        let Some(place) = place else { continue };
        let _ = stream.set_nodelay(true);
        let (shared, watcher, stopped) = (shared.clone(), graceful.watcher(), stopped.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = converse(&shared, stream, peer, &place, watcher, stopped) => {}
                () = place.closed() => {}
            }
        });
    }
    drop((listener, stopping));
    if tokio::time::timeout(drain, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests still under way are broken off; what was accepted is stored");
    }
    if let Some(follower) = follower {
        follower.abort();
    }
    Ok(())
}

/// Who is at the other end.
#[derive(Clone)]
struct Caller {
    peer: IpAddr,
    place: Arc<Place>,
}

/// One connection, from its first byte to its last. A caller that breaks off, or that does not agree on TLS, is the caller's affair.
async fn converse(
    shared: &Arc<Shared>,
    stream: TcpStream,
    peer: IpAddr,
    place: &Arc<Place>,
    watcher: Watcher,
    mut stopped: watch::Receiver<()>,
) {
    let (stream, caller) = (
        Taken::new(stream),
        Caller {
            peer,
            place: place.clone(),
        },
    );
    let Some(tls) = &shared.tls else {
        return speak(shared.clone(), stream, caller, watcher).await;
    };
    let agreed = tokio::select! {
        agreed = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => agreed,
        _ = stopped.changed() => return,
    };
    if let Ok(Ok(stream)) = agreed {
        speak(shared.clone(), stream, caller, watcher).await;
    }
}

/// HTTP, over whatever is below it.
async fn speak(
    shared: Arc<Shared>,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    caller: Caller,
    watcher: Watcher,
) {
    let service = service_fn(move |request| answer(shared.clone(), caller.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let _ = watcher.watch(connection).await;
}

async fn answer(
    shared: Arc<Shared>,
    Caller { peer, place }: Caller,
    request: Request<Incoming>,
) -> Result<Response<Download>, Infallible> {
    let client = shared.trusted_proxies.client(peer, request.headers());
    let mut request = request.map(|body| Body::new(Upload::new(body, place.clone())));
    request.extensions_mut().insert(client);
    let router = shared.router.clone();
    let mut response = router.oneshot(without_trailing_slash(request)).await?;
    if shared.tls.is_some() {
        response
            .headers_mut()
            .insert(header::STRICT_TRANSPORT_SECURITY, TRANSPORT_SECURITY);
    }
    Ok(response.map(|body| Download::new(body, place)))
}

fn trouble(why: &io::Error) {
    tracing::error!(%why, "a connection could not be taken");
}

/// The contract prints some paths with and some without a trailing slash; both are served, without a redirect.
fn without_trailing_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    // The pages under /docs/ tell their own slashes apart.
    if path.len() > 1 && path.ends_with('/') && !path.starts_with("/docs") {
        let trimmed = &path[..path.len() - 1];
        let target = match request.uri().query() {
            Some(query) => format!("{trimmed}?{query}"),
            None => trimmed.to_owned(),
        };
        if let Ok(uri) = target.parse() {
            *request.uri_mut() = uri;
        }
    }
    request
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
