//! `portico serve`

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use portico_http::metrics::Metrics;
use tokio::net::TcpListener;

use crate::{commands::MasterKey, server};

/// Runs the server: no sandbox, nothing seeded.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen. Port 0 picks a free port.
    #[arg(
        long,
        env = "PORTICO_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDR"
    )]
    listen: SocketAddr,
    /// Where everything is kept.
    #[arg(
        long,
        env = "PORTICO_DATA_DIR",
        default_value = "portico-data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
    /// A TOML file that extends or changes the vocabulary.
    #[arg(long, env = "PORTICO_VOCABULARY", value_name = "FILE")]
    vocabulary: Option<PathBuf>,
    #[command(flatten)]
    master_key: MasterKey,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let owned = server::own(&arguments.data_dir)?;
    let registry = server::registry(arguments.vocabulary.as_ref())?;
    let metrics = Arc::new(Metrics::default());
    let store = server::open_store(
        &arguments.data_dir,
        &arguments.master_key.read(&arguments.data_dir)?,
        metrics.clone(),
    )
    .await?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("{} cannot be listened on", arguments.listen))?;
    let address = listener.local_addr()?;
    let ready = || {
        tracing::info!(%address, data_dir = %arguments.data_dir.display(), "serving");
        Ok(())
    };
    server::run(
        server::Setup {
            listener,
            store,
            registry,
            metrics,
            delivers: true,
        },
        &owned,
        ready,
        server::told_to_stop(),
    )
    .await
}
