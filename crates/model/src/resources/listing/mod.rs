//! A listing: an advertisement of a community.
//!
//! [`input`] is what a caller sends, [`rules`] what its fields must keep besides their types, [`record`] what is read back.

pub mod input;
pub mod record;
pub mod rules;

pub use input::ListingCreate;
pub use record::Listing;
pub use rules::Checked;
