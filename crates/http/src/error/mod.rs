//! Every answer that is not a success, in one shape.
//!
//! Guarantee: whatever failed, wherever, the body is `{"error":{"code","message","details"?}}`; what an operator should know goes to the log, not
//! to the caller. The body is rendered in one place, [`crate::door::envelope`], which knows the request's id.

use std::{fmt::Display, time::Duration};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use model::{Issue, JobId};
use store::reading::{EXPENSIVE_WAITING_MAX, READ_MAX};

pub mod body;

pub use self::body::Reason;
use self::body::{ErrorBody, ErrorDetails, ErrorMembers};
use crate::problems::Problems;

/// Seconds after which a caller may try again when the store was busy.
const BUSY_RETRY_AFTER_S: u32 = 1;

/// The same when another build of Portico has to be started.
const VENDOR_RETRY_AFTER_S: u32 = 60;

/// An answer that is not a success.
#[derive(Clone, Debug)]
pub struct Error {
    /// The HTTP status.
    pub status: StatusCode,
    /// One word for programs.
    pub code: &'static str,
    /// A sentence for people: what was wrong, and what to do.
    pub message: String,
    /// More, where the contract says so.
    pub details: Option<Box<ErrorDetails>>,
    /// Seconds after which to try again.
    pub retry_after_s: Option<u32>,
    /// What was wrong with the request, where that is why.
    pub problems: Problems,
    /// Whether nothing was stored and the same request may be sent again. The answer says so, in words that fit the request ([`Error::told`]).
    pub may_repeat: bool,
}

impl Error {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: None,
            retry_after_s: None,
            problems: Problems::default(),
            may_repeat: false,
        }
    }

    /// The sentence for people, as it answers a request that only reads, or one that would have stored something.
    pub fn told(&self, is_reading: bool) -> String {
        let message = &self.message;
        match (self.may_repeat, is_reading) {
            (false, _) => message.clone(),
            (true, true) => format!("{message}. Send the same request again"),
            (true, false) => {
                format!("{message}. Nothing was stored; send the same request again")
            }
        }
    }

    /// The same, of which nothing was stored.
    pub fn to_repeat(self) -> Self {
        Self {
            may_repeat: true,
            ..self
        }
    }

    /// 400: the request has these problems.
    pub fn invalid(issues: &[Issue]) -> Self {
        Self::of(issues.iter().cloned().collect())
    }

    /// The same, of which not all are kept.
    pub fn of(problems: Problems) -> Self {
        let (listed, rest) = (problems.listed(), problems.rest());
        let message = match (listed, &rest) {
            ([one], _) => format!("The request is not valid: {}", one.message),
            (_, None) => format!(
                "The request is not valid: {} problems, listed in details.issues",
                listed.len()
            ),
            (_, Some(_)) => format!(
                "The request is not valid: {} problems, the first {} of them listed in details.issues",
                problems.count(),
                listed.len()
            ),
        };
        let issues = listed.iter().cloned().chain(rest).collect();
        let details = ErrorDetails {
            name: Some("ZodError"),
            issues: Some(issues),
            ..ErrorDetails::default()
        };
        Self {
            details: Some(Box::new(details)),
            problems,
            ..Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
        }
    }

    /// 400: something outside the body is wrong.
    pub fn invalid_parameter(name: &str, message: impl Into<String>) -> Self {
        Self::invalid(&[Issue::custom(name, message)])
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Send a valid API key as `Authorization: Bearer <token>`. It may be missing, mistyped, expired or revoked",
        )
    }

    /// 403: the key may not do this.
    pub fn forbidden(permission: model::Permission) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("This API key lacks the permission `{permission}`. Use a key that has it"),
        )
    }

    /// 403: the key may do less than what is asked takes.
    pub fn limited_key(why: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("{why}. Use a key that may do more"),
        )
    }

    /// The problems of a 400, as those of the item with this index.
    ///
    /// # Errors
    /// Itself, when it is something else.
    pub fn at(self, index: usize) -> Result<Problems, Self> {
        if self.problems.is_empty() {
            return Err(self);
        }
        Ok(self.problems.at(index))
    }

    /// 429: the key has sent more than it may.
    pub fn rate_limited(limit: model::key::RateLimit, wait: Duration) -> Self {
        let (per_minute, burst) = (limit.requests_per_minute, limit.burst);
        Self::too_many(
            seconds(wait),
            format!(
                "This API key may send {per_minute} requests a minute, {burst} at once, and has used them up. Wait as Retry-After says"
            ),
        )
    }

    /// 429: the key has as much of something under way as it may have, in words.
    pub fn too_many_under_way(message: impl Into<String>) -> Self {
        Self::too_many(BUSY_RETRY_AFTER_S, message)
    }

    /// 429: too many requests without a valid key came from one address.
    pub fn too_many_failures(wait: Duration) -> Self {
        Self {
            may_repeat: false,
            ..Self::too_many(
                seconds(wait),
                "Too many requests without a valid API key came from this address. Check the key, and wait as Retry-After says",
            )
        }
    }

    /// 429: one address asked too often for what is answered without a key.
    pub fn too_many_without_key(per_minute: u32, wait: Duration) -> Self {
        Self::too_many(
            seconds(wait),
            format!(
                "An address may ask {per_minute} times a minute for the metrics, and as often for the document. Wait as Retry-After says"
            ),
        )
    }

    fn too_many(retry_after_s: u32, message: impl Into<String>) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            may_repeat: true,
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message)
        }
    }

    /// 404: there is no such thing, or it is not the caller's.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("There is no {what} with this id, or your key may not see it"),
        )
    }

    /// 404: there is no such thing; these there are.
    pub fn not_found_among(what: &str, known: &[&str]) -> Self {
        let known = known.join(", ");
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("There is no {what} of this name; there are {known}"),
        )
    }

    /// 404: no route.
    pub fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is nothing at this path. GET /openapi.json lists what there is",
        )
    }

    /// 404: this node has no route for callers.
    pub fn only_delivers() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "This node has the role `worker`: it delivers, and has only /healthz, /readyz and /metrics. Ask a node with the role `api` or `all`",
        )
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "This path does not take this method. The Allow header lists those it takes",
        )
    }

    /// 405: the vendor lacks this.
    pub fn not_taken(vendor: model::Vendor) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("{vendor} has no such operation. Send it to an integration of another vendor"),
        )
    }

    /// 409.
    pub fn conflict(reason: Reason, message: impl Into<String>) -> Self {
        let details = ErrorDetails {
            reason: Some(reason),
            ..ErrorDetails::default()
        };
        Self {
            details: Some(Box::new(details)),
            ..Self::new(StatusCode::CONFLICT, "conflict", message)
        }
    }

    /// 409: the write `job_id` is in the way.
    pub fn conflict_with(job_id: JobId, reason: Reason, message: impl Into<String>) -> Self {
        let mut error = Self::conflict(reason, message);
        if let Some(details) = &mut error.details {
            details.job_id = Some(job_id.to_string());
        }
        error
    }

    /// The body of the answer, to the request with this id.
    pub(crate) fn body(self, is_reading: bool, request_id: &str) -> ErrorBody {
        let message = self.told(is_reading);
        let mut details = self.details;
        if self.status.is_server_error() {
            let details = details.get_or_insert_default();
            details.may_repeat = Some(self.may_repeat);
            details.request_id = Some(request_id.to_owned());
        }
        let error = ErrorMembers {
            code: self.code,
            message,
            details,
        };
        ErrorBody { error }
    }

    /// 413.
    pub fn payload_too_large(max_bytes: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            format!("The body is larger than {max_bytes} bytes"),
        )
    }

    /// 415.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Send the body as JSON, with `Content-Type: application/json`",
        )
    }

    /// 415: the body is compressed.
    pub fn unsupported_encoding() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Send the body as it is, without `Content-Encoding`",
        )
    }

    /// 408: the body did not arrive in time.
    pub fn request_timeout(seconds: u64) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            format!(
                "The body did not arrive within {seconds} s; nothing was stored. Send the same request again"
            ),
        )
    }

    /// 408: the body comes slower than it must.
    pub fn slow_body(least_kib: usize, seconds: u64) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            format!(
                "The body came too slowly: fewer than {least_kib} KiB in {seconds} s, and not its end; nothing was stored. Send the same request again"
            ),
        )
    }

    /// For an answer that a library made on its own: the same status in our shape.
    pub fn foreign(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::no_route(),
            StatusCode::BAD_REQUEST => Self::invalid_parameter(
                "path",
                "The path or the query cannot be read. Escape what is not plain text as UTF-8",
            ),
            _ if status.is_server_error() => {
                Self::internal(format_args!("a library answered {status}"))
            }
            _ => Self::new(
                status,
                "invalid_request",
                status
                    .canonical_reason()
                    .unwrap_or("The request is not valid"),
            ),
        }
    }

    /// 422.
    pub fn idempotency_mismatch() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_mismatch",
            "This Idempotency-Key was used before with another request. Use a new key for a new request, and the same body for a repeat",
        )
    }

    /// 410: the key stands for a write whose contents are gone.
    pub fn erased(at: model::Timestamp) -> Self {
        Self::new(
            StatusCode::GONE,
            "erased",
            format!(
                "This Idempotency-Key was used for a write whose contents were removed at {at}: the person was forgotten, or the time for which writes are kept is over. Nothing was stored. If the person gets in touch again, send a new request with a new key"
            ),
        )
    }

    /// 500. The reason goes to the log, with the request's id; it must not repeat a person's data.
    pub fn internal(why: impl Display) -> Self {
        tracing::error!(%why, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something failed in Portico. Send the same request again; if it fails again, give your operator the request id",
        )
    }

    /// 503: the integration is of a vendor that this build does not have.
    pub fn vendor_missing(vendor: model::Vendor) -> Self {
        Self {
            retry_after_s: Some(VENDOR_RETRY_AFTER_S),
            ..Self::unavailable(format!(
                "This build of Portico does not have the vendor {vendor}. Your operator has to start one that has it; what was accepted before waits for that"
            ))
        }
        .to_repeat()
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            retry_after_s: Some(BUSY_RETRY_AFTER_S),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }
}

/// Whole seconds, and at least one.
fn seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(1_000)).map_or(u32::MAX, |seconds| seconds.max(1))
}

/// Words as a sentence: with a capital in front.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

impl From<store::Error> for Error {
    fn from(why: store::Error) -> Self {
        match why {
            store::Error::Busy => Self::unavailable(
                "The database does not answer, or more is coming in than it can store",
            )
            .to_repeat(),
            store::Error::InDoubt => Self::unavailable(
                "The database has not said whether this was stored. If the request has an Idempotency-Key, send it again with the same one: it is stored once. If it has none, look first whether it was",
            ),
            store::Error::Refused(why) => Self::unavailable(sentence(&why)).to_repeat(),
            store::Error::ReadTooLong => Self::unavailable(format!(
                "This read took longer than {} s and was broken off. Ask for less at once: walk a list by `cursor`, or by `offset` page after page, and give fewer filters",
                READ_MAX.as_secs()
            )),
            store::Error::ReadsCrowded => Self::too_many_under_way(format!(
                "This API key has as many expensive reads under way as it may have: one runs, and {EXPENSIVE_WAITING_MAX} may wait. A jump to a far `offset` is one, and so is counting what several filters hold for. Wait for them, or walk the list by `cursor`"
            )),
            store::Error::Closed => Self::unavailable("Portico is stopping").to_repeat(),
            store::Error::Revoked => Self::unauthorized(),
            store::Error::Conflict(why) => Self::conflict(Reason::State, sentence(&why)),
            store::Error::Unfinished(why) => Self::unavailable(sentence(&why)),
            why @ (store::Error::Database(_)
            | store::Error::Corrupt(_)
            | store::Error::MasterKey(_)) => {
                tracing::error!(%why, "the store failed");
                match why {
                    store::Error::Database(_) => {
                        Self::unavailable("The database is in trouble").to_repeat()
                    }
                    store::Error::MasterKey(_) => Self::unavailable(
                        "Secrets cannot be sealed just now. If it goes on, your operator can see why with `portico doctor`",
                    )
                    .to_repeat(),
                    _ => Self::internal("what is stored cannot be read"),
                }
            }
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expensive_read_is_told_what_to_do_instead() {
        for (why, status, words) in [
            (store::Error::ReadTooLong, 503, "longer than 5 s"),
            (store::Error::ReadsCrowded, 429, "one runs, and 8 may wait"),
        ] {
            let error = Error::from(why);
            let told = error.told(true);
            assert_eq!(error.status.as_u16(), status, "{told}");
            assert!(told.contains(words) && told.contains("`cursor`"), "{told}");
            assert!(error.retry_after_s.is_some());
        }
    }

    #[test]
    fn a_store_in_trouble_is_to_be_asked_again() {
        for why in [
            store::Error::Busy,
            store::Error::InDoubt,
            store::Error::Refused("the disk is full".to_owned()),
            store::Error::Closed,
            store::Error::Database("it broke".to_owned()),
        ] {
            let (shown, denies) = (why.to_string(), !matches!(why, store::Error::InDoubt));
            let error = Error::from(why);
            assert_eq!(error.status, StatusCode::SERVICE_UNAVAILABLE, "{shown}");
            assert_eq!(error.retry_after_s, Some(BUSY_RETRY_AFTER_S), "{shown}");
            assert_eq!(
                error.told(false).contains("Nothing was stored"),
                denies,
                "{shown}"
            );
            assert!(!error.told(true).contains("stored;"), "{shown}");
            assert!(!error.message.contains("it broke"), "{shown}");
        }
    }
}
