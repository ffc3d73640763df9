//! A loop that runs until it is told to stop: the worker's, and the announcer's.
//!
//! Guarantee: whatever ends the loop, [`Running::alive`] says so.

use std::future::Future;

use tokio::{sync::watch, task::JoinHandle};

/// See the module.
pub struct Running {
    stop: watch::Sender<bool>,
    alive: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts a loop on the current runtime. It ends soon after what it is given turns true.
    pub fn start<F>(run: impl FnOnce(watch::Receiver<bool>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopping) = watch::channel(false);
        let (living, alive) = watch::channel(true);
        let run = run(stopping);
        let task = tokio::spawn(async move {
            // Dropped when the loop ends, also by a panic.
            let _living = living;
            run.await;
        });
        Self { stop, alive, task }
    }

    /// Closed when the loop has ended: for readiness.
    pub fn alive(&self) -> watch::Receiver<bool> {
        self.alive.clone()
    }

    /// Has the loop take up nothing more, and waits until it has ended.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}
