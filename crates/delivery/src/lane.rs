//! One integration's way out: how many calls it may have, and when.
//!
//! Guarantee: says for any instant how many writes may be claimed, or when to ask again; knows nothing of other lanes. Synchronisation takes what writes
//! leave: it waits while one is due, and what it takes is never taken from the pace of writes. So over any minute there may be, beside the limit, a bucket
//! of each.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::{IntegrationId, Timestamp, write::Class};

use crate::{
    pace::Pace,
    way::{Turn, Way},
};

/// How long synchronisation waits before it asks again whether writes leave room.
const SYNC_YIELD_MS: i64 = 50;

/// The longest that one answer's `Retry-After` keeps the other writes of its integration back. The write that was told waits as long as it was told.
const PAUSE_MAX_MS: u64 = 5 * 60_000;

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
    pace: Pace,
    /// The pace of everything: what synchronisation may take is what this leaves.
    sync_pace: Pace,
}

impl Lane {
    pub(crate) fn turn(&self, now: Timestamp, concurrency: u32, gap_micros: Option<i64>) -> Turn {
        match self.way.turn(now, concurrency) {
            Turn::Claim(wanted) => self
                .pace
                .room(now, gap_micros, wanted)
                .map_or_else(Turn::At, Turn::Claim),
            turn => turn,
        }
    }

    pub(crate) fn began(&mut self, now: Timestamp, gap_micros: Option<i64>, count: u32) {
        self.way.began(now, count);
        self.pace.began(now, gap_micros, count);
        self.sync_pace.began(now, gap_micros, count);
    }

    /// Whether synchronisation may make one call now, which then counts as begun; else when to ask again.
    pub(crate) fn sync_turn(
        &mut self,
        now: Timestamp,
        gap_micros: Option<i64>,
    ) -> Result<(), Timestamp> {
        // While writes leave no room, or one of them has to find out whether the vendor is back.
        self.way.spare(now, now.plus_millis(SYNC_YIELD_MS))?;
        self.sync_pace.room(now, gap_micros, 1)?;
        self.sync_pace.began(now, gap_micros, 1);
        Ok(())
    }

    pub(crate) fn ended(
        &mut self,
        now: Timestamp,
        class: Class,
        retry_after_ms: Option<u64>,
        seed: u64,
    ) {
        let works = match class {
            Class::Delivered | Class::Rejected => true,
            Class::Retry | Class::Unknown | Class::Unauthorized => false,
        };
        let pause_ms = retry_after_ms.map(|asked| asked.min(PAUSE_MAX_MS));
        self.way.ended(now, works, pause_ms, seed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

    #[test]
    fn synchronisation_takes_what_writes_leave_and_nothing_of_theirs() {
        let mut lane = Lane::default();
        let limit = Some(1_000_000);
        assert_eq!(lane.sync_turn(START, limit), Ok(()));
        let next = START.plus_millis(1_000);
        assert_eq!(lane.sync_turn(START, limit), Err(next), "its own pace");
        // A write that comes now goes now, though synchronisation has just had a call.
        lane.way.signal(START);
        assert_eq!(lane.turn(START, 8, limit), Turn::Claim(1));
        assert!(lane.sync_turn(next, limit).is_err(), "a write is due");
        lane.way.due_at = None;
        lane.began(next, limit, 1);
        assert!(
            lane.sync_turn(next, limit).is_err(),
            "the write had this turn"
        );
        assert_eq!(lane.sync_turn(next.plus_millis(1_000), limit), Ok(()));
        assert_eq!(lane.sync_turn(START, None), Ok(()), "without a limit");
    }

    #[test]
    fn synchronisation_leaves_a_vendor_in_trouble_alone() {
        let mut lane = Lane::default();
        for _ in 0..100 {
            lane.began(START, None, 1);
            lane.ended(START, Class::Retry, None, 0);
        }
        let later = START.plus_millis(3_600_000);
        assert!(lane.sync_turn(START, None).is_err());
        assert!(
            lane.sync_turn(later, None).is_err(),
            "until a write went through"
        );
        lane.began(later, None, 1);
        lane.ended(later, Class::Delivered, None, 0);
        assert_eq!(lane.sync_turn(later, None), Ok(()));
        lane.ended(later, Class::Delivered, Some(5_000), 0);
        assert_eq!(lane.sync_turn(later, None), Err(later.plus_millis(5_000)));
    }
}
