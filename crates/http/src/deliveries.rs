//! What became of events on their way to a subscriber, and sending them once more.
//!
//! Guarantee: of a subscription or an event that the caller may not see, nothing is told but what is told of one that nobody has.
//! Source: the public contract, section 6.

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use model::{
    EventId, Issue, Timestamp, WebhookId,
    record::Kind,
    webhook::{Delivery, DeliveryAttempt, DeliveryStatus},
};
use serde::{Deserialize, Serialize};
use store::webhooks::{DeliveryQuery, Replay};
use utoipa::ToSchema;

use crate::{
    App,
    body::{JsonBody, screen},
    caller::{Caller, WebhooksRead, WebhooksWrite},
    error::Error,
    lists::{LIMIT_DEFAULT, LIMIT_MAX, cursor_answer},
    openapi::{ChangeProblems, ErrorBody, GetProblems, ListProblems, PageAnswer, WriteQuery},
    parameters::Parameters,
    preferences,
    replays::PIECE_ROWS,
    webhooks::{shown_response, webhook_id},
};

/// The delivery of an event to a subscriber.
#[derive(Serialize, ToSchema)]
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

/// What to deliver once more: one of the two.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "failed": true }))]
pub struct WebhookReplay {
    /// `true`: what was tried as often as it is, and not taken.
    pub failed: Option<bool>,
    /// Every event that happened at this time or later and that the webhook is to now, whether or not it was delivered.
    #[schema(format = DateTime, max_length = 100, example = "2026-11-24T00:00:00Z")]
    pub since: Option<String>,
}

/// The answer to a replay.
#[derive(Serialize, ToSchema)]
pub struct ReplayAnswer {
    /// What became of it.
    pub result: ReplayResult,
}

/// What became of a replay.
#[derive(Serialize, ToSchema)]
pub struct ReplayResult {
    /// Deliveries that are due once more. One that is being tried just now is not among them.
    #[schema(minimum = 0)]
    pub replayed: u64,
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

fn none() -> Error {
    Error::not_found("delivery")
}

/// The ids in a path.
fn ids((webhook, event): (String, String)) -> Result<(WebhookId, EventId), Error> {
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
        (status = 200, description = "A page of deliveries", body = PageAnswer<DeliveryRecord>),
        (status = 404, description = "There is no such webhook", body = ErrorBody),
        ListProblems
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

/// The event that a cursor goes on behind. To callers it is a text that they hand back.
pub(crate) fn event_cursor(given: &mut Parameters) -> Option<EventId> {
    let text = given.text("cursor")?;
    let event = text.parse().ok();
    if event.is_none() {
        given.refuse(
            "cursor",
            "This is not a cursor. Give the nextCursor of the page before, as it was",
        );
    }
    event
}

/// The one thing in a list of events that can be gone is that which its cursor goes on behind.
pub(crate) fn cursor_gone(why: store::Error) -> Error {
    match why {
        store::Error::Conflict(_) => Error::invalid_parameter(
            "cursor",
            "The event that this cursor goes on behind is not in the log: it is older than the 30 days for which events are kept, or was a test's. Begin anew, without a cursor",
        ),
        why => why.into(),
    }
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

/// Replay one event
///
/// Delivers it once more, whether or not it was delivered, and even when the webhook is not to its trigger; under the same `webhook-id`. While the webhook is
/// switched off it waits.
#[utoipa::path(
    post,
    path = "/v1/webhooks/{id}/deliveries/{event_id}/replay",
    operation_id = "webhook_delivery_replay",
    tag = "Webhooks",
    params(("id" = String, Path, description = "The webhook's id"), ("event_id" = String, Path, description = "The event's id")),
    responses((status = 200, description = "It is due now", body = ReplayAnswer), ChangeProblems),
    security(("bearer" = ["webhooks:write"]))
)]
pub async fn webhook_delivery_replay(
    State(app): State<App>,
    caller: Caller<WebhooksWrite>,
    Path(path): Path<(String, String)>,
) -> Result<Response, Error> {
    let (webhook, event) = ids(path)?;
    replayed(&app, &caller, webhook, Replay::Event(event), none).await
}

/// Replay events
///
/// Delivers once more what was given up (`failed`), or everything since a time (`since`). Each event keeps its `webhook-id`, by which the receiver can tell what it
/// has already taken. While the webhook is switched off they wait.
#[utoipa::path(
    post,
    path = "/v1/webhooks/{id}/replay",
    operation_id = "webhook_replay",
    tag = "Webhooks",
    params(("id" = String, Path, description = "The webhook's id"), WriteQuery),
    request_body = WebhookReplay,
    responses((status = 200, description = "They are due now", body = ReplayAnswer), ChangeProblems),
    security(("bearer" = ["webhooks:write"]))
)]
pub async fn webhook_replay(
    State(app): State<App>,
    caller: Caller<WebhooksWrite>,
    Path(id): Path<String>,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    let ignore_unknown = preferences::ignores_unknown_fields(&uri)?;
    let schema = app.schemas.named("WebhookReplay");
    let screened = screen(schema.ok_or_else(Error::internal)?, body, ignore_unknown)?;
    let input: WebhookReplay = screened.read()?;
    let checked = check_replay(&input, &|field| screened.is_broken(field));
    let replay = screened.settle(checked)?;
    let none = || Error::not_found("webhook");
    replayed(&app, &caller, webhook_id(&id)?, replay, none).await
}

/// What a body asks to be delivered once more.
fn check_replay(
    input: &WebhookReplay,
    broken: &dyn Fn(&str) -> bool,
) -> Result<Replay, Vec<Issue>> {
    let mut issues = Vec::new();
    let mut refuse = |field: &str, why: &str| issues.push(Issue::custom(field, why));
    let since = input.since.as_deref().map(Timestamp::parse);
    if let Some(Err(_)) = since {
        let why = "since is an ISO 8601 date-time with its offset, such as 2027-03-01T14:30:00Z";
        issues.push(Issue::invalid_string("since", "datetime", why));
        return Err(issues);
    }
    let replay = match (input.failed, since.and_then(Result::ok)) {
        (Some(true), None) => Some(Replay::Failed),
        (None, Some(since)) => Some(Replay::Since(since)),
        (Some(false), None) => {
            refuse("failed", "failed is true, or left out for since");
            None
        }
        (Some(_), Some(_)) => {
            refuse("since", "Give failed or since, not both");
            None
        }
        (None, None) => {
            if !broken("failed") && !broken("since") {
                refuse("failed", "Give \"failed\": true, or since");
            }
            None
        }
    };
    replay.ok_or(issues)
}

/// Makes deliveries due once more, a piece at a time, and answers how many. It ends when the caller
/// goes or its key is revoked; what is due by then stays so.
async fn replayed(
    app: &App,
    caller: &Caller<WebhooksWrite>,
    webhook: WebhookId,
    replay: Replay,
    none: impl Fn() -> Error,
) -> Result<Response, Error> {
    let running = match replay {
        Replay::Event(_) => None,
        Replay::Failed | Replay::Since(_) => Some(app.replays.begin(caller.scope.key())?),
    };
    let (by, now) = (caller.actor(), app.clock.now());
    let (mut replayed, mut after) = (0, 0);
    loop {
        let piece = app
            .store
            .deliveries_replay(&by, webhook, replay, after, PIECE_ROWS, now);
        let piece = match &running {
            Some(running) => running.piece(piece).await,
            None => piece.await,
        };
        let piece = match piece {
            Ok(piece) => piece.ok_or_else(&none)?,
            Err(
                store::Error::Busy
                | store::Error::InDoubt
                | store::Error::Refused(_)
                | store::Error::Closed,
            ) if after > 0 => return Err(in_part()),
            Err(why) => return Err(why.into()),
        };
        replayed += piece.count;
        let Some(next) = piece.next else {
            break;
        };
        after = next;
        app.admit(&caller.scope)?;
        if app.stopping.is_told() {
            return Err(in_part());
        }
    }
    let result = ReplayResult { replayed };
    Ok(Json(ReplayAnswer { result }).into_response())
}

fn in_part() -> Error {
    Error::unavailable("Some of it is due once more, and not all. Send the same request again")
}
