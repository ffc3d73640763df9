//! The Knock sandbox: a stateful imitation of the vendor's HTTP API, with a control surface.
//!
//! Guarantee: it answers as Knock is documented to answer, keeps what it was sent, and fails only in the
//! ways and as often as it was told to. What nobody outside Knock knows is guessed in [`assumptions`] and
//! nowhere else. Nothing that arrives over the network makes it panic or grow without a bound, except the
//! guest cards, appointments, activities and listings themselves, which are the point of it.

mod activities;
mod appointments;
pub mod assumptions;
mod call;
mod card_edit;
mod card_status;
mod cards;
mod control;
mod directory;
mod draft;
mod faults;
mod fields;
mod forget;
mod handle;
mod held;
mod ids;
mod journal;
mod listings;
mod moment;
mod pages;
mod reply;
mod request_log;
mod routes;
mod seed;
mod server;
mod sources;
mod state;
mod tour_times;
mod under_way;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::Clock;
use serde::Serialize;

pub use faults::{Fault, FaultKind, FaultMatch};
pub use seed::{Seed, SeedAgent, SeedCommunity, SeedHours};

use directory::Directory;
use state::State;

/// How a sandbox is set up.
pub struct Options {
    /// The communities, sources, agents and key it knows from the start and after a reset.
    pub seed: Seed,
    /// The file that makes guest cards, appointments, activities and listings outlive a restart; none keeps
    /// them in memory only.
    pub journal: Option<PathBuf>,
    /// Where the present time comes from, and the number that the first id starts from.
    pub clock: Arc<dyn Clock>,
    /// What every vendor call takes at least, in milliseconds. Applied after the work and before the answer.
    pub latency_ms: u64,
}

impl Options {
    /// The default seed, no journal and no latency.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            seed: Seed::default(),
            journal: None,
            clock,
            latency_ms: 0,
        }
    }
}

/// Why a sandbox cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The seed contradicts itself.
    #[error("the seed of the sandbox cannot be used: {0}")]
    Seed(String),
    /// The journal cannot be opened, read or repaired.
    #[error("the journal {} cannot be used: {source}", path.display())]
    Journal {
        /// The journal file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A whole line of the journal is not a record. A torn last line is no error.
    #[error("line {line} of the journal {} cannot be used: {reason}", path.display())]
    JournalLine {
        /// The journal file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// How much a sandbox holds and has done since it started or was reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Guest cards held.
    pub prospects: u64,
    /// Vendor calls received, whatever became of them.
    pub requests: u64,
    /// Repeats that were matched to a card, including those loaded from a journal.
    pub updates: u64,
    /// Tours held, whatever became of them.
    pub appointments: u64,
    /// Activities held.
    pub activities: u64,
    /// Listings held.
    pub listings: u64,
    /// The most calls that were under way at once, those that only read left out.
    pub changes_at_once_max: u64,
}

/// A handle on one sandbox. Clones share the state.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Directory,
    clock: Arc<dyn Clock>,
    latency_ms: u64,
    state: Mutex<State>,
}

impl Sandbox {
    /// Builds the seeded state and loads the journal when it is set and present.
    ///
    /// # Errors
    /// When the seed contradicts itself or the journal cannot be read.
    pub fn new(options: Options) -> Result<Self, Error> {
        let directory = Directory::new(options.seed)?;
        let state = State::open(&directory, options.journal, options.clock.now())?;
        Ok(Self {
            inner: Arc::new(Inner {
                directory,
                clock: options.clock,
                latency_ms: options.latency_ms,
                state: Mutex::new(state),
            }),
        })
    }

    /// Answers on `listener` until `stop` resolves, then lets calls in progress finish for a moment
    /// (half a second) and drops the rest.
    ///
    /// # Errors
    /// Never at present; a failing accept is retried, as a full file table heals.
    pub async fn serve(
        self,
        listener: tokio::net::TcpListener,
        stop: impl Future<Output = ()> + Send,
    ) -> std::io::Result<()> {
        server::run(self, listener, stop).await
    }

    /// Everything held, in the shape of `GET /_sandbox/state`. Takes seconds with hundreds of thousands of
    /// cards, and no call is answered meanwhile; [`Sandbox::counts`] is quick with any number.
    pub fn state(&self) -> serde_json::Value {
        let state = self.lock();
        serde_json::to_value(state.view(&self.inner.directory)).unwrap_or_default()
    }

    /// How much is held and was done.
    pub fn counts(&self) -> Counts {
        self.lock().counts()
    }

    /// Arranges a fault and returns its id. Out of range members are used at the nearest bound.
    pub fn add_fault(&self, fault: Fault) -> u64 {
        self.lock().faults.add(fault)
    }

    /// Forgets every fault.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Back to the seeded state: nothing held, no requests or faults, sources and settings as at the start,
    /// journal emptied. Ids go on from where they were.
    pub fn reset(&self) {
        if let Err(error) = self.lock().reset(&self.inner.directory) {
            tracing::error!(%error, "the sandbox was reset but its journal was not");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}
