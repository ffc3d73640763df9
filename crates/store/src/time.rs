//! Wall time and steady time, as the store needs them.
//!
//! Due times, leases, paces and pauses are kept in steady time ([`Clock::steady`]), stamps in wall
//! time. A caller passes the one that the method names; the other one is derived here. Without a
//! clock (a test of the store alone, a command that delivers nothing) both are the same.
//! Guarantee: no stored due time depends on the wall time, so a clock that is set moves nothing.

use std::sync::{Arc, OnceLock};

use model::{Clock, Timestamp};

/// The clock that the process keeps, once it has one.
#[derive(Clone, Default)]
pub struct Time(Arc<OnceLock<Arc<dyn Clock>>>);

impl Time {
    /// Goes by `clock` from now on. The first clock stays.
    pub fn keep(&self, clock: Arc<dyn Clock>) {
        let _ = self.0.set(clock);
    }

    /// The clock, if there is one.
    pub(crate) fn clock(&self) -> Option<&dyn Clock> {
        self.0.get().map(|clock| &**clock)
    }

    /// The steady time of something that is due at once; `now` is the wall time.
    pub(crate) fn at_once(&self, now: Timestamp) -> Timestamp {
        self.clock().map_or(now, Clock::steady)
    }

    /// The settled time; `now` is the wall time.
    pub(crate) fn settled(&self, now: Timestamp) -> Timestamp {
        self.clock().map_or(now, Clock::settled)
    }

    /// The wall time at an instant of steady time, as far as it can be known now.
    pub(crate) fn wall(&self, steady: Timestamp) -> Timestamp {
        self.clock().map_or(steady, |clock| {
            let apart = clock.now().as_micros() - clock.steady().as_micros();
            Timestamp::from_micros(steady.as_micros().saturating_add(apart))
        })
    }
}
