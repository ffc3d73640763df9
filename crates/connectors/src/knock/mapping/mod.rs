//! Our resources in Knock's words, a file a resource.
//!
//! `profile` is what a guest card and a tour say of a person alike, `body` how a body is put together, `order` what must not overtake what.

pub mod appointment;
pub mod event;
pub mod listing;
mod message;
mod order;
pub(super) mod profile;
pub mod prospect;

#[cfg(test)]
mod world;
