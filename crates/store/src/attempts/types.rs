//! What the claimers of writes ask the store, and what they are told.

use model::{
    IntegrationId, JobId, Timestamp,
    write::{Attempt, AttemptKind, Call, Class, Operation},
};
use serde::Deserialize;

/// How many due writes to claim, and for whom.
pub struct Claim {
    /// What is asked for each integration.
    pub lanes: Vec<Ask>,
    /// The time at which a write counts as due, in steady time.
    pub now: Timestamp,
    /// Until when the claimer holds them without renewing, in steady time.
    pub lease_until: Timestamp,
}

/// What a claim asks for one integration. Its limits hold for all who claim, in whichever process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The integration.
    pub integration_id: IntegrationId,
    /// Writes that the claimer can take now.
    pub limit: u32,
    /// Writes of it under a lease at once, whoever holds them.
    pub concurrency: u32,
    /// From the beginning of one call to that of the next at least; no limit when absent.
    pub gap_micros: Option<i64>,
    /// When the integration was last changed, as far as the claimer knows, whose limits are of then. When that is not so, nothing is given: it would be counted by limits that are no
    /// more, and go where it is not to go. Not looked at when absent.
    pub as_of: Option<Timestamp>,
}

/// What a claim brought for one integration.
pub struct Lane {
    /// The integration.
    pub integration_id: IntegrationId,
    /// Its writes, now under a lease.
    pub writes: Vec<Claimed>,
    /// Writes whose rows cannot be read, also under a lease, and why: the claimer ends them, so that they stop nothing behind them.
    pub unreadable: Vec<(Ticket, String)>,
    /// When its next ready write is due, if it has one.
    pub next_due_at: Option<Timestamp>,
    /// Before then a claim brings nothing, whatever is due: that is as fast as its vendor may be called, its vendor asked to be left alone, or others hold as much as may be
    /// under way. In the last case it is soon: nobody tells when a place is free.
    pub not_before: Option<Timestamp>,
}

/// The right to record what became of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The write's place in the order accepted.
    pub seq: i64,
    /// Which attempt of it.
    pub attempt: u32,
}

/// A write under a lease.
pub struct Claimed {
    /// The lease.
    pub ticket: Ticket,
    /// The write.
    pub job_id: JobId,
    /// What is asked.
    pub operation: Operation,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The same in steady time.
    pub queued_at: Timestamp,
    /// Whether an earlier attempt ended without a known outcome: the vendor may hold it.
    pub may_be_held: bool,
    /// Which attempt this is of those that count for the retry schedule: first and second attempts
    /// in a row that Portico's own end cut off do not.
    pub tries: u32,
    /// What the vendor is sent.
    pub call: Call,
    /// Whether it was put back until its turn, which has come.
    pub has_turn: bool,
    /// The last call to the vendor that was made for it. One that was made to be let in is none.
    pub last: Option<LastAttempt>,
}

/// What is known of a call that was made for a write.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LastAttempt {
    /// What it was for.
    #[serde(default = "AttemptKind::own")]
    pub kind: AttemptKind,
    /// How it ended.
    pub class: Class,
    /// The vendor's id of the record, where a further call needs it.
    #[serde(default)]
    pub x_id: Option<String>,
}

/// How an attempt leaves its write.
#[derive(Clone)]
pub enum Verdict {
    /// The vendor confirmed it.
    Delivered {
        /// The vendor's id of the record, if it gave one.
        x_id: Option<String>,
        /// Our id of the record, should it be new.
        record_id: String,
        /// What the vendor has not taken of it, in words.
        errors: Vec<String>,
    },
    /// It has ended without success.
    Failed {
        /// Why, in words.
        errors: Vec<String>,
    },
    /// It will be tried again.
    Again {
        /// Not before, in steady time.
        at: Timestamp,
        /// Why it has not ended, in words.
        errors: Vec<String>,
    },
}

/// An attempt that is over, and what follows.
#[derive(Clone)]
pub struct Finish {
    /// The lease.
    pub ticket: Ticket,
    /// The attempt.
    pub attempt: Attempt,
    /// What follows.
    pub verdict: Verdict,
    /// Until when the vendor asked to be left alone, in steady time: nothing more of its integration is claimed before.
    pub pause_until: Option<Timestamp>,
    /// When.
    pub now: Timestamp,
}
