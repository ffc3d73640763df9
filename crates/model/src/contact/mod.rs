//! How a person is reached: email and phone, checked and normalised.
//!
//! Guarantee: an [`Email`] or a [`Phone`] can be sent to a vendor as it is, and is not a filler that makes
//! vendors match the wrong person.

mod email;
mod invisible;
mod phone;
mod placeholder;

pub use email::Email;
pub(crate) use phone::has_region;
pub use phone::{DEFAULT_REGION, Phone};

/// Why a contact was refused: a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not an address or number at all.
    Invalid(String),
    /// It is a filler that is known to corrupt guest cards.
    Placeholder(String),
}
