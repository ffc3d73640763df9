//! Answers: a status, a body, which is JSON unless a fault says otherwise, and perhaps `Retry-After`.
//!
//! Guarantee: building one cannot fail; a value that is not JSON-able becomes `null`.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::assumptions::{BAD_KEY_BODY, BAD_KEY_STATUS, UNKNOWN_STATUS};

/// What a body of the sandbox is made of: always whole before it is sent.
pub(super) type ReplyBody = Full<Bytes>;

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    pub(super) content_type: &'static str,
    pub(super) retry_after_s: Option<u64>,
}

impl Reply {
    pub(super) fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            content_type: "application/json",
            retry_after_s: None,
        }
    }

    /// A page for people.
    pub(super) fn page(status: StatusCode, page: String) -> Self {
        Self {
            content_type: "text/html; charset=utf-8",
            ..Self::new(status, page)
        }
    }

    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(status, body),
            Err(_) => Self::new(status, "null"),
        }
    }

    /// The vendor's way to say what is wrong.
    pub(super) fn error_message(status: StatusCode, text: &str) -> Self {
        Self::json(status, &serde_json::json!({ "errorMessage": text }))
    }

    /// The control surface's way to say what is wrong.
    pub(super) fn control_error(status: StatusCode, text: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": text }))
    }

    pub(super) fn forbidden() -> Self {
        Self::new(BAD_KEY_STATUS, BAD_KEY_BODY)
    }

    pub(super) fn unknown(what: &str) -> Self {
        Self::error_message(UNKNOWN_STATUS, &format!("{what} not found"))
    }

    pub(super) fn into_response(self) -> Response<ReplyBody> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
