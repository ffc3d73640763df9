//! An event: what happened between a prospect and a community. A call, a message, a note.
//!
//! [`input`] is what a caller sends, [`rules`] what its fields must keep besides their types, [`record`] what is read back.

pub mod input;
pub mod record;
pub mod rules;

pub use input::{EventCreate, EventName};
pub use record::Event;
pub use rules::Checked;
