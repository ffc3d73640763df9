//! The access that an integration's credentials give, tried at the vendor.
//!
//! Guarantee: a question that is put to a vendor while a caller waits; it is bounded in time and in
//! number, and changes nothing there.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use connectors::{Target, access};
use model::{
    Scope,
    directory::Integration,
    resources::integration::{AccessState, Change, DataAccess},
};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::stored::{change, find};
use crate::{
    document::problems::{ChangeProblems, GetProblems},
    door::caller::{Caller, IntegrationsAdmin, IntegrationsRead},
    error::{Error, Reason},
    state::App,
};

/// How long a caller waits for the vendor at most while credentials are tried.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Communities that are tried at most: what is true of one key is mostly true of all of them.
const PROBED_COMMUNITIES_MAX: usize = 3;

/// What credentials allow.
#[derive(Serialize, ToSchema)]
pub struct DataAccessAnswer {
    /// What was found when that was last tried; `null` when it never was.
    pub result: Option<DataAccess>,
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
        .map_err(|_| {
            Error::internal(format_args!(
                "what integration {} may cannot be read",
                stored.id
            ))
        })?;
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
            Reason::IntegrationArchived,
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
    serde_json::to_value(found).map_err(Error::internal)
}

/// What was found, unless the vendor refuses the credentials.
pub(super) fn accepted(
    app: &App,
    integration: &Integration,
    found: &DataAccess,
) -> Result<Value, Error> {
    if found.credentials == AccessState::Denied {
        let why = found
            .accesses
            .iter()
            .find(|one| one.state == AccessState::Denied)
            .map_or("", |one| &one.message);
        let vendor = integration.vendor;
        let terms = &app.connector(vendor)?.definition().terms;
        let others = match terms.key_header_may_differ {
            true => "base_url and key_header_name",
            false => "base_url",
        };
        return Err(Error::conflict(
            Reason::CredentialsRefused,
            format!(
                "{vendor} does not take these credentials, so the integration is not activated: {why}. Check the credentials, and {others}",
            ),
        ));
    }
    written(found)
}

/// Tries what the credentials of `integration` allow. The caller's key must still be in force
/// afterwards.
pub(super) async fn probe(
    app: &App,
    scope: &Scope,
    integration: &Integration,
) -> Result<DataAccess, Error> {
    let _slot = app.limits.vendor_calls.slot(integration.id)?;
    let connector = app.connector(integration.vendor)?;
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
