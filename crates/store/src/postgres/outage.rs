//! What the log says while the database is away.
//!
//! Guarantee: however many connections try to come back, and however often, a line once it is gone for a second, one a minute while it is, and one when it is back.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long it may be gone without a word: a connection that was ended, and is there again.
const BLINK: Duration = Duration::from_secs(1);

/// How often the same is said again.
const EVERY: Duration = Duration::from_secs(60);

/// Lets the same be said now and then.
#[derive(Default)]
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether it was not said within the last minute. Who hears `true` says it.
    pub(super) fn is_time(&self) -> bool {
        let mut last = lock(&self.0);
        let is_time = last.is_none_or(|last| last.elapsed() >= EVERY);
        if is_time {
            *last = Some(Instant::now());
        }
        is_time
    }

    /// Begins anew; whether it was said.
    fn forget(&self) -> bool {
        lock(&self.0).take().is_some()
    }
}

/// Since when no host can be reached, if none can.
#[derive(Default)]
pub(super) struct Outage {
    since: Mutex<Option<Instant>>,
    told: Seldom,
}

impl Outage {
    /// No host could be reached, or still none.
    pub(super) fn goes_on(&self, why: &str) {
        let begun = *lock(&self.since).get_or_insert_with(Instant::now);
        if begun.elapsed() >= BLINK && self.told.is_time() {
            let for_s = begun.elapsed().as_secs();
            tracing::warn!(
                for_s,
                why,
                "the database cannot be reached; it is tried again and again, and who asks meanwhile hears 503"
            );
        }
    }

    /// A host was reached.
    pub(super) fn ended(&self) {
        if let Some(begun) = lock(&self.since).take()
            && self.told.forget()
        {
            let after_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(after_ms, "the database can be reached again");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
