//! Everything that a sandbox was sent and keeps, which is also what outlives a restart.
//!
//! Guarantee: an id that is held, or was, is not given again.

use model::Timestamp;

use super::activities::{Activities, Activity};
use super::appointments::{Appointment, Appointments};
use super::cards::{Card, Cards};
use super::directory::{CommunityIndex, Directory};
use super::draft::Draft;
use super::ids::{Id, Ids};
use super::listings::{Listing, Listings};

pub(super) struct Held {
    pub(super) ids: Ids,
    pub(super) cards: Cards,
    pub(super) appointments: Appointments,
    pub(super) activities: Activities,
    pub(super) listings: Listings,
}

impl Held {
    pub(super) fn new(directory: &Directory, now: Timestamp) -> Self {
        Self {
            ids: Ids::new(now),
            cards: Cards::new(directory),
            appointments: Appointments::default(),
            activities: Activities::default(),
            listings: Listings::default(),
        }
    }

    /// Forgets everything and goes on counting ids.
    pub(super) fn clear(&mut self, directory: &Directory) {
        self.cards = Cards::new(directory);
        self.appointments = Appointments::default();
        self.activities = Activities::default();
        self.listings = Listings::default();
    }

    /// Creates or changes a card.
    pub(super) fn put_card(&mut self, draft: Draft, directory: &Directory, now: Timestamp) -> Id {
        let community = draft.community;
        let first_agent = || directory.first_agent(community);
        self.cards.put(draft, &mut self.ids, first_agent, now)
    }

    pub(super) fn restore_card(&mut self, card: Card, directory: &Directory) -> Result<(), String> {
        let community = seeded(&card.shown.community_id, directory)?;
        let id = card.shown.prospect_id;
        if !self.cards.restore(community, card) {
            return Err("the card was of another community before".to_owned());
        }
        self.ids.given(id);
        Ok(())
    }

    pub(super) fn restore_appointment(
        &mut self,
        appointment: Appointment,
        directory: &Directory,
    ) -> Result<(), String> {
        seeded(&appointment.community_id, directory)?;
        self.ids.given(appointment.id);
        self.appointments.put(appointment);
        Ok(())
    }

    pub(super) fn restore_activity(
        &mut self,
        activity: Activity,
        directory: &Directory,
    ) -> Result<(), String> {
        seeded(&activity.community_id, directory)?;
        self.ids.given(activity.id);
        self.activities.put(activity);
        Ok(())
    }

    pub(super) fn restore_listing(
        &mut self,
        listing: Listing,
        directory: &Directory,
    ) -> Result<(), String> {
        seeded(&listing.community_id, directory)?;
        self.ids.given(listing.id);
        self.listings.put(listing);
        Ok(())
    }

    pub(super) fn vanish_again(&mut self, card: Id, directory: &Directory) -> Result<(), String> {
        if self.cards.remove(card, directory) {
            Ok(())
        } else {
            Err("there is no such card that could vanish".to_owned())
        }
    }
}

fn seeded(community_id: &str, directory: &Directory) -> Result<CommunityIndex, String> {
    let community = directory.find(community_id);
    community.ok_or_else(|| format!("community {community_id} is not in the seed"))
}
