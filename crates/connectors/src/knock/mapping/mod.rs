//! Our resources in Knock's words, a file a resource.
//!
//! `profile` is what a guest card and a tour say of a person alike, `message` what Knock has no member
//! for, `order` what must not overtake what. `crate::mapping` is what all mappings are made with.

pub mod appointment;
pub mod event;
pub mod listing;
mod message;
mod order;
pub(super) mod profile;
pub mod prospect;

#[cfg(test)]
mod world;
