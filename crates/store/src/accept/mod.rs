//! Accepting writes.
//!
//! Guarantee: a write that was accepted is on stable storage, once for each idempotency key.

pub(crate) mod batch;
pub(crate) mod idempotency;

use model::{
    Consent, IntegrationId, Permission, Scope, Timestamp,
    permission::{Group, Level},
    write::{Block, NewWrite, Operation},
};

use crate::{Acceptance, Error, Once, Store, accept::batch::NewRow, queue::Request};

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
        let named = write.confirmed.prospect_id();
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
        let bytes = row.bytes();
        self.engine.take(NewRow { row, once }, bytes).await
    }
}
