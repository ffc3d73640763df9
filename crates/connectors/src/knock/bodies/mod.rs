//! The bodies of Knock's routes, and its credentials: their schemas, and the echo of what was
//! accepted.

pub mod appointment_create;
pub mod availability;
pub mod credentials;
pub mod event_create;
pub mod listing_create;
pub mod prospect_create;
pub mod prospect_update;

pub use appointment_create::AppointmentCreateKnock;
pub use availability::AppointmentAvailabilityKnock;
pub use credentials::KnockCredentials;
pub use event_create::{EventCreateKnock, EventName};
pub use listing_create::ListingCreateKnock;
pub use prospect_create::ProspectCreateKnock;
pub use prospect_update::ProspectUpdateKnock;
