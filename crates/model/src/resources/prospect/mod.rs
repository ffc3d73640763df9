//! A prospect: a person who looks for an apartment.
//!
//! [`input`] is what a caller sends, [`rules`] what its fields must keep besides their types, [`record`] what is read back.

pub mod input;
pub mod record;
pub mod rules;

pub use input::ProspectCreate;
pub use record::Prospect;
pub use rules::Checked;
