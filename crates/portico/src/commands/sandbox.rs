//! `portico sandbox`

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use connectors::{
    connector::Definition,
    sandbox::{AnySandbox, SandboxSetup},
};
use serde_json::{Value, json};

use crate::{listen_at::ListenAt, output, settings, signals, system::SystemClock, vendors};

/// Runs a vendor's sandbox alone.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    vendor: VendorArgs,
    /// Where to listen: host:port, or a port of this machine. Port 0 picks a free port.
    #[arg(
        long,
        env = "PORTICO_SANDBOX_LISTEN",
        default_value = "127.0.0.1:8089",
        value_name = "ADDR"
    )]
    listen: ListenAt,
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

/// Whose sandbox is meant.
#[derive(clap::Args)]
pub(crate) struct VendorArgs {
    /// The vendor whose sandbox runs; the first when none is named.
    #[arg(long, value_name = "VENDOR", value_parser = vendors::parse)]
    vendor: Option<String>,
}

impl VendorArgs {
    /// The vendor.
    ///
    /// # Errors
    /// When this build has none.
    pub(crate) fn definition(&self) -> anyhow::Result<&'static Definition> {
        vendors::named(self.vendor.as_deref())
    }
}

/// A sandbox with the seeded communities.
pub(crate) fn open(
    definition: &Definition,
    journal: Option<PathBuf>,
    latency_ms: u64,
) -> anyhow::Result<Arc<dyn AnySandbox>> {
    (definition.sandbox.open)(SandboxSetup {
        journal,
        clock: Arc::new(SystemClock),
        latency_ms,
    })
    .context("the sandbox cannot be opened")
}

/// The credentials that a sandbox takes, by member.
pub(crate) fn credentials(definition: &Definition) -> anyhow::Result<Value> {
    serde_json::from_str(definition.sandbox.credentials)
        .context("the credentials of the sandbox are not JSON")
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let definition = arguments.vendor.definition()?;
    let sandbox = open(definition, arguments.journal, arguments.latency_ms)?;
    let credentials = credentials(definition)?;
    // The name that it had when there was one vendor, with one member.
    let api_key = definition.terms.credentials.first();
    let api_key = api_key.map(|member| &credentials[*member]);
    let listener = arguments.listen.listen(settings::named("--listen")).await?;
    let url = format!("http://{}", listener.local_addr()?);
    if arguments.json {
        let mut ready = json!({ "sandbox_url": url, "pid": std::process::id() });
        ready["integration_vendor"] = json!(definition.terms.vendor);
        ready["api_key"] = json!(api_key);
        ready["credentials"] = credentials;
        output::announce(ready.to_string())?;
    } else {
        let title = definition.title;
        output::note(&format!(
            "The {title} sandbox listens on {url}\nIts credentials:  {credentials}\nLet a server in:  portico serve --vendor-url {url}, and an integration with \"base_url\":\"{url}\"\nWhat it holds:    curl {url}/_sandbox/state\nWhat it received: curl {url}/_sandbox/requests"
        ));
    }
    sandbox
        .serve(listener, Box::pin(signals::told_to_stop()))
        .await?;
    Ok(())
}
