//! The answers that many operations share, as they are sent and as the document shows them.

use model::{JobId, write::WriteStatus};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;

/// The answer to an accepted write.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    /// About the write.
    pub meta: AcceptedMeta,
    /// The accepted body: every field, defaults filled in, absent ones null.
    #[schema(value_type = Object)]
    pub result: Box<RawValue>,
}

/// The answer to an accepted generic write.
#[derive(Serialize, ToSchema)]
pub struct GenericAccepted {
    /// The write's id, for write-status.
    pub job_id: String,
    /// Always empty.
    #[schema(value_type = Object)]
    pub data: Data,
    /// Where the write stands. Only with `Prefer: wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<AcceptedMeta>,
}

/// An object without members.
#[derive(Serialize)]
pub struct Data {}

/// About an accepted write.
#[derive(Serialize, ToSchema)]
pub struct AcceptedMeta {
    /// The write's id, for write-status.
    pub job_id: String,
    /// Where the write stands. Only with `Prefer: wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_status: Option<WriteStatus>,
    /// Why it has not ended well. Only with `Prefer: wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<String>>,
    /// The id of the record it made or met. Only with `Prefer: wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub created_record_id: Option<Option<String>>,
}

impl AcceptedMeta {
    /// About a write whose end nobody waited for.
    pub fn of(job_id: JobId) -> Self {
        Self {
            job_id: job_id.to_string(),
            write_status: None,
            errors: None,
            created_record_id: None,
        }
    }
}

/// About a list.
#[derive(Serialize, ToSchema)]
pub struct ListMeta {
    /// Rows skipped.
    pub offset: u64,
    /// Rows asked for.
    pub limit: u64,
    /// The order.
    #[serde(rename = "orderBy")]
    pub order_by: Vec<Order>,
    /// Whether more follow.
    #[serde(rename = "hasMore")]
    pub has_more: bool,
    /// How many there are in all. Not with a `cursor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// `false`: there are `total` rows or more. Counting what several conditions hold for took longer than a read may take.
    /// Absent when `total` is exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_is_exact: Option<bool>,
    /// What to give as `cursor` for the rows behind these; null when there are none.
    #[serde(rename = "nextCursor")]
    pub next_cursor: Option<String>,
}

/// One field of an order.
#[derive(Serialize, ToSchema)]
pub struct Order {
    /// The field.
    pub field: String,
    /// `asc` or `desc`.
    pub direction: String,
}

/// One record.
#[derive(Serialize, ToSchema)]
pub struct Answer<T> {
    /// About the answer.
    pub meta: ListMeta,
    /// The record.
    pub results: T,
}

/// A page of records.
#[derive(Serialize, ToSchema)]
pub struct PageAnswer<T> {
    /// About the page.
    pub meta: ListMeta,
    /// The records.
    pub results: Vec<T>,
}

/// An answer that is not a success.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    /// What was wrong.
    pub error: ErrorMembers,
}

/// What was wrong.
#[derive(Serialize, ToSchema)]
pub struct ErrorMembers {
    /// One word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// More: the issues of a 400, the request id of a 5xx.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}
