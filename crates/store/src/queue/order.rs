//! Which open writes go before which: the earliest of an order key goes first.
//!
//! The keys are kept with the queue's rows; `queue_order` answers quickly who is first. On SQLite it is a table in the writing connection's memory, made
//! from the queue at the start ([`sqlite`](crate::engines::sqlite)): it is never synced, and still follows every rollback. On PostgreSQL it is a table like others, for all nodes.
//! Guarantee: a write is ready when it is the earliest of all its keys.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use model::Timestamp;

use super::WAITS;
use crate::{
    Error,
    engines::{
        Transaction,
        bulk::{Answers, Bulk, Merge, Question, Type::Integer},
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

/// The first two writes with a key: one that may leave the queue, and the one behind it. State and
/// all keys of each.
const FIRST_TWO: &str =
    "SELECT o.seq, q.state, q.order_keys FROM queue_order o JOIN queue q ON q.seq = o.seq
     WHERE o.order_key = ?1 ORDER BY o.seq LIMIT 2";

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

/// A write in the queue: its place, its state, and all its keys.
type Queued = (i64, i64, Vec<i64>);

/// The first two writes with each of some keys, read before the first of them leave.
#[derive(Default)]
struct Ahead(HashMap<i64, Vec<Queued>>);

/// Asks for the writes that wait behind those that are about to leave the queue.
pub(crate) fn behind_question(keys: &[i64]) -> Question<'_> {
    Question {
        sql: FIRST_TWO,
        types: &[Integer],
        sets: keys.iter().map(|key| owned(values![key])).collect(),
    }
}

/// Keeps the answer to [`behind_question`], which stands at `place` of the `questions`.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn behind_keep(
    tx: &Transaction<'_>,
    keys: &[i64],
    (answers, questions, place): (&Answers<'_>, &[Question<'_>], usize),
) -> Result<(), Error> {
    let found = answers.of_each(questions, place, |row| {
        let kept: Vec<u8> = row.get(2)?;
        Ok((row.get(0)?, row.get(1)?, read(&kept).collect()))
    })?;
    let ahead = keys.iter().copied().zip(found).collect();
    tx.prefetched.with(|known: &mut Ahead| known.0 = ahead);
    Ok(())
}

/// Writes that have left the queue: those that waited for one of them may be due.
#[derive(Default)]
pub(crate) struct Left {
    seqs: HashSet<i64>,
    keys: BTreeSet<i64>,
    /// When those are due that wait for nobody any more, in steady time.
    due_at: Option<Timestamp>,
}

impl Left {
    /// Takes out a write whose row of the queue is gone.
    pub(crate) fn add(&mut self, tx: &Transaction<'_>, seq: i64, kept: &[u8], now: Timestamp) {
        self.due_at = self.due_at.max(Some(tx.time.at_once(now)));
        self.seqs.insert(seq);
        for key in read(kept) {
            tx.put(&LEFT, values![key, seq]);
            self.keys.insert(key);
        }
    }

    /// Makes due the writes that waited for these, and wait for no other.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn settle(self, tx: &Transaction<'_>) -> Result<(), Error> {
        let Some(due_at) = self.due_at else {
            return Ok(());
        };
        let ahead = tx
            .prefetched
            .with(|known: &mut Ahead| std::mem::take(known));
        // Who is first with a key by now, as far as that is known.
        let mut first: BTreeMap<i64, i64> = BTreeMap::new();
        let mut waiting: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        let mut unknown = BTreeSet::new();
        for key in &self.keys {
            let queued = ahead.0.get(key).map_or(&[][..], Vec::as_slice);
            match queued.iter().find(|(seq, ..)| !self.seqs.contains(seq)) {
                Some((seq, state, keys)) => {
                    first.insert(*key, *seq);
                    if *state == WAITS {
                        waiting.insert(*seq, keys.clone());
                    }
                }
                // One of them left, and there was no other.
                None if queued.len() == 1 => {}
                None => {
                    unknown.insert(*key);
                }
            }
        }
        if !unknown.is_empty() {
            let questions = [lookup(WAITING, &unknown)];
            tx.ask(&questions)?.each(&questions, 0, |_, row| {
                let kept: Vec<u8> = row.get(1)?;
                waiting.insert(row.get(0)?, read(&kept).collect());
                Ok(())
            })?;
        }
        let keys = waiting.values().flatten().copied();
        let others: BTreeSet<i64> = keys.filter(|key| !first.contains_key(key)).collect();
        if !others.is_empty() {
            let questions = [lookup(FIRST, &others)];
            let others: Vec<i64> = others.into_iter().collect();
            tx.ask(&questions)?.each(&questions, 0, |set, row| {
                first.insert(others[set], row.get(0)?);
                Ok(())
            })?;
        }
        for (seq, keys) in &waiting {
            if keys.iter().all(|key| first.get(key) == Some(seq)) {
                tx.put(&MADE_READY, values![seq, due_at.as_micros()]);
            }
        }
        Ok(())
    }
}

fn lookup(sql: &'static str, keys: &BTreeSet<i64>) -> Question<'static> {
    Question {
        sql,
        types: &[Integer],
        sets: keys.iter().map(|key| owned(values![key])).collect(),
    }
}
