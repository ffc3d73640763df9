//! Idempotency keys: which write a key stands for, and the answer to its repeat.
//!
//! Guarantee: a key that has not expired never stands for two writes.

use model::{JobId, Scope, Timestamp};

use crate::{
    Error, Store,
    engines::{
        db::{self, Db, values},
        writer::ACCEPT_MAX,
    },
    reading::{Cost, Reading},
};

/// An idempotency key as it is kept.
#[derive(Clone)]
pub struct Once {
    /// SHA-256 over the API key's id and the caller's key.
    pub key_hash: [u8; 32],
    /// SHA-256 over the operation and the body.
    pub fingerprint: [u8; 32],
    /// When it was used: an earlier use is replayed unless it expired before.
    pub used_at: Timestamp,
    /// Until when it is kept.
    pub expires_at: Timestamp,
}

/// What became of a write at the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It is stored.
    Accepted,
    /// Its idempotency key was used before with the same body: this is that write.
    Replayed {
        /// The first write's id.
        job_id: JobId,
        /// The first write's echo, byte for byte.
        result: String,
    },
    /// Its idempotency key was used before with another body.
    Mismatch,
    /// Its idempotency key was used before for a write whose contents were removed since, because
    /// the person was forgotten or the time for which writes are kept is over: nothing was stored.
    Erased {
        /// When they were removed.
        at: Timestamp,
    },
}

/// The write that an idempotency key was used for.
pub(crate) struct Used {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) job_id: String,
    pub(crate) expires_at: Timestamp,
    /// The write's echo.
    pub(crate) result: String,
    pub(crate) stripped_at: Option<i64>,
}

/// The write that an idempotency key was used for, as [`used`] reads it.
pub(crate) const USED: &str = "SELECT i.fingerprint, i.job_id, i.expires_at, w.result, w.stripped_at FROM idempotency i JOIN writes w ON w.job_id = i.job_id WHERE i.key_hash = ?1";

/// The answer that a key gets which has not expired.
pub(crate) fn replay(db: &Db<'_>, once: &Once) -> Result<Option<Acceptance>, Error> {
    let found = db.find(USED, values![once.key_hash], used)?;
    let known = found.filter(|used| used.expires_at > once.used_at);
    known.map(|used| replayed(once, &used)).transpose()
}

/// Reads an idempotency key with its write.
pub(crate) fn used(row: &db::Row<'_>) -> Result<Used, Error> {
    Ok(Used {
        fingerprint: row.get(0)?,
        job_id: row.get(1)?,
        expires_at: row.get(2).map(Timestamp::from_micros)?,
        result: row.get(3)?,
        stripped_at: row.get(4)?,
    })
}

/// The answer to a caller that uses a key again: the write's echo, unless it was removed. Of a body
/// that was removed no fingerprint is kept, so it is not compared.
pub(crate) fn replayed(once: &Once, used: &Used) -> Result<Acceptance, Error> {
    if let Some(at) = used.stripped_at {
        return Ok(Acceptance::Erased {
            at: Timestamp::from_micros(at),
        });
    }
    if used.fingerprint != once.fingerprint {
        return Ok(Acceptance::Mismatch);
    }
    let job_id = used
        .job_id
        .parse()
        .map_err(|_| Error::Corrupt("a job id of an idempotency key".to_owned()))?;
    Ok(Acceptance::Replayed {
        job_id,
        result: used.result.clone(),
    })
}

pub(crate) fn sweep(db: &Db<'_>, now: Timestamp, limit: u32) -> Result<u64, Error> {
    db.execute(
        "DELETE FROM idempotency WHERE key_hash IN (SELECT key_hash FROM idempotency WHERE expires_at <= ?1 LIMIT ?2)",
        values![now.as_micros(), limit],
    )
}

impl Store {
    /// What an idempotency key stands for already, if anything.
    pub async fn replay_find(
        &self,
        scope: &Scope,
        once: &Once,
    ) -> Result<Option<Acceptance>, Error> {
        let again = once.clone();
        let once = once.clone();
        let reading = Reading::of(scope, Cost::Lookup);
        let found = self
            .engine
            .read(reading, move |db| replay(db, &once))
            .await?;
        if found.is_none() || !self.engine.is_shared() {
            return Ok(found);
        }
        // It is answered as accepted, and what is read may be on no standby yet: when its commit was given up, or the primary came back without one. A commit that waits is behind it.
        let confirmed = self.engine.write(move |tx| replay(tx, &again));
        match tokio::time::timeout(ACCEPT_MAX, confirmed).await {
            // Not that nothing is stored: it can be read.
            Ok(Err(Error::Busy)) | Err(_) => Err(Error::InDoubt),
            Ok(answer) => answer,
        }
    }

    /// Removes up to `limit` idempotency keys that have expired. Returns how many.
    pub async fn idempotency_sweep(&self, now: Timestamp, limit: u32) -> Result<u64, Error> {
        self.engine.write(move |tx| sweep(tx, now, limit)).await
    }
}
