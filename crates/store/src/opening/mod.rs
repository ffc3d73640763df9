//! Opens a store: schema, master key, and all that is made anew at each start.

#[cfg(feature = "discard")]
mod discard;
pub(crate) mod postgres;
pub(crate) mod sqlite;
