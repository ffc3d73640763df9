//! An appointment: a tour of a community.
//!
//! [`new`] is what a caller asks for, [`rules`] what its fields must keep besides their types,
//! [`record`] what is read back, [`availability`] when tours are possible.

pub mod availability;
pub mod new;
pub mod record;
pub mod rules;

pub use availability::Availability;
pub use new::NewAppointment;
pub use record::Appointment;
pub use rules::Checked;

use crate::{
    record::{Facts, Filter},
    resources::shown,
    write::Outcome,
};

/// The facts about appointments.
pub const FACTS: Facts = Facts {
    word: "appointment",
    model: "crm_appointments",
    id_prefix: "apt",
    filters: &[
        Filter::COMMUNITY,
        Filter::ATTRIBUTION,
        Filter::EMAIL,
        Filter::PHONE,
        Filter::STATUS,
        Filter::PROSPECT,
    ],
    name: &["last_name", "first_name"],
    vocabulary: &["pets", "first_contact_type", "tour_type"],
    kept: &[
        "prospect_id",
        "community_id",
        "x_community_id",
        "attribution_id",
        "x_attribution_id",
        "status",
        "replaced_by",
        "appointment_date",
        "appointment_time",
        "starts_at",
        "starts_at_local",
        "timezone",
        "tour_type",
    ],
    again: Outcome::Matched,
    shown: shown::<Appointment>,
};
