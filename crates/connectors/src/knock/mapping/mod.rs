//! Our resources in Knock's words, a file a resource.
//!
//! `profile` is what a guest card and a tour say of a person alike, `body` how a body is put together, `order` what must not overtake what.

pub mod appointment;
pub(super) mod body;
pub mod event;
pub mod listing;
mod order;
pub(super) mod profile;
pub mod prospect;

#[cfg(test)]
mod world;

use model::resources::{listing::Checked, prospect::CheckedUpdate};

use crate::Mappings;

/// The writes that Knock takes.
pub(super) fn all() -> Mappings {
    Mappings::default()
        .with(prospect::create)
        .with::<CheckedUpdate>(|change, _| prospect::update(change))
        .with(event::create)
        .with(appointment::create)
        .with::<Checked>(|listing, _| Ok(listing::create(listing)))
}
