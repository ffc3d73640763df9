//! Integrations: made, changed, paused, archived, tried and synchronised.
//!
//! Guarantee: credentials come in and never go out; a change is in force for the next request when it is answered. To try what credentials allow is the second
//! question that is put to a vendor while a caller waits; it is bounded in time, and changes nothing there.
//! Source: the public contract, section 5.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use connectors::{Target, access};
use model::{
    Actor, IntegrationId, Scope,
    directory::Integration,
    key::System,
    resources::integration::{
        AccessState, Change, DataAccess, IntegrationCreate, IntegrationRecord, IntegrationUpdate,
        check_create, check_update,
    },
};
use serde::Serialize;
use serde_json::Value;
use store::Registration;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::{
    App,
    body::{JsonBody, screen},
    caller::{Caller, IntegrationsAdmin, IntegrationsRead},
    error::Error,
    intake,
    lists::plain_page,
    openapi::{
        ChangeProblems, ErrorBody, GetProblems, IntegrationParameters, ListProblems, PageAnswer,
        WriteQuery,
    },
    parameters::Parameters,
    preferences,
};

/// How long a caller waits for the vendor at most while credentials are tried.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Communities that are tried at most: what is true of one key is mostly true of all of them.
const PROBED_COMMUNITIES_MAX: usize = 3;

/// An integration.
#[derive(Serialize, ToSchema)]
pub struct IntegrationAnswer {
    /// It.
    pub result: IntegrationRecord,
}

/// What credentials allow.
#[derive(Serialize, ToSchema)]
pub struct DataAccessAnswer {
    /// What was found when that was last tried; `null` when it never was.
    pub result: Option<DataAccess>,
}

/// The answer to a request for a synchronisation.
#[derive(Serialize, ToSchema)]
pub struct SyncAnswer {
    /// What became of it.
    pub result: SyncResult,
}

/// What became of a request for a synchronisation.
#[derive(Serialize, ToSchema)]
pub struct SyncResult {
    /// Always true.
    pub success: bool,
}

fn none() -> Error {
    Error::not_found("integration")
}

fn shown(integration: &Integration) -> Response {
    let result = integration.into();
    Json(IntegrationAnswer { result }).into_response()
}

/// An integration as the caller may know it.
pub(crate) fn find(
    app: &App,
    scope: &Scope,
    id: &str,
) -> Result<std::sync::Arc<Integration>, Error> {
    let directory = app.live.get();
    directory
        .find_integration(scope, id)
        .cloned()
        .ok_or_else(none)
}

/// Stores a change, and waits until it is in force.
async fn change(
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
async fn put(
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

/// List integrations
///
/// The oldest first.
#[utoipa::path(
    get,
    path = "/v1/admin/integrations",
    operation_id = "integrations_list",
    tag = "Integrations",
    params(IntegrationParameters),
    responses((status = 200, description = "A page of integrations", body = PageAnswer<IntegrationRecord>), ListProblems),
    security(("bearer" = ["integrations:read"]))
)]
pub async fn integrations_list(
    State(app): State<App>,
    caller: Caller<IntegrationsRead>,
    uri: Uri,
) -> Result<Response, Error> {
    let mut given = Parameters::of(&uri);
    let page = given.page();
    let archived = given
        .word("archived", &[("true", true), ("false", false)])
        .unwrap_or(false);
    given.finish()?;
    let directory = app.live.get();
    let mut all: Vec<_> = directory
        .integrations()
        .filter(|one| caller.scope.sees(one.id) && one.archived_at.is_some() == archived)
        .collect();
    all.sort_unstable_by_key(|one| (one.created_at, one.id));
    Ok(plain_page(page, &all, |one| {
        IntegrationRecord::from(&***one)
    }))
}

/// Create an integration
///
/// Its credentials are sealed, and never shown. With `active`, they are tried first.
#[utoipa::path(
    post,
    path = "/v1/admin/integrations",
    operation_id = "integration_create",
    tag = "Integrations",
    params(WriteQuery),
    request_body = IntegrationCreate,
    responses((status = 200, description = "It is stored", body = IntegrationAnswer), ChangeProblems),
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn integration_create(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    if caller.scope.integrations().is_some() {
        return Err(Error::limited_key(
            "An API key that is limited to some integrations cannot make another",
        ));
    }
    let ignore_unknown = preferences::ignores_unknown_fields(&uri)?;
    let schema = app.schemas.named("IntegrationCreate");
    let screened = screen(schema.ok_or_else(Error::internal)?, body, ignore_unknown)?;
    let input: IntegrationCreate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let base_url = |vendor, system: System| {
        app.registry
            .get(vendor)
            .map_or("", |connector| connector.base_url(system))
            .to_owned()
    };
    let allow = |given: &str| app.registry.reach().allow(given);
    let checked = check_create(&input, &broken, base_url, &allow);
    let checked = screened.settle(checked)?;
    let now = app.clock.now();
    let id = IntegrationId::new(now, &*app.entropy);
    let mut integration = checked.integration(id);
    if integration.active {
        let found = probe(&app, &caller.scope, &integration).await?;
        integration.access = Some(accepted(&integration, &found)?);
    }
    let registration = Registration {
        integration,
        communities: Vec::new(),
        attributions: Vec::new(),
        agents: Vec::new(),
    };
    app.store
        .integration_register(&caller.actor(), registration, now)
        .await?;
    app.follow().await?;
    Ok(shown(&*find(&app, &caller.scope, &id.to_string())?))
}

/// Get an integration
#[utoipa::path(
    get,
    path = "/v1/admin/integrations/{id}",
    operation_id = "integration_get",
    tag = "Integrations",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "It", body = IntegrationAnswer), GetProblems),
    security(("bearer" = ["integrations:read"]))
)]
pub async fn integration_get(
    State(app): State<App>,
    caller: Caller<IntegrationsRead>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    Ok(shown(&*find(&app, &caller.scope, &id)?))
}

/// Change an integration
///
/// What is absent stays as it is. A change is in force for the next request, and for the next call to the vendor.
#[utoipa::path(
    put,
    path = "/v1/admin/integrations/{id}",
    operation_id = "integration_update",
    tag = "Integrations",
    params(("id" = String, Path, description = "Its id"), WriteQuery),
    request_body = IntegrationUpdate,
    responses((status = 200, description = "It is changed", body = IntegrationAnswer), ChangeProblems),
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn integration_update(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
    Path(id): Path<String>,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    let ignore_unknown = preferences::ignores_unknown_fields(&uri)?;
    let schema = app.schemas.named("IntegrationUpdate");
    let screened = screen(schema.ok_or_else(Error::internal)?, body, ignore_unknown)?;
    let stored = find(&app, &caller.scope, &id)?;
    let input: IntegrationUpdate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let allow = |given: &str| app.registry.reach().allow(given);
    let checked = check_update(input, &stored, &broken, &allow);
    let mut asked = screened.settle(checked)?;
    let is_tried = !stored.active || asked.credential.is_some();
    if asked.update.active == Some(true) && is_tried && stored.archived_at.is_none() {
        let mut tried = (*stored).clone();
        asked.apply(&mut tried);
        let found = probe(&app, &caller.scope, &tried).await?;
        asked.access = Some(accepted(&tried, &found)?);
    }
    let changed = change(
        &app,
        &caller.actor(),
        stored.id,
        "integration_update",
        asked,
    )
    .await?;
    Ok(shown(&changed))
}

/// Archive an integration
///
/// It takes no more writes, and its credentials are gone for good. What was written stays to be read. 409 while writes to it have not ended.
#[utoipa::path(
    delete,
    path = "/v1/admin/integrations/{id}",
    operation_id = "integration_archive",
    tag = "Integrations",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "It is archived", body = IntegrationAnswer), ChangeProblems),
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn integration_archive(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let asked = Change {
        archived_at: Some(app.clock.now()),
        ..Change::default()
    };
    put(&app, &caller, &id, "integration_archive", asked).await
}

/// Pause an integration
///
/// Writes are taken as before, and wait. Nothing is lost: once it goes on, each is tried, however long it waited.
#[utoipa::path(
    post,
    path = "/v1/admin/integrations/{id}/pause",
    operation_id = "integration_pause",
    tag = "Integrations",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "It is paused", body = IntegrationAnswer), ChangeProblems),
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn integration_pause(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let asked = Change {
        paused_at: Some(Some(app.clock.now())),
        ..Change::default()
    };
    put(&app, &caller, &id, "integration_pause", asked).await
}

/// Resume an integration
///
/// What waited is delivered, in the order accepted.
#[utoipa::path(
    post,
    path = "/v1/admin/integrations/{id}/resume",
    operation_id = "integration_resume",
    tag = "Integrations",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "It goes on", body = IntegrationAnswer), ChangeProblems),
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn integration_resume(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let asked = Change {
        paused_at: Some(None),
        ..Change::default()
    };
    put(&app, &caller, &id, "integration_resume", asked).await
}

/// Get what an integration's credentials allow
///
/// As it was found when that was last tried.
#[utoipa::path(
    get,
    path = "/v1/admin/integrations/{id}/data-access",
    operation_id = "data_access_get",
    tag = "Integrations",
    params(("id" = String, Path, description = "The integration's id")),
    responses((status = 200, description = "What was found", body = DataAccessAnswer), GetProblems),
    security(("bearer" = ["integrations:read"]))
)]
pub async fn data_access_get(
    State(app): State<App>,
    caller: Caller<IntegrationsRead>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let stored = find(&app, &caller.scope, &id)?;
    let result = stored
        .access
        .clone()
        .map(serde_json::from_value)
        .transpose()
        .map_err(|_| Error::internal())?;
    Ok(Json(DataAccessAnswer { result }).into_response())
}

/// Try what an integration's credentials allow
///
/// Asks the vendor now. Nothing is written there; what only a write could tell is said to be unknown.
#[utoipa::path(
    post,
    path = "/v1/admin/integrations/{id}/data-access",
    operation_id = "data_access_check",
    tag = "Integrations",
    params(("id" = String, Path, description = "The integration's id")),
    responses((status = 200, description = "What was found", body = DataAccessAnswer), ChangeProblems),
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn data_access_check(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let stored = find(&app, &caller.scope, &id)?;
    if stored.archived_at.is_some() {
        return Err(Error::conflict(
            "This integration is archived; its credentials are gone",
        ));
    }
    let found = probe(&app, &caller.scope, &stored).await?;
    let asked = Change {
        access: Some(written(&found)?),
        ..Change::default()
    };
    change(&app, &caller.actor(), stored.id, "data_access_check", asked).await?;
    let result = Some(found);
    Ok(Json(DataAccessAnswer { result }).into_response())
}

fn written(found: &DataAccess) -> Result<Value, Error> {
    serde_json::to_value(found).map_err(|_| Error::internal())
}

/// What was found, unless the vendor refuses the credentials.
fn accepted(integration: &Integration, found: &DataAccess) -> Result<Value, Error> {
    if found.credentials == AccessState::Denied {
        let why = found
            .accesses
            .iter()
            .find(|one| one.state == AccessState::Denied)
            .map_or("", |one| &one.message);
        return Err(Error::conflict(format!(
            "{} does not take these credentials, so the integration is not activated: {why}. Check the key, and base_url and key_header_name",
            integration.vendor
        )));
    }
    written(found)
}

/// Tries what the credentials of `integration` allow. The caller's key must still be in force
/// afterwards.
async fn probe(app: &App, scope: &Scope, integration: &Integration) -> Result<DataAccess, Error> {
    let _place = app.desk.place(integration.id)?;
    let connector = intake::connector(app, integration.vendor)?;
    let mut communities: Vec<String> = app
        .live
        .get()
        .communities(integration.id)
        .map(|one| one.x_id.clone())
        .collect();
    communities.sort_unstable();
    communities.truncate(PROBED_COMMUNITIES_MAX);
    let target = Target::of(integration);
    let vendor = integration.vendor;
    let accesses = timeout(
        PROBE_TIMEOUT,
        access::probe(connector, &target, &communities),
    )
    .await
    .map_err(|_| {
        Error::unavailable(format!(
            "{vendor} did not answer within {} s. Try again in a moment",
            PROBE_TIMEOUT.as_secs()
        ))
    })?;
    app.admit(scope)?;
    let credentials = access::credentials(&accesses);
    let summary = match credentials {
        AccessState::Allowed => format!("{vendor} takes the credentials"),
        AccessState::Denied => format!("{vendor} does not take the credentials"),
        AccessState::Unknown => {
            format!("{vendor} did not say whether it takes the credentials")
        }
    };
    Ok(DataAccess {
        checked_at: app.clock.now().to_string(),
        credentials,
        summary,
        accesses,
    })
}

/// Synchronise an integration now
///
/// Reads its lead sources, and its prospects as far as one run goes, as soon as writes leave room. GET /v1/admin/logs/jobs shows what became of it.
#[utoipa::path(
    post,
    path = "/v1/admin/integrations/{id}/manual-sync",
    operation_id = "integration_sync",
    tag = "Integrations",
    params(("id" = String, Path, description = "The integration's id")),
    responses(
        (status = 200, description = "It is due now", body = SyncAnswer),
        (status = 409, description = "The integration is not active, or paused", body = ErrorBody),
        GetProblems
    ),
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn integration_sync(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let integration = find(&app, &caller.scope, &id)?;
    if !integration.active {
        return Err(Error::conflict(
            "This integration is not active. Activate it before synchronising it",
        ));
    }
    if integration.paused_at.is_some() {
        return Err(Error::conflict(
            "This integration is paused. Resume it before synchronising it",
        ));
    }
    let now = app.clock.now();
    if !app
        .store
        .sync_request(&caller.actor(), integration.id, now)
        .await?
    {
        return Err(none());
    }
    let result = SyncResult { success: true };
    Ok(Json(SyncAnswer { result }).into_response())
}
