//! Writes at the door: accept, idempotency, and what a write is afterwards.

pub(crate) mod batch;

use model::{
    Consent, IntegrationId, JobId, Permission, Scope, Timestamp,
    permission::{Group, Level},
    write::{Block, Call, Confirmed, NewWrite, Operation, Outcome, Write, WriteStatus},
};
use serde::{Deserialize, Serialize};

use crate::{
    Acceptance, Error, Once, Store,
    engines::{
        db::{self, Db, corrupt, count, values},
        writer::ACCEPT_MAX,
    },
    reading::{Cost, Reading},
    records,
};

/// What the vendor is sent and what its confirmation makes, as kept in `writes.request`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) call: Call,
    pub(crate) confirmed: Confirmed,
}

/// States of a row in `queue`.
pub(crate) const WAITS: i64 = 0;
pub(crate) const READY: i64 = 1;
pub(crate) const LEASED: i64 = 2;

/// A write as its rows hold it: made before the writing thread is asked, which has no time for it.
pub(crate) struct Row {
    pub(crate) job_id: String,
    pub(crate) integration_id: IntegrationId,
    pub(crate) community_id: String,
    pub(crate) operation: Operation,
    pub(crate) accepted_at: Timestamp,
    pub(crate) retry_of: Option<String>,
    pub(crate) result: String,
    pub(crate) request: String,
    pub(crate) order_keys: Vec<i64>,
    pub(crate) blocked_by: Vec<Block>,
    /// The record that it is about, when that exists already.
    pub(crate) about: Option<String>,
    pub(crate) consent: Option<Consent>,
    pub(crate) request_id: String,
    pub(crate) key_id: Option<String>,
    /// Whether its caller may know of writes of others.
    pub(crate) may_read_writes: bool,
}

impl Row {
    pub(crate) fn of(write: NewWrite, scope: &Scope) -> Result<Self, Error> {
        let named = write.confirmed.create["prospect_id"].as_str();
        let about = write.confirmed.subject.as_deref().or(named);
        let about = about.map(str::to_owned);
        let request = Request {
            call: write.call,
            confirmed: write.confirmed,
        };
        Ok(Self {
            job_id: write.job_id.to_string(),
            integration_id: write.integration_id,
            community_id: write.community_id.to_string(),
            operation: write.operation,
            accepted_at: write.accepted_at,
            retry_of: write.retry_of.map(|id| id.to_string()),
            result: write.result,
            request: serde_json::to_string(&request)
                .map_err(|why| Error::Conflict(format!("the write cannot be stored: {why}")))?,
            order_keys: write.order_keys,
            blocked_by: write.blocked_by,
            about,
            consent: write.consent,
            request_id: write.request_id,
            key_id: scope.key().map(|id| id.to_string()),
            may_read_writes: scope.may(Permission::of(Group::Writes, Level::Read)),
        })
    }

    /// What it holds in memory, nearly.
    pub(crate) fn bytes(&self) -> usize {
        self.result.len() + self.request.len()
    }
}

/// Why a write is refused that the open write `job_id` blocks.
pub(crate) fn blocked(write: &Row, job_id: &str) -> Error {
    Error::Conflict(if write.may_read_writes {
        format!(
            "an earlier write about the same person has not ended: {job_id}. What this one would send depends on how that one ends. Send it again when write-status no longer says PENDING"
        )
    } else {
        // It may be another caller's.
        "an earlier write about the same person has not ended. What this one would send depends on how that one ends. Send it again in a while".to_owned()
    })
}

/// Why a write cannot be sent once more.
pub(crate) fn gone(at: Timestamp) -> String {
    format!(
        "what this write sent was removed at {at}: the person was forgotten, or the time for which writes are kept is over. Send it as a new write"
    )
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

/// What stands for the errors of a write that was stripped: it may not have ended without a word.
const WHY_IS_GONE: &str = "Why is no longer kept: what this write said was removed, since the person was forgotten or the time for which writes are kept is over";

/// The columns that [`read`] reads, of `writes w`, `integrations i`, and `queue q` where the write is open.
pub(crate) const COLUMNS: &str = "w.job_id, i.id, w.community_id, w.operation, w.result, w.request, w.status, w.outcome, coalesce(w.errors, q.errors), w.record_id, coalesce(q.attempt, w.attempts), w.accepted_at, w.completed_at, CASE q.state WHEN 1 THEN q.due_at END, i.vendor, w.stripped_at, (SELECT c.value FROM consents c WHERE c.seq = w.seq), (SELECT c.is_stated FROM consents c WHERE c.seq = w.seq)";

pub(crate) fn find(db: &Db<'_>, scope: &Scope, job_id: JobId) -> Result<Option<Write>, Error> {
    // Another's is not read at all: it would take longer than to find nothing.
    db.find(
        &format!(
            "SELECT {COLUMNS} FROM writes w JOIN integrations i ON i.n = w.lane LEFT JOIN queue q ON q.seq = w.seq WHERE w.job_id = ?1 AND (CAST(?2 AS TEXT) IS NULL OR i.id IN (SELECT value FROM json_each(?2)))"
        ),
        values![job_id.to_string(), records::limited_to(scope)],
        read,
    )
}

pub(crate) fn read(row: &db::Row<'_>) -> Result<Write, Error> {
    let text = |place: usize| row.get::<String>(place);
    let maybe = |place: usize| row.get::<Option<String>>(place);
    let time = |place: usize| {
        row.get::<Option<i64>>(place)
            .map(|at| at.map(Timestamp::from_micros))
    };
    let job_id = text(0)?;
    let bad = |what: &str| Error::Corrupt(format!("{what} of write {job_id}"));
    let request: Option<Request> = serde_json::from_str(&text(5)?).ok();
    let (call, confirmed) = request
        .map(|request| (request.call, request.confirmed))
        .unzip();
    let status = WriteStatus::of(&text(6)?).ok_or_else(|| bad("the status"))?;
    let stripped_at = time(15)?;
    let flag = |place: usize| row.get::<Option<bool>>(place);
    let consent = flag(16)?.zip(flag(17)?);
    let mut errors: Vec<String> = maybe(8)?
        .map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(corrupt("a stored list of errors"))?
        .unwrap_or_default();
    if stripped_at.is_some() && status != WriteStatus::Success {
        errors = vec![WHY_IS_GONE.to_owned()];
    }
    Ok(Write {
        job_id: job_id.parse().map_err(|_| bad("the id"))?,
        integration_id: text(1)?.parse().map_err(|_| bad("the integration"))?,
        integration_vendor: text(14)?,
        community_id: text(2)?.parse().map_err(|_| bad("the community"))?,
        operation: Operation::of(&text(3)?).ok_or_else(|| bad("the operation"))?,
        result: text(4)?,
        call,
        subject: confirmed.and_then(|confirmed| confirmed.subject),
        status,
        outcome: maybe(7)?
            .map(|word| Outcome::of(&word).ok_or_else(|| bad("the outcome")))
            .transpose()?,
        errors,
        record_id: maybe(9)?,
        attempts: count(row, 10)?,
        accepted_at: time(11)?.ok_or_else(|| bad("the time"))?,
        completed_at: time(12)?,
        next_attempt_at: time(13)?,
        consent: consent.map(|(value, is_stated)| Consent { value, is_stated }),
        stripped_at,
    })
}

impl Store {
    /// Takes a write into custody. On `Ok` it is on stable storage.
    pub async fn write_accept(
        &self,
        scope: &Scope,
        write: NewWrite,
        once: Option<Once>,
    ) -> Result<Acceptance, Error> {
        if !scope.sees(write.integration_id) {
            return Err(Error::Conflict(
                "the integration is not the caller's".to_owned(),
            ));
        }
        #[cfg(feature = "discard")]
        if self.discards {
            return Ok(Acceptance::Accepted);
        }
        let row = Row::of(write, scope)?;
        self.engine.accept(row, once).await
    }

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

    /// A write as it stands; `None` when there is none that the caller may know of.
    pub async fn write_find(&self, scope: &Scope, job_id: JobId) -> Result<Option<Write>, Error> {
        let scope = scope.clone();
        self.engine
            .read(Reading::of(&scope, Cost::Lookup), move |db| {
                find(db, &scope, job_id)
            })
            .await
            .map(|found| found.map(|write| self.told(write)))
    }

    /// Removes up to `limit` idempotency keys that have expired. Returns how many.
    pub async fn idempotency_sweep(&self, now: Timestamp, limit: u32) -> Result<u64, Error> {
        self.engine.write(move |tx| sweep(tx, now, limit)).await
    }
}
