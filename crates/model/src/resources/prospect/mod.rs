//! A prospect: a person who looks for an apartment.
//!
//! [`input`] is what a caller sends to make one and [`update`] to change one, [`rules`] what fields must keep besides their types, [`record`] what is
//! read back.

pub mod input;
pub mod record;
pub mod rules;
pub mod update;

pub use input::ProspectCreate;
pub use record::Prospect;
pub use rules::{Checked, CheckedUpdate, Known, is_there};
pub use update::ProspectUpdate;
