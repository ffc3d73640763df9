//! A server process: the app behind a socket, until it is told to stop.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::anyhow;
use app::{App, Role};
use connectors::Registry;
use listener::serve::{CONNECTIONS_MAX, Settings as Transport};
use model::{Actor, Scope, key::RateLimit, network::Network};
use portico_http::{metrics::Metrics, state::VendorForgets};
use store::{Store, retention::Retention};
use tokio::{net::TcpListener, sync::oneshot};
use webhooks::{
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
    text_file, vendors,
};

/// How long requests and calls under way may go on once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Open files kept for others than callers and calls to vendors: for the store, the log, receivers and, in `dev`, the sandbox.
const DESCRIPTORS_BESIDE: u64 = 512;

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
    Registry::new(vendors::all(), BTreeMap::new(), vendor_urls)
        .map_err(|why| anyhow!("{setting}: {why}"))?;
    Registry::new(vendors::all(), overrides, vendor_urls).map_err(|why| anyhow!(why))
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
    let mut app = App::start(app::Setup {
        store: store.clone(),
        registry,
        metrics,
        timer: clock.clone(),
        entropy: Arc::new(SystemEntropy),
        rate_limit,
        role,
        retention,
        receivers,
        delivery: delivery::Settings {
            in_flight_max: calls_max,
            ..delivery::Settings::default()
        },
        announcer: webhooks::announcer::Settings::default(),
        depths: portico_http::cache::depths::Depths::default(),
        vendor_forgets,
    })
    .await?;
    let heads = tokio::spawn(heads.keep(store, clock));
    ready()?;
    let (tell, told) = oneshot::channel();
    let told = async {
        let _ = told.await;
    };
    let finish = async {
        app.serve(listener, transport, told, DRAIN)
            .await
            .map_err(|why| anyhow!(why))?;
        app.rest().await;
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
    heads.abort();
    keeping.abort();
    let is_well = app.stop().await;
    if is_well {
        tracing::info!("stopped; all that was accepted is stored");
    } else {
        tracing::error!(
            "stopped while the store takes no changes; see the errors before this line"
        );
    }
    Ok(())
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
