//! Subscriptions to events: made, changed, tried, removed.
//!
//! Guarantee: secrets and the values of headers are shown only to who may change them; a receiver is looked up and called only through the guarded client, within
//! the time that one call may take, and [`TRIALS_MAX`] at once.
//! Source: the public contract, section 6.

use ::webhooks::signing::secret_fits;
use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use model::{
    EventId, Permission, Scope, Timestamp, WebhookId,
    key::System,
    permission::{Group, Level},
    resources::webhook::{WebhookCreate, WebhookRecord, WebhookUpdate, check_create, check_update},
    webhook::{Change, Webhook},
};
use serde::Serialize;
use serde_json::{Value, json};
use store::webhooks::WebhookQuery;
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa::ToSchema;

use crate::{
    App,
    body::{JsonBody, Screened, screen},
    caller::{Caller, WebhooksAdmin, WebhooksRead},
    error::Error,
    lists::found_page,
    openapi::{ChangeProblems, GetProblems, ListProblems, PageAnswer, WriteQuery},
    parameters::Parameters,
    preferences,
};

/// Receivers that are looked up or tried at once, over all callers: each may keep its caller, and a connection, for as long as a call may take.
pub const TRIALS_MAX: usize = 32;

/// The trigger of a test event. No subscription is to it.
pub(crate) const TEST: &str = "TEST";

/// The body of a test event.
pub(crate) fn test_body(webhook_id: WebhookId, event_id: EventId, now: Timestamp) -> Value {
    json!({
        "trigger": TEST,
        "data": {
            "event": TEST,
            "webhook_id": webhook_id,
            "message": "This is a test. It stands in no log, and is not sent again",
        },
        "meta": { "object": null, "integration_id": null, "event_id": event_id, "created_at": now },
    })
}

/// Receivers that are being looked up or tried.
pub struct Trials(Semaphore);

impl Default for Trials {
    fn default() -> Self {
        Self(Semaphore::new(TRIALS_MAX))
    }
}

impl Trials {
    /// A place for one.
    fn place(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.0
            .try_acquire()
            .map_err(|_| Error::unavailable("Too many receivers are being tried. Nothing was changed or sent; send the same request again"))
    }
}

/// A subscription.
#[derive(Serialize, ToSchema)]
pub struct WebhookAnswer {
    /// It.
    pub result: WebhookRecord,
}

/// What a query for subscriptions may say.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct WebhookParameters {
    /// Rows to skip
    #[param(minimum = 0)]
    offset: Option<i64>,
    /// Rows to answer
    #[param(minimum = 0, maximum = 250)]
    limit: Option<i64>,
    /// `true` answers those that events are sent to, `false` those that none are sent to; all when absent
    #[param(required = false, value_type = String, pattern = "^(true|false)$")]
    active: Option<String>,
}

/// What the query of a rotation of a secret may say.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct SecretRotateParameters {
    /// How long deliveries are signed with the secret before as well, in seconds; a day when absent, 0 ends it at once
    #[param(minimum = 0, maximum = 2_592_000)]
    overlap_s: Option<i64>,
}

fn none() -> Error {
    Error::not_found("webhook")
}

fn shown(scope: &Scope, webhook: &Webhook) -> WebhookRecord {
    let with_secrets = scope.may(Permission::of(Group::Webhooks, Level::Admin));
    WebhookRecord::of(webhook, with_secrets)
}

fn answer(scope: &Scope, webhook: &Webhook) -> Response {
    let result = shown(scope, webhook);
    Json(WebhookAnswer { result }).into_response()
}

/// The id in a path.
pub(crate) fn webhook_id(id: &str) -> Result<WebhookId, Error> {
    id.parse().map_err(|_| none())
}

/// A subscription as the caller may know it.
async fn find(app: &App, scope: &Scope, id: &str) -> Result<Webhook, Error> {
    let found = app.store.webhook_find(scope, webhook_id(id)?).await?;
    found.ok_or_else(none)
}

/// What the guard says of the address in a body: it as it is to be stored, or why it is not allowed. `None` when there is none to speak of.
async fn allowed(
    app: &App,
    scope: &Scope,
    screened: &Screened,
    url: Option<&str>,
) -> Result<Option<Result<String, String>>, Error> {
    let Some(url) = url.filter(|_| !screened.is_broken("url")) else {
        return Ok(None);
    };
    let _place = app.trials.place()?;
    let checked = app.receivers.check(url).await;
    // To look it up may have taken a while.
    app.admit(scope)?;
    Ok(Some(checked.map(|url| url.to_string())))
}

/// Production or sandbox, as of the caller's key.
fn system(app: &App, scope: &Scope) -> System {
    let directory = app.live.get();
    let own = directory.keys().find(|key| Some(key.id) == scope.key());
    own.map_or(System::Production, |key| key.system)
}

/// List webhooks
///
/// The oldest first. A key that is limited to some integrations sees those that get no more than it does.
#[utoipa::path(
    get,
    path = "/v1/webhooks",
    operation_id = "webhooks_list",
    tag = "Webhooks",
    params(WebhookParameters),
    responses((status = 200, description = "A page of webhooks", body = PageAnswer<WebhookRecord>), ListProblems),
    security(("bearer" = ["webhooks:read"]))
)]
pub async fn webhooks_list(
    State(app): State<App>,
    caller: Caller<WebhooksRead>,
    uri: Uri,
) -> Result<Response, Error> {
    let mut given = Parameters::of(&uri);
    let (offset, limit) = given.page();
    let active = given.word("active", &[("true", true), ("false", false)]);
    given.finish()?;
    let query = WebhookQuery {
        active,
        offset,
        limit,
    };
    let found = app.store.webhooks_list(&caller.scope, query).await?;
    let show = |one: &Webhook| shown(&caller.scope, one);
    Ok(found_page((offset, limit), &found, show))
}

/// Create a webhook
///
/// From now on, each event that it subscribes to is sent to its receiver until it is taken, if it is `active`. It gets the events of the integrations that the key
/// which makes it may see. It is switched off when that key is revoked or expires, unless another
/// one adopts it. Every delivery is signed with its secret.
#[utoipa::path(
    post,
    path = "/v1/webhooks",
    operation_id = "webhook_create",
    tag = "Webhooks",
    params(WriteQuery),
    request_body = WebhookCreate,
    responses((status = 200, description = "It is stored", body = WebhookAnswer), ChangeProblems),
    security(("bearer" = ["webhooks:admin"]))
)]
pub async fn webhook_create(
    State(app): State<App>,
    caller: Caller<WebhooksAdmin>,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    let ignore_unknown = preferences::ignores_unknown_fields(&uri)?;
    let schema = app.schemas.named("WebhookCreate");
    let screened = screen(schema.ok_or_else(Error::internal)?, body, ignore_unknown)?;
    let input: WebhookCreate = screened.read()?;
    let allowed = allowed(&app, &caller.scope, &screened, Some(&input.url)).await?;
    let broken = |field: &str| screened.is_broken(field);
    let checked = check_create(input, &broken, allowed, &secret_fits);
    let checked = screened.settle(checked)?;
    let (caller, now) = (caller.renewed(&app)?, app.clock.now());
    let webhook = checked.webhook(
        WebhookId::new(now, &*app.entropy),
        (&caller.scope, system(&app, &caller.scope)),
        || secret_new(&app),
        now,
        &*app.entropy,
    );
    let answer = answer(&caller.scope, &webhook);
    app.store.webhook_create(&caller.actor(), webhook).await?;
    Ok(answer)
}

fn secret_new(app: &App) -> model::Secret {
    ::webhooks::signing::secret_new([app.entropy.bytes(), app.entropy.bytes()])
}

/// Get a webhook
///
/// Its secret, and the values of its headers, are shown to a key that has `webhooks:admin` too.
#[utoipa::path(
    get,
    path = "/v1/webhooks/{id}",
    operation_id = "webhook_get",
    tag = "Webhooks",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "It", body = WebhookAnswer), GetProblems),
    security(("bearer" = ["webhooks:read"]))
)]
pub async fn webhook_get(
    State(app): State<App>,
    caller: Caller<WebhooksRead>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let webhook = find(&app, &caller.scope, &id).await?;
    Ok(answer(&caller.scope, &webhook))
}

/// Change a webhook
///
/// What is absent stays as it is. To switch one on that was switched off because its receiver
/// failed, or its key is no longer in force, sends what happened since. A new secret is given here,
/// or made by
/// `rotate-secret`; either way, deliveries are signed with the one before as well for a while.
#[utoipa::path(
    put,
    path = "/v1/webhooks/{id}",
    operation_id = "webhook_update",
    tag = "Webhooks",
    params(("id" = String, Path, description = "Its id"), WriteQuery),
    request_body = WebhookUpdate,
    responses((status = 200, description = "It is changed", body = WebhookAnswer), ChangeProblems),
    security(("bearer" = ["webhooks:admin"]))
)]
pub async fn webhook_update(
    State(app): State<App>,
    caller: Caller<WebhooksAdmin>,
    Path(id): Path<String>,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    let ignore_unknown = preferences::ignores_unknown_fields(&uri)?;
    let schema = app.schemas.named("WebhookUpdate");
    let screened = screen(schema.ok_or_else(Error::internal)?, body, ignore_unknown)?;
    let stored = find(&app, &caller.scope, &id).await?;
    let input: WebhookUpdate = screened.read()?;
    let allowed = allowed(&app, &caller.scope, &screened, input.url.as_deref()).await?;
    let now = app.clock.now();
    let broken = |field: &str| screened.is_broken(field);
    let rules = (allowed, &secret_fits as &dyn Fn(&str) -> _);
    let checked = check_update(input, &stored, &broken, rules, now, &*app.entropy);
    let asked = screened.settle(checked)?;
    let caller = caller.renewed(&app)?;
    change(&app, &caller, stored.id, "webhook_update", asked).await
}

/// Stores a change of a subscription, and answers with it.
async fn change(
    app: &App,
    caller: &Caller<WebhooksAdmin>,
    id: WebhookId,
    action: &'static str,
    asked: Change,
) -> Result<Response, Error> {
    let changed = app
        .store
        .webhook_change(&caller.actor(), id, action, asked, app.clock.now())
        .await?
        .ok_or_else(none)?;
    Ok(answer(&caller.scope, &changed))
}

/// Delete a webhook
///
/// For good, with what is known of its deliveries. The events stay in the log of events. Answers with it as it was.
#[utoipa::path(
    delete,
    path = "/v1/webhooks/{id}",
    operation_id = "webhook_delete",
    tag = "Webhooks",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "It is gone", body = WebhookAnswer), ChangeProblems),
    security(("bearer" = ["webhooks:admin"]))
)]
pub async fn webhook_delete(
    State(app): State<App>,
    caller: Caller<WebhooksAdmin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let webhook = find(&app, &caller.scope, &id).await?;
    let is_gone = app
        .store
        .webhook_delete(&caller.actor(), webhook.id, app.clock.now())
        .await?;
    if is_gone {
        Ok(answer(&caller.scope, &webhook))
    } else {
        Err(none())
    }
}

/// Rotate a webhook's secret
///
/// Makes another, which is in this answer. For a while deliveries are signed with the one before as well, so that the receiver can change over without losing any.
#[utoipa::path(
    post,
    path = "/v1/webhooks/{id}/rotate-secret",
    operation_id = "webhook_secret_rotate",
    tag = "Webhooks",
    params(("id" = String, Path, description = "Its id"), SecretRotateParameters),
    responses((status = 200, description = "It has another secret", body = WebhookAnswer), ChangeProblems),
    security(("bearer" = ["webhooks:admin"]))
)]
pub async fn webhook_secret_rotate(
    State(app): State<App>,
    caller: Caller<WebhooksAdmin>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Error> {
    let mut given = Parameters::of(&uri);
    let overlap_ms = given.overlap_ms();
    given.finish()?;
    let until = app.clock.now().plus_millis(overlap_ms);
    let asked = Change {
        secret: Some((secret_new(&app), until)),
        ..Change::default()
    };
    let id = webhook_id(&id)?;
    change(&app, &caller, id, "webhook_secret_rotate", asked).await
}

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

/// What a receiver answered, as it is shown to people: it steers nothing.
pub(crate) fn shown_response(text: &str) -> String {
    model::text::shown_as_sent(text).into_owned()
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
    let _place = app.trials.place()?;
    let now = app.clock.now();
    let event_id = EventId::new(now, &*app.entropy);
    let body = test_body(webhook.id, event_id, now).to_string();
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
