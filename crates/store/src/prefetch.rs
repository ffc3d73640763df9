//! What a batch of changes has read and reads again, and what it was foreseen to read.
//!
//! Guarantee: nothing in it outlives the transaction that read it, the undoing of what was read, or a change of it.

use std::{cell::RefCell, collections::HashMap};

use model::record::Kind;

use crate::{attempts::Standing, records::Stored};

/// Who an event is to be delivered to: the row of a subscription, and its id.
pub(crate) type Subscribers = Vec<(i64, String)>;

/// A record by the vendor's id of it.
pub(super) type ByVendor = (i64, Kind, String);

/// See the module.
#[derive(Default)]
pub(crate) struct Memo(RefCell<Kept>);

#[derive(Default)]
struct Kept {
    subscribers: HashMap<String, Subscribers>,
    standings: HashMap<i64, Standing>,
    records: HashMap<ByVendor, Option<Stored>>,
}

impl Memo {
    /// Who is to an event of this kind.
    pub(super) fn subscribers(&self, kind: &str) -> Option<Subscribers> {
        self.0.borrow().subscribers.get(kind).cloned()
    }

    /// Remembers who is.
    pub(super) fn subscribers_keep(&self, kind: String, subscribers: Subscribers) {
        self.0.borrow_mut().subscribers.insert(kind, subscribers);
    }

    /// Takes how a write stands, if that was foreseen to be asked.
    pub(super) fn standing(&self, seq: i64) -> Option<Standing> {
        self.0.borrow_mut().standings.remove(&seq)
    }

    /// Takes a record, or that there is none, if that was foreseen to be asked.
    pub(super) fn record(&self, by: &ByVendor) -> Option<Option<Stored>> {
        self.0.borrow_mut().records.remove(by)
    }

    /// Keeps what is going to be asked.
    pub(super) fn foresee(
        &self,
        standings: HashMap<i64, Standing>,
        records: HashMap<ByVendor, Option<Stored>>,
    ) {
        let mut kept = self.0.borrow_mut();
        kept.standings = standings;
        kept.records = records;
    }

    /// A record is stored, or was changed, under some id of the vendor's.
    pub(super) fn record_changed(&self, seq: i64, lane: i64, kind: Kind, x_id: Option<&str>) {
        let mut kept = self.0.borrow_mut();
        if !kept.records.is_empty() {
            kept.records.retain(|by, known| {
                let is_it = known.as_ref().is_some_and(|known| known.seq == seq);
                !(is_it || (by.0 == lane && by.1 == kind && Some(by.2.as_str()) == x_id))
            });
        }
    }

    /// Something that was read has changed, or was never so.
    pub(crate) fn forget(&self) {
        self.0.take();
    }
}
