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

/// How long all succeeds before an outage of the disk is over. On a disk that is nearly full, commits
/// fail and succeed in turn.
pub(crate) const DISK_QUIET: Duration = Duration::from_secs(10);

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
    /// The first success behind the last failure.
    good_since: Mutex<Option<Instant>>,
    told: Seldom,
    /// An outage that is shorter is not logged.
    blink: Duration,
    /// It is over when nothing has failed for so long.
    quiet: Duration,
}

impl Outage {
    /// None as yet. One that is shorter than `blink` is not logged; one is over when nothing has
    /// failed for `quiet`.
    pub(crate) const fn new(blink: Duration, quiet: Duration) -> Self {
        Self {
            since: Mutex::new(None),
            good_since: Mutex::new(None),
            told: Seldom::new(),
            blink,
            quiet,
        }
    }

    /// It begins, or goes on. Returns how long it has lasted when it is time to log it.
    pub(crate) fn goes_on(&self) -> Option<Duration> {
        *lock(&self.good_since) = None;
        let begun = *lock(&self.since).get_or_insert_with(Instant::now);
        let lasts = begun.elapsed();
        (lasts >= self.blink && self.told.is_time()).then_some(lasts)
    }

    /// Something succeeds. Returns how long the outage lasted when it is over now and was logged.
    pub(crate) fn succeeds(&self) -> Option<Duration> {
        self.succeeds_at(Instant::now())
    }

    fn succeeds_at(&self, now: Instant) -> Option<Duration> {
        if lock(&self.since).is_none() {
            return None;
        }
        let good_since = *lock(&self.good_since).get_or_insert(now);
        if now.saturating_duration_since(good_since) < self.quiet {
            return None;
        }
        *lock(&self.good_since) = None;
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
        let outage = Outage::new(Duration::ZERO, Duration::ZERO);
        assert!(outage.succeeds().is_none(), "there was none");
        for _ in 0..2 {
            let told = (0..1_000).filter(|_| outage.goes_on().is_some()).count();
            assert_eq!(told, 1);
            assert!(outage.succeeds().is_some());
            assert!(outage.succeeds().is_none());
        }
    }

    #[test]
    fn an_outage_lasts_while_failures_and_successes_take_turns() {
        let (outage, begun) = (Outage::new(Duration::ZERO, DISK_QUIET), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert!(outage.succeeds_at(at(0)).is_none(), "there was none");
        assert!(outage.goes_on().is_some());
        for second in 0..100 {
            assert!(outage.succeeds_at(at(second)).is_none(), "{second}");
            assert!(outage.goes_on().is_none(), "it was logged");
        }
        assert!(outage.succeeds_at(at(100)).is_none());
        assert!(outage.succeeds_at(at(109)).is_none());
        assert!(outage.succeeds_at(at(110)).is_some());
        assert!(outage.succeeds_at(at(120)).is_none(), "it is over");
        assert!(outage.goes_on().is_some(), "another begins");
    }

    #[test]
    fn a_blink_is_not_logged() {
        let outage = Outage::new(Duration::from_secs(3_600), Duration::ZERO);
        assert!(outage.goes_on().is_none());
        assert!(outage.succeeds().is_none());
    }
}
