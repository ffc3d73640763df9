//! The vendor's own calls: what they answer, with the fault that befalls them.
//!
//! Guarantee: a call takes effect at most once, under one hold of the lock, before any waiting begins; so a
//! client that gives up during the wait has been stored, as it would be at a slow vendor.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use model::Timestamp;

use super::faults::{FaultKind, FaultTarget, Fired};
use super::reply::{Reply, ReplyBody};
use super::request_log::{ReceivedCall, ShownHeaders, without_secrets};
use super::{Form, Imitation, Received, Sandbox, State, TooLarge};

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

/// The message of a 200 whose body is an error.
const ERROR_IN_200_MESSAGE: &str = "An unexpected error occurred";

enum End {
    Answer(Reply),
    Break(Broken),
}

pub(super) async fn answer<V: Imitation>(
    sandbox: &Sandbox<V>,
    parts: Parts,
    body: Result<Bytes, TooLarge>,
) -> Result<Response<ReplyBody>, Broken> {
    let inner = &*sandbox.inner;
    let form = sandbox.form();
    let now = inner.clock.now();
    let call = inner.imitation.read(&Received {
        method: &parts.method,
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body: body.as_deref().ok(),
    });
    let received = received(&parts, &body, form, now);

    let (_place, ticket, end, wait) = {
        let mut state = sandbox.lock();
        let place = (parts.method != Method::GET).then(|| state.changing.begin());
        let fault = draw_fault(&inner.imitation, &mut state, &parts, &call);
        let ticket = state.log.begin(received, fault.map(|fault| fault.kind));
        let (end, fault_wait_ms) = decide(form, fault, || {
            inner.imitation.answer(&mut state.own, call, now)
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
fn decide(form: &Form, fault: Option<Fired>, handle: impl FnOnce() -> Reply) -> (End, u64) {
    let Some(fault) = fault else {
        return (End::Answer(handle()), 0);
    };
    let reset = End::Break(Broken { by_reset: true });
    let end = match fault.kind {
        FaultKind::Latency => End::Answer(handle()),
        FaultKind::Status => End::Answer(status_reply(form, fault)),
        FaultKind::Gateway => End::Answer(gateway_reply(fault)),
        FaultKind::ErrorIn200 => End::Answer(form.error(StatusCode::OK, ERROR_IN_200_MESSAGE)),
        FaultKind::ResetBeforeStore => reset,
        FaultKind::TimeoutAfterStore
        | FaultKind::ResetAfterStore
        | FaultKind::MalformedBody
        | FaultKind::EmptyBody => {
            let reply = handle();
            if !reply.status.is_success() {
                return (End::Answer(reply), 0);
            }
            match fault.kind {
                FaultKind::MalformedBody => {
                    End::Answer(Reply::new(reply.status, form.malformed_body))
                }
                FaultKind::EmptyBody => End::Answer(Reply::new(reply.status, "")),
                FaultKind::ResetAfterStore => reset,
                _ => End::Break(Broken { by_reset: false }),
            }
        }
    };
    (end, fault.latency_ms)
}

fn status_reply(form: &Form, fault: Fired) -> Reply {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status == form.bad_key.0 {
        return form.bad_key();
    }
    let words = status.canonical_reason().unwrap_or("Error");
    Reply {
        retry_after_s: fault.retry_after_s,
        ..form.error(status, words)
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

fn draw_fault<V: Imitation>(
    imitation: &V,
    state: &mut State<V>,
    parts: &Parts,
    call: &V::Call,
) -> Option<Fired> {
    if state.faults.list().is_empty() {
        return None;
    }
    let community_id = imitation.community_of(&state.own, call);
    state.faults.draw(&FaultTarget {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        community_id,
    })
}

fn received(
    parts: &Parts,
    body: &Result<Bytes, TooLarge>,
    form: &Form,
    at: Timestamp,
) -> ReceivedCall {
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    ReceivedCall {
        at,
        method: parts.method.clone(),
        path: path.into(),
        headers: ShownHeaders::pick(&parts.headers, form),
        // A copy on purpose: the bytes are a slice of the connection's buffer and would keep all of it.
        body: body
            .as_ref()
            .map(|bytes| without_secrets(bytes, form))
            .unwrap_or_default(),
    }
}
