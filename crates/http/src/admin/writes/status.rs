//! Where a write stands.

use axum::{
    Json,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use model::write::{Outcome, Write, WriteStatus};
use serde::Serialize;
use utoipa::ToSchema;

use super::{job_id, none};
use crate::{
    document::problems::GetProblems,
    door::{
        caller::{Caller, WritesRead},
        waiting::{EndWait, await_end},
    },
    error::Error,
    state::App,
};

/// Where a write stands.
#[derive(Serialize, ToSchema)]
pub struct WriteState {
    /// In one word.
    pub write_status: WriteStatus,
    /// Why it has not ended, or not ended well.
    pub errors: Vec<String>,
    /// The id of the record it made or met.
    pub created_record_id: Option<String>,
    /// What it did, once it has ended well.
    pub outcome: Option<Outcome>,
    /// Calls to the vendor so far.
    #[schema(minimum = 0)]
    pub attempts: u32,
    /// When it was accepted.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it ended.
    #[schema(format = DateTime)]
    pub completed_at: Option<String>,
    /// When it is tried next, if that is known.
    #[schema(format = DateTime)]
    pub next_attempt_at: Option<String>,
}

impl From<Write> for WriteState {
    fn from(write: Write) -> Self {
        Self {
            write_status: write.status,
            errors: write.errors,
            created_record_id: write.record_id,
            outcome: write.outcome,
            attempts: write.attempts,
            created_at: write.accepted_at.to_string(),
            completed_at: write.completed_at.map(|at| at.to_string()),
            next_attempt_at: write.next_attempt_at.map(|at| at.to_string()),
        }
    }
}

/// Get a write's status
///
/// `created_record_id` is the id of the record that exists once the vendor has confirmed it.
#[utoipa::path(
    get,
    path = "/v1/admin/write-status/{root_job_id}",
    operation_id = "write_status_get",
    tag = "Writes",
    params(
        ("root_job_id" = String, Path, description = "The `job_id` that the write was answered with"),
        ("Prefer" = Option<String>, Header, description = "`wait=<seconds>` holds the answer until the outcome is final or the time is over (55 s at most)", example = "wait=10"),
    ),
    responses(
        (status = 200, description = "Where the write stands", body = WriteState),
        GetProblems
    ),
    security(("bearer" = ["writes:read"]))
)]
pub async fn write_status_get(
    State(app): State<App>,
    caller: Caller<WritesRead>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let job_id = job_id(&id)?;
    let wait = EndWait::of(&app, &caller.scope, &headers);
    let write = await_end(&app, &caller.scope, job_id, wait)
        .await?
        .ok_or_else(none)?;
    Ok(Json(WriteState::from(write)).into_response())
}
