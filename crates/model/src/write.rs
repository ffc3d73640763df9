//! A write's life: accepted, attempted, ended.
//!
//! Guarantee: a write ends once, in one of three ways, and says why.
//! Source: the public contract, section 2.

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::resources::Operation;
use crate::{
    clock::Timestamp,
    consent::Consent,
    id::{CommunityId, IntegrationId, JobId},
};

/// An enum whose members have words of their own in requests, answers and the store.
#[macro_export]
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $word:tt,)+ }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        $(#[$doc])*
        pub enum $name { $($(#[$member_doc])* #[serde(rename = $word)] $member,)+ }

        impl $name {
            /// Every member.
            pub const ALL: &'static [Self] = &[$(Self::$member,)+];

            /// Its word in requests, answers and the store.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$member => $word,)+ }
            }

            /// The member that `word` names.
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|member| member.word() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// Where a write stands.
    WriteStatus {
        /// Accepted and durable; its outcome is not known yet.
        Pending = "PENDING",
        /// The vendor has confirmed all of it.
        Success = "SUCCESS",
        /// The vendor has confirmed a part of it; `errors` says what is missing.
        PartialSuccess = "PARTIAL_SUCCESS",
        /// It has ended without effect, or its effect could not be learned; `errors` says why.
        Failure = "FAILURE",
    }
}

words! {
    /// What a successful write did.
    #[schema(as = WriteOutcome)]
    Outcome {
        /// The vendor made a new record.
        Created = "CREATED",
        /// The vendor answered with a record that we already knew.
        Matched = "MATCHED",
        /// The vendor changed the record that was meant.
        Updated = "UPDATED",
        /// The vendor made a new record in the place of an earlier one.
        Replaced = "REPLACED",
    }
}

words! {
    /// How one call to a vendor ended.
    #[schema(as = AttemptClass)]
    Class {
        /// The vendor has it and said so.
        Delivered = "delivered",
        /// The vendor refused it, for a reason that a repeat cannot mend.
        Rejected = "rejected",
        /// The vendor has not taken it, and may later.
        Retry = "retry",
        /// The vendor did not accept our credential.
        Unauthorized = "unauthorized",
        /// The vendor may or may not have it.
        Unknown = "unknown",
    }
}

words! {
    /// What a call to a vendor is for.
    AttemptKind {
        /// To have the write taken.
        Write = "write",
        /// To learn whether the vendor has it, after an attempt whose outcome is unknown.
        Resolve = "resolve",
        /// To have the rest taken, after the vendor matched a record that it held.
        FollowUp = "follow_up",
        /// To be let in.
        Token = "token",
        /// None was made, although it was the write's turn.
        NoCall = "no_call",
    }
}

impl AttemptKind {
    /// The write's own call: what attempts were of when they did not say.
    pub const fn own() -> Self {
        Self::Write
    }

    /// Whether it is the write's own call.
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::Write)
    }
}

/// One call, as it will be sent, every time the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The HTTP method.
    pub method: String,
    /// The path at the vendor, from the slash on.
    pub path: String,
    /// The vendor's id of the community, for headers that name it.
    pub x_community_id: String,
    /// The JSON body.
    pub body: Value,
}

/// A record that the vendor's confirmation of a write makes or changes.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The whole record as it stands if it is new to us, without ids, times and what only the vendor knows.
    pub create: Value,
    /// The members to change if we already hold it.
    pub update: Value,
    /// The record that the write is about, when it exists already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Field and value: a record of the same kind and community that has it is this one, if the vendor gives no id that says more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<(String, String)>,
    /// Field and value: an upcoming record of the same kind and community that has one of them gives its place to this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<(String, String)>,
    /// What the vendor thereby does to a prospect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prospect: Option<Touched>,
}

impl Confirmed {
    /// The id of the record's community, if it has one.
    pub fn community_id(&self) -> Option<&str> {
        self.create["community_id"].as_str()
    }

    /// The id of the prospect that the record is about, if that was known when it was accepted.
    pub fn prospect_id(&self) -> Option<&str> {
        self.create["prospect_id"].as_str()
    }
}

/// What a write about something else does to a prospect, whose record follows if it is known.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Touched {
    /// Field and value: the prospect of the same community that has the first of them that any has.
    pub by: Vec<(String, String)>,
    /// The members to change.
    pub update: Value,
}

/// What keeps a write out: an open write of one of these operations with this order key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The order key.
    pub key: i64,
    /// The operations.
    pub operations: &'static [Operation],
}

/// A write as it is accepted.
pub struct NewWrite {
    /// Its id.
    pub job_id: JobId,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The integration it goes to.
    pub integration_id: IntegrationId,
    /// The community it concerns.
    pub community_id: CommunityId,
    /// What is asked.
    pub operation: Operation,
    /// The accepted body, echoed to the caller: JSON text.
    pub result: String,
    /// What the vendor will be sent.
    pub call: Call,
    /// What the vendor's confirmation will make of it.
    pub confirmed: Confirmed,
    /// Writes that share one of these keys are delivered in the order accepted.
    pub order_keys: Vec<i64>,
    /// It is not accepted while one of these is open: what it would send depends on how that one ends.
    pub blocked_by: Vec<Block>,
    /// The failed write that this one repeats, if it does.
    pub retry_of: Option<JobId>,
    /// What it says about automated messages to the person, where its operation has that.
    pub consent: Option<Consent>,
    /// The id of the request that brought it.
    pub request_id: String,
}

/// A write as it stands.
pub struct Write {
    /// Its id.
    pub job_id: JobId,
    /// The integration it goes to.
    pub integration_id: IntegrationId,
    /// The vendor behind that.
    pub integration_vendor: String,
    /// The community it concerns.
    pub community_id: CommunityId,
    /// What was asked.
    pub operation: Operation,
    /// The accepted body: JSON text.
    pub result: String,
    /// What the vendor is sent; `None` when what is stored cannot be read.
    pub call: Option<Call>,
    /// The record that it is about, when that existed before.
    pub subject: Option<String>,
    /// Where it stands.
    pub status: WriteStatus,
    /// What it did, once it has ended well.
    pub outcome: Option<Outcome>,
    /// Why it ended otherwise, in words; while pending, why it has not ended yet.
    pub errors: Vec<String>,
    /// Our id of the record it made or met.
    pub record_id: Option<String>,
    /// Calls begun so far.
    pub attempts: u32,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// When it is tried next; `None` when it has ended, is being tried now, or waits for an earlier write about the same person.
    pub next_attempt_at: Option<Timestamp>,
    /// What it said about automated messages to the person, where its operation has that.
    pub consent: Option<Consent>,
    /// When what it says of a person was removed; `result`, `call`, `subject` and the attempts are gone since.
    pub stripped_at: Option<Timestamp>,
}

/// What the vendor said, bounded and without secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// The beginning of the answer's body.
    pub body: Option<String>,
    /// Whether the body was cut.
    #[serde(default)]
    pub body_is_cut: bool,
}

/// One call that was made, or begun and cut off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which call of its write: 1, 2, ...
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took; `None` when it was cut off.
    pub duration_ms: Option<u64>,
    /// How it ended.
    pub class: Class,
    /// Why, in words, when it did not deliver.
    pub error: Option<String>,
    /// What the vendor said.
    pub reply: Reply,
    /// What the call was for.
    #[serde(
        default = "AttemptKind::own",
        skip_serializing_if = "AttemptKind::is_write"
    )]
    pub kind: AttemptKind,
    /// The vendor's id of the record, where a further call needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_id: Option<String>,
    /// What was sent, where that is not the write's own call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Call>,
}
