//! The limits that a vendor tells of an integration. No vendor of this build tells any; those that
//! are known are its terms.
//!
//! Source: the public contract, section 8.3.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::stored::find;
use crate::{
    document::{answers::Page, parameters::ListParameters, problems::InnerListProblems},
    door::caller::{Caller, IntegrationsRead},
    error::Error,
    lists::answers::empty_page,
    state::App,
};

/// A limit that the vendor tells.
#[derive(Serialize, ToSchema)]
pub struct VendorRateLimit {
    /// Its id.
    pub id: String,
    /// The integration.
    pub integration_id: String,
}

/// A page of them.
type VendorRateLimitPage = Page<VendorRateLimit>;

/// List the rate limits that the vendor tells
///
/// Empty for a vendor that tells none.
#[utoipa::path(
    get,
    path = "/v1/admin/integrations/{id}/rate-limits",
    operation_id = "rate_limits_list",
    tag = "Integrations",
    params(("id" = String, Path, description = "The integration's id"), ListParameters),
    responses((status = 200, description = "A page of limits", body = VendorRateLimitPage), InnerListProblems),
    security(("bearer" = ["integrations:read"]))
)]
pub async fn rate_limits_list(
    State(app): State<App>,
    caller: Caller<IntegrationsRead>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Error> {
    find(&app, &caller.scope, &id)?;
    empty_page::<VendorRateLimit>(&uri)
}
