//! Events, who subscribes to them, and what becomes of each delivery.

#![expect(missing_docs, reason = "a case's name is its sentence")]

use std::collections::{BTreeMap, BTreeSet, HashSet};

use model::{
    Actor, CommunityId, EventId, IntegrationId, JobId, KeyId, Scope, Secret, Timestamp, WebhookId,
    directory::Community,
    id::TriggerId,
    key::System,
    record::Kind,
    resources::integration::Member,
    webhook::{
        Change, Delivery, DeliveryAttempt, DeliveryStatus, Event, Previous, Subscribed, Trigger,
        Webhook,
    },
    write::{Operation, WriteStatus},
};
use serde_json::{Map, Value, json};

use super::{
    Answer, Backend, START, Verdicts, World, again, assert_conflict, at, failed, new_key, operator,
};
use crate::{
    Depth, Error, Lapse, Page, Registration, Store,
    audit::AuditQuery,
    events::types::EventQuery,
    logs::history::{Seen, Tally},
    subscriptions::types::{
        ClaimedDelivery, DeliveryClaim, DeliveryFinish, DeliveryLane, DeliveryQuery,
        DeliveryTicket, DeliveryVerdict, Health, Replay, Replayed, Standing, WebhookQuery,
    },
};

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
    Ok(events.iter().map(Event::body).collect::<Result<_, _>>()?)
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

pub async fn a_write_that_ends_is_told_after_what_it_did<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let prospect = Some(Kind::Prospect);
    let (new, update) = (
        (Trigger::DataNew, prospect),
        (Trigger::DataUpdate, prospect),
    );
    let (success, failure) = (
        (Trigger::WriteSuccess, prospect),
        (Trigger::WriteFailure, prospect),
    );
    // Made, changed, the same again; refused; to be tried again.
    let mut jobs = Vec::new();
    for (second, expected) in [
        (1, vec![new, success]),
        (2, vec![update, success]),
        (3, vec![success]),
    ] {
        let before = world.log(&EVERY).await?.len();
        jobs.push(
            world
                .accept(world.write(world.here, at(second), &[]))
                .await?,
        );
        assert_eq!(
            world.told(before).await?,
            [],
            "an accepted write did nothing yet"
        );
        let ticket = world.claim_one(at(second)).await?;
        world
            .finish(ticket, again(at(second), "busy"), at(second))
            .await?;
        assert_eq!(world.told(before).await?, []);
        let ticket = world.claim_one(at(second)).await?;
        world
            .finish(ticket, world.delivered("x1").1, at(second))
            .await?;
        assert_eq!(world.told(before).await?, expected);
    }
    let before = world.log(&EVERY).await?.len();
    jobs.push(world.accept(world.write(world.here, at(4), &[])).await?);
    let ticket = world.claim_one(at(4)).await?;
    world.finish(ticket, failed("refused"), at(4)).await?;
    // A confirmation that comes after the end is noted with the write, and told to nobody.
    world.finish(ticket, world.delivered("x1").1, at(5)).await?;
    assert_eq!(world.told(before).await?, [failure]);
    // Of another record than was meant.
    let mut odd = world.write(world.here, at(6), &[]);
    odd.operation = Operation::ProspectUpdate;
    odd.confirmed.subject = world.find(jobs[0]).await?.record_id;
    jobs.push(world.accept(odd).await?);
    let ticket = world.claim_one(at(6)).await?;
    world.finish(ticket, world.delivered("x2").1, at(6)).await?;
    assert_eq!(world.told(before + 1).await?, [new, failure]);

    let log = world.log(&EVERY).await?;
    let told = bodies(&log)?;
    let record_id = world.find(jobs[0]).await?.record_id;
    assert_eq!(
        told[0]["data"],
        json!({
            "event": "DATA_NEW", "integration_id": world.here, "vendor": "KNOCK", "job_id": jobs[0], "root_job_id": jobs[0],
            "job_type": "prospect_create", "object": "crm_prospects", "record_id": record_id,
            "payload": serde_json::to_value(world.first_of(&log[0]).await?)?, "context": { "community_id": null },
        })
    );
    assert_eq!(
        told[1],
        json!({
            "trigger": "WRITE_OPERATION_SUCCESS",
            "data": {
                "event": "WRITE_OPERATION_SUCCESS", "integration_id": world.here, "vendor": "KNOCK", "root_job_id": jobs[0],
                "write_status": "SUCCESS", "outcome": "CREATED", "errors": [], "created_record_id": record_id, "job_type": "prospect_create",
            },
            "meta": { "object": "crm_prospects", "integration_id": world.here, "event_id": log[1].id, "created_at": log[1].at },
        })
    );
    assert_eq!(
        told[2]["data"]["diff"],
        json!({ "new": { "notes": "second", "city": null }, "previous": { "notes": "first", "city": "Seattle" } })
    );
    assert_eq!(told[5]["data"]["write_status"], "FAILURE");
    assert_eq!(told[5]["data"]["errors"], json!(["refused"]));
    assert_eq!(told[7]["data"]["write_status"], "PARTIAL_SUCCESS");
    assert_eq!(
        told[7]["data"]["errors"],
        json!(world.find(jobs[4]).await?.errors)
    );
    for pair in log.windows(2) {
        assert!(pair[0].seq < pair[1].seq && pair[0].at <= pair[1].at);
    }
    let ids: BTreeSet<_> = log.iter().map(|one| one.id.to_string()).collect();
    assert_eq!(ids.len(), log.len());
    world.restart().await?;
    assert_eq!(
        bodies(&world.log(&EVERY).await?)?,
        told,
        "the same at any time"
    );
    Ok(())
}

impl<B: Backend> World<B> {
    /// The record of an event as it was when that was stored, in the shape that reading it has.
    async fn first_of(&self, event: &Event) -> Answer<model::resources::prospect::Prospect> {
        let mut first = self.prospect(&event.subject).await?;
        first.notes = Some("first".to_owned());
        first.city = Some("Seattle".to_owned());
        first.updated_at = event.at.to_string();
        first.last_seen = event.at.to_string();
        Ok(first)
    }
}

pub async fn a_change_that_fails_tells_nothing<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let community = |integration_id| Community {
        id: CommunityId::new(START, &*world.entropy),
        integration_id,
        x_id: "1".to_owned(),
        name: "One".to_owned(),
        timezone: "UTC".to_owned(),
        phone_region: None,
        active: true,
    };
    let theirs = community(world.there);
    let register = |id, communities| Registration {
        integration: super::integration(id),
        communities,
        attributions: Vec::new(),
        agents: Vec::new(),
    };
    let (by, one) = (operator(), register(world.there, vec![theirs.clone()]));
    world.store.integration_register(&by, one, at(1)).await?;
    let before = world.log(&EVERY).await?.len();
    let taken = Community {
        integration_id: world.here,
        ..theirs
    };
    let both = register(world.here, vec![community(world.here), taken]);
    assert_conflict(world.store.integration_register(&by, both, at(2)).await);
    assert_eq!(world.told(before).await?, []);
    assert_eq!(world.deliveries(webhook, None).await?.len(), before);
    Ok(())
}

pub async fn runs_of_synchronisation_are_told<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let (ok, partial, no) = (
        WriteStatus::Success,
        WriteStatus::PartialSuccess,
        WriteStatus::Failure,
    );
    let mut expected = Vec::new();
    for (id, status, trigger) in [
        (world.here, no, Trigger::JobFailure),
        (world.here, ok, Trigger::FirstSyncComplete),
        (world.here, partial, Trigger::SyncComplete),
        (world.there, partial, Trigger::FirstSyncComplete),
        (world.here, no, Trigger::JobFailure),
        (world.there, ok, Trigger::SyncComplete),
    ] {
        let job_id = JobId::new(at(1), &*world.entropy);
        let is_begun = world
            .store
            .sync_begin(id, job_id, at(1), at(9), at(1))
            .await?;
        assert!(is_begun, "due, and the one before has ended");
        let errors =
            (status != ok).then(|| vec!["a source is gone".to_owned(), "and another".to_owned()]);
        let tally = Tally {
            errors: errors.unwrap_or_default(),
            ..Tally::default()
        };
        world
            .store
            .sync_end(job_id, status, tally, at(2), None)
            .await?;
        expected.push((trigger, id, job_id, status));
    }
    let cut_off = JobId::new(at(3), &*world.entropy);
    world
        .store
        .sync_begin(world.here, cut_off, at(3), at(9), at(9))
        .await?;
    assert_eq!(world.store.syncs_lapse(Lapse::All, at(4)).await?, 1);
    expected.push((Trigger::JobFailure, world.here, cut_off, no));
    assert_eq!(world.store.syncs_lapse(Lapse::All, at(5)).await?, 0);

    let log = world.log(&EVERY).await?;
    assert_eq!(log.len(), expected.len());
    for ((event, body), (trigger, id, job_id, status)) in
        log.iter().zip(bodies(&log)?).zip(expected)
    {
        assert_eq!(
            (event.trigger, &event.integration_id),
            (trigger, &id.to_string())
        );
        let data = &body["data"];
        assert_eq!(data["job_id"], json!(job_id));
        let failed = data["errors"].as_array().map_or(0, Vec::len);
        assert_eq!(
            (
                &data["successful_job_count"],
                &data["failed_job_count"],
                &data["is_sync_finished"]
            ),
            (
                &json!(u8::from(status != no)),
                &json!(failed),
                &json!(status != no)
            ),
            "{data}"
        );
        assert_eq!(failed > 0, status != ok);
        assert_eq!(body["meta"]["object"], Value::Null);
    }
    Ok(())
}

pub async fn members_are_told_when_something_about_them_differs<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let register = async |name: &str, more: Value| -> Verdicts {
        let mut body = json!({ "integration_id": world.here, "x_id": "1", "name": name, "timezone": "UTC", "active": true });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        let member = Member {
            kind: Kind::Community,
            id: CommunityId::new(START, &*world.entropy).to_string(),
            x_id: "1".to_owned(),
            body,
            is_active_when_new: true,
        };
        world
            .store
            .members_register(
                &operator(),
                world.here,
                "communities_register",
                vec![member],
                at(3),
            )
            .await?;
        Ok(())
    };
    let community = Some(Kind::Community);
    register("One", json!({ "phone_region": "US" })).await?;
    assert_eq!(world.told(0).await?, [(Trigger::DataNew, community)]);
    register("One", json!({ "phone_region": "US" })).await?;
    assert_eq!(world.told(1).await?, [], "nothing differs");
    register("Uno", json!({ "phone_region": "US" })).await?;
    register("Uno", json!({})).await?;
    assert_eq!(world.told(1).await?, [(Trigger::DataUpdate, community); 2]);
    let log = world.log(&EVERY).await?;
    let told = bodies(&log)?;
    assert_eq!(told[0]["data"]["payload"]["name"], "One");
    assert_eq!(told[0]["data"]["job_id"], Value::Null, "no job brought it");
    assert_eq!(
        told[1]["data"]["diff"],
        json!({ "new": { "name": "Uno" }, "previous": { "name": "One" } })
    );
    assert_eq!(
        told[2]["data"]["diff"],
        json!({ "new": { "phone_region": null }, "previous": { "phone_region": "US" } })
    );
    assert_eq!(told[2]["data"]["object"], "crm_communities");
    assert_eq!(log[0].subject, log[2].subject);
    Ok(())
}

pub async fn an_event_goes_to_those_who_subscribe_to_it<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let triggers = [Trigger::DataNew, Trigger::WriteSuccess];
    let subscribe = async |change: &dyn Fn(&mut Webhook)| {
        let mut webhook = world.webhook(&triggers);
        change(&mut webhook);
        world.subscribe(webhook).await
    };
    let of = |kind| world.subscribed(Trigger::DataNew, Some(kind));
    let all = subscribe(&|_| ()).await?;
    let prospects = subscribe(&|one| one.triggers = vec![of(Kind::Prospect)]).await?;
    let tours = subscribe(&|one| one.triggers = vec![of(Kind::Appointment)]).await?;
    let twice = subscribe(&|one| one.triggers.push(of(Kind::Prospect))).await?;
    let failures =
        subscribe(&|one| one.triggers = vec![world.subscribed(Trigger::WriteFailure, None)])
            .await?;
    let here = subscribe(&|one| one.integrations = Some(vec![world.here])).await?;
    let there = subscribe(&|one| one.integrations = Some(vec![world.there])).await?;
    let both = subscribe(&|one| one.integrations = Some(vec![world.there, world.here])).await?;
    let none = subscribe(&|one| one.integrations = Some(Vec::new())).await?;
    let off = subscribe(&|one| one.active = false).await?;

    world.accept_here(&[]).await?;
    let ticket = world.claim_one(at(1)).await?;
    world.finish(ticket, world.delivered("x1").1, at(1)).await?;
    let log = world.log(&EVERY).await?;
    let [made, ended] = [log[0].id, log[1].id];
    for (id, expected) in [
        (all, vec![ended, made]),
        (prospects, vec![made]),
        (tours, vec![]),
        (twice, vec![ended, made]),
        (failures, vec![]),
        (here, vec![ended, made]),
        (there, vec![]),
        (both, vec![ended, made]),
        (none, vec![]),
        (off, vec![]),
    ] {
        let got = world.deliveries(id, None).await?;
        let events: Vec<_> = got.iter().map(|one| one.event_id).collect();
        assert_eq!(events, expected);
        for one in got {
            assert_eq!((one.status, one.attempts), (DeliveryStatus::Pending, 0));
            assert_eq!(one.next_attempt_at, Some(at(1)));
        }
    }
    // What a subscription is to is what it was changed to, from then on.
    let change = Change {
        triggers: Some(vec![world.subscribed(Trigger::DataNew, None)]),
        ..Change::default()
    };
    world.change_webhook(failures, change, at(2)).await?;
    world.switch(off, true, at(2)).await?;
    let event = world.happen_here(1, at(3)).await?;
    for (id, count) in [(failures, 1), (off, 1), (there, 0)] {
        let got = world.deliveries(id, None).await?;
        assert_eq!(got.len(), count);
        assert!(got.iter().all(|one| one.event_id == event[0]));
    }
    let signalled = world.signalled().await?;
    assert!(
        [all, prospects, twice, here, both, failures, off]
            .iter()
            .all(|id| signalled.contains(id))
    );
    assert!(![tours, there, none].iter().any(|id| signalled.contains(id)));
    Ok(())
}

pub async fn deliveries_are_claimed_in_order_and_never_twice<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let events = world.happen_here(6, at(10)).await?;
    assert!(
        world.take(webhook, at(9)).await?.is_empty(),
        "nothing is due before"
    );
    assert_eq!(world.store.deliveries_due().await?, [(webhook, at(10))]);

    let lane = world
        .take_lane(webhook, 2, at(10))
        .await?
        .ok_or("it is active")?;
    assert_eq!(places(&lane.deliveries)?, events[..2]);
    assert_eq!(lane.next_due_at, Some(at(10)));
    world
        .tell(
            lane.deliveries[0].ticket,
            DeliveryVerdict::Again(at(11)),
            at(10),
        )
        .await?;
    world
        .tell(
            lane.deliveries[1].ticket,
            DeliveryVerdict::Again(at(10)),
            at(10),
        )
        .await?;
    // In the order due, and of those due at once in the order of the log.
    let mut expected = events.clone();
    expected.rotate_left(1);
    let lane = world
        .take_lane(webhook, 5, at(11))
        .await?
        .ok_or("it is active")?;
    assert_eq!(places(&lane.deliveries)?, expected[..5]);
    assert_eq!(lane.next_due_at, Some(at(11)));
    world.restart().await?;
    let lane = world
        .take_lane(webhook, 5, at(12))
        .await?
        .ok_or("it is active")?;
    assert_eq!(
        (places(&lane.deliveries)?, lane.next_due_at),
        (vec![events[0]], None)
    );
    assert_eq!(lane.deliveries[0].ticket.attempt, 2);
    assert!(world.take(webhook, at(13)).await?.is_empty());
    assert!(world.store.deliveries_due().await?.is_empty());

    // Whoever claims at the same time shares nothing.
    let events = world.happen_here(100, at(20)).await?;
    let claims: Vec<_> = (0..10)
        .map(|_| {
            let store = world.store.clone();
            tokio::spawn(async move {
                let claim = DeliveryClaim {
                    lanes: vec![(webhook, 15)],
                    now: at(20),
                    lease_until: at(60),
                };
                store.deliveries_claim(claim).await
            })
        })
        .collect();
    let mut got = Vec::new();
    for claim in claims {
        for lane in claim.await?? {
            got.extend(places(&lane.deliveries)?);
        }
    }
    got.sort_unstable_by_key(ToString::to_string);
    let mut expected = events;
    expected.sort_unstable_by_key(ToString::to_string);
    assert_eq!(got, expected);
    let nobody = WebhookId::new(START, &*world.entropy);
    assert!(world.take_lane(nobody, 5, at(20)).await?.is_none());
    Ok(())
}

/// Times of events rise whatever the clock does; what is to be delivered is due by the clock.
pub async fn a_clock_that_is_set_back_delays_no_delivery<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    world.happen_here(1, at(3_600)).await?;
    world.happen_here(3, at(1)).await?;
    let log = world.log(&EVERY).await?;
    assert!(log.iter().all(|event| event.at >= at(3_600)));
    assert_eq!(
        places(&world.take(webhook, at(1)).await?)?,
        log[1..].iter().map(|one| one.id).collect::<Vec<_>>()
    );
    let since = Replay::Since(at(3_600));
    let replayed = world.deliver_again(webhook, since, (0, 10), at(2)).await?;
    assert_eq!(
        replayed.map(|done| done.count),
        Some(1),
        "the others are being tried"
    );
    Ok(())
}

pub async fn a_lapsed_delivery_comes_back_with_its_attempt_cut_off<B: Backend>(
    backend: B,
) -> Verdicts {
    let mut world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let event = world.happen_here(1, at(1)).await?[0];
    let first = world.take_one(webhook, at(1)).await?;
    assert_eq!((first.attempt, first.tries), (1, 1));
    let standing = world.delivery(webhook, event).await?;
    assert_eq!(
        (standing.status, standing.attempts, standing.next_attempt_at),
        (DeliveryStatus::Pending, 1, None)
    );
    assert_eq!(lapse(&world.store, Lapse::Expired, at(LEASE_S)).await?, 0);
    world.restart().await?;
    assert!(
        world.take(webhook, at(LEASE_S)).await?.is_empty(),
        "a lease outlives a restart"
    );
    world.signalled().await?;
    assert_eq!(
        lapse(&world.store, Lapse::Expired, at(LEASE_S + 1)).await?,
        1
    );
    assert!(world.signalled().await?.contains(&webhook));
    let cut_off = &world.tries_of(webhook, event).await?[0];
    assert_eq!((cut_off.number, cut_off.started_at), (1, at(1)));
    assert!(cut_off.error.is_some() && cut_off.duration_ms.is_none() && !cut_off.is_taken);
    assert_eq!(
        world.webhook_now(webhook).await?.failing_since,
        None,
        "it is not the receiver's failure"
    );

    let second = world.take_one(webhook, at(LEASE_S + 1)).await?;
    assert_eq!(
        (second.attempt, second.tries),
        (2, 1),
        "the schedule does not count it"
    );
    // A late answer of the first: a failure decides nothing, and takes the place of what was recorded for it.
    world.tell(first, DeliveryVerdict::GivenUp, at(70)).await?;
    assert_eq!(
        world.delivery(webhook, event).await?.status,
        DeliveryStatus::Pending
    );
    assert_eq!(
        world.tries_of(webhook, event).await?[0],
        answered(1, false, at(70))
    );
    assert!(
        world.take(webhook, at(70)).await?.is_empty(),
        "the second holds it"
    );
    // That the receiver has it is the truth, whoever says so.
    world
        .tell(first, DeliveryVerdict::Delivered, at(71))
        .await?;
    let taken = world.delivery(webhook, event).await?;
    assert_eq!(
        (taken.status, taken.completed_at, taken.error),
        (DeliveryStatus::Delivered, Some(at(71)), None)
    );
    world.tell(second, DeliveryVerdict::GivenUp, at(72)).await?;
    assert_eq!(
        world.delivery(webhook, event).await?.status,
        DeliveryStatus::Delivered
    );
    assert_eq!(world.tries_of(webhook, event).await?.len(), 2);

    // All at once, for whoever held them is gone: more than one transaction ends.
    world.happen_here(2_500, at(100)).await?;
    let mut held = 0;
    while held < 2_500 {
        held += world.take(webhook, at(101)).await?.len();
    }
    assert_eq!(lapse(&world.store, Lapse::All, at(101)).await?, 2_500);
    let lane = world
        .take_lane(webhook, 5, at(101))
        .await?
        .ok_or("it is active")?;
    assert_eq!(lane.deliveries.len(), 5);
    Ok(())
}

pub async fn a_delivery_that_is_cut_off_again_and_again_waits_from_the_third_time<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let event = world.happen_here(1, at(80)).await?[0];
    let mut now = at(80);
    for (attempt, tries) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 3), (6, 4)] {
        let ticket = world.take_one(webhook, now).await?;
        assert_eq!((ticket.attempt, ticket.tries), (attempt, tries));
        assert_eq!(lapse(&world.store, Lapse::All, now).await?, 1);
        let standing = world.delivery(webhook, event).await?;
        let due_at = standing.next_attempt_at.ok_or("it is due again")?;
        // As long as the schedule waits after so many tries.
        let least = [0, 0, 5_000, 300_000, 1_800_000, 7_200_000];
        let least = now.plus_millis(least[usize::try_from(attempt)? - 1]);
        assert!(due_at >= least, "{attempt}: {due_at} {least}");
        assert!(attempt > 2 || due_at == now, "{attempt}");
        now = due_at;
    }
    let ticket = world.take_one(webhook, now).await?;
    world.tell(ticket, DeliveryVerdict::Delivered, now).await?;
    assert_eq!(
        world.webhook_now(webhook).await?.failing_since,
        None,
        "it is not the receiver's failure"
    );
    Ok(())
}

pub async fn an_attempt_leaves_its_delivery_as_it_says<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let events = world.happen_here(3, at(1)).await?;
    let claimed = world.take(webhook, at(1)).await?;
    for (one, verdict) in claimed.iter().zip([
        DeliveryVerdict::Delivered,
        DeliveryVerdict::Again(at(50)),
        DeliveryVerdict::GivenUp,
    ]) {
        assert!(!world.tell(one.ticket, verdict, at(2)).await?);
    }
    world.restart().await?;
    let stands = async || -> Answer<Vec<_>> {
        let mut all = Vec::new();
        for event in &events {
            let one = world.delivery(webhook, *event).await?;
            all.push((
                one.status,
                one.next_attempt_at,
                one.completed_at,
                one.error.is_some(),
            ));
        }
        Ok(all)
    };
    let expected = [
        (DeliveryStatus::Delivered, None, Some(at(2)), false),
        (DeliveryStatus::Pending, Some(at(50)), None, true),
        (DeliveryStatus::Failed, None, Some(at(2)), true),
    ];
    assert_eq!(stands().await?, expected);
    assert_eq!(
        world.tries_of(webhook, events[2]).await?,
        [answered(1, false, at(2))]
    );
    // The same answers once more are nobody's any longer.
    for one in &claimed {
        world
            .tell(one.ticket, DeliveryVerdict::Again(at(3)), at(3))
            .await?;
    }
    assert_eq!(stands().await?, expected);
    assert!(world.take(webhook, at(49)).await?.is_empty());
    let ticket = world.take_one(webhook, at(50)).await?;
    assert_eq!((ticket.attempt, ticket.tries), (2, 2));

    // What is removed is removed, whatever is under way.
    assert!(
        world
            .store
            .webhook_delete(&operator(), webhook, at(51))
            .await?
    );
    assert!(
        !world
            .store
            .webhook_delete(&operator(), webhook, at(51))
            .await?
    );
    assert!(
        !world
            .tell(ticket, DeliveryVerdict::Delivered, at(52))
            .await?
    );
    assert!(world.take(webhook, at(60)).await?.is_empty());
    assert!(
        world
            .store
            .delivery_find(&world.all, webhook, events[0])
            .await?
            .is_none()
    );
    assert!(
        world
            .store
            .delivery_attempts_list(&world.all, webhook, events[0])
            .await?
            .is_none()
    );
    assert_eq!(
        world
            .deliver_again(webhook, Replay::Failed, (0, 10), at(60))
            .await?,
        None
    );
    let by = operator();
    let change = Change::default();
    let changed = world
        .store
        .webhook_change(&by, webhook, "webhook_update", change, at(60));
    assert!(changed.await?.is_none());
    assert_eq!(world.store.deliveries_depth().await?, Depth::default());
    let mut left = 0;
    for _ in 0..10 {
        left += world.store.events_sweep(at(0), 2).await?;
    }
    assert_eq!(left, 7, "three deliveries, and four attempts");
    assert!(
        !world
            .tell(ticket, DeliveryVerdict::Delivered, at(52))
            .await?
    );
    assert_eq!(world.store.events_sweep(at(0), 2).await?, 0);
    Ok(())
}

const DAY_S: i64 = 24 * 3_600;

pub async fn a_receiver_that_fails_for_five_days_is_switched_off_and_misses_nothing<B: Backend>(
    backend: B,
) -> Verdicts {
    let mut world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    world.happen_here(1, at(1)).await?;
    let fail = async |world: &World<B>, now: i64| -> Answer<bool> {
        let ticket = world.take_one(webhook, at(now)).await?;
        world
            .tell(ticket, DeliveryVerdict::Again(at(now)), at(now))
            .await
    };
    assert!(!fail(&world, 10).await?);
    assert_eq!(
        world.webhook_now(webhook).await?.failing_since,
        Some(at(10))
    );
    assert!(!fail(&world, 20).await?);
    assert_eq!(
        world.webhook_now(webhook).await?.failing_since,
        Some(at(10)),
        "since the first"
    );
    // One that is taken begins anew.
    world.happen_here(1, at(30)).await?;
    let mut claimed = world.take(webhook, at(30)).await?;
    let (last, first) = (claimed.pop().ok_or("two")?, claimed.pop().ok_or("two")?);
    world
        .tell(last.ticket, DeliveryVerdict::Delivered, at(31))
        .await?;
    assert_eq!(world.webhook_now(webhook).await?.failing_since, None);
    world
        .tell(first.ticket, DeliveryVerdict::Again(at(40)), at(40))
        .await?;
    assert_eq!(
        world.webhook_now(webhook).await?.failing_since,
        Some(at(40))
    );
    assert!(!fail(&world, 5 * DAY_S + 39).await?);
    world.signalled().await?;
    let revision = world.store.signals().webhooks_revision();
    assert!(fail(&world, 5 * DAY_S + 40).await?);
    world.signalled().await?;
    assert!(world.store.signals().webhooks_revision() > revision);
    world.restart().await?;
    let off = world.webhook_now(webhook).await?;
    let disabled = off.disabled.ok_or("it was switched off")?;
    assert_eq!((off.active, disabled.at), (false, at(5 * DAY_S + 40)));
    assert_eq!(disabled.reason, "it failed for five days");

    // It gets nothing, and what happens is kept for it.
    let now = at(6 * DAY_S);
    let later = world.happen_here(2, now).await?;
    assert!(world.take(webhook, now).await?.is_empty());
    assert!(world.store.deliveries_due().await?.is_empty());
    assert_eq!(world.store.deliveries_depth().await?, Depth::default());
    let waiting = world
        .deliveries(webhook, Some(DeliveryStatus::Pending))
        .await?;
    assert_eq!(waiting.len(), 3);
    assert!(waiting.iter().all(|one| one.next_attempt_at.is_none()));
    world.signalled().await?;
    let on = world.switch(webhook, true, now).await?;
    assert!(on.active && on.disabled.is_none() && on.failing_since.is_none());
    assert!(world.signalled().await?.contains(&webhook));
    assert_eq!(
        world.webhook_now(webhook).await?.failing_since,
        None,
        "it begins anew"
    );
    assert_eq!(world.store.deliveries_depth().await?.open, 3);
    let claimed = places(&world.take(webhook, now).await?)?;
    assert!(claimed.len() == 3 && later.iter().all(|one| claimed.contains(one)));
    Ok(())
}

pub async fn who_wants_no_more_is_switched_off_at_once<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    world.happen_here(2, at(1)).await?;
    let claimed = world.take(webhook, at(1)).await?;
    let gone = |now| {
        let standing = Standing::Gone {
            reason: "it answered 410".to_owned(),
        };
        (DeliveryVerdict::Again(now), standing, now)
    };
    let (verdict, standing, now) = gone(at(2));
    assert!(
        world
            .tell_as(claimed[0].ticket, verdict, standing, now)
            .await?
    );
    let off = world.webhook_now(webhook).await?;
    assert_eq!(
        off.disabled.map(|one| one.reason).as_deref(),
        Some("it answered 410")
    );

    // What the operator does since is not undone by an answer to what was sent before.
    let change = Change {
        url: Some("https://elsewhere.example/hook".to_owned()),
        active: Some(true),
        ..Change::default()
    };
    world.change_webhook(webhook, change, at(5)).await?;
    let late = DeliveryFinish {
        ticket: claimed[1].ticket,
        attempt: answered(1, false, at(4)),
        verdict: DeliveryVerdict::Again(at(6)),
        standing: gone(at(6)).1,
        now: at(6),
    };
    assert_ne!(world.store.delivery_finish(&late).await?, Health::Off);
    let on = world.webhook_now(webhook).await?;
    assert!(on.active && on.failing_since.is_none());

    // Switched off by its owner, it is told of nothing any more; what was due before is there when it is on again.
    world.switch(webhook, false, at(7)).await?;
    world.happen_here(3, at(8)).await?;
    assert!(world.take(webhook, at(8)).await?.is_empty());
    world.switch(webhook, true, at(9)).await?;
    assert_eq!(world.take(webhook, at(9)).await?.len(), 2);
    Ok(())
}

pub async fn who_says_twice_that_it_is_gone_is_switched_off<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    world.happen_here(1, at(1)).await?;
    // Each answer in turn: when, what it says, and whether the subscription is switched off by it.
    let said = |seconds: i64| Standing::SaidGone {
        said_before: at(seconds - 60),
        reason: "it answered 410 again".to_owned(),
        failed_before: at(seconds - 9_000),
        failed: "it failed for long".to_owned(),
    };
    let failed = |seconds: i64| Standing::Failed {
        since_before: at(seconds - 9_000),
        reason: "it failed for long".to_owned(),
    };
    for (seconds, standing, is_switched_off) in [
        (100, said(100), false),
        (159, said(159), false),
        (160, Standing::Well, false),
        (161, said(161), false),
        (190, failed(190), false),
        (220, said(220), false),
        (230, failed(230), false),
        (231, said(231), true),
    ] {
        let ticket = world.take_one(webhook, at(seconds)).await?;
        let now = at(seconds);
        let verdict = DeliveryVerdict::Again(now);
        let is_off = world.tell_as(ticket, verdict, standing, now).await?;
        assert_eq!(is_off, is_switched_off, "{seconds}");
        world.restart().await?;
    }
    let off = world.webhook_now(webhook).await?;
    assert_eq!(
        off.disabled.map(|one| one.reason).as_deref(),
        Some("it answered 410 again")
    );
    // Switched on again, it begins anew.
    world.switch(webhook, true, at(300)).await?;
    for (seconds, is_switched_off) in [(400, false), (459, false), (460, true)] {
        let ticket = world.take_one(webhook, at(seconds)).await?;
        let verdict = DeliveryVerdict::Again(at(seconds));
        let is_off = world
            .tell_as(ticket, verdict, said(seconds), at(seconds))
            .await?;
        assert_eq!(is_off, is_switched_off, "{seconds}");
    }
    Ok(())
}

pub async fn changes_of_a_subscription_do_not_undo_each_other<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    world.happen_here(40, at(1)).await?;
    let claimed = world.take(webhook, at(1)).await?;
    for (round, one) in claimed.iter().enumerate() {
        let now = at(2 + i64::try_from(round)?);
        let url = format!("https://receiver.example/{round}");
        let header = format!("value-{round}");
        let change = |change: Change| {
            let store = world.store.clone();
            tokio::spawn(async move {
                store
                    .webhook_change(&operator(), webhook, "webhook_update", change, now)
                    .await
            })
        };
        let changes = [
            change(Change {
                url: Some(url.clone()),
                ..Change::default()
            }),
            change(Change {
                headers: Some(vec![("x".to_owned(), Secret::new(header.clone()))]),
                ..Change::default()
            }),
            change(Change {
                triggers: Some(vec![
                    world.subscribed(Trigger::DataNew, Some(Kind::Prospect)),
                ]),
                ..Change::default()
            }),
        ];
        // At the same time the receiver says that it wants no more.
        let off = {
            let store = world.store.clone();
            let finish = DeliveryFinish {
                ticket: one.ticket,
                attempt: answered(1, false, now),
                verdict: DeliveryVerdict::GivenUp,
                standing: Standing::Gone {
                    reason: "gone".to_owned(),
                },
                now,
            };
            tokio::spawn(async move { store.delivery_finish(&finish).await })
        };
        for change in changes {
            assert!(change.await??.is_some());
        }
        assert_eq!(off.await??, Health::Off);
        let now = world.webhook_now(webhook).await?;
        assert_eq!(
            (&now.url, now.headers[0].1.expose()),
            (&url, header.as_str())
        );
        assert_eq!(now.triggers.len(), 1);
        assert!(
            !now.active && now.disabled.is_some(),
            "a switch-off is not undone"
        );
        world
            .switch(webhook, true, at(2 + i64::try_from(round)?))
            .await?;
    }
    // That it fails is noted beside, and a change of something else leaves it.
    world.happen_here(1, at(100)).await?;
    let ticket = world.take_one(webhook, at(100)).await?;
    world
        .tell(ticket, DeliveryVerdict::Again(at(101)), at(100))
        .await?;
    let change = Change {
        headers: Some(Vec::new()),
        ..Change::default()
    };
    assert_eq!(
        world
            .change_webhook(webhook, change, at(101))
            .await?
            .failing_since,
        Some(at(100))
    );
    world.restart().await?;
    let now = world.webhook_now(webhook).await?;
    assert_eq!((now.failing_since, now.headers.len()), (Some(at(100)), 0));
    Ok(())
}

pub async fn who_delivers_learns_of_each_change_of_a_subscription<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let store = &world.store;
    let mut last = store.webhooks_revision().await?;
    let mut is_changed = async || -> Answer<bool> {
        let before = last;
        last = store.webhooks_revision().await?;
        Ok(last > before)
    };
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    assert!(is_changed().await?);
    let url = Change {
        url: Some("https://elsewhere.example/".to_owned()),
        ..Change::default()
    };
    store
        .webhook_change(&operator(), webhook, "webhook_update", url, at(1))
        .await?;
    assert!(is_changed().await?);
    world.happen_here(2, at(1)).await?;
    let claimed = world.take(webhook, at(2)).await?;
    let finish = |ticket, standing| DeliveryFinish {
        ticket,
        attempt: answered(1, false, at(2)),
        verdict: DeliveryVerdict::GivenUp,
        standing,
        now: at(3),
    };
    let failed = Standing::Failed {
        since_before: at(1),
        reason: "it failed".to_owned(),
    };
    store
        .delivery_finish(&finish(claimed[0].ticket, failed))
        .await?;
    assert!(
        !is_changed().await?,
        "that it fails changes nothing for who delivers"
    );
    let gone = Standing::Gone {
        reason: "gone".to_owned(),
    };
    store
        .delivery_finish(&finish(claimed[1].ticket, gone))
        .await?;
    assert!(is_changed().await?, "switched off");
    assert!(!is_changed().await?);
    assert!(store.webhook_delete(&operator(), webhook, at(4)).await?);
    assert!(is_changed().await?);
    assert!(!store.webhook_delete(&operator(), webhook, at(4)).await?);
    assert!(!is_changed().await?);
    Ok(())
}

pub async fn a_secret_is_changed_with_an_overlap<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let secret = |text: &str, until| Change {
        secret: Some((Secret::new(text), until)),
        ..Change::default()
    };
    world
        .change_webhook(webhook, secret("the-new-one", at(50)), at(10))
        .await?;
    world.restart().await?;
    let changed = world.webhook_now(webhook).await?;
    let signs = |now| -> Vec<String> {
        changed
            .secrets(now)
            .iter()
            .map(|one| one.expose().to_owned())
            .collect()
    };
    assert_eq!(
        signs(at(49)),
        ["the-new-one", "signing-secret", "secret-before"],
        "whoever has any of them goes on"
    );
    assert_eq!(signs(at(50)), ["the-new-one", "secret-before"]);
    assert_eq!(changed.updated_at, at(10));
    world
        .change_webhook(webhook, secret("compromised", at(11)), at(11))
        .await?;
    assert!(
        world.webhook_now(webhook).await?.previous.is_empty(),
        "at once"
    );
    Ok(())
}

pub async fn a_subscription_is_known_to_who_sees_all_that_it_gets<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let limited = |ids: Vec<IntegrationId>| Webhook {
        integrations: Some(ids),
        ..world.webhook(&[Trigger::DataNew])
    };
    let all = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let mine = world.subscribe(limited(vec![world.here])).await?;
    let both = world
        .subscribe(limited(vec![world.here, world.there]))
        .await?;
    let event = world.happen_here(1, at(1)).await?[0];
    let known = async |scope: &Scope| -> Answer<Vec<WebhookId>> {
        let listed = world.webhooks(scope, None, (0, 10)).await?.rows;
        Ok(listed.iter().map(|one| one.id).collect())
    };
    assert_eq!(known(&world.all).await?, [all, mine, both]);
    assert_eq!(known(&world.mine).await?, [mine]);
    assert_eq!(known(&world.theirs).await?, []);
    for (active, offset, limit, ids, total) in [
        (None, 1, 1, vec![mine], 3),
        (None, 2, 1, vec![both], 3),
        (Some(true), 0, 10, vec![all, mine, both], 3),
        (Some(false), 0, 10, vec![], 0),
        (None, 3, 1, vec![], 3),
        (None, 0, 0, vec![], 3),
    ] {
        let page = world.webhooks(&world.all, active, (offset, limit)).await?;
        let found: Vec<_> = page.rows.iter().map(|one| one.id).collect();
        assert_eq!((found, page.total), (ids, Some(total)));
        assert_eq!(page.has_more, offset + limit < total);
    }
    world.switch(mine, false, at(1)).await?;
    let off = world.webhooks(&world.mine, Some(false), (0, 1)).await?;
    assert_eq!((off.rows.len(), off.total), (1, Some(1)));
    let on = world.webhooks(&world.mine, Some(true), (0, 1)).await?;
    assert_eq!((on.rows.len(), on.total), (0, Some(0)));
    world.switch(mine, true, at(1)).await?;
    for (scope, id, is_known) in [
        (&world.all, all, true),
        (&world.mine, mine, true),
        (&world.mine, both, false),
        (&world.mine, all, false),
        (&world.theirs, mine, false),
    ] {
        let found = world.store.webhook_find(scope, id).await?;
        assert_eq!(found.is_some(), is_known, "{id}");
    }
    for id in [all, both] {
        let by = Actor::local(world.mine.clone());
        let query = DeliveryQuery {
            webhook_id: id,
            status: None,
            after: None,
            limit: 10,
        };
        assert!(
            world
                .store
                .deliveries_list(&world.mine, &query)
                .await?
                .is_none()
        );
        assert!(
            world
                .store
                .delivery_find(&world.mine, id, event)
                .await?
                .is_none()
        );
        assert!(
            world
                .store
                .delivery_attempts_list(&world.mine, id, event)
                .await?
                .is_none()
        );
        assert!(
            world
                .store
                .webhook_change(&by, id, "webhook_update", Change::default(), at(2))
                .await?
                .is_none()
        );
        assert!(
            world
                .store
                .deliveries_replay(&by, id, Replay::Failed, 0, 10, at(2))
                .await?
                .is_none()
        );
        assert!(!world.store.webhook_delete(&by, id, at(2)).await?);
    }
    assert!(
        world
            .store
            .delivery_find(&world.mine, mine, event)
            .await?
            .is_some()
    );
    assert!(world.store.event_find(&world.mine, event).await?.is_some());
    assert!(
        world
            .store
            .event_find(&world.theirs, event)
            .await?
            .is_none()
    );

    // A replay brings nobody what they may not see.
    let theirs = world.happen(world.there, &["x".to_owned()], at(3)).await?[0];
    let by = Actor::local(world.mine.clone());
    for (by, id) in [(&by, mine), (&operator(), mine)] {
        let replay = |what, from| world.store.deliveries_replay(by, id, what, from, 10, at(4));
        assert_eq!(replay(Replay::Event(theirs), 0).await?, None);
        let since = replay(Replay::Since(START), 0).await?;
        assert_eq!(
            since,
            Some(Replayed {
                count: 1,
                next: None
            })
        );
        assert_eq!(
            replay(Replay::Event(event), 0).await?,
            Some(Replayed {
                count: 1,
                next: None
            })
        );
    }
    let got: Vec<_> = world
        .deliveries(mine, None)
        .await?
        .iter()
        .map(|one| one.event_id)
        .collect();
    assert_eq!(got, [event]);
    Ok(())
}

pub async fn deliveries_are_replayed_one_or_all_or_since<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let early = world.happen_here(3, at(1)).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let events = world.happen_here(7, at(10)).await?;
    for (n, one) in world.take(webhook, at(10)).await?.iter().enumerate() {
        let verdict = if n < 5 {
            DeliveryVerdict::GivenUp
        } else {
            DeliveryVerdict::Delivered
        };
        world.tell(one.ticket, verdict, at(11)).await?;
    }
    // One, whether or not it was delivered.
    world.signalled().await?;
    let one = world
        .deliver_again(webhook, Replay::Event(events[6]), (0, 10), at(12))
        .await?;
    assert_eq!(
        one,
        Some(Replayed {
            count: 1,
            next: None
        })
    );
    assert!(world.signalled().await?.contains(&webhook));
    let ticket = world.take_one(webhook, at(12)).await?;
    assert_eq!(
        (ticket.attempt, ticket.tries),
        (2, 1),
        "the schedule begins anew"
    );
    // What is being tried just now is left to that.
    let one = world
        .deliver_again(webhook, Replay::Event(events[6]), (0, 10), at(13))
        .await?;
    assert_eq!(one.map(|one| one.count), Some(0));
    world
        .tell(ticket, DeliveryVerdict::Delivered, at(13))
        .await?;
    let unknown = EventId::new(at(1), &*world.entropy);
    assert_eq!(
        world
            .deliver_again(webhook, Replay::Event(unknown), (0, 10), at(13))
            .await?,
        None
    );

    // All that was given up, a piece at a time.
    let mut pieces = Vec::new();
    let mut after = 0;
    loop {
        let piece = world
            .deliver_again(webhook, Replay::Failed, (after, 2), at(14))
            .await?
            .ok_or("it is there")?;
        pieces.push(piece.count);
        match piece.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(pieces, [2, 2, 1]);
    assert_eq!(places(&world.take(webhook, at(14)).await?)?, events[..5]);
    assert_eq!(
        world
            .deliver_again(webhook, Replay::Failed, (0, 2), at(14))
            .await?,
        Some(Replayed::default())
    );
    lapse(&world.store, Lapse::All, at(15)).await?;

    // Everything since, also from before the subscription was made; other triggers' are looked at and left.
    world.accept_here(&[]).await?;
    let ticket = world.claim_one(at(16)).await?;
    world.finish(ticket, failed("no"), at(16)).await?;
    let mut got = Vec::new();
    let mut after = 0;
    loop {
        let piece = world
            .deliver_again(webhook, Replay::Since(at(0)), (after, 4), at(20))
            .await?
            .ok_or("it is there")?;
        got.push(piece.count);
        match piece.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(got, [4, 4, 2]);
    let due = places(&world.take(webhook, at(20)).await?)?;
    let expected: BTreeSet<_> = early
        .iter()
        .chain(&events)
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        due.iter().map(ToString::to_string).collect::<BTreeSet<_>>(),
        expected
    );
    assert_eq!(due.len(), expected.len());
    let later = world
        .deliver_again(webhook, Replay::Since(at(17)), (0, 10), at(20))
        .await?;
    assert_eq!(later, Some(Replayed::default()));
    // Only the first piece of each is entered.
    let query = AuditQuery {
        limit: 100,
        ..AuditQuery::default()
    };
    let log = world.store.audit_list(&world.all, &query).await?;
    let replays: Vec<_> = log
        .rows
        .iter()
        .map(|(entry, _)| entry)
        .filter(|entry| entry.action == "webhook_replay")
        .collect();
    let what: Vec<_> = replays.iter().map(|entry| &entry.after["what"]).collect();
    let event = json!(events[6]);
    assert_eq!(
        what,
        [
            &json!("since"),
            &json!("since"),
            &json!("failed"),
            &json!("failed"),
            &event,
            &event
        ]
    );
    assert_eq!(replays[0].after["since"], json!(at(17)));
    Ok(())
}

pub async fn deliveries_are_listed_by_status_a_page_at_a_time<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let mut expected: BTreeMap<&str, Vec<EventId>> = BTreeMap::new();
    world.happen_here(20, at(1)).await?;
    for (n, one) in world.take(webhook, at(1)).await?.iter().enumerate() {
        let id = places(std::slice::from_ref(one))?[0];
        let (status, verdict) = match n % 4 {
            0 => (DeliveryStatus::Delivered, Some(DeliveryVerdict::Delivered)),
            1 => (DeliveryStatus::Failed, Some(DeliveryVerdict::GivenUp)),
            2 => (
                DeliveryStatus::Pending,
                Some(DeliveryVerdict::Again(at(99))),
            ),
            _ => (DeliveryStatus::Pending, None),
        };
        if let Some(verdict) = verdict {
            world.tell(one.ticket, verdict, at(2)).await?;
        }
        for key in ["ALL", status.word()] {
            expected.entry(key).or_default().insert(0, id);
        }
    }
    for status in [
        None,
        Some(DeliveryStatus::Pending),
        Some(DeliveryStatus::Delivered),
        Some(DeliveryStatus::Failed),
    ] {
        let (mut got, mut after) = (Vec::new(), None);
        loop {
            let query = DeliveryQuery {
                webhook_id: webhook,
                status,
                after,
                limit: 3,
            };
            let page = world
                .store
                .deliveries_list(&world.all, &query)
                .await?
                .ok_or("it is there")?;
            assert!(page.rows.len() == 3 || !page.has_more);
            got.extend(page.rows.iter().map(|one| one.event_id));
            assert!(
                page.rows
                    .iter()
                    .all(|one| status.is_none_or(|status| one.status == status))
            );
            if !page.has_more {
                break;
            }
            after = got.last().copied();
        }
        assert_eq!(got, expected[status.map_or("ALL", DeliveryStatus::word)]);
    }
    let query = DeliveryQuery {
        webhook_id: webhook,
        status: None,
        after: Some(EventId::new(START, &*world.entropy)),
        limit: 3,
    };
    assert_conflict(world.store.deliveries_list(&world.all, &query).await);
    Ok(())
}

pub async fn the_log_of_events_is_walked_both_ways_by_all_that_it_offers<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let (mine, theirs) = (Some(world.here), Some(world.there));
    for second in 1..=4 {
        world.happen_here(2, at(second)).await?;
        world
            .happen(world.there, &[format!("t{second}")], at(second))
            .await?;
        let job_id = JobId::new(at(second), &*world.entropy);
        world
            .store
            .sync_begin(world.here, job_id, at(second), at(99), at(second))
            .await?;
        world
            .store
            .sync_end(
                job_id,
                WriteStatus::Success,
                Tally::default(),
                at(second),
                None,
            )
            .await?;
    }
    let log = world.log(&EVERY).await?;
    assert_eq!(log.len(), 16);
    let subject = log[5].subject.clone();
    let walk = async |scope: &Scope, query: &EventQuery| -> Answer<Vec<EventId>> {
        let mut got = Vec::new();
        loop {
            let query = EventQuery {
                after: got.last().copied(),
                limit: 3,
                ..query.clone()
            };
            let page = world.store.events_list(scope, &query).await?;
            assert!(page.rows.len() == 3 || !page.has_more);
            got.extend(page.rows.iter().map(|one| one.id));
            if !page.has_more {
                return Ok(got);
            }
        }
    };
    type Which<'a> = Box<dyn Fn(&Event) -> bool + 'a>;
    let here = world.here.to_string();
    let cases: Vec<(EventQuery, Which<'_>)> = vec![
        (EVERY, Box::new(|_| true)),
        (
            EventQuery {
                integration_id: mine,
                ..EVERY
            },
            Box::new(|one| one.integration_id == here),
        ),
        (
            EventQuery {
                integration_id: theirs,
                ..EVERY
            },
            Box::new(|one| one.integration_id != here),
        ),
        (
            EventQuery {
                trigger: Some(Trigger::SyncComplete),
                ..EVERY
            },
            Box::new(|one| one.trigger == Trigger::SyncComplete),
        ),
        (
            EventQuery {
                kind: Some(Kind::Prospect),
                ..EVERY
            },
            Box::new(|one| one.kind == Some(Kind::Prospect)),
        ),
        (
            EventQuery {
                kind: Some(Kind::Agent),
                ..EVERY
            },
            Box::new(|_| false),
        ),
        (
            EventQuery {
                subject: Some(subject.clone()),
                ..EVERY
            },
            Box::new(|one| one.subject == subject),
        ),
        (
            EventQuery {
                since: Some(at(3)),
                ..EVERY
            },
            Box::new(|one| one.at >= at(3)),
        ),
        (
            EventQuery {
                since: Some(at(9)),
                ..EVERY
            },
            Box::new(|_| false),
        ),
        (
            EventQuery {
                since: Some(at(2)),
                trigger: Some(Trigger::DataNew),
                integration_id: mine,
                ..EVERY
            },
            Box::new(|one| {
                one.at >= at(2) && one.trigger == Trigger::DataNew && one.integration_id == here
            }),
        ),
    ];
    for (query, is_wanted) in &cases {
        for scope in [&world.all, &world.mine, &world.theirs] {
            let may_see = |one: &Event| {
                scope
                    .integrations()
                    .is_none_or(|ids| ids.iter().any(|id| id.to_string() == one.integration_id))
            };
            let mut expected: Vec<_> = log
                .iter()
                .filter(|one| is_wanted(one) && may_see(one))
                .map(|one| one.id)
                .collect();
            assert_eq!(walk(scope, query).await?, expected, "{query:?}");
            expected.reverse();
            let newest = EventQuery {
                is_descending: true,
                ..query.clone()
            };
            assert_eq!(walk(scope, &newest).await?, expected, "{newest:?}");
        }
    }
    // A look says how far it came, in events of the caller's, though nothing that was asked for is
    // there.
    let never = [
        EventQuery {
            trigger: Some(Trigger::JobFailure),
            ..EVERY
        },
        EventQuery {
            subject: Some("pro_nobody".to_owned()),
            ..EVERY
        },
    ];
    for query in never {
        for scope in [&world.all, &world.mine, &world.theirs] {
            let own = |one: &&Event| {
                let integrations = scope.integrations();
                integrations
                    .is_none_or(|ids| ids.iter().any(|id| id.to_string() == one.integration_id))
            };
            let own: Vec<&Event> = log.iter().filter(own).collect();
            let page = world.store.events_list(scope, &query).await?;
            let newest = own.last().map(|one| (one.seq, one.id));
            assert_eq!((page.rows.len(), page.has_more), (0, false), "{query:?}");
            assert_eq!(page.seen, newest, "{query:?}");
            let on = EventQuery {
                behind: newest.map(|(seq, _)| seq),
                goes_on: true,
                ..query.clone()
            };
            assert_eq!(world.store.events_list(scope, &on).await?.seen, None);
        }
    }
    let behind = EventQuery {
        behind: Some(log[9].seq),
        ..EVERY
    };
    let rest = world.store.events_list(&world.all, &behind).await?.rows;
    assert_eq!(rest.first().map(|one| one.id), Some(log[10].id));
    // The heads are of all, and in the order of the log.
    let heads = world.store.event_heads(log[3].seq, 5).await?;
    let told: Vec<_> = heads.iter().map(|head| (head.seq, head.id)).collect();
    let expected: Vec<_> = log[4..9]
        .iter()
        .map(|one| (one.seq, Some(one.id)))
        .collect();
    assert_eq!(told, expected);
    for (head, one) in heads.iter().zip(&log[4..9]) {
        assert_eq!((head.trigger, head.kind), (Some(one.trigger), one.kind));
        assert_eq!((head.at, &head.subject), (one.at, &one.subject));
        let integration = head.integration_id.map(|id| id.to_string());
        assert_eq!(integration.as_ref(), Some(&one.integration_id));
    }
    assert_eq!(world.store.event_newest().await?, log[15].seq);
    // A cursor is an event that is there, and that the caller may see.
    for (scope, after) in [
        (&world.all, EventId::new(START, &*world.entropy)),
        (&world.theirs, log[0].id),
    ] {
        let query = EventQuery {
            after: Some(after),
            ..EVERY
        };
        assert_conflict(world.store.events_list(scope, &query).await);
    }
    let found = world
        .store
        .event_find(&world.all, log[3].id)
        .await?
        .ok_or("it is there")?;
    assert_eq!(found.body()?, log[3].body()?);
    Ok(())
}

pub async fn what_happened_long_ago_goes_with_its_deliveries<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let kept = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let gone = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let old = world.happen_here(4, at(1)).await?;
    let young = world.happen_here(3, at(10)).await?;
    for id in [kept, gone] {
        for one in world.take(id, at(10)).await? {
            world
                .tell(one.ticket, DeliveryVerdict::Delivered, at(10))
                .await?;
        }
    }
    assert_eq!(
        world.store.events_sweep(at(1), 10).await?,
        0,
        "nothing is older"
    );
    // Of nine rows there may be three events, since each may have a delivery to each webhook. They go, and of each webhook a delivery and an attempt.
    assert_eq!(world.store.events_sweep(at(5), 9).await?, 3 * (1 + 2 + 2));
    assert_eq!(world.log(&EVERY).await?.len(), 4);
    assert_eq!(world.deliveries(kept, None).await?.len(), 4);
    assert_eq!(world.store.events_sweep(at(5), 9).await?, 1 + 2 + 2);
    assert_eq!(world.store.events_sweep(at(5), 9).await?, 0);
    for id in &old {
        assert!(world.store.event_find(&world.all, *id).await?.is_none());
        assert!(
            world
                .store
                .delivery_attempts_list(&world.all, kept, *id)
                .await?
                .is_none()
        );
    }
    let query = EventQuery {
        after: Some(old[0]),
        ..EVERY
    };
    assert_conflict(world.store.events_list(&world.all, &query).await);
    assert_eq!(world.tries_of(kept, young[0]).await?.len(), 1);

    // Deliveries of a webhook that was deleted, so many at a time.
    world
        .store
        .webhook_delete(&operator(), gone, at(11))
        .await?;
    let mut swept = Vec::new();
    loop {
        let some = world.store.events_sweep(at(5), 2).await?;
        assert!(some <= 4, "{some} at once");
        swept.push(some);
        if swept.ends_with(&[0, 0]) {
            break;
        }
    }
    assert_eq!(swept.iter().sum::<u64>(), 6);
    assert_eq!(world.deliveries(kept, None).await?.len(), 3);
    // The newest stays, so that whoever follows by it goes on.
    world.store.events_sweep(at(99), 100).await?;
    let left = world.log(&EVERY).await?;
    assert_eq!(
        left.iter().map(|one| one.id).collect::<Vec<_>>(),
        [young[2]]
    );
    let next = world.happen_here(1, at(100)).await?;
    let query = EventQuery {
        after: Some(young[2]),
        ..EVERY
    };
    let more = world.store.events_list(&world.all, &query).await?;
    assert_eq!(more.rows.iter().map(|one| one.id).collect::<Vec<_>>(), next);
    assert!(more.rows[0].seq > left[0].seq);
    Ok(())
}

pub async fn the_depth_counts_what_waits_for_active_subscriptions<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let one = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let two = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let depth = |open, since: Option<i64>| Depth {
        open,
        oldest_queued_at: since.map(at),
    };
    assert_eq!(world.store.deliveries_depth().await?, depth(0, None));
    world.happen_here(1, at(1)).await?;
    world.happen_here(1, at(2)).await?;
    assert_eq!(world.store.deliveries_depth().await?, depth(4, Some(1)));
    let claimed = world.take(one, at(2)).await?;
    assert_eq!(
        world.store.deliveries_depth().await?,
        depth(4, Some(1)),
        "what is being tried is not taken"
    );
    for claimed in claimed {
        world
            .tell(claimed.ticket, DeliveryVerdict::Delivered, at(3))
            .await?;
    }
    let first = world
        .take_lane(two, 1, at(3))
        .await?
        .ok_or("it is active")?;
    world
        .tell(first.deliveries[0].ticket, DeliveryVerdict::GivenUp, at(3))
        .await?;
    assert_eq!(world.store.deliveries_depth().await?, depth(1, Some(2)));
    world.switch(two, false, at(4)).await?;
    assert_eq!(world.store.deliveries_depth().await?, depth(0, None));
    Ok(())
}

/// Nothing about a forgotten person is left in the log, nor in what receivers answered; whoever was told of them is told.
pub async fn a_forgotten_person_is_in_no_event_and_no_answer<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let triggers = [
        Trigger::DataNew,
        Trigger::DataUpdate,
        Trigger::WriteSuccess,
        Trigger::WriteFailure,
    ];
    let webhook = world.subscribe(world.webhook(&triggers)).await?;
    let mut write = world.write(world.here, at(1), &[]);
    write.confirmed.create = json!({ "community_id": world.community, "first_name": "Zoë", "email_1": "zoe@example.com" });
    world.accept(write).await?;
    let ticket = world.claim_one(at(1)).await?;
    world.finish(ticket, world.delivered("x1").1, at(1)).await?;
    let mut refused = world.write(world.here, at(2), &[]);
    refused.confirmed.create =
        json!({ "community_id": world.community, "email_1": "zoe@example.com" });
    world.accept(refused).await?;
    let ticket = world.claim_one(at(2)).await?;
    world
        .finish(ticket, failed("Zoë was refused"), at(2))
        .await?;
    // Somebody else, who stays.
    let other = world.happen_here(1, at(3)).await?[0];
    let mut claimed = world.take(webhook, at(3)).await?;
    assert_eq!(claimed.len(), 4);
    let late = claimed.remove(0);
    for one in &claimed {
        world
            .tell(one.ticket, DeliveryVerdict::Delivered, at(4))
            .await?;
    }
    let log = world.log(&EVERY).await?;
    let zoe = &log[0].subject;
    world
        .store
        .prospect_erase(&operator(), zoe, at(5))
        .await?
        .ok_or("she is known")?;
    // The receiver was being told when she was forgotten.
    world
        .tell(late.ticket, DeliveryVerdict::Delivered, at(6))
        .await?;
    let after = world.log(&EVERY).await?;
    assert_eq!(after.len(), log.len() + 1);
    for (event, body) in after.iter().zip(bodies(&after)?) {
        let text = body.to_string();
        assert!(!text.contains("Zoë") && !text.contains("zoe@"), "{text}");
        let is_others = event.id == other;
        if let Some(found) = world
            .store
            .delivery_attempts_list(&world.all, webhook, event.id)
            .await?
        {
            assert!(
                found.iter().all(|one| one.response.is_some() == is_others),
                "{text}"
            );
        }
    }
    let last = after.last().ok_or("there are some")?;
    let told = last.body()?;
    assert_eq!((last.trigger, &last.subject), (Trigger::DataUpdate, zoe));
    assert_eq!(
        told["data"]["diff"],
        json!({ "new": { "erased_at": at(5) }, "previous": { "erased_at": null } })
    );
    assert_eq!(
        told["data"]["context"]["community_id"],
        json!(world.community)
    );
    assert_eq!(places(&world.take(webhook, at(6)).await?)?, [last.id]);
    Ok(())
}

/// What a write said of a person goes from its event, and from what receivers answered to that, when the write's time is over.
pub async fn what_is_kept_of_an_old_write_says_nothing_in_its_event<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let webhook = world
        .subscribe(world.webhook(&[Trigger::WriteFailure]))
        .await?;
    world.accept_here(&[]).await?;
    let ticket = world.claim_one(at(1)).await?;
    world
        .finish(ticket, failed("Zoë was refused"), at(1))
        .await?;
    let event = world.log(&EVERY).await?[0].id;
    let ticket = world.take_one(webhook, at(1)).await?;
    world
        .tell(ticket, DeliveryVerdict::Again(at(9)), at(2))
        .await?;
    assert!(world.tries_of(webhook, event).await?[0].response.is_some());
    assert_eq!(world.store.writes_sweep(at(5), 10, at(6)).await?, 1);
    let told = world.log(&EVERY).await?[0].body()?;
    assert_eq!(
        (&told["data"]["errors"], &told["data"]["write_status"]),
        (&json!([]), &json!("FAILURE"))
    );
    let ticket = world.take_one(webhook, at(9)).await?;
    world.tell(ticket, DeliveryVerdict::GivenUp, at(9)).await?;
    let tries = world.tries_of(webhook, event).await?;
    assert!(tries.len() == 2 && tries.iter().all(|one| one.response.is_none()));
    Ok(())
}

pub async fn changes_of_subscriptions_are_in_the_audit_log_without_secrets<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let change = Change {
        url: Some("https://elsewhere.example/".to_owned()),
        headers: Some(vec![(
            "x-token".to_owned(),
            Secret::new("another header-value"),
        )]),
        secret: Some((Secret::new("another signing-secret"), at(90))),
        ..Change::default()
    };
    let by = Actor {
        scope: world.all.clone(),
        address: "192.0.2.7".parse().ok(),
        request_id: Some("a-request".to_owned()),
    };
    let store = &world.store;
    store
        .webhook_change(&by, webhook, "webhook_update", change, at(2))
        .await?;
    store.webhook_delete(&by, webhook, at(3)).await?;
    store.webhook_delete(&by, webhook, at(4)).await?;
    let query = AuditQuery {
        limit: 100,
        ..AuditQuery::default()
    };
    let log = store.audit_list(&world.all, &query).await?;
    let entries: Vec<_> = log
        .rows
        .iter()
        .map(|(entry, _)| entry)
        .filter(|entry| entry.action.starts_with("webhook"))
        .collect();
    let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions,
        ["webhook_delete", "webhook_update", "webhook_create"]
    );
    assert_eq!(entries[1].before["url"], "https://receiver.example/hook");
    assert_eq!(entries[1].after["url"], "https://elsewhere.example/");
    assert_eq!(entries[1].after["headers"][0]["header"], "x-token");
    assert_eq!(
        (entries[1].key_id, entries[1].address),
        (by.scope.key(), by.address)
    );
    for entry in entries {
        assert_eq!(entry.subject, webhook.to_string());
        let text = serde_json::to_string(entry)?;
        assert!(
            !SECRETS.iter().any(|secret| text.contains(secret)),
            "{text}"
        );
    }
    Ok(())
}

pub async fn there_is_an_end_to_the_number_of_subscriptions<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let of = |integrations: Option<&[IntegrationId]>| Webhook {
        integrations: integrations.map(<[_]>::to_vec),
        ..world.webhook(&[Trigger::JobFailure])
    };
    let (both, turned) = ([world.here, world.there], [world.there, world.here]);
    let mut last = None;
    for _ in 0..10 {
        let made: Vec<_> = (0..100)
            .map(|n| {
                // The same integrations, whatever their order.
                let integrations = if n % 2 == 0 { &both } else { &turned };
                let (store, webhook) = (world.store.clone(), of(Some(integrations)));
                last = Some(webhook.id);
                tokio::spawn(async move { store.webhook_create(&operator(), webhook).await })
            })
            .collect();
        for one in made {
            one.await??;
        }
    }
    assert_eq!(world.store.webhooks_all().await?.len(), 1_000);
    let by = operator();
    let create = async |integrations: Option<&[IntegrationId]>| {
        world.store.webhook_create(&by, of(integrations)).await
    };
    // Each counts for both.
    for full in [&turned[..], &[world.here], &[world.there]] {
        assert_conflict(create(Some(full)).await);
    }
    // Others have room.
    create(None).await?;
    let other = IntegrationId::new(START, &*world.entropy);
    create(Some(&[other])).await?;
    let last = last.ok_or("there are some")?;
    assert!(world.store.webhook_delete(&by, last, at(1)).await?);
    create(Some(&[world.here])).await?;
    assert_conflict(create(Some(&both)).await);
    create(Some(&[world.there])).await?;
    assert_conflict(create(Some(&[world.there, other])).await);
    Ok(())
}

impl<B: Backend> World<B> {
    /// A key that ends at `expires_at`, and who acts with it.
    async fn maker(&self, expires_at: Option<Timestamp>) -> Answer<(KeyId, Actor)> {
        let (mut key, token) = new_key(&self.entropy, START, None)?;
        key.expires_at = expires_at;
        self.store.key_create(&operator(), key.clone()).await?;
        let directory = self.store.directory_load().await?;
        let scope = directory.authenticate(token.expose(), START);
        Ok((key.id, Actor::local(scope.ok_or("the key is in force")?)))
    }

    async fn made_by(&self, key: KeyId, by: &Actor) -> Answer<WebhookId> {
        let webhook = Webhook {
            created_by: Some(key),
            ..self.webhook(&[Trigger::DataNew])
        };
        let id = webhook.id;
        self.store.webhook_create(by, webhook).await?;
        Ok(id)
    }

    async fn why_off(&self, id: WebhookId) -> Answer<Option<String>> {
        let webhook = self.webhook_now(id).await?;
        assert_eq!(webhook.active, webhook.disabled.is_none());
        Ok(webhook.disabled.map(|disabled| disabled.reason))
    }
}

pub async fn a_subscription_that_is_kept_ends_with_the_key_that_kept_it<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let (short, by_short) = world.maker(Some(at(10))).await?;
    let (long, by_long) = world.maker(Some(at(20))).await?;
    let kept = world.made_by(short, &by_short).await?;
    let revoke = async |by: &Actor, id| world.store.key_revoke(by, id, true, at(1)).await;
    assert_conflict(revoke(&by_short, short).await);
    let done = revoke(&by_long, short)
        .await?
        .ok_or("there is such a key")?;
    assert_eq!(done.kept, [kept]);
    // A repeat takes nothing from what was kept, and gives it no more.
    revoke(&operator(), short).await?;
    assert!(world.store.webhooks_lapse(at(19)).await?.is_empty());
    assert_eq!(world.store.webhooks_lapse(at(20)).await?, [kept]);
    // Also when that key is revoked, which has no end.
    let (leaked, by_leaked) = world.maker(None).await?;
    let (child, by_child) = world.maker(None).await?;
    let outliving = world.made_by(child, &by_child).await?;
    revoke(&by_leaked, child).await?;
    assert_eq!(world.webhook_now(outliving).await?.created_by, Some(leaked));
    let done = world
        .store
        .key_revoke(&operator(), leaked, false, at(2))
        .await?;
    assert_eq!(done.ok_or("there is such a key")?.disabled, [outliving]);
    // The operator's has no end.
    let other = world.made_by(long, &by_long).await?;
    revoke(&operator(), long).await?;
    assert!(world.store.webhooks_lapse(at(9_999)).await?.is_empty());
    assert!(world.webhook_now(other).await?.active);
    Ok(())
}

pub async fn a_subscription_ends_with_the_key_that_made_it<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let (first, by_first) = world.maker(None).await?;
    let (second, by_second) = world.maker(None).await?;
    let revoked = world.made_by(first, &by_first).await?;
    let idle = world.made_by(first, &by_first).await?;
    world.switch(idle, false, at(1)).await?;
    let others = world.made_by(second, &by_second).await?;
    let operators = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;

    let done = world
        .store
        .key_revoke(&operator(), first, false, at(2))
        .await?;
    let done = done.ok_or("there is such a key")?;
    assert_eq!((done.disabled, done.kept), (vec![revoked], Vec::new()));
    world.restart().await?;
    let why = world.why_off(revoked).await?.ok_or("it is off")?;
    assert!(why.contains(&first.to_string()), "{why}");
    assert_eq!(world.why_off(others).await?, None);
    assert_eq!(world.why_off(operators).await?, None);
    // Nothing is sent to it any more, and nothing is lost.
    let events = world.happen_here(1, at(3)).await?;
    assert_eq!(world.take(revoked, at(3)).await?.len(), 0);
    assert_eq!(world.take(others, at(3)).await?.len(), 1);
    assert_eq!(world.delivery(revoked, events[0]).await?.attempts, 0);

    // Who switches it on answers for it, also where that was switched off by its owner.
    let on = Change {
        active: Some(true),
        ..Change::default()
    };
    for id in [revoked, idle] {
        let change =
            world
                .store
                .webhook_change(&by_second, id, "webhook_update", on.clone(), at(4));
        let adopted = change.await?.ok_or("the webhook is there")?;
        assert_eq!(adopted.created_by, Some(second));
    }
    assert_eq!(world.take(revoked, at(4)).await?.len(), 1);
    let done = world
        .store
        .key_revoke(&operator(), second, false, at(5))
        .await?;
    let disabled = done.ok_or("there is such a key")?.disabled;
    assert_eq!(disabled, [revoked, idle, others]);

    // With a key that was revoked while its request was under way nothing is made or switched on.
    let late = world.made_by(second, &by_second).await;
    assert!(late.is_err_and(|why| matches!(why.downcast_ref::<Error>(), Some(Error::Revoked))));
    let late = world
        .store
        .webhook_change(&by_second, others, "webhook_update", on, at(6));
    assert!(matches!(late.await, Err(Error::Revoked)));
    assert!(world.why_off(others).await?.is_some());
    Ok(())
}

pub async fn a_subscription_is_kept_or_adopted_when_its_key_ends<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let (first, by_first) = world.maker(Some(at(100))).await?;
    let (second, by_second) = world.maker(Some(at(200))).await?;
    let kept = world.made_by(first, &by_first).await?;
    let done = world
        .store
        .key_revoke(&operator(), first, true, at(2))
        .await?;
    let done = done.ok_or("there is such a key")?;
    assert_eq!((done.disabled, done.kept), (Vec::new(), vec![kept]));
    let query = AuditQuery {
        limit: 1,
        ..AuditQuery::default()
    };
    let log = world.store.audit_list(&world.all, &query).await?;
    let told = &log.rows[0].0;
    assert_eq!(told.action, "key_revoke");
    assert_eq!(told.after["kept_webhooks"], json!([kept]));

    // What expires first is switched off then, and what another key has adopted is not.
    let lapses = world.made_by(second, &by_second).await?;
    let (third, by_third) = world.maker(Some(at(300))).await?;
    let adopted = world.made_by(second, &by_second).await?;
    let adopt = Change {
        adopts: true,
        ..Change::default()
    };
    let change = world
        .store
        .webhook_change(&by_third, adopted, "webhook_update", adopt, at(3));
    assert_eq!(change.await?.ok_or("it is there")?.created_by, Some(third));
    // Whoever says where events go answers for it.
    let (thief, by_thief) = world.maker(None).await?;
    let elsewhere = Change {
        url: Some("https://elsewhere.example/".to_owned()),
        ..Change::default()
    };
    let turned = world.made_by(second, &by_second).await?;
    world
        .store
        .webhook_change(&by_thief, turned, "webhook_update", elsewhere, at(3))
        .await?;
    let done = world
        .store
        .key_revoke(&operator(), thief, false, at(4))
        .await?;
    assert_eq!(done.ok_or("there is such a key")?.disabled, [turned]);
    let revision = world.store.webhooks_revision().await?;
    assert!(world.store.webhooks_lapse(at(199)).await?.is_empty());
    assert_eq!(world.store.webhooks_revision().await?, revision);
    assert_eq!(world.store.webhooks_lapse(at(200)).await?, [lapses]);
    assert_ne!(world.store.webhooks_revision().await?, revision);
    assert!(world.store.webhooks_lapse(at(200)).await?.is_empty());
    let why = world.why_off(lapses).await?.ok_or("it is off")?;
    assert!(why.contains("expired"), "{why}");
    assert_eq!(world.why_off(kept).await?, None);
    assert_eq!(world.why_off(adopted).await?, None);
    assert_eq!(world.store.webhooks_lapse(at(300)).await?, [adopted]);
    // One that was kept at first may be switched off later.
    let done = world
        .store
        .key_revoke(&operator(), first, false, at(301))
        .await?;
    assert_eq!(done.ok_or("there is such a key")?.disabled, [kept]);
    Ok(())
}

pub async fn the_health_of_a_receiver_changes_once_however_often_it_is_tried<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    world.happen_here(6, at(1)).await?;
    let claimed = world.take(webhook, at(1)).await?;
    let mut turns = Vec::new();
    for (one, is_taken) in claimed.iter().zip([true, false, false, true, true, false]) {
        let (verdict, standing) = if is_taken {
            (DeliveryVerdict::Delivered, Standing::Well)
        } else {
            let failed = Standing::Failed {
                since_before: START,
                reason: "it failed".to_owned(),
            };
            (DeliveryVerdict::GivenUp, failed)
        };
        let finish = DeliveryFinish {
            ticket: one.ticket,
            attempt: answered(1, is_taken, at(2)),
            verdict,
            standing,
            now: at(2),
        };
        turns.push(world.store.delivery_finish(&finish).await?);
    }
    use Health::{Fails, Same, Works};
    assert_eq!(turns, [Same, Fails, Same, Works, Same, Fails]);
    Ok(())
}
