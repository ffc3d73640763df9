//! An appointment: a tour of a community.
//!
//! [`input`] is what a caller sends, [`availability`] the question when tours are possible, [`rules`] what fields must keep besides their
//! types, [`record`] what is read back.

pub mod availability;
pub mod input;
pub mod record;
pub mod rules;

pub use availability::{AppointmentType, Availability, AvailabilityQuery};
pub use input::AppointmentCreate;
pub use record::Appointment;
pub use rules::Checked;
