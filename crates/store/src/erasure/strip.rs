//! Removing what a write says of a person: for erasure, and for what was kept long enough.
//!
//! Guarantee: a write's row stays, with ids, status, outcome, number of attempts and times.

use model::Timestamp;

use crate::{
    Error, Store,
    engines::db::{Db, values},
    erasure::privacy::ErasureCounts,
    events,
};

/// States of `writes.kept`.
const ALL: i64 = 2;
const NO_ATTEMPTS: i64 = 1;
const NOTHING: i64 = 0;

/// The fingerprint of a body that was removed.
const NO_FINGERPRINT: [u8; 0] = [];

/// Strips an ended write, and counts what went.
pub(crate) fn write(
    db: &Db<'_>,
    seq: i64,
    now: Timestamp,
    counts: &mut ErasureCounts,
) -> Result<(), Error> {
    let job_id: String = db.one(
        "SELECT job_id FROM writes WHERE seq = ?1",
        values![seq],
        |row| row.get(0),
    )?;
    // The key stays for its time, so that a repeat makes nobody anew. The hash of the body goes:
    // who guesses a body could confirm it.
    db.send(
        "UPDATE idempotency SET fingerprint = ?2 WHERE job_id = ?1",
        values![&job_id, NO_FINGERPRINT],
    )?;
    counts.attempts += attempts_of(db, seq)?;
    events::forget(db, &job_id)?;
    counts.writes += db.execute(
        "UPDATE writes SET result = '', request = '', errors = NULL, kept = ?2, stripped_at = coalesce(stripped_at, ?3) WHERE seq = ?1",
        values![seq, NOTHING, now.as_micros()],
    )?;
    Ok(())
}

fn attempts_of(db: &Db<'_>, seq: i64) -> Result<u64, Error> {
    db.execute("DELETE FROM attempts WHERE seq = ?1", values![seq])
}

/// Whether attempts of a write that has ended are still kept, by its `kept`.
pub(crate) const fn keeps_attempts(kept: i64) -> bool {
    kept == ALL
}

/// Writes that ended before `before` and of which something is kept that `kept` names, the earliest first.
fn ended(db: &Db<'_>, kept: i64, before: Timestamp, limit: u32) -> Result<Vec<i64>, Error> {
    db.all(
        "SELECT seq FROM writes INDEXED BY writes_kept
             WHERE kept > 0 AND kept = ?1 AND completed_at IS NOT NULL AND completed_at < ?2 ORDER BY completed_at LIMIT ?3",
        values![kept, before.as_micros(), limit],
        |row| row.get(0),
    )
}

/// Removes the attempts of up to `limit` writes that ended before `before`. Returns of how many.
pub(crate) fn sweep_attempts(db: &Db<'_>, before: Timestamp, limit: u32) -> Result<u64, Error> {
    let due = ended(db, ALL, before, limit)?;
    for seq in &due {
        attempts_of(db, *seq)?;
        db.send(
            "UPDATE writes SET kept = ?2 WHERE seq = ?1",
            values![*seq, NO_ATTEMPTS],
        )?;
    }
    Ok(due.len() as u64)
}

/// Strips up to `limit` writes that ended before `before`. Returns how many.
pub(crate) fn sweep_writes(
    db: &Db<'_>,
    before: Timestamp,
    limit: u32,
    now: Timestamp,
) -> Result<u64, Error> {
    let mut due = ended(db, NO_ATTEMPTS, before, limit)?;
    let more = limit.saturating_sub(u32::try_from(due.len()).unwrap_or(limit));
    due.extend(ended(db, ALL, before, more)?);
    for seq in &due {
        write(db, *seq, now, &mut ErasureCounts::default())?;
    }
    Ok(due.len() as u64)
}

impl Store {
    /// Removes the attempts of up to `limit` writes that ended before `before`. Returns of how many.
    pub async fn attempts_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.engine
            .write(move |tx| sweep_attempts(tx, before, limit))
            .await
    }

    /// Removes what up to `limit` writes that ended before `before` say of a person: body, request, errors, attempts. Returns how many.
    pub async fn writes_sweep(
        &self,
        before: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, Error> {
        self.engine
            .write(move |tx| sweep_writes(tx, before, limit, now))
            .await
    }
}
