//! The store that the use cases make of an engine.
//!
//! Guarantee: one method is one transaction, but for those that say that they go on in pieces.

use std::future::Future;

use async_trait::async_trait;
use model::{
    Actor, EventId, IntegrationId, JobId, KeyId, Scope, Secret, Timestamp, WebhookId,
    audit::{Chain, Entry},
    directory::{Contents, Integration},
    key::{Key, Token},
    record::{Kind as RecordKind, Record},
    resources::integration::{Change, Member},
    webhook::{self, Delivery, DeliveryAttempt, Event, Webhook},
    write::{Attempt, NewWrite, Write, WriteStatus},
};

use super::{
    audit, clock, consents,
    db::Db,
    deliveries, delivery, directory,
    erasure::{self, Step, Walked},
    events, intake, keys, lists, logs, pace, records, sealed, strip, sync, webhooks, writer,
};
use crate::{
    Acceptance, Claim, Depth, Error, Finish, Lane, Lapse, Once, Page, Query, Registered,
    Registration, Sealer, Signals, Store, Ticket,
    clock::{Dial, Look},
    history::{AuditQuery, Candidate, Diff, DiffQuery, Job, LogQuery, Seen, Tally},
    privacy::{ConsentEvent, ConsentQuery, Erasure},
    reading::{Cost, Reading},
    sealing::{MasterKeyId, Purpose},
    signals::Effects,
    webhooks::{
        DeliveryClaim, DeliveryFinish, DeliveryLane, DeliveryQuery, EventHead, EventPage,
        EventQuery, Health, Replay, Replayed, Revoked,
    },
};

/// Rows that a page passes over at most: beyond it, it is expensive. A walk by offset never comes
/// there, since the place where the page before ended is known.
const SKIPPED_MAX: u64 = 5_000;

/// Walks over the writes that are open or went wrong, before an erasure gives up on a person about whom something happens all the time.
const ERASURE_WALKS_MAX: u32 = 10;

/// What of a store differs from database to database.
///
/// Guarantee: a change is on stable storage when `Ok` comes back, or has left nothing; changes come one after the other.
pub(crate) trait Engine: Send + Sync + 'static {
    /// Runs `change` in one of the next commits and returns what it returned once that commit is on stable storage.
    fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Db<'_>, &mut Effects) -> Result<T, Error> + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> + Send;

    /// Takes a write into custody: refused, rather than kept waiting, when there is no room.
    fn accept(
        &self,
        row: intake::Row,
        once: Option<Once>,
    ) -> impl Future<Output = Result<Acceptance, Error>> + Send;

    /// Records an attempt and what follows from it.
    fn finish(&self, finish: Finish) -> impl Future<Output = Result<WriteStatus, Error>> + Send;

    /// Runs `look` in a transaction that sees one moment, when it is its turn.
    /// [`Error::ReadTooLong`] when it costs more than `reading` says.
    fn read<T: Send + 'static>(
        &self,
        reading: Reading,
        look: impl FnOnce(&Db<'_>) -> Result<T, Error> + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> + Send;

    /// True if new writes are taken.
    ///
    /// # Errors
    /// Why not.
    fn takes_writes(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Whether other processes may be at work on it.
    fn is_shared(&self) -> bool;

    /// Sees to it that what was removed is in no file of the store any more.
    fn leave_no_traces(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Who is told of commits.
    fn signals(&self) -> &Signals;

    /// Finishes what is queued and closes.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A store in a relational database.
pub(crate) struct Relational<E> {
    pub(crate) engine: E,
    pub(crate) sealer: Sealer,
    /// Held while a subscription is read, changed and put back.
    pub(crate) webhook_changes: tokio::sync::Mutex<()>,
}

impl<E: Engine> Relational<E> {
    pub(crate) fn new(engine: E, sealer: Sealer) -> Self {
        Self {
            engine,
            sealer,
            webhook_changes: tokio::sync::Mutex::default(),
        }
    }
}

impl<E: Engine> Relational<E> {
    /// A write as its caller is told of it: times are wall time.
    fn told(&self, mut write: Write) -> Write {
        let time = self.engine.signals().time();
        write.next_attempt_at = write.next_attempt_at.map(|at| time.wall(at));
        write
    }

    /// A delivery as its caller is told of it: times are wall time.
    fn told_delivery(&self, mut delivery: Delivery) -> Delivery {
        let time = self.engine.signals().time();
        delivery.next_attempt_at = delivery.next_attempt_at.map(|at| time.wall(at));
        delivery
    }

    /// Reads something whose cost depends on what is asked and stored.
    async fn listed<T: Send + 'static, Q: Clone + Send + 'static>(
        &self,
        scope: &Scope,
        query: &Q,
        look: fn(&Db<'_>, &Scope, &Q) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.listed_whole(scope, query, false, look, |_| true).await
    }

    /// The same: as a page, and once more as an expensive read where a page may not cost as much,
    /// or what it brought is not whole. At once so when it is known to be expensive.
    async fn listed_whole<T: Send + 'static, Q: Clone + Send + 'static>(
        &self,
        scope: &Scope,
        query: &Q,
        is_expensive: bool,
        look: fn(&Db<'_>, &Scope, &Q) -> Result<T, Error>,
        is_whole: fn(&T) -> bool,
    ) -> Result<T, Error> {
        let read = |cost| {
            let (scope, query) = (scope.clone(), query.clone());
            let reading = Reading::of(&scope, cost);
            self.engine
                .read(reading, move |db| look(db, &scope, &query))
        };
        if !is_expensive {
            match read(Cost::Page).await {
                Ok(found) if is_whole(&found) => return Ok(found),
                Ok(_) | Err(Error::ReadTooLong) => {}
                Err(why) => return Err(why),
            }
        }
        read(Cost::Expensive).await
    }

    /// Removes what is a person's from the tables; `None` when there is no such prospect that the caller may know of.
    async fn erase(&self, by: &Actor, id: &str, now: Timestamp) -> Result<Option<Erasure>, Error> {
        for _ in 0..ERASURE_WALKS_MAX {
            let (own, name) = (by.scope.clone(), id.to_owned());
            let mut walked = self
                .engine
                .read(Reading::BACKGROUND, move |db| {
                    erasure::begin(db, &own, &name)
                })
                .await?;
            let walk = loop {
                walked = match walked {
                    Walked::None => return Ok(None),
                    Walked::Done(erasure) => return Ok(Some(erasure)),
                    Walked::All(walk) => break walk,
                    Walked::On(walking) => {
                        let on = move |db: &Db<'_>| erasure::walk(db, walking);
                        self.engine.read(Reading::BACKGROUND, on).await?
                    }
                };
            };
            let by = self.author(by).await?;
            let step = self
                .engine
                .write(move |db, effects| erasure::erase(db, effects, &by, &walk, now))
                .await?;
            match step {
                Step::None => return Ok(None),
                Step::Done(erasure) => return Ok(Some(erasure)),
                Step::Again => {}
            }
        }
        Err(Error::Busy)
    }
}

#[async_trait]
impl<E: Engine> Store for Relational<E> {
    async fn write_accept(
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
        let row = intake::Row::of(write, scope)?;
        self.engine.accept(row, once).await
    }

    async fn replay_find(&self, scope: &Scope, once: &Once) -> Result<Option<Acceptance>, Error> {
        let again = once.clone();
        let once = once.clone();
        let reading = Reading::of(scope, Cost::Lookup);
        let found = self
            .engine
            .read(reading, move |db| intake::replay(db, &once))
            .await?;
        if found.is_none() || !self.engine.is_shared() {
            return Ok(found);
        }
        // It is answered as accepted, and what is read may be on no standby yet: when its commit was given up, or the primary came back without one. A commit that waits is behind it.
        let confirmed = self.engine.write(move |db, _| intake::replay(db, &again));
        match tokio::time::timeout(writer::ACCEPT_MAX, confirmed).await {
            // Not that nothing is stored: it can be read.
            Ok(Err(Error::Busy)) | Err(_) => Err(Error::InDoubt),
            Ok(answer) => answer,
        }
    }

    async fn write_find(&self, scope: &Scope, job_id: JobId) -> Result<Option<Write>, Error> {
        let scope = scope.clone();
        self.engine
            .read(Reading::of(&scope, Cost::Lookup), move |db| {
                intake::find(db, &scope, job_id)
            })
            .await
            .map(|found| found.map(|write| self.told(write)))
    }

    async fn attempts_list(&self, scope: &Scope, job_id: JobId) -> Result<Vec<Attempt>, Error> {
        self.listed(scope, &job_id, |db, scope, job_id| {
            delivery::attempts(db, scope, *job_id)
        })
        .await
    }

    async fn record_find(
        &self,
        scope: &Scope,
        kind: RecordKind,
        id: &str,
    ) -> Result<Option<Record>, Error> {
        let (scope, id) = (scope.clone(), id.to_owned());
        self.engine
            .read(Reading::of(&scope, Cost::Lookup), move |db| {
                records::find(db, &scope, kind, &id)
            })
            .await
    }

    async fn records_list(&self, scope: &Scope, query: &Query) -> Result<Page<Record>, Error> {
        let is_far = query.from.skipped() > SKIPPED_MAX;
        self.listed_whole(scope, query, is_far, lists::list, |page| {
            page.total_is_exact
        })
        .await
    }

    async fn writes_list(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Write>, Error> {
        self.listed(scope, query, logs::writes)
            .await
            .map(|all| all.into_iter().map(|write| self.told(write)).collect())
    }

    async fn jobs_list(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Job>, Error> {
        self.listed(scope, query, logs::jobs).await
    }

    async fn diffs_list(&self, scope: &Scope, query: &DiffQuery) -> Result<Page<Diff>, Error> {
        self.listed_whole(scope, query, false, logs::diffs, |page| page.total_is_exact)
            .await
    }

    async fn sync_request(
        &self,
        by: &Actor,
        id: IntegrationId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        if !by.scope.sees(id) {
            return Ok(false);
        }
        let by = self.author(by).await?;
        self.engine
            .write(move |db, effects| {
                let is_due = sync::request(db, effects, id, now)?;
                if is_due {
                    let deed = ("integration_sync", id.to_string());
                    directory::note(db, &by, id, (deed.0, &deed.1), now)?;
                }
                Ok(is_due)
            })
            .await
    }

    async fn syncs_due(&self) -> Result<Vec<(IntegrationId, Timestamp)>, Error> {
        self.engine.read(Reading::OWN, sync::due).await
    }

    async fn sync_begin(
        &self,
        id: IntegrationId,
        job_id: JobId,
        now: Timestamp,
        lease_until: Timestamp,
        next_at: Timestamp,
    ) -> Result<bool, Error> {
        self.engine
            .write(move |db, effects| {
                sync::begin(db, effects, id, job_id, (now, lease_until), next_at)
            })
            .await
    }

    async fn syncs_renew(
        &self,
        job_ids: Vec<JobId>,
        until: Timestamp,
    ) -> Result<Vec<JobId>, Error> {
        self.engine
            .write(move |db, _| sync::renew(db, &job_ids, until))
            .await
    }

    async fn call_begin(
        &self,
        id: IntegrationId,
        gap_micros: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let begin = move |db: &Db<'_>| pace::call_begin(db, id, gap_micros, now);
        if gap_micros.is_none() {
            // There is nothing to count.
            return self.engine.read(Reading::OWN, begin).await;
        }
        self.engine.write(move |db, _| begin(db)).await
    }

    async fn sync_candidates(
        &self,
        id: IntegrationId,
        newest: u64,
        stalest: u64,
    ) -> Result<Vec<Candidate>, Error> {
        self.engine
            .read(Reading::BACKGROUND, move |db| {
                sync::candidates(db, id, newest, stalest)
            })
            .await
    }

    async fn sync_record(
        &self,
        id: IntegrationId,
        job_id: JobId,
        seen: Vec<Seen>,
        now: Timestamp,
    ) -> Result<Tally, Error> {
        self.engine
            .write(move |db, effects| sync::record(db, effects, id, job_id, &seen, now))
            .await
    }

    async fn sync_end(
        &self,
        job_id: JobId,
        status: WriteStatus,
        tally: Tally,
        now: Timestamp,
        next_at: Option<Timestamp>,
    ) -> Result<(), Error> {
        self.engine
            .write(move |db, effects| sync::end(db, effects, job_id, status, &tally, now, next_at))
            .await
    }

    async fn syncs_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error> {
        self.engine
            .write(move |db, effects| sync::lapse(db, effects, which, now))
            .await
    }

    async fn history_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.engine
            .write(move |db, _| logs::sweep(db, before, limit))
            .await
    }

    async fn consents_list(
        &self,
        scope: &Scope,
        query: &ConsentQuery,
    ) -> Result<Option<Page<ConsentEvent>>, Error> {
        self.listed(scope, query, consents::list).await
    }

    async fn prospect_erase(
        &self,
        by: &Actor,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Erasure>, Error> {
        let Some(erasure) = self.erase(by, id, now).await? else {
            return Ok(None);
        };
        self.engine.leave_no_traces().await?;
        Ok(Some(erasure))
    }

    async fn attempts_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.engine
            .write(move |db, _| strip::sweep_attempts(db, before, limit))
            .await
    }

    async fn writes_sweep(
        &self,
        before: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, Error> {
        self.engine
            .write(move |db, _| strip::sweep_writes(db, before, limit, now))
            .await
    }

    async fn writes_claim(&self, claim: Claim) -> Result<Vec<Lane>, Error> {
        self.engine
            .write(move |db, effects| delivery::claim(db, effects, &claim))
            .await
    }

    async fn leases_renew(&self, tickets: Vec<Ticket>, until: Timestamp) -> Result<(), Error> {
        self.engine
            .write(move |db, _| delivery::renew(db, &tickets, until))
            .await
    }

    async fn leases_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error> {
        self.engine
            .write(move |db, effects| delivery::lapse(db, effects, which, now))
            .await
    }

    async fn lanes_due(&self) -> Result<Vec<(IntegrationId, Timestamp)>, Error> {
        self.engine.read(Reading::OWN, delivery::lanes_due).await
    }

    async fn attempt_finish(&self, finish: &Finish) -> Result<WriteStatus, Error> {
        self.engine.finish(finish.clone()).await
    }

    async fn directory_revision(&self) -> Result<i64, Error> {
        self.engine.read(Reading::OWN, directory::revision).await
    }

    async fn directory_contents(&self, since: i64) -> Result<Contents, Error> {
        self.read_sealed(Reading::OWN, move |db, sealer| {
            directory::contents(db, sealer, since)
        })
        .await
    }

    async fn integration_register(
        &self,
        by: &Actor,
        registration: Registration,
        now: Timestamp,
    ) -> Result<(), Error> {
        let owner = registration.integration.id.to_string();
        let credential = registration.integration.credential.clone();
        let by = self.author(by).await?;
        let change = move |db: &Db<'_>, effects: &mut Effects, sealed: &[u8]| {
            directory::register(db, effects, &by, &registration, sealed, now)
        };
        self.write_sealed(&owner, Purpose::Credential, &credential, change)
            .await
    }

    async fn master_key_current(&self) -> Result<MasterKeyId, Error> {
        self.engine.read(Reading::OWN, sealed::current).await
    }

    async fn master_key_set(
        &self,
        by: &Actor,
        id: MasterKeyId,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.has_key(id).await?;
        let by = audit::Author::new(by.clone(), &self.sealer, id)?;
        let sealer = self.sealer.clone();
        self.engine
            .write(move |db, _| sealed::set(db, &sealer, &by, id, now))
            .await
    }

    async fn secrets_rewrap(&self, limit: u32) -> Result<u64, Error> {
        let sealer = self.sealer.clone();
        self.engine
            .write(move |db, _| sealed::rewrap(db, &sealer, limit))
            .await
    }

    async fn integration_change(
        &self,
        by: &Actor,
        id: IntegrationId,
        action: &'static str,
        change: Change,
        now: Timestamp,
    ) -> Result<Option<Integration>, Error> {
        let by = self.author(by).await?;
        let secret = match (&change.credential, change.archived_at) {
            (_, Some(_)) => Secret::new(""),
            (Some(credential), None) => credential.clone(),
            (None, None) => {
                return self
                    .engine
                    .write(move |db, effects| {
                        let what = (id, action);
                        directory::change(db, effects, &by, what, (&change, None), now)
                    })
                    .await;
            }
        };
        let change = move |db: &Db<'_>, effects: &mut Effects, sealed: &[u8]| {
            let (what, change) = ((id, action), (&change, Some(sealed)));
            directory::change(db, effects, &by, what, change, now)
        };
        self.write_sealed(&id.to_string(), Purpose::Credential, &secret, change)
            .await
    }

    async fn members_register(
        &self,
        by: &Actor,
        id: IntegrationId,
        action: &'static str,
        members: Vec<Member>,
        now: Timestamp,
    ) -> Result<Option<Vec<Registered>>, Error> {
        let by = self.author(by).await?;
        self.engine
            .write(move |db, effects| {
                directory::members(db, effects, &by, (id, action), &members, now)
            })
            .await
    }

    async fn key_create(&self, by: &Actor, key: Key) -> Result<(), Error> {
        let by = self.author(by).await?;
        self.engine
            .write(move |db, effects| keys::create(db, effects, &by, &key))
            .await
    }

    async fn keys_list(&self) -> Result<Vec<Key>, Error> {
        self.engine
            .read(Reading::OWN, |db| keys::since(db, 0))
            .await
    }

    async fn key_revoke(
        &self,
        by: &Actor,
        id: KeyId,
        keeps_webhooks: bool,
        now: Timestamp,
    ) -> Result<Option<Revoked>, Error> {
        let by = self.author(by).await?;
        self.engine
            .write(move |db, effects| keys::revoke(db, effects, &by, (id, keeps_webhooks), now))
            .await
    }

    async fn key_rotate(
        &self,
        by: &Actor,
        id: KeyId,
        token: Token,
        old_until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Key>, Error> {
        let by = self.author(by).await?;
        self.engine
            .write(move |db, effects| keys::rotate(db, effects, &by, id, &token, old_until, now))
            .await
    }

    async fn keys_used(&self, uses: Vec<(KeyId, Timestamp)>) -> Result<(), Error> {
        self.engine.write(move |db, _| keys::used(db, &uses)).await
    }

    async fn audit_list(
        &self,
        scope: &Scope,
        query: &AuditQuery,
    ) -> Result<Page<(Entry, Vec<u8>)>, Error> {
        self.listed_whole(scope, query, false, audit::list, |page| page.total_is_exact)
            .await
    }

    async fn audit_follow(
        &self,
        chain: Chain,
        limit: u32,
    ) -> Result<(Chain, Option<String>), Error> {
        self.read_sealed(Reading::BACKGROUND, move |db, sealer| {
            audit::follow(db, sealer, chain, limit)
        })
        .await
    }

    async fn audit_head(&self) -> Result<Option<(u64, Vec<u8>)>, Error> {
        self.engine.read(Reading::BACKGROUND, audit::head).await
    }

    async fn webhook_create(&self, by: &Actor, webhook: Webhook) -> Result<(), Error> {
        self.webhook_insert(by, webhook).await
    }

    async fn webhook_change(
        &self,
        by: &Actor,
        id: WebhookId,
        action: &'static str,
        change: webhook::Change,
        now: Timestamp,
    ) -> Result<Option<Webhook>, Error> {
        self.webhook_replace(by, id, action, change, now).await
    }

    async fn webhook_delete(
        &self,
        by: &Actor,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.webhook_remove(by, id, now).await
    }

    async fn webhook_find(&self, scope: &Scope, id: WebhookId) -> Result<Option<Webhook>, Error> {
        self.webhook(scope, id).await
    }

    async fn webhooks_lapse(&self, now: Timestamp) -> Result<Vec<WebhookId>, Error> {
        // Nearly always there is none, and a read is no commit.
        if !self
            .engine
            .read(Reading::OWN, move |db| webhooks::is_over(db, now))
            .await?
        {
            return Ok(Vec::new());
        }
        self.engine
            .write(move |db, effects| webhooks::lapse(db, effects, now))
            .await
    }

    async fn webhooks_revision(&self) -> Result<i64, Error> {
        self.engine.read(Reading::OWN, webhooks::revision).await
    }

    async fn webhooks_list(&self, scope: &Scope) -> Result<Vec<Webhook>, Error> {
        self.webhooks(scope).await
    }

    async fn events_list(&self, scope: &Scope, query: &EventQuery) -> Result<EventPage, Error> {
        self.listed_whole(scope, query, query.goes_on, events::list, |_| true)
            .await
    }

    async fn event_heads(&self, after: i64, limit: u32) -> Result<Vec<EventHead>, Error> {
        self.engine
            .read(Reading::OWN, move |db| events::heads(db, after, limit))
            .await
    }

    async fn event_newest(&self) -> Result<i64, Error> {
        self.engine.read(Reading::OWN, events::newest).await
    }

    async fn event_find(&self, scope: &Scope, id: EventId) -> Result<Option<Event>, Error> {
        let scope = scope.clone();
        self.engine
            .read(Reading::of(&scope, Cost::Lookup), move |db| {
                events::find(db, &scope, id)
            })
            .await
    }

    async fn events_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.engine
            .write(move |db, _| events::sweep(db, before, limit))
            .await
    }

    async fn deliveries_claim(&self, claim: DeliveryClaim) -> Result<Vec<DeliveryLane>, Error> {
        self.engine
            .write(move |db, effects| deliveries::claim(db, effects, &claim))
            .await
    }

    async fn delivery_finish(&self, finish: &DeliveryFinish) -> Result<Health, Error> {
        let finish = finish.clone();
        self.engine
            .write(move |db, effects| deliveries::finish(db, effects, &finish))
            .await
    }

    async fn deliveries_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error> {
        self.engine
            .write(move |db, effects| deliveries::lapse(db, effects, which, now))
            .await
    }

    async fn deliveries_due(&self) -> Result<Vec<(WebhookId, Timestamp)>, Error> {
        self.engine.read(Reading::OWN, deliveries::due).await
    }

    async fn deliveries_list(
        &self,
        scope: &Scope,
        query: &DeliveryQuery,
    ) -> Result<Option<Page<Delivery>>, Error> {
        self.listed(scope, query, deliveries::list)
            .await
            .map(|found| {
                found.map(|page| Page {
                    rows: page
                        .rows
                        .into_iter()
                        .map(|one| self.told_delivery(one))
                        .collect(),
                    total: page.total,
                    total_is_exact: page.total_is_exact,
                    has_more: page.has_more,
                })
            })
    }

    async fn delivery_find(
        &self,
        scope: &Scope,
        webhook_id: WebhookId,
        event_id: EventId,
    ) -> Result<Option<Delivery>, Error> {
        let scope = scope.clone();
        self.engine
            .read(Reading::of(&scope, Cost::Lookup), move |db| {
                deliveries::find(db, &scope, webhook_id, event_id)
            })
            .await
            .map(|found| found.map(|one| self.told_delivery(one)))
    }

    async fn delivery_attempts_list(
        &self,
        scope: &Scope,
        webhook_id: WebhookId,
        event_id: EventId,
    ) -> Result<Option<Vec<DeliveryAttempt>>, Error> {
        let of = (webhook_id, event_id);
        self.listed(scope, &of, |db, scope, (webhook_id, event_id)| {
            deliveries::attempts(db, scope, *webhook_id, *event_id)
        })
        .await
    }

    async fn deliveries_replay(
        &self,
        by: &Actor,
        webhook_id: WebhookId,
        replay: Replay,
        after: i64,
        limit: u32,
        now: Timestamp,
    ) -> Result<Option<Replayed>, Error> {
        let by = self.author(by).await?;
        self.engine
            .write(move |db, effects| {
                let from = (after, limit);
                deliveries::replay(db, effects, &by, webhook_id, replay, from, now)
            })
            .await
    }

    async fn deliveries_depth(&self) -> Result<Depth, Error> {
        self.engine
            .read(Reading::BACKGROUND, deliveries::depth)
            .await
    }

    async fn idempotency_sweep(&self, now: Timestamp, limit: u32) -> Result<u64, Error> {
        self.engine
            .write(move |db, _| intake::sweep(db, now, limit))
            .await
    }

    async fn queue_depth(&self) -> Result<Depth, Error> {
        self.engine.read(Reading::BACKGROUND, delivery::depth).await
    }

    async fn clock_look(&self) -> Result<Look, Error> {
        self.engine.read(Reading::OWN, clock::look).await
    }

    async fn clock_set(&self, to: Dial) -> Result<bool, Error> {
        self.engine.write(move |db, _| clock::set(db, &to)).await
    }

    async fn clock_accept(&self, by: &Actor, now: Timestamp) -> Result<i64, Error> {
        let by = self.author(by).await?;
        self.engine
            .write(move |db, _| clock::accept(db, &by, now))
            .await
    }

    async fn check(&self) -> Result<(), Error> {
        self.engine.write(|_, _| Ok(())).await?;
        self.engine.takes_writes()?;
        self.engine
            .read(Reading::OWN, |db| {
                let sql = "SELECT max(applied_at) FROM migrations";
                db.one(sql, &[], |row| row.get::<Option<i64>>(0)).map(drop)
            })
            .await
    }

    fn signals(&self) -> &Signals {
        self.engine.signals()
    }

    fn is_shared(&self) -> bool {
        self.engine.is_shared()
    }

    async fn close(&self) {
        self.engine.close().await;
    }
}
