//! Writes at the door: the part that all of them have in common.
//!
//! Guarantee: a repeat under an idempotency key is answered before anything else is looked at; all
//! problems of a body go out in one answer; a 200 is given only after the store said that the write
//! is on stable storage. No resource is known here: each defines its operations as values.

mod answer;
mod operation;

use axum::{
    extract::{FromRequest as _, RawPathParams, Request, State},
    http::{HeaderMap, Uri},
    response::Response,
    routing::on,
};
use model::{JobId, Scope, write::NewWrite};
use serde_json::Value;
use store::Once;
use utoipa_axum::router::UtoipaMethodRouter;

pub use self::{
    answer::{Answer, echo, job},
    operation::{Future, Prepare, Ready, WriteOperation},
};
use crate::{
    document::{
        operation::{self as documented, RequestBody},
        parameters::{WriteHeaders, WriteQuery},
        problems::WriteProblems,
    },
    door::{body::JsonBody, caller::AnyCaller, idempotency, preferences, request::RequestId},
    error::Error,
    screening::Draft,
    state::App,
};

/// The route of an operation, documented.
pub fn route(operation: &'static WriteOperation) -> UtoipaMethodRouter<App> {
    let parameters = documented::query::<WriteQuery>();
    let described = documented::Operation {
        id: operation.id,
        method: operation.method.clone(),
        path: operation.path,
        path_parameter: "The record's id",
        tag: operation.tag,
        words: operation.words,
        permission: operation.permission,
        parameters: parameters
            .into_iter()
            .chain(documented::headers::<WriteHeaders>())
            .collect(),
        body: Some(RequestBody::One(operation.body)),
        answer: ("Accepted and durable", operation.answer.component()),
        problems: documented::problems::<WriteProblems>(),
    };
    described.route(|method| {
        on(
            method,
            async move |State(app): State<App>, path: RawPathParams, request: Request| {
                let subject = path.iter().next().map(|(_, id)| id.to_owned());
                take(&app, operation, subject, request).await
            },
        )
    })
}

/// A write as a caller asks for it.
struct Asked<'a> {
    operation: &'static WriteOperation,
    scope: &'a Scope,
    headers: &'a HeaderMap,
    request_id: &'a str,
}

/// Takes the request for a write, and answers once the write is on stable storage.
async fn take(
    app: &App,
    operation: &'static WriteOperation,
    subject: Option<String>,
    request: Request,
) -> Result<Response, Error> {
    let (mut parts, body) = request.into_parts();
    let caller = AnyCaller::of(&mut parts, app, operation.permission)?;
    let (uri, headers) = (parts.uri.clone(), parts.headers.clone());
    let request_id = parts.extensions.get::<RequestId>().cloned();
    let JsonBody(body) = <JsonBody>::from_request(Request::from_parts(parts, body), app).await?;
    let asked = Asked {
        operation,
        scope: &caller.scope,
        headers: &headers,
        request_id: request_id.as_ref().map_or("", |id| &id.0),
    };
    accept(app, &asked, &uri, subject, body).await
}

/// Stores the write that a body asks for.
async fn accept(
    app: &App,
    asked: &Asked<'_>,
    uri: &Uri,
    subject: Option<String>,
    body: Value,
) -> Result<Response, Error> {
    let ignore_unknown = preferences::ignores_unknown_fields(uri)?;
    let WriteOperation {
        operation,
        target,
        schema,
        ..
    } = *asked.operation;
    let named = format!(
        "{operation} {target:?} {ignore_unknown} {}",
        subject.as_deref().unwrap_or_default()
    );
    let (once, earlier) = idempotency::once(app, asked.headers, asked.scope, &named, &body).await?;
    if let Some(earlier) = earlier {
        // A repeat gets its answer even if what it refers to has changed since.
        return answer::answer(app, asked, earlier, None).await;
    }
    let draft = Draft {
        schema,
        target,
        subject,
        body,
        ignore_unknown,
    };
    let write = prepare(app, asked.scope, asked.operation, draft, asked.request_id).await?;
    store(app, asked, write, once).await
}

/// Checks a write, maps it to the vendor's words and makes it ready to be stored.
///
/// # Errors
/// When it is not valid, or does not fit what is stored.
pub async fn prepare(
    app: &App,
    scope: &Scope,
    operation: &WriteOperation,
    draft: Draft,
    request_id: &str,
) -> Result<NewWrite, Error> {
    let ready = (operation.prepare)(app, scope, draft).await?;
    let now = app.clock.now();
    Ok(NewWrite {
        job_id: JobId::new(now, &*app.entropy),
        accepted_at: now,
        integration_id: ready.integration_id,
        community_id: ready.community_id,
        operation: operation.operation,
        result: ready.echo,
        call: ready.prepared.call,
        confirmed: ready.prepared.confirmed,
        order_keys: ready.prepared.order_keys,
        blocked_by: ready.prepared.blocked_by,
        retry_of: None,
        consent: ready.consent,
        request_id: request_id.to_owned(),
    })
}

async fn store(
    app: &App,
    asked: &Asked<'_>,
    write: NewWrite,
    once: Option<Once>,
) -> Result<Response, Error> {
    let fresh = (write.job_id, write.result.clone());
    let acceptance = app.store.write_accept(asked.scope, write, once).await?;
    app.metrics.accepted(&acceptance);
    answer::answer(app, asked, acceptance, Some(fresh)).await
}
