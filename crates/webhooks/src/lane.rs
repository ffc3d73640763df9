//! The way out to one subscriber: how many deliveries it may have, and when.
//!
//! Guarantee: says for any instant how many may be claimed, or when to ask again; knows nothing of other subscribers. One that fails again and again is left
//! alone and asked now and then, so that a dead receiver costs others nothing and its events keep their tries.

use delivery::breaker::{Allows, Breaker};
use model::Timestamp;

/// The longest that one answer's `Retry-After` keeps the other deliveries back. The one that was told waits as long as it was told.
const PAUSE_MAX_MS: u64 = 60 * 60_000;

/// The way out to one subscriber.
#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) in_flight: u32,
    /// When its next ready delivery is due, as far as known.
    pub(crate) due_at: Option<Timestamp>,
    breaker: Breaker,
    /// The receiver asked to be left alone until then.
    paused_until: Option<Timestamp>,
}

/// What a lane may have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// So many deliveries, now.
    Claim(u32),
    /// Nothing before then.
    At(Timestamp),
    /// Nothing until something is signalled or comes back.
    Idle,
}

impl Lane {
    pub(crate) fn turn(&self, now: Timestamp, concurrency: u32) -> Turn {
        let Some(due_at) = self.due_at else {
            return Turn::Idle;
        };
        let not_before = self.paused_until.map_or(due_at, |until| until.max(due_at));
        if not_before > now {
            return Turn::At(not_before);
        }
        let free = concurrency.saturating_sub(self.in_flight);
        let wanted = match self.breaker.allows(now) {
            Allows::All => free,
            Allows::Probe => free.min(1),
            Allows::NothingBefore(until) => return Turn::At(until),
            Allows::NothingYet => 0,
        };
        if wanted == 0 {
            return Turn::Idle;
        }
        Turn::Claim(wanted)
    }

    pub(crate) fn began(&mut self, now: Timestamp, count: u32) {
        if count > 0 && self.breaker.allows(now) == Allows::Probe {
            self.breaker.probe_sent();
        }
        self.in_flight += count;
    }

    /// One delivery is back.
    pub(crate) fn ended(
        &mut self,
        now: Timestamp,
        is_taken: bool,
        retry_after_ms: Option<u64>,
        seed: u64,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if is_taken {
            self.breaker.succeeded();
        } else {
            self.breaker.failed(now, seed);
        }
        if let Some(asked) = retry_after_ms {
            let until = now.plus_millis(i64::try_from(asked.min(PAUSE_MAX_MS)).unwrap_or(i64::MAX));
            self.paused_until = self.paused_until.max(Some(until));
        }
    }

    /// Begins anew: its subscription was changed.
    pub(crate) fn forgive(&mut self) {
        self.breaker = Breaker::default();
        self.paused_until = None;
    }

    /// Something of this lane is due at `at`.
    pub(crate) fn signal(&mut self, at: Timestamp) {
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

    #[test]
    fn a_lane_has_what_is_due_within_its_concurrency() {
        let mut lane = Lane::default();
        assert_eq!(lane.turn(START, 4), Turn::Idle, "nothing is due");
        lane.signal(START.plus_millis(10));
        assert_eq!(lane.turn(START, 4), Turn::At(START.plus_millis(10)));
        lane.signal(START);
        assert_eq!(lane.turn(START, 4), Turn::Claim(4));
        lane.began(START, 4);
        assert_eq!(lane.turn(START, 4), Turn::Idle);
        lane.ended(START, true, None, 0);
        assert_eq!(lane.turn(START, 4), Turn::Claim(1));
    }

    #[test]
    fn a_dead_receiver_is_asked_now_and_then() {
        let mut lane = Lane::default();
        lane.signal(START);
        for _ in 0..100 {
            lane.began(START, 1);
            lane.ended(START, false, None, 0);
        }
        assert!(matches!(lane.turn(START, 4), Turn::At(_)));
        let later = START.plus_millis(3_600_000);
        assert_eq!(lane.turn(later, 4), Turn::Claim(1), "to see");
        lane.began(later, 1);
        assert_eq!(lane.turn(later, 4), Turn::Idle, "until that is back");
        lane.ended(later, true, None, 0);
        assert_eq!(lane.turn(later, 4), Turn::Claim(4));
    }

    #[test]
    fn a_receiver_is_left_alone_as_long_as_it_asked() {
        let mut lane = Lane::default();
        lane.signal(START);
        lane.began(START, 1);
        lane.ended(START, false, Some(60_000), 0);
        assert_eq!(lane.turn(START, 4), Turn::At(START.plus_millis(60_000)));
        lane.forgive();
        assert_eq!(lane.turn(START, 4), Turn::Claim(4));
    }
}
