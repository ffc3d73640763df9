//! What was done and what changed, to be looked back on: logs of writes, runs of synchronisation, diffs of records.

use model::{IntegrationId, JobId, Timestamp, record::Kind, write::WriteStatus};
use serde_json::{Map, Value};

/// Which lines of a log, newest first.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Of this integration only.
    pub integration_id: Option<IntegrationId>,
    /// With this status only.
    pub status: Option<WriteStatus>,
    /// Not begun before.
    pub since: Option<Timestamp>,
    /// Lines to skip.
    pub offset: u64,
    /// Lines at most.
    pub limit: u64,
}

/// A run of synchronisation.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub job_id: JobId,
    /// What was synchronised.
    pub integration_id: IntegrationId,
    /// The vendor behind that.
    pub integration_vendor: String,
    /// How it ended; `PENDING` while it runs.
    pub status: WriteStatus,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What it did.
    pub tally: Tally,
}

/// What a run of synchronisation did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Calls made to the vendor.
    pub calls: u64,
    /// Records that the vendor showed.
    pub seen: u64,
    /// Of those, the ones that were new here.
    pub created: u64,
    /// Of those, the ones that had changed.
    pub changed: u64,
    /// Records that are known here and that the vendor no longer has.
    pub missing: u64,
    /// What went wrong, in words.
    pub errors: Vec<String>,
    /// The models that it read to their end. Runs of older builds do not say.
    #[serde(default)]
    pub models: Vec<String>,
}

/// Which diffs.
#[derive(Clone, Debug, Default)]
pub struct DiffQuery {
    /// Of records of this integration only.
    pub integration_id: Option<IntegrationId>,
    /// Of this record only.
    pub record_id: Option<String>,
    /// Of records of this kind only.
    pub kind: Option<Kind>,
    /// Of integrations of the vendor of this name only.
    pub vendor: Option<String>,
    /// Not made before.
    pub since: Option<Timestamp>,
    /// Not made after.
    pub until: Option<Timestamp>,
    /// The oldest first.
    pub is_ascending: bool,
    /// Diffs to skip.
    pub offset: u64,
    /// Diffs at most.
    pub limit: u64,
}

/// What changed in a record at one time.
#[derive(Clone, Debug)]
pub struct Diff {
    /// Its place among all diffs.
    pub seq: i64,
    /// When it changed.
    pub at: Timestamp,
    /// The integration of the record.
    pub integration_id: String,
    /// The vendor behind that.
    pub integration_vendor: String,
    /// What the record is of.
    pub kind: Kind,
    /// The record.
    pub record_id: String,
    /// The write or the run of synchronisation that brought it.
    pub job_id: String,
    /// `new` and `previous`: the members that changed, with their values.
    pub diff: Value,
}

/// A record as the vendor has just shown it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it is of.
    pub kind: Kind,
    /// The vendor's id of it.
    pub x_id: String,
    /// When the vendor was asked: a record that changed here after that is as it should be already.
    pub asked_at: Timestamp,
    /// The members that the vendor tells.
    pub update: Map<String, Value>,
    /// Values that members which are lists must have.
    pub add: Vec<(String, String)>,
    /// Id and body of the record should it be new; without them, one that is not known is passed over.
    pub create: Option<(String, Value)>,
    /// Whether the vendor has no such thing any more: the record then stays as it was last seen, and is marked.
    pub is_gone: bool,
}

/// A record to be looked at again.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The vendor's id of it.
    pub x_id: String,
    /// The vendor's id of its community, if known.
    pub x_community_id: Option<String>,
    /// The record's own members, as we have them.
    pub body: Value,
}
