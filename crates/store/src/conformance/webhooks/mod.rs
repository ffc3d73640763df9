//! Events, who subscribes to them, and what becomes of each delivery.

#![expect(missing_docs, reason = "a case's name is its sentence")]

mod attempts;
mod events;
mod makers;
mod receivers;
mod subscriptions;

use std::collections::HashSet;

use model::{
    EventId, IntegrationId, JobId, Scope, Secret, Timestamp, WebhookId,
    id::TriggerId,
    key::System,
    record::Kind,
    webhook::{
        Change, Delivery, DeliveryAttempt, DeliveryStatus, Event, Previous, Subscribed, Trigger,
        Webhook,
    },
};
use serde_json::{Map, Value, json};

use super::{Answer, Backend, START, World, at, operator};
use crate::{
    Error, Lapse, Page, Store,
    events::types::EventQuery,
    logs::history::Seen,
    subscriptions::types::{
        ClaimedDelivery, DeliveryClaim, DeliveryFinish, DeliveryLane, DeliveryQuery,
        DeliveryTicket, DeliveryVerdict, Health, Replay, Replayed, Standing, WebhookQuery,
    },
};

pub use self::{attempts::*, events::*, makers::*, receivers::*, subscriptions::*};

/// What no log and no audit entry may hold.
const SECRETS: [&str; 3] = ["signing-secret", "secret-before", "header-value"];

/// How long leases of these cases last, in seconds.
const LEASE_S: i64 = 60;

pub(super) const EVERY: EventQuery = EventQuery {
    integration_id: None,
    trigger: None,
    kind: None,
    subject: None,
    since: None,
    after: None,
    behind: None,
    goes_on: false,
    is_descending: false,
    limit: 10_000,
};

impl<B: Backend> World<B> {
    /// A subscription of ours to these triggers, of all models and integrations.
    pub(super) fn webhook(&self, triggers: &[Trigger]) -> Webhook {
        let triggers = triggers
            .iter()
            .map(|trigger| self.subscribed(*trigger, None));
        Webhook {
            id: WebhookId::new(START, &*self.entropy),
            url: "https://receiver.example/hook".to_owned(),
            headers: vec![("authorization".to_owned(), Secret::new("header-value"))],
            triggers: triggers.collect(),
            active: true,
            system: System::Sandbox,
            object_style: Default::default(),
            integrations: None,
            secret: Secret::new("signing-secret"),
            previous: vec![Previous {
                secret: Secret::new("secret-before"),
                until: at(1_000),
            }],
            failing_since: None,
            disabled: None,
            created_by: None,
            created_at: START,
            updated_at: START,
        }
    }

    fn subscribed(&self, trigger: Trigger, kind: Option<Kind>) -> Subscribed {
        Subscribed {
            id: TriggerId::new(START, &*self.entropy),
            trigger,
            kind,
        }
    }

    pub(super) async fn subscribe(&self, webhook: Webhook) -> Answer<WebhookId> {
        let id = webhook.id;
        self.store.webhook_create(&operator(), webhook).await?;
        Ok(id)
    }

    pub(super) async fn change_webhook(
        &self,
        id: WebhookId,
        change: Change,
        now: Timestamp,
    ) -> Answer<Webhook> {
        let changed = self
            .store
            .webhook_change(&operator(), id, "webhook_update", change, now)
            .await?;
        Ok(changed.ok_or("the webhook is there")?)
    }

    pub(super) async fn switch(
        &self,
        id: WebhookId,
        active: bool,
        now: Timestamp,
    ) -> Answer<Webhook> {
        let change = Change {
            active: Some(active),
            ..Change::default()
        };
        self.change_webhook(id, change, now).await
    }

    /// A page, by offset and limit, of the subscriptions that `scope` may know of.
    async fn webhooks(
        &self,
        scope: &Scope,
        active: Option<bool>,
        (offset, limit): (u64, u64),
    ) -> Answer<Page<Webhook>> {
        let query = WebhookQuery {
            is_descending: false,
            active,
            offset,
            limit,
        };
        Ok(self.store.webhooks_list(scope, query).await?)
    }

    pub(super) async fn webhook_now(&self, id: WebhookId) -> Answer<Webhook> {
        let mut all = self.store.webhooks_all().await?.into_iter();
        Ok(all.find(|one| one.id == id).ok_or("the webhook is there")?)
    }

    /// Has a new prospect seen at the vendor for each name: an event each.
    pub(super) async fn happen(
        &self,
        integration_id: IntegrationId,
        names: &[String],
        now: Timestamp,
    ) -> Answer<Vec<EventId>> {
        let newest = EventQuery {
            is_descending: true,
            limit: 1,
            ..EVERY
        };
        let since = EventQuery {
            after: self.log(&newest).await?.first().map(|one| one.id),
            ..EVERY
        };
        let seen = names.iter().map(|x_id| Seen {
            kind: Kind::Prospect,
            x_id: x_id.clone(),
            asked_at: Timestamp::from_micros(i64::MAX),
            update: Map::new(),
            add: Vec::new(),
            create: Some((
                Kind::Prospect.new_id(now, &*self.entropy),
                json!({ "first_name": x_id }),
            )),
            is_gone: false,
        });
        let job_id = JobId::new(now, &*self.entropy);
        self.store
            .sync_record(integration_id, job_id, seen.collect(), now)
            .await?;
        let events: Vec<_> = self.log(&since).await?.iter().map(|one| one.id).collect();
        assert_eq!(events.len(), names.len(), "an event each");
        Ok(events)
    }

    /// As many new prospects here.
    async fn happen_here(&self, count: usize, now: Timestamp) -> Answer<Vec<EventId>> {
        let names: Vec<String> = (0..count).map(|n| format!("{now} {n}")).collect();
        self.happen(self.here, &names, now).await
    }

    async fn log(&self, query: &EventQuery) -> Answer<Vec<Event>> {
        Ok(self.store.events_list(&self.all, query).await?.rows)
    }

    /// What happened since `after` events, a line each: trigger and model.
    async fn told(&self, after: usize) -> Answer<Vec<(Trigger, Option<Kind>)>> {
        let log = self.log(&EVERY).await?;
        Ok(log[after..]
            .iter()
            .map(|one| (one.trigger, one.kind))
            .collect())
    }

    pub(super) async fn take_lane(
        &self,
        id: WebhookId,
        limit: u32,
        now: Timestamp,
    ) -> Answer<Option<DeliveryLane>> {
        let claim = DeliveryClaim {
            lanes: vec![(id, limit)],
            now,
            lease_until: now.plus_millis(LEASE_S * 1_000),
        };
        Ok(self.store.deliveries_claim(claim).await?.pop())
    }

    pub(super) async fn take(&self, id: WebhookId, now: Timestamp) -> Answer<Vec<ClaimedDelivery>> {
        let lane = self.take_lane(id, 1_000, now).await?;
        Ok(lane.map(|lane| lane.deliveries).unwrap_or_default())
    }

    async fn take_one(&self, id: WebhookId, now: Timestamp) -> Answer<DeliveryTicket> {
        match self.take(id, now).await?.as_slice() {
            [one] => Ok(one.ticket),
            other => Err(format!("{} deliveries are due, not one", other.len()).into()),
        }
    }

    /// Records what became of an attempt that began now. `true` when the webhook was switched off.
    pub(super) async fn tell(
        &self,
        ticket: DeliveryTicket,
        verdict: DeliveryVerdict,
        now: Timestamp,
    ) -> Answer<bool> {
        let standing = match verdict {
            DeliveryVerdict::Delivered => Standing::Well,
            _ => Standing::Failed {
                since_before: now.plus_millis(-5 * 24 * 3_600_000),
                reason: "it failed for five days".to_owned(),
            },
        };
        self.tell_as(ticket, verdict, standing, now).await
    }

    async fn tell_as(
        &self,
        ticket: DeliveryTicket,
        verdict: DeliveryVerdict,
        standing: Standing,
        now: Timestamp,
    ) -> Answer<bool> {
        let finish = DeliveryFinish {
            ticket,
            attempt: answered(ticket.attempt, verdict == DeliveryVerdict::Delivered, now),
            verdict,
            standing,
            now,
        };
        Ok(self.store.delivery_finish(&finish).await? == Health::Off)
    }

    pub(super) async fn deliveries(
        &self,
        webhook_id: WebhookId,
        status: Option<DeliveryStatus>,
    ) -> Answer<Vec<Delivery>> {
        let query = DeliveryQuery {
            webhook_id,
            status,
            after: None,
            limit: 10_000,
        };
        let page = self.store.deliveries_list(&self.all, &query).await?;
        Ok(page.ok_or("the webhook is there")?.rows)
    }

    pub(super) async fn delivery(
        &self,
        webhook_id: WebhookId,
        event_id: EventId,
    ) -> Answer<Delivery> {
        let found = self
            .store
            .delivery_find(&self.all, webhook_id, event_id)
            .await?;
        Ok(found.ok_or("the delivery is there")?)
    }

    async fn tries_of(
        &self,
        webhook_id: WebhookId,
        event_id: EventId,
    ) -> Answer<Vec<DeliveryAttempt>> {
        let found = self
            .store
            .delivery_attempts_list(&self.all, webhook_id, event_id)
            .await?;
        Ok(found.ok_or("the delivery is there")?)
    }

    /// The subscriptions that have something due since this was last asked. Signals go out after answers: when another change is answered, all before it are out.
    async fn signalled(&self) -> Answer<HashSet<WebhookId>> {
        self.store
            .deliveries_lapse(Lapse::Expired, Timestamp::ZERO)
            .await?;
        Ok(self.store.signals().take_deliveries_due())
    }

    async fn deliver_again(
        &self,
        id: WebhookId,
        replay: Replay,
        from: (i64, u32),
        now: Timestamp,
    ) -> Result<Option<Replayed>, Error> {
        self.store
            .deliveries_replay(&operator(), id, replay, from.0, from.1, now)
            .await
    }
}

/// An attempt that was answered.
fn answered(number: u32, is_taken: bool, started_at: Timestamp) -> DeliveryAttempt {
    DeliveryAttempt {
        number,
        started_at,
        duration_ms: Some(7),
        is_taken,
        error: (!is_taken).then(|| "the receiver answered 500".to_owned()),
        status: Some(if is_taken { 200 } else { 500 }),
        response: Some("hello, Zoë".to_owned()),
        response_is_cut: false,
    }
}

fn bodies(events: &[Event]) -> Answer<Vec<Value>> {
    Ok(events
        .iter()
        .map(|event| serde_json::to_value(event.body()?))
        .collect::<Result<_, _>>()?)
}

fn places(claimed: &[ClaimedDelivery]) -> Answer<Vec<EventId>> {
    let ids = claimed
        .iter()
        .map(|one| one.event.as_ref().map(|event| event.id));
    Ok(ids.collect::<Result<_, _>>().map_err(Clone::clone)?)
}

/// Ends every lease that `which` names, however many a call ends.
pub(super) async fn lapse(store: &Store, which: Lapse, now: Timestamp) -> Result<u64, Error> {
    let mut all = 0;
    loop {
        match store.deliveries_lapse(which, now).await? {
            0 => return Ok(all),
            some => all += some,
        }
    }
}
