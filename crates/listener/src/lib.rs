//! Connections of callers: how many there are, whose, and for how long.
//!
//! Guarantee: whoever connects costs the server a bounded amount of memory and of time, and never
//! keeps another out for good.

pub mod peer;
pub mod serve;
mod slots;
pub mod tls;
mod transfer;

pub use transfer::LINGER_MAX_BYTES;
