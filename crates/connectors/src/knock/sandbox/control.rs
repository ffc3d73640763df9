//! The control surface under `/_sandbox`: how tests and people look into a sandbox and make it fail.
//!
//! Guarantee: answers loopback peers only; says in `error` what is right when something is wrong; faults and
//! latency never touch it, and its calls are not in the request log.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Sandbox;
use super::call::TooLarge;
use super::card_edit::CardEdit;
use super::cards::CardView;
use super::faults::{Fault, MOST_FAULTS};
use super::fields::Refusal;
use super::ids::Id;
use super::reply::Reply;
use super::request_log::MOST_CALLS;

/// What every path of the control surface starts with.
const ROOT: &str = "/_sandbox";

/// The entries of a page when `limit` is absent.
const PAGE_ENTRIES: u64 = 1_000;

/// The most cards or activities of a page; more is what `GET /_sandbox/state` is for.
const MOST_PAGE_RECORDS: u64 = 10_000;

/// The path below `/_sandbox`, when it is one.
pub(super) fn inner_path(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(ROOT)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

pub(super) fn answer(
    sandbox: &Sandbox,
    parts: &Parts,
    inner_path: &str,
    body: Result<Bytes, TooLarge>,
    from_loopback: bool,
) -> Reply {
    if !from_loopback {
        let reason = "the control surface answers on loopback only";
        return Reply::control_error(StatusCode::FORBIDDEN, reason);
    }
    let Ok(body) = body else {
        return Reply::control_error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
    };
    route(sandbox, parts, inner_path, &body)
        .unwrap_or_else(|Wrong(status, reason)| Reply::control_error(status, &reason))
}

struct Wrong(StatusCode, String);

impl Wrong {
    fn bad(reason: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, reason.into())
    }
}

impl From<Refusal> for Wrong {
    fn from(Refusal(reason): Refusal) -> Self {
        Self::bad(reason)
    }
}

impl From<std::io::Error> for Wrong {
    fn from(error: std::io::Error) -> Self {
        let reason = format!("the journal cannot be written: {error}");
        Self(StatusCode::INTERNAL_SERVER_ERROR, reason)
    }
}

fn route(sandbox: &Sandbox, parts: &Parts, inner_path: &str, body: &[u8]) -> Result<Reply, Wrong> {
    let query = parts.uri.query();
    let is = |method: Method| parts.method == method;
    Ok(match inner_path {
        "/state" if is(Method::GET) => ok(&sandbox.lock().view(&sandbox.inner.directory)),
        "/counts" if is(Method::GET) => ok(&sandbox.counts()),
        "/requests" if is(Method::GET) => {
            let page = Page::read(query, MOST_CALLS as u64)?;
            let state = sandbox.lock();
            ok(&json_of(
                "requests",
                &state.log.page(page.after, page.limit),
            ))
        }
        "/prospects" if is(Method::GET) => {
            let page = Page::read(query, MOST_PAGE_RECORDS)?;
            let state = sandbox.lock();
            let cards = state.held.cards.after(page.after).take(page.limit);
            let cards: Vec<_> = cards.map(CardView::new).collect();
            ok(&json_of("prospects", &cards))
        }
        "/activities" if is(Method::GET) => {
            let page = Page::read(query, MOST_PAGE_RECORDS)?;
            let state = sandbox.lock();
            let activities = state.held.activities.after(page.after).take(page.limit);
            ok(&json_of("activities", &activities.collect::<Vec<_>>()))
        }
        "/faults" if is(Method::POST) => add_fault(sandbox, body)?,
        "/faults" if is(Method::GET) => ok(&json_of("faults", &sandbox.lock().faults.list())),
        "/faults" if is(Method::DELETE) => {
            sandbox.clear_faults();
            ok(&json!({}))
        }
        "/settings" if is(Method::GET) => ok(&sandbox.lock().settings),
        "/settings" if is(Method::POST) => {
            let settings = parse(body)?;
            sandbox.lock().settings = settings;
            ok(&settings)
        }
        "/reset" if is(Method::POST) => {
            sandbox.lock().reset(&sandbox.inner.directory)?;
            ok(&json!({}))
        }
        other => {
            let (list, id) = other
                .strip_prefix('/')
                .and_then(|other| other.split_once('/'))
                .ok_or_else(unknown)?;
            match list {
                "faults" if is(Method::DELETE) => remove_fault(sandbox, id)?,
                "prospects" if is(Method::POST) => edit_card(sandbox, id, body)?,
                "prospects" if is(Method::DELETE) => vanish(sandbox, id)?,
                "communities" if is(Method::POST) => replace_sources(sandbox, id, body)?,
                _ => return Err(unknown()),
            }
        }
    })
}

fn unknown() -> Wrong {
    let reason = "known are GET state, counts, requests, prospects, activities, faults and settings; \
                  POST faults, settings, reset, prospects/{id} and communities/{id}; \
                  DELETE faults, faults/{id} and prospects/{id}";
    Wrong(StatusCode::NOT_FOUND, reason.to_owned())
}

fn add_fault(sandbox: &Sandbox, body: &[u8]) -> Result<Reply, Wrong> {
    let fault: Fault = parse(body)?;
    fault.check().map_err(Wrong::bad)?;
    let mut state = sandbox.lock();
    if state.faults.list().len() >= MOST_FAULTS {
        let reason = format!("there are {MOST_FAULTS} faults, the most there may be");
        return Err(Wrong::bad(reason));
    }
    let id = state.faults.add(fault);
    Ok(ok(&json!({ "id": id })))
}

fn remove_fault(sandbox: &Sandbox, id: &str) -> Result<Reply, Wrong> {
    let id = id
        .parse()
        .map_err(|_| Wrong::bad("a fault id is a whole number"))?;
    if sandbox.lock().faults.remove(id) {
        Ok(ok(&json!({})))
    } else {
        Err(Wrong(
            StatusCode::NOT_FOUND,
            format!("there is no fault {id}"),
        ))
    }
}

/// Changes a card as somebody at Knock would.
fn edit_card(sandbox: &Sandbox, id: &str, body: &[u8]) -> Result<Reply, Wrong> {
    let directory = &sandbox.inner.directory;
    let now = sandbox.inner.clock.now();
    let mut state = sandbox.lock();
    let id = Id::parse(id).ok_or_else(|| no_card(id))?;
    let card = state.held.cards.get(id).ok_or_else(|| no_card(id))?;
    let community = directory.find(&card.shown.community_id);
    let community = community.ok_or_else(|| no_card(id))?;
    let edit = CardEdit::read(&mut parse(body)?)?;
    if let Some(username) = &edit.agent {
        directory.check_agent(community, username)?;
    }
    state.edit_card(id, community, edit, now)?;
    let card = state.held.cards.get(id).ok_or_else(|| no_card(id))?;
    Ok(ok(&CardView::new(card)))
}

/// Makes a card vanish, and its contacts with it.
fn vanish(sandbox: &Sandbox, id: &str) -> Result<Reply, Wrong> {
    let known = Id::parse(id).ok_or_else(|| no_card(id))?;
    if sandbox.lock().vanish(known, &sandbox.inner.directory)? {
        Ok(ok(&json!({})))
    } else {
        Err(no_card(id))
    }
}

fn no_card(id: impl std::fmt::Display) -> Wrong {
    Wrong(StatusCode::NOT_FOUND, format!("there is no prospect {id}"))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourcesBody {
    sources: Vec<String>,
}

fn replace_sources(sandbox: &Sandbox, id: &str, body: &[u8]) -> Result<Reply, Wrong> {
    let community = sandbox.inner.directory.find(id).ok_or_else(|| {
        let reason = format!("there is no community {id}");
        Wrong(StatusCode::NOT_FOUND, reason)
    })?;
    let SourcesBody { sources } = parse(body)?;
    let replaced = sandbox.lock().sources.replace(community, sources.clone());
    replaced.map_err(|reason| Wrong::bad(format!("the community then {reason}")))?;
    Ok(ok(&SourcesBody { sources }))
}

fn ok(value: &impl Serialize) -> Reply {
    Reply::json(StatusCode::OK, value)
}

/// An object with one member, without copying it into a JSON value first.
fn json_of<'a, T: Serialize + ?Sized>(
    name: &'static str,
    value: &'a T,
) -> std::collections::BTreeMap<&'static str, &'a T> {
    std::collections::BTreeMap::from([(name, value)])
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Wrong> {
    serde_json::from_slice(body).map_err(|error| Wrong::bad(error.to_string()))
}

/// The part of a list that was asked for.
struct Page {
    after: u64,
    limit: usize,
}

impl Page {
    fn read(query: Option<&str>, most: u64) -> Result<Self, Wrong> {
        let (mut after, mut limit) = (0, PAGE_ENTRIES);
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number = value.parse::<u64>().ok();
            match (name, number) {
                ("", _) => {}
                ("after", Some(number)) => after = number,
                ("limit", Some(number)) if (1..=most).contains(&number) => limit = number,
                ("after", _) => return Err(Wrong::bad("after must be a whole number")),
                ("limit", _) => {
                    let reason = format!("limit must be a whole number from 1 to {most}");
                    return Err(Wrong::bad(reason));
                }
                _ => return Err(Wrong::bad("only after and limit are known here")),
            }
        }
        Ok(Self {
            after,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }
}
