//! The signals that a running server follows: to stop, to stop at once, to read its files again.
//!
//! Guarantee: from when a server asks for them, no signal but SIGKILL ends it before its store is
//! closed.

use std::{path::PathBuf, sync::Arc};

use listener::tls::Certificate;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{commands::serve, logging};

/// The signals that stop a server: SIGTERM, and the interrupt of a terminal.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Ends when the server is told to stop.
    pub(crate) async fn told(&mut self) {
        self.next().await;
        tracing::info!("told to stop; finishing what is under way");
    }

    /// Ends when the server is told so once more: somebody does not want to wait.
    pub(crate) async fn told_again(&mut self) {
        self.next().await;
        tracing::warn!(
            "told to stop again; calls and requests under way are broken off, what was accepted is stored"
        );
    }
}

/// Ends when the process is told to stop, for commands that have nothing to finish.
pub(crate) async fn told_to_stop() {
    match Stop::listen() {
        Ok(mut stop) => stop.told().await,
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

/// The files that a server reads again on SIGHUP.
#[derive(Default)]
pub(crate) struct Reloads {
    /// The certificate that callers see over TLS.
    pub(crate) certificate: Option<Arc<Certificate>>,
    /// The configuration file.
    pub(crate) config: Option<PathBuf>,
}

impl Reloads {
    /// Reads these again at each SIGHUP, for as long as the process runs.
    ///
    /// # Errors
    /// When the system does not let it.
    pub(crate) fn follow(self) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                self.reload().await;
            }
        });
        Ok(())
    }

    async fn reload(&self) {
        tracing::info!("told to read again; the TLS certificate and the log level are read");
        if let Some(certificate) = &self.certificate {
            certificate.clone().renew().await;
        }
        let level = serve::log_level(self.config.as_deref()).and_then(|level| match level {
            Some(level) => logging::set_level(&level).map(|()| level),
            None => logging::set_level("").map(|()| "info".to_owned()),
        });
        match level {
            Ok(level) => tracing::info!(level, "the log level is read"),
            Err(why) => tracing::error!(
                why = format!("{why:#}"),
                "the log level cannot be read; the one in force stays"
            ),
        }
    }
}
