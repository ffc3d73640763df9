//! The directory in memory, kept right.
//!
//! Guarantee: a change made through this process is in force at once, one made by another process (the command line) within
//! [`POLL_MS`]. When the store cannot be read, the last good directory stays in force and a log line says so.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use model::{Clock, Directory};

use crate::{Error, Store, directory_load};

/// How often another process's changes are looked for. One indexed read; well below the second that is promised.
pub const POLL_MS: u64 = 250;

/// The directory in force, shared by all who read it.
#[derive(Clone)]
pub struct Live {
    current: Arc<Mutex<Arc<Directory>>>,
}

impl Live {
    /// Loads the directory.
    ///
    /// # Errors
    /// As the store's.
    pub async fn load(store: &dyn Store, clock: &dyn Clock) -> Result<Self, Error> {
        let directory = directory_load(store, clock.now()).await?;
        Ok(Self {
            current: Arc::new(Mutex::new(Arc::new(directory))),
        })
    }

    /// The directory in force now.
    pub fn get(&self) -> Arc<Directory> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Loads the directory anew.
    ///
    /// # Errors
    /// As the store's; the old one stays in force.
    pub async fn refresh(&self, store: &dyn Store, clock: &dyn Clock) -> Result<(), Error> {
        let directory = Arc::new(directory_load(store, clock.now()).await?);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = directory;
        Ok(())
    }

    /// Keeps the directory right until the store is closed.
    pub async fn follow(self, store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
        let mut known = None;
        loop {
            match store.directory_revision().await {
                Ok(revision) if known == Some(revision) => {}
                Ok(revision) => match self.refresh(&*store, &*clock).await {
                    Ok(()) => known = Some(revision),
                    Err(why) => {
                        tracing::error!(%why, "the directory could not be read; the last good one stays in force");
                    }
                },
                Err(Error::Closed) => return,
                Err(why) => tracing::error!(%why, "the directory's revision could not be read"),
            }
            let _ = tokio::time::timeout(
                Duration::from_millis(POLL_MS),
                store.signals().directory_changed(),
            )
            .await;
        }
    }
}
