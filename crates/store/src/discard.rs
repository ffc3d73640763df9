//! A store that keeps no write: what everything but custody costs.
//!
//! Guarantee: whatever is not an accept goes to the store underneath. For measuring only: what it accepts is lost.

use std::sync::Arc;

use async_trait::async_trait;
use model::{
    Actor, EventId, IntegrationId, JobId, KeyId, Scope, Timestamp, WebhookId,
    audit::{Chain, Entry},
    directory::{Contents, Integration},
    key::{Key, Token},
    record::{Kind, Record},
    resources::integration::{Change, Member},
    webhook::{self, Delivery, DeliveryAttempt, Event, Webhook},
    write::{Attempt, NewWrite, Write, WriteStatus},
};

use crate::{
    Acceptance, Claim, Depth, Error, Finish, Lane, Lapse, Once, Page, Query, Registered,
    Registration, Signals, Store, Ticket,
    clock::{Dial, Look},
    history::{AuditQuery, Candidate, Diff, DiffQuery, Job, LogQuery, Seen, Tally},
    privacy::{ConsentEvent, ConsentQuery, Erasure},
    sealing::MasterKeyId,
    webhooks::{
        DeliveryClaim, DeliveryFinish, DeliveryLane, DeliveryQuery, EventHead, EventPage,
        EventQuery, Health, Replay, Replayed, Revoked,
    },
};

/// A store that answers [`Acceptance::Accepted`] at once and keeps nothing; the rest it leaves to the one inside.
pub struct Discard(pub Arc<dyn Store>);

#[async_trait]
impl Store for Discard {
    async fn write_accept(
        &self,
        _scope: &Scope,
        _write: NewWrite,
        _once: Option<Once>,
    ) -> Result<Acceptance, Error> {
        Ok(Acceptance::Accepted)
    }

    async fn replay_find(&self, scope: &Scope, once: &Once) -> Result<Option<Acceptance>, Error> {
        self.0.replay_find(scope, once).await
    }

    async fn write_find(&self, scope: &Scope, job_id: JobId) -> Result<Option<Write>, Error> {
        self.0.write_find(scope, job_id).await
    }

    async fn attempts_list(&self, scope: &Scope, job_id: JobId) -> Result<Vec<Attempt>, Error> {
        self.0.attempts_list(scope, job_id).await
    }

    async fn record_find(
        &self,
        scope: &Scope,
        kind: Kind,
        id: &str,
    ) -> Result<Option<Record>, Error> {
        self.0.record_find(scope, kind, id).await
    }

    async fn records_list(&self, scope: &Scope, query: &Query) -> Result<Page<Record>, Error> {
        self.0.records_list(scope, query).await
    }

    async fn writes_list(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Write>, Error> {
        self.0.writes_list(scope, query).await
    }

    async fn jobs_list(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Job>, Error> {
        self.0.jobs_list(scope, query).await
    }

    async fn diffs_list(&self, scope: &Scope, query: &DiffQuery) -> Result<Page<Diff>, Error> {
        self.0.diffs_list(scope, query).await
    }

    async fn sync_request(
        &self,
        by: &Actor,
        id: IntegrationId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.0.sync_request(by, id, now).await
    }

    async fn syncs_due(&self) -> Result<Vec<(IntegrationId, Timestamp)>, Error> {
        self.0.syncs_due().await
    }

    async fn sync_begin(
        &self,
        id: IntegrationId,
        job_id: JobId,
        now: Timestamp,
        lease_until: Timestamp,
        next_at: Timestamp,
    ) -> Result<bool, Error> {
        self.0
            .sync_begin(id, job_id, now, lease_until, next_at)
            .await
    }

    async fn syncs_renew(
        &self,
        job_ids: Vec<JobId>,
        until: Timestamp,
    ) -> Result<Vec<JobId>, Error> {
        self.0.syncs_renew(job_ids, until).await
    }

    async fn call_begin(
        &self,
        id: IntegrationId,
        gap_micros: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        self.0.call_begin(id, gap_micros, now).await
    }

    async fn sync_candidates(
        &self,
        id: IntegrationId,
        newest: u64,
        stalest: u64,
    ) -> Result<Vec<Candidate>, Error> {
        self.0.sync_candidates(id, newest, stalest).await
    }

    async fn sync_record(
        &self,
        id: IntegrationId,
        job_id: JobId,
        seen: Vec<Seen>,
        now: Timestamp,
    ) -> Result<Tally, Error> {
        self.0.sync_record(id, job_id, seen, now).await
    }

    async fn sync_end(
        &self,
        job_id: JobId,
        status: WriteStatus,
        tally: Tally,
        now: Timestamp,
        next_at: Option<Timestamp>,
    ) -> Result<(), Error> {
        self.0.sync_end(job_id, status, tally, now, next_at).await
    }

    async fn syncs_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error> {
        self.0.syncs_lapse(which, now).await
    }

    async fn history_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.0.history_sweep(before, limit).await
    }

    async fn consents_list(
        &self,
        scope: &Scope,
        query: &ConsentQuery,
    ) -> Result<Option<Page<ConsentEvent>>, Error> {
        self.0.consents_list(scope, query).await
    }

    async fn prospect_erase(
        &self,
        by: &Actor,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Erasure>, Error> {
        self.0.prospect_erase(by, id, now).await
    }

    async fn attempts_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.0.attempts_sweep(before, limit).await
    }

    async fn writes_sweep(
        &self,
        before: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, Error> {
        self.0.writes_sweep(before, limit, now).await
    }

    async fn writes_claim(&self, claim: Claim) -> Result<Vec<Lane>, Error> {
        self.0.writes_claim(claim).await
    }

    async fn leases_renew(&self, tickets: Vec<Ticket>, until: Timestamp) -> Result<(), Error> {
        self.0.leases_renew(tickets, until).await
    }

    async fn leases_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error> {
        self.0.leases_lapse(which, now).await
    }

    async fn lanes_due(&self) -> Result<Vec<(IntegrationId, Timestamp)>, Error> {
        self.0.lanes_due().await
    }

    async fn attempt_finish(&self, finish: &Finish) -> Result<WriteStatus, Error> {
        self.0.attempt_finish(finish).await
    }

    async fn directory_revision(&self) -> Result<i64, Error> {
        self.0.directory_revision().await
    }

    async fn directory_contents(&self, since: i64) -> Result<Contents, Error> {
        self.0.directory_contents(since).await
    }

    async fn integration_register(
        &self,
        by: &Actor,
        registration: Registration,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.0.integration_register(by, registration, now).await
    }

    async fn integration_change(
        &self,
        by: &Actor,
        id: IntegrationId,
        action: &'static str,
        change: Change,
        now: Timestamp,
    ) -> Result<Option<Integration>, Error> {
        self.0.integration_change(by, id, action, change, now).await
    }

    async fn members_register(
        &self,
        by: &Actor,
        id: IntegrationId,
        action: &'static str,
        members: Vec<Member>,
        now: Timestamp,
    ) -> Result<Option<Vec<Registered>>, Error> {
        self.0.members_register(by, id, action, members, now).await
    }

    async fn key_create(&self, by: &Actor, key: Key) -> Result<(), Error> {
        self.0.key_create(by, key).await
    }

    async fn master_key_current(&self) -> Result<MasterKeyId, Error> {
        self.0.master_key_current().await
    }

    async fn master_key_set(
        &self,
        by: &Actor,
        id: MasterKeyId,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.0.master_key_set(by, id, now).await
    }

    async fn secrets_rewrap(&self, limit: u32) -> Result<u64, Error> {
        self.0.secrets_rewrap(limit).await
    }

    async fn keys_list(&self) -> Result<Vec<Key>, Error> {
        self.0.keys_list().await
    }

    async fn key_revoke(
        &self,
        by: &Actor,
        id: KeyId,
        keeps_webhooks: bool,
        now: Timestamp,
    ) -> Result<Option<Revoked>, Error> {
        self.0.key_revoke(by, id, keeps_webhooks, now).await
    }

    async fn key_rotate(
        &self,
        by: &Actor,
        id: KeyId,
        token: Token,
        old_until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Key>, Error> {
        self.0.key_rotate(by, id, token, old_until, now).await
    }

    async fn keys_used(&self, uses: Vec<(KeyId, Timestamp)>) -> Result<(), Error> {
        self.0.keys_used(uses).await
    }

    async fn audit_list(
        &self,
        scope: &Scope,
        query: &AuditQuery,
    ) -> Result<Page<(Entry, Vec<u8>)>, Error> {
        self.0.audit_list(scope, query).await
    }

    async fn audit_follow(
        &self,
        chain: Chain,
        limit: u32,
    ) -> Result<(Chain, Option<String>), Error> {
        self.0.audit_follow(chain, limit).await
    }

    async fn audit_head(&self) -> Result<Option<(u64, Vec<u8>)>, Error> {
        self.0.audit_head().await
    }

    async fn webhook_create(&self, by: &Actor, webhook: Webhook) -> Result<(), Error> {
        self.0.webhook_create(by, webhook).await
    }

    async fn webhook_change(
        &self,
        by: &Actor,
        id: WebhookId,
        action: &'static str,
        change: webhook::Change,
        now: Timestamp,
    ) -> Result<Option<Webhook>, Error> {
        self.0.webhook_change(by, id, action, change, now).await
    }

    async fn webhook_delete(
        &self,
        by: &Actor,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.0.webhook_delete(by, id, now).await
    }

    async fn webhook_find(&self, scope: &Scope, id: WebhookId) -> Result<Option<Webhook>, Error> {
        self.0.webhook_find(scope, id).await
    }

    async fn webhooks_lapse(&self, now: Timestamp) -> Result<Vec<WebhookId>, Error> {
        self.0.webhooks_lapse(now).await
    }

    async fn webhooks_revision(&self) -> Result<i64, Error> {
        self.0.webhooks_revision().await
    }

    async fn webhooks_list(&self, scope: &Scope) -> Result<Vec<Webhook>, Error> {
        self.0.webhooks_list(scope).await
    }

    async fn events_list(&self, scope: &Scope, query: &EventQuery) -> Result<EventPage, Error> {
        self.0.events_list(scope, query).await
    }

    async fn event_heads(&self, after: i64, limit: u32) -> Result<Vec<EventHead>, Error> {
        self.0.event_heads(after, limit).await
    }

    async fn event_newest(&self) -> Result<i64, Error> {
        self.0.event_newest().await
    }

    async fn event_find(&self, scope: &Scope, id: EventId) -> Result<Option<Event>, Error> {
        self.0.event_find(scope, id).await
    }

    async fn events_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.0.events_sweep(before, limit).await
    }

    async fn deliveries_claim(&self, claim: DeliveryClaim) -> Result<Vec<DeliveryLane>, Error> {
        self.0.deliveries_claim(claim).await
    }

    async fn delivery_finish(&self, finish: &DeliveryFinish) -> Result<Health, Error> {
        self.0.delivery_finish(finish).await
    }

    async fn deliveries_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error> {
        self.0.deliveries_lapse(which, now).await
    }

    async fn deliveries_due(&self) -> Result<Vec<(WebhookId, Timestamp)>, Error> {
        self.0.deliveries_due().await
    }

    async fn deliveries_list(
        &self,
        scope: &Scope,
        query: &DeliveryQuery,
    ) -> Result<Option<Page<Delivery>>, Error> {
        self.0.deliveries_list(scope, query).await
    }

    async fn delivery_find(
        &self,
        scope: &Scope,
        webhook_id: WebhookId,
        event_id: EventId,
    ) -> Result<Option<Delivery>, Error> {
        self.0.delivery_find(scope, webhook_id, event_id).await
    }

    async fn delivery_attempts_list(
        &self,
        scope: &Scope,
        webhook_id: WebhookId,
        event_id: EventId,
    ) -> Result<Option<Vec<DeliveryAttempt>>, Error> {
        self.0
            .delivery_attempts_list(scope, webhook_id, event_id)
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
        self.0
            .deliveries_replay(by, webhook_id, replay, after, limit, now)
            .await
    }

    async fn deliveries_depth(&self) -> Result<Depth, Error> {
        self.0.deliveries_depth().await
    }

    async fn idempotency_sweep(&self, now: Timestamp, limit: u32) -> Result<u64, Error> {
        self.0.idempotency_sweep(now, limit).await
    }

    async fn queue_depth(&self) -> Result<Depth, Error> {
        self.0.queue_depth().await
    }

    async fn clock_look(&self) -> Result<Look, Error> {
        self.0.clock_look().await
    }

    async fn clock_set(&self, to: Dial) -> Result<bool, Error> {
        self.0.clock_set(to).await
    }

    async fn clock_accept(&self, by: &Actor, now: Timestamp) -> Result<i64, Error> {
        self.0.clock_accept(by, now).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.0.check().await
    }

    fn signals(&self) -> &Signals {
        self.0.signals()
    }

    fn is_shared(&self) -> bool {
        self.0.is_shared()
    }

    async fn close(&self) {
        self.0.close().await;
    }
}
