//! The body of every answer that is not a success, as it is sent and as the document shows it.
//!
//! Source: the public contract, section 1, "Error body".

use model::Issue;
use serde::Serialize;
use utoipa::ToSchema;

/// An answer that is not a success.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorMembers,
}

/// What was wrong, where, and what to do.
#[derive(Serialize, ToSchema)]
pub struct ErrorMembers {
    /// One word for programs. The list is open: treat a word that you do not know by the status.
    #[schema(value_type = String, examples(
        "invalid_request", "unauthorized", "forbidden", "not_found", "method_not_allowed",
        "request_timeout", "conflict", "erased", "payload_too_large", "unsupported_media_type",
        "idempotency_mismatch", "rate_limited", "internal", "unavailable"
    ))]
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
    /// More, where there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ErrorDetails>)]
    pub details: Option<Box<ErrorDetails>>,
}

/// More about an error. Which members there are depends on the status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ErrorDetails {
    /// `ZodError`, on a 400.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub name: Option<&'static str>,
    /// All problems of the request, on a 400.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Issue>>)]
    pub issues: Option<Vec<Issue>>,
    /// Why, in one word for programs, on a 409. The list is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, examples("write_pending", "integration_paused"))]
    pub reason: Option<Reason>,
    /// The write that is in the way, on a 409 that is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// Whether nothing was stored and the same request may be sent again, on a 5xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_repeat: Option<bool>,
    /// The request's id, on a 5xx. The operator finds the request in the log by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Why a request does not fit how things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The vendor does not take the credentials.
    CredentialsRefused,
    /// The integration is archived.
    IntegrationArchived,
    /// The integration is not active.
    IntegrationInactive,
    /// The integration is paused.
    IntegrationPaused,
    /// The record is one of another vendor than the path.
    OtherVendor,
    /// The person was forgotten.
    PersonForgotten,
    /// The vendor no longer has the record.
    RecordGone,
    /// The vendor has not told its id of the record yet.
    RecordWithoutVendorId,
    /// The state of what is stored does not allow it.
    State,
    /// The vendor's rules do not allow it.
    VendorRule,
    /// What the write sent is no longer kept.
    WriteContentsRemoved,
    /// The id is one of a write, in place of a record's.
    WriteId,
    /// The write did not fail.
    WriteNotFailed,
    /// The write has not ended.
    WritePending,
}
