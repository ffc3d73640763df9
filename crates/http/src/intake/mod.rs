//! Writes at the door: the part that all of them have in common.
//!
//! Guarantee: a repeat under an idempotency key is answered before anything else is looked at; all
//! problems of a body go out in one answer; a 200 is given only after the store said that the write
//! is on stable storage. No resource is known here: each defines its operations as values.

mod answer;
mod operation;

use axum::{
    extract::{Request, State},
    response::Response,
};
use model::{JobId, Scope, write::NewWrite};
use store::Once;
use utoipa_axum::router::UtoipaMethodRouter;

use self::answer::Asked;
pub use self::{
    answer::{Answer, Stored, echo, job},
    operation::{Future, Prepare, Ready, WriteOperation},
};
use crate::{
    document::{
        operation::{self as documented, RequestBody},
        parameters::{WriteHeaders, WriteQuery},
        problems::WriteProblems,
    },
    door::arrival::arrive,
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
    described.route(async move |State(app): State<App>, request: Request| {
        take(&app, operation, request).await
    })
}

/// Stores the write that a request asks for, and answers once it is on stable storage.
async fn take(
    app: &App,
    operation: &'static WriteOperation,
    request: Request,
) -> Result<Response, Error> {
    let named = |subject: Option<&str>, ignore_unknown| operation.named(subject, ignore_unknown);
    let arrival = arrive(app, operation.permission, named, request).await?;
    let scope = &arrival.caller.scope;
    let asked = Asked {
        operation,
        scope,
        headers: &arrival.headers,
    };
    if let Some(earlier) = arrival.earlier {
        // A repeat gets its answer even if what it refers to has changed since.
        return answer::answer(app, &asked, Stored::of(earlier, None)?).await;
    }
    let draft = Draft {
        schema: operation.schema,
        target: operation.target,
        subject: arrival.subject,
        body: arrival.body,
        ignore_unknown: arrival.ignore_unknown,
    };
    let write = prepare(app, scope, operation, draft, &arrival.request_id).await?;
    let stored = store(app, scope, write, arrival.once).await?;
    answer::answer(app, &asked, stored).await
}

/// Stores a write, unless one was stored under its idempotency key before.
///
/// # Errors
/// When the key stands for another request, or for a write whose contents are gone, and as the
/// store's.
pub async fn store(
    app: &App,
    scope: &Scope,
    write: NewWrite,
    once: Option<Once>,
) -> Result<Stored, Error> {
    let fresh = (write.job_id, write.result.clone());
    let acceptance = app.store.write_accept(scope, write, once).await?;
    app.metrics.accepted(&acceptance);
    Stored::of(acceptance, Some(fresh))
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
