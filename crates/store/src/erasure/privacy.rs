//! What concerns a person's rights: what they agreed to, and that they can be forgotten.

use model::{CommunityId, Consent, IntegrationId, JobId, KeyId, Timestamp, write::WriteStatus};
use serde::{Deserialize, Serialize};

/// Which consent events, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentQuery {
    /// Of this prospect.
    pub prospect_id: String,
    /// Events to skip.
    pub offset: u64,
    /// Events at most.
    pub limit: u64,
}

/// What a write said about automated messages to its prospect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentEvent {
    /// Its place among all.
    pub seq: i64,
    /// When the write was accepted.
    pub at: Timestamp,
    /// What it said.
    pub consent: Consent,
    /// The request that brought it.
    pub request_id: String,
    /// The key that it came with; `None` for the operator at the machine.
    pub key_id: Option<KeyId>,
    /// The write.
    pub job_id: JobId,
    /// The write that first said it, when this one is a retry.
    pub repeats_job_id: Option<JobId>,
    /// The integration that the write went to.
    pub integration_id: IntegrationId,
    /// The community that it concerned.
    pub community_id: CommunityId,
    /// How the write stands.
    pub write_status: WriteStatus,
}

/// What was forgotten of a prospect, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The prospect.
    pub id: String,
    /// When.
    pub erased_at: Timestamp,
    /// How much.
    pub counts: ErasureCounts,
}

/// How much was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureCounts {
    /// Writes whose body, request and errors are gone; their rows stay.
    pub writes: u64,
    /// Attempts that are gone.
    pub attempts: u64,
    /// Records without the person now: the prospect's own, and its events and appointments.
    pub records: u64,
    /// Diffs that are gone.
    pub diffs: u64,
}
