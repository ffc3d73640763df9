//! Integrations: listed, created, changed, archived.
//!
//! Guarantee: credentials come in and never go out; a change is in force for the next request when
//! it is answered.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use model::{
    IntegrationId,
    resources::integration::{
        Change, IntegrationCreate, IntegrationRecord, IntegrationUpdate, check_create, check_update,
    },
};
use store::Registration;

use super::{
    access::{accepted, probe},
    stored::{IntegrationAnswer, change, find, put, shown},
};
use crate::{
    document::{
        answers::{Found, Page},
        parameters::WriteQuery,
        problems::{ChangeProblems, GetProblems, ListProblems},
        schemas::{INTEGRATION_CREATE, INTEGRATION_UPDATE},
    },
    door::{
        body::JsonBody,
        caller::{Caller, IntegrationsAdmin, IntegrationsRead},
        query::Parameters,
    },
    error::Error,
    lists::{
        answers::{found_answer, plain_page},
        vendor,
    },
    screening::screen_integration,
    state::App,
};

/// One of them.
type IntegrationFound = Found<IntegrationRecord>;

/// A page of them.
type IntegrationPage = Page<IntegrationRecord>;

/// What a query for integrations may say.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct IntegrationParameters {
    /// Integrations to skip
    #[param(minimum = 0)]
    offset: Option<i64>,
    /// Integrations to answer
    #[param(minimum = 0, maximum = 250)]
    limit: Option<i64>,
    /// `true` answers those that are archived, `false` those that are not; `false` when absent
    #[param(required = false, value_type = String, pattern = "^(true|false)$")]
    is_archived: Option<String>,
    /// The same, under its earlier name
    #[param(required = false, value_type = String, pattern = "^(true|false)$")]
    archived: Option<String>,
    /// Of this vendor
    #[param(required = false, value_type = String)]
    integration_vendor: Option<String>,
    /// `created_at:asc` (or `created_at`) or `created_at:desc`, which is meant when absent
    #[param(rename = "order-by", required = false, value_type = String, pattern = "^created_at(:asc|:desc)?$")]
    order_by: Option<String>,
}

/// List integrations
///
/// The newest first, and those that are not archived, unless the query says otherwise.
#[utoipa::path(
    get,
    path = "/v1/admin/integrations",
    operation_id = "integrations_list",
    tag = "Integrations",
    params(IntegrationParameters),
    responses((status = 200, description = "A page of integrations", body = IntegrationPage), ListProblems),
    security(("bearer" = ["integrations:read"]))
)]
pub async fn integrations_list(
    State(app): State<App>,
    caller: Caller<IntegrationsRead>,
    uri: Uri,
) -> Result<Response, Error> {
    let mut given = Parameters::of(&uri);
    let page = given.page();
    let flags = [("true", true), ("false", false)];
    let (archived, earlier) = (
        given.word("is_archived", &flags),
        given.word("archived", &flags),
    );
    let archived = archived.or(earlier).unwrap_or(false);
    let vendor = vendor(&mut given, &app);
    let is_descending = given.created_order();
    given.finish()?;
    let directory = app.live.get();
    let mut all: Vec<_> = directory
        .integrations()
        .filter(|one| caller.scope.sees(one.id) && one.archived_at.is_some() == archived)
        .filter(|one| vendor.is_none_or(|vendor| one.vendor == vendor))
        .collect();
    all.sort_unstable_by_key(|one| (one.created_at, one.id));
    if is_descending {
        all.reverse();
    }
    Ok(plain_page(page, is_descending, &all, |one| {
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
    let named = body["integration_vendor"].as_str();
    let vendor = named.and_then(|name| app.registry.find(name.trim()).ok());
    let screened = screen_integration(&app, &uri, body, (INTEGRATION_CREATE, vendor))?;
    let input: IntegrationCreate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let connector = input.vendor().and_then(|vendor| app.registry.get(vendor));
    let terms = connector.map(|connector| &connector.definition().terms);
    let allow = |given: &str| app.registry.reach().allow(given);
    let checked = check_create(&input, &broken, terms, &allow);
    let checked = screened.settle(checked)?;
    let now = app.clock.now();
    let id = IntegrationId::new(now, &*app.entropy);
    let mut integration = checked.integration(id);
    if integration.active {
        let found = probe(&app, &caller.scope, &integration).await?;
        integration.access = Some(accepted(&app, &integration, &found)?);
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
    responses((status = 200, description = "It", body = IntegrationFound), GetProblems),
    security(("bearer" = ["integrations:read"]))
)]
pub async fn integration_get(
    State(app): State<App>,
    caller: Caller<IntegrationsRead>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let integration = find(&app, &caller.scope, &id)?;
    Ok(found_answer(IntegrationRecord::from(&*integration)))
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
    let stored = find(&app, &caller.scope, &id)?;
    let of = (INTEGRATION_UPDATE, Some(stored.vendor));
    let screened = screen_integration(&app, &uri, body, of)?;
    let input: IntegrationUpdate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let allow = |given: &str| app.registry.reach().allow(given);
    let terms = &app.connector(stored.vendor)?.definition().terms;
    let checked = check_update(input, (&stored, terms), &broken, &allow);
    let mut asked = screened.settle(checked)?;
    let is_tried = !stored.active || asked.credential.is_some();
    if asked.update.active == Some(true) && is_tried && stored.archived_at.is_none() {
        let mut tried = (*stored).clone();
        asked.apply(&mut tried);
        let found = probe(&app, &caller.scope, &tried).await?;
        asked.access = Some(accepted(&app, &tried, &found)?);
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
