//! All that one commit carries.
//!
//! Changes that come in crowds wait in it, and are made for many rows at once: before anything is
//! read, and at the end of each part. Guarantee: a part that is undone leaves nothing: neither rows,
//! nor signals, nor prefetched rows.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::Deref,
    sync::Arc,
};

use model::{Entropy, Timestamp};

use super::{
    bulk::{Bulk, Merge},
    db::{Db, Ordered, Value, values},
    prefetch::Prefetched,
};
use crate::{Error, signals::Raised, time::Time};

/// Rows of a change that wait.
type Rows = Vec<Vec<Value<'static>>>;

/// A transaction under way: its statements, and what follows from its commit.
pub(crate) struct Transaction<'a> {
    db: Db<'a>,
    /// Ids of what is stored along the way.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The clock that changes go by.
    pub(crate) time: Time,
    /// Signals that the commit raises.
    pub(crate) raised: Raised,
    /// Rows that were read already.
    pub(crate) prefetched: Prefetched,
    /// Changes that wait, by their order.
    waiting: RefCell<BTreeMap<u8, (&'static Bulk, Rows)>>,
    /// Why a change that waited could not be made.
    failed: RefCell<Option<Error>>,
    /// The last row of each table that is in order, on SQLite.
    last_seqs: Cell<[Option<i64>; Ordered::ALL.len()]>,
    /// The last time that was given, and the time of the clock then, on SQLite.
    stamp: Cell<Option<(Timestamp, Timestamp)>>,
}

/// What a part of a transaction is added to.
pub(super) struct Outer(Raised);

/// Whoever reads finds what was changed before.
impl<'a> Deref for Transaction<'a> {
    type Target = Db<'a>;

    fn deref(&self) -> &Db<'a> {
        if let Err(why) = self.flush() {
            self.failed.borrow_mut().get_or_insert(why);
        }
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
            prefetched: Prefetched::default(),
            waiting: RefCell::default(),
            failed: RefCell::default(),
            last_seqs: Cell::default(),
            stamp: Cell::default(),
        }
    }

    /// Has a change made for one more row.
    pub(crate) fn put(&self, bulk: &'static Bulk, values: &[Value<'_>]) {
        let row: Vec<Value<'static>> = values.iter().map(Value::owned).collect();
        let mut waiting = self.waiting.borrow_mut();
        let (known, rows) = waiting
            .entry(bulk.order)
            .or_insert_with(|| (bulk, Vec::new()));
        debug_assert_eq!(known.sql, bulk.sql, "two changes have one order");
        let key = match bulk.merge {
            Merge::Keep => 0,
            Merge::Last(key) => key,
            Merge::Sum => 1,
        };
        let earlier = match key {
            0 => None,
            key => rows.iter_mut().rfind(|one| one[..key] == row[..key]),
        };
        match earlier {
            None => rows.push(row),
            Some(earlier) if bulk.merge == Merge::Sum => {
                if let (Value::Integer(sum), Value::Integer(more)) = (&mut earlier[1], &row[1]) {
                    *sum += more;
                }
            }
            Some(earlier) => *earlier = row,
        }
    }

    /// Takes back a row of a change that waits.
    pub(crate) fn take_back(&self, bulk: &'static Bulk, values: &[Value<'_>]) {
        if let Some((_, rows)) = self.waiting.borrow_mut().get_mut(&bulk.order) {
            rows.retain(|row| row.as_slice() != values);
        }
    }

    /// The database without the changes that wait: for what no such change can concern.
    pub(crate) const fn before_waiting(&self) -> &Db<'a> {
        &self.db
    }

    /// Makes the changes that wait.
    fn flush(&self) -> Result<(), Error> {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for (bulk, rows) in waiting.into_values() {
            self.db.bulk(bulk, rows)?;
        }
        Ok(())
    }

    /// The place of the next row of a table that is in order. Nobody else stores one meanwhile.
    pub(crate) fn next_seq(&self, table: Ordered) -> Result<i64, Error> {
        let Db::Postgres(session) = self.db else {
            let mut all = self.last_seqs.get();
            let last = match all[table as usize] {
                Some(last) => last,
                None => self.db.one(table.newest(), &[], |row| {
                    row.get::<Option<i64>>(0).map(Option::unwrap_or_default)
                })?,
            };
            all[table as usize] = Some(last + 1);
            self.last_seqs.set(all);
            return Ok(last + 1);
        };
        session.next_seq(table)
    }

    /// A time for what is stored now: `now`, or a microsecond after the last one if that is later.
    /// So whoever walks a list by time misses nothing that was stored behind their back.
    pub(crate) fn next_stamp(&self, now: Timestamp) -> Result<Timestamp, Error> {
        let Db::Postgres(session) = self.db else {
            let last = match self.stamp.get() {
                Some((last, _)) => last,
                None => self
                    .db
                    .one("SELECT last FROM temp.stamp", &[], |row| row.get(0))
                    .map(Timestamp::from_micros)?,
            };
            let next = now.max(Timestamp::from_micros(last.as_micros().saturating_add(1)));
            self.stamp.set(Some((next, now)));
            return Ok(next);
        };
        session.stamp(now)
    }

    /// The time of the clock when the last one was given.
    pub(crate) fn stamped_at(&self) -> Timestamp {
        match self.db {
            Db::Postgres(session) => session.stamp_given(),
            Db::Sqlite(_) => self.stamp.get().map_or(Timestamp::ZERO, |(_, now)| now),
        }
    }

    /// Records that a subscription changed.
    pub(crate) fn webhooks_changed(&mut self) {
        self.raised.webhooks = true;
        self.prefetched.forget();
    }

    /// Begins a part that can be undone alone.
    pub(super) fn begin_part(&mut self) -> Outer {
        Outer(std::mem::take(&mut self.raised))
    }

    /// Makes what waits, at the end of a part or of the whole.
    ///
    /// # Errors
    /// Why something that waited could not be made.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        let flushed = self.flush();
        match self.failed.borrow_mut().take() {
            Some(why) => Err(why),
            None => flushed,
        }
    }

    /// Keeps the part.
    pub(super) fn keep_part(&mut self, outer: Outer) {
        let part = std::mem::replace(&mut self.raised, outer.0);
        self.raised.add(part);
    }

    /// Forgets the part, whose rows are undone.
    pub(super) fn undo_part(&mut self, outer: Outer) {
        self.raised = outer.0;
        self.waiting.borrow_mut().clear();
        self.failed.borrow_mut().take();
        self.prefetched.forget();
    }

    /// Ends it, but for the commit. Returns the signals that the commit raises.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub(super) fn end(self) -> Result<Raised, Error> {
        self.settle()?;
        if let Some((last, _)) = self.stamp.get() {
            let sql = "UPDATE temp.stamp SET last = ?1";
            self.db.execute(sql, values![last.as_micros()])?;
        }
        Ok(self.raised)
    }
}
