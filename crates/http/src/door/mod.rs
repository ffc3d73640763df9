//! The way in: a request is given an id, its caller is found and counted, its body is read, a
//! repeat of it is recognised.
//!
//! Guarantee: no handler sees the scope of a caller without the permission that the handler takes.

pub mod arrival;
pub mod body;
pub mod caller;
pub mod envelope;
pub mod headers;
mod host;
pub mod idempotency;
pub mod json;
pub mod preferences;
pub mod query;
pub mod request;
pub mod waiting;
