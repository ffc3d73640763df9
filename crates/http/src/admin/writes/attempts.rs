//! The calls to the vendor that were made for a write.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use model::write::{Attempt, AttemptKind, Call, Class};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{job_id, none};
use crate::{
    document::problems::GetProblems,
    door::caller::{Caller, WritesAdmin},
    error::Error,
    state::App,
};

/// The attempts of a write.
#[derive(Serialize, ToSchema)]
pub struct AttemptsAnswer {
    /// Oldest first.
    pub results: Vec<AttemptRow>,
}

/// One call to the vendor.
#[derive(Serialize, ToSchema)]
#[schema(as = WriteAttempt)]
pub struct AttemptRow {
    /// Which: 1, 2, ...
    pub attempt: u32,
    /// When it began.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// How long it took; null when it was cut off.
    pub duration_ms: Option<u64>,
    /// The purpose of the call.
    pub kind: AttemptKind,
    /// How it ended.
    pub outcome: Class,
    /// Why it did not deliver.
    pub error: Option<String>,
    /// What was sent; null when what is stored of it cannot be read.
    #[schema(value_type = Option<Object>)]
    pub request: Option<Value>,
    /// What came back.
    #[schema(value_type = Option<Object>)]
    pub response: Option<Value>,
}

impl AttemptRow {
    /// A row about an attempt, which sent `request`.
    fn of(attempt: Attempt, request: Option<Value>) -> Self {
        let reply = attempt.reply;
        let response = reply.status.map(|status| {
            json!({ "status": status, "body": reply.body, "body_is_cut": reply.body_is_cut })
        });
        Self {
            attempt: attempt.number,
            started_at: attempt.started_at.to_string(),
            duration_ms: attempt.duration_ms,
            kind: attempt.kind,
            outcome: attempt.class,
            error: attempt.error,
            request,
            response,
        }
    }
}

/// List a write's attempts
///
/// Every call made to the vendor for this write, oldest first, with what was sent and what came back. Credentials are never part of it.
#[utoipa::path(
    get,
    path = "/v1/admin/writes/{job_id}/attempts",
    operation_id = "write_attempts_list",
    tag = "Writes",
    params(("job_id" = String, Path, description = "The `job_id` that the write was answered with")),
    responses(
        (status = 200, description = "The attempts", body = AttemptsAnswer),
        GetProblems
    ),
    security(("bearer" = ["writes:admin"]))
)]
pub async fn write_attempts_list(
    State(app): State<App>,
    caller: Caller<WritesAdmin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let job_id = job_id(&id)?;
    let write = app
        .store
        .write_find(&caller.scope, job_id)
        .await?
        .ok_or_else(none)?;
    let attempts = app.store.attempts_list(&caller.scope, job_id).await?;
    let shown =
        |call: &Call| json!({ "method": call.method, "path": call.path, "body": call.body });
    let rows = attempts.into_iter().map(|attempt| {
        let sent = match attempt.kind {
            AttemptKind::Write | AttemptKind::NoCall => write.call.as_ref(),
            AttemptKind::Resolve | AttemptKind::FollowUp | AttemptKind::Token => {
                attempt.request.as_ref()
            }
        };
        let request = sent.map(shown);
        AttemptRow::of(attempt, request)
    });
    let results = rows.collect();
    Ok(Json(AttemptsAnswer { results }).into_response())
}
