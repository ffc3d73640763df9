//! Integrations, paused and resumed.

use axum::{
    extract::{Path, State},
    response::Response,
};
use model::resources::integration::Change;

use super::stored::{IntegrationAnswer, put};
use crate::{
    document::problems::ChangeProblems,
    door::caller::{Caller, IntegrationsAdmin},
    error::Error,
    state::App,
};

/// Pause an integration
///
/// Writes are taken as before, and wait. Nothing is lost: once it goes on, each is tried, however long it waited.
#[utoipa::path(
    post,
    path = "/v1/admin/integrations/{id}/pause",
    operation_id = "integration_pause",
    tag = "Integrations",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "It is paused", body = IntegrationAnswer), ChangeProblems),
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn integration_pause(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let asked = Change {
        paused_at: Some(Some(app.clock.now())),
        ..Change::default()
    };
    put(&app, &caller, &id, "integration_pause", asked).await
}

/// Resume an integration
///
/// What waited is delivered, in the order accepted.
#[utoipa::path(
    post,
    path = "/v1/admin/integrations/{id}/resume",
    operation_id = "integration_resume",
    tag = "Integrations",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "It goes on", body = IntegrationAnswer), ChangeProblems),
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn integration_resume(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let asked = Change {
        paused_at: Some(None),
        ..Change::default()
    };
    put(&app, &caller, &id, "integration_resume", asked).await
}
