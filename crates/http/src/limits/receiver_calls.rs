//! Look-ups and tests of webhook receivers that callers wait for.
//!
//! Guarantee: their number is bounded: each may keep its caller, and a connection, for as long as a
//! call to a receiver may take.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::Error;

/// Receivers that are looked up or tested at once, over all callers.
pub const RECEIVER_CALLS_MAX: usize = 32;

/// The calls under way.
pub struct ReceiverCalls(Semaphore);

impl Default for ReceiverCalls {
    fn default() -> Self {
        Self(Semaphore::new(RECEIVER_CALLS_MAX))
    }
}

impl ReceiverCalls {
    /// A slot for one call, given back when dropped.
    ///
    /// # Errors
    /// 503 when too many are under way.
    pub fn slot(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.0.try_acquire().map_err(|_| {
            Error::unavailable("Too many receivers are being tried. Nothing was changed or sent; send the same request again")
        })
    }
}
