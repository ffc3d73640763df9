//! What every answer has, whoever made it: a request id, and one shape for errors.
//!
//! Guarantee: the id is the caller's own when it is sane, else ours; it is on the answer, in every log line of the request, and in the body of a 5xx.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument;

use crate::{
    door::{
        host,
        request::{Admitted, RequestId},
    },
    error::Error,
    limits::rates::{Noted, Standing},
    state::App,
};

/// The header that carries it.
pub const REQUEST_ID: &str = "x-request-id";

/// Characters of a caller's own id that are taken over.
const REQUEST_ID_MAX_CHARS: usize = 128;

fn is_sane(id: &str) -> bool {
    (1..=REQUEST_ID_MAX_CHARS).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// Wraps every request.
pub async fn wrap(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_sane(id));
    let id = match given {
        Some(id) => id.to_owned(),
        None => model::hex::encode(&app.entropy.bytes()),
    };
    // The route, not the path: what a caller puts into a path may be a person's.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("-", MatchedPath::as_str);
    let span = tracing::info_span!("request", request_id = %id, method = %request.method(), route);
    request.extensions_mut().insert(RequestId(id.clone()));
    let is_reading = request.method().is_safe();
    let begun = Instant::now();
    let noted = Noted::default();
    request.extensions_mut().insert(noted.clone());
    let admitted = Admitted::default();
    request.extensions_mut().insert(admitted.clone());
    let mut response = match host::problem(request.version(), request.headers()) {
        Some(why) => Error::invalid_parameter("Host", why).into_response(),
        None => next.run(request).instrument(span.clone()).await,
    };
    // What was read is for who may still read it. What was changed is told: else it would be sent
    // again.
    if is_reading && let Err(why) = admitted.check(&app) {
        response = why.into_response();
    }
    let status = response.status().as_u16();
    span.in_scope(|| {
        tracing::debug!(
            status,
            took_us = begun.elapsed().as_micros() as u64,
            "answered"
        );
    });
    if let Some(error) = error_in(&mut response) {
        response = render(error, is_reading, &response, &id);
    }
    if let Some(standing) = noted.get() {
        tell(&standing, response.headers_mut());
    }
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Tells a caller where its key stands with its limit: as the contract does, and as the IETF's draft on `RateLimit` header fields does.
fn tell(standing: &Standing, headers: &mut HeaderMap) {
    let Standing {
        limit,
        remaining,
        reset_s,
        ..
    } = standing;
    headers.insert("x-ratelimit-limit", limit.requests_per_minute.into());
    headers.insert("x-ratelimit-remaining", (*remaining).into());
    let policy = format!("\"key\";q={};w=60", limit.requests_per_minute);
    for (name, value) in [
        ("ratelimit-policy", policy),
        ("ratelimit", format!("\"key\";r={remaining};t={reset_s}")),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// The error that an answer is: ours, or one that a library answered in a shape of its own.
fn error_in(response: &mut Response) -> Option<Error> {
    if let Some(error) = response.extensions_mut().remove::<Error>() {
        return Some(error);
    }
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    ((status.is_client_error() || status.is_server_error()) && !is_json)
        .then(|| Error::foreign(status))
}

/// Gives an error its body, keeping the headers that it came with (`Allow`).
fn render(error: Error, is_reading: bool, bare: &Response, request_id: &str) -> Response {
    let (status, retry_after_s) = (error.status, error.retry_after_s);
    let mut response = (status, axum::Json(error.body(is_reading, request_id))).into_response();
    if let Some(allow) = bare.headers().get(header::ALLOW) {
        response.headers_mut().insert(header::ALLOW, allow.clone());
    }
    if let Some(seconds) = retry_after_s {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    if status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
