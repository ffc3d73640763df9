//! API keys: made, listed, rotated, revoked.
//!
//! Guarantee: a token is shown in the one answer that made it; nobody makes, sees or changes a key that may do or see more than they may themselves; a change is
//! in force for the next request when it is answered.
//! Source: the public contract, section 5.

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use model::{
    KeyId, Scope, WebhookId,
    key::{Key, token_make},
    resources::key::{KeyCreate, KeyRecord, check_change, check_create},
};
use serde::Serialize;
use store::KeyQuery;
use utoipa::ToSchema;

use crate::{
    document::{
        answers::Page,
        parameters::{PageParameters, WriteQuery},
        problems::{ChangeProblems, GetProblems, ListProblems},
    },
    door::{
        body::JsonBody,
        caller::{Caller, KeysAdmin},
        query::Parameters,
    },
    error::Error,
    lists::answers::found_page,
    screening::screen_as,
    state::App,
};

/// A page of them.
type KeyPage = Page<KeyRecord>;

/// What a rotation's query may say.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct RotateParameters {
    /// How long the tokens it had are still taken, in seconds; a day when absent, 0 ends them at once
    #[param(minimum = 0, maximum = 2_592_000)]
    overlap_s: Option<i64>,
}

/// A key.
#[derive(Serialize, ToSchema)]
pub struct KeyAnswer {
    /// It.
    pub result: KeyRecord,
}

/// A key that is revoked, and what became of the webhooks that it made.
#[derive(Serialize, ToSchema)]
pub struct RevokedKeyAnswer {
    /// The key.
    pub result: KeyRecord,
    /// The active webhooks that it had made or adopted.
    pub webhooks: RevokedKeyWebhooks,
}

/// What became of the webhooks of a key that was revoked.
#[derive(Serialize, ToSchema)]
pub struct RevokedKeyWebhooks {
    /// The ids of those that were switched off. What happens is kept for them, and sent when a key
    /// with `webhooks:admin` switches them on.
    pub disabled: Vec<String>,
    /// The ids of those that go on, since the request said `keep_webhooks=true`.
    pub kept: Vec<String>,
}

/// What the query of a revocation may say.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct RevokeParameters {
    /// `true` leaves the webhooks that the key made active, until the key that asks expires; otherwise they are switched off. Not for a key that revokes itself
    #[param(required = false, value_type = String, pattern = "^(true|false)$")]
    keep_webhooks: Option<String>,
}

/// A key and its new token.
#[derive(Serialize, ToSchema)]
pub struct NewTokenAnswer {
    /// The key.
    pub result: KeyRecord,
    /// Its new token. This is the only time that it is shown.
    #[schema(example = "ptk_live_...")]
    pub token: String,
}

fn none() -> Error {
    Error::not_found("API key")
}

/// Whether `scope` may know of `key`: one that sees no more than itself.
fn may_know(scope: &Scope, key: &Key) -> bool {
    scope.sees_as_much_as(key.integrations.as_deref())
}

/// Finds the key that the caller wants to change; refuses when it is stronger than the caller's own.
fn find_to_change(app: &App, scope: &Scope, id: &str) -> Result<Key, Error> {
    let key = find(app, scope, id)?;
    check_change(scope, &key, app.limits.rates.default_limit())
        .map_err(|why| Error::limited_key(&why))?;
    Ok(key)
}

fn find(app: &App, scope: &Scope, id: &str) -> Result<Key, Error> {
    let id: KeyId = id.parse().map_err(|_| none())?;
    app.live
        .get()
        .keys()
        .find(|key| key.id == id && may_know(scope, key))
        .cloned()
        .ok_or_else(none)
}

/// List API keys
///
/// The oldest first, those that were revoked or have expired too.
#[utoipa::path(
    get,
    path = "/v1/admin/keys",
    operation_id = "keys_list",
    tag = "Keys",
    params(PageParameters),
    responses((status = 200, description = "A page of keys", body = KeyPage), ListProblems),
    security(("bearer" = ["keys:admin"]))
)]
pub async fn keys_list(
    State(app): State<App>,
    caller: Caller<KeysAdmin>,
    uri: Uri,
) -> Result<Response, Error> {
    let mut given = Parameters::of(&uri);
    let (offset, limit) = given.page();
    given.finish()?;
    app.key_uses.store(&app.store).await?;
    let query = KeyQuery { offset, limit };
    let found = app.store.keys_list(&caller.scope, &query).await?;
    Ok(found_page((offset, limit), false, &found, |key| {
        KeyRecord::from(key)
    }))
}

/// Create an API key
///
/// Its token is shown in this answer and never again. A key can be given no permission and no integration that the key which asks does not have.
#[utoipa::path(
    post,
    path = "/v1/admin/keys",
    operation_id = "key_create",
    tag = "Keys",
    params(WriteQuery),
    request_body = KeyCreate,
    responses((status = 200, description = "It is stored", body = NewTokenAnswer), ChangeProblems),
    security(("bearer" = ["keys:admin"]))
)]
pub async fn key_create(
    State(app): State<App>,
    caller: Caller<KeysAdmin>,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    let caller = caller.renewed(&app)?;
    let screened = screen_as::<KeyCreate>(&app, &uri, body)?;
    let input: KeyCreate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let (directory, now) = (app.live.get(), app.clock.now());
    let checked = check_create(
        &input,
        &directory,
        &caller.scope,
        &broken,
        (app.limits.rates.default_limit(), now),
    );
    let checked = screened.settle(checked)?;
    let (token, kept) = token_make(checked.system, &*app.entropy, now).map_err(Error::internal)?;
    let key = checked.key(KeyId::new(now, &*app.entropy), kept);
    let result = KeyRecord::from(&key);
    app.store.key_create(&caller.actor(), key).await?;
    app.follow().await?;
    Ok(Json(NewTokenAnswer {
        result,
        token: token.expose().to_owned(),
    })
    .into_response())
}

/// Get an API key
#[utoipa::path(
    get,
    path = "/v1/admin/keys/{id}",
    operation_id = "key_get",
    tag = "Keys",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "It", body = KeyAnswer), GetProblems),
    security(("bearer" = ["keys:admin"]))
)]
pub async fn key_get(
    State(app): State<App>,
    caller: Caller<KeysAdmin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let id = find(&app, &caller.scope, &id)?.id;
    app.key_uses.store(&app.store).await?;
    let found = app.store.key_find(&caller.scope, id).await?;
    let result = KeyRecord::from(&found.ok_or_else(none)?);
    Ok(Json(KeyAnswer { result }).into_response())
}

/// Rotate an API key
///
/// Gives it another token, which is shown in this answer and never again. Those that it had are taken for a while, so that its users can change over.
#[utoipa::path(
    post,
    path = "/v1/admin/keys/{id}/rotate",
    operation_id = "key_rotate",
    tag = "Keys",
    params(("id" = String, Path, description = "Its id"), RotateParameters),
    responses((status = 200, description = "It has another token", body = NewTokenAnswer), ChangeProblems),
    security(("bearer" = ["keys:admin"]))
)]
pub async fn key_rotate(
    State(app): State<App>,
    caller: Caller<KeysAdmin>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Error> {
    let mut given = Parameters::of(&uri);
    let overlap_ms = given.overlap_ms();
    given.finish()?;
    let key = find_to_change(&app, &caller.scope, &id)?;
    let now = app.clock.now();
    let (token, kept) = token_make(key.system, &*app.entropy, now).map_err(Error::internal)?;
    let until = now.plus_millis(overlap_ms);
    let rotated = app
        .store
        .key_rotate(&caller.actor(), key.id, kept, until, now)
        .await?
        .ok_or_else(none)?;
    app.follow().await?;
    Ok(Json(NewTokenAnswer {
        result: KeyRecord::from(&rotated),
        token: token.expose().to_owned(),
    })
    .into_response())
}

/// Revoke an API key
///
/// For good, at once, with all its tokens. Requests that wait for something end with 401. The
/// webhooks that it made are switched off, unless `keep_webhooks=true`, and named in the answer.
#[utoipa::path(
    delete,
    path = "/v1/admin/keys/{id}",
    operation_id = "key_revoke",
    tag = "Keys",
    params(("id" = String, Path, description = "Its id"), RevokeParameters),
    responses((status = 200, description = "It is revoked", body = RevokedKeyAnswer), ChangeProblems),
    security(("bearer" = ["keys:admin"]))
)]
pub async fn key_revoke(
    State(app): State<App>,
    caller: Caller<KeysAdmin>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Error> {
    let mut given = Parameters::of(&uri);
    let keeps = given.word("keep_webhooks", &[("true", true), ("false", false)]);
    given.finish()?;
    let key = find_to_change(&app, &caller.scope, &id)?;
    let (keeps, now) = (keeps.unwrap_or(false), app.clock.now());
    let revoked = app
        .store
        .key_revoke(&caller.actor(), key.id, keeps, now)
        .await?
        .ok_or_else(none)?;
    app.follow().await?;
    let ids = |all: Vec<WebhookId>| all.iter().map(ToString::to_string).collect();
    Ok(Json(RevokedKeyAnswer {
        result: KeyRecord::from(&revoked.key),
        webhooks: RevokedKeyWebhooks {
            disabled: ids(revoked.disabled),
            kept: ids(revoked.kept),
        },
    })
    .into_response())
}
