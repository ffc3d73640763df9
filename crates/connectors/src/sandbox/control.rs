//! The control surface under `/_sandbox`: how tests and people look into a sandbox and make it fail.
//!
//! Guarantee: answers loopback peers only; says in `error` what is right when something is wrong; faults and
//! latency never touch it, and its calls are not in the request log.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::faults::{Fault, MOST_FAULTS};
use super::reply::Reply;
use super::request_log::MOST_CALLS;
use super::{Imitation, Sandbox, TooLarge};

/// What every path of the control surface starts with.
const ROOT: &str = "/_sandbox";

/// The entries of a page when `limit` is absent.
const PAGE_ENTRIES: u64 = 1_000;

/// The path below `/_sandbox`, when it is one.
pub(crate) fn inner_path(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(ROOT)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

pub(crate) fn answer<V: Imitation>(
    sandbox: &Sandbox<V>,
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

/// Why a call of the control surface is refused.
pub struct Wrong(pub StatusCode, pub String);

impl Wrong {
    /// 400, in words.
    pub fn bad(reason: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, reason.into())
    }
}

impl From<std::io::Error> for Wrong {
    fn from(error: std::io::Error) -> Self {
        let reason = format!("the journal cannot be written: {error}");
        Self(StatusCode::INTERNAL_SERVER_ERROR, reason)
    }
}

/// A call of the control surface that only this vendor's sandbox has.
pub struct Control<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path behind `/_sandbox`.
    pub path: &'a str,
    /// The query.
    pub query: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

fn route<V: Imitation>(
    sandbox: &Sandbox<V>,
    parts: &Parts,
    inner_path: &str,
    body: &[u8],
) -> Result<Reply, Wrong> {
    let is = |method: Method| parts.method == method;
    let imitation = &sandbox.inner.imitation;
    Ok(match inner_path {
        "/state" if is(Method::GET) => imitation.shown(&sandbox.lock().own),
        "/counts" if is(Method::GET) => ok(&sandbox.counts()),
        "/requests" if is(Method::GET) => {
            let page = Page::read(parts.uri.query(), MOST_CALLS as u64)?;
            let state = sandbox.lock();
            ok(&json_of(
                "requests",
                &state.log.page(page.after, page.limit),
            ))
        }
        "/faults" if is(Method::POST) => add_fault(sandbox, body)?,
        "/faults" if is(Method::GET) => ok(&json_of("faults", &sandbox.lock().faults.list())),
        "/faults" if is(Method::DELETE) => {
            sandbox.clear_faults();
            ok(&json!({}))
        }
        "/reset" if is(Method::POST) => {
            sandbox.try_reset()?;
            ok(&json!({}))
        }
        other => match other.strip_prefix("/faults/") {
            Some(id) if is(Method::DELETE) => remove_fault(sandbox, id)?,
            _ => {
                let now = sandbox.inner.clock.now();
                let control = Control {
                    method: &parts.method,
                    path: inner_path,
                    query: parts.uri.query(),
                    body,
                };
                let mut state = sandbox.lock();
                let answered = imitation.control(&mut state.own, &control, now);
                answered.unwrap_or_else(|| Err(unknown(V::CONTROLS)))?
            }
        },
    })
}

fn unknown(own: &str) -> Wrong {
    let reason = format!(
        "known are GET state, counts, requests and faults; POST faults and reset; \
         DELETE faults and faults/{{id}}{own}"
    );
    Wrong(StatusCode::NOT_FOUND, reason)
}

fn add_fault<V: Imitation>(sandbox: &Sandbox<V>, body: &[u8]) -> Result<Reply, Wrong> {
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

fn remove_fault<V: Imitation>(sandbox: &Sandbox<V>, id: &str) -> Result<Reply, Wrong> {
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

/// 200 with a value.
pub fn ok(value: &impl Serialize) -> Reply {
    Reply::json(StatusCode::OK, value)
}

/// An object with one member, without copying it into a JSON value first.
pub fn json_of<'a, T: Serialize + ?Sized>(
    name: &'static str,
    value: &'a T,
) -> std::collections::BTreeMap<&'static str, &'a T> {
    std::collections::BTreeMap::from([(name, value)])
}

/// A body as a `T`.
///
/// # Errors
/// 400 when it is none.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Wrong> {
    serde_json::from_slice(body).map_err(|error| Wrong::bad(error.to_string()))
}

/// The part of a list that was asked for.
pub struct Page {
    /// Behind this number.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
}

impl Page {
    /// Reads it off a query; `limit` is `most` at most.
    ///
    /// # Errors
    /// 400 when the query is not understood.
    pub fn read(query: Option<&str>, most: u64) -> Result<Self, Wrong> {
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
