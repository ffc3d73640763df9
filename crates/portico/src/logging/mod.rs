//! Log lines: structured, on stderr, without secrets or personal data.
//!
//! Guarantee: nothing in Portico puts a body, a token or a contact into a log line, and libraries
//! that would are kept to warnings. No state of stderr ends or blocks the process.

mod filter;
mod lines;

use std::{
    io::{IsTerminal, Write},
    os::fd::AsFd,
    sync::{Arc, OnceLock, atomic::AtomicU64},
};

use anyhow::{Context, anyhow, bail};
use tracing_subscriber::{
    EnvFilter, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::settings;
use lines::Lines;

/// The variable that says how much is logged.
pub(crate) const LEVEL_VARIABLE: &str = "PORTICO_LOG";

/// The variable that says how lines look.
pub(crate) const FORMAT_VARIABLE: &str = "PORTICO_LOG_FORMAT";

/// The lines that wait for stderr, since logging began.
static LINES: OnceLock<Arc<Lines>> = OnceLock::new();

/// By this the filter is replaced while the process runs.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Sees to it that lines that still wait are written when `main` ends, be it by a panic.
#[must_use]
pub(crate) struct Flush;

impl Drop for Flush {
    fn drop(&mut self) {
        flush();
    }
}

/// Starts logging. `PORTICO_LOG` takes a level such as `debug`, and levels of crates, such as
/// `delivery=debug`; `PORTICO_LOG_FORMAT=json` writes JSON lines.
///
/// # Errors
/// When either is not understood, or no thread can be started.
pub(crate) fn start() -> anyhow::Result<Flush> {
    let wanted = settings::variable(LEVEL_VARIABLE)?.unwrap_or_default();
    let (filter, handle) = reload::Layer::new(parsed(&wanted)?);
    let is_json = match settings::variable(FORMAT_VARIABLE)?.as_deref() {
        None => false,
        Some(format) if format.eq_ignore_ascii_case("text") => false,
        Some(format) if format.eq_ignore_ascii_case("json") => true,
        Some(format) => bail!("{FORMAT_VARIABLE} is `{format}`; it takes `text` or `json`"),
    };
    // A descriptor of its own: a write that blocks holds no lock that somebody else may wait for.
    let stderr = std::io::stderr();
    let is_terminal = stderr.is_terminal();
    let out = stderr
        .as_fd()
        .try_clone_to_owned()
        .context("Stderr cannot be opened for the log")?;
    let lines = LINES.get_or_init(Arc::default);
    lines
        .clone()
        .write_to(std::fs::File::from(out))
        .context("The thread that writes the log cannot be started")?;
    std::panic::set_hook(Box::new(|panic| {
        // Where, and not what: what a panic says may repeat what came from outside.
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "a fault of Portico");
    }));
    let registry = tracing_subscriber::registry().with(filter);
    // Without `log_internal_errors(false)` the library prints its own trouble on stderr, and
    // panics when that fails.
    let layer = fmt::layer()
        .log_internal_errors(false)
        .with_ansi(is_terminal)
        .with_writer(lines.clone());
    if is_json {
        registry.with(layer.json()).try_init()?;
    } else {
        registry.with(layer).try_init()?;
    }
    let _ = FILTER.set(handle);
    Ok(Flush)
}

fn parsed(wanted: &str) -> anyhow::Result<EnvFilter> {
    filter::parse(wanted).map_err(|why| anyhow!("{LEVEL_VARIABLE} is not understood: {why}"))
}

fn understood(wanted: &str) -> anyhow::Result<EnvFilter> {
    filter::parse(wanted).map_err(|why| anyhow!("The log level is not understood: {why}"))
}

/// # Errors
/// When the log level is not understood.
pub(crate) fn check(wanted: &str) -> anyhow::Result<()> {
    understood(wanted).map(drop)
}

/// Replaces the filter by what `wanted` says, in the form that `PORTICO_LOG` has.
///
/// # Errors
/// When that is not understood; the filter is as before then.
pub(crate) fn set_level(wanted: &str) -> anyhow::Result<()> {
    let filter = understood(wanted)?;
    let handle = FILTER.get().context("logging has not begun")?;
    handle
        .reload(filter)
        .context("The filter of the log cannot be replaced")
}

/// How many lines could not be written, for a metric.
pub(crate) fn lost() -> Arc<AtomicU64> {
    LINES.get_or_init(Arc::default).lost()
}

/// Prints `text` and a line's end on stderr, behind what is logged, and waits until it is there, but
/// never for long.
pub(crate) fn note(text: &str) {
    let line = format!("{text}\n");
    match LINES.get().filter(|lines| lines.has_writer()) {
        Some(lines) => {
            lines.push(line.as_bytes());
            lines.flush();
        }
        // Before logging has begun.
        None => {
            let _ = std::io::stderr().lock().write_all(line.as_bytes());
        }
    }
}

/// Waits until what was logged is written, but not for a stderr that takes nothing.
pub(crate) fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}
