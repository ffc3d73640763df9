//! When keys were last used.
//!
//! Guarantee: noting a use costs a request no more than a look into memory; what was noted is stored now and then, and lost when the process is killed in between.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use model::{KeyId, Timestamp};
use store::{Error, Store};

/// How often what was noted is stored: the answer to "is this key still in use?" need not be finer.
pub const STORE_EVERY: Duration = Duration::from_secs(30);

/// Keys that were used since that was last stored. Bounded by the keys there are.
#[derive(Default)]
pub struct KeyUses(Mutex<HashMap<KeyId, Timestamp>>);

impl KeyUses {
    /// A key was used.
    pub fn note(&self, key: KeyId, now: Timestamp) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, now);
    }

    /// Stores what was noted.
    ///
    /// # Errors
    /// As the store's; what was noted is then noted no more.
    pub async fn store(&self, store: &Store) -> Result<(), Error> {
        let noted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if noted.is_empty() {
            return Ok(());
        }
        store.keys_used(noted.into_iter().collect()).await
    }
}
