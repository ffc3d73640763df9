//! Takes connections.
//!
//! Guarantee: connections, and what each may hold of a request's head, are bounded in number, bytes and time; told to stop, it takes no new
//! connection, lets requests under way finish within the drain time, and then returns.

use std::{future::Future, io, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tower::ServiceExt;

use crate::peer::TrustedProxies;

/// How long a request's head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of a request's head. Callers send some hundreds; a longer one hears 431.
const HEAD_MAX_BYTES: usize = 16 * 1_024;

/// Connections that are open at once; more wait at the system's door. With the bytes of a head, and those of bodies under way, this bounds memory.
const CONNECTIONS_MAX: usize = 12_000;

/// How long to wait after the system refused a connection (out of file descriptors, mostly).
const ACCEPT_TROUBLE_WAIT: Duration = Duration::from_millis(50);

/// What the operator decides.
#[derive(Default)]
pub struct Settings {
    /// Who may say for whom they ask.
    pub trusted_proxies: TrustedProxies,
}

/// Serves until `stop` ends, then drains for at most `drain`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: Settings,
    stop: impl Future<Output = ()>,
    drain: Duration,
) {
    let graceful = GracefulShutdown::new();
    let trusted_proxies = Arc::new(settings.trusted_proxies);
    let mut stop = std::pin::pin!(stop);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = tokio::select! {
            Ok(place) = room.clone().acquire_owned() => place,
            () = &mut stop => break,
        };
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
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let trusted_proxies = trusted_proxies.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let client = trusted_proxies.client(peer, request.headers());
            request.extensions_mut().insert(client);
            router.clone().oneshot(without_trailing_slash(request))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_MAX_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A caller that breaks off is the caller's affair.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests still under way are broken off; what was accepted is stored");
    }
}

fn trouble(why: &io::Error) {
    tracing::error!(%why, "a connection could not be taken");
}

/// The contract prints some paths with and some without a trailing slash; both are served, without a redirect.
fn without_trailing_slash(mut request: Request<Incoming>) -> Request<Incoming> {
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
    async fn start(settings: Settings) -> (std::net::SocketAddr, oneshot::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
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

    async fn ask(address: std::net::SocketAddr, headers: &str) -> String {
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
        let (address, _stop) = start(Settings { trusted_proxies }).await;
        assert!(ask(address, forwarded).await.ends_with("\r\n203.0.113.9"));
        assert!(ask(address, "").await.ends_with("\r\n127.0.0.1"));
    }
}
