//! Agents: get, list.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use model::{record::Kind, resources::agent::Agent};

use crate::{
    App,
    caller::{Caller, Read},
    error::Error,
    lists,
    openapi::{Answer, ErrorBody, PageAnswer},
};

/// Get an agent
#[utoipa::path(
    get,
    path = "/crm/v1/agents/{id}",
    operation_id = "agent_get",
    tag = "Agents",
    params(("id" = String, Path, description = "The agent's id")),
    responses(
        (status = 200, description = "The agent", body = Answer<Agent>),
        (status = 401, description = "No valid API key", body = ErrorBody),
        (status = 403, description = "The key may not read", body = ErrorBody),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 503, description = "The database is in trouble", body = ErrorBody),
    ),
    security(("bearer" = []))
)]
pub async fn agent_get(
    State(app): State<App>,
    caller: Caller<Read>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    lists::one::<Agent>(&app, &caller.scope, Kind::Agent, &id).await
}

/// List agents
///
/// The people who let, each with the communities they work for. Newest first.
#[utoipa::path(
    get,
    path = "/crm/v1/agents",
    operation_id = "agents_list",
    tag = "Agents",
    params(
        ("offset" = Option<i64>, Query, description = "Rows to skip", minimum = 0),
        ("limit" = Option<i64>, Query, description = "Rows to answer", minimum = 0, maximum = 250),
    ),
    responses(
        (status = 200, description = "A page of agents", body = PageAnswer<Agent>),
        (status = 400, description = "A wrong parameter", body = ErrorBody),
        (status = 401, description = "No valid API key", body = ErrorBody),
        (status = 403, description = "The key may not read", body = ErrorBody),
        (status = 503, description = "The database is in trouble", body = ErrorBody),
    ),
    security(("bearer" = []))
)]
pub async fn agents_list(
    State(app): State<App>,
    caller: Caller<Read>,
    uri: Uri,
) -> Result<Response, Error> {
    lists::page::<Agent>(&app, &caller.scope, Kind::Agent, &uri).await
}
