//! Subscriptions: listed, created, changed, deleted.
//!
//! Guarantee: secrets and the values of headers are shown only to callers who may change them; the
//! address of a receiver is looked up only through the guarded client.

use ::webhooks::signing::{secret_fits, secret_new};
use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use model::{
    Scope, Secret, WebhookId,
    key::System,
    resources::webhook::{WebhookCreate, WebhookRecord, WebhookUpdate, check_create, check_update},
    webhook::{Change, Webhook},
};
use store::webhooks::WebhookQuery;

use super::stored::{WebhookAnswer, answer, find, none, shown, webhook_id};
use crate::{
    document::{
        answers::{Found, Page},
        parameters::WriteQuery,
        problems::{ChangeProblems, GetProblems, ListProblems},
    },
    door::{
        body::JsonBody,
        caller::{Caller, WebhooksAdmin, WebhooksRead},
        query::Parameters,
    },
    error::Error,
    lists::answers::{found_answer, found_page},
    screening::{Screened, screen_as},
    state::App,
};

/// One of them.
type WebhookFound = Found<WebhookRecord>;

/// A page of them.
type WebhookPage = Page<WebhookRecord>;

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
    /// `true`, which is meant when absent, answers those that events are sent to, `false` those that
    /// none are sent to, `any` all
    #[param(required = false, value_type = String, pattern = "^(true|false|any)$")]
    active: Option<String>,
    /// `created_at:asc` (or `created_at`) or `created_at:desc`, which is meant when absent
    #[param(rename = "order-by", required = false, value_type = String, pattern = "^created_at(:asc|:desc)?$")]
    order_by: Option<String>,
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
    let _slot = app.limits.receiver_calls.slot()?;
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
/// The newest first, and those that events are sent to, unless the query says otherwise. A key that is limited to some integrations sees those that get no more than it does.
#[utoipa::path(
    get,
    path = "/v1/webhooks",
    operation_id = "webhooks_list",
    tag = "Webhooks",
    params(WebhookParameters),
    responses((status = 200, description = "A page of webhooks", body = WebhookPage), ListProblems),
    security(("bearer" = ["webhooks:read"]))
)]
pub async fn webhooks_list(
    State(app): State<App>,
    caller: Caller<WebhooksRead>,
    uri: Uri,
) -> Result<Response, Error> {
    let mut given = Parameters::of(&uri);
    let (offset, limit) = given.page();
    let which = [("true", Some(true)), ("false", Some(false)), ("any", None)];
    let active = given.word("active", &which).unwrap_or(Some(true));
    let is_descending = given.created_order();
    given.finish()?;
    let query = WebhookQuery {
        active,
        is_descending,
        offset,
        limit,
    };
    let found = app.store.webhooks_list(&caller.scope, query).await?;
    let show = |one: &Webhook| shown(&caller.scope, one);
    Ok(found_page((offset, limit), is_descending, &found, show))
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
    let screened = screen_as::<WebhookCreate>(&app, &uri, body)?;
    let input: WebhookCreate = screened.read()?;
    let allowed = allowed(&app, &caller.scope, &screened, Some(&input.url)).await?;
    let broken = |field: &str| screened.is_broken(field);
    let checked = check_create(input, &broken, allowed, &secret_fits);
    let checked = screened.settle(checked)?;
    let (caller, now) = (caller.renewed(&app)?, app.clock.now());
    let webhook = checked.webhook(
        WebhookId::new(now, &*app.entropy),
        (&caller.scope, system(&app, &caller.scope)),
        || secret_made(&app),
        now,
        &*app.entropy,
    );
    let answer = answer(&caller.scope, &webhook);
    app.store.webhook_create(&caller.actor(), webhook).await?;
    Ok(answer)
}

/// A secret of 256 random bits.
fn secret_made(app: &App) -> Secret {
    secret_new([app.entropy.bytes(), app.entropy.bytes()])
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
    responses((status = 200, description = "It", body = WebhookFound), GetProblems),
    security(("bearer" = ["webhooks:read"]))
)]
pub async fn webhook_get(
    State(app): State<App>,
    caller: Caller<WebhooksRead>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let webhook = find(&app, &caller.scope, &id).await?;
    Ok(found_answer(shown(&caller.scope, &webhook)))
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
    let screened = screen_as::<WebhookUpdate>(&app, &uri, body)?;
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
        secret: Some((secret_made(&app), until)),
        ..Change::default()
    };
    let id = webhook_id(&id)?;
    change(&app, &caller, id, "webhook_secret_rotate", asked).await
}
