//! A JSON body, read within a bound and checked against the OpenAPI document's own schema.
//!
//! Guarantee: all problems of a body are found at once; what the schema refuses is described in Zod's words, and repeats of what the caller sent are cut.

use std::{collections::BTreeSet, time::Duration};

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
    Issue,
    directory::Vendor,
    issue::{Step, cut},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use crate::{App, error::Error, json, openapi::Schema};

/// Bytes that a body may have.
pub const BODY_MAX_BYTES: usize = 256 * 1_024;

/// Bytes that a body with many things in it may have: a thousand of some hundreds each.
pub const BULK_MAX_BYTES: usize = 1_024 * 1_024;

/// How long a body may take to arrive. A caller that sends 256 KiB over a slow mobile line is done in half of it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// KiB of bodies that may be under way at once, over all callers: who finds no room within the time hears 503.
pub const BODIES_MAX_KIB: usize = 32 * 1_024;

/// Memory for bodies under way.
pub struct Room(Semaphore);

impl Default for Room {
    fn default() -> Self {
        Self(Semaphore::new(BODIES_MAX_KIB))
    }
}

/// Issues that one answer lists: enough to mend any honest body, and an answer that a hostile one cannot blow up.
const ISSUES_MAX: usize = 100;

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
        let until = Instant::now() + BODY_TIMEOUT;
        let (bytes, _room) =
            collect::<MAX_BYTES>(request.into_body(), &app.body_room.0, until).await?;
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

/// Reads a body to its end. Room is set aside as it arrives: who announces much and sends little holds little.
async fn collect<'a, const MAX_BYTES: usize>(
    mut body: Body,
    room: &'a Semaphore,
    until: Instant,
) -> Result<(Vec<u8>, Option<SemaphorePermit<'a>>), Error> {
    let (mut bytes, mut held): (_, Option<SemaphorePermit<'a>>) = (Vec::new(), None);
    loop {
        let frame = timeout_at(until, body.frame())
            .await
            .map_err(|_| Error::request_timeout(BODY_TIMEOUT.as_secs()))?;
        let frame = match frame {
            None => return Ok((bytes, held)),
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
        let wanted = (bytes.len() + data.len()) / 1_024 + 1;
        let lacking = wanted - held.as_ref().map_or(0, SemaphorePermit::num_permits);
        let lacking = u32::try_from(lacking).unwrap_or(u32::MAX);
        if lacking > 0 {
            let more = timeout_at(until, room.acquire_many(lacking))
                .await
                .ok()
                .and_then(Result::ok)
                .ok_or_else(|| Error::unavailable("Too many requests are under way").to_repeat())?;
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
        }
        bytes.extend_from_slice(&data);
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
    pub issues: Vec<Issue>,
    /// The top-level members that were refused, those beyond the issues listed too.
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
        match checked {
            Ok(checked) if self.issues.is_empty() => Ok(checked),
            Ok(_) => Err(Error::invalid(&self.issues)),
            Err(more) => {
                let mut issues = self.issues;
                issues.extend(more);
                Err(Error::invalid(&issues))
            }
        }
    }
}

/// Checks `body` against `schema`. Free text is cleaned, blank text is absent. With `ignore_unknown`, members that the
/// schema does not have are dropped instead of refused.
///
/// # Errors
/// When the body is not an object at all.
pub fn screen(schema: &Schema, mut body: Value, ignore_unknown: bool) -> Result<Screened, Error> {
    schema.shape.clean(&mut body);
    let (mut issues, mut unknown, mut broken) = (Vec::new(), Vec::new(), BTreeSet::new());
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
            || !issues
                .iter()
                .any(|known: &Issue| known.code == "invalid_type" && known.path == found.path);
        if says_more && issues.len() < ISSUES_MAX {
            issues.push(found);
        }
    }
    let Value::Object(mut object) = body else {
        return Err(Error::invalid(&issues));
    };
    object.retain(|name, _| !unknown.contains(name) && !broken.contains(name));
    Ok(Screened {
        object,
        issues,
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
        let others = screen(generic, Value::Object(unknown), false)?.issues;
        // What these lack is the vendor's to say.
        let is_of_others = |issue: &Issue| issue.field().is_none_or(|field| !is_own(field));
        screened
            .issues
            .extend(others.into_iter().filter(is_of_others));
        screened.issues.extend(placeless.iter().map(|name| {
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
    let keys: Vec<String> = keys.iter().take(ISSUES_MAX).map(|key| cut(key)).collect();
    let named: Vec<String> = keys.iter().map(|key| format!("'{key}'")).collect();
    Issue::new(
        "unrecognized_keys",
        Vec::new(),
        format!("Unrecognized key(s) in object: {}", named.join(", ")),
        json!({ "keys": keys }),
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
