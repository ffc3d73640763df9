//! The access that an integration's credentials give, tried at the vendor.
//!
//! Guarantee: a question that is put to a vendor while a caller waits; it is bounded in time and in
//! number, and changes nothing there.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use connectors::{Connector, Target, access};
use model::{
    Scope,
    directory::Integration,
    record::Kind,
    resources::integration::{Access, AccessState, Change, DataAccess},
    write::Operation,
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
    /// What was found.
    pub result: DataAccessResult,
}

/// What credentials allow, by model and one by one.
#[derive(Serialize, ToSchema)]
pub struct DataAccessResult {
    /// Whether this request has tried them.
    pub began_data_access: bool,
    /// Whether they are being tried: always `false`, since an answer waits for that.
    pub data_access_check_in_process: bool,
    /// When they were last tried; `null` when they never were.
    #[schema(format = DateTime)]
    pub last_data_access_check: Option<String>,
    /// What may be done with each model.
    pub models: BTreeMap<String, ModelAccess>,
    /// The same as `last_data_access_check`.
    #[schema(format = DateTime)]
    pub checked_at: Option<String>,
    /// Whether the vendor takes the credentials at all; `null` when they were never tried.
    pub credentials: Option<AccessState>,
    /// In one sentence; `null` when they were never tried.
    pub summary: Option<String>,
    /// Every question that was put to the vendor.
    pub accesses: Vec<Access>,
}

/// What may be done with a model.
#[derive(Serialize, ToSchema)]
pub struct ModelAccess {
    /// To read its records.
    pub read: ActionAccess,
    /// To make one.
    pub create: ActionAccess,
    /// To change one.
    pub update: ActionAccess,
}

/// Whether one thing may be done: a `status`, or `unsupported`, or `untested`.
#[derive(Default, Serialize, ToSchema)]
pub struct ActionAccess {
    /// `SUCCESS` or `FAILED`, where it was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub status: Option<&'static str>,
    /// Why it failed, in the vendor's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// `true`: the vendor has no such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsupported: Option<bool>,
    /// `true`: it was not tried, since that would change something, or never yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untested: Option<bool>,
}

impl ActionAccess {
    /// Of something that the vendor has, or not, and that is not tried.
    fn untried(is_supported: bool) -> Self {
        Self {
            unsupported: (!is_supported).then_some(true),
            untested: is_supported.then_some(true),
            ..Self::default()
        }
    }

    /// Of the question `what`, as it was answered.
    fn of(what: &str, is_supported: bool, found: &[Access]) -> Self {
        let answers = || found.iter().filter(|one| one.what == what);
        let Some(first) = answers().next().filter(|_| is_supported) else {
            return Self::untried(is_supported);
        };
        if answers().any(|one| one.state == AccessState::Allowed) {
            return Self {
                status: Some("SUCCESS"),
                ..Self::default()
            };
        }
        let denied = answers().find(|one| one.state == AccessState::Denied);
        Self {
            status: Some("FAILED"),
            error_message: Some(denied.unwrap_or(first).message.clone()),
            ..Self::default()
        }
    }
}

/// What may be done with each model, as far as it was tried.
fn models(connector: &Connector, found: &[Access]) -> BTreeMap<String, ModelAccess> {
    let asks = connector.connections();
    let writes = |operation| ActionAccess::untried(connector.operation(operation).is_some());
    let models = Kind::ALL.iter().map(|kind| {
        let read = match kind {
            Kind::Prospect => {
                ActionAccess::of(access::READ_PROSPECTS, asks.prospect.is_some(), found)
            }
            Kind::Attribution => ActionAccess::of(
                access::READ_ATTRIBUTIONS,
                asks.attributions.is_some(),
                found,
            ),
            _ => ActionAccess::untried(false),
        };
        let create = match kind {
            Kind::Prospect => writes(Operation::ProspectCreate),
            Kind::Event => writes(Operation::EventCreate),
            Kind::Appointment => writes(Operation::AppointmentCreate),
            Kind::Listing => writes(Operation::ListingCreate),
            _ => ActionAccess::untried(false),
        };
        let update = match kind {
            Kind::Prospect => writes(Operation::ProspectUpdate),
            _ => ActionAccess::untried(false),
        };
        let access = ModelAccess {
            read,
            create,
            update,
        };
        (kind.model().to_owned(), access)
    });
    models.collect()
}

/// The answer about `integration`, of what was found, now or when that was last tried.
fn answer(
    app: &App,
    integration: &Integration,
    found: Option<DataAccess>,
    is_tried_now: bool,
) -> Response {
    // What was found is told also of a vendor that this build does not have.
    let connector = app.registry.get(integration.vendor);
    let accesses = found.as_ref().map_or(&[][..], |found| &found.accesses);
    let models = connector.map_or_else(BTreeMap::new, |connector| models(connector, accesses));
    let (checked_at, credentials, summary, accesses) = match found {
        Some(found) => (
            Some(found.checked_at),
            Some(found.credentials),
            Some(found.summary),
            found.accesses,
        ),
        None => (None, None, None, Vec::new()),
    };
    let result = DataAccessResult {
        began_data_access: is_tried_now,
        data_access_check_in_process: false,
        last_data_access_check: checked_at.clone(),
        models,
        checked_at,
        credentials,
        summary,
        accesses,
    };
    Json(DataAccessAnswer { result }).into_response()
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
    let found = stored
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
    Ok(answer(&app, &stored, found, false))
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
    Ok(answer(&app, &stored, Some(found), true))
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
