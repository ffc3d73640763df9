//! Integrations as the store has them: found, changed, answered with.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use model::{
    Actor, IntegrationId, Scope,
    directory::Integration,
    resources::integration::{Change, IntegrationRecord},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    door::caller::{Caller, IntegrationsAdmin},
    error::Error,
    state::App,
};

/// An integration.
#[derive(Serialize, ToSchema)]
pub struct IntegrationAnswer {
    /// It.
    pub result: IntegrationRecord,
}

pub(super) fn none() -> Error {
    Error::not_found("integration")
}

pub(super) fn shown(integration: &Integration) -> Response {
    let result = integration.into();
    Json(IntegrationAnswer { result }).into_response()
}

/// An integration as the caller may know it.
pub(super) fn find(app: &App, scope: &Scope, id: &str) -> Result<Arc<Integration>, Error> {
    let directory = app.live.get();
    directory
        .find_integration(scope, id)
        .cloned()
        .ok_or_else(none)
}

/// Stores a change, and waits until it is in force.
pub(super) async fn change(
    app: &App,
    by: &Actor,
    id: IntegrationId,
    action: &'static str,
    change: Change,
) -> Result<Integration, Error> {
    let changed = app
        .store
        .integration_change(by, id, action, change, app.clock.now())
        .await?
        .ok_or_else(none)?;
    app.follow().await?;
    Ok(changed)
}

/// Stores a change of the integration that a path names, and answers with it.
pub(super) async fn put(
    app: &App,
    caller: &Caller<IntegrationsAdmin>,
    id: &str,
    action: &'static str,
    asked: Change,
) -> Result<Response, Error> {
    let id = find(app, &caller.scope, id)?.id;
    let changed = change(app, &caller.actor(), id, action, asked).await?;
    Ok(shown(&changed))
}
