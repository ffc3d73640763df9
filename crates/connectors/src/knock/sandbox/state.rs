//! Everything that changes while a sandbox runs, behind one lock.
//!
//! Guarantee: what is done under one hold of the lock is seen whole or not at all.

use std::io;
use std::path::PathBuf;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use super::Counts;
use super::activities::{Activity, ActivityDraft};
use super::appointments::{Appointment, AppointmentStatus, TourRequest};
use super::assumptions::{STATUS_WHEN_BOOKED, STATUS_WHEN_CANCELLED, UnknownSource};
use super::card_edit::CardEdit;
use super::cards::{Agent, CardView};
use super::directory::{CommunityIndex, Directory, DirectoryView};
use super::draft::Draft;
use super::fields::Refusal;
use super::held::Held;
use super::ids::Id;
use super::journal::{Journal, Record};
use super::listings::{Listing, ListingDraft};
use super::moment::{Moment, ToldTime};
use super::sources::Sources;
use crate::sandbox::{CallCounts, Error};

/// The switches of `/_sandbox/settings`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) unknown_source: UnknownSource,
}

/// See the module.
pub struct State {
    pub(super) held: Held,
    pub(super) sources: Sources,
    pub(super) settings: Settings,
    journal: Option<Journal>,
}

impl State {
    pub(super) fn open(
        directory: &Directory,
        journal: Option<PathBuf>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let mut held = Held::new(directory, now);
        let journal = journal
            .map(|path| Journal::open(path, directory, &mut held))
            .transpose()?;
        Ok(Self {
            held,
            sources: Sources::new(directory),
            settings: Settings::default(),
            journal,
        })
    }

    pub(super) fn counts(&self, calls: CallCounts) -> Counts {
        Counts {
            prospects: self.held.cards.len(),
            requests: calls.requests,
            updates: self.held.cards.updates(),
            appointments: self.held.appointments.len(),
            activities: self.held.activities.len(),
            listings: self.held.listings.len(),
            changes_at_once_max: calls.changes_at_once_max,
        }
    }

    /// Refuses a source that the community does not have, unless the settings accept it.
    pub(super) fn check_source(
        &self,
        community: CommunityIndex,
        title: &str,
    ) -> Result<(), Refusal> {
        let accepts_any = self.settings.unknown_source == UnknownSource::Accept;
        if accepts_any || self.sources.has(community, title) {
            return Ok(());
        }
        let reason = format!("sourceTitle {title} is not a source of this community");
        Err(Refusal(reason))
    }

    /// Creates or changes a card.
    pub(super) fn put_card(
        &mut self,
        draft: Draft,
        directory: &Directory,
        now: Timestamp,
    ) -> io::Result<Id> {
        let id = self.held.put_card(draft, directory, now);
        self.write(&[Changed::Card(id)])?;
        Ok(id)
    }

    /// Books a tour at a time that was accepted, for the card that the request belongs to. A request that
    /// repeats the tour to come leads to that tour and doubles nothing; any other replaces it.
    pub(super) fn book(
        &mut self,
        request: TourRequest,
        start_time: ToldTime,
        directory: &Directory,
        now: Timestamp,
    ) -> io::Result<Id> {
        let TourRequest {
            mut draft,
            tour_type,
            ..
        } = request;
        let held = &mut self.held;
        let card = held.cards.find_match(&draft);
        let upcoming = card.and_then(|card| held.appointments.upcoming(card, now));
        let is_repeat = upcoming.is_some_and(|upcoming| {
            upcoming.start_time.at == start_time.at && upcoming.tour_type == tour_type
        });
        if is_repeat && let Some(card) = card.and_then(|card| held.cards.get(card)) {
            draft.message.take_if(|message| card.has_message(message));
        }
        let upcoming = upcoming.map(|upcoming| upcoming.id);
        let community_id = draft.community_id.clone();
        let source_title = draft.source_title.clone();
        let message = draft.message.clone();
        let card = held.put_card(draft, directory, now);
        held.cards.set_status(card, STATUS_WHEN_BOOKED, now);
        if let Some(same) = upcoming
            && is_repeat
        {
            self.write(&[Changed::Card(card)])?;
            return Ok(same);
        }
        let mut changed = vec![Changed::Card(card)];
        if let Some(earlier) = upcoming {
            let status = AppointmentStatus::Replaced;
            held.appointments.set_status(earlier, status, now);
            changed.push(Changed::Appointment(earlier));
        }
        let id = held.ids.give();
        held.appointments.put(Appointment {
            id,
            community_id,
            prospect_id: card,
            start_time,
            status: AppointmentStatus::Confirmed,
            tour_type,
            message,
            source_title,
            created_at: Moment(now),
            updated_at: Moment(now),
        });
        changed.push(Changed::Appointment(id));
        self.write(&changed)?;
        Ok(id)
    }

    /// Cancels a tour; one that was cancelled stays as it is. Whether there is such a tour.
    pub(super) fn cancel(&mut self, id: Id, now: Timestamp) -> io::Result<bool> {
        let Some(appointment) = self.held.appointments.get(id) else {
            return Ok(false);
        };
        let (card, before) = (appointment.prospect_id, appointment.status);
        if before == AppointmentStatus::Cancelled {
            return Ok(true);
        }
        let status = AppointmentStatus::Cancelled;
        self.held.appointments.set_status(id, status, now);
        let mut changed = vec![Changed::Appointment(id)];
        // The card of a replaced tour has another one, which stays.
        if before == AppointmentStatus::Confirmed && self.held.cards.get(card).is_some() {
            let status = STATUS_WHEN_CANCELLED;
            self.held.cards.set_status(card, status, now);
            changed.push(Changed::Card(card));
        }
        self.write(&changed)?;
        Ok(true)
    }

    pub(super) fn record(
        &mut self,
        draft: ActivityDraft,
        prospect_id: Id,
        community_id: Box<str>,
        now: Timestamp,
    ) -> io::Result<Id> {
        let id = self.held.ids.give();
        self.held.activities.put(Activity {
            id,
            prospect_id,
            community_id,
            kind: draft.kind,
            agent: draft.agent.map(|username| Agent { username }),
            created_at: Moment(now),
            sent: draft.sent,
        });
        self.write(&[Changed::Activity(id)])?;
        Ok(id)
    }

    /// Creates a listing or changes the one of that url.
    pub(super) fn put_listing(
        &mut self,
        draft: ListingDraft,
        community_id: Box<str>,
        now: Timestamp,
    ) -> io::Result<Id> {
        let earlier = self.held.listings.find(&community_id, &draft.url);
        let earlier = earlier.map(|listing| (listing.id, listing.created_at, listing.updates + 1));
        let (id, created_at, updates) =
            earlier.unwrap_or_else(|| (self.held.ids.give(), Moment(now), 0));
        self.held.listings.put(Listing {
            id,
            community_id,
            title: draft.title,
            url: draft.url,
            publish_date: draft.publish_date,
            is_listed: draft.is_listed,
            created_at,
            updated_at: Moment(now),
            updates,
        });
        self.write(&[Changed::Listing(id)])?;
        Ok(id)
    }

    /// Changes a card that is there, as somebody at Knock would.
    pub(super) fn edit_card(
        &mut self,
        id: Id,
        community: CommunityIndex,
        edit: CardEdit,
        now: Timestamp,
    ) -> io::Result<()> {
        self.held.cards.edit(id, community, edit, now);
        self.write(&[Changed::Card(id)])
    }

    /// Makes a card vanish. Whether there was one.
    pub(super) fn vanish(&mut self, id: Id, directory: &Directory) -> io::Result<bool> {
        if !self.held.cards.remove(id, directory) {
            return Ok(false);
        }
        self.write(&[Changed::Vanished(id)])?;
        Ok(true)
    }

    pub(super) fn reset(&mut self, directory: &Directory) -> io::Result<()> {
        self.held.clear(directory);
        self.sources = Sources::new(directory);
        self.settings = Settings::default();
        match &mut self.journal {
            Some(journal) => journal.reset(self.held.ids.next()),
            None => Ok(()),
        }
    }

    pub(super) fn view<'a>(&'a self, directory: &'a Directory) -> StateView<'a> {
        StateView {
            directory: directory.view(&self.sources),
            prospects: self.held.cards.after(0).map(CardView::new).collect(),
            appointments: self.held.appointments.all().collect(),
            activities: self.held.activities.after(0).collect(),
            listings: self.held.listings.all().collect(),
        }
    }

    /// Takes a card and what belongs to it out of the journal, when there is one.
    pub(super) fn forget_in_journal(&mut self, card: Id) -> io::Result<()> {
        match &mut self.journal {
            Some(journal) => journal.forget(card, self.held.ids.next()),
            None => Ok(()),
        }
    }

    /// Writes what a call changed to the journal, when there is one.
    fn write(&mut self, changed: &[Changed]) -> io::Result<()> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let held = &self.held;
        let records = changed.iter().filter_map(|changed| {
            Some(match *changed {
                Changed::Card(id) => Record::Card(held.cards.get(id)?),
                Changed::Appointment(id) => Record::Appointment(held.appointments.get(id)?),
                Changed::Activity(id) => Record::Activity(held.activities.get(id)?),
                Changed::Listing(id) => Record::Listing(held.listings.get(id)?),
                Changed::Vanished(id) => Record::Vanished(id),
            })
        });
        journal.append(&records.collect::<Vec<_>>())
    }
}

/// What a call changed, by its id.
enum Changed {
    Card(Id),
    Appointment(Id),
    Activity(Id),
    Listing(Id),
    Vanished(Id),
}

#[derive(Serialize)]
pub(super) struct StateView<'a> {
    #[serde(flatten)]
    directory: DirectoryView<'a>,
    prospects: Vec<CardView<'a>>,
    appointments: Vec<&'a Appointment>,
    activities: Vec<&'a Activity>,
    listings: Vec<&'a Listing>,
}
