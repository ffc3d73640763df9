//! The times on records and events.
//!
//! Guarantee: each is later than every one before it, in the order of commits, whatever the clock does. So who walks a list by time misses nothing
//! that was stored behind their back.

use model::{Timestamp, record::Kind};
use rusqlite::Connection;

use super::database;
use crate::Error;

/// Makes the place where the last one is kept: in the writing connection's memory, so that it follows every rollback.
pub(super) fn build(connection: &Connection) -> Result<(), Error> {
    // Each of these is one step into an index: the times of creation, and of events, rise with the order stored, the others are indexed by kind.
    let mut last: i64 = connection
        .query_row(
            "SELECT max(coalesce((SELECT created_at FROM records ORDER BY seq DESC LIMIT 1), 0),
                        coalesce((SELECT at FROM events ORDER BY seq DESC LIMIT 1), 0))",
            [],
            |row| row.get(0),
        )
        .map_err(database)?;
    for kind in Kind::ALL {
        let of_kind: i64 = connection
            .prepare_cached(
                "SELECT max(coalesce((SELECT max(updated_at) FROM records WHERE kind = ?1), 0),
                            coalesce((SELECT max(last_seen) FROM records WHERE kind = ?1), 0))",
            )
            .and_then(|mut sql| sql.query_row([kind.word()], |row| row.get(0)))
            .map_err(database)?;
        last = last.max(of_kind);
    }
    connection
        .execute_batch("CREATE TEMP TABLE stamp (last INTEGER NOT NULL, given INTEGER NOT NULL)")
        .and_then(|()| connection.execute("INSERT INTO temp.stamp VALUES (?1, 0)", [last]))
        .map(drop)
        .map_err(database)
}

/// `now`, or a microsecond after the last one if that is later.
pub(super) fn next(connection: &Connection, now: Timestamp) -> Result<Timestamp, Error> {
    connection
        .prepare_cached("UPDATE temp.stamp SET last = max(last + 1, ?1), given = ?1 RETURNING last")
        .and_then(|mut sql| sql.query_row([now.as_micros()], |row| row.get(0)))
        .map(Timestamp::from_micros)
        .map_err(database)
}

/// The `now` of which the last one was made: what the clock says.
pub(super) fn given(connection: &Connection) -> Result<Timestamp, Error> {
    connection
        .prepare_cached("SELECT given FROM temp.stamp")
        .and_then(|mut sql| sql.query_row([], |row| row.get(0)))
        .map(Timestamp::from_micros)
        .map_err(database)
}
