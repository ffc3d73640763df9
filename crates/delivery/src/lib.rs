//! The worker: claims due writes, sends each to its vendor, records what became of it; and, while writes leave room, synchronises.
//!
//! Guarantee: every write that was accepted ends, and says why; one integration's trouble never delays another's; what is unknown is repeated,
//! the same, until it is known or too old. Deliberately absent: anything about a particular vendor, and any knowledge of who asked.

pub mod breaker;
mod dispatcher;
mod lane;
pub mod recording;
pub mod running;
pub mod share;
pub mod step;
mod sync;
pub mod tokens;
pub mod way;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use connectors::Registry;
use model::{Clock, Entropy, Timestamp, vendor::Vendor, write::Class};
use store::{Live, Store};

use crate::{lane::Lanes, running::Running, tokens::Tokens};

/// A clock that can be waited for.
#[async_trait]
pub trait Timer: Clock {
    /// Returns when the steady time is `at` or later.
    async fn sleep_until(&self, at: Timestamp);
}

/// Who wants to know about attempts: metrics.
pub trait Observer: Send + Sync + 'static {
    /// One attempt ended in `class` after `took`; with `since_accepted_ms`, its write ended with it.
    fn attempted(
        &self,
        vendor: Vendor,
        class: Class,
        took: Duration,
        since_accepted_ms: Option<u64>,
    );
}

/// Calls under way at once over all integrations, unless it is said otherwise: more than most vendors of one process answer at a time, and some megabytes at most.
pub const CALLS_MAX: usize = 512;

/// Calls under way beyond the maximum, one for each integration that has no other: so many
/// integrations may hang at once without a delay for the next. Each costs a connection.
pub const FIRST_CALLS_MAX: usize = 512;

/// The worker's bounds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Calls under way at once over all integrations: bounds memory. An integration that has none
    /// under way may have one beyond it ([`FIRST_CALLS_MAX`]).
    pub in_flight_max: usize,
    /// How long a lease holds without being renewed: for four sweeps, so that three renewals may fail before what lives is taken for dead. What a dead process held is taken over
    /// within a lease and a sweep.
    pub lease_ms: i64,
    /// How old a write may become before it ends as FAILURE. Days: until then it can still be delivered.
    pub write_max_age_ms: u64,
    /// How often leases are renewed, those that lapsed are looked for, and, as a net under the signals, due writes.
    pub sweep_ms: i64,
    /// How long calls under way may go on once the worker is told to stop.
    pub drain_ms: u64,
    /// Prospects with the newest activity that a run of synchronisation reads again at most: a call each.
    pub sync_newest_max: u64,
    /// Prospects that were not seen for longest which it reads besides, so that none is forgotten.
    pub sync_stalest_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            in_flight_max: CALLS_MAX,
            lease_ms: 20_000,
            write_max_age_ms: 3 * 24 * 3_600_000,
            sweep_ms: 5_000,
            drain_ms: 10_000,
            sync_newest_max: 1_500,
            sync_stalest_max: 500,
        }
    }
}

/// What the worker works with.
pub struct Parts {
    /// Where writes are claimed and outcomes recorded.
    pub store: Arc<Store>,
    /// The vendors.
    pub registry: Registry,
    /// The tokens that vendors give.
    pub tokens: Arc<Tokens>,
    /// Integrations and their settings, as in force.
    pub live: Live,
    /// Time.
    pub timer: Arc<dyn Timer>,
    /// Jitter and ids.
    pub entropy: Arc<dyn Entropy>,
    /// Metrics.
    pub observer: Arc<dyn Observer>,
    /// Bounds.
    pub settings: Settings,
}

/// Starts a worker on the current runtime. Told to stop, it claims nothing more, lets calls under way
/// finish within the drain time, and gives the rest up: their leases lapse and they are repeated.
pub fn start(parts: Parts) -> Running {
    let (parts, lanes) = (Arc::new(parts), Arc::new(Lanes::default()));
    Running::start(|stopping| async move {
        let syncs = tokio::spawn(sync::run(parts.clone(), lanes.clone(), stopping.clone()));
        dispatcher::run(parts, &lanes, stopping).await;
        let _ = syncs.await;
    })
}
