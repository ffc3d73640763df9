//! The tours: what is asked for, what was booked, and what becomes of it.
//!
//! Guarantee: a card has at most one tour that is confirmed and still to come; no tour is ever forgotten.

use std::collections::BTreeMap;

use model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::assumptions::{TOUR_TYPE_IF_ABSENT, TOUR_TYPES};
use super::directory::Directory;
use super::draft::Draft;
use super::fields::{Fields, Refusal, needed};
use super::ids::Id;
use super::moment::{Moment, ToldTime, instant};

type Text = Box<str>;

/// The body of `POST /appointment/request`, checked, but for whether there are tours at that time.
pub(super) struct TourRequest {
    pub(super) draft: Draft,
    pub(super) start: jiff::Timestamp,
    pub(super) tour_type: Text,
}

impl TourRequest {
    pub(super) fn read(
        members: &mut Map<String, Value>,
        directory: &Directory,
    ) -> Result<Self, Refusal> {
        let mut fields = Fields(members);
        let draft = Draft::read_of_tour(&mut fields, directory)?;
        let start = fields.first("requestedTimes", |time| {
            needed("startTime", time.time("startTime")?)
        })?;
        let tour_type = fields.word("tourType", &TOUR_TYPES)?;
        Ok(Self {
            draft,
            start: needed("requestedTimes", start)?.at,
            tour_type: tour_type.unwrap_or_else(|| TOUR_TYPE_IF_ABSENT.into()),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum AppointmentStatus {
    Confirmed,
    Cancelled,
    Replaced,
}

/// A tour. Also the shape of its line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Appointment {
    pub(super) id: Id,
    pub(super) community_id: Text,
    pub(super) prospect_id: Id,
    /// As the community's clocks tell it.
    pub(super) start_time: ToldTime,
    pub(super) status: AppointmentStatus,
    pub(super) tour_type: Text,
    pub(super) message: Option<Text>,
    pub(super) source_title: Text,
    pub(super) created_at: Moment,
    pub(super) updated_at: Moment,
}

#[derive(Default)]
pub(super) struct Appointments {
    by_id: BTreeMap<u64, Appointment>,
    /// The newest of each card. Only that one can be confirmed and still to come, because a new one replaces
    /// the one that was.
    newest_of: BTreeMap<u64, Id>,
}

impl Appointments {
    pub(super) fn len(&self) -> u64 {
        self.by_id.len() as u64
    }

    pub(super) fn get(&self, id: Id) -> Option<&Appointment> {
        self.by_id.get(&id.0)
    }

    /// Oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Appointment> {
        self.by_id.values()
    }

    /// Adds a tour, or puts a later version in its place.
    pub(super) fn put(&mut self, appointment: Appointment) {
        let id = appointment.id;
        let newest = self.newest_of.entry(appointment.prospect_id.0);
        let newest = newest.or_insert(id);
        *newest = id.max(*newest);
        self.by_id.insert(id.0, appointment);
    }

    /// The tour of that card which is confirmed and still to come.
    pub(super) fn upcoming(&self, prospect: Id, now: Timestamp) -> Option<&Appointment> {
        let newest = self.get(*self.newest_of.get(&prospect.0)?)?;
        let is_upcoming =
            newest.status == AppointmentStatus::Confirmed && newest.start_time.at > instant(now);
        is_upcoming.then_some(newest)
    }

    /// Forgets every tour of a card.
    pub(super) fn forget(&mut self, card: Id) {
        self.newest_of.remove(&card.0);
        self.by_id.retain(|_, tour| tour.prospect_id != card);
    }

    /// Does nothing when there is no such tour.
    pub(super) fn set_status(&mut self, id: Id, status: AppointmentStatus, now: Timestamp) {
        if let Some(appointment) = self.by_id.get_mut(&id.0) {
            appointment.status = status;
            appointment.updated_at = Moment(now);
        }
    }
}
