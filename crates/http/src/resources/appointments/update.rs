//! The end of a tour, told to the vendor.
//!
//! No vendor of this build can be told: the operation is there, and says so.
//! Source: the public contract, section 8.3.

use axum::{extract::State, http::Uri, response::Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    document::{answers::GenericAccepted, parameters::WriteQuery, problems::UntakenProblems},
    door::{
        body::JsonBody,
        caller::{AppointmentsWrite, Caller},
    },
    error::Error,
    screening::screen_as,
    state::App,
};

/// How a tour ended.
#[derive(Clone, Copy, Deserialize, ToSchema)]
pub enum AppointmentEnd {
    /// The prospect did not come.
    #[serde(rename = "NO_SHOW")]
    NoShow,
    /// The tour took place.
    #[serde(rename = "COMPLETE")]
    Complete,
}

/// How a tour ended, whatever the vendor.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "integration_id": "int_01kaz6v2zrf0pt4jbqm3y8s5nd",
    "status": "COMPLETE",
    "outcome_time": "2027-03-12T15:00:00Z"
}))]
pub struct AppointmentUpdate {
    /// The id of the integration.
    #[serde(default)]
    #[schema(required, min_length = 1)]
    integration_id: String,
    /// How the tour ended.
    #[expect(dead_code, reason = "no vendor of this build is told")]
    status: Option<AppointmentEnd>,
    /// When it ended.
    #[schema(format = DateTime)]
    #[expect(dead_code, reason = "no vendor of this build is told")]
    outcome_time: Option<String>,
    /// The units that were shown.
    #[schema(max_items = 100)]
    #[expect(dead_code, reason = "no vendor of this build is told")]
    unit_ids: Option<Vec<String>>,
}

/// Update Appointment
///
/// Tells the vendor how a tour ended. 405 for a vendor that cannot be told, which is every vendor of
/// this build.
#[utoipa::path(
    put,
    path = "/crm/v1/appointments/{id}",
    operation_id = "appointment_update",
    tag = "Appointments",
    params(("id" = String, Path, description = "The appointment's id"), WriteQuery),
    request_body = AppointmentUpdate,
    responses((status = 200, description = "Accepted and durable, of a vendor that can be told", body = GenericAccepted), UntakenProblems),
    security(("bearer" = ["appointments:write"]))
)]
pub async fn appointment_update(
    State(app): State<App>,
    caller: Caller<AppointmentsWrite>,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    let screened = screen_as::<AppointmentUpdate>(&app, &uri, body)?;
    let input: AppointmentUpdate = screened.read()?;
    screened.settle(Ok(()))?;
    let directory = app.live.get();
    let integration = directory.find_integration(&caller.scope, &input.integration_id);
    let integration = integration.ok_or_else(|| {
        Error::invalid_parameter(
            "integration_id",
            "There is no integration with this id, or your key may not see it",
        )
    })?;
    Err(Error::not_taken(integration.vendor))
}
