//! Which open writes go before which: the earliest of an order key goes first.
//!
//! The keys are kept with the queue's rows; `queue_order` answers quickly who is first. On SQLite it is a table in the writing connection's memory, made
//! from the queue at the start ([`sqlite`](crate::engines::sqlite)): it is never synced, and still follows every rollback. On PostgreSQL it is a table like others, for all nodes.
//! Guarantee: a write is ready when it is the earliest of all its keys.

use std::collections::{BTreeMap, BTreeSet};

use model::Timestamp;

use crate::{
    Error,
    engines::{
        Transaction,
        bulk::{Bulk, Merge, Question, Type::Integer},
        db::{Db, owned, values},
    },
};

/// Keys as they are kept with a row of the queue.
pub(crate) fn kept(keys: &[i64]) -> Vec<u8> {
    keys.iter().flat_map(|key| key.to_be_bytes()).collect()
}

/// Keys as they were kept.
pub(crate) fn read(kept: &[u8]) -> impl Iterator<Item = i64> {
    kept.as_chunks::<8>()
        .0
        .iter()
        .map(|bytes| i64::from_be_bytes(*bytes))
}

const ENTERED: Bulk = Bulk {
    order: 12,
    sql: "INSERT INTO queue_order (order_key, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    types: &[Integer, Integer],
    merge: Merge::Keep,
};

/// Adds a write behind all others of its keys.
pub(crate) fn enter(tx: &Transaction<'_>, seq: i64, keys: &[i64]) {
    for key in keys {
        tx.put(&ENTERED, values![key, seq]);
    }
}

/// Adds one of a write's keys at once.
pub(crate) fn enter_one(db: &Db<'_>, seq: i64, key: i64) -> Result<(), Error> {
    db.send(ENTERED.sql, values![key, seq])
}

const LEFT: Bulk = Bulk {
    order: 90,
    sql: "DELETE FROM queue_order WHERE order_key = ?1 AND seq = ?2",
    types: &[Integer, Integer],
    merge: Merge::Keep,
};

/// The write that is first with a key, if it waits, and all its keys.
const WAITING: &str = "SELECT q.seq, q.order_keys FROM queue q WHERE q.state = 0 AND q.seq = (SELECT o.seq FROM queue_order o WHERE o.order_key = ?1 ORDER BY o.seq LIMIT 1)";

/// The write that is first with a key.
const FIRST: &str = "SELECT o.seq FROM queue_order o WHERE o.order_key = ?1 ORDER BY o.seq LIMIT 1";

const MADE_READY: Bulk = Bulk {
    order: 84,
    sql: "UPDATE queue SET state = 1, due_at = ?2 WHERE seq = ?1",
    types: &[Integer, Integer],
    merge: Merge::Last(1),
};

/// Order keys of writes that have left the queue, and when, in steady time: a write that waited for
/// one of them may be due.
#[derive(Default)]
pub(crate) struct Left(Vec<(i64, Timestamp)>);

impl Left {
    /// Takes out a write whose row of the queue is gone.
    pub(crate) fn add(&mut self, tx: &Transaction<'_>, seq: i64, kept: &[u8], now: Timestamp) {
        let due_at = tx.time.at_once(now);
        for key in read(kept) {
            tx.put(&LEFT, values![key, seq]);
            self.0.push((key, due_at));
        }
    }

    /// Makes due the writes that waited for these, and wait for no other.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn settle(self, tx: &Transaction<'_>) -> Result<(), Error> {
        let Some(now) = self.0.iter().map(|(_, now)| *now).max() else {
            return Ok(());
        };
        let lookup = |sql, keys: BTreeSet<i64>| {
            let sets = keys.iter().map(|key| owned(values![key])).collect();
            let types = &[Integer];
            [Question { sql, types, sets }]
        };
        let questions = lookup(WAITING, self.0.iter().map(|(key, _)| *key).collect());
        let mut waiting: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        tx.ask(&questions)?.each(&questions, 0, |_, row| {
            let kept: Vec<u8> = row.get(1)?;
            waiting.insert(row.get(0)?, read(&kept).collect());
            Ok(())
        })?;
        let keys: BTreeSet<i64> = waiting.values().flatten().copied().collect();
        let questions = lookup(FIRST, keys.clone());
        let keys: Vec<i64> = keys.into_iter().collect();
        let mut first = BTreeMap::new();
        tx.ask(&questions)?.each(&questions, 0, |set, row| {
            first.insert(keys[set], row.get(0)?);
            Ok(())
        })?;
        for (seq, keys) in &waiting {
            if keys.iter().all(|key| first.get(key) == Some(seq)) {
                tx.put(&MADE_READY, values![seq, now.as_micros()]);
            }
        }
        Ok(())
    }
}
