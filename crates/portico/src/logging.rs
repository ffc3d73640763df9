//! Log lines: structured, on stderr, without secrets or personal data.
//!
//! Guarantee: nothing in Portico puts a body, a token or a contact into a log line; libraries that would are kept to warnings.

use std::io::IsTerminal;

use anyhow::{Context, bail};
use tracing_subscriber::EnvFilter;

/// The filter unless `PORTICO_LOG` says otherwise.
const DEFAULT: &str = "info";

/// Libraries whose verbose lines show what they carry.
const KEPT_QUIET: [&str; 5] = [
    "hyper=warn",
    "hyper_util=warn",
    "reqwest=warn",
    "rustls=warn",
    "h2=warn",
];

/// Starts logging. `PORTICO_LOG` takes a filter such as `debug` or `delivery=debug`; `PORTICO_LOG_FORMAT=json` writes JSON lines.
///
/// # Errors
/// When either is not understood.
pub(crate) fn start() -> anyhow::Result<()> {
    let wanted = std::env::var("PORTICO_LOG").unwrap_or_else(|_| DEFAULT.to_owned());
    let mut filter = EnvFilter::try_new(&wanted)
        .context("PORTICO_LOG is not a filter such as `debug` or `info,delivery=debug`")?;
    for directive in KEPT_QUIET {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    std::panic::set_hook(Box::new(|panic| {
        // Where, and not what: what a panic says may repeat what came from outside.
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "a fault of Portico");
    }));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match std::env::var("PORTICO_LOG_FORMAT").as_deref() {
        Err(_) | Ok("" | "text") => lines.init(),
        Ok("json") => lines.json().init(),
        Ok(_) => bail!("PORTICO_LOG_FORMAT is `text` or `json`"),
    }
    Ok(())
}
