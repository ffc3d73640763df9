//! When the log is told of an outage: of a database that cannot be reached, or of a disk that takes no commit.
//!
//! Guarantee: however many requests fail meanwhile, one line when the outage begins, one a minute while it lasts, and one when
//! it is over. The caller writes the line, in words of its own.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How often the same outage is logged again.
const EVERY: Duration = Duration::from_secs(60);

/// Limits a log line to one a minute.
#[derive(Default)]
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// `true` when the line was not written within the last minute. A caller that gets `true` writes it.
    pub(crate) fn is_time(&self) -> bool {
        let mut last = lock(&self.0);
        let is_time = last.is_none_or(|last| last.elapsed() >= EVERY);
        if is_time {
            *last = Some(Instant::now());
        }
        is_time
    }

    /// Begins anew. `true` when the line was written.
    pub(crate) fn forget(&self) -> bool {
        lock(&self.0).take().is_some()
    }
}

/// An outage, or none.
pub(crate) struct Outage {
    since: Mutex<Option<Instant>>,
    told: Seldom,
    /// An outage that is shorter is not logged.
    blink: Duration,
}

impl Outage {
    pub(crate) const fn new(blink: Duration) -> Self {
        Self {
            since: Mutex::new(None),
            told: Seldom::new(),
            blink,
        }
    }

    /// It begins, or goes on. Returns how long it has lasted when it is time to log it.
    pub(crate) fn goes_on(&self) -> Option<Duration> {
        let begun = *lock(&self.since).get_or_insert_with(Instant::now);
        let lasts = begun.elapsed();
        (lasts >= self.blink && self.told.is_time()).then_some(lasts)
    }

    /// It is over, if there was one. Returns how long it lasted when it was logged.
    pub(crate) fn ended(&self) -> Option<Duration> {
        let begun = lock(&self.since).take()?;
        self.told.forget().then(|| begun.elapsed())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_logged_once_and_its_end_once() {
        let outage = Outage::new(Duration::ZERO);
        assert!(outage.ended().is_none(), "there was none");
        for _ in 0..2 {
            let told = (0..1_000).filter(|_| outage.goes_on().is_some()).count();
            assert_eq!(told, 1);
            assert!(outage.ended().is_some());
            assert!(outage.ended().is_none());
        }
    }

    #[test]
    fn a_blink_is_not_logged() {
        let outage = Outage::new(Duration::from_secs(3_600));
        assert!(outage.goes_on().is_none());
        assert!(outage.ended().is_none());
    }
}
