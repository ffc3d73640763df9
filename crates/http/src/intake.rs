//! Writes at the door: what all of them have in common, whatever is asked.
//!
//! Guarantee: a repeat under an idempotency key is answered before anything else is looked at; all problems of a body go out in one answer; a 200 is given
//! only after the store said that the write is on stable storage.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::Response,
};
use connectors::{Connector, Prepared};
use model::{
    CommunityId, IntegrationId, Issue, JobId, Permission, Scope,
    directory::Vendor,
    permission::{Group, Level},
    write::{NewWrite, Operation},
};
use serde::Serialize;
use serde_json::{Value, json};
use store::{Acceptance, Once};

use crate::{
    App, appointments,
    body::{Screened, screen, screen_generic},
    error::Error,
    events, listings,
    openapi::BodyKind,
    preferences::{self, EndWait},
    prospects,
};

/// The handler of a write: `post` of a new thing, or `put` of a change of the record that the path names.
macro_rules! writes {
    ($(#[$doc:meta])* post $path:literal, $name:ident, $tag:literal, $operation:expr, $route:expr, $needs:ident $permission:literal, $body:ty => $answer:ty) => {
        $(#[$doc])*
        #[utoipa::path(
            post,
            path = $path,
            operation_id = stringify!($name),
            tag = $tag,
            params(crate::openapi::WriteQuery, crate::openapi::WriteHeaders),
            request_body = $body,
            responses(
                (status = 200, description = "Accepted and durable", body = $answer),
                crate::openapi::WriteProblems
            ),
            security(("bearer" = [$permission]))
        )]
        pub async fn $name(
            axum::extract::State(app): axum::extract::State<crate::App>,
            caller: crate::caller::Caller<crate::caller::$needs>,
            axum::Extension(request_id): axum::Extension<crate::envelope::RequestId>,
            uri: axum::http::Uri,
            headers: axum::http::HeaderMap,
            crate::body::JsonBody(body): crate::body::JsonBody,
        ) -> Result<axum::response::Response, crate::error::Error> {
            let asked = crate::intake::Asked {
                scope: &caller.scope,
                uri: &uri,
                headers: &headers,
                request_id: request_id.0,
                operation: $operation,
                route: $route,
                subject: None,
            };
            crate::intake::take(&app, asked, body).await
        }
    };
    ($(#[$doc:meta])* put $path:literal by $id:literal, $name:ident, $tag:literal, $operation:expr, $route:expr, $needs:ident $permission:literal, $body:ty => $answer:ty) => {
        $(#[$doc])*
        #[utoipa::path(
            put,
            path = $path,
            operation_id = stringify!($name),
            tag = $tag,
            params(
                ($id = String, Path, description = "The record's id"),
                crate::openapi::WriteQuery,
                crate::openapi::WriteHeaders
            ),
            request_body = $body,
            responses(
                (status = 200, description = "Accepted and durable", body = $answer),
                crate::openapi::WriteProblems
            ),
            security(("bearer" = [$permission]))
        )]
        pub async fn $name(
            axum::extract::State(app): axum::extract::State<crate::App>,
            caller: crate::caller::Caller<crate::caller::$needs>,
            axum::extract::Path(id): axum::extract::Path<String>,
            axum::Extension(request_id): axum::Extension<crate::envelope::RequestId>,
            uri: axum::http::Uri,
            headers: axum::http::HeaderMap,
            crate::body::JsonBody(body): crate::body::JsonBody,
        ) -> Result<axum::response::Response, crate::error::Error> {
            let asked = crate::intake::Asked {
                scope: &caller.scope,
                uri: &uri,
                headers: &headers,
                request_id: request_id.0,
                operation: $operation,
                route: $route,
                subject: Some(id),
            };
            crate::intake::take(&app, asked, body).await
        }
    };
}
pub(crate) use writes;

/// Whom a path writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The vendor that it names.
    Of(Vendor),
    /// Whoever is behind the integration or the record.
    Generic,
}

/// A write as a caller asks for it.
pub struct Asked<'a> {
    /// Who asks.
    pub scope: &'a Scope,
    /// The address that was asked.
    pub uri: &'a Uri,
    /// The request's head.
    pub headers: &'a HeaderMap,
    /// The request's id.
    pub request_id: String,
    /// What is asked.
    pub operation: Operation,
    /// Whom the path writes to.
    pub route: Route,
    /// The record that the path names.
    pub subject: Option<String>,
}

/// What a write is made of.
pub struct Draft {
    /// What is asked.
    pub operation: Operation,
    /// Whom the path writes to.
    pub route: Route,
    /// The record that the path names.
    pub subject: Option<String>,
    /// The body.
    pub body: Value,
    /// Whether members that nobody knows are dropped.
    pub ignore_unknown: bool,
    /// The id of the request that brings it.
    pub request_id: String,
}

/// Takes a write into custody and answers.
///
/// # Errors
/// When it is not valid, does not fit what is stored, or the store fails; then nothing was stored.
pub async fn take(app: &App, asked: Asked<'_>, body: Value) -> Result<Response, Error> {
    let ignore_unknown = preferences::ignores_unknown_fields(asked.uri)?;
    let (operation, route) = (asked.operation, asked.route);
    let named = format!(
        "{operation} {route:?} {ignore_unknown} {}",
        asked.subject.as_deref().unwrap_or_default()
    );
    let (once, earlier) = preferences::once(app, asked.headers, asked.scope, &named, &body).await?;
    if let Some(earlier) = earlier {
        // Before any other check: a repeat gets its answer even if what it refers to has changed since.
        return answer(app, &asked, earlier, None).await;
    }
    let draft = Draft {
        operation,
        route,
        subject: asked.subject.clone(),
        body,
        ignore_unknown,
        request_id: asked.request_id.clone(),
    };
    let write = prepare(app, asked.scope, draft).await?;
    accept(app, &asked, write, once).await
}

/// Checks a write, maps it and makes it ready to be stored.
///
/// # Errors
/// When it is not valid, or does not fit what is stored.
pub async fn prepare(app: &App, scope: &Scope, draft: Draft) -> Result<NewWrite, Error> {
    let request_id = draft.request_id.clone();
    let write = match draft.operation {
        Operation::ProspectCreate => prospects::prepare_create(app, scope, draft).await,
        Operation::ProspectUpdate => prospects::prepare_update(app, scope, draft).await,
        Operation::EventCreate => events::prepare_create(app, scope, draft).await,
        Operation::AppointmentCreate => appointments::prepare_create(app, scope, draft).await,
        Operation::ListingCreate => listings::prepare_create(app, scope, draft).await,
    };
    Ok(NewWrite {
        request_id,
        ..write?
    })
}

/// The vendor that a draft is for, and its body screened against that vendor's schema.
///
/// # Errors
/// As [`screened_as`].
pub fn screened(app: &App, scope: &Scope, draft: Draft) -> Result<(Vendor, Screened), Error> {
    let subject = draft.operation.into();
    screened_as(
        app,
        scope,
        draft.route,
        subject,
        draft.body,
        draft.ignore_unknown,
    )
}

/// The vendor that a body is for, and the body screened against that vendor's schema.
///
/// # Errors
/// When the body is not an object, or, on a generic path, names no integration.
pub fn screened_as(
    app: &App,
    scope: &Scope,
    route: Route,
    subject: BodyKind,
    body: Value,
    ignore_unknown: bool,
) -> Result<(Vendor, Screened), Error> {
    let schema = |vendor| app.schemas.get(vendor, subject).ok_or_else(Error::internal);
    let vendor = match route {
        Route::Of(vendor) => {
            let screened = screen(schema(Some(vendor))?, body, ignore_unknown)?;
            return Ok((vendor, screened));
        }
        Route::Generic => body["integration_id"]
            .as_str()
            .and_then(|id| Some(app.live.get().find_integration(scope, id)?.vendor)),
    };
    let Some(vendor) = vendor else {
        let screened = screen(schema(None)?, body, ignore_unknown)?;
        let mut issues = Vec::new();
        if !screened.is_broken("integration_id") {
            issues.push(Issue::custom(
                "integration_id",
                "No integration has this id, or your key may not use it. Without it the vendor is not known, and the rest was not checked against the vendor's rules",
            ));
        }
        return screened.settle(Err(issues));
    };
    let screened = screened_for(app, vendor, subject, body, ignore_unknown)?;
    Ok((vendor, screened))
}

/// A generic body, screened against the schema of the vendor that it is known to be for.
///
/// # Errors
/// When the body is not an object.
pub fn screened_for(
    app: &App,
    vendor: Vendor,
    subject: BodyKind,
    body: Value,
    ignore_unknown: bool,
) -> Result<Screened, Error> {
    let schema = |vendor| app.schemas.get(vendor, subject).ok_or_else(Error::internal);
    let (generic, own) = (schema(None)?, schema(Some(vendor))?);
    screen_generic(generic, own, vendor, body, ignore_unknown)
}

/// The connector of `vendor`.
///
/// # Errors
/// 500 when there is none.
pub fn connector(app: &App, vendor: Vendor) -> Result<&dyn Connector, Error> {
    app.registry
        .get(vendor)
        .map(|connector| &**connector)
        .ok_or_else(Error::internal)
}

/// Puts together what is stored.
///
/// # Errors
/// What the vendor has no word for, and 500 when the echo cannot be written.
pub fn new_write(
    app: &App,
    operation: Operation,
    (integration_id, community_id): (IntegrationId, CommunityId),
    input: &impl Serialize,
    prepared: Result<Prepared, Vec<Issue>>,
) -> Result<NewWrite, Error> {
    let prepared = prepared.map_err(|issues| Error::invalid(&issues))?;
    let now = app.clock.now();
    Ok(NewWrite {
        job_id: JobId::new(now, &*app.entropy),
        accepted_at: now,
        integration_id,
        community_id,
        operation,
        result: serde_json::to_string(input).map_err(|_| Error::internal())?,
        call: prepared.call,
        confirmed: prepared.confirmed,
        order_keys: prepared.order_keys,
        blocked_by: prepared.blocked_by,
        retry_of: None,
        consent: None,
        request_id: String::new(),
    })
}

async fn accept(
    app: &App,
    asked: &Asked<'_>,
    write: NewWrite,
    once: Option<Once>,
) -> Result<Response, Error> {
    let fresh = (write.job_id, write.result.clone());
    let acceptance = app.store.write_accept(asked.scope, write, once).await?;
    app.metrics.accepted(&acceptance);
    answer(app, asked, acceptance, Some(fresh)).await
}

/// Whether the caller may learn how a write ended: an outcome and the id of a record may be
/// somebody else's, whom the vendor has found by a contact. So it takes the permission to read what
/// the operation makes, or what became of writes.
fn may_learn_end(scope: &Scope, operation: Operation) -> bool {
    let group = match operation {
        Operation::ProspectCreate | Operation::ProspectUpdate => Group::Prospects,
        Operation::EventCreate => Group::Events,
        Operation::AppointmentCreate => Group::Appointments,
        Operation::ListingCreate => Group::Listings,
    };
    [group, Group::Writes]
        .into_iter()
        .any(|group| scope.may(Permission::of(group, Level::Read)))
}

async fn answer(
    app: &App,
    asked: &Asked<'_>,
    acceptance: Acceptance,
    fresh: Option<(JobId, String)>,
) -> Result<Response, Error> {
    let (job_id, result, is_replay) = match (acceptance, fresh) {
        (Acceptance::Accepted, Some((job_id, result))) => (job_id, result, false),
        (Acceptance::Replayed { job_id, result }, _) => (job_id, result, true),
        (Acceptance::Mismatch, _) => return Err(Error::idempotency_mismatch()),
        (Acceptance::Erased { at }, _) => return Err(Error::erased(at)),
        (Acceptance::Accepted, None) => return Err(Error::internal()),
    };
    // Who may not learn the end does not learn either how long it took.
    let wait = if may_learn_end(asked.scope, asked.operation) {
        EndWait::of(app, asked.scope, asked.headers)
    } else {
        None
    };
    let wait_s = wait.as_ref().map(|wait| wait.seconds);
    let mut meta = json!({ "job_id": job_id });
    let mut waited = false;
    let ended = match wait {
        Some(wait) => preferences::await_end(app, asked.scope, job_id, Some(wait)).await,
        None => Ok(None),
    };
    // The write is stored, whatever becomes of the wait: an error would have it sent again.
    let ended = ended.unwrap_or_else(|why| {
        if why.status != StatusCode::UNAUTHORIZED {
            tracing::warn!(why = why.message, %job_id, "how a write stands could not be read for who waits; it is answered without");
        }
        None
    });
    if let Some(write) = ended {
        waited = true;
        meta["write_status"] = json!(write.status);
        meta["errors"] = json!(write.errors);
        meta["created_record_id"] = json!(write.record_id);
    }
    let body = match asked.route {
        // The echo is stored as text and goes out as it is, so a replay is the same byte for byte.
        Route::Of(_) => format!("{{\"meta\":{meta},\"result\":{result}}}"),
        Route::Generic if waited => {
            format!("{{\"job_id\":\"{job_id}\",\"data\":{{}},\"meta\":{meta}}}")
        }
        Route::Generic => format!("{{\"job_id\":\"{job_id}\",\"data\":{{}}}}"),
    };
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
