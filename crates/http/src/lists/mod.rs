//! Records: the list of a kind, and one record by its id.
//!
//! Guarantee: one shape for all resources, which define no more than a value ([`Records`]). A page
//! by cursor costs the same wherever it begins.
//! Source: the public contract, section 1, lists.

pub mod answers;
mod query;

pub(crate) use self::query::vendor;

use axum::{
    Json,
    extract::{Request, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use connectors::component::Component;
use model::{
    Permission, Scope,
    record::{Kind, Record},
};
use serde::{Serialize, de::DeserializeOwned};
use store::query::{From, Row, Sort};
use utoipa::{ToSchema, openapi::HttpMethod};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::{
    cursor,
    document::{
        answers::{Answer, ListMeta, Order, Page},
        operation as documented,
        problems::{GetProblems, ListProblems},
    },
    door::{caller::AnyCaller, request::path_parameter},
    error::Error,
    state::App,
};

/// An operation that reads records of a resource.
pub struct ReadOperation {
    /// The operation's id in the document.
    pub id: &'static str,
    /// The path, with its parameter in braces.
    pub path: &'static str,
    /// The document's heading for it.
    pub summary: &'static str,
}

/// The records of a resource, and the operations that read them.
pub struct Records {
    /// The kind.
    pub kind: Kind,
    /// The document's section.
    pub tag: &'static str,
    /// The permission that reading takes.
    pub permission: Permission,
    /// Reads one by its id.
    pub get: ReadOperation,
    /// Lists them.
    pub list: ReadOperation,
    /// Adds the two routes to a router.
    pub routes: fn(OpenApiRouter<App>, &'static Self) -> OpenApiRouter<App>,
}

/// Adds the routes that read records as the resource `T`.
pub fn routes<T>(router: OpenApiRouter<App>, records: &'static Records) -> OpenApiRouter<App>
where
    T: DeserializeOwned + Serialize + ToSchema + 'static,
{
    router
        .routes(get_route::<T>(records))
        .routes(list_route::<T>(records))
}

fn described(
    records: &Records,
    of: &ReadOperation,
    answer: (&'static str, Component),
    problems: documented::Problems,
) -> documented::Operation {
    documented::Operation {
        id: of.id.to_owned(),
        method: HttpMethod::Get,
        path: of.path.to_owned(),
        path_parameter: "Its id",
        tag: records.tag,
        summary: of.summary.to_owned(),
        description: "",
        permission: records.permission,
        parameters: Vec::new(),
        body: None,
        answer,
        problems,
    }
}

fn get_route<T>(records: &'static Records) -> UtoipaMethodRouter<App>
where
    T: DeserializeOwned + Serialize + ToSchema + 'static,
{
    let answer = ("The record", Component::of::<Answer<T>>());
    let problems = documented::problems::<GetProblems>();
    let described = described(records, &records.get, answer, problems);
    described.route(async move |State(app): State<App>, request: Request| {
        let mut parts = request.into_parts().0;
        let caller = AnyCaller::of(&mut parts, &app, records.permission)?;
        let id = path_parameter(&mut parts).await?.unwrap_or_default();
        one::<T>(&app, &caller.scope, records.kind, &id).await
    })
}

fn list_route<T>(records: &'static Records) -> UtoipaMethodRouter<App>
where
    T: DeserializeOwned + Serialize + ToSchema + 'static,
{
    let answer = ("A page of records", Component::of::<Page<T>>());
    let problems = documented::problems::<ListProblems>();
    let described = described(records, &records.list, answer, problems);
    described.route(async move |State(app): State<App>, request: Request| {
        let mut parts = request.into_parts().0;
        let caller = AnyCaller::of(&mut parts, &app, records.permission)?;
        page::<T>(&app, &caller.scope, records.kind, &parts.uri).await
    })
}

fn shown(order: &[Sort]) -> Vec<Order> {
    order
        .iter()
        .map(|sort| Order {
            field: sort.field.word().to_owned(),
            direction: answers::direction(sort.is_descending).to_owned(),
        })
        .collect()
}

/// A record as its resource.
///
/// # Errors
/// 500 when what is stored does not fit it.
pub fn read<T: DeserializeOwned>(record: Record) -> Result<T, Error> {
    let id = record.id.clone();
    record.read().map_err(|why| {
        // Not what it says: that may repeat a person's data.
        let line = why.line();
        Error::internal(format_args!(
            "the stored record {id} cannot be read, line {line}"
        ))
    })
}

/// Answers a page of records of `kind`.
///
/// # Errors
/// On a wrong parameter, and as the store's.
async fn page<T: DeserializeOwned + Serialize>(
    app: &App,
    scope: &Scope,
    kind: Kind,
    uri: &Uri,
) -> Result<Response, Error> {
    let mut query = query::asked(app, scope, kind, uri).await?;
    let key = scope.key();
    query.from = app.cache.walks.from(key, &query);
    let mut page = app.store.records_list(scope, &query).await;
    if let (Err(store::Error::Conflict(_)), From::Near { row, offset, .. }) = (&page, &query.from) {
        // The row where the page before ended is gone: it is counted from the beginning.
        app.cache.walks.forget(key, row);
        query.from = From::Offset(*offset);
        page = app.store.records_list(scope, &query).await;
    }
    let page = page.map_err(|why| {
        match why {
            // The one thing in a list that can be gone is the row that its cursor names.
            store::Error::Conflict(_) => Error::invalid_parameter(
                "cursor",
                "The record that this cursor names is gone. Begin the list anew",
            ),
            why => why.into(),
        }
    })?;
    let next_cursor = page
        .rows
        .last()
        .filter(|_| page.has_more)
        .map(|last| cursor::write(&query, &Row::of(last, query.kind, &query.order)));
    if let (Some(offset), Some(last)) = (query.from.offset(), page.rows.last()) {
        let end = offset + page.rows.len() as u64;
        app.cache
            .walks
            .ended(key, &query, end, Row::of(last, query.kind, &query.order));
    }
    let answer = Page::<T> {
        meta: ListMeta {
            offset: query.from.offset().unwrap_or(0),
            limit: query.limit,
            order_by: shown(&query.order),
            has_more: page.has_more,
            total: page.total,
            total_is_exact: answers::inexact(page.total_is_exact),
            next_cursor,
        },
        results: page.rows.into_iter().map(read).collect::<Result<_, _>>()?,
    };
    Ok(Json(answer).into_response())
}

/// The record of `kind` with this id, as its resource.
///
/// # Errors
/// When the caller may know of none, and as the store's.
pub async fn resource<T: DeserializeOwned>(
    app: &App,
    scope: &Scope,
    kind: Kind,
    id: &str,
) -> Result<T, Error> {
    let found = app.store.record_find(scope, kind, id).await?;
    read(found.ok_or_else(|| Error::not_found(kind.word()))?)
}

/// Answers the record of `kind` with this id.
///
/// # Errors
/// When the caller may know of none, and as the store's.
async fn one<T: DeserializeOwned + Serialize>(
    app: &App,
    scope: &Scope,
    kind: Kind,
    id: &str,
) -> Result<Response, Error> {
    let results = resource(app, scope, kind, id).await?;
    let answer = Answer::<T> {
        meta: answers::single_meta(),
        results,
    };
    Ok(Json(answer).into_response())
}
