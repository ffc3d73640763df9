//! The directory in memory, kept right.
//!
//! Guarantee: a change made through this process is in force at once, one made by another process (the command line) within
//! [`POLL_MS`]. When the store cannot be read, the last good directory stays in force and a log line says so.

use std::{sync::Arc, time::Duration};

use model::Directory;
use tokio::sync::{Mutex, watch};

use crate::{Error, Store};

/// How often another process's changes are looked for. One indexed read; well below the second that is promised.
pub const POLL_MS: u64 = 250;

/// The directory in force, shared by all who read it.
#[derive(Clone)]
pub struct Live {
    current: Arc<watch::Sender<Arc<Directory>>>,
    /// Held while it is brought up to date: who comes meanwhile finds it done.
    refreshing: Arc<Mutex<()>>,
}

impl Live {
    /// Loads the directory.
    ///
    /// # Errors
    /// As the store's.
    pub async fn load(store: &Store) -> Result<Self, Error> {
        let directory = store.directory_load().await?;
        Ok(Self {
            current: Arc::new(watch::Sender::new(Arc::new(directory))),
            refreshing: Arc::default(),
        })
    }

    /// The directory in force now.
    pub fn get(&self) -> Arc<Directory> {
        self.current.borrow().clone()
    }

    /// Tells of each change from now on.
    pub fn changes(&self) -> watch::Receiver<Arc<Directory>> {
        self.current.subscribe()
    }

    /// Brings the directory up to date: what was changed before is in force afterwards.
    ///
    /// # Errors
    /// As the store's; the old one stays in force.
    pub async fn refresh(&self, store: &Store) -> Result<(), Error> {
        let _alone = self.refreshing.lock().await;
        let known = self.get();
        let changes = store.directory_contents(known.revision()).await?;
        if changes.revision != known.revision() {
            let directory = Arc::new(known.with(changes));
            self.current.send_replace(directory);
        }
        Ok(())
    }

    /// Keeps the directory right until the store is closed.
    pub async fn follow(self, store: Arc<Store>) {
        loop {
            match store.directory_revision().await {
                Ok(revision) if self.get().revision() == revision => {}
                Ok(_) => {
                    if let Err(why) = self.refresh(&store).await {
                        why.tell(
                            "the directory could not be read; the last good one stays in force",
                        );
                    }
                }
                Err(Error::Closed) => return,
                Err(why) => why.tell("the directory's revision could not be read"),
            }
            let _ = tokio::time::timeout(
                Duration::from_millis(POLL_MS),
                store.signals().directory_changed(),
            )
            .await;
        }
    }
}
