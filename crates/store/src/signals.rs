//! Wake-ups between those who commit and those who wait.
//!
//! Guarantee: who subscribes first and looks second misses nothing. A signal is a hint, never the truth: the truth is in the store.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::{IntegrationId, JobId};
use tokio::sync::{Notify, futures::Notified};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What commits signal.
#[derive(Default)]
pub struct Signals {
    due: Mutex<HashSet<IntegrationId>>,
    due_notify: Notify,
    ended: Mutex<HashMap<JobId, Arc<Notify>>>,
    directory: Notify,
}

/// What one commit changed that others wait for.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) due: HashSet<IntegrationId>,
    pub(crate) ended: Vec<JobId>,
    pub(crate) directory: bool,
}

impl Signals {
    pub(crate) fn publish(&self, effects: Effects) {
        if !effects.due.is_empty() {
            lock(&self.due).extend(effects.due);
            self.due_notify.notify_one();
        }
        if !effects.ended.is_empty() {
            let waiting = lock(&self.ended);
            if !waiting.is_empty() {
                for job_id in effects.ended {
                    if let Some(notify) = waiting.get(&job_id) {
                        notify.notify_waiters();
                    }
                }
            }
        }
        if effects.directory {
            self.directory.notify_one();
        }
    }

    /// Ends when some integration has a write that became ready. One waiter only: the dispatcher.
    pub fn due(&self) -> Notified<'_> {
        self.due_notify.notified()
    }

    /// The integrations signalled since the last call.
    pub fn take_due(&self) -> HashSet<IntegrationId> {
        std::mem::take(&mut lock(&self.due))
    }

    /// Ends when the directory changed. One waiter only: the reloader.
    pub fn directory_changed(&self) -> Notified<'_> {
        self.directory.notified()
    }

    /// Subscribes to the end of one write.
    pub fn watch_end(&self, job_id: JobId) -> EndWatch<'_> {
        let notify = lock(&self.ended).entry(job_id).or_default().clone();
        EndWatch {
            signals: self,
            job_id,
            notify,
        }
    }
}

/// A subscription to the end of one write, ended when dropped.
pub struct EndWatch<'a> {
    signals: &'a Signals,
    job_id: JobId,
    notify: Arc<Notify>,
}

impl EndWatch<'_> {
    /// Ends when the write has ended. Make it before looking at the store, and await it after.
    pub fn ended(&self) -> Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for EndWatch<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.signals.ended);
        // Two of the three owners left are this subscription and the map itself.
        if waiting
            .get(&self.job_id)
            .is_some_and(|notify| Arc::strong_count(notify) <= 2)
        {
            waiting.remove(&self.job_id);
        }
    }
}
