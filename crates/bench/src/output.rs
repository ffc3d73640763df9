//! The lines that the benchmark prints: figures on stdout, the rest on stderr.
//!
//! Guarantee: nothing that is printed steers the terminal. Answers of servers are in it.

use std::{io::Write, process::ExitCode};

use model::text::shown_lines;

/// Prints `text` and a line's end on stdout.
///
/// # Errors
/// When stdout takes nothing.
pub(crate) fn data(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", shown_lines(text))?;
    out.flush()
}

/// Prints `text` and a line's end on stderr.
pub(crate) fn note(text: &str) {
    // A stderr that nobody reads does not stop a measurement.
    let _ = writeln!(std::io::stderr().lock(), "{}", shown_lines(text));
}

/// Says why the benchmark failed.
pub(crate) fn failed(why: &anyhow::Error) -> ExitCode {
    note(&format!("portico-bench: {why:#}"));
    ExitCode::FAILURE
}
