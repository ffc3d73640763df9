//! The way out to one place that is called, a vendor or a receiver of events: what is due there, what is under way, and whether it is to be left alone.
//!
//! Guarantee: says for any instant how much may be claimed, or when to ask again; knows nothing of other places. One that fails again and again is left
//! alone and asked now and then, so that a dead one costs others nothing and what waits for it keeps its tries.

use model::Timestamp;

use crate::breaker::{Allows, Breaker};

/// The way out to one place.
#[derive(Default)]
pub struct Way {
    /// Calls under way.
    pub in_flight: u32,
    /// When the next is due, as far as known.
    pub due_at: Option<Timestamp>,
    breaker: Breaker,
    /// It asked to be left alone until then.
    paused_until: Option<Timestamp>,
}

/// What may be claimed.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// So much, now.
    Claim(u32),
    /// Nothing before then.
    At(Timestamp),
    /// Nothing until something is signalled or comes back.
    Idle,
}

impl Way {
    /// What may be claimed at `now`, with `concurrency` calls under way at most.
    pub fn turn(&self, now: Timestamp, concurrency: u32) -> Turn {
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

    /// `count` calls began at `now`.
    pub fn began(&mut self, now: Timestamp, count: u32) {
        if count > 0 && self.breaker.allows(now) == Allows::Probe {
            self.breaker.probe_sent();
        }
        self.in_flight += count;
    }

    /// A call is back: whether the place works, and for how long it asked to be left alone. `seed` jitters how long it is left alone when it does not.
    pub fn ended(&mut self, now: Timestamp, works: bool, pause_ms: Option<u64>, seed: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if works {
            self.breaker.succeeded();
        } else {
            self.breaker.failed(now, seed);
        }
        if let Some(asked) = pause_ms {
            let until = now.plus_millis(i64::try_from(asked).unwrap_or(i64::MAX));
            self.paused_until = self.paused_until.max(Some(until));
        }
    }

    /// A call that had begun was not made.
    pub(crate) fn put_back(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.breaker.probe_put_back();
    }

    /// Whether a call may be made that can wait for those that are due; else when to ask again, which is `later` while one is due or has to find out whether the place is back.
    pub(crate) fn spare(&self, now: Timestamp, later: Timestamp) -> Result<(), Timestamp> {
        if self.due_at.is_some_and(|due_at| due_at <= now) {
            return Err(later);
        }
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return Err(until);
        }
        match self.breaker.allows(now) {
            Allows::All => Ok(()),
            Allows::NothingBefore(until) => Err(until),
            Allows::Probe | Allows::NothingYet => Err(later),
        }
    }

    /// Whether what is due waits because of the place: it asked to be left alone, or it keeps failing.
    pub fn is_held_up(&self, now: Timestamp) -> bool {
        self.paused_until.is_some_and(|until| until > now)
            || self.breaker.allows(now) != Allows::All
    }

    /// Begins anew: it leads elsewhere now, or was mended.
    pub fn forgive(&mut self) {
        self.breaker = Breaker::default();
        self.paused_until = None;
    }

    /// Something is due at `at`.
    pub fn signal(&mut self, at: Timestamp) {
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

    #[test]
    fn a_way_has_what_is_due_within_its_concurrency() {
        let mut way = Way::default();
        assert_eq!(way.turn(START, 4), Turn::Idle, "nothing is due");
        way.signal(START.plus_millis(10));
        assert_eq!(way.turn(START, 4), Turn::At(START.plus_millis(10)));
        way.signal(START);
        assert_eq!(way.turn(START, 4), Turn::Claim(4));
        way.began(START, 4);
        assert_eq!(way.turn(START, 4), Turn::Idle);
        way.ended(START, true, None, 0);
        assert_eq!(way.turn(START, 4), Turn::Claim(1));
    }

    #[test]
    fn a_dead_place_is_asked_now_and_then() {
        let mut way = Way::default();
        way.signal(START);
        for _ in 0..100 {
            way.began(START, 1);
            way.ended(START, false, None, 0);
        }
        assert!(matches!(way.turn(START, 4), Turn::At(_)));
        let later = START.plus_millis(3_600_000);
        assert_eq!(way.turn(later, 4), Turn::Claim(1), "to see");
        way.began(later, 1);
        assert_eq!(way.turn(later, 4), Turn::Idle, "until that is back");
        way.ended(later, true, None, 0);
        assert_eq!(way.turn(later, 4), Turn::Claim(4));
    }

    #[test]
    fn a_place_is_left_alone_as_long_as_it_asked() {
        let mut way = Way::default();
        way.signal(START);
        way.began(START, 1);
        way.ended(START, false, Some(60_000), 0);
        assert_eq!(way.turn(START, 4), Turn::At(START.plus_millis(60_000)));
        way.forgive();
        assert_eq!(way.turn(START, 4), Turn::Claim(4));
    }
}
