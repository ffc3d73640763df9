//! The question when tours are possible, as Knock can be asked it.
//!
//! Source: the public contract, section 3.5.

use serde::Deserialize;
use utoipa::ToSchema;

model::words! {
    /// How the tour would be made.
    AppointmentType {
        /// Alone.
        SelfGuidedTour = "SELF_GUIDED_TOUR",
        /// With an agent.
        Appointment = "APPOINTMENT",
    }
}

/// The question when tours of a community are possible.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(
    example = json!({
        "integration_id": "int_01kaz6v2zrf0pt4jbqm3y8s5nd",
        "community_id": "com_01kaz6v2zsgy8d2x6wq4t9r3hb",
        "appointment_type": "APPOINTMENT"
    })
)]
#[expect(dead_code, reason = "the type stands for its schema")]
pub struct AppointmentAvailabilityKnock {
    /// The id of an active integration whose vendor is Knock.
    #[schema(required, example = "int_01kaz6v2zrf0pt4jbqm3y8s5nd")]
    integration_id: String,
    /// The id of a community of that integration.
    #[schema(required, example = "com_01kaz6v2zsgy8d2x6wq4t9r3hb")]
    community_id: String,
    /// How the tour would be made.
    #[schema(required)]
    appointment_type: AppointmentType,
}
