//! The log of events: what happened, whether or not anybody subscribes to it.
//!
//! Guarantee: a caller who follows it by cursor from old to new meets every event once, also those
//! that happened while they were away, as long as they come back within the time for which it is
//! kept; an event that cannot be read hides no other.
//! Source: the public contract, section 6.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use model::{
    EventId, Scope,
    record::Kind,
    webhook::{Event, EventBody, Trigger},
};
use serde::Serialize;
use store::webhooks::{EventPage, EventQuery};
use tokio::time::{Duration, Instant, sleep_until, timeout_at};
use utoipa::ToSchema;

use crate::{
    cache::events::{PAUSE, WAIT_POLL},
    document::{
        answers::Page,
        parameters::{LIMIT_DEFAULT, LIMIT_MAX},
        problems::{GetProblems, ListProblems},
        webhooks::WebhookBody,
    },
    door::{
        caller::{Caller, WebhooksRead},
        preferences::wait_s,
        query::Parameters,
    },
    error::Error,
    limits::waits::EVENT_WAITS_MAX,
    lists::answers::cursor_answer,
    state::App,
};

/// A page of them.
type EventLogPage = Page<EventLogEntry>;

/// How long a request walks on through the log when little of it is asked for. Then it is answered
/// with what was found, and with where to go on.
const WALK_MAX: Duration = Duration::from_secs(5);

/// Something that happened.
#[derive(Serialize, ToSchema)]
pub struct EventLogEntry {
    /// Its id: the `webhook-id` of its deliveries.
    #[schema(example = "evt_01kaz6v2zrf0pt4jbqm3y8s5nd")]
    pub id: String,
    /// When it was stored: never before what stands before it in the log.
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
    /// The record, the write or the run of synchronisation that it is about.
    pub subject_id: String,
    /// What subscribers are sent; `null` when what was stored of it cannot be read.
    #[schema(value_type = Option<WebhookBody>)]
    pub body: Option<EventBody>,
}

/// An event.
#[derive(Serialize, ToSchema)]
pub struct EventLogAnswer {
    /// It.
    pub result: EventLogEntry,
}

/// What a query for the log of events may say.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct EventLogParameters {
    /// Events to answer
    #[param(minimum = 0, maximum = 250)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before. The id of an event, such as the newest `webhook-id` that a receiver has taken, is one too
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    cursor: Option<String>,
    /// `created_at:asc` (or `created_at`) or `created_at:desc`; the newest first when absent
    #[param(rename = "order-by", required = false, value_type = String, pattern = "^created_at(:asc|:desc)?$")]
    order_by: Option<String>,
    /// Of this trigger
    trigger: Option<Trigger>,
    /// About records of this model, such as `crm_prospects`
    #[param(required = false, value_type = String)]
    model: Option<String>,
    /// Concerning this integration
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    integration_id: Option<String>,
    /// About this record, write or run of synchronisation
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    subject_id: Option<String>,
    /// That happened at this time or later
    #[param(required = false, value_type = String, format = DateTime)]
    created_at_gte: Option<String>,
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

fn entry(event: Event) -> EventLogEntry {
    let body = event
        .body()
        .map_err(|why| {
            // Not what it says: that may repeat a person's data.
            tracing::error!(id = %event.id, line = why.line(), "a stored event cannot be read");
        })
        .ok();
    EventLogEntry {
        id: event.id.to_string(),
        created_at: event.at.to_string(),
        trigger: event.trigger.word().to_owned(),
        model: event.kind.map(|kind| Kind::model(kind).to_owned()),
        integration_id: event.integration_id,
        subject_id: event.subject,
        body,
    }
}

fn asked(uri: &Uri) -> Result<EventQuery, Error> {
    let mut given = Parameters::of(uri);
    let limit = given.number("limit", 0..=LIMIT_MAX);
    let after = event_cursor(&mut given);
    let is_descending = given.created_order();
    let triggers: Vec<(&str, Trigger)> = Trigger::ALL
        .iter()
        .map(|trigger| (trigger.word(), *trigger))
        .collect();
    let models: Vec<(&str, Kind)> = Kind::ALL.iter().map(|kind| (kind.model(), *kind)).collect();
    let query = EventQuery {
        integration_id: given.integration_id(),
        trigger: given.word("trigger", &triggers),
        kind: given.word("model", &models),
        subject: given.text("subject_id"),
        since: given.instant("created_at_gte"),
        after,
        behind: None,
        goes_on: false,
        is_descending,
        limit: limit.unwrap_or(LIMIT_DEFAULT),
    };
    given.finish()?;
    Ok(query)
}

/// List events
///
/// What happened, newest first, kept for 30 days. Who was away catches up with `order-by=created_at:asc` and the `nextCursor` of their last page, and goes on
/// following in the same way: every page has a `nextCursor`, which stands behind all that was looked at, also when nothing of that was asked for. Without a cursor it begins with the oldest
/// that is kept, or with `created_at_gte`. With `Prefer: wait=<seconds>` a page of this order that would be empty is held until something happens; a key has at most 16 requests that wait so.
/// A request for few among many events is answered after some seconds with what was found by then: where `hasMore` is true, go on with `nextCursor`, also behind an empty page.
#[utoipa::path(
    get,
    path = "/v1/admin/events",
    operation_id = "event_log_list",
    tag = "Webhooks",
    params(
        EventLogParameters,
        ("Prefer" = Option<String>, Header, description = "`wait=<seconds>` holds an answer in ascending order until there is an event for it or the time is over (55 s at most)", example = "wait=10"),
    ),
    responses((status = 200, description = "A page of events", body = EventLogPage), ListProblems),
    security(("bearer" = ["webhooks:read"]))
)]
pub async fn event_log_list(
    State(app): State<App>,
    caller: Caller<WebhooksRead>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let query = asked(&uri)?;
    // What is behind the newest is not there yet; what is before the oldest never will be.
    let wait_s = wait_s(&headers).filter(|_| !query.is_descending && query.limit > 0);
    let wait = match wait_s {
        None | Some(0) => None,
        Some(_) => Some(app.limits.event_waits.begin(caller.scope.key(), EVENT_WAITS_MAX).ok_or_else(|| {
            Error::too_many_under_way(format!(
                "This API key has {EVENT_WAITS_MAX} requests that wait for events, as many as it may have. Let one of them end, or ask without `Prefer: wait`"
            ))
        })?),
    };
    let page = match wait {
        None => walk(&app, &caller.scope, query.clone()).await?,
        Some(_waits) => await_events(&app, &caller.scope, &query, wait_s.unwrap_or(0)).await?,
    };
    // From the newest back, an empty page behind which nothing follows is the end; from the oldest
    // on, it is where to go on from.
    let seen = page.seen.map(|(_, id)| id);
    let next = if page.rows.is_empty() && query.is_descending && !page.has_more {
        None
    } else {
        seen.or(query.after)
    };
    let next_cursor = next.map(|id| id.to_string());
    let direction = if query.is_descending { "desc" } else { "asc" };
    let results: Vec<EventLogEntry> = page.rows.into_iter().map(entry).collect();
    Ok(cursor_answer(
        query.limit,
        direction,
        page.has_more,
        next_cursor,
        results,
    ))
}

/// A page of the log: walks on while nothing is found, for a bounded time.
async fn walk(app: &App, scope: &Scope, mut query: EventQuery) -> Result<EventPage, Error> {
    let deadline = Instant::now() + WALK_MAX;
    let (mut page, limit) = (EventPage::default(), query.limit as usize);
    loop {
        match app.store.events_list(scope, &query).await {
            Ok(more) => {
                page.rows.extend(more.rows);
                page.seen = more.seen.or(page.seen);
                page.has_more = more.has_more;
            }
            // It has come some way, from which it can go on later.
            Err(store::Error::ReadsCrowded | store::Error::ReadTooLong) if query.goes_on => {
                return Ok(page);
            }
            Err(why) => return Err(cursor_gone(why)),
        }
        let is_full = page.rows.len() >= limit;
        if is_full || !page.has_more || app.stopping.is_told() || Instant::now() >= deadline {
            return Ok(page);
        }
        query.behind = page.seen.map(|(seq, _)| seq).or(query.behind);
        query.limit = (limit - page.rows.len()) as u64;
        query.goes_on = true;
    }
}

/// A page of the log once there is something on it, or as it is when the time is over or the server
/// is told to stop.
///
/// # Errors
/// 401 as soon as the caller's key is in force no more, and as the store's.
async fn await_events(
    app: &App,
    scope: &Scope,
    query: &EventQuery,
    wait_s: u64,
) -> Result<EventPage, Error> {
    let deadline = Instant::now() + Duration::from_secs(wait_s);
    let mut ousted = std::pin::pin!(app.ousted(scope));
    let (mut query, mut known, mut seen) = (query.clone(), None, None);
    loop {
        let mut recorded = std::pin::pin!(app.store.signals().event_recorded());
        // Subscribed before looking: what happens in between is not missed.
        recorded.as_mut().enable();
        // What is new is known before the store is asked: so all of it that is not found there is
        // not what is waited for.
        let told = app
            .cache
            .events
            .look(&app.store, scope, &query, known)
            .await?;
        let looked_at = Instant::now();
        let mut page = EventPage::default();
        if told.may_be_there {
            page = walk(app, scope, query.clone()).await?;
        }
        // Of a page that ends before the log does, no more was looked at than it says.
        let looked_to = page.seen.or(told.seen.filter(|_| !page.has_more));
        seen = looked_to.max(seen);
        let is_over = app.stopping.is_told() || Instant::now() >= deadline;
        if !page.rows.is_empty() || page.has_more || is_over {
            return Ok(EventPage { seen, ..page });
        }
        known = Some(told.to);
        query.behind = known.max(seen.map(|(seq, _)| seq));
        tokio::select! {
            _ = timeout_at(deadline.min(looked_at + WAIT_POLL), recorded) => {}
            () = app.stopping.told() => {}
            () = &mut ousted => return Err(Error::unauthorized()),
        }
        sleep_until(deadline.min(looked_at + PAUSE)).await;
    }
}

/// Get an event
#[utoipa::path(
    get,
    path = "/v1/admin/events/{id}",
    operation_id = "event_log_get",
    tag = "Webhooks",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "It", body = EventLogAnswer), GetProblems),
    security(("bearer" = ["webhooks:read"]))
)]
pub async fn event_log_get(
    State(app): State<App>,
    caller: Caller<WebhooksRead>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let none = || Error::not_found("event");
    let id: EventId = id.parse().map_err(|_| none())?;
    let event = app.store.event_find(&caller.scope, id).await?;
    let result = entry(event.ok_or_else(none)?);
    Ok(Json(EventLogAnswer { result }).into_response())
}
