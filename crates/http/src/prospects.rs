//! Prospects: create at Knock, get, list.

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Uri, header},
    response::Response,
};
use connectors::Prepared;
use model::{
    Issue, JobId, Scope,
    directory::Vendor,
    record::Kind,
    resources::prospect::{Checked, Prospect, ProspectCreate, rules},
    write::{NewWrite, Operation},
};
use serde_json::{Value, json};
use store::{Acceptance, Once};

use crate::{
    App,
    body::{JsonBody, screen},
    caller::{Caller, Read, Write},
    error::Error,
    lists,
    openapi::{Accepted, Answer, ErrorBody, PageAnswer},
    preferences,
};

/// Create Prospect: Knock
///
/// Takes a prospect into custody, answers once it is on stable storage, then writes it to Knock and keeps at it until the outcome is known.
#[utoipa::path(
    post,
    path = "/crm/v1/prospects/knock",
    operation_id = "prospect_create_knock",
    tag = "Prospects",
    params(
        ("ignore_unknown_fields" = Option<bool>, Query, description = "`true` drops unknown fields instead of refusing them"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat of this request safe: the same key and body replays the first answer. Kept for 48 hours", max_length = 255, min_length = 1, pattern = "^[!-~]+$"),
        ("Prefer" = Option<String>, Header, description = "`wait=<seconds>` holds the answer until the outcome is final or the time is over (55 s at most)", example = "wait=10"),
    ),
    request_body = ProspectCreate,
    responses(
        (status = 200, description = "Accepted and durable", body = Accepted),
        (status = 400, description = "Not valid: every problem is listed", body = ErrorBody),
        (status = 401, description = "No valid API key", body = ErrorBody),
        (status = 403, description = "The key may not write", body = ErrorBody),
        (status = 408, description = "The body did not arrive in time", body = ErrorBody),
        (status = 409, description = "Conflict", body = ErrorBody),
        (status = 413, description = "The body is larger than 256 KiB", body = ErrorBody),
        (status = 415, description = "The body is not announced as JSON", body = ErrorBody),
        (status = 422, description = "The Idempotency-Key was used with another request", body = ErrorBody),
        (status = 500, description = "A fault of Portico", body = ErrorBody),
        (status = 503, description = "Too busy, or stopping; nothing was stored", body = ErrorBody),
    ),
    security(("bearer" = []))
)]
pub async fn prospect_create_knock(
    State(app): State<App>,
    caller: Caller<Write>,
    uri: Uri,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    let ignore_unknown = preferences::ignores_unknown_fields(&uri)?;
    let operation = format!("prospect_create_knock {ignore_unknown}");
    let once = preferences::once(&headers, &caller.scope, &operation, &body, app.clock.now())?;
    if let Some(once) = &once
        && let Some(earlier) = app.store.replay_find(&caller.scope, once).await?
    {
        // Before any other check: a repeat gets its answer even if what it refers to has changed since.
        return answer(&app, &caller.scope, &headers, earlier, None).await;
    }
    let screened = screen(&app.schemas.prospect_create_knock, body, ignore_unknown)?;
    let prospect = check(&app, &caller.scope, screened)?;
    let connector = app
        .registry
        .get(Vendor::Knock)
        .ok_or_else(Error::internal)?;
    let prepared = connector
        .prospect_create(&prospect)
        .map_err(|issues| Error::invalid(&issues))?;
    let write = new_write(&app, prepared, &prospect)?;
    accept(&app, &caller.scope, &headers, write, once).await
}

fn check(app: &App, scope: &Scope, screened: crate::body::Screened) -> Result<Checked, Error> {
    let broken = |field: &str| screened.is_broken(field);
    let input: ProspectCreate = serde_json::from_value(Value::Object(screened.object.clone()))
        .map_err(|why| {
            tracing::error!(
                line = why.line(),
                "a body kept the schema and could not be read"
            );
            Error::internal()
        })?;
    let checked = rules::check(input, Vendor::Knock, &app.live.get(), scope, &broken);
    match checked {
        Ok(checked) if screened.issues.is_empty() => Ok(checked),
        Ok(_) => Err(Error::invalid(&screened.issues)),
        Err(more) => {
            let mut issues = screened.issues;
            issues.extend(more);
            Err(Error::invalid(&issues))
        }
    }
}

/// A stored write's echo, checked again: what a retry sends is mapped anew, with what is in force now.
pub(crate) fn recheck(app: &App, scope: &Scope, result: &str) -> Result<NewWrite, Error> {
    let body: Value = serde_json::from_str(result).map_err(|_| Error::internal())?;
    let screened = screen(&app.schemas.prospect_create_knock, body, true)?;
    let prospect = check(app, scope, screened)?;
    let connector = app
        .registry
        .get(Vendor::Knock)
        .ok_or_else(Error::internal)?;
    let prepared = connector
        .prospect_create(&prospect)
        .map_err(|issues: Vec<Issue>| Error::invalid(&issues))?;
    new_write(app, prepared, &prospect)
}

fn new_write(app: &App, prepared: Prepared, prospect: &Checked) -> Result<NewWrite, Error> {
    let now = app.clock.now();
    Ok(NewWrite {
        job_id: JobId::new(now, &*app.entropy),
        accepted_at: now,
        integration_id: prospect.integration.id,
        community_id: prospect.community.id,
        operation: Operation::ProspectCreate,
        result: serde_json::to_string(&prospect.input).map_err(|_| Error::internal())?,
        call: prepared.call,
        confirmed: prepared.confirmed,
        order_keys: prepared.order_keys,
        retry_of: None,
    })
}

async fn accept(
    app: &App,
    scope: &Scope,
    headers: &HeaderMap,
    write: NewWrite,
    once: Option<Once>,
) -> Result<Response, Error> {
    let fresh = (write.job_id, write.result.clone());
    let acceptance = app.store.write_accept(scope, write, once).await?;
    app.metrics.accepted(&acceptance);
    answer(app, scope, headers, acceptance, Some(fresh)).await
}

async fn answer(
    app: &App,
    scope: &Scope,
    headers: &HeaderMap,
    acceptance: Acceptance,
    fresh: Option<(JobId, String)>,
) -> Result<Response, Error> {
    let (job_id, result, is_replay) = match (acceptance, fresh) {
        (Acceptance::Accepted, Some((job_id, result))) => (job_id, result, false),
        (Acceptance::Replayed { job_id, result }, _) => (job_id, result, true),
        (Acceptance::Mismatch, _) => return Err(Error::idempotency_mismatch()),
        (Acceptance::Accepted, None) => return Err(Error::internal()),
    };
    let wait_s = preferences::wait_s(headers);
    let mut meta = json!({ "job_id": job_id });
    if let Some(wait_s) = wait_s
        && let Some(write) = preferences::await_end(app, scope, job_id, wait_s).await?
    {
        meta["write_status"] = json!(write.status);
        meta["errors"] = json!(write.errors);
        meta["created_record_id"] = json!(write.record_id);
    }
    // The echo is stored as text and goes out as it is, so a replay is the same byte for byte.
    let body = format!("{{\"meta\":{meta},\"result\":{result}}}");
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if is_replay {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    if let Some(wait_s) = wait_s
        && let Ok(applied) = HeaderValue::try_from(format!("wait={wait_s}"))
    {
        headers.insert("preference-applied", applied);
    }
    Ok(response)
}

/// Get a prospect
///
/// A prospect exists once its vendor has confirmed it.
#[utoipa::path(
    get,
    path = "/crm/v1/prospects/{id}",
    operation_id = "prospect_get",
    tag = "Prospects",
    params(("id" = String, Path, description = "The prospect's id, for example a write's `created_record_id`")),
    responses(
        (status = 200, description = "The prospect", body = Answer<Prospect>),
        (status = 401, description = "No valid API key", body = ErrorBody),
        (status = 403, description = "The key may not read", body = ErrorBody),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 503, description = "The database is in trouble", body = ErrorBody),
    ),
    security(("bearer" = []))
)]
pub async fn prospect_get(
    State(app): State<App>,
    caller: Caller<Read>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    lists::one::<Prospect>(&app, &caller.scope, Kind::Prospect, &id).await
}

/// List prospects
///
/// Newest first.
#[utoipa::path(
    get,
    path = "/crm/v1/prospects",
    operation_id = "prospects_list",
    tag = "Prospects",
    params(
        ("offset" = Option<i64>, Query, description = "Rows to skip", minimum = 0),
        ("limit" = Option<i64>, Query, description = "Rows to answer", minimum = 0, maximum = 250),
    ),
    responses(
        (status = 200, description = "A page of prospects", body = PageAnswer<Prospect>),
        (status = 400, description = "A wrong parameter", body = ErrorBody),
        (status = 401, description = "No valid API key", body = ErrorBody),
        (status = 403, description = "The key may not read", body = ErrorBody),
        (status = 503, description = "The database is in trouble", body = ErrorBody),
    ),
    security(("bearer" = []))
)]
pub async fn prospects_list(
    State(app): State<App>,
    caller: Caller<Read>,
    uri: Uri,
) -> Result<Response, Error> {
    lists::page::<Prospect>(&app, &caller.scope, Kind::Prospect, &uri).await
}
