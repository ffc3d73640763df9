//! Integrations: asking for a synchronisation. Registering and changing them is not here yet.
//!
//! Source: the public contract, section 5.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    App,
    caller::{Admin, Caller},
    error::Error,
    openapi::{ErrorBody, GetProblems},
};

/// The answer to a request for a synchronisation.
#[derive(Serialize, ToSchema)]
pub struct SyncAnswer {
    /// What became of it.
    pub result: SyncResult,
}

/// What became of a request for a synchronisation.
#[derive(Serialize, ToSchema)]
pub struct SyncResult {
    /// Always true.
    pub success: bool,
}

/// Synchronise an integration now
///
/// Reads its lead sources, and its prospects as far as one run goes, as soon as writes leave room. GET /v1/admin/logs/jobs shows what became of it.
#[utoipa::path(
    post,
    path = "/v1/admin/integrations/{id}/manual-sync",
    operation_id = "integration_sync",
    tag = "Administration",
    params(("id" = String, Path, description = "The integration's id")),
    responses(
        (status = 200, description = "It is due now", body = SyncAnswer),
        (status = 409, description = "The integration is not active", body = ErrorBody),
        GetProblems
    ),
    security(("bearer" = []))
)]
pub async fn integration_sync(
    State(app): State<App>,
    caller: Caller<Admin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let none = || Error::not_found("integration");
    let directory = app.live.get();
    let integration = directory
        .find_integration(&caller.scope, &id)
        .ok_or_else(none)?;
    if !integration.active {
        return Err(Error::conflict(
            "This integration is not active. Activate it before synchronising it",
        ));
    }
    let now = app.clock.now();
    if !app
        .store
        .sync_request(&caller.scope, integration.id, now)
        .await?
    {
        return Err(none());
    }
    let result = SyncResult { success: true };
    Ok(Json(SyncAnswer { result }).into_response())
}
