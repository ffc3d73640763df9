//! Writes at the door: the part that all of them have in common.
//!
//! Guarantee: a repeat under an idempotency key is answered before anything else is looked at; all
//! problems of a body go out in one answer; a 200 is given only after the store said that the write
//! is on stable storage. No resource is known here: each defines its operations as values.

mod answer;
mod operation;
pub mod records;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use connectors::{
    connector::BodyOf,
    write_operation::{Refused, WriteRequest},
};
use model::{JobId, Scope, resources::checks::Context, write::NewWrite};
use store::Once;
use utoipa_axum::router::UtoipaMethodRouter;

use self::{answer::Asked, records::StoredRecords};
pub use self::{
    answer::{Answer, Stored},
    operation::{FindSubject, Future, Subject, WriteOperation, WriteRoute},
};
use crate::{
    document::{
        operation::{self as documented, RequestBody},
        parameters::{WriteHeaders, WriteQuery},
        problems::WriteProblems,
    },
    door::arrival::arrive,
    error::{Error, Reason},
    screening::Draft,
    state::App,
};

/// A route of an operation, documented.
pub fn route(route: WriteRoute) -> UtoipaMethodRouter<App> {
    let operation = route.operation;
    let parameters = documented::query::<WriteQuery>();
    let described = documented::Operation {
        id: route.id.clone(),
        method: operation.method.clone(),
        path: route.path.clone(),
        path_parameter: "The record's id",
        tag: operation.tag,
        summary: route.summary.clone(),
        description: route.description,
        permission: operation.permission,
        parameters: parameters
            .into_iter()
            .chain(documented::headers::<WriteHeaders>())
            .collect(),
        body: Some(RequestBody::One(route.body)),
        answer: ("Accepted and durable", route.answer.component()),
        problems: documented::problems::<WriteProblems>(),
    };
    let route = Arc::new(route);
    described.route(async move |State(app): State<App>, request: Request| {
        take(&app, &route, request).await
    })
}

/// Stores the write that a request asks for, and answers once it is on stable storage.
async fn take(app: &App, route: &WriteRoute, request: Request) -> Result<Response, Error> {
    let operation = route.operation;
    let named = |subject: Option<&str>, ignore_unknown| route.named(subject, ignore_unknown);
    let arrival = arrive(app, operation.permission, named, request).await?;
    let scope = &arrival.caller.scope;
    let asked = Asked {
        route,
        scope,
        headers: &arrival.headers,
    };
    if let Some(earlier) = arrival.earlier {
        // A repeat gets its answer even if what it refers to has changed since.
        return answer::answer(app, &asked, Stored::of(earlier, None)?).await;
    }
    let draft = Draft {
        generic: operation.body,
        of: BodyOf::Write(operation.operation),
        target: route.target,
        body: arrival.body,
        ignore_unknown: arrival.ignore_unknown,
    };
    let subject = arrival.subject.as_deref();
    let write = prepare(app, scope, operation, (draft, subject), &arrival.request_id).await?;
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

/// Checks a write, maps it to the vendor's words and makes it ready to be stored. `subject` is the
/// record that the path names.
///
/// # Errors
/// When it is not valid, does not fit what is stored, or the vendor takes no such writes.
pub async fn prepare(
    app: &App,
    scope: &Scope,
    operation: &WriteOperation,
    (draft, subject): (Draft, Option<&str>),
    request_id: &str,
) -> Result<NewWrite, Error> {
    let subject = match operation.find_subject {
        Some(find) => Some(find(app, scope, subject.unwrap_or_default(), draft.target).await?),
        None => None,
    };
    let (vendor, screened) = match &subject {
        Some(subject) => (subject.vendor, draft.screened_for(app, subject.vendor)?),
        None => draft.screened(app, scope)?,
    };
    let connector = app.connector(vendor)?;
    let own = connector.operation(operation.operation);
    let own = own.ok_or_else(|| Error::not_taken(vendor))?;
    let directory = app.live.get();
    let now = app.clock.now();
    let request = WriteRequest {
        context: Context {
            vendor,
            directory: &directory,
            scope,
            broken: &|field| screened.is_broken(field),
        },
        vocabulary: connector.vocabulary(),
        now,
        body: &screened.body,
        is_refused: screened.is_refused(),
        subject: subject.as_ref().map(|subject| &subject.known),
        records: &StoredRecords { app, scope },
    };
    let prepared = (own.prepare)(&request).await;
    let write = prepared.map_err(|refused| match refused {
        Refused::Invalid(issues) => screened.refused(issues),
        Refused::Conflict(why) => Error::conflict(Reason::VendorRule, why),
        Refused::Records(why) => why.downcast().map_or_else(
            |_| Error::internal("a vendor's rules failed on foreign words"),
            |why| *why,
        ),
        Refused::Internal => Error::internal("a vendor's rules could not prepare a write"),
    })?;
    Ok(NewWrite {
        job_id: JobId::new(now, &*app.entropy),
        accepted_at: now,
        integration_id: write.integration_id,
        community_id: write.community_id,
        operation: operation.operation,
        result: write.echo,
        call: write.prepared.call,
        confirmed: write.prepared.confirmed,
        order_keys: write.prepared.order_keys,
        blocked_by: write.prepared.blocked_by,
        retry_of: None,
        consent: write.consent,
        request_id: request_id.to_owned(),
    })
}
