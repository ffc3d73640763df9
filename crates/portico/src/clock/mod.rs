//! The clock of a server: wall time, steady time and settled time.
//!
//! Guarantee: nobody who sets the machine's clock moves steady time, and no jump ahead makes
//! anything old before [`keeper`] knows that it is confirmed.

pub(crate) mod keeper;
pub(crate) mod machine;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use model::{Clock, Timestamp};
use store::clock::Dial;

/// The longest sleep at once. The runtime's timer stands still while the machine sleeps, steady
/// time does not.
const SLEEP_MAX: Duration = Duration::from_secs(5);

/// A server's clock.
pub(crate) struct ServerClock {
    face: Mutex<Face>,
    /// True if wall time is the database's, too, so that nodes whose clocks differ agree.
    is_shared: bool,
}

struct Face {
    dial: Dial,
    /// Steady time when the machine was started, in microseconds.
    offset_micros: i64,
    /// The last steady time that was told: it never goes back.
    told: Timestamp,
}

impl Face {
    fn steady(&mut self) -> Timestamp {
        let micros = machine::uptime_micros().saturating_add(self.offset_micros);
        self.told = self.told.max(Timestamp::from_micros(micros));
        self.told
    }
}

impl ServerClock {
    fn new(dial: Dial, steady: Timestamp, is_shared: bool) -> Arc<Self> {
        let clock = Self {
            face: Mutex::new(Face {
                dial: Dial::default(),
                offset_micros: 0,
                told: Timestamp::ZERO,
            }),
            is_shared,
        };
        clock.go_by(dial);
        clock.be_at(steady);
        Arc::new(clock)
    }

    fn lock(&self) -> MutexGuard<'_, Face> {
        self.face.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes by `dial` from now on.
    fn go_by(&self, dial: Dial) {
        self.lock().dial = dial;
    }

    /// It is `steady` now.
    fn be_at(&self, steady: Timestamp) {
        let mut face = self.lock();
        face.offset_micros = steady.as_micros().saturating_sub(machine::uptime_micros());
    }
}

impl Clock for ServerClock {
    fn now(&self) -> Timestamp {
        if !self.is_shared {
            return machine::wall();
        }
        let mut face = self.lock();
        let steady = face.steady();
        face.dial.wall(steady)
    }

    fn steady(&self) -> Timestamp {
        self.lock().steady()
    }

    fn settled(&self) -> Timestamp {
        let mut face = self.lock();
        let steady = face.steady();
        let wall = if self.is_shared {
            face.dial.wall(steady)
        } else {
            machine::wall()
        };
        face.dial.settled(wall, steady)
    }
}

#[async_trait]
impl delivery::Timer for ServerClock {
    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.as_micros().saturating_sub(self.steady().as_micros());
            let Ok(left @ 1..) = u64::try_from(left) else {
                return;
            };
            tokio::time::sleep(Duration::from_micros(left).min(SLEEP_MAX)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn steady_time_goes_on_and_never_back() {
        let start = Timestamp::from_micros(1_000_000_000);
        let clock = ServerClock::new(Dial::default(), start, false);
        let first = clock.steady();
        assert!(first >= start);
        delivery::Timer::sleep_until(&*clock, first.plus_millis(20)).await;
        let second = clock.steady();
        assert!(second >= first.plus_millis(20));
        clock.be_at(start);
        assert!(clock.steady() >= second);
        // An instant that is over is not waited for.
        delivery::Timer::sleep_until(&*clock, Timestamp::ZERO).await;
    }

    #[test]
    fn a_shared_clock_is_the_databases() {
        let dial = Dial {
            apart_micros: 7_000_000_000_000,
            ..Dial::default()
        };
        let clock = ServerClock::new(dial.clone(), Timestamp::ZERO, true);
        assert!(clock.now() >= dial.wall(Timestamp::ZERO));
        assert!(clock.now() < dial.wall(Timestamp::ZERO.plus_millis(600_000)));
        assert!(clock.settled() >= dial.wall(Timestamp::ZERO));
    }
}
