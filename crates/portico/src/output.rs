//! What the command line prints: data on stdout, the rest on stderr.

use std::{io::Write, process::ExitCode};

/// Prints `text` and a line's end on stdout. A reader that went away is no error of ours.
pub(crate) fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints `text` and a line's end on stderr.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Says why a command failed.
pub(crate) fn failed(why: &anyhow::Error) -> ExitCode {
    note(&format!("portico: {why:#}"));
    ExitCode::FAILURE
}
