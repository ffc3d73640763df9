//! The composition root: store, worker, announcer and routes made into one running app.
//!
//! Guarantee: a process, a test and a simulation run what is put together here. Time, randomness,
//! the store, the way to vendors and receivers ([`connectors::dial`]) and the source of connections
//! ([`listener::serve::Listen`]) are passed in. All of it runs on the runtime that starts it: on one
//! thread, where that has one and the store runs on its caller's ([`store::Threads`]).

mod sweep;

use std::{sync::Arc, time::Duration};

use axum::Router;
use connectors::Registry;
use delivery::{Timer, running::Running, tokens::Tokens};
use listener::serve::{Listen, serve};
use model::{Entropy, directory::Integration, key::RateLimit};
use portico_http::{
    cache::{Cache, depths::Depths},
    document::{schemas::Schemas, served::Served},
    key_uses::{self, KeyUses},
    limits::Limits,
    metrics::Metrics,
    state::{Parts, Stopping, VendorForgets},
};
use serde::Deserialize;
use store::{Live, Store, retention::Retention};
use tokio::task::JoinHandle;
use webhooks::{announcer, client::Client};

/// The part that a node takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    #[default]
    All,
    /// Takes requests, and leaves it to others to deliver.
    Api,
    /// Delivers, announces, synchronises and removes what has expired. Of requests it takes only
    /// `/healthz`, `/readyz` and `/metrics`.
    Worker,
}

impl Role {
    const fn has_worker(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }

    const fn has_api(self) -> bool {
        matches!(self, Self::All | Self::Api)
    }
}

/// The parts of an app.
pub struct Setup {
    /// Custody. Closed by [`App::stop`].
    pub store: Arc<Store>,
    /// The vendors.
    pub registry: Registry,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub timer: Arc<dyn Timer>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Requests that a key may send that has no limit of its own.
    pub rate_limit: RateLimit,
    /// The part that it takes. Where no other that shares its store delivers, accepted writes wait.
    pub role: Role,
    /// How long writes and attempts are kept.
    pub retention: Retention,
    /// The way to receivers of events.
    pub receivers: Client,
    /// The worker's bounds.
    pub delivery: delivery::Settings,
    /// The announcer's bounds.
    pub announcer: announcer::Settings,
    /// The depths that `/metrics` and `/readyz` show.
    pub depths: Depths,
    /// Has the vendor forget a person, where this process plays the vendor.
    pub vendor_forgets: Option<VendorForgets>,
}

/// Why an app cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The OpenAPI document cannot be made, or not be served; in words.
    #[error("{0}")]
    Document(String),
}

/// A running app.
pub struct App {
    /// What its handlers share.
    pub parts: Arc<Parts>,
    /// Its workers: one, where its role has any.
    pub workers: Vec<Running>,
    /// The announcer, where its role has one.
    pub announcer: Option<Running>,
    router: Router,
    tasks: Vec<JoinHandle<()>>,
}

impl App {
    /// Starts it on the current runtime. Takes over what is under leases on a store that only one
    /// process may have.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(setup: Setup) -> Result<Self, Error> {
        let Setup {
            store,
            registry,
            metrics,
            timer,
            entropy,
            rate_limit,
            role,
            retention,
            receivers,
            delivery: bounds,
            announcer: announcer_bounds,
            depths,
            vendor_forgets,
        } = setup;
        store.take_over(timer.steady()).await?;
        let live = Live::load(&store).await?;
        tell_missing_vendors(&live, &registry);
        let mut tasks = vec![tokio::spawn(live.clone().follow(store.clone()))];
        let document = portico_http::document(&registry).map_err(Error::Document)?;
        let schemas = Schemas::compile(&document, &registry).map_err(Error::Document)?;
        let document = Served::new(&document).map_err(Error::Document)?;
        let tokens = Arc::new(Tokens::new(store.clone(), timer.clone()));
        let (mut workers, mut announcer) = (Vec::new(), None);
        if role.has_worker() {
            tasks.push(tokio::spawn(sweep::run(
                store.clone(),
                timer.clone(),
                retention,
            )));
            workers.push(delivery::start(delivery::Parts {
                store: store.clone(),
                registry: registry.clone(),
                tokens: tokens.clone(),
                live: live.clone(),
                timer: timer.clone(),
                entropy: entropy.clone(),
                observer: metrics.clone(),
                settings: bounds,
            }));
            announcer = Some(announcer::start(announcer::Parts {
                store: store.clone(),
                client: receivers.clone(),
                timer: timer.clone(),
                entropy: entropy.clone(),
                observer: metrics.clone(),
                settings: announcer_bounds,
            }));
        }
        let parts = Arc::new(Parts {
            store,
            live,
            registry,
            tokens,
            clock: timer,
            entropy,
            metrics,
            worker_alive: workers.first().map(Running::alive),
            limits: Limits::new(rate_limit),
            key_uses: KeyUses::default(),
            cache: Cache {
                depths,
                ..Cache::default()
            },
            receivers,
            vendor_forgets,
            stopping: Stopping::default(),
            document,
            schemas,
        });
        tasks.push(tokio::spawn(keep_key_uses(parts.clone())));
        let router = if role.has_api() {
            portico_http::router(parts.clone())
        } else {
            portico_http::worker_router(parts.clone())
        };
        Ok(Self {
            parts,
            workers,
            announcer,
            router,
            tasks,
        })
    }

    /// Its routes.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Serves connections until `stop` ends; callers who wait for something are answered then, and
    /// requests under way may go on for at most `drain`.
    ///
    /// # Errors
    /// In words, when TLS cannot be set up.
    pub async fn serve(
        &self,
        listener: impl Listen,
        settings: listener::serve::Settings,
        stop: impl Future<Output = ()>,
        drain: Duration,
    ) -> Result<(), String> {
        let stop = async {
            stop.await;
            self.parts.stopping.tell();
        };
        serve(listener, self.router(), settings, stop, drain).await
    }

    /// Has the worker and the announcer take up nothing more, and waits until they have ended.
    /// The worker ends first: what it still delivers is told as far as time allows, and the rest at
    /// the next start.
    pub async fn rest(&mut self) {
        for worker in self.workers.drain(..) {
            worker.stop().await;
        }
        if let Some(announcer) = self.announcer.take() {
            announcer.stop().await;
        }
    }

    /// Ends all that still runs, stores when keys were last used, and closes the store. True if the
    /// store took changes to the end.
    pub async fn stop(mut self) -> bool {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        let store = &self.parts.store;
        if let Err(why) = self.parts.key_uses.store(store).await {
            tracing::warn!(%why, "when keys were last used could not be stored");
        }
        // Only a directory can have gone meanwhile; nodes on a database do not wait for it to answer.
        let is_well = store.is_shared() || store.check().await.is_ok();
        store.close().await;
        is_well
    }
}

/// Stores now and then when keys were last used.
async fn keep_key_uses(parts: Arc<Parts>) {
    loop {
        tokio::time::sleep(key_uses::STORE_EVERY).await;
        match parts.key_uses.store(&parts.store).await {
            Ok(()) => {}
            Err(store::Error::Closed) => return,
            Err(why) => tracing::warn!(%why, "when keys were last used could not be stored"),
        }
    }
}

/// Warns of integrations whose vendors this build does not have.
fn tell_missing_vendors(live: &Live, registry: &Registry) {
    let directory = live.get();
    let is_missing = |one: &&Arc<Integration>| one.active && registry.get(one.vendor).is_none();
    for integration in directory.integrations().filter(is_missing) {
        tracing::warn!(
            integration_id = %integration.id,
            vendor = %integration.vendor,
            "this build does not have the vendor of an active integration; its writes wait for a build that has it"
        );
    }
}
