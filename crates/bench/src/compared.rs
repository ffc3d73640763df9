//! `portico-bench server`: the stores that Portico's is compared with, behind its routes.
//!
//! Guarantee: the process is Portico without delivery but for its store. It is killed, never
//! stopped: what its store keeps needs no goodbye.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use app::{App, Role};
use connectors::{Registry, VENDORS};
use model::Clock as _;
use portico_http::{cache::depths::Depths, limits::rates::RATE_LIMIT_DEFAULT, metrics::Metrics};
use serde_json::json;
use store::{Observer, Store, postgres, retention::Retention, sqlite};
use tokio::net::TcpListener;
use webhooks::{client::Client, guard::Guard, resolver::SystemLookup};

use crate::{
    output, place,
    system::{SystemClock, SystemEntropy, sealer},
};

/// Serves a store that Portico's is compared with.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The file with the master key.
    #[arg(long, value_name = "FILE")]
    master_key_file: PathBuf,
    /// The data directory of a store that keeps no write.
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "store_file",
        conflicts_with = "store_file"
    )]
    data_dir: Option<PathBuf>,
    /// A file with the URL of a database, for a store with a transaction for each request.
    #[arg(long, value_name = "FILE", requires = "pool")]
    store_file: Option<PathBuf>,
    /// Connections to that database.
    #[arg(long, value_name = "COUNT", requires = "store_file")]
    pool: Option<usize>,
    /// Where the sandbox is.
    #[arg(long, value_name = "URL")]
    vendor_url: String,
}

impl Arguments {
    async fn open(&self, observer: Arc<dyn Observer>) -> anyhow::Result<Store> {
        let key = place::secret(&self.master_key_file)?;
        let opened = match (&self.data_dir, &self.store_file) {
            (Some(data_dir), _) => {
                let file = place::sqlite_file(data_dir);
                let open = move || sqlite::open(&file, sealer(&key)?, observer, SystemClock.now());
                tokio::task::spawn_blocking(open)
                    .await?
                    .map(Store::discarding)
            }
            (None, Some(file)) => {
                let database = place::database(&place::secret(file)?)?;
                let pool = self.pool.context("A database needs a pool")?;
                tokio::task::spawn_blocking(move || {
                    let now = SystemClock.now();
                    postgres::open_pooled(&database, pool, sealer(&key)?, observer, now)
                })
                .await?
            }
            (None, None) => return Err(anyhow!("No store is named")),
        };
        Ok(opened?)
    }
}

/// Serves until it is killed.
///
/// # Errors
/// When the store cannot be opened.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::default());
    let store = Arc::new(arguments.open(metrics.clone()).await?);
    let lookup = Arc::new(SystemLookup::default());
    let receivers = Client::new(Guard::default(), lookup).map_err(|why| anyhow!(why))?;
    let registry = Registry::new(VENDORS, Default::default(), &[arguments.vendor_url]);
    let app = App::start(app::Setup {
        store,
        registry: registry.map_err(|why| anyhow!(why))?,
        metrics,
        timer: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        rate_limit: RATE_LIMIT_DEFAULT,
        role: Role::Api,
        retention: Retention::default(),
        receivers,
        delivery: delivery::Settings::default(),
        announcer: webhooks::announcer::Settings::default(),
        depths: Depths::default(),
        vendor_forgets: None,
    })
    .await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base_url = format!("http://{}", listener.local_addr()?);
    output::data(&json!({ "base_url": base_url }).to_string())?;
    let settings = listener::serve::Settings::default();
    let killed = std::future::pending();
    app.serve(listener, settings, killed, Duration::ZERO)
        .await
        .map_err(|why| anyhow!(why))
}
