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
use serde_json::{Map, Value};

use super::assumptions::{
    BAD_CARD_STATUS, ERROR_IN_200_MESSAGE, KEY_HEADERS, MALFORMED_BODY, MOST_BODY_BYTES,
    UnknownSource,
};
use super::cards::ProspectId;
use super::directory::{CommunityIndex, Directory};
use super::draft::Draft;
use super::faults::{FaultKind, FaultTarget, Fired};
use super::fields::Refusal;
use super::reply::{Reply, ReplyBody};
use super::request_log::{ReceivedCall, ShownHeaders};
use super::state::State;
use super::{Inner, Sandbox};

/// A body above the bound; it was not read.
pub(super) struct TooLarge;

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

/// What is called, as far as the request alone and the seed tell.
enum Call {
    PostProspect(Result<Box<Draft>, Refusal>),
    GetProspect(Option<ProspectId>),
    GetSources(Option<CommunityIndex>),
    TooLarge,
    Unknown,
}

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
    let (call, community_id) = read(&parts.method, path, &body, &inner.directory);
    let received = received(&parts, body, now);

    let (ticket, end, wait) = {
        let mut state = sandbox.lock();
        let fault = state.draw_fault(parts.method.as_str(), path, &call, community_id.as_deref());
        let ticket = state.log.begin(received, fault.map(|fault| fault.kind));
        let (end, fault_wait_ms) = decide(fault, || {
            if has_key {
                handle(&mut state, inner, call, now)
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
        (ticket, end, wait)
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

impl State {
    fn draw_fault(
        &mut self,
        method: &str,
        path: &str,
        call: &Call,
        community_id: Option<&str>,
    ) -> Option<Fired> {
        if self.faults.list().is_empty() {
            return None;
        }
        let card = match call {
            Call::GetProspect(Some(id)) => self.cards.get(*id),
            _ => None,
        };
        let of_card = card.map(|card| &*card.shown.community_id);
        self.faults.draw(&FaultTarget {
            method,
            path,
            community_id: community_id.or(of_card),
        })
    }
}

fn handle(state: &mut State, inner: &Inner, call: Call, now: Timestamp) -> Reply {
    match call {
        Call::PostProspect(Ok(draft)) => post_prospect(state, &inner.directory, *draft, now),
        Call::PostProspect(Err(Refusal(reason))) => Reply::error_message(BAD_CARD_STATUS, &reason),
        Call::GetProspect(id) => match id.and_then(|id| state.cards.get(id)) {
            Some(card) => Reply::json(StatusCode::OK, &card.shown),
            None => Reply::unknown("prospect"),
        },
        Call::GetSources(community) => {
            match community.and_then(|community| inner.directory.community(community)) {
                Some(community) => sources(&community.sources),
                None => Reply::unknown("community"),
            }
        }
        Call::TooLarge => Reply::error_message(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("the body is larger than {MOST_BODY_BYTES} bytes"),
        ),
        Call::Unknown => Reply::unknown("path"),
    }
}

fn post_prospect(state: &mut State, directory: &Directory, draft: Draft, now: Timestamp) -> Reply {
    if !draft.source_is_known && state.settings.unknown_source == UnknownSource::Refuse {
        let title = &draft.source_title;
        let reason = format!("sourceTitle {title} is not a source of this community");
        return Reply::error_message(BAD_CARD_STATUS, &reason);
    }
    match state.put_card(draft, directory, now) {
        Ok(ProspectId(id)) => Reply::new(StatusCode::OK, format!(r#"{{"id":"{id}"}}"#)),
        Err(error) => Reply::error_message(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("the sandbox cannot write its journal: {error}"),
        ),
    }
}

fn sources(titles: &[String]) -> Reply {
    let edges: Vec<Value> = titles
        .iter()
        .map(|title| serde_json::json!({ "node": { "sourceTitle": title } }))
        .collect();
    Reply::json(StatusCode::OK, &serde_json::json!({ "edges": edges }))
}

/// The call, and the community that the body or the path names, known or not.
fn read(
    method: &Method,
    path: &str,
    body: &Result<Bytes, TooLarge>,
    directory: &Directory,
) -> (Call, Option<Box<str>>) {
    let Ok(body) = body else {
        return (Call::TooLarge, None);
    };
    if method == Method::GET {
        if let Some(id) = path.strip_prefix("/prospect/") {
            return (Call::GetProspect(ProspectId::parse(id)), None);
        }
        if let Some(id) = community_of(path)
            && path.ends_with("/sources")
        {
            return (Call::GetSources(directory.find(id)), Some(id.into()));
        }
    }
    let mut members = match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(Refusal("the body must be a JSON object".to_owned())),
    };
    let of_body = members.as_ref().ok().and_then(community_in);
    let community_id = of_body.or_else(|| community_of(path).map(Into::into));
    if method != Method::POST || path != "/prospect" {
        return (Call::Unknown, community_id);
    }
    let draft = match &mut members {
        Ok(members) => Draft::read(members, directory).map(Box::new),
        Err(Refusal(reason)) => Err(Refusal(std::mem::take(reason))),
    };
    (Call::PostProspect(draft), community_id)
}

fn community_in(members: &Map<String, Value>) -> Option<Box<str>> {
    Some(members.get("communityId")?.as_str()?.into())
}

/// The id in `/community/{id}/...`.
fn community_of(path: &str) -> Option<&str> {
    let (id, _) = path.strip_prefix("/community/")?.split_once('/')?;
    Some(id)
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
