//! Answers: a status, a body, which is JSON unless a fault says otherwise, and perhaps `Retry-After`.
//!
//! Guarantee: building one cannot fail; a value that is not JSON-able becomes `null`.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// What a body of the sandbox is made of: always whole before it is sent.
pub(crate) type ReplyBody = Full<Bytes>;

/// An answer.
pub struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    pub(crate) content_type: &'static str,
    pub(crate) retry_after_s: Option<u64>,
}

impl Reply {
    /// A body that is sent as it is, as JSON.
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            content_type: "application/json",
            retry_after_s: None,
        }
    }

    /// A page for people.
    pub(crate) fn page(status: StatusCode, page: String) -> Self {
        Self {
            content_type: "text/html; charset=utf-8",
            ..Self::new(status, page)
        }
    }

    /// A value as JSON.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(status, body),
            Err(_) => Self::new(status, "null"),
        }
    }

    /// The control surface's way to say what is wrong.
    pub(crate) fn control_error(status: StatusCode, text: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": text }))
    }

    pub(crate) fn into_response(self) -> Response<ReplyBody> {
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
