//! Wake-ups between those who commit and those who wait.
//!
//! Guarantee: who subscribes first and looks second misses nothing. A signal is a hint, never the truth: the truth is in the store.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use model::{IntegrationId, JobId, WebhookId};
use tokio::sync::{Notify, futures::Notified};

use crate::time::Time;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What commits signal.
#[derive(Default)]
pub struct Signals {
    time: Time,
    due: Mutex<HashSet<IntegrationId>>,
    due_notify: Notify,
    ended: Mutex<HashMap<JobId, Watched>>,
    directory: Notify,
    sync: Notify,
    deliveries: Mutex<HashSet<WebhookId>>,
    deliveries_notify: Notify,
    webhooks: AtomicU64,
    events: Notify,
    events_revision: AtomicU64,
    /// Whether signals may have been missed, by the dispatcher and by the announcer.
    missed: [AtomicBool; 2],
}

/// A write whose end somebody waits for.
#[derive(Default)]
struct Watched {
    watchers: usize,
    notify: Arc<Notify>,
}

/// What one commit signals.
#[derive(Default)]
pub(crate) struct Raised {
    /// Integrations that have a write due.
    pub(crate) due: HashSet<IntegrationId>,
    /// Writes that have ended.
    pub(crate) ended: Vec<JobId>,
    /// Whether the directory changed.
    pub(crate) directory: bool,
    /// Whether an integration is due to be synchronised.
    pub(crate) sync: bool,
    /// Subscriptions that have a delivery due.
    pub(crate) deliveries: HashSet<WebhookId>,
    /// Whether a subscription changed.
    pub(crate) webhooks: bool,
    /// Whether an event was recorded.
    pub(crate) events: bool,
}

impl Raised {
    /// Adds those of `other`.
    pub(crate) fn add(&mut self, other: Self) {
        self.due.extend(other.due);
        self.ended.extend(other.ended);
        self.directory |= other.directory;
        self.sync |= other.sync;
        self.deliveries.extend(other.deliveries);
        self.webhooks |= other.webhooks;
        self.events |= other.events;
    }
}

impl Signals {
    /// The clock that the store goes by.
    pub fn time(&self) -> &Time {
        &self.time
    }

    pub(crate) fn publish(&self, raised: Raised) {
        if !raised.due.is_empty() {
            lock(&self.due).extend(raised.due);
            self.due_notify.notify_one();
        }
        if !raised.ended.is_empty() {
            let waiting = lock(&self.ended);
            if !waiting.is_empty() {
                for job_id in raised.ended {
                    if let Some(one) = waiting.get(&job_id) {
                        one.notify.notify_waiters();
                    }
                }
            }
        }
        if raised.directory {
            self.directory.notify_one();
        }
        if raised.directory || raised.sync {
            self.sync.notify_one();
        }
        if raised.webhooks {
            self.webhooks.fetch_add(1, Ordering::Release);
        }
        if raised.webhooks || !raised.deliveries.is_empty() {
            lock(&self.deliveries).extend(raised.deliveries);
            self.deliveries_notify.notify_one();
        }
        if raised.events {
            self.events_revision.fetch_add(1, Ordering::Release);
            self.events.notify_waiters();
        }
    }

    /// Signals may have been missed: whoever waits looks at everything.
    pub(crate) fn look_again(&self) {
        for one in &self.missed {
            one.store(true, Ordering::Release);
        }
        for one in lock(&self.ended).values() {
            one.notify.notify_waiters();
        }
        self.webhooks.fetch_add(1, Ordering::Release);
        self.events_revision.fetch_add(1, Ordering::Release);
        self.events.notify_waiters();
        for one in [
            &self.due_notify,
            &self.deliveries_notify,
            &self.directory,
            &self.sync,
        ] {
            one.notify_one();
        }
    }

    /// Whether signals of due writes may have been missed since the last call: then what is due is to be looked for.
    pub fn take_missed_due(&self) -> bool {
        self.missed[0].swap(false, Ordering::AcqRel)
    }

    /// The same of due deliveries.
    pub fn take_missed_deliveries(&self) -> bool {
        self.missed[1].swap(false, Ordering::AcqRel)
    }

    /// Ends when a delivery became due or a subscription changed. One waiter only: the announcer.
    pub fn deliveries_due(&self) -> Notified<'_> {
        self.deliveries_notify.notified()
    }

    /// The subscriptions signalled since the last call.
    pub fn take_deliveries_due(&self) -> HashSet<WebhookId> {
        std::mem::take(&mut lock(&self.deliveries))
    }

    /// A number that grows whenever a subscription changes.
    pub fn webhooks_revision(&self) -> u64 {
        self.webhooks.load(Ordering::Acquire)
    }

    /// A number that grows whenever something may have happened.
    pub fn events_revision(&self) -> u64 {
        self.events_revision.load(Ordering::Acquire)
    }

    /// Ends when something happens after it was enabled: for who follows the log of events.
    pub fn event_recorded(&self) -> Notified<'_> {
        self.events.notified()
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
