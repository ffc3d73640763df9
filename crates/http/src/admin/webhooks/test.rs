//! A test event, sent while the caller waits.
//!
//! Guarantee: it is sent once, through the guarded client, within the time that one call may take.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use model::EventId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{response::shown_response, stored::find};
use crate::{
    document::{problems::ChangeProblems, webhooks::test_body},
    door::caller::{Caller, WebhooksAdmin},
    error::Error,
    state::App,
};

/// What a test event came to.
#[derive(Serialize, ToSchema)]
pub struct TestAnswer {
    /// It.
    pub result: TestResult,
}

/// What a test event came to.
#[derive(Serialize, ToSchema)]
pub struct TestResult {
    /// Whether the receiver took it: answered with a 2xx.
    pub delivered: bool,
    /// Its id, which is its `webhook-id`.
    pub event_id: String,
    /// Where it was sent.
    pub url: String,
    /// The HTTP status; `null` when there was no answer.
    pub status: Option<u16>,
    /// How long it took.
    #[schema(minimum = 0)]
    pub duration_ms: Option<u64>,
    /// Why it was not taken.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub response: Option<String>,
    /// Whether there was more of it.
    pub response_is_cut: bool,
}

/// Send a test event
///
/// To the webhook's receiver, now, whether or not it is active, signed as every delivery is, and answers what came of it, within 15 s. It is not repeated, stands in
/// no log, and says nothing about how the webhook stands.
#[utoipa::path(
    post,
    path = "/v1/webhooks/{id}/test",
    operation_id = "webhook_test",
    tag = "Webhooks",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "What came of it", body = TestAnswer), ChangeProblems),
    security(("bearer" = ["webhooks:admin"]))
)]
pub async fn webhook_test(
    State(app): State<App>,
    caller: Caller<WebhooksAdmin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let webhook = find(&app, &caller.scope, &id).await?;
    let _slot = app.limits.receiver_calls.slot()?;
    let now = app.clock.now();
    let event_id = EventId::new(now, &*app.entropy);
    let body = serde_json::to_vec(&test_body(webhook.id, event_id, now));
    let body = body.map_err(Error::internal)?;
    let sent = ::webhooks::sender::send(
        &app.receivers,
        &webhook,
        event_id,
        body.into(),
        1,
        (now, app.clock.settled()),
    )
    .await;
    app.admit(&caller.scope)?;
    let attempt = sent.attempt;
    let result = TestResult {
        delivered: attempt.is_taken,
        event_id: event_id.to_string(),
        url: webhook.url,
        status: attempt.status,
        duration_ms: attempt.duration_ms,
        error: attempt.error,
        response: attempt.response.as_deref().map(shown_response),
        response_is_cut: attempt.response_is_cut,
    };
    Ok(Json(TestAnswer { result }).into_response())
}
