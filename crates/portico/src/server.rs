//! The composition root: store, worker and HTTP made into a server.

use std::{
    fs::File,
    future::Future,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use connectors::Registry;
use delivery::Worker;
use model::{Clock, Entropy, Secret};
use portico_http::{Parts, VendorForgets, metrics::Metrics, openapi::Schemas};
use store::{Lapse, Live, Observer, Sealer, Store, retention::Retention, sqlite::Sqlite};
use tokio::net::TcpListener;

use crate::system::{SystemClock, SystemEntropy};

/// The database's name in the data directory.
const DATABASE: &str = "portico.db";

/// The file that a running server holds locked.
const LOCK: &str = "serve.lock";

/// How long requests and calls under way may go on once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// How often what has expired is removed, and how many rows of each kind at once.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const SWEEP_ROWS: u32 = 5_000;

/// How long diffs of records and runs of synchronisation are kept: 30 days, as the contract has it (section 5).
const HISTORY_KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// Opens the store in `data_dir`, made when absent.
///
/// # Errors
/// When it cannot be opened with this master key.
pub(crate) async fn open_store(
    data_dir: &Path,
    master_key: &Secret,
    observer: Arc<dyn Observer>,
) -> anyhow::Result<Arc<dyn Store>> {
    make_data_dir(data_dir)?;
    let sealer = Sealer::new(master_key, Arc::new(SystemEntropy))?;
    let path = data_dir.join(DATABASE);
    let now = SystemClock.now();
    let store =
        tokio::task::spawn_blocking(move || Sqlite::open(&path, sealer, observer, now)).await??;
    Ok(Arc::new(store))
}

/// Whether a server or a command has kept anything in `data_dir`.
pub(crate) fn holds_data(data_dir: &Path) -> bool {
    data_dir.join(DATABASE).exists()
}

/// Makes the data directory when there is none, closed to other users: prospects' contacts are in it.
fn make_data_dir(data_dir: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("the data directory {} cannot be made", data_dir.display()))
}

/// Proof that no other server uses the data directory, while it lives.
pub(crate) struct Owned(#[expect(dead_code, reason = "held for its lock")] File);

/// Takes the data directory for this process.
///
/// # Errors
/// When another server has it.
pub(crate) fn own(data_dir: &Path) -> anyhow::Result<Owned> {
    make_data_dir(data_dir)?;
    let file = File::create(data_dir.join(LOCK)).context("the lock file cannot be made")?;
    match file.try_lock() {
        Ok(()) => Ok(Owned(file)),
        Err(std::fs::TryLockError::WouldBlock) => bail!(
            "another portico already serves {}; stop it, or choose another --data-dir",
            data_dir.display()
        ),
        Err(std::fs::TryLockError::Error(why)) => {
            Err(why).context("the data directory cannot be locked")
        }
    }
}

/// The vendors, with the operator's vocabulary file if there is one.
///
/// # Errors
/// When the file cannot be read or does not fit.
pub(crate) fn registry(vocabulary: Option<&PathBuf>) -> anyhow::Result<Registry> {
    let text = vocabulary
        .map(|path| {
            std::fs::read_to_string(path)
                .with_context(|| format!("the vocabulary file {} cannot be read", path.display()))
        })
        .transpose()?;
    Registry::new(text.as_deref()).map_err(|why| anyhow!(why))
}

/// What a server is made of.
pub(crate) struct Setup {
    /// Where it listens.
    pub(crate) listener: TcpListener,
    /// Custody.
    pub(crate) store: Arc<dyn Store>,
    /// The vendors.
    pub(crate) registry: Registry,
    /// Metrics.
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the worker runs; without it, what is accepted waits in the store.
    pub(crate) delivers: bool,
    /// How long writes and attempts are kept.
    pub(crate) retention: Retention,
    /// How the vendor is made to forget, where this process plays it.
    pub(crate) vendor_forgets: Option<VendorForgets>,
}

/// Serves until `stop` ends; then drains, and closes the store.
///
/// # Errors
/// When the store or the OpenAPI document cannot be used.
pub(crate) async fn run(
    setup: Setup,
    _owned: &Owned,
    ready: impl FnOnce() -> anyhow::Result<()>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let Setup {
        listener,
        store,
        registry,
        metrics,
        delivers,
        retention,
        vendor_forgets,
    } = setup;
    let clock = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    // The lock proves that whoever held these leases is gone.
    while store.leases_lapse(Lapse::All, clock.now()).await? > 0 {}
    store.syncs_void(clock.now()).await?;
    let live = Live::load(&*store, &*clock).await?;
    let follower = tokio::spawn(live.clone().follow(store.clone(), clock.clone()));
    let sweeper = tokio::spawn(sweep(store.clone(), retention));
    let worker = delivers.then(|| {
        Worker::start(delivery::Parts {
            store: store.clone(),
            registry: registry.clone(),
            live: live.clone(),
            timer: clock.clone(),
            entropy: entropy.clone(),
            observer: metrics.clone(),
            settings: delivery::Settings::default(),
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
        worker_alive: worker.as_ref().map(Worker::alive),
        body_room: portico_http::body::Room::default(),
        desk: portico_http::availability::Desk::default(),
        vendor_forgets,
        openapi,
        schemas,
    });
    let router = portico_http::router(app);
    ready()?;
    portico_http::serve::serve(listener, router, stop, DRAIN).await;
    if let Some(worker) = worker {
        worker.stop().await;
    }
    sweeper.abort();
    follower.abort();
    store.close().await;
    tracing::info!("stopped; all that was accepted is stored");
    Ok(())
}

async fn sweep(store: Arc<dyn Store>, retention: Retention) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let now = SystemClock.now();
        let swept = async {
            store.idempotency_sweep(now, SWEEP_ROWS).await?;
            let before = now.plus_millis(-HISTORY_KEPT_MS);
            store.history_sweep(before, SWEEP_ROWS).await?;
            retention.sweep(&*store, now).await
        };
        match swept.await {
            Ok(_) => {}
            Err(store::Error::Closed) => return,
            Err(why) => tracing::error!(%why, "what has expired could not be removed"),
        }
    }
}

/// Ends when the process is told to stop: SIGTERM or interrupt.
pub(crate) async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("told to stop; finishing what is under way");
}
