//! The bounds on what callers may have: requests, memory, waits, calls that they wait for.
//!
//! Guarantee: a caller that has as much as it may have is refused, with the time to wait; it keeps
//! no other caller from its own share.

pub mod bodies;
pub mod rates;
pub mod receiver_calls;
pub mod replays;
pub(crate) mod tally;
pub mod vendor_calls;
pub mod waits;

use model::key::RateLimit;

use self::{
    bodies::Bodies, rates::Rates, receiver_calls::ReceiverCalls, replays::Replays,
    vendor_calls::VendorCalls, waits::Waits,
};

/// All of them, with what is in use.
pub struct Limits {
    /// Requests over time.
    pub rates: Rates,
    /// Memory for bodies under way.
    pub bodies: Bodies,
    /// Requests that wait for events.
    pub event_waits: Waits,
    /// Requests that wait for the end of a write.
    pub end_waits: Waits,
    /// Replays of deliveries.
    pub replays: Replays,
    /// Calls to vendors that callers wait for.
    pub vendor_calls: VendorCalls,
    /// Calls to receivers of webhooks that callers wait for.
    pub receiver_calls: ReceiverCalls,
}

impl Limits {
    /// Nothing is in use. `default` is the rate of keys that have none of their own.
    pub fn new(default: RateLimit) -> Self {
        Self {
            rates: Rates::new(default),
            bodies: Bodies::default(),
            event_waits: Waits::default(),
            end_waits: Waits::default(),
            replays: Replays::default(),
            vendor_calls: VendorCalls::default(),
            receiver_calls: ReceiverCalls::default(),
        }
    }
}
