//! The times on records.
//!
//! Guarantee: each is later than every one before it, in the order of commits, whatever the clock does. So who walks a list by time misses nothing
//! that was stored behind their back.

use model::Timestamp;
use rusqlite::Connection;

use super::database;
use crate::Error;

/// Makes the place where the last one is kept: in the writing connection's memory, so that it follows every rollback.
pub(super) fn build(connection: &Connection) -> Result<(), Error> {
    connection
        .execute_batch(
            "CREATE TEMP TABLE stamp (last INTEGER NOT NULL);
             INSERT INTO temp.stamp SELECT max(
                 coalesce((SELECT max(created_at) FROM records), 0),
                 coalesce((SELECT max(updated_at) FROM records), 0),
                 coalesce((SELECT max(last_seen) FROM records), 0))",
        )
        .map_err(database)
}

/// `now`, or a microsecond after the last one if that is later.
pub(super) fn next(connection: &Connection, now: Timestamp) -> Result<Timestamp, Error> {
    connection
        .prepare_cached("UPDATE temp.stamp SET last = max(last + 1, ?1) RETURNING last")
        .and_then(|mut sql| sql.query_row([now.as_micros()], |row| row.get(0)))
        .map(Timestamp::from_micros)
        .map_err(database)
}
