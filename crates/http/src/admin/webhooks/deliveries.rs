//! Deliveries of events to a subscription, and their attempts.
//!
//! Guarantee: of a subscription or an event that the caller may not see, nothing is told but what is
//! told of one that nobody has.

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use model::{
    EventId, WebhookId,
    record::Kind,
    webhook::{Delivery, DeliveryAttempt, DeliveryStatus},
};
use serde::Serialize;
use store::webhooks::DeliveryQuery;
use utoipa::ToSchema;

use super::{response::shown_response, stored::webhook_id};
use crate::{
    admin::events::{cursor_gone, event_cursor},
    document::{
        answers::Page,
        parameters::{LIMIT_DEFAULT, LIMIT_MAX},
        problems::{GetProblems, InnerListProblems},
    },
    door::{
        caller::{Caller, WebhooksRead},
        query::Parameters,
    },
    error::Error,
    lists::answers::cursor_answer,
    state::App,
};

/// A page of them.
type DeliveryPage = Page<DeliveryRecord>;

/// The delivery of an event to a subscriber.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub struct DeliveryRecord {
    /// The event. It is the `webhook-id` of every attempt.
    #[schema(example = "evt_01kaz6v2zrf0pt4jbqm3y8s5nd")]
    pub event_id: String,
    /// When that happened.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// What happened.
    #[schema(example = "DATA_NEW")]
    pub trigger: String,
    /// To which model's record; `null` when it was none.
    #[schema(example = "crm_prospects")]
    pub model: Option<String>,
    /// The integration that it concerns.
    pub integration_id: String,
    /// How the delivery stands.
    pub status: DeliveryStatus,
    /// Attempts so far, those of replays included.
    #[schema(minimum = 0)]
    pub attempts: u32,
    /// Why it was not taken, as of the last attempt.
    pub error: Option<String>,
    /// When it is tried next; `null` when it has ended, is being tried now, or waits until the webhook is switched on. A time that is over: it waits for its turn,
    /// behind others, or because the receiver fails or asked to be left alone.
    #[schema(format = DateTime)]
    pub next_attempt_at: Option<String>,
    /// When it was taken, or given up.
    #[schema(format = DateTime)]
    pub completed_at: Option<String>,
}

impl From<Delivery> for DeliveryRecord {
    fn from(delivery: Delivery) -> Self {
        Self {
            event_id: delivery.event_id.to_string(),
            created_at: delivery.created_at.to_string(),
            trigger: delivery.trigger.word().to_owned(),
            model: delivery.kind.map(|kind| Kind::model(kind).to_owned()),
            integration_id: delivery.integration_id,
            status: delivery.status,
            attempts: delivery.attempts,
            error: delivery.error,
            next_attempt_at: delivery.next_attempt_at.map(|at| at.to_string()),
            completed_at: delivery.completed_at.map(|at| at.to_string()),
        }
    }
}

/// A delivery.
#[derive(Serialize, ToSchema)]
pub struct DeliveryAnswer {
    /// It.
    pub result: DeliveryRecord,
}

/// The attempts of a delivery.
#[derive(Serialize, ToSchema)]
pub struct DeliveryAttemptsAnswer {
    /// Oldest first.
    pub results: Vec<DeliveryAttemptRow>,
}

/// One attempt to deliver an event.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDeliveryAttempt)]
pub struct DeliveryAttemptRow {
    /// Which: 1, 2, ...
    #[schema(minimum = 1)]
    pub attempt: u32,
    /// When it began.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// How long it took; `null` when it was cut off.
    #[schema(minimum = 0)]
    pub duration_ms: Option<u64>,
    /// Whether the receiver took it.
    pub delivered: bool,
    /// Why not.
    pub error: Option<String>,
    /// The HTTP status; `null` when there was no answer.
    pub status: Option<u16>,
    /// The beginning of the answer's body.
    pub response: Option<String>,
    /// Whether there was more of it.
    pub response_is_cut: bool,
}

impl From<DeliveryAttempt> for DeliveryAttemptRow {
    fn from(attempt: DeliveryAttempt) -> Self {
        Self {
            attempt: attempt.number,
            started_at: attempt.started_at.to_string(),
            duration_ms: attempt.duration_ms,
            delivered: attempt.is_taken,
            error: attempt.error,
            status: attempt.status,
            response: attempt.response.as_deref().map(shown_response),
            response_is_cut: attempt.response_is_cut,
        }
    }
}

/// What a query for deliveries may say.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct DeliveryParameters {
    /// Deliveries to answer
    #[param(minimum = 0, maximum = 250)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    cursor: Option<String>,
    /// Only those that stand so
    status: Option<DeliveryStatus>,
}

pub(super) fn none() -> Error {
    Error::not_found("delivery")
}

/// The ids in a path.
pub(super) fn ids((webhook, event): (String, String)) -> Result<(WebhookId, EventId), Error> {
    let webhook = webhook.parse().map_err(|_| none())?;
    let event = event.parse().map_err(|_| none())?;
    Ok((webhook, event))
}

/// List a webhook's deliveries
///
/// Those of the newest event first, as long as the log of events has their events: 30 days.
#[utoipa::path(
    get,
    path = "/v1/webhooks/{id}/deliveries",
    operation_id = "webhook_deliveries_list",
    tag = "Webhooks",
    params(("id" = String, Path, description = "The webhook's id"), DeliveryParameters),
    responses(
        (status = 200, description = "A page of deliveries", body = DeliveryPage),
        InnerListProblems
    ),
    security(("bearer" = ["webhooks:read"]))
)]
pub async fn webhook_deliveries_list(
    State(app): State<App>,
    caller: Caller<WebhooksRead>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Error> {
    let mut given = Parameters::of(&uri);
    let limit = given.number("limit", 0..=LIMIT_MAX);
    let after = event_cursor(&mut given);
    let statuses: Vec<(&str, DeliveryStatus)> = DeliveryStatus::ALL
        .iter()
        .map(|status| (status.word(), *status))
        .collect();
    let status = given.word("status", &statuses);
    given.finish()?;
    let query = DeliveryQuery {
        webhook_id: webhook_id(&id)?,
        status,
        after,
        limit: limit.unwrap_or(LIMIT_DEFAULT),
    };
    let page = app
        .store
        .deliveries_list(&caller.scope, &query)
        .await
        .map_err(cursor_gone)?
        .ok_or_else(|| Error::not_found("webhook"))?;
    let next = page.rows.last().filter(|_| page.has_more);
    let next_cursor = next.map(|last| last.event_id.to_string());
    let results: Vec<DeliveryRecord> = page.rows.into_iter().map(Into::into).collect();
    Ok(cursor_answer(
        query.limit,
        "desc",
        page.has_more,
        next_cursor,
        results,
    ))
}

/// Get a delivery
#[utoipa::path(
    get,
    path = "/v1/webhooks/{id}/deliveries/{event_id}",
    operation_id = "webhook_delivery_get",
    tag = "Webhooks",
    params(("id" = String, Path, description = "The webhook's id"), ("event_id" = String, Path, description = "The event's id")),
    responses((status = 200, description = "It", body = DeliveryAnswer), GetProblems),
    security(("bearer" = ["webhooks:read"]))
)]
pub async fn webhook_delivery_get(
    State(app): State<App>,
    caller: Caller<WebhooksRead>,
    Path(path): Path<(String, String)>,
) -> Result<Response, Error> {
    let (webhook, event) = ids(path)?;
    let found = app
        .store
        .delivery_find(&caller.scope, webhook, event)
        .await?;
    let result = found.ok_or_else(none)?.into();
    Ok(Json(DeliveryAnswer { result }).into_response())
}

/// List a delivery's attempts
///
/// Every attempt to deliver the event, oldest first, with what the receiver answered.
#[utoipa::path(
    get,
    path = "/v1/webhooks/{id}/deliveries/{event_id}/attempts",
    operation_id = "webhook_delivery_attempts_list",
    tag = "Webhooks",
    params(("id" = String, Path, description = "The webhook's id"), ("event_id" = String, Path, description = "The event's id")),
    responses((status = 200, description = "The attempts", body = DeliveryAttemptsAnswer), GetProblems),
    security(("bearer" = ["webhooks:read"]))
)]
pub async fn webhook_delivery_attempts_list(
    State(app): State<App>,
    caller: Caller<WebhooksRead>,
    Path(path): Path<(String, String)>,
) -> Result<Response, Error> {
    let (webhook, event) = ids(path)?;
    let attempts = app
        .store
        .delivery_attempts_list(&caller.scope, webhook, event)
        .await?
        .ok_or_else(none)?;
    let results = attempts.into_iter().map(Into::into).collect();
    Ok(Json(DeliveryAttemptsAnswer { results }).into_response())
}
