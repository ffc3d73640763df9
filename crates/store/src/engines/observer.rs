//! Told of each commit: for metrics.

use std::time::Duration;

/// Who wants to know about commits: metrics.
pub trait Observer: Send + Sync + 'static {
    /// One commit was synced: how many requests shared it, how many of them were accepted writes, and how long it took.
    fn committed(&self, requests: usize, accepts: usize, took: Duration);

    /// One commit failed, or nobody knows whether it was stored.
    fn commit_failed(&self);
}

/// An observer that looks away.
pub struct Unobserved;

impl Observer for Unobserved {
    fn committed(&self, _requests: usize, _accepts: usize, _took: Duration) {}

    fn commit_failed(&self) {}
}
