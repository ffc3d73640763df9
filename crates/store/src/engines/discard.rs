//! A store that keeps no write: what everything but keeping costs.
//!
//! For measuring only: what it accepts is lost.

use crate::Store;

impl Store {
    /// Makes this store answer [`Accepted`](crate::Acceptance::Accepted) to each write at once, and
    /// keep none.
    #[must_use]
    pub fn discarding(mut self) -> Self {
        self.discards = true;
        self
    }
}
