//! `portico sandbox`

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use connectors::knock::sandbox::{Options, Sandbox, Seed};
use serde_json::json;

use crate::{output, signals, system::SystemClock};

/// Runs the Knock sandbox alone.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen. Port 0 picks a free port.
    #[arg(
        long,
        env = "PORTICO_SANDBOX_LISTEN",
        default_value = "127.0.0.1:8089",
        value_name = "ADDR"
    )]
    listen: SocketAddr,
    /// A file that keeps the cards over restarts.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Milliseconds that every call takes at least.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Prints one line of JSON on stdout when ready.
    #[arg(long)]
    json: bool,
}

/// A sandbox with the seeded communities.
pub(crate) fn open(journal: Option<PathBuf>, latency_ms: u64) -> anyhow::Result<Sandbox> {
    Sandbox::new(Options {
        seed: Seed::default(),
        journal,
        clock: Arc::new(SystemClock),
        latency_ms,
    })
    .context("the sandbox cannot be opened")
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let sandbox = open(arguments.journal, arguments.latency_ms)?;
    let Seed { api_key, .. } = Seed::default();
    let listener = tokio::net::TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("{} cannot be listened on", arguments.listen))?;
    let url = format!("http://{}", listener.local_addr()?);
    if arguments.json {
        output::announce(
            json!({ "sandbox_url": url, "api_key": api_key, "pid": std::process::id() })
                .to_string(),
        )?;
    } else {
        output::note(&format!(
            "The Knock sandbox listens on {url}\nIts API key:      {api_key}\nLet a server in:  portico serve --vendor-url {url}, and an integration with \"base_url\":\"{url}\"\nWhat it holds:    curl {url}/_sandbox/state\nWhat it received: curl {url}/_sandbox/requests"
        ));
    }
    sandbox.serve(listener, signals::told_to_stop()).await?;
    Ok(())
}
