//! Knock's own calls: what they answer, with the fault that befalls them.
//!
//! Guarantee: a call takes effect at most once, under one hold of the lock, before any waiting begins; so a
//! client that gives up during the wait has been stored, as it would be at a slow vendor.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use model::Timestamp;

use super::Sandbox;
use super::assumptions::{ERROR_IN_200_MESSAGE, KEY_HEADERS, MALFORMED_BODY};
use super::call::{About, Call, TooLarge};
use super::directory::Directory;
use super::faults::{FaultKind, FaultTarget, Fired};
use super::handle::handle;
use super::reply::{Reply, ReplyBody};
use super::request_log::{ReceivedCall, ShownHeaders};
use super::state::State;

/// The call ends without an answer: the connection is to be broken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken {
    /// With a reset, rather than an orderly close.
    pub(super) by_reset: bool,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sandbox breaks the connection")
    }
}

impl std::error::Error for Broken {}

enum End {
    Answer(Reply),
    Break(Broken),
}

pub(super) async fn answer(
    sandbox: &Sandbox,
    parts: Parts,
    body: Result<Bytes, TooLarge>,
) -> Result<Response<ReplyBody>, Broken> {
    let inner = &*sandbox.inner;
    let now = inner.clock.now();
    let path = parts.uri.path();
    let has_key = has_key(&parts.headers, &inner.directory);
    let (call, about) = Call::read(&parts.method, path, &body, &inner.directory);
    let received = received(&parts, body, now);

    let (_place, ticket, end, wait) = {
        let mut state = sandbox.lock();
        let place = (parts.method != Method::GET).then(|| state.changing.begin());
        let fault = state.draw_fault(parts.method.as_str(), path, &about);
        let ticket = state.log.begin(received, fault.map(|fault| fault.kind));
        let (end, fault_wait_ms) = decide(fault, || {
            if has_key {
                handle(&mut state, &inner.directory, call, now)
            } else {
                Reply::forbidden()
            }
        });
        let wait = Duration::from_millis(inner.latency_ms.saturating_add(fault_wait_ms));
        if let End::Answer(reply) = &end
            && wait.is_zero()
        {
            state.log.finish(ticket, reply.status.as_u16());
        }
        (place, ticket, end, wait)
    };
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
        if let End::Answer(reply) = &end {
            sandbox.lock().log.finish(ticket, reply.status.as_u16());
        }
    }
    match end {
        End::Answer(reply) => Ok(reply.into_response()),
        End::Break(broken) => Err(broken),
    }
}

/// What becomes of a call, and how much longer it takes, in milliseconds.
fn decide(fault: Option<Fired>, handle: impl FnOnce() -> Reply) -> (End, u64) {
    let Some(fault) = fault else {
        return (End::Answer(handle()), 0);
    };
    let reset = End::Break(Broken { by_reset: true });
    let end = match fault.kind {
        FaultKind::Latency => End::Answer(handle()),
        FaultKind::Status => End::Answer(status_reply(fault)),
        FaultKind::Gateway => End::Answer(gateway_reply(fault)),
        FaultKind::ErrorIn200 => {
            End::Answer(Reply::error_message(StatusCode::OK, ERROR_IN_200_MESSAGE))
        }
        FaultKind::ResetBeforeStore => reset,
        FaultKind::TimeoutAfterStore
        | FaultKind::ResetAfterStore
        | FaultKind::MalformedBody
        | FaultKind::EmptyBody => {
            let reply = handle();
            if reply.status != StatusCode::OK {
                return (End::Answer(reply), 0);
            }
            match fault.kind {
                FaultKind::MalformedBody => End::Answer(Reply::new(StatusCode::OK, MALFORMED_BODY)),
                FaultKind::EmptyBody => End::Answer(Reply::new(StatusCode::OK, "")),
                FaultKind::ResetAfterStore => reset,
                _ => End::Break(Broken { by_reset: false }),
            }
        }
    };
    (end, fault.latency_ms)
}

fn status_reply(fault: Fired) -> Reply {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status == StatusCode::FORBIDDEN {
        return Reply::forbidden();
    }
    let words = status.canonical_reason().unwrap_or("Error");
    Reply {
        retry_after_s: fault.retry_after_s,
        ..Reply::error_message(status, words)
    }
}

/// The page of something that stands in front of the vendor.
fn gateway_reply(fault: Fired) -> Reply {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let words = status.canonical_reason().unwrap_or("Error");
    let page = format!(
        "<html>\r\n<head><title>{0} {words}</title></head>\r\n<body>\r\n<center><h1>{0} {words}</h1></center>\r\n\
         <hr><center>gateway</center>\r\n</body>\r\n</html>\r\n",
        status.as_u16()
    );
    Reply {
        retry_after_s: fault.retry_after_s,
        ..Reply::page(status, page)
    }
}

impl State {
    fn draw_fault(&mut self, method: &str, path: &str, about: &About) -> Option<Fired> {
        if self.faults.list().is_empty() {
            return None;
        }
        let held = &self.held;
        let community_id = match about {
            About::Community(id) => Some(&**id),
            About::Prospect(id) => held.cards.get(*id).map(|card| &*card.shown.community_id),
            About::Appointment(id) => {
                let appointment = held.appointments.get(*id);
                appointment.map(|appointment| &*appointment.community_id)
            }
            About::Nothing => None,
        };
        self.faults.draw(&FaultTarget {
            method,
            path,
            community_id,
        })
    }
}

fn has_key(headers: &HeaderMap, directory: &Directory) -> bool {
    let mut keys = KEY_HEADERS.iter().filter_map(|name| headers.get(*name));
    keys.any(|key| directory.accepts_key(key.as_bytes()))
}

fn received(parts: &Parts, body: Result<Bytes, TooLarge>, at: Timestamp) -> ReceivedCall {
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    ReceivedCall {
        at,
        method: parts.method.clone(),
        path: path.into(),
        headers: ShownHeaders::pick(&parts.headers),
        // A copy on purpose: the bytes are a slice of the connection's buffer and would keep all of it.
        body: body.map(|bytes| (*bytes).into()).unwrap_or_default(),
    }
}
