//! What Portico remembers.
//!
//! [`Store`] is the list of use cases: one method is one transaction. [`sqlite`] is the back end on one machine's disk, [`postgres`] the one that several nodes
//! share. `conformance` (a feature) is the suite that every back end passes.
//! Guarantee: when a method that changes something returns `Ok`, the change is on stable storage; when it returns an error, nothing changed
//! that a repeat could double, but for [`Error::InDoubt`].

mod accept;
mod attempts;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod copy;
mod directory;
mod engines;
mod erasure;
mod events;
mod inspect;
mod logs;
pub mod migrations;
mod outage;
mod prefetch;
pub mod reading;
mod records;
pub mod sealing;
pub mod signals;
mod store;
mod subscriptions;
mod sync;

use std::time::Duration;

use model::{
    IntegrationId, JobId, Timestamp,
    directory::{Agent, Attribution, Community, Integration},
    write::{Attempt, Call, Confirmed, Operation},
};

pub use crate::{
    clock::time,
    directory::{
        keys::KeyQuery,
        live::{self, Live},
    },
    engines::{postgres, sqlite},
    erasure::{privacy, retention},
    logs::history,
    records::query::{self, Page, Query},
    sealing::Sealer,
    signals::Signals,
    store::Store,
    subscriptions::types as webhooks,
};

/// Why a use case failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The queue in front of the disk is full, another process keeps the database to itself, or the database cannot be reached or does not answer: nothing
    /// was stored. Try again in a moment.
    #[error("the database does not answer, or more is coming in than it can store")]
    Busy,
    /// The database did not say whether a change was stored, since it went away meanwhile or has not waited for its standby: it may be, or not. A repeat under
    /// the same idempotency key finds out.
    #[error("the database has not said whether it was stored")]
    InDoubt,
    /// The store takes no changes just now, for a reason that it has logged: nothing was stored. In
    /// words for the caller.
    #[error("{0}")]
    Refused(String),
    /// The read took longer than [`reading::READ_MAX`] and was broken off. Ask for less at once.
    #[error("the read took longer than it may")]
    ReadTooLong,
    /// The key has as many expensive reads under way as it may have. Try again when one has ended.
    #[error("the key has too many expensive reads under way")]
    ReadsCrowded,
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// What was asked does not fit what is stored; in words for the caller.
    #[error("{0}")]
    Conflict(String),
    /// What was asked is done, but for its last part, which asking again does; in words for the caller.
    #[error("{0}")]
    Unfinished(String),
    /// The database failed; in words for the operator.
    #[error("database: {0}")]
    Database(String),
    /// A stored row could not be read; in words for the operator.
    #[error("stored data: {0}")]
    Corrupt(String),
    /// The caller's key was revoked since it asked: nothing was stored.
    #[error("the API key was revoked meanwhile")]
    Revoked,
    /// The master key is not the one that sealed what is stored.
    #[error("master key: {0}")]
    MasterKey(String),
}

impl Error {
    /// Puts into the log that `what` failed for this reason and is tried again. What is over in a moment the store has told itself, once for all who ask, so that the log of an
    /// outage is read in one screen: it shows only at `debug`.
    pub fn tell(&self, what: &str) {
        match self {
            Self::Closed => {}
            Self::Busy
            | Self::InDoubt
            | Self::Refused(_)
            | Self::ReadTooLong
            | Self::ReadsCrowded => {
                tracing::debug!(why = %self, "{what}");
            }
            why => tracing::error!(%why, "{what}"),
        }
    }
}

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
    /// What its confirmation makes.
    pub confirmed: Confirmed,
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

/// Which leases to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// Those whose time is over.
    Expired,
    /// All: the caller knows that no worker lives. For the start of a store that only one process may own.
    All,
}

impl Lapse {
    /// Leases end that hold no longer than this, in microseconds.
    pub(crate) const fn until_micros(self, now: Timestamp) -> i64 {
        match self {
            Self::Expired => now.as_micros(),
            Self::All => i64::MAX,
        }
    }
}

/// An integration and what belongs to it, to be registered or changed as one.
pub struct Registration {
    /// The integration.
    pub integration: Integration,
    /// Its communities.
    pub communities: Vec<Community>,
    /// Its attributions.
    pub attributions: Vec<Attribution>,
    /// Its agents.
    pub agents: Vec<Agent>,
}

/// What became of a member that was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub id: String,
    /// Whether it was not known before.
    pub is_new: bool,
}

/// How much is waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Writes that have not ended.
    pub open: u64,
    /// When the oldest of them was queued, in steady time.
    pub oldest_queued_at: Option<Timestamp>,
}

/// Who wants to know about commits: metrics.
pub trait Observer: Send + Sync + 'static {
    /// One commit was synced: how many requests shared it, how many of them were accepted writes, and how long it took.
    fn committed(&self, requests: usize, accepts: usize, took: Duration);

    /// One commit failed, or nobody knows whether it was stored.
    fn commit_failed(&self);
}

/// An observer that looks away.
pub struct Unobserved;

impl Observer for Unobserved {
    fn committed(&self, _requests: usize, _accepts: usize, _took: Duration) {}

    fn commit_failed(&self) {}
}
