//! Subscriptions as the store has them: found, answered with.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use model::{
    Permission, Scope, WebhookId,
    permission::{Group, Level},
    resources::webhook::WebhookRecord,
    webhook::Webhook,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{error::Error, state::App};

/// A subscription.
#[derive(Serialize, ToSchema)]
pub struct WebhookAnswer {
    /// It.
    pub result: WebhookRecord,
}

pub(super) fn none() -> Error {
    Error::not_found("webhook")
}

pub(super) fn shown(scope: &Scope, webhook: &Webhook) -> WebhookRecord {
    let with_secrets = scope.may(Permission::of(Group::Webhooks, Level::Admin));
    WebhookRecord::of(webhook, with_secrets)
}

pub(super) fn answer(scope: &Scope, webhook: &Webhook) -> Response {
    let result = shown(scope, webhook);
    Json(WebhookAnswer { result }).into_response()
}

/// The id in a path.
pub(super) fn webhook_id(id: &str) -> Result<WebhookId, Error> {
    id.parse().map_err(|_| none())
}

/// A subscription as the caller may know it.
pub(super) async fn find(app: &App, scope: &Scope, id: &str) -> Result<Webhook, Error> {
    let found = app.store.webhook_find(scope, webhook_id(id)?).await?;
    found.ok_or_else(none)
}
