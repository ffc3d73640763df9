//! What a batch of changes has read and reads again, and what it was foreseen to read.
//!
//! Guarantee: nothing in it outlives the transaction that read it, the undoing of what was read, or a change of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::record::Kind;

use crate::{attempts::Standing, records::Stored};

/// Who an event is to be delivered to: the row of a subscription, and its id.
pub(crate) type Subscribers = Vec<(i64, String)>;

/// A record by the vendor's id of it.
pub(super) type ByVendor = (i64, Kind, String);

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Memo(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    subscribers: HashMap<String, Subscribers>,
    standings: HashMap<i64, Standing>,
    records: HashMap<ByVendor, Option<Stored>>,
}

impl Memo {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is to an event of this kind.
    pub(super) fn subscribers(&self, kind: &str) -> Option<Subscribers> {
        self.lock().subscribers.get(kind).cloned()
    }

    /// Remembers who is.
    pub(super) fn subscribers_keep(&self, kind: String, subscribers: Subscribers) {
        self.lock().subscribers.insert(kind, subscribers);
    }

    /// Takes how a write stands, if that was foreseen to be asked.
    pub(super) fn standing(&self, seq: i64) -> Option<Standing> {
        self.lock().standings.remove(&seq)
    }

    /// Takes a record, or that there is none, if that was foreseen to be asked.
    pub(super) fn record(&self, by: &ByVendor) -> Option<Option<Stored>> {
        self.lock().records.remove(by)
    }

    /// Keeps what is going to be asked.
    pub(super) fn foresee(
        &self,
        standings: HashMap<i64, Standing>,
        records: HashMap<ByVendor, Option<Stored>>,
    ) {
        let mut kept = self.lock();
        kept.standings = standings;
        kept.records = records;
    }

    /// A record is stored, or was changed, under some id of the vendor's.
    pub(super) fn record_changed(&self, seq: i64, lane: i64, kind: Kind, x_id: Option<&str>) {
        let mut kept = self.lock();
        if !kept.records.is_empty() {
            kept.records.retain(|by, known| {
                let is_it = known.as_ref().is_some_and(|known| known.seq == seq);
                !(is_it || (by.0 == lane && by.1 == kind && Some(by.2.as_str()) == x_id))
            });
        }
    }

    /// Something that was read has changed, or was never so.
    pub(crate) fn forget(&self) {
        *self.lock() = Kept::default();
    }
}
