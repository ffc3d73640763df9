//! A listing: an advertisement of a community.
//!
//! [`new`] is what a caller asks for, [`rules`] what its fields must keep besides their types,
//! [`record`] what is read back.

pub mod new;
pub mod record;
pub mod rules;

pub use new::NewListing;
pub use record::Listing;
pub use rules::Checked;

use crate::{
    record::{Facts, Filter, Form},
    resources::shown,
    write::Outcome,
};

/// The facts about listings.
pub const FACTS: Facts = Facts {
    word: "listing",
    model: "crm_listings",
    id_prefix: "lst",
    filters: &[Filter::COMMUNITY, Filter::narrow("url", Form::Text)],
    name: &["title"],
    vocabulary: &[],
    kept: &[],
    again: Outcome::Updated,
    shown: shown::<Listing>,
};
