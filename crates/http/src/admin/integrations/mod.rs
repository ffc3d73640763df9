//! Integrations, and the communities, attributions and agents that are registered with them.
//!
//! Source: the public contract, section 5.

pub mod access;
pub mod manage;
pub mod members;
pub mod pause;
pub mod property_lists;
pub mod rate_limits;
pub mod stored;
pub mod sync;
