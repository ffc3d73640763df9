//! The composition root: store, worker and HTTP made into a server.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::anyhow;
use connectors::Registry;
use delivery::running::Running;
use model::{Actor, Clock, Entropy, Scope, key::RateLimit, network::Network};
use portico_http::{
    App, Parts, VendorForgets,
    limits::Limits,
    metrics::Metrics,
    openapi::Schemas,
    serve::{CONNECTIONS_MAX, Settings as Transport},
    served::Served,
    uses::{self, Uses},
};
use serde::Deserialize;
use store::{Live, Store, retention::Retention};
use tokio::{net::TcpListener, sync::oneshot};
use webhooks::{
    announcer,
    client::Client,
    guard::{Guard, Ports},
    resolver::SystemLookup,
};

use crate::{
    audit_heads::Heads,
    clock::keeper::Keeper,
    data_dir::Owned,
    signals::Stop,
    system::{SystemEntropy, descriptors_raise},
    text_file,
};

/// How long requests and calls under way may go on once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Open files kept for others than callers and calls to vendors: for the store, the log, receivers and, in `dev`, the sandbox.
const DESCRIPTORS_BESIDE: u64 = 512;

/// How often what has expired is removed, and how many rows of each kind at once.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const SWEEP_ROWS: u32 = 5_000;

/// How long diffs of records, runs of synchronisation and events are kept: 30 days, as the contract has it (section 5).
const HISTORY_KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// Bytes of a vocabulary file at most: it has some hundred lines.
const VOCABULARY_MAX_BYTES: u64 = 1_024 * 1_024;

/// Whoever works at the machine itself.
pub(crate) fn operator() -> Actor {
    #[expect(
        clippy::disallowed_methods,
        reason = "the process's own command line acts without a key"
    )]
    Actor::local(Scope::operator())
}

/// The vendors, with the operator's vocabulary file if there is one. They may be at `vendor_urls` besides where they are known to be, as `setting` says.
///
/// # Errors
/// When the file cannot be read or does not fit.
pub(crate) fn registry(
    vocabulary: Option<&PathBuf>,
    vendor_urls: &[String],
    setting: &str,
) -> anyhow::Result<Registry> {
    let overrides = match vocabulary {
        None => BTreeMap::new(),
        Some(path) => text_file::read_toml(path, "vocabulary file", VOCABULARY_MAX_BYTES)
            .map_err(|why| anyhow!(why))?,
    };
    // An address is wrong with any vocabulary.
    Registry::new(BTreeMap::new(), vendor_urls).map_err(|why| anyhow!("{setting}: {why}"))?;
    Registry::new(overrides, vendor_urls).map_err(|why| anyhow!(why))
}

/// The way to receivers: to public addresses and into `networks`, over https only unless `allows_http`, to the ports of these and to `ports`.
///
/// # Errors
/// When a network is one that is never sent into.
pub(crate) fn receivers(
    allows_http: bool,
    networks: Vec<Network>,
    ports: Vec<Ports>,
) -> anyhow::Result<Client> {
    let guard = Guard::new(allows_http, networks, ports).map_err(|why| anyhow!(why))?;
    Client::new(guard, Arc::new(SystemLookup::default())).map_err(|why| anyhow!(why))
}

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Everything.
    #[default]
    All,
    /// Takes requests, and leaves it to others to deliver.
    Api,
    /// Delivers, announces, synchronises and removes what has expired; of requests it takes only /healthz, /readyz and /metrics.
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

/// What a server is made of.
pub(crate) struct Setup {
    /// Where it listens.
    pub(crate) listener: TcpListener,
    /// Custody.
    pub(crate) store: Arc<Store>,
    /// The vendors.
    pub(crate) registry: Registry,
    /// Metrics.
    pub(crate) metrics: Arc<Metrics>,
    /// How many requests a key may send that has no limit of its own.
    pub(crate) rate_limit: RateLimit,
    /// What it does. Where none that shares its store delivers, what is accepted waits there.
    pub(crate) role: Role,
    /// How connections are taken.
    pub(crate) transport: Transport,
    /// How long writes and attempts are kept.
    pub(crate) retention: Retention,
    /// The way to receivers of events.
    pub(crate) receivers: Client,
    /// Calls to vendors under way at once, over all integrations.
    pub(crate) calls_max: usize,
    /// How the vendor is made to forget, where this process plays it.
    pub(crate) vendor_forgets: Option<VendorForgets>,
    /// Where it is noted how the audit log stands.
    pub(crate) heads: Heads,
}

/// The connections that fit into so many open files, beside so many calls. Where there are few of those, half of them stay for the rest.
fn connections_max(descriptors: u64, calls_max: usize) -> usize {
    let calls = calls_max.saturating_add(delivery::FIRST_CALLS_MAX) as u64;
    let reserved = (DESCRIPTORS_BESIDE + calls).min(descriptors / 2);
    let fitting = usize::try_from(descriptors - reserved).unwrap_or(usize::MAX);
    if fitting < CONNECTIONS_MAX {
        tracing::warn!(
            descriptors,
            connections = fitting,
            "the system allows few open files, and so fewer connections than usual; raise the limit (LimitNOFILE, ulimit -n)"
        );
    }
    fitting.min(CONNECTIONS_MAX)
}

/// Serves until `stop` says so; then drains, unless `stop` says so again, and closes the store.
///
/// # Errors
/// When the store or the OpenAPI document cannot be used.
pub(crate) async fn run(
    setup: Setup,
    _owned: Option<&Owned>,
    ready: impl FnOnce() -> anyhow::Result<()>,
    mut stop: Stop,
) -> anyhow::Result<()> {
    let Setup {
        listener,
        store,
        registry,
        metrics,
        rate_limit,
        role,
        mut transport,
        retention,
        receivers,
        calls_max,
        vendor_forgets,
        heads,
    } = setup;
    transport.connections_max = connections_max(descriptors_raise(), calls_max);
    let keeper = Keeper::start(store.clone(), metrics.clone()).await?;
    let clock = keeper.clock();
    let keeping = tokio::spawn(keeper.keep());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    // The lock proves that whoever held these leases is gone.
    store.take_over(clock.steady()).await?;
    let live = Live::load(&store).await?;
    let follower = tokio::spawn(live.clone().follow(store.clone()));
    let sweeper = role
        .has_worker()
        .then(|| tokio::spawn(sweep(store.clone(), clock.clone(), retention)));
    let worker = role.has_worker().then(|| {
        delivery::start(delivery::Parts {
            store: store.clone(),
            registry: registry.clone(),
            live: live.clone(),
            timer: clock.clone(),
            entropy: entropy.clone(),
            observer: metrics.clone(),
            settings: delivery::Settings {
                in_flight_max: calls_max,
                ..delivery::Settings::default()
            },
        })
    });
    let announcer = role.has_worker().then(|| {
        announcer::start(announcer::Parts {
            store: store.clone(),
            client: receivers.clone(),
            timer: clock.clone(),
            entropy: entropy.clone(),
            observer: metrics.clone(),
            settings: announcer::Settings::default(),
        })
    });
    let openapi = portico_http::document(&registry).map_err(|why| anyhow!(why))?;
    let schemas = Schemas::compile(&openapi).map_err(|why| anyhow!(why))?;
    let app = Arc::new(Parts {
        store: store.clone(),
        live,
        registry,
        clock,
        entropy,
        metrics,
        worker_alive: worker.as_ref().map(Running::alive),
        limits: Limits::new(rate_limit),
        uses: Uses::default(),
        body_room: portico_http::body::Room::default(),
        tail: portico_http::follow::Tail::default(),
        waits: portico_http::follow::Waits::default(),
        end_waits: portico_http::follow::Waits::default(),
        walks: portico_http::walks::Walks::default(),
        desk: portico_http::availability::Desk::default(),
        receivers,
        trials: portico_http::webhooks::Trials::default(),
        replays: portico_http::replays::Replays::default(),
        vendor_forgets,
        stopping: portico_http::Stopping::default(),
        depths: portico_http::depths::Depths::default(),
        openapi: Served::new(&openapi).map_err(|why| anyhow!(why))?,
        schemas,
    });
    let uses = tokio::spawn(keep_uses(app.clone()));
    let heads = tokio::spawn(heads.keep(store.clone(), app.clock.clone()));
    let router = if role.has_api() {
        portico_http::router(app.clone())
    } else {
        portico_http::worker_router(app.clone())
    };
    ready()?;
    let (tell, told) = oneshot::channel();
    let told = async {
        let _ = told.await;
        // Whoever waits for something is answered now.
        app.stopping.tell();
    };
    let finish = async {
        portico_http::serve::serve(listener, router, transport, told, DRAIN)
            .await
            .map_err(|why| anyhow!(why))?;
        // The worker first: what it still brings to an end is told as far as time allows, and the
        // rest at the next start.
        if let Some(worker) = worker {
            worker.stop().await;
        }
        if let Some(announcer) = announcer {
            announcer.stop().await;
        }
        anyhow::Ok(())
    };
    let hurry = async {
        stop.told().await;
        let _ = tell.send(());
        stop.told_again().await;
    };
    tokio::select! {
        finished = finish => finished?,
        () = hurry => {}
    }
    uses.abort();
    heads.abort();
    keeping.abort();
    if let Some(sweeper) = sweeper {
        sweeper.abort();
    }
    follower.abort();
    if let Err(why) = app.uses.store(&store).await {
        tracing::warn!(%why, "when keys were last used could not be stored");
    }
    // Only a directory can have gone meanwhile; nodes on a database do not wait for it to answer.
    let is_well = store.is_shared() || store.check().await.is_ok();
    store.close().await;
    if is_well {
        tracing::info!("stopped; all that was accepted is stored");
    } else {
        tracing::error!(
            "stopped while the store takes no changes; see the errors before this line"
        );
    }
    Ok(())
}

/// Stores now and then when keys were last used.
async fn keep_uses(app: App) {
    loop {
        tokio::time::sleep(uses::STORE_EVERY).await;
        match app.uses.store(&app.store).await {
            Ok(()) => {}
            Err(store::Error::Closed) => return,
            Err(why) => tracing::warn!(%why, "when keys were last used could not be stored"),
        }
    }
}

async fn sweep(store: Arc<Store>, clock: Arc<dyn Clock>, retention: Retention) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let settled = clock.settled();
        let swept = async {
            store.idempotency_sweep(settled, SWEEP_ROWS).await?;
            let before = settled.plus_millis(-HISTORY_KEPT_MS);
            // As often as it takes: at full speed there is more in a minute than is removed at once.
            while store.history_sweep(before, SWEEP_ROWS).await? > 0 {}
            while store.events_sweep(before, SWEEP_ROWS).await? > 0 {}
            retention.sweep(&store, &*clock).await
        };
        match swept.await {
            Ok(_) => {}
            Err(store::Error::Closed) => return,
            Err(why) => tracing::error!(%why, "what has expired could not be removed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_never_take_all_open_files() {
        for (descriptors, connections) in [
            (256, 128),
            (1_024, 512),
            (4_096, 2_560),
            (13_536, 12_000),
            (1_048_576, 12_000),
        ] {
            let most = connections_max(descriptors, delivery::CALLS_MAX);
            assert_eq!(most, connections, "{descriptors}");
        }
    }
}
