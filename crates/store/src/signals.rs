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
    ended: Mutex<HashMap<JobId, Watched>>,
    directory: Notify,
    sync: Notify,
}

/// A write whose end somebody waits for.
#[derive(Default)]
struct Watched {
    watchers: usize,
    notify: Arc<Notify>,
}

/// What one commit changed that others wait for.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) due: HashSet<IntegrationId>,
    pub(crate) ended: Vec<JobId>,
    pub(crate) directory: bool,
    pub(crate) sync: bool,
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
                    if let Some(one) = waiting.get(&job_id) {
                        one.notify.notify_waiters();
                    }
                }
            }
        }
        if effects.directory {
            self.directory.notify_one();
        }
        if effects.directory || effects.sync {
            self.sync.notify_one();
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

    /// Ends when an integration may have become due to be synchronised. One waiter only: the synchroniser.
    pub fn sync_due(&self) -> Notified<'_> {
        self.sync.notified()
    }

    /// Subscribes to the end of one write.
    pub fn watch_end(&self, job_id: JobId) -> EndWatch<'_> {
        let mut waiting = lock(&self.ended);
        let one = waiting.entry(job_id).or_default();
        one.watchers += 1;
        EndWatch {
            signals: self,
            job_id,
            notify: one.notify.clone(),
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
        if let Some(one) = waiting.get_mut(&self.job_id) {
            one.watchers -= 1;
            if one.watchers == 0 {
                waiting.remove(&self.job_id);
            }
        }
    }
}
