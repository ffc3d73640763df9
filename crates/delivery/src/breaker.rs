//! A breaker: a vendor that fails again and again is left alone, and asked now and then whether it is back.
//!
//! Guarantee: while open nothing is sent; when half open, one probe at a time; one success closes it.

use model::Timestamp;

/// Failures in a row that open it: so many that a vendor failing three calls in ten opens it about once in a hundred million calls.
const FAILURES_TO_OPEN: u32 = 15;

/// How long it stays open the first time.
const OPEN_FIRST_MS: u64 = 500;

/// How long it stays open at most.
const OPEN_MAX_MS: u64 = 60_000;

/// What the breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allows {
    /// Everything.
    All,
    /// One call, to see.
    Probe,
    /// Nothing before then.
    NothingBefore(Timestamp),
    /// Nothing until the probe under way is back.
    NothingYet,
}

/// The breaker of one integration.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    failures: u32,
    /// How often it opened without a success in between.
    openings: u32,
    open_until: Option<Timestamp>,
    probing: bool,
}

impl Breaker {
    /// What may be sent at `now`.
    pub fn allows(&self, now: Timestamp) -> Allows {
        match self.open_until {
            None => Allows::All,
            Some(_) if self.probing => Allows::NothingYet,
            Some(until) if now < until => Allows::NothingBefore(until),
            Some(_) => Allows::Probe,
        }
    }

    /// A probe was sent.
    pub fn probe_sent(&mut self) {
        self.probing = true;
    }

    /// The probe was not sent after all.
    pub fn probe_put_back(&mut self) {
        self.probing = false;
    }

    /// The vendor answered for itself: it took a write, or refused one for a reason.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A call failed for a reason that concerns the vendor, not the write. `seed` jitters how long it stays open.
    pub fn failed(&mut self, now: Timestamp, seed: u64) {
        self.failures = self.failures.saturating_add(1);
        let was_probe = std::mem::take(&mut self.probing);
        if was_probe || (self.open_until.is_none() && self.failures >= FAILURES_TO_OPEN) {
            let bound = OPEN_FIRST_MS
                .saturating_mul(1 << self.openings.min(20))
                .min(OPEN_MAX_MS);
            self.openings = self.openings.saturating_add(1);
            // Half of it fixed, half drawn: never at once, and not all breakers together.
            let open_ms = bound / 2 + seed % (bound / 2 + 1);
            self.open_until = Some(now.plus_millis(i64::try_from(open_ms).unwrap_or(i64::MAX)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_probes_and_closes() {
        let (start, later) = (Timestamp::ZERO, Timestamp::ZERO.plus_millis(600_000));
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES_TO_OPEN {
            breaker.failed(start, 0);
            assert_eq!(breaker.allows(start), Allows::All);
        }
        breaker.failed(start, 0);
        assert_eq!(
            breaker.allows(start),
            Allows::NothingBefore(start.plus_millis(250))
        );
        assert_eq!(breaker.allows(later), Allows::Probe);
        breaker.probe_sent();
        assert_eq!(breaker.allows(later), Allows::NothingYet);
        breaker.failed(later, 0);
        assert_eq!(
            breaker.allows(later),
            Allows::NothingBefore(later.plus_millis(500))
        );
        breaker.probe_sent();
        breaker.succeeded();
        assert_eq!(breaker.allows(later), Allows::All);
    }

    #[test]
    fn stays_open_a_minute_at_most() {
        let mut breaker = Breaker::default();
        for _ in 0..1_000 {
            breaker.probe_sent();
            breaker.failed(Timestamp::ZERO, u64::MAX);
        }
        assert!(
            matches!(breaker.allows(Timestamp::ZERO), Allows::NothingBefore(until) if until <= Timestamp::ZERO.plus_millis(60_000))
        );
    }

    #[test]
    fn calls_that_were_under_way_when_it_opened_do_not_open_it_further() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            breaker.failed(Timestamp::ZERO, 0);
        }
        assert_eq!(
            breaker.allows(Timestamp::ZERO),
            Allows::NothingBefore(Timestamp::ZERO.plus_millis(250))
        );
    }
}
