//! All that one commit carries.
//!
//! Guarantee: a part that is undone leaves nothing: neither rows, nor signals, nor deferred work, nor
//! prefetched rows.

use std::{ops::Deref, sync::Arc};

use model::{Entropy, Timestamp};

use super::db::Db;
use crate::{signals::Raised, sql::memo::Memo, time::Time};

/// A transaction under way: its statements, and what follows from its commit.
pub(crate) struct Transaction<'a> {
    db: Db<'a>,
    /// Ids of what is stored along the way.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The clock that changes go by.
    pub(crate) time: Time,
    /// Signals that the commit raises.
    pub(crate) raised: Raised,
    /// Order keys of writes that have ended, and when, in steady time: a write that waited for one
    /// may be ready.
    pub(crate) left: Vec<(i64, Timestamp)>,
    /// Rows that were read already.
    pub(crate) memo: Memo,
}

/// What a part of a transaction is added to.
pub(super) struct Outer {
    raised: Raised,
    left: Vec<(i64, Timestamp)>,
}

impl<'a> Deref for Transaction<'a> {
    type Target = Db<'a>;

    fn deref(&self) -> &Db<'a> {
        &self.db
    }
}

impl<'a> Transaction<'a> {
    /// One that has changed nothing yet.
    pub(crate) fn new(db: Db<'a>, entropy: Arc<dyn Entropy>, time: Time) -> Self {
        Self {
            db,
            entropy,
            time,
            raised: Raised::default(),
            left: Vec::new(),
            memo: Memo::default(),
        }
    }

    /// Records that a subscription changed.
    pub(crate) fn webhooks_changed(&mut self) {
        self.raised.webhooks = true;
        self.memo.forget();
    }

    /// Begins a part that can be undone alone.
    pub(super) fn begin_part(&mut self) -> Outer {
        Outer {
            raised: std::mem::take(&mut self.raised),
            left: std::mem::take(&mut self.left),
        }
    }

    /// Keeps the part.
    pub(super) fn keep_part(&mut self, outer: Outer) {
        let part = std::mem::replace(&mut self.raised, outer.raised);
        self.raised.add(part);
        let left = std::mem::replace(&mut self.left, outer.left);
        self.left.extend(left);
    }

    /// Forgets the part, whose rows are undone.
    pub(super) fn undo_part(&mut self, outer: Outer) {
        (self.raised, self.left) = (outer.raised, outer.left);
        self.memo.forget();
    }
}
