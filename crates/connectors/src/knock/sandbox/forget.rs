//! A card forgotten for good, as Knock does when it is asked to by letter: no call of the vendor does this.
//!
//! Guarantee: afterwards nothing that the card, its appointments and its activities held is in the state or the journal.

use std::io;

use super::directory::Directory;
use super::ids::Id;
use super::state::State;
use crate::sandbox::Forgotten;

impl State {
    pub(super) fn forget(&mut self, card: Id, directory: &Directory) -> io::Result<Forgotten> {
        self.forget_in_journal(card)?;
        let held = &mut self.held;
        let contacts: Vec<String> = held
            .cards
            .get(card)
            .map(|card| card.shown.contacts().map(str::to_owned).collect())
            .unwrap_or_default();
        held.cards.remove(card, directory);
        held.appointments.forget(card);
        held.activities.forget(card);
        Ok(Forgotten {
            path: format!("/prospect/{card}"),
            contacts,
        })
    }
}
