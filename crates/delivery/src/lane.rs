//! One integration's way out: how many calls it may have, and when.
//!
//! Guarantee: says for any instant how many writes may be claimed, or when to ask again; knows nothing of other lanes.

use model::{Timestamp, write::Class};

use crate::{
    breaker::{Allows, Breaker},
    pace::Pace,
};

/// One integration's way out.
#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) in_flight: u32,
    /// When its next ready write is due, as far as known.
    pub(crate) due_at: Option<Timestamp>,
    breaker: Breaker,
    pace: Pace,
    /// The vendor asked to be left alone until then.
    paused_until: Option<Timestamp>,
}

/// What a lane may have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// So many writes, now.
    Claim(u32),
    /// Nothing before then.
    At(Timestamp),
    /// Nothing until something is signalled or comes back.
    Idle,
}

impl Lane {
    pub(crate) fn turn(&self, now: Timestamp, concurrency: u32, per_minute: Option<u32>) -> Turn {
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
        match self.pace.room(now, per_minute, wanted) {
            Ok(room) => Turn::Claim(room),
            Err(next) => Turn::At(next),
        }
    }

    pub(crate) fn began(&mut self, now: Timestamp, per_minute: Option<u32>, count: u32) {
        if count > 0 && self.breaker.allows(now) == Allows::Probe {
            self.breaker.probe_sent();
        }
        self.in_flight += count;
        self.pace.began(now, per_minute, count);
    }

    pub(crate) fn ended(
        &mut self,
        now: Timestamp,
        class: Class,
        retry_after_ms: Option<u64>,
        seed: u64,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match class {
            Class::Delivered | Class::Rejected => self.breaker.succeeded(),
            Class::Retry | Class::Unknown | Class::Unauthorized => self.breaker.failed(now, seed),
        }
        if let Some(asked) = retry_after_ms {
            let until = now.plus_millis(
                i64::try_from(asked.min(crate::schedule::RETRY_AFTER_MAX_MS)).unwrap_or(i64::MAX),
            );
            self.paused_until = self.paused_until.max(Some(until));
        }
    }

    /// Something of this lane is due at `at`.
    pub(crate) fn signal(&mut self, at: Timestamp) {
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }
}
