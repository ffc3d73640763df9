//! A failed write, sent once more as a new write.

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use connectors::connector::BodyOf;
use model::{
    Vendor, consent,
    write::{Write as StoredWrite, WriteStatus},
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{job_id, none};
use crate::{
    document::problems::RetryProblems,
    door::{
        caller::{Caller, WritesAdmin},
        idempotency,
        request::RequestId,
    },
    error::{Error, Reason},
    intake::{self, Stored, WriteOperation},
    screening::{Draft, Target},
    state::App,
};

/// The answer to a retry.
#[derive(Serialize, ToSchema)]
pub struct Retried {
    /// Always true.
    pub success: bool,
    /// The new write's id.
    pub job_id: String,
}

/// Finds the operation that makes writes of a kind: an extension of the route.
#[derive(Clone, Copy)]
pub struct FindOperation(pub fn(model::write::Operation) -> Option<&'static WriteOperation>);

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
        RetryProblems
    ),
    security(("bearer" = ["writes:admin"]))
)]
pub async fn write_retry(
    State(app): State<App>,
    caller: Caller<WritesAdmin>,
    Path(id): Path<String>,
    Extension(request_id): Extension<RequestId>,
    Extension(FindOperation(find_operation)): Extension<FindOperation>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let failed = job_id(&id)?;
    let named = format!("write_retry {failed}");
    let (once, earlier) =
        idempotency::once(&app, &headers, &caller.scope, &named, &Value::Null).await?;
    if let Some(earlier) = earlier {
        return Ok(retried(&Stored::of(earlier, None)?));
    }
    let stored: StoredWrite = app
        .store
        .write_find(&caller.scope, failed)
        .await?
        .ok_or_else(none)?;
    if stored.status != WriteStatus::Failure {
        return Err(Error::conflict_with(
            failed,
            Reason::WriteNotFailed,
            format!(
                "Only a write that ended as FAILURE can be retried; this one is {}",
                stored.status
            ),
        ));
    }
    if let Some(at) = stored.stripped_at {
        return Err(Error::conflict_with(
            failed,
            Reason::WriteContentsRemoved,
            format!(
                "What this write sent was removed at {at}: the person was forgotten, or the time for which writes are kept is over. Send it as a new write"
            ),
        ));
    }
    let mut body: Value = serde_json::from_str(&stored.result).map_err(|_| {
        Error::internal(format_args!(
            "the stored body of write {} cannot be read",
            stored.job_id
        ))
    })?;
    if let Some(body) = body.as_object_mut()
        && !was_stated(&stored, body)
    {
        // The echo has the default in it. What nobody said is not said now either.
        body.remove("subscribe");
    }
    let operation = find_operation(stored.operation).ok_or_else(|| {
        Error::internal(format_args!(
            "no operation makes writes of the kind {}",
            stored.operation
        ))
    })?;
    // The body is mapped anew, with the vocabulary and references that are in force now.
    let draft = Draft {
        generic: operation.body,
        of: BodyOf::Write(operation.operation),
        target: Target::Of(vendor(&stored)?),
        body,
        ignore_unknown: true,
    };
    let (scope, subject) = (&caller.scope, stored.subject.as_deref());
    let mut write =
        intake::prepare(&app, scope, operation, (draft, subject), &request_id.0).await?;
    write.retry_of = Some(failed);
    let stored = intake::store(&app, scope, write, once).await?;
    Ok(retried(&stored))
}

/// Whether the caller of a write said what its `subscribe` is. Of a write older than consent events only a value that is not the default tells.
fn was_stated(stored: &StoredWrite, body: &serde_json::Map<String, Value>) -> bool {
    match stored.consent {
        Some(consent) => consent.is_stated,
        None => body.get("subscribe") != Some(&json!(consent::DEFAULT_OF_OLD_WRITES)),
    }
}

/// The vendor of a stored write.
fn vendor(stored: &StoredWrite) -> Result<Vendor, Error> {
    let vendor = stored.integration_vendor.parse();
    vendor
        .map_err(|why: String| Error::internal(format_args!("a stored write has no vendor: {why}")))
}

fn retried(stored: &Stored) -> Response {
    let answer = Retried {
        success: true,
        job_id: stored.job_id.to_string(),
    };
    let mut response = Json(answer).into_response();
    stored.tell(response.headers_mut());
    response
}
