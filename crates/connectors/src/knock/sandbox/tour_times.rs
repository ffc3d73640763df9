//! When a community gives tours: its opening hours, told by the clocks of its own zone.
//!
//! Guarantee: what is offered is accepted and nothing else is, but for how far ahead each of them looks;
//! every time is told with the offset that its zone has at that instant.

use jiff::civil::{DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp as Instant};
use model::Timestamp;

use super::assumptions::{MOST_DAYS_AHEAD, OFFERED_DAYS};
use super::fields::Refusal;
use super::moment::{ToldTime, instant};
use super::seed::{SeedCommunity, SeedHours};
use crate::sandbox::Error;

/// The longest step from one slot to the next, in minutes: a day.
const MOST_SLOT_MINUTES: u32 = 24 * 60;

pub(super) struct TourTimes {
    zone: TimeZone,
    hours: SeedHours,
}

impl TourTimes {
    pub(super) fn new(community: &SeedCommunity) -> Result<Self, Error> {
        let (id, name) = (&community.id, &community.timezone);
        let wrong = |reason: &str| Error::Seed(format!("community {id} {reason}"));
        let zone = TimeZone::get(name)
            .map_err(|_| wrong(&format!("is in {name}, which is no IANA time zone")))?;
        let hours = community.hours.clone();
        if hours.first > hours.last {
            return Err(wrong("has its last slot before its first"));
        }
        if !(1..=MOST_SLOT_MINUTES).contains(&hours.slot_minutes) {
            return Err(wrong(&format!(
                "must have a slot every 1 to {MOST_SLOT_MINUTES} minutes"
            )));
        }
        Ok(Self { zone, hours })
    }

    /// The slots after `now` and within [`OFFERED_DAYS`], oldest first.
    pub(super) fn offered(&self, now: Timestamp) -> Vec<ToldTime> {
        let now = instant(now);
        let until = days_after(now, OFFERED_DAYS);
        let today = self.zone.to_datetime(now).date();
        let days = std::iter::successors(Some(today), |day| day.tomorrow().ok());
        let starts = days
            .flat_map(|day| self.slots().map(move |slot| day.to_datetime(slot)))
            .filter_map(|local| self.start_of(local));
        starts
            .skip_while(|&start| start <= now)
            .take_while(|&start| start <= until)
            .map(|start| ToldTime::in_zone(start, &self.zone))
            .collect()
    }

    /// The requested time as the community's clocks tell it.
    pub(super) fn accept(&self, start: Instant, now: Timestamp) -> Result<ToldTime, Refusal> {
        let now = instant(now);
        if start <= now {
            return Err(Refusal("the requested time is in the past".to_owned()));
        }
        let unavailable = |reason: &str| {
            Err(Refusal(format!(
                "the requested time is not available: {reason}"
            )))
        };
        if start > days_after(now, MOST_DAYS_AHEAD) {
            return unavailable(&format!("it is more than {MOST_DAYS_AHEAD} days ahead"));
        }
        let local = self.zone.to_datetime(start);
        let is_slot = self.slots().any(|slot| slot == local.time());
        if !is_slot || self.start_of(local) != Some(start) {
            let SeedHours {
                first,
                last,
                slot_minutes,
            } = &self.hours;
            return unavailable(&format!(
                "tours begin every {slot_minutes} minutes from {first} to {last} of the community's own time"
            ));
        }
        Ok(ToldTime::in_zone(start, &self.zone))
    }

    fn slots(&self) -> impl Iterator<Item = Time> {
        let step = SignedDuration::from_mins(i64::from(self.hours.slot_minutes));
        let last = self.hours.last;
        std::iter::successors(Some(self.hours.first), move |slot| {
            slot.checked_add(step).ok()
        })
        .take_while(move |slot| *slot <= last)
    }

    /// When the community's clocks show that time. None when they skip it; the first time when they show
    /// it twice.
    fn start_of(&self, local: DateTime) -> Option<Instant> {
        let offset = match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Fold { before, .. } => before,
            AmbiguousOffset::Gap { .. } => return None,
        };
        offset.to_timestamp(local).ok()
    }
}

/// Days of 24 hours, whatever the clocks do meanwhile.
fn days_after(from: Instant, days: u32) -> Instant {
    let hours = SignedDuration::from_hours(24 * i64::from(days));
    from.checked_add(hours).unwrap_or(Instant::MAX)
}
