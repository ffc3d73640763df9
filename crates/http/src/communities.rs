//! Communities: get, list.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use model::{record::Kind, resources::community::Community};

use crate::{
    App,
    caller::{Caller, Read},
    error::Error,
    lists,
    openapi::{Answer, ErrorBody, PageAnswer},
};

/// Get a community
#[utoipa::path(
    get,
    path = "/crm/v1/communities/{id}",
    operation_id = "community_get",
    tag = "Communities",
    params(("id" = String, Path, description = "The community's id")),
    responses(
        (status = 200, description = "The community", body = Answer<Community>),
        (status = 401, description = "No valid API key", body = ErrorBody),
        (status = 403, description = "The key may not read", body = ErrorBody),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 503, description = "The database is in trouble", body = ErrorBody),
    ),
    security(("bearer" = []))
)]
pub async fn community_get(
    State(app): State<App>,
    caller: Caller<Read>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    lists::one::<Community>(&app, &caller.scope, Kind::Community, &id).await
}

/// List communities
///
/// The properties that the key may send prospects to. Newest first.
#[utoipa::path(
    get,
    path = "/crm/v1/communities",
    operation_id = "communities_list",
    tag = "Communities",
    params(
        ("offset" = Option<i64>, Query, description = "Rows to skip", minimum = 0),
        ("limit" = Option<i64>, Query, description = "Rows to answer", minimum = 0, maximum = 250),
    ),
    responses(
        (status = 200, description = "A page of communities", body = PageAnswer<Community>),
        (status = 400, description = "A wrong parameter", body = ErrorBody),
        (status = 401, description = "No valid API key", body = ErrorBody),
        (status = 403, description = "The key may not read", body = ErrorBody),
        (status = 503, description = "The database is in trouble", body = ErrorBody),
    ),
    security(("bearer" = []))
)]
pub async fn communities_list(
    State(app): State<App>,
    caller: Caller<Read>,
    uri: Uri,
) -> Result<Response, Error> {
    lists::page::<Community>(&app, &caller.scope, Kind::Community, &uri).await
}
