//! What a batch of changes has read and reads again.
//!
//! Guarantee: nothing in it outlives the transaction that read it, or the undoing of what was read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Who an event is to be delivered to: the row of a subscription, and its id.
pub(crate) type Subscribers = Vec<(i64, String)>;

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Memo(Arc<Mutex<HashMap<String, Subscribers>>>);

impl Memo {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Subscribers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is to an event of this kind.
    pub(crate) fn subscribers(&self, kind: &str) -> Option<Subscribers> {
        self.lock().get(kind).cloned()
    }

    /// Remembers who is.
    pub(crate) fn subscribers_keep(&self, kind: String, subscribers: Subscribers) {
        self.lock().insert(kind, subscribers);
    }

    /// Something that was read has changed, or was never so.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }
}
