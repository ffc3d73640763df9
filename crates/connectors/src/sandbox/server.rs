//! The HTTP/1.1 server around the sandbox.
//!
//! Guarantee: connections and bodies are bounded; a call that must end without an answer ends its connection
//! and no other; stopping takes at most [`STOP_GRACE_MS`].

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::calls::{self, Broken};
use super::pages::{self, Refused};
use super::reply::{Reply, ReplyBody};
use super::{BODY_MAX_BYTES, Imitation, Sandbox, TooLarge, control};

/// How long calls in progress may go on after a stop, in milliseconds: enough for every call that is not held
/// up on purpose.
pub(crate) const STOP_GRACE_MS: u64 = 500;

/// The most connections at a time. Others wait in the listener's queue.
const MOST_CONNECTIONS: usize = 4_096;

/// The most bytes buffered of one connection, which also bounds the head of a request.
const MOST_BUFFER_BYTES: usize = 64 * 1024;

/// The pause after an accept that failed, in milliseconds: a full file table does not heal at once.
const ACCEPT_PAUSE_MS: u64 = 50;

pub(crate) async fn run<V: Imitation>(
    sandbox: Sandbox<V>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let mut stop = pin!(stop);
    let (stopping, _) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    let connection = serve_one(sandbox.clone(), stream, peer, stopping.subscribe());
                    connections.spawn(connection);
                }
                Err(error) => {
                    tracing::warn!(%error, "the sandbox cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            }
        }
    }
    drop(listener);
    stopping.send_replace(true);
    let finish = async { while connections.join_next().await.is_some() {} };
    // Running out of time is no failure: what is left is held up on purpose.
    let _ = tokio::time::timeout(Duration::from_millis(STOP_GRACE_MS), finish).await;
    connections.shutdown().await;
    Ok(())
}

async fn serve_one<V: Imitation>(
    sandbox: Sandbox<V>,
    stream: TcpStream,
    peer: SocketAddr,
    mut stopping: watch::Receiver<bool>,
) {
    // Without it a small answer waits for the client's acknowledgement; with a failure it is only slower.
    let _ = stream.set_nodelay(true);
    let from_loopback = is_loopback(peer.ip());
    let service = service_fn(move |request| {
        let sandbox = sandbox.clone();
        async move { answer(&sandbox, request, from_loopback).await }
    });
    let mut connection = http1::Builder::new()
        .max_buf_size(MOST_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = stopped(&mut stopping) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let broken = ended.as_ref().err().and_then(|error| {
        let source = error.source()?;
        source.downcast_ref::<Broken>()
    });
    if broken.is_some_and(|broken| broken.by_reset) {
        // Closing with no linger sends a reset instead of an orderly end.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone means the same as one that says so.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn answer<V: Imitation>(
    sandbox: &Sandbox<V>,
    request: Request<Incoming>,
    from_loopback: bool,
) -> Result<Response<ReplyBody>, Broken> {
    let (parts, body) = request.into_parts();
    let body = read_body(body).await?;
    let inner_path = control::inner_path(parts.uri.path());
    let has_body = !body.as_ref().is_ok_and(Bytes::is_empty);
    if let Some(Refused(status, why)) = pages::refusal(&parts, has_body) {
        let reply = match inner_path {
            Some(_) => Reply::control_error(status, why),
            None => sandbox.form().error(status, why),
        };
        return Ok(reply.into_response());
    }
    match inner_path {
        Some(path) => {
            Ok(control::answer(sandbox, &parts, path, body, from_loopback).into_response())
        }
        None => calls::answer(sandbox, parts, body).await,
    }
}

/// The whole body. A client that goes away in the middle of it has called nothing.
async fn read_body(body: Incoming) -> Result<Result<Bytes, TooLarge>, Broken> {
    match Limited::new(body, BODY_MAX_BYTES).collect().await {
        Ok(whole) => Ok(Ok(whole.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(Err(TooLarge)),
        Err(_) => Err(Broken { by_reset: false }),
    }
}

pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
