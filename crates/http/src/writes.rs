//! What became of a write: status, attempts, retry.

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue},
    response::{IntoResponse, Response},
};
use model::{JobId, resources::prospect::ProspectCreate, write::Write as StoredWrite};
use serde_json::{Value, json};
use store::Acceptance;

use crate::{
    App,
    caller::{Caller, WritesAdmin, WritesRead},
    envelope::RequestId,
    error::Error,
    intake::{self, Draft, Route},
    openapi::{AttemptsAnswer, ErrorBody, Retried, WriteState},
    preferences,
};

fn none() -> Error {
    Error::not_found("write")
}

fn job_id(text: &str) -> Result<JobId, Error> {
    text.parse().map_err(|_| none())
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
        (status = 401, description = "No valid API key", body = ErrorBody),
        (status = 403, description = "The key may not read", body = ErrorBody),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 503, description = "The database is in trouble", body = ErrorBody),
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
    let wait = preferences::EndWait::of(&app, &caller.scope, &headers);
    let write = preferences::await_end(&app, &caller.scope, job_id, wait)
        .await?
        .ok_or_else(none)?;
    Ok(Json(json!({
        "write_status": write.status,
        "errors": write.errors,
        "created_record_id": write.record_id,
        "outcome": write.outcome,
        "attempts": write.attempts,
        "created_at": write.accepted_at,
        "completed_at": write.completed_at,
        "next_attempt_at": write.next_attempt_at,
    }))
    .into_response())
}

/// Retry a failed write
///
/// Sends what a failed write sent once more, as a new write. A failed write can be retried once; its retry can be retried in turn. What the failed
/// write said of consent is carried over as it was, stated or not.
#[utoipa::path(
    post,
    path = "/v1/admin/retry-write/{root_job_id}",
    operation_id = "write_retry",
    tag = "Writes",
    params(
        ("root_job_id" = String, Path, description = "The `job_id` of the failed write"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request safe", max_length = 255, min_length = 1, pattern = "^[!-~]+$"),
    ),
    responses(
        (status = 200, description = "The new write is accepted and durable", body = Retried),
        (status = 400, description = "What the write refers to is no longer valid, or a header is not", body = ErrorBody),
        (status = 401, description = "No valid API key", body = ErrorBody),
        (status = 403, description = "The key may not administer", body = ErrorBody),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 409, description = "The write has not failed, was retried already, or what it sent is no longer kept", body = ErrorBody),
        (status = 410, description = "The Idempotency-Key was used for a write whose contents were removed since; nothing was stored", body = ErrorBody),
        (status = 422, description = "The Idempotency-Key was used with another request", body = ErrorBody),
        (status = 503, description = "Too busy, or stopping; nothing was stored", body = ErrorBody),
    ),
    security(("bearer" = ["writes:admin"]))
)]
pub async fn write_retry(
    State(app): State<App>,
    caller: Caller<WritesAdmin>,
    Path(id): Path<String>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let failed = job_id(&id)?;
    let named = format!("write_retry {failed}");
    let (once, earlier) =
        preferences::once(&app, &headers, &caller.scope, &named, &Value::Null).await?;
    if let Some(earlier) = earlier {
        return retried(&earlier, failed);
    }
    let stored: StoredWrite = app
        .store
        .write_find(&caller.scope, failed)
        .await?
        .ok_or_else(none)?;
    if stored.status != model::write::WriteStatus::Failure {
        return Err(Error::conflict(format!(
            "Only a write that ended as FAILURE can be retried; this one is {}",
            stored.status
        )));
    }
    if let Some(at) = stored.stripped_at {
        return Err(Error::conflict(format!(
            "What this write sent was removed at {at}: the person was forgotten, or the time for which writes are kept is over. Send it as a new write"
        )));
    }
    let mut body: Value = serde_json::from_str(&stored.result).map_err(|_| Error::internal())?;
    if let Some(body) = body.as_object_mut()
        && !was_stated(&stored, body)
    {
        // The echo has the default in it. What nobody said is not said now either.
        body.remove("subscribe");
    }
    // What it sends is mapped anew, with what is in force now.
    let draft = Draft {
        operation: stored.operation,
        route: vendor(&stored)?,
        subject: stored.subject.clone(),
        body,
        ignore_unknown: true,
        request_id: request_id.0,
    };
    let mut write = intake::prepare(&app, &caller.scope, draft).await?;
    write.retry_of = Some(failed);
    let job_id = write.job_id;
    let acceptance = app.store.write_accept(&caller.scope, write, once).await?;
    app.metrics.accepted(&acceptance);
    retried(&acceptance, job_id)
}

/// Whether the caller of a write said what its `subscribe` is. Of a write older than consent events only a value that is not the default tells.
fn was_stated(stored: &StoredWrite, body: &serde_json::Map<String, Value>) -> bool {
    match stored.consent {
        Some(consent) => consent.is_stated,
        None => body.get("subscribe") != Some(&json!(ProspectCreate::SUBSCRIBE_DEFAULT)),
    }
}

/// The route by which a stored write is checked again: that of its own vendor.
fn vendor(stored: &StoredWrite) -> Result<Route, Error> {
    let vendor = stored.integration_vendor.parse();
    vendor.map(Route::Of).map_err(|why: String| {
        tracing::error!(%why, "a stored write is of a vendor that is not known");
        Error::internal()
    })
}

fn retried(acceptance: &Acceptance, fresh: JobId) -> Result<Response, Error> {
    let (job_id, is_replay) = match acceptance {
        Acceptance::Accepted => (fresh, false),
        Acceptance::Replayed { job_id, .. } => (*job_id, true),
        Acceptance::Mismatch => return Err(Error::idempotency_mismatch()),
        Acceptance::Erased { at } => return Err(Error::erased(*at)),
    };
    let mut response = Json(json!({ "success": true, "job_id": job_id })).into_response();
    if is_replay {
        response
            .headers_mut()
            .insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
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
        (status = 401, description = "No valid API key", body = ErrorBody),
        (status = 403, description = "The key may not administer", body = ErrorBody),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 503, description = "The database is in trouble", body = ErrorBody),
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
    let request = write
        .call
        .map(|call| json!({ "method": call.method, "path": call.path, "body": call.body }));
    let results: Vec<Value> = attempts
        .into_iter()
        .map(|attempt| {
            json!({
                "attempt": attempt.number,
                "started_at": attempt.started_at,
                "duration_ms": attempt.duration_ms,
                "outcome": attempt.class,
                "error": attempt.error,
                "request": request,
                "response": attempt.reply.status.map(|status| json!({ "status": status, "body": attempt.reply.body, "body_is_cut": attempt.reply.body_is_cut })),
            })
        })
        .collect();
    Ok(Json(json!({ "results": results })).into_response())
}
