//! Removing what a write says of a person: for erasure, and for what was kept long enough.
//!
//! Guarantee: a write's row stays, with ids, status, outcome, number of attempts and times.

use model::Timestamp;
use rusqlite::{Connection, params};

use super::{database, events};
use crate::{Error, privacy::ErasureCounts};

/// States of `writes.kept`.
const ALL: i64 = 2;
const NO_ATTEMPTS: i64 = 1;
const NOTHING: i64 = 0;

/// Strips an ended write, and counts what went.
pub(super) fn write(
    connection: &Connection,
    seq: i64,
    now: Timestamp,
    counts: &mut ErasureCounts,
) -> Result<(), Error> {
    let job_id: String = connection
        .prepare_cached("SELECT job_id FROM writes WHERE seq = ?1")
        .and_then(|mut sql| sql.query_row([seq], |row| row.get(0)))
        .map_err(database)?;
    connection
        .prepare_cached("DELETE FROM idempotency WHERE job_id = ?1")
        .and_then(|mut sql| sql.execute([&job_id]))
        .map_err(database)?;
    counts.attempts += attempts_of(connection, seq)?;
    events::forget(connection, &job_id)?;
    counts.writes += connection
        .prepare_cached("UPDATE writes SET result = '', request = '', errors = NULL, kept = ?2, stripped_at = coalesce(stripped_at, ?3) WHERE seq = ?1")
        .and_then(|mut sql| sql.execute(params![seq, NOTHING, now.as_micros()]))
        .map_err(database)? as u64;
    Ok(())
}

fn attempts_of(connection: &Connection, seq: i64) -> Result<u64, Error> {
    connection
        .prepare_cached("DELETE FROM attempts WHERE seq = ?1")
        .and_then(|mut sql| sql.execute([seq]))
        .map(|count| count as u64)
        .map_err(database)
}

/// Whether attempts of a write that has ended are still kept.
pub(super) fn keeps_attempts(connection: &Connection, seq: i64) -> Result<bool, Error> {
    connection
        .prepare_cached("SELECT kept = ?2 FROM writes WHERE seq = ?1")
        .and_then(|mut sql| sql.query_row([seq, ALL], |row| row.get(0)))
        .map_err(database)
}

/// Writes that ended before `before` and of which something is kept that `kept` names, the earliest first.
fn ended(
    connection: &Connection,
    kept: i64,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<i64>, Error> {
    connection
        .prepare_cached(
            "SELECT seq FROM writes INDEXED BY writes_kept
             WHERE kept > 0 AND kept = ?1 AND completed_at IS NOT NULL AND completed_at < ?2 ORDER BY completed_at LIMIT ?3",
        )
        .and_then(|mut sql| {
            sql.query_map(params![kept, before.as_micros(), limit], |row| row.get(0))?
                .collect()
        })
        .map_err(database)
}

/// Removes the attempts of up to `limit` writes that ended before `before`. Returns of how many.
pub(super) fn sweep_attempts(
    connection: &Connection,
    before: Timestamp,
    limit: u32,
) -> Result<u64, Error> {
    let due = ended(connection, ALL, before, limit)?;
    for seq in &due {
        attempts_of(connection, *seq)?;
        connection
            .prepare_cached("UPDATE writes SET kept = ?2 WHERE seq = ?1")
            .and_then(|mut sql| sql.execute([*seq, NO_ATTEMPTS]))
            .map_err(database)?;
    }
    Ok(due.len() as u64)
}

/// Strips up to `limit` writes that ended before `before`. Returns how many.
pub(super) fn sweep_writes(
    connection: &Connection,
    before: Timestamp,
    limit: u32,
    now: Timestamp,
) -> Result<u64, Error> {
    let mut due = ended(connection, NO_ATTEMPTS, before, limit)?;
    let more = limit.saturating_sub(u32::try_from(due.len()).unwrap_or(limit));
    due.extend(ended(connection, ALL, before, more)?);
    for seq in &due {
        write(connection, *seq, now, &mut ErasureCounts::default())?;
    }
    Ok(due.len() as u64)
}
