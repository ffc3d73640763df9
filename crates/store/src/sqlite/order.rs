//! Which open writes go before which: the earliest of an order key goes first.
//!
//! The keys are kept with the queue's rows; what answers quickly who is first is a table in the writing connection's memory, made from them at
//! the start. So it is never synced, and still follows every rollback. Guarantee: a write is ready when it is the earliest of
//! all its keys. Memory: some 40 bytes an open write.
//! Bound: one connection writes to the queue, that of the process which owns the data directory.

use model::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    database,
    intake::{READY, WAITS},
};
use crate::Error;

/// Makes the table, from the queue as it stands.
pub(super) fn build(connection: &mut Connection) -> Result<(), Error> {
    connection
        .pragma_update(None, "temp_store", "MEMORY")
        .map_err(database)?;
    let transaction = connection.transaction().map_err(database)?;
    transaction
        .execute_batch(
            "CREATE TEMP TABLE queue_order (order_key INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (order_key, seq)) WITHOUT ROWID",
        )
        .map_err(database)?;
    {
        let mut open = transaction
            .prepare("SELECT seq, order_keys FROM queue")
            .map_err(database)?;
        let mut rows = open.query([]).map_err(database)?;
        while let Some(row) = rows.next().map_err(database)? {
            let (seq, keys): (i64, Vec<u8>) =
                (row.get(0).map_err(database)?, row.get(1).map_err(database)?);
            for key in read(&keys) {
                enter_one(&transaction, seq, key)?;
            }
        }
    }
    transaction.commit().map_err(database)
}

/// Keys as they are kept with a row of the queue.
pub(super) fn kept(keys: &[i64]) -> Vec<u8> {
    keys.iter().flat_map(|key| key.to_be_bytes()).collect()
}

fn read(kept: &[u8]) -> impl Iterator<Item = i64> {
    kept.as_chunks::<8>()
        .0
        .iter()
        .map(|bytes| i64::from_be_bytes(*bytes))
}

/// Adds a write behind all others of its keys; `true` when there are any, so that it has to wait.
pub(super) fn enter(connection: &Connection, seq: i64, keys: &[i64]) -> Result<bool, Error> {
    let mut waits = false;
    for key in keys {
        waits |= first(connection, *key)?.is_some_and(|first| first != seq);
        enter_one(connection, seq, *key)?;
    }
    Ok(waits)
}

fn enter_one(connection: &Connection, seq: i64, key: i64) -> Result<(), Error> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO temp.queue_order (order_key, seq) VALUES (?1, ?2)")
        .and_then(|mut sql| sql.execute([key, seq]))
        .map(drop)
        .map_err(database)
}

fn first(connection: &Connection, key: i64) -> Result<Option<i64>, Error> {
    // The plus is for speed: with a bare parameter SQLite prepares a statement that sorts anew at every run.
    connection
        .prepare_cached("SELECT min(seq) FROM temp.queue_order WHERE order_key = +?1")
        .and_then(|mut sql| sql.query_row([key], |row| row.get(0)))
        .map_err(database)
}

/// The open writes with a key, the earliest first.
pub(super) fn open(connection: &Connection, key: i64) -> Result<Vec<i64>, Error> {
    connection
        .prepare_cached("SELECT seq FROM temp.queue_order WHERE order_key = ?1 ORDER BY seq")
        .and_then(|mut sql| sql.query_map([key], |row| row.get(0))?.collect())
        .map_err(database)
}

/// Takes out a write whose row of the queue is gone, and makes ready those that waited for it alone.
pub(super) fn leave(
    connection: &Connection,
    seq: i64,
    kept: &[u8],
    now: Timestamp,
) -> Result<(), Error> {
    for key in read(kept) {
        connection
            .prepare_cached("DELETE FROM temp.queue_order WHERE order_key = ?1 AND seq = ?2")
            .and_then(|mut sql| sql.execute([key, seq]))
            .map_err(database)?;
    }
    for key in read(kept) {
        if let Some(next) = first(connection, key)? {
            make_ready(connection, next, now)?;
        }
    }
    Ok(())
}

/// Makes a waiting write ready, if it is the earliest of all its keys.
fn make_ready(connection: &Connection, seq: i64, now: Timestamp) -> Result<(), Error> {
    let keys: Option<Vec<u8>> = connection
        .prepare_cached("SELECT order_keys FROM queue WHERE seq = ?1 AND state = ?2")
        .and_then(|mut sql| sql.query_row([seq, WAITS], |row| row.get(0)).optional())
        .map_err(database)?;
    let Some(keys) = keys else { return Ok(()) };
    for key in read(&keys) {
        if first(connection, key)? != Some(seq) {
            return Ok(());
        }
    }
    connection
        .prepare_cached("UPDATE queue SET state = ?2, due_at = ?3 WHERE seq = ?1")
        .and_then(|mut sql| sql.execute(params![seq, READY, now.as_micros()]))
        .map(drop)
        .map_err(database)
}
