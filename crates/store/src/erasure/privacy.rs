//! What concerns a person's rights: what they agreed to, and that they can be forgotten.

use model::Timestamp;
use serde::{Deserialize, Serialize};

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
