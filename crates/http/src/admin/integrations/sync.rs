//! A synchronisation that is asked for by hand.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::stored::{find, none};
use crate::{
    document::problems::PlainChangeProblems,
    door::caller::{Caller, IntegrationsAdmin},
    error::{Error, Reason},
    state::App,
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
    tag = "Integrations",
    params(("id" = String, Path, description = "The integration's id")),
    responses(
        (status = 200, description = "It is due now", body = SyncAnswer),
        PlainChangeProblems
    ),
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn integration_sync(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let integration = find(&app, &caller.scope, &id)?;
    if !integration.active {
        return Err(Error::conflict(
            Reason::IntegrationInactive,
            "This integration is not active. Activate it before synchronising it",
        ));
    }
    if integration.paused_at.is_some() {
        return Err(Error::conflict(
            Reason::IntegrationPaused,
            "This integration is paused. Resume it before synchronising it",
        ));
    }
    app.connector(integration.vendor)?;
    let now = app.clock.now();
    if !app
        .store
        .sync_request(&caller.actor(), integration.id, now)
        .await?
    {
        return Err(none());
    }
    let result = SyncResult { success: true };
    Ok(Json(SyncAnswer { result }).into_response())
}
