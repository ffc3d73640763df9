//! A card forgotten for good, as Knock does when it is asked to by letter: no call of the vendor does this.
//!
//! Guarantee: afterwards nothing that the card, its appointments and its activities held is in the state, the log of requests, or the journal.

use std::io;

use super::Sandbox;
use super::directory::Directory;
use super::ids::Id;
use super::state::State;

impl Sandbox {
    /// Forgets the card with this id, if there is one, and all that belongs to it. Rewrites the journal, so it takes as long as reading that.
    ///
    /// # Errors
    /// When the journal cannot be written anew; then the old one stands.
    pub fn forget(&self, prospect_id: &str) -> io::Result<()> {
        match Id::parse(prospect_id) {
            Some(id) => self.lock().forget(id, &self.inner.directory),
            None => Ok(()),
        }
    }
}

impl State {
    fn forget(&mut self, card: Id, directory: &Directory) -> io::Result<()> {
        self.forget_in_journal(card)?;
        let held = &mut self.held;
        let path = format!("/prospect/{card}");
        let contacts: Vec<String> = held
            .cards
            .get(card)
            .map(|card| card.shown.contacts().map(str::to_owned).collect())
            .unwrap_or_default();
        held.cards.remove(card, directory);
        held.appointments.forget(card);
        held.activities.forget(card);
        self.log.forget(&path, &contacts);
        Ok(())
    }
}
