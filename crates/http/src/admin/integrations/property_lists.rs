//! Lists of properties that a vendor keeps. No vendor of this build has such lists.
//!
//! Source: the public contract, section 8.3.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::stored::find;
use crate::{
    document::{
        answers::{Answer, Page},
        parameters::{ListParameters, WriteQuery},
        problems::{InnerListProblems, UntakenProblems},
    },
    door::{
        body::JsonBody,
        caller::{Caller, IntegrationsAdmin, IntegrationsRead},
    },
    error::Error,
    lists::answers::empty_page,
    screening::screen_as,
    state::App,
};

/// A list of properties.
#[derive(Serialize, ToSchema)]
pub struct PropertyList {
    /// Its id.
    pub id: String,
    /// The integration.
    pub integration_id: String,
    /// The vendor's id of it.
    pub x_property_list_id: String,
    /// Whether its properties are synchronised.
    pub enabled: bool,
}

/// One of them.
type PropertyListAnswer = Answer<PropertyList>;

/// A page of them.
type PropertyListPage = Page<PropertyList>;

/// A list of properties to be used.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "x_property_list_id": "north", "enabled": true }))]
#[expect(dead_code, reason = "no vendor of this build takes one")]
pub struct PropertyListCreate {
    /// The vendor's id of it.
    #[serde(default)]
    #[schema(required, min_length = 1)]
    x_property_list_id: String,
    /// Whether its properties are synchronised.
    enabled: Option<bool>,
}

/// What to change about a list of properties.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "enabled": true }))]
#[expect(dead_code, reason = "no vendor of this build takes one")]
pub struct PropertyListUpdate {
    /// Whether its properties are synchronised.
    enabled: Option<bool>,
}

/// List property lists
///
/// Empty for a vendor that has none.
#[utoipa::path(
    get,
    path = "/v1/admin/integrations/{id}/property-lists",
    operation_id = "property_lists_list",
    tag = "Integrations",
    params(("id" = String, Path, description = "The integration's id"), ListParameters),
    responses((status = 200, description = "A page of lists", body = PropertyListPage), InnerListProblems),
    security(("bearer" = ["integrations:read"]))
)]
pub async fn property_lists_list(
    State(app): State<App>,
    caller: Caller<IntegrationsRead>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Error> {
    find(&app, &caller.scope, &id)?;
    empty_page::<PropertyList>(&uri)
}

/// Use a property list
///
/// 405 for a vendor that has none, which is every vendor of this build.
#[utoipa::path(
    post,
    path = "/v1/admin/integrations/{id}/property-lists",
    operation_id = "property_list_create",
    tag = "Integrations",
    params(("id" = String, Path, description = "The integration's id"), WriteQuery),
    request_body = PropertyListCreate,
    responses((status = 200, description = "The list, of a vendor that has such", body = PropertyListAnswer), UntakenProblems),
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn property_list_create(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
    Path(id): Path<String>,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    screen_as::<PropertyListCreate>(&app, &uri, body)?.settle(Ok(()))?;
    Err(Error::not_taken(find(&app, &caller.scope, &id)?.vendor))
}

/// Change a property list
///
/// 405 for a vendor that has none, which is every vendor of this build.
#[utoipa::path(
    put,
    path = "/v1/admin/integrations/{id}/property-lists/{property_list_id}",
    operation_id = "property_list_update",
    tag = "Integrations",
    params(
        ("id" = String, Path, description = "The integration's id"),
        ("property_list_id" = String, Path, description = "The list's id"),
        WriteQuery,
    ),
    request_body = PropertyListUpdate,
    responses((status = 200, description = "The list, of a vendor that has such", body = PropertyListAnswer), UntakenProblems),
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn property_list_update(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
    Path((id, _list)): Path<(String, String)>,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    screen_as::<PropertyListUpdate>(&app, &uri, body)?.settle(Ok(()))?;
    Err(Error::not_taken(find(&app, &caller.scope, &id)?.vendor))
}
