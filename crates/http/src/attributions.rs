//! Attributions: get, list.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use model::{record::Kind, resources::attribution::Attribution};

use crate::{
    App,
    caller::{Caller, Read},
    error::Error,
    lists,
    openapi::{Answer, ErrorBody, PageAnswer},
};

/// Get an attribution
#[utoipa::path(
    get,
    path = "/crm/v1/attributions/{id}",
    operation_id = "attribution_get",
    tag = "Attributions",
    params(("id" = String, Path, description = "The attribution's id")),
    responses(
        (status = 200, description = "The attribution", body = Answer<Attribution>),
        (status = 401, description = "No valid API key", body = ErrorBody),
        (status = 403, description = "The key may not read", body = ErrorBody),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 503, description = "The database is in trouble", body = ErrorBody),
    ),
    security(("bearer" = []))
)]
pub async fn attribution_get(
    State(app): State<App>,
    caller: Caller<Read>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    lists::one::<Attribution>(&app, &caller.scope, Kind::Attribution, &id).await
}

/// List attributions
///
/// Where prospects hear of a community: each says for which it is valid. Newest first.
#[utoipa::path(
    get,
    path = "/crm/v1/attributions",
    operation_id = "attributions_list",
    tag = "Attributions",
    params(
        ("offset" = Option<i64>, Query, description = "Rows to skip", minimum = 0),
        ("limit" = Option<i64>, Query, description = "Rows to answer", minimum = 0, maximum = 250),
    ),
    responses(
        (status = 200, description = "A page of attributions", body = PageAnswer<Attribution>),
        (status = 400, description = "A wrong parameter", body = ErrorBody),
        (status = 401, description = "No valid API key", body = ErrorBody),
        (status = 403, description = "The key may not read", body = ErrorBody),
        (status = 503, description = "The database is in trouble", body = ErrorBody),
    ),
    security(("bearer" = []))
)]
pub async fn attributions_list(
    State(app): State<App>,
    caller: Caller<Read>,
    uri: Uri,
) -> Result<Response, Error> {
    lists::page::<Attribution>(&app, &caller.scope, Kind::Attribution, &uri).await
}
