//! The state that all handlers share.

use std::sync::Arc;

use connectors::{Connector, Registry};
use delivery::tokens::Tokens;
use model::{Clock, Entropy, Scope, Vendor};
use store::{Live, Store};
use tokio::{sync::watch, time::timeout};

use crate::{
    cache::{Cache, events::WAIT_POLL},
    document::{schemas::Schemas, served::Served},
    error::Error,
    key_uses::KeyUses,
    limits::Limits,
    metrics::Metrics,
};

/// The state that all handlers share.
pub struct Parts {
    /// The store.
    pub store: Arc<Store>,
    /// The directory, as in force.
    pub live: Live,
    /// The vendors.
    pub registry: Registry,
    /// The tokens that they give.
    pub tokens: Arc<Tokens>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for ids.
    pub entropy: Arc<dyn Entropy>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Closed when the worker has ended; `None` when this process has none, and is ready without.
    pub worker_alive: Option<watch::Receiver<bool>>,
    /// The bounds on callers.
    pub limits: Limits,
    /// The last use of each key.
    pub key_uses: KeyUses,
    /// Answers that are kept for a moment.
    pub cache: Cache,
    /// The client for receivers of webhooks.
    pub receivers: ::webhooks::client::Client,
    /// Makes the vendor forget a card too, where this process plays the vendor; real vendors have
    /// to be asked by a person.
    pub vendor_forgets: Option<VendorForgets>,
    /// True if the server is told to stop.
    pub stopping: Stopping,
    /// The document as it is served.
    pub document: Served,
    /// The document's schemas of bodies, compiled.
    pub schemas: Schemas,
}

/// A handle to [`Parts`].
pub type App = Arc<Parts>;

/// Makes a vendor forget what it holds under an id of its own; says in words why it could not. It
/// may block.
pub type VendorForgets = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

impl Parts {
    /// Brings a change of the directory that was just stored into force for the next request.
    ///
    /// # Errors
    /// 503 when it cannot be read, in words that do not deny that it is stored.
    pub(crate) async fn follow(&self) -> Result<(), Error> {
        self.live.refresh(&self.store).await.map_err(|why| {
            tracing::error!(%why, "a change of the directory is stored, and not yet in force here");
            Error::unavailable(
                "It is stored, and not yet in force here, since the database does not answer. Look at what is stored before you send it again",
            )
        })
    }

    /// Refuses a caller whose key, or token, is no longer in force: it was when the request came.
    ///
    /// # Errors
    /// 401.
    pub(crate) fn admit(&self, scope: &Scope) -> Result<(), Error> {
        if self.live.get().admits(scope, self.clock.settled()) {
            Ok(())
        } else {
            Err(Error::unauthorized())
        }
    }

    /// Ends when the caller's key, or token, is no longer in force.
    pub(crate) async fn ousted(&self, scope: &Scope) {
        let mut changes = self.live.changes();
        while self.admit(scope).is_ok() {
            // Nothing signals that a key expires.
            let _ = timeout(WAIT_POLL, changes.changed()).await;
        }
    }

    /// The connector of a vendor.
    ///
    /// # Errors
    /// 503 when this build has none of it.
    pub(crate) fn connector(&self, vendor: Vendor) -> Result<&Connector, Error> {
        self.registry
            .get(vendor)
            .ok_or_else(|| Error::vendor_missing(vendor))
    }
}

/// The order to stop: callers who wait for something are answered at once.
pub struct Stopping(watch::Sender<bool>);

impl Default for Stopping {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stopping {
    /// Gives the order.
    pub fn tell(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_told(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when the order is given.
    pub(crate) async fn told(&self) {
        // The sender is here, so there is no error.
        let _ = self.0.subscribe().wait_for(|is_told| *is_told).await;
    }
}
