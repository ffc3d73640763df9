//! What Portico remembers.
//!
//! [`Store`] is the list of use cases: one method is one transaction. [`sqlite`] is the back end on one machine's disk, [`postgres`] the one that several nodes
//! share. `conformance` (a feature) is the suite that every back end passes.
//! Guarantee: when a method that changes something returns `Ok`, the change is on stable storage; when it returns an error, nothing changed
//! that a repeat could double, but for [`Error::InDoubt`].

pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod copy;
pub mod discard;
pub mod history;
pub mod live;
pub mod migrations;
mod outage;
pub mod postgres;
pub mod privacy;
pub mod query;
pub mod reading;
pub mod retention;
pub mod sealing;
pub mod signals;
mod sql;
pub mod sqlite;
pub mod time;
pub mod webhooks;

use std::time::Duration;

use async_trait::async_trait;
use model::{
    Actor, Directory, EventId, IntegrationId, JobId, KeyId, Scope, Timestamp, WebhookId,
    audit::{Chain, Entry},
    directory::{Agent, Attribution, Community, Contents, Integration},
    key::{Key, Token},
    record::{Kind, Record},
    resources::integration::{Change, Member},
    webhook::{self, Delivery, DeliveryAttempt, Event, Webhook},
    write::{Attempt, Call, Confirmed, NewWrite, Operation, Write, WriteStatus},
};

use crate::{
    history::{AuditQuery, Candidate, Diff, DiffQuery, Job, LogQuery, Seen, Tally},
    privacy::{ConsentEvent, ConsentQuery, Erasure},
    sealing::MasterKeyId,
    webhooks::{
        DeliveryClaim, DeliveryFinish, DeliveryLane, DeliveryQuery, EventHead, EventPage,
        EventQuery, Health, Replay, Replayed, Revoked,
    },
};
pub use crate::{
    live::Live,
    query::{Page, Query},
    sealing::Sealer,
    signals::Signals,
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

/// The use cases. One method is one transaction.
///
/// Due times, leases, paces and pauses are instants of steady time, whoever names them: those of
/// claims, renewals and lapses, of [`Store::call_begin`] and of runs of synchronisation (`next_at`
/// and what [`Store::sync_begin`] takes). All other times are wall time.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Takes a write into custody. On `Ok` it is on stable storage.
    async fn write_accept(
        &self,
        scope: &Scope,
        write: NewWrite,
        once: Option<Once>,
    ) -> Result<Acceptance, Error>;

    /// What an idempotency key stands for already, if anything.
    async fn replay_find(&self, scope: &Scope, once: &Once) -> Result<Option<Acceptance>, Error>;

    /// A write as it stands; `None` when there is none that the caller may know of.
    async fn write_find(&self, scope: &Scope, job_id: JobId) -> Result<Option<Write>, Error>;

    /// The attempts of a write, oldest first.
    async fn attempts_list(&self, scope: &Scope, job_id: JobId) -> Result<Vec<Attempt>, Error>;

    /// A record by its id; `None` when there is none of this kind that the caller may know of. A prospect is there once its vendor has confirmed it.
    async fn record_find(
        &self,
        scope: &Scope,
        kind: Kind,
        id: &str,
    ) -> Result<Option<Record>, Error>;

    /// A page of records.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the row to go on behind is gone.
    async fn records_list(&self, scope: &Scope, query: &Query) -> Result<Page<Record>, Error>;

    /// Accepted writes, newest first.
    async fn writes_list(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Write>, Error>;

    /// Runs of synchronisation, newest first.
    async fn jobs_list(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Job>, Error>;

    /// What changed in records, newest first.
    async fn diffs_list(&self, scope: &Scope, query: &DiffQuery) -> Result<Page<Diff>, Error>;

    /// Makes an integration due to be synchronised now; `false` when there is none that the caller may know of.
    async fn sync_request(
        &self,
        by: &Actor,
        id: IntegrationId,
        now: Timestamp,
    ) -> Result<bool, Error>;

    /// Every active integration of which no run is under way, and when it is to be synchronised, the earliest first.
    async fn syncs_due(&self) -> Result<Vec<(IntegrationId, Timestamp)>, Error>;

    /// Begins a run of synchronisation that is due, under a lease; the next is due at `next_at`, unless one is asked for before. `false` when one is under way or
    /// none is due any more: another process was first.
    async fn sync_begin(
        &self,
        id: IntegrationId,
        job_id: JobId,
        now: Timestamp,
        lease_until: Timestamp,
        next_at: Timestamp,
    ) -> Result<bool, Error>;

    /// Prolongs the leases of runs that are under way. Returns those that are not any more: they are to be broken off.
    async fn syncs_renew(&self, job_ids: Vec<JobId>, until: Timestamp)
    -> Result<Vec<JobId>, Error>;

    /// When a run may make a call to its vendor, if not now; one that may be made is counted. `gap_micros` is as in [`Ask`]. What writes take is taken from it, and what it takes is
    /// not taken from writes.
    async fn call_begin(
        &self,
        id: IntegrationId,
        gap_micros: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error>;

    /// The prospects of an integration to look at again: so many with the newest activity, and so many that were not seen for longest.
    async fn sync_candidates(
        &self,
        id: IntegrationId,
        newest: u64,
        stalest: u64,
    ) -> Result<Vec<Candidate>, Error>;

    /// Stores what a run has seen, with the diffs of it, and says what was new.
    async fn sync_record(
        &self,
        id: IntegrationId,
        job_id: JobId,
        seen: Vec<Seen>,
        now: Timestamp,
    ) -> Result<Tally, Error>;

    /// Ends a run; with `next_at`, the next is due then, unless it is due before. One whose lease has lapsed stays as that left it.
    async fn sync_end(
        &self,
        job_id: JobId,
        status: WriteStatus,
        tally: Tally,
        now: Timestamp,
        next_at: Option<Timestamp>,
    ) -> Result<(), Error>;

    /// Ends leases of runs: they have failed, and their integrations are due. Returns how many.
    async fn syncs_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error>;

    /// Removes up to `limit` diffs, and as many runs, that are older than `before`. Returns how many.
    async fn history_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error>;

    /// What writes said about automated messages to a prospect, newest first; `None` when there is no such prospect that the caller may know of.
    async fn consents_list(
        &self,
        scope: &Scope,
        query: &ConsentQuery,
    ) -> Result<Option<Page<ConsentEvent>>, Error>;

    /// Forgets the person of a prospect; `None` when there is none that the caller may know of. On `Ok` SQLite has no byte of what was removed left in the
    /// store's files; PostgreSQL has removed the rows, and overwrites what they leave in its files when it does (vacuum, its write-ahead log). Erasing again
    /// changes nothing and returns the same.
    ///
    /// # Errors
    /// [`Error::Conflict`] while a write about the person is open: then nothing was removed. [`Error::Unfinished`] when all was removed and
    /// a reader stands in the way of its last traces: asking again finishes it.
    async fn prospect_erase(
        &self,
        by: &Actor,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Erasure>, Error>;

    /// Removes the attempts of up to `limit` writes that ended before `before`. Returns of how many.
    async fn attempts_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error>;

    /// Removes what up to `limit` writes that ended before `before` say of a person: body, request, errors, attempts. Returns how many.
    async fn writes_sweep(
        &self,
        before: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, Error>;

    /// Puts due writes under a lease, in the order due, as many as the limits of their integrations leave, and counts an attempt for each.
    async fn writes_claim(&self, claim: Claim) -> Result<Vec<Lane>, Error>;

    /// Prolongs leases that are still held.
    async fn leases_renew(&self, tickets: Vec<Ticket>, until: Timestamp) -> Result<(), Error>;

    /// Ends leases and records their attempts as cut off. Their writes are due at once, or, from the
    /// third attempt in a row that was cut off, by the retry schedule. Returns how many.
    async fn leases_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error>;

    /// Every integration that has a ready write, and when its first is due.
    async fn lanes_due(&self) -> Result<Vec<(IntegrationId, Timestamp)>, Error>;

    /// Records an attempt and what follows from it: record, outcome, event, and the next write about the same person made ready.
    /// Returns the write's status afterwards.
    async fn attempt_finish(&self, finish: &Finish) -> Result<WriteStatus, Error>;

    /// A number that grows with each change of the directory.
    async fn directory_revision(&self) -> Result<i64, Error>;

    /// What changed in the [`Directory`] after `since`, credentials unsealed; all of it for 0.
    async fn directory_contents(&self, since: i64) -> Result<Contents, Error>;

    /// Registers an integration with all that belongs to it, or replaces what is registered under the same ids.
    async fn integration_register(
        &self,
        by: &Actor,
        registration: Registration,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Changes an integration; `action` is what the audit log calls that. `None` when there is none that the caller may know of.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is archived, or is to be while writes to it are open.
    async fn integration_change(
        &self,
        by: &Actor,
        id: IntegrationId,
        action: &'static str,
        change: Change,
        now: Timestamp,
    ) -> Result<Option<Integration>, Error>;

    /// Registers communities, attributions or agents with an integration, all or none; each that is known by the vendor's id of it is changed instead.
    /// `None` when there is no such integration that the caller may know of.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the integration is archived.
    async fn members_register(
        &self,
        by: &Actor,
        id: IntegrationId,
        action: &'static str,
        members: Vec<Member>,
        now: Timestamp,
    ) -> Result<Option<Vec<Registered>>, Error>;
    /// The master key that secrets are sealed under.
    async fn master_key_current(&self) -> Result<MasterKeyId, Error>;

    /// Makes secrets be sealed under another master key from now on, one that the store's sealer has. Those that are sealed stay as they are.
    ///
    /// # Errors
    /// [`Error::MasterKey`] when the sealer does not have it.
    async fn master_key_set(
        &self,
        by: &Actor,
        id: MasterKeyId,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Moves up to `limit` secrets under the current master key. Returns how many; none are left when it is 0. Nothing changes for callers, nor does the
    /// directory's revision.
    ///
    /// # Errors
    /// [`Error::MasterKey`] when the sealer lacks the key of one, [`Error::Corrupt`] when one is damaged.
    async fn secrets_rewrap(&self, limit: u32) -> Result<u64, Error>;

    /// Stores a key.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there are as many as there can be for its integrations, or in all. The operator's are not counted.
    async fn key_create(&self, by: &Actor, key: Key) -> Result<(), Error>;

    /// Every key, oldest first.
    async fn keys_list(&self) -> Result<Vec<Key>, Error>;

    /// Revokes a key; `None` when there is none with this id. The subscriptions that it made are
    /// switched off, unless `keeps_webhooks`. Revoking twice changes nothing, but for subscriptions
    /// that were kept the first time.
    async fn key_revoke(
        &self,
        by: &Actor,
        id: KeyId,
        keeps_webhooks: bool,
        now: Timestamp,
    ) -> Result<Option<Revoked>, Error>;

    /// Gives a key another token; those it had are taken until `old_until`. `None` when there is none with this id.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is revoked or has expired.
    async fn key_rotate(
        &self,
        by: &Actor,
        id: KeyId,
        token: Token,
        old_until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Key>, Error>;

    /// Notes when keys were last used.
    async fn keys_used(&self, uses: Vec<(KeyId, Timestamp)>) -> Result<(), Error>;

    /// The audit log, newest first, with the hash of each entry.
    async fn audit_list(
        &self,
        scope: &Scope,
        query: &AuditQuery,
    ) -> Result<Page<(Entry, Vec<u8>)>, Error>;

    /// Follows the audit log's chain and its MACs for up to `limit` entries; with it, why it breaks there, in words.
    async fn audit_follow(
        &self,
        chain: Chain,
        limit: u32,
    ) -> Result<(Chain, Option<String>), Error>;

    /// The place and the hash of the newest entry of the audit log; `None` when there is none.
    async fn audit_head(&self) -> Result<Option<(u64, Vec<u8>)>, Error>;

    /// Stores a subscription.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there are as many as there can be for its integrations, or in all.
    async fn webhook_create(&self, by: &Actor, webhook: Webhook) -> Result<(), Error>;

    /// Changes a subscription; `action` is what the audit log calls that. `None` when there is none that the caller may know of.
    async fn webhook_change(
        &self,
        by: &Actor,
        id: WebhookId,
        action: &'static str,
        change: webhook::Change,
        now: Timestamp,
    ) -> Result<Option<Webhook>, Error>;

    /// Removes a subscription, with its deliveries. `false` when there is none that the caller may know of.
    async fn webhook_delete(
        &self,
        by: &Actor,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<bool, Error>;

    /// A subscription; `None` when there is none that the caller may know of.
    async fn webhook_find(&self, scope: &Scope, id: WebhookId) -> Result<Option<Webhook>, Error>;

    /// Switches off the subscriptions that are active and whose key has expired by `now`. Returns
    /// them.
    async fn webhooks_lapse(&self, now: Timestamp) -> Result<Vec<WebhookId>, Error>;

    /// A number that grows with each change of a subscription that concerns who delivers to it.
    async fn webhooks_revision(&self) -> Result<i64, Error>;

    /// Every subscription that the caller may know of, the oldest first: one that gets no more than the caller sees.
    async fn webhooks_list(&self, scope: &Scope) -> Result<Vec<Webhook>, Error>;

    /// What is asked for of the next piece of the log of events: more may follow behind an empty
    /// page.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the event to go on behind is not in the log.
    async fn events_list(&self, scope: &Scope, query: &EventQuery) -> Result<EventPage, Error>;

    /// What is known of the next events behind a place of the log, in order and of whomever: for
    /// the process itself, which tells callers only of what they may know of.
    async fn event_heads(&self, after: i64, limit: u32) -> Result<Vec<EventHead>, Error>;

    /// The place of the newest event; 0 when there is none.
    async fn event_newest(&self) -> Result<i64, Error>;

    /// An event; `None` when there is none that the caller may know of.
    async fn event_find(&self, scope: &Scope, id: EventId) -> Result<Option<Event>, Error>;

    /// Removes events that are older than `before`, with their deliveries, and deliveries of subscriptions that are no more: some `limit` rows of each.
    /// Returns how many rows; none are left when it is 0. The newest event stays.
    async fn events_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error>;

    /// Puts due deliveries of active subscriptions under a lease, in the order due, and counts an attempt for each.
    async fn deliveries_claim(&self, claim: DeliveryClaim) -> Result<Vec<DeliveryLane>, Error>;

    /// Records an attempt to deliver and what follows from it. Returns what that changed about its
    /// receiver.
    async fn delivery_finish(&self, finish: &DeliveryFinish) -> Result<Health, Error>;

    /// Ends leases of deliveries and records their attempts as cut off. They are due at once, or,
    /// from the third attempt in a row that was cut off, by the retry schedule. Returns how many.
    async fn deliveries_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error>;

    /// Every active subscription that has a ready delivery, and when its first is due.
    async fn deliveries_due(&self) -> Result<Vec<(WebhookId, Timestamp)>, Error>;

    /// The deliveries of a subscription, the newest event first, without a total; `None` when there is none that the caller may know of.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the event to go on behind is not in the log.
    async fn deliveries_list(
        &self,
        scope: &Scope,
        query: &DeliveryQuery,
    ) -> Result<Option<Page<Delivery>>, Error>;

    /// The delivery of an event to a subscription; `None` when there is none that the caller may know of.
    async fn delivery_find(
        &self,
        scope: &Scope,
        webhook_id: WebhookId,
        event_id: EventId,
    ) -> Result<Option<Delivery>, Error>;

    /// The attempts of a delivery, oldest first; `None` when there is none that the caller may know of.
    async fn delivery_attempts_list(
        &self,
        scope: &Scope,
        webhook_id: WebhookId,
        event_id: EventId,
    ) -> Result<Option<Vec<DeliveryAttempt>>, Error>;

    /// Makes up to `limit` deliveries due once more, from the event behind `after` on. `None` when there is no such subscription, or event, that the caller may
    /// know of. The first piece, with `after` of 0, is entered in the audit log.
    async fn deliveries_replay(
        &self,
        by: &Actor,
        webhook_id: WebhookId,
        replay: Replay,
        after: i64,
        limit: u32,
        now: Timestamp,
    ) -> Result<Option<Replayed>, Error>;

    /// How many deliveries to active subscriptions are waiting, and since when the first is: when its event was stored.
    async fn deliveries_depth(&self) -> Result<Depth, Error>;

    /// Removes up to `limit` idempotency keys that have expired. Returns how many.
    async fn idempotency_sweep(&self, now: Timestamp, limit: u32) -> Result<u64, Error>;

    /// How much is waiting.
    async fn queue_depth(&self) -> Result<Depth, Error>;

    /// How steady time stands to wall time, and the database's own time where it has one.
    async fn clock_look(&self) -> Result<clock::Look, Error>;

    /// Sets how steady time stands to wall time. `false` when another revision than `to` has is
    /// stored: another process was first.
    async fn clock_set(&self, to: clock::Dial) -> Result<bool, Error>;

    /// Confirms that the clock was rightly set ahead. Returns how far, in microseconds; zero when
    /// there is nothing to confirm.
    async fn clock_accept(&self, by: &Actor, now: Timestamp) -> Result<i64, Error>;

    /// True if new writes are taken, a change goes through, and a read too.
    async fn check(&self) -> Result<(), Error>;

    /// What waiters are woken by.
    fn signals(&self) -> &Signals;

    /// Whether other processes may be at work on it. If not, whatever is under a lease when it is opened was held by one that is gone.
    fn is_shared(&self) -> bool;

    /// Finishes what is queued and closes. Later calls fail with [`Error::Closed`].
    async fn close(&self);
}

/// Ends what a process that is gone held, so that nothing waits for its leases to lapse. Where others may hold leases, theirs stay, and so does all else until it lapses.
///
/// # Errors
/// As the store's.
pub async fn take_over(store: &dyn Store, now: Timestamp) -> Result<(), Error> {
    if store.is_shared() {
        return Ok(());
    }
    while store.leases_lapse(Lapse::All, now).await? > 0 {}
    while store.deliveries_lapse(Lapse::All, now).await? > 0 {}
    store.syncs_lapse(Lapse::All, now).await.map(drop)
}

/// The directory as it is now.
///
/// # Errors
/// As the store's.
pub async fn directory_load(store: &dyn Store) -> Result<Directory, Error> {
    Ok(Directory::new(store.directory_contents(0).await?))
}
