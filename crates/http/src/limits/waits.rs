//! Requests that wait for something, counted by key.
//!
//! Guarantee: a key has at most so many at once; one that ended is not counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::KeyId;

use crate::limits::tally::Tally;

/// Requests of one key that wait for events at once: a follower has one, and a program some
/// followers.
pub const EVENT_WAITS_MAX: usize = 16;

/// Requests of one key that wait for the end of a write at once. Each write that is sent may have
/// one, so a program has many; they look at the store only when they are told to.
pub const END_WAITS_MAX: usize = 256;

/// Requests that wait for the same kind of thing, by key.
#[derive(Clone, Default)]
pub struct Waits(Arc<Mutex<Tally<Option<KeyId>>>>);

/// One of them; it waits no longer when dropped.
pub(crate) struct Wait {
    waits: Waits,
    key: Option<KeyId>,
}

impl Waits {
    /// `None` when the key has as many as it may have.
    pub(crate) fn begin(&self, key: Option<KeyId>, most: usize) -> Option<Wait> {
        let mut waits = self.lock();
        if waits.of(&key) >= most {
            return None;
        }
        waits.add(key, 1);
        Some(Wait {
            waits: self.clone(),
            key,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Tally<Option<KeyId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waits.lock().take_back(&self.key, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_waits_of_a_key_are_bounded() {
        let waits = Waits::default();
        let key = |n| Some(fixture::key(n));
        let mut all: Vec<Wait> = (0..EVENT_WAITS_MAX)
            .map(|_| waits.begin(key(1), EVENT_WAITS_MAX).expect("one may wait"))
            .collect();
        assert!(waits.begin(key(1), EVENT_WAITS_MAX).is_none());
        assert!(
            waits.begin(key(2), EVENT_WAITS_MAX).is_some(),
            "another key"
        );
        all.pop();
        assert!(waits.begin(key(1), EVENT_WAITS_MAX).is_some());
        all.clear();
        assert!(waits.0.lock().expect("whole").is_empty());
    }
}
