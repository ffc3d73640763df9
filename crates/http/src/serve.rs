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

/// How long a request's head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of a request's head. Callers send some hundreds; a longer one hears 431.
const HEAD_MAX_BYTES: usize = 16 * 1_024;

/// Connections that are open at once; more wait at the system's door. With the bytes of a head, and those of bodies under way, this bounds memory.
const CONNECTIONS_MAX: usize = 12_000;

/// How long to wait after the system refused a connection (out of file descriptors, mostly).
const ACCEPT_TROUBLE_WAIT: Duration = Duration::from_millis(50);

/// Serves until `stop` ends, then drains for at most `drain`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
    drain: Duration,
) {
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = tokio::select! {
            Ok(place) = room.clone().acquire_owned() => place,
            () = &mut stop => break,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
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
        let service = service_fn(move |request: Request<Incoming>| {
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
