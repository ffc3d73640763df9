//! Takes connections.
//!
//! Guarantee: told to stop, it takes no new connection, lets requests under way finish within the drain time, and then returns.

use std::{future::Future, io, time::Duration};

use axum::{Router, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::net::TcpListener;
use tower::ServiceExt;

/// How long a request's head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

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
    loop {
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
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A caller that breaks off is the caller's affair.
            let _ = connection.await;
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
