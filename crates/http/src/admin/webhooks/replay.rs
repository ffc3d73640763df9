//! Deliveries that are sent once more.
//!
//! Guarantee: a replay of many goes piece by piece, and leaves most of the writer's time to others.

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use model::{Issue, Timestamp, WebhookId};
use serde::{Deserialize, Serialize};
use store::webhooks::Replay;
use utoipa::ToSchema;

use super::{
    deliveries::{ids, none},
    stored::webhook_id,
};
use crate::{
    document::{parameters::WriteQuery, problems::ChangeProblems},
    door::{
        body::JsonBody,
        caller::{Caller, WebhooksWrite},
    },
    error::Error,
    limits::replays::PIECE_ROWS,
    screening::screen_as,
    state::App,
};

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
    let screened = screen_as::<WebhookReplay>(&app, &uri, body)?;
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
        Replay::Failed | Replay::Since(_) => Some(app.limits.replays.begin(caller.scope.key())?),
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
