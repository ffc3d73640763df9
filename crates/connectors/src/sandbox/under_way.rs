//! How many calls are under way at once.
//!
//! Guarantee: a call counts from when it is received until its answer is handed over, or its caller is gone.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The calls that are under way, and how many there were at most.
#[derive(Default)]
pub(super) struct UnderWay {
    now: Arc<AtomicU64>,
    most: u64,
}

/// A call under way, as long as this is kept.
pub(super) struct Place(Arc<AtomicU64>);

impl UnderWay {
    pub(super) fn begin(&mut self) -> Place {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most = self.most.max(now);
        Place(self.now.clone())
    }

    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// Counts the most anew.
    pub(super) fn forget(&mut self) {
        self.most = self.now.load(Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
