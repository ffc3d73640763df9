//! One integration's way out, as this process knows it.
//!
//! Guarantee: says for any instant how many writes may be asked for, or when to ask; knows nothing of other lanes. How fast the vendor is called and how many calls are under way over
//! all processes is the store's to know: here is what the store said of that, so that it is not asked in vain. Whether the vendor is dead each process finds out for itself.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::{IntegrationId, Timestamp, write::Class};

use crate::way::{Turn, Way};

/// How long synchronisation waits before it asks again whether writes leave room.
const SYNC_YIELD_MS: i64 = 50;

/// The longest that one answer's `Retry-After` keeps the other writes of its integration back. The write that was told waits as long as it was told.
const PAUSE_MAX_MS: u64 = 5 * 60_000;

/// The longest that the store is not asked for a lane.
const CLOSED_MAX_MS: i64 = 60_000;

/// For how long an answer's `Retry-After` keeps the other writes of its integration back.
pub(crate) fn pause_ms(retry_after_ms: Option<u64>) -> Option<u64> {
    retry_after_ms.map(|asked| asked.min(PAUSE_MAX_MS))
}

/// The ways out of all integrations, shared by who sends writes and who synchronises.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<IntegrationId, Lane>>);

impl Lanes {
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<IntegrationId, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One integration's way out.
#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) way: Way,
    /// The store gives nothing before then, whatever is due.
    closed_until: Option<Timestamp>,
    /// When it was given writes last.
    pub(crate) served_at: Timestamp,
    /// Outcomes that are being recorded. Their writes still count as under a lease.
    recording: u32,
    /// The store was asked while there were some, so that it may have taken the lane for full.
    is_seen_full: bool,
    /// The change of the integration since which all this is known.
    since: Timestamp,
}

impl Lane {
    /// The integration is as it was last changed at `updated_at`: after a change the lane begins anew, for it may lead elsewhere, or be mended.
    pub(crate) fn follow(&mut self, updated_at: Timestamp) {
        if self.since != updated_at {
            self.since = updated_at;
            self.way.forgive();
            self.closed_until = None;
        }
    }

    pub(crate) fn turn(&self, now: Timestamp, concurrency: u32) -> Turn {
        match (self.way.turn(now, concurrency), self.closed_until) {
            (Turn::Claim(_), Some(until)) if until > now => Turn::At(until),
            (turn, _) => turn,
        }
    }

    /// The store said at `now` when the next is due, and that it gives nothing before `not_before`. It is asked again after a while in any case: what it went by may have been mended.
    pub(crate) fn told(
        &mut self,
        now: Timestamp,
        next_due_at: Option<Timestamp>,
        not_before: Option<Timestamp>,
    ) {
        self.closed_until = not_before.map(|at| at.min(now.plus_millis(CLOSED_MAX_MS)));
        self.is_seen_full = self.closed_until.is_some() && self.recording > 0;
        if let Some(next_due_at) = next_due_at {
            self.way.signal(next_due_at);
        }
    }

    /// Whether synchronisation may ask the store for a call now; else when to look again: while writes leave no room, or one of them has to find out whether the vendor is back.
    pub(crate) fn sync_turn(&self, now: Timestamp) -> Result<(), Timestamp> {
        self.way.spare(now, now.plus_millis(SYNC_YIELD_MS))
    }

    pub(crate) fn ended(&mut self, now: Timestamp, class: Class, pause_ms: Option<u64>, seed: u64) {
        let works = match class {
            Class::Delivered | Class::Rejected => true,
            Class::Retry | Class::Unknown | Class::Unauthorized => false,
        };
        self.recording = self.recording.saturating_add(1);
        self.way.ended(now, works, pause_ms, seed);
    }

    /// The outcome of a call that has ended is recorded: its place is free in the store too.
    pub(crate) const fn recorded(&mut self) {
        self.recording = self.recording.saturating_sub(1);
        if self.is_seen_full {
            self.is_seen_full = false;
            self.closed_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

    #[test]
    fn a_lane_that_the_store_keeps_closed_is_not_asked_for_in_vain() {
        let mut lane = Lane::default();
        lane.way.signal(START);
        assert_eq!(lane.turn(START, 8), Turn::Claim(8));
        lane.way.due_at = None;
        let soon = START.plus_millis(250);
        lane.told(START, Some(START), Some(soon));
        lane.way.began(START, 2);
        // Whatever is signalled meanwhile.
        lane.way.signal(START);
        assert_eq!(lane.turn(START, 8), Turn::At(soon));
        assert_eq!(lane.turn(soon, 8), Turn::Claim(6));
        lane.way.due_at = None;
        lane.told(soon, Some(START), None);
        assert_eq!(lane.turn(soon, 8), Turn::Claim(6));
        // When its own calls fill it, their end opens it.
        lane.way.began(soon, 6);
        assert_eq!(lane.turn(soon, 8), Turn::Idle);
        lane.ended(soon, Class::Delivered, None, 0);
        assert_eq!(lane.turn(soon, 8), Turn::Claim(1));
    }

    #[test]
    fn a_lane_that_its_own_outcomes_filled_is_asked_for_again_when_they_are_recorded() {
        let mut lane = Lane::default();
        lane.way.signal(START);
        lane.way.began(START, 8);
        lane.ended(START, Class::Delivered, None, 0);
        lane.way.due_at = None;
        let soon = START.plus_millis(250);
        lane.told(START, Some(START), Some(soon));
        assert_eq!(lane.turn(START, 8), Turn::At(soon));
        lane.recorded();
        assert_eq!(lane.turn(START, 8), Turn::Claim(1));
        // What keeps it back for another reason goes on to.
        lane.way.due_at = None;
        lane.told(START, Some(START), Some(soon));
        lane.recorded();
        assert_eq!(lane.turn(START, 8), Turn::At(soon));
    }

    #[test]
    fn what_is_known_of_an_integration_is_forgotten_when_it_changes() {
        let mut lane = Lane::default();
        lane.follow(START);
        lane.way.signal(START);
        for _ in 0..100 {
            lane.told(START, Some(START), Some(START.plus_millis(9_000)));
            lane.way.began(START, 1);
            lane.ended(START, Class::Unauthorized, Some(9_000), 0);
        }
        lane.follow(START);
        assert!(matches!(lane.turn(START, 8), Turn::At(_)));
        lane.follow(START.plus_millis(1));
        assert_eq!(lane.turn(START, 8), Turn::Claim(8));
    }

    #[test]
    fn synchronisation_waits_for_what_is_due() {
        let mut lane = Lane::default();
        assert_eq!(lane.sync_turn(START), Ok(()));
        lane.way.signal(START.plus_millis(1));
        assert_eq!(lane.sync_turn(START), Ok(()));
        lane.way.signal(START);
        assert_eq!(
            lane.sync_turn(START),
            Err(START.plus_millis(SYNC_YIELD_MS)),
            "a write is due"
        );
    }

    #[test]
    fn synchronisation_leaves_a_vendor_in_trouble_alone() {
        let mut lane = Lane::default();
        for _ in 0..100 {
            lane.way.began(START, 1);
            lane.ended(START, Class::Retry, None, 0);
        }
        let later = START.plus_millis(3_600_000);
        assert!(lane.sync_turn(START).is_err());
        assert!(lane.sync_turn(later).is_err(), "until a write went through");
        lane.way.began(later, 1);
        lane.ended(later, Class::Delivered, None, 0);
        assert_eq!(lane.sync_turn(later), Ok(()));
        lane.ended(later, Class::Delivered, Some(5_000), 0);
        assert_eq!(lane.sync_turn(later), Err(later.plus_millis(5_000)));
    }

    #[test]
    fn a_pause_is_bounded() {
        assert_eq!(pause_ms(None), None);
        assert_eq!(pause_ms(Some(7)), Some(7));
        assert_eq!(pause_ms(Some(u64::MAX)), Some(PAUSE_MAX_MS));
    }
}
