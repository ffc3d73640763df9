//! Subscriptions to events, and the deliveries of events to them.
//!
//! Source: the public contract, section 6.

pub mod deliveries;
pub mod manage;
pub mod replay;
mod response;
pub mod stored;
pub mod test;
