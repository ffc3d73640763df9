//! What the command line prints: data on stdout, the rest on stderr.
//!
//! Guarantee: nothing that is printed steers the terminal. Names and answers of others are in it.

use std::{
    io::{ErrorKind, Write},
    process::ExitCode,
    sync::OnceLock,
};

use model::text::shown_lines;

use crate::logging;

/// Why stdout could not be written, the first time.
static TROUBLE: OnceLock<std::io::Error> = OnceLock::new();

/// Prints `text` and a line's end on stdout. If stdout cannot be written, [`finish`] says so.
pub(crate) fn data(text: &str) {
    let text = shown_lines(text);
    let mut out = std::io::stdout().lock();
    if let Err(why) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        let _ = TROUBLE.set(why);
    }
}

/// As [`data`], for a server: it does not wait for a stdout that nobody reads.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn announce(text: String) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("stdout".to_owned())
        .spawn(move || data(&text))
        .map(drop)
}

/// True if the reader of stdout went away, so that nothing more needs to be printed.
pub(crate) fn is_reader_gone() -> bool {
    TROUBLE
        .get()
        .is_some_and(|why| why.kind() == ErrorKind::BrokenPipe)
}

/// Prints `text` and a line's end on stderr.
pub(crate) fn note(text: &str) {
    logging::note(&shown_lines(text));
}

/// Says why a command failed.
pub(crate) fn failed(why: &anyhow::Error) -> ExitCode {
    note(&format!("portico: {why:#}"));
    ExitCode::FAILURE
}

/// Ends a command that did what it was to do. A reader that went away is no failure; a stdout that
/// could not be written is one, since what the command printed may have been a token.
pub(crate) fn finish() -> ExitCode {
    match TROUBLE.get() {
        Some(why) if why.kind() != ErrorKind::BrokenPipe => {
            note(&format!(
                "portico: stdout cannot be written, so what the command printed is lost: {why}"
            ));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
