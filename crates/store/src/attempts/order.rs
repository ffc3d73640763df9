//! Which open writes go before which: the earliest of an order key goes first.
//!
//! The keys are kept with the queue's rows; `queue_order` answers quickly who is first. On SQLite it is a table in the writing connection's memory, made
//! from the queue at the start ([`sqlite`](crate::sqlite)): it is never synced, and still follows every rollback. On PostgreSQL it is a table like others, for all nodes.
//! Guarantee: a write is ready when it is the earliest of all its keys.

use model::Timestamp;

use crate::{
    Error,
    engines::{
        Transaction,
        bulk::{Bulk, Merge, Type::Integer},
    },
};
use crate::{
    accept::{READY, WAITS},
    engines::db::{Db, Row, values},
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

/// Adds one of a write's keys.
pub(crate) fn enter_one(db: &Db<'_>, seq: i64, key: i64) -> Result<(), Error> {
    db.send(
        "INSERT INTO queue_order (order_key, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        values![key, seq],
    )
}

fn first(db: &Db<'_>, key: i64) -> Result<Option<i64>, Error> {
    db.one(
        "SELECT min(seq) FROM queue_order WHERE order_key = ?1",
        values![key],
        |row| row.get(0),
    )
}

const LEFT: Bulk = Bulk {
    order: 90,
    sql: "DELETE FROM queue_order WHERE order_key = ?1 AND seq = ?2",
    types: &[Integer, Integer],
    merge: Merge::Keep,
};

/// Takes out a write whose row of the queue is gone. Writes that waited for it are looked for at the
/// end of the transaction: [`settle`].
pub(crate) fn leave(tx: &mut Transaction<'_>, seq: i64, kept: &[u8], now: Timestamp) {
    let due_at = tx.time.at_once(now);
    for key in read(kept) {
        tx.put(&LEFT, values![key, seq]);
        tx.left.push((key, due_at));
    }
}

/// Makes ready whoever waited for writes that have left with these keys, and waits for nobody else.
pub(crate) fn settle(tx: &Transaction<'_>) -> Result<(), Error> {
    let (db, left) = (&**tx, &tx.left);
    let Some(now) = left.iter().map(|(_, now)| *now).max() else {
        return Ok(());
    };
    match db {
        Db::Sqlite(_) => {
            for (key, _) in left {
                if let Some(next) = first(db, *key)? {
                    make_ready(db, next, now)?;
                }
            }
        }
        // The same, asked once for all.
        Db::Postgres(session) => {
            let keys: Vec<i64> = left.iter().map(|(key, _)| *key).collect();
            let answers = session.together(&[(WAITING, &[&keys])])?;
            for row in answers.iter().flatten() {
                make_ready(db, Row::Postgres(row).get(0)?, now)?;
            }
        }
    }
    Ok(())
}

/// The writes that wait and are the earliest of one of some keys, in PostgreSQL's words.
const WAITING: &str = "SELECT seq FROM queue WHERE state = 0 AND seq IN (SELECT min(seq) FROM queue_order WHERE order_key = ANY ($1) GROUP BY order_key)";

/// Makes a waiting write ready, if it is the earliest of all its keys.
fn make_ready(db: &Db<'_>, seq: i64, now: Timestamp) -> Result<(), Error> {
    let keys: Option<Vec<u8>> = db.find(
        "SELECT order_keys FROM queue WHERE seq = ?1 AND state = ?2",
        values![seq, WAITS],
        |row| row.get(0),
    )?;
    let Some(keys) = keys else { return Ok(()) };
    for key in read(&keys) {
        if first(db, key)? != Some(seq) {
            return Ok(());
        }
    }
    db.send(
        "UPDATE queue SET state = ?2, due_at = ?3 WHERE seq = ?1",
        values![seq, READY, now.as_micros()],
    )
}
