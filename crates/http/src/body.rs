//! A JSON body, read within a bound and checked against the OpenAPI document's own schema.
//!
//! Guarantee: all problems of a body are found at once; what the schema refuses is described in Zod's words, and repeats of what the caller sent are cut.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::header,
};
use http_body_util::BodyExt as _;
use jsonschema::{
    ValidationError,
    error::{TypeKind, ValidationErrorKind},
};
use model::{
    Issue, KeyId,
    directory::Vendor,
    issue::{Step, cut},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{
    App, caller::Admitted, error::Error, json, limits, openapi::Schema, problems::Problems,
    tally::Tally,
};
use listener::peer::ClientAddress;

/// Bytes that a body may have.
pub const BODY_MAX_BYTES: usize = 256 * 1_024;

/// Bytes that a body with many things in it may have: a thousand of some hundreds each.
pub const BULK_MAX_BYTES: usize = 1_024 * 1_024;

/// How long a body may take to arrive. A caller that sends 256 KiB over a slow mobile line is done in half of it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// KiB that must arrive within each such time, until all is there: a body that stops holds memory
/// that others wait for. A slow mobile line brings ten times as much.
const RATE_MIN_KIB: usize = 16;
const RATE_WINDOW: Duration = Duration::from_secs(4);

/// KiB of bodies that may be under way at once, over all callers: who finds no room within the time hears 503.
pub const BODIES_MAX_KIB: usize = 32 * 1_024;

/// KiB of a body that is small, as nearly all are that one thing is written with.
pub const SMALL_MAX_KIB: usize = 16;

/// Of all KiB, those that bodies which are not small may take: the rest is for small ones, which
/// are not kept out by uploads.
pub const LARGE_MAX_KIB: usize = BODIES_MAX_KIB / 8 * 7;

/// The key that a request came with.
#[derive(Clone, Copy)]
pub(crate) struct Asking(pub(crate) Option<KeyId>);

/// Memory for bodies under way.
///
/// An address has half of it at most. A key has a quarter, and gets more only as long as it holds
/// no more than is left, of all and of its address's half: the more keys come, the less each of
/// them gets, and something is left for the next. Several keys come from one address through a
/// proxy that is not trusted to name its callers.
#[derive(Default)]
pub struct Room {
    held: Mutex<Held>,
    freed: Notify,
}

/// KiB that are held.
#[derive(Default)]
struct Held {
    all: usize,
    by_key: Tally<Option<KeyId>>,
    by_address: Tally<IpAddr>,
}

impl Held {
    /// Whether a key at an address may have so many KiB more, of `most` that there are for such
    /// bodies.
    fn leaves(&self, most: usize, key: Option<KeyId>, address: IpAddr, kib: usize) -> bool {
        let of_key = self.by_key.of(&key) + kib;
        let of_address = self.by_address.of(&address) + kib;
        of_key <= most / 4 && of_address + of_key <= most / 2 && self.all + kib + of_key <= most
    }
}

/// What one body holds; given back when dropped.
struct Memory<'a> {
    room: &'a Room,
    key: Option<KeyId>,
    address: IpAddr,
    kib: usize,
    /// True if its caller has not announced more than a small body.
    may_be_small: bool,
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory for a body of a caller, none so far.
    fn of(&self, key: Option<KeyId>, address: IpAddr) -> Memory<'_> {
        Memory {
            room: self,
            key,
            address: limits::whole(address),
            kib: 0,
            may_be_small: true,
        }
    }
}

impl Memory<'_> {
    /// Takes so many KiB more, if they are left of all shares.
    fn take(&mut self, kib: usize) -> bool {
        let mut held = self.room.lock();
        // One KiB more than the bytes need is always held.
        let is_small = self.may_be_small && self.kib + kib <= SMALL_MAX_KIB + 1;
        let most = if is_small {
            BODIES_MAX_KIB
        } else {
            LARGE_MAX_KIB
        };
        let is_left = held.leaves(most, self.key, self.address, kib);
        if is_left {
            held.all += kib;
            held.by_key.add(self.key, kib);
            held.by_address.add(self.address, kib);
            self.kib += kib;
        }
        is_left
    }

    /// The same, and waits until they are left.
    async fn grow(&mut self, kib: usize) {
        let room = self.room;
        loop {
            let mut freed = std::pin::pin!(room.freed.notified());
            // Subscribed before looking: what is freed in between is not missed.
            freed.as_mut().enable();
            if self.take(kib) {
                return;
            }
            freed.await;
        }
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        let Self {
            room,
            key,
            address,
            kib,
            may_be_small: _,
        } = *self;
        if kib == 0 {
            return;
        }
        let mut held = room.lock();
        held.all -= kib;
        held.by_key.take_back(&key, kib);
        held.by_address.take_back(&address, kib);
        drop(held);
        room.freed.notify_waiters();
    }
}

/// Members that the schema does not have which one issue names.
const UNKNOWN_NAMED_MAX: usize = 20;

/// A parsed body: any JSON, each member of an object once, of so many bytes at most.
pub struct JsonBody<const MAX_BYTES: usize = BODY_MAX_BYTES>(pub Value);

impl<const MAX_BYTES: usize> FromRequest<App> for JsonBody<MAX_BYTES> {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| {
                let essence = value
                    .split(';')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_ascii_lowercase();
                essence == "application/json"
                    || (essence.starts_with("application/") && essence.ends_with("+json"))
            });
        if !is_json {
            return Err(Error::unsupported_media_type());
        }
        let is_encoded = request
            .headers()
            .get(header::CONTENT_ENCODING)
            .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
        if is_encoded {
            return Err(Error::unsupported_encoding());
        }
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|bytes| bytes > MAX_BYTES) {
            return Err(Error::payload_too_large(MAX_BYTES));
        }
        let admitted = request.extensions().get::<Admitted>().cloned();
        let key = request.extensions().get().and_then(|Asking(key)| *key);
        let address = ClientAddress::of(request.extensions()).0;
        let mut memory = app.body_room.of(key, address);
        memory.may_be_small = announced.is_none_or(|bytes| bytes <= SMALL_MAX_KIB * 1_024);
        let bytes = collect::<MAX_BYTES>(request.into_body(), &mut memory).await?;
        if let Some(admitted) = admitted {
            // The body may have taken a while.
            admitted.check(app)?;
        }
        if bytes.is_empty() {
            return Err(Error::invalid(&[problem(
                "The body is empty. Send a JSON object",
            )]));
        }
        json::read(&bytes, MAX_BYTES)
            .map(Self)
            .map_err(|issues| Error::invalid(&issues))
    }
}

/// Reads a body to its end. Memory is set aside as it arrives: who announces much and sends little
/// holds little.
async fn collect<const MAX_BYTES: usize>(
    mut body: Body,
    memory: &mut Memory<'_>,
) -> Result<Vec<u8>, Error> {
    let until = Instant::now() + BODY_TIMEOUT;
    let mut bytes: Vec<u8> = Vec::new();
    // When and with how many bytes the time began in which more must arrive.
    let (mut since, mut had) = (Instant::now(), 0);
    loop {
        let slow_at = since + RATE_WINDOW;
        let frame = match timeout_at(until.min(slow_at), body.frame()).await {
            Ok(frame) => frame,
            Err(_) if slow_at < until => {
                return Err(Error::slow_body(RATE_MIN_KIB, RATE_WINDOW.as_secs()));
            }
            Err(_) => return Err(Error::request_timeout(BODY_TIMEOUT.as_secs())),
        };
        let frame = match frame {
            None => return Ok(bytes),
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                return Err(Error::invalid(&[problem(
                    "The body broke off before its end. Send the same request again",
                )]));
            }
        };
        // Trailers are nobody's.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > MAX_BYTES {
            return Err(Error::payload_too_large(MAX_BYTES));
        }
        let lacking = ((bytes.len() + data.len()) / 1_024 + 1).saturating_sub(memory.kib);
        if lacking > 0 {
            let begun = Instant::now();
            timeout_at(until, memory.grow(lacking)).await.map_err(|_| {
                Error::unavailable(
                    "Too many requests are under way, or too many of this API key or from this address",
                )
                .to_repeat()
            })?;
            // That was not the caller's time.
            since += begun.elapsed();
        }
        bytes.extend_from_slice(&data);
        if bytes.len() - had >= RATE_MIN_KIB * 1_024 {
            (since, had) = (Instant::now(), bytes.len());
        }
    }
}

fn problem(message: impl Into<String>) -> Issue {
    Issue::new("custom", Vec::new(), message, Value::Null)
}

/// The object in a body, without what the schema refuses, and why it was refused.
pub struct Screened {
    /// What is left: every member in it keeps the schema.
    pub object: Map<String, Value>,
    /// What was wrong with the rest.
    problems: Problems,
    /// The top-level members that were refused, those of problems that are only counted too.
    broken: BTreeSet<String>,
}

impl Screened {
    /// Whether the schema has something to say on `field`.
    pub fn is_broken(&self, field: &str) -> bool {
        self.broken.contains(field)
    }

    /// What is left, as the body that it is of.
    ///
    /// # Errors
    /// 500 when it keeps the schema and cannot be read all the same.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_value(Value::Object(self.object.clone())).map_err(|why| {
            tracing::error!(
                line = why.line(),
                "a body kept the schema and could not be read"
            );
            Error::internal()
        })
    }

    /// What the rules made of the body, unless the schema or they found something.
    ///
    /// # Errors
    /// 400 with all that both found.
    pub fn settle<T>(self, checked: Result<T, Vec<Issue>>) -> Result<T, Error> {
        let mut problems = self.problems;
        match checked {
            Ok(checked) if problems.is_empty() => return Ok(checked),
            Ok(_) => {}
            Err(more) => problems.extend(more),
        }
        Err(Error::of(problems))
    }
}

/// Checks `body` against `schema`. Free text is cleaned, blank text is absent. With `ignore_unknown`, members that the
/// schema does not have are dropped instead of refused.
///
/// # Errors
/// When the body is not an object at all.
pub fn screen(schema: &Schema, mut body: Value, ignore_unknown: bool) -> Result<Screened, Error> {
    schema.shape.clean(&mut body);
    let mut problems = Problems::default();
    let (mut unknown, mut broken) = (HashSet::new(), BTreeSet::new());
    let found_in_body: Vec<ValidationError<'_>> = schema.validator.iter_errors(&body).collect();
    for error in found_in_body.iter().flat_map(causes) {
        let found = match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
                if error.instance_path().as_str().is_empty() =>
            {
                unknown.extend(unexpected.iter().cloned());
                if ignore_unknown {
                    continue;
                }
                unrecognized(unexpected)
            }
            kind => issue(kind, error.instance(), path(error.instance_path().as_str())),
        };
        broken.extend(found.field().map(str::to_owned));
        // Of a value of the wrong type, only that: what else it is not follows from it.
        let says_more = found.code == "invalid_type"
            || !problems
                .listed()
                .iter()
                .any(|known| known.code == "invalid_type" && known.path == found.path);
        if says_more {
            problems.add(found);
        }
    }
    let Value::Object(mut object) = body else {
        return Err(Error::of(problems));
    };
    object.retain(|name, _| !unknown.contains(name) && !broken.contains(name));
    Ok(Screened {
        object,
        problems,
        broken,
    })
}

/// Checks the body of a generic route against the schema of `vendor`, once it is known who that is. What the vendor has no place for is told apart from
/// what nobody has.
///
/// # Errors
/// When the body is not an object at all.
pub fn screen_generic(
    generic: &Schema,
    own: &Schema,
    vendor: Vendor,
    mut body: Value,
    ignore_unknown: bool,
) -> Result<Screened, Error> {
    // A blank that the vendor has no place for is absent too, not refused.
    generic.shape.clean(&mut body);
    let Value::Object(mut object) = body else {
        return screen(generic, body, ignore_unknown);
    };
    let is_own = |name: &str| own.fields.iter().any(|field| field == name);
    let names: Vec<String> = object.keys().cloned().collect();
    let (mut unknown, mut placeless) = (Map::new(), Vec::new());
    for name in names.into_iter().filter(|name| !is_own(name)) {
        match object.remove(&name) {
            // Of what the vendor has no place for, only that.
            Some(value) if generic.fields.contains(&name) => {
                placeless.extend((!value.is_null()).then_some(name));
            }
            value => drop(value.map(|value| unknown.insert(name, value))),
        }
    }
    let mut screened = screen(own, Value::Object(object), ignore_unknown)?;
    // What is dropped is not looked at.
    if !ignore_unknown {
        let others = screen(generic, Value::Object(unknown), false)?.problems;
        // What these lack is the vendor's to say.
        let of_others = others.without(|issue| issue.field().is_some_and(is_own));
        screened.problems.join(of_others);
        screened.problems.extend(placeless.iter().map(|name| {
            Issue::custom(
                name,
                format!("{vendor} has no place for {name}. Leave it out, or add ?ignore_unknown_fields=true to have it dropped"),
            )
        }));
    }
    Ok(screened)
}

/// What is wrong in the end. Of a value that may be `null` or something else, what it lacks to be the something else.
fn causes<'a>(error: &'a ValidationError<'_>) -> Vec<&'a ValidationError<'a>> {
    let (ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context }) =
        error.kind()
    else {
        return vec![error];
    };
    let is_of_its_type = |branch: &&Vec<ValidationError<'_>>| {
        branch.iter().all(|one| {
            !matches!(one.kind(), ValidationErrorKind::Type { .. })
                || one.instance_path() != error.instance_path()
        })
    };
    let nearest = context.iter().find(is_of_its_type).or(context.first());
    match nearest {
        Some(branch) if !branch.is_empty() => branch.iter().flat_map(causes).collect(),
        _ => vec![error],
    }
}

fn unrecognized(keys: &[String]) -> Issue {
    let named = keys.iter().take(UNKNOWN_NAMED_MAX);
    let named: Vec<String> = named.map(|key| cut(key)).collect();
    let quoted: Vec<String> = named.iter().map(|key| format!("'{key}'")).collect();
    let mut message = format!("Unrecognized key(s) in object: {}", quoted.join(", "));
    let others = keys.len() - named.len();
    if others > 0 {
        message += &format!(" and {others} more");
    }
    Issue::new(
        "unrecognized_keys",
        Vec::new(),
        message,
        json!({ "keys": named }),
    )
}

/// A JSON pointer as steps.
fn path(pointer: &str) -> Vec<Step> {
    pointer
        .split('/')
        .skip(1)
        .map(|step| match step.parse() {
            Ok(index) => Step::Index(index),
            Err(_) => Step::Key(step.replace("~1", "/").replace("~0", "~")),
        })
        .collect()
}

/// Zod's name for a value's type.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn issue(kind: &ValidationErrorKind, instance: &Value, mut path: Vec<Step>) -> Issue {
    match kind {
        ValidationErrorKind::Required { property } => {
            let field = property.as_str().unwrap_or_default();
            path.push(field.into());
            Issue::new(
                "invalid_type",
                path,
                format!("Required: {field} is missing"),
                json!({ "expected": "string", "received": "undefined" }),
            )
        }
        ValidationErrorKind::Type { kind } => {
            let expected = match kind {
                TypeKind::Single(one) => one.to_string(),
                TypeKind::Multiple(several) => several
                    .iter()
                    .map(|one| one.to_string())
                    .filter(|name| name != "null")
                    .collect::<Vec<_>>()
                    .join(" | "),
            };
            let received = match type_name(instance) {
                "float" if expected != "integer" => "number",
                name => name,
            };
            Issue::new(
                "invalid_type",
                path,
                format!("Expected {expected}, received {received}"),
                json!({ "expected": expected, "received": received }),
            )
        }
        ValidationErrorKind::Minimum { limit } => Issue::new(
            "too_small",
            path,
            format!("Number must be greater than or equal to {limit}"),
            json!({ "minimum": limit, "type": "number", "inclusive": true, "exact": false }),
        ),
        ValidationErrorKind::Maximum { limit } => Issue::new(
            "too_big",
            path,
            format!("Number must be less than or equal to {limit}"),
            json!({ "maximum": limit, "type": "number", "inclusive": true, "exact": false }),
        ),
        ValidationErrorKind::MinLength { limit } => Issue::new(
            "too_small",
            path,
            format!("String must contain at least {limit} character(s)"),
            json!({ "minimum": limit, "type": "string", "inclusive": true, "exact": false }),
        ),
        ValidationErrorKind::MaxLength { limit } => Issue::new(
            "too_big",
            path,
            format!("String must contain at most {limit} character(s)"),
            json!({ "maximum": limit, "type": "string", "inclusive": true, "exact": false }),
        ),
        ValidationErrorKind::MinItems { limit } => Issue::new(
            "too_small",
            path,
            format!("Array must contain at least {limit} element(s)"),
            json!({ "minimum": limit, "type": "array", "inclusive": true, "exact": false }),
        ),
        ValidationErrorKind::MaxItems { limit } => Issue::new(
            "too_big",
            path,
            format!("Array must contain at most {limit} element(s)"),
            json!({ "maximum": limit, "type": "array", "inclusive": true, "exact": false }),
        ),
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&Value> = options
                .as_array()
                .map(|all| all.iter().filter(|one| !one.is_null()).collect())
                .unwrap_or_default();
            let named: Vec<String> = options
                .iter()
                .map(|one| format!("'{}'", one.as_str().unwrap_or_default()))
                .collect();
            let received = cut(instance.as_str().unwrap_or_default());
            Issue::new(
                "invalid_enum_value",
                path,
                format!(
                    "Invalid enum value. Expected {}, received '{received}'",
                    named.join(" | ")
                ),
                json!({ "options": options, "received": received }),
            )
        }
        ValidationErrorKind::Pattern { pattern } => Issue::new(
            "invalid_string",
            path,
            format!(
                "The text does not have the form that the field's description asks for: {pattern}"
            ),
            json!({ "validation": "regex" }),
        ),
        ValidationErrorKind::AdditionalProperties { unexpected } => Issue {
            path,
            ..unrecognized(unexpected)
        },
        other => Issue::new(
            "custom",
            path,
            format!("The value breaks the schema's rule `{}`", other.keyword()),
            Value::Null,
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use axum::body::Bytes;
    use hyper::body::{Body as HttpBody, Frame};
    use tokio::sync::mpsc;

    use super::*;
    use crate::fixture;

    fn key(n: u8) -> Option<KeyId> {
        Some(fixture::key(n))
    }

    fn at(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    /// A body as its parts arrive.
    struct Arriving(mpsc::Receiver<Bytes>);

    impl HttpBody for Arriving {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let part = self.0.poll_recv(context);
            part.map(|part| part.map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    /// A body of parts of so many bytes, each after so many seconds; it never ends.
    fn parts(parts: &'static [(u64, usize)]) -> Body {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            for (after_s, bytes) in parts {
                tokio::time::sleep(Duration::from_secs(*after_s)).await;
                let _ = sender.send(Bytes::from(vec![b'x'; *bytes])).await;
            }
            sender.closed().await;
        });
        Body::new(Arriving(receiver))
    }

    /// When such a body is given up, in seconds, and in which words.
    async fn given_up(body: Body) -> (u64, String) {
        let (room, begun) = (Room::default(), Instant::now());
        let mut memory = room.of(key(1), at(1));
        let why = collect::<BODY_MAX_BYTES>(body, &mut memory)
            .await
            .expect_err("it has no end");
        assert_eq!(why.status.as_u16(), 408);
        (begun.elapsed().as_secs(), why.message)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_slower_than_the_least_rate_is_ended() {
        const LEAST: usize = RATE_MIN_KIB * 1_024;
        let cases: [(&'static [(u64, usize)], u64); 5] = [
            (&[], 4),
            (&[(0, 250_000)], 4),
            (&[(3, 100)], 4),
            (&[(3, LEAST - 1), (2, LEAST)], 4),
            (&[(3, LEAST)], 7),
        ];
        for (some, after_s) in cases {
            let (ended_s, words) = given_up(parts(some)).await;
            assert_eq!(ended_s, after_s);
            assert!(words.contains("16 KiB in 4 s"), "{words}");
        }
        // It is fast enough at any time, and takes too long all the same.
        let body = parts(&[(3, LEAST), (3, LEAST), (3, LEAST), (3, LEAST)]);
        let (ended_s, words) = given_up(body).await;
        assert_eq!(ended_s, 10);
        assert!(words.contains("within 10 s"), "{words}");
    }

    /// Takes a KiB after the other until no more is left, and says how many that were.
    fn fill(memory: &mut Memory<'_>) -> usize {
        while memory.take(1) {}
        memory.kib
    }

    fn large(room: &Room, n: u8, address: u8) -> Memory<'_> {
        Memory {
            may_be_small: false,
            ..room.of(key(n), at(address))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_for_bodies_is_shared_by_keys_and_addresses() {
        const MIB: usize = 1_024;
        let room = Room::default();
        let mut first = large(&room, 1, 1);
        assert_eq!(fill(&mut first), 7 * MIB, "a quarter, alone");
        let mut same = large(&room, 1, 2);
        assert_eq!(fill(&mut same), 0, "its key has no more");
        let mut second = large(&room, 2, 1);
        assert_eq!(fill(&mut second), 7 * MIB / 2, "half of what is left");
        let mut third = large(&room, 3, 1);
        assert_eq!(fill(&mut third), 7 * MIB / 4, "and so on");
        let mut other = large(&room, 4, 2);
        assert_eq!(fill(&mut other), 7 * MIB, "another address has its own");

        // Who waits has it as soon as it is free, and what nobody holds is not remembered.
        let grown = async { tokio::time::timeout(Duration::from_secs(9), third.grow(MIB)).await };
        let (grown, ()) = tokio::join!(grown, async { drop(first) });
        assert!(grown.is_ok());
        drop((same, second, third, other));
        let held = room.lock();
        assert!(held.all == 0 && held.by_key.is_empty() && held.by_address.is_empty());
    }

    #[test]
    fn however_many_keys_upload_a_small_body_finds_memory() {
        for addresses in [1, 4, 60] {
            let room = Room::default();
            let mut held: Vec<Memory<'_>> = Vec::new();
            // Each takes all that it gets, as one body and as small ones.
            for n in 1..=60 {
                let mut whole = large(&room, n, n % addresses);
                fill(&mut whole);
                held.push(whole);
            }
            let large_kib = room.lock().all;
            assert!(large_kib <= LARGE_MAX_KIB, "{large_kib}");
            for (n, address) in [(100, 1), (101, 200)] {
                let mut small = room.of(key(n), at(address));
                assert!(small.take(SMALL_MAX_KIB + 1), "{n} of {addresses}");
            }
            for n in 1..=10 {
                let address = n % addresses;
                loop {
                    let mut small = room.of(key(n), at(address));
                    if !small.take(SMALL_MAX_KIB) {
                        break;
                    }
                    held.push(small);
                }
            }
            for (n, address) in [(100, 1), (101, 200)] {
                let mut small = room.of(key(n), at(address));
                assert!(small.take(SMALL_MAX_KIB + 1), "{n} of {addresses}");
            }
        }
    }

    #[test]
    fn a_body_that_is_announced_as_large_takes_nothing_of_small_ones() {
        let room = Room::default();
        let mut large = large(&room, 1, 1);
        fill(&mut large);
        let mut grows = room.of(key(1), at(1));
        assert!(grows.take(SMALL_MAX_KIB + 1), "it may be small so far");
        assert!(!grows.take(1), "it is not");
    }

    fn strict() -> Schema {
        let schema = json!({
            "type": "object",
            "properties": { "a": { "type": "string" } },
            "additionalProperties": false,
        });
        Schema {
            validator: jsonschema::draft202012::new(&schema).unwrap(),
            shape: crate::blank::Shape::default(),
            fields: vec!["a".to_owned()],
        }
    }

    #[test]
    fn members_that_the_schema_does_not_have_cost_as_much_as_there_are() {
        let mut body: Map<String, Value> = (0..60_000)
            .map(|n| (format!("member {n}"), Value::Null))
            .collect();
        body.insert("a".to_owned(), json!("x"));
        let body = Value::Object(body);
        let begun = std::time::Instant::now();
        let dropped = screen(&strict(), body.clone(), true).unwrap();
        assert!(dropped.problems.is_empty());
        assert_eq!(Value::Object(dropped.object), json!({ "a": "x" }));
        let refused = screen(&strict(), body, false).unwrap();
        // Comparing each with each takes minutes.
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        let [issue] = refused.problems.listed() else {
            panic!("{:?}", refused.problems);
        };
        let named = issue.more["keys"].as_array().map(Vec::len);
        assert_eq!(named, Some(UNKNOWN_NAMED_MAX));
        assert!(issue.message.ends_with("' and 59980 more"), "{issue:?}");
    }

    #[test]
    fn the_problems_that_rules_find_are_listed_up_to_a_bound() {
        let screened = screen(&strict(), json!({ "a": 1, "b": 2 }), false).unwrap();
        let more = (0..300).map(|n| Issue::custom("a", n.to_string()));
        let why = screened.settle::<()>(Err(more.collect())).unwrap_err();
        let told = "The request is not valid: 302 problems, the first 100 of them listed";
        assert!(why.message.starts_with(told), "{}", why.message);
        let issues = why.details.unwrap()["issues"].clone();
        let issues = issues.as_array().unwrap();
        assert_eq!(issues.len(), 101);
        let last = "There are 202 more problems. Mend those above first";
        assert_eq!(issues[100]["message"], last);
    }
}
