//! What a store answers after it was closed and opened again, here or elsewhere.

use std::fmt::Debug;

use model::{
    Actor, CommunityId, JobId, Scope, Secret, WebhookId,
    audit::Chain,
    key::{System, token_make},
    record::{Kind, SortField},
    resources::integration::Member,
    webhook::{Trigger, Webhook},
    write::{Operation, WriteStatus},
};
use serde_json::{Map, json};

use super::{
    Answer, Backend, START, Verdicts, World, again, at, failed, jobs, new_key, once, operator,
    webhooks::EVERY,
};
use crate::{
    Acceptance, Query, Store, Ticket, VendorLimit,
    audit::AuditQuery,
    erasure::privacy::Erasure,
    logs::history::{DiffQuery, LogQuery, Seen, Tally},
    records::{consents::ConsentQuery, query::Sort},
    subscriptions::types::{DeliveryQuery, DeliveryTicket, DeliveryVerdict},
};

/// More rows than any list of these cases has.
const ALL_ROWS: u64 = 1_000;

/// What a filled store knows that is used again.
struct Filled {
    /// A write under a lease.
    held: (JobId, Ticket),
    /// One that waits for it.
    waits: JobId,
    /// One that has an idempotency key.
    known: JobId,
    /// A delivery under a lease.
    delivery: DeliveryTicket,
    /// A subscription that is no more.
    gone: Webhook,
    /// A person that is forgotten.
    erased: Erasure,
}

impl<B: Backend> World<B> {
    /// Puts something into every table.
    async fn fill(&self) -> Answer<Filled> {
        self.fill_directory().await?;
        let store = &self.store;
        store.token_begin(self.here, at(0), at(10)).await?;
        store
            .token_put(self.here, &Secret::new("a token"), at(9_000))
            .await?;
        let limit = VendorLimit {
            key: "a kind of call".to_owned(),
            gap_micros: 1,
        };
        let nobodys = Ticket { seq: 0, attempt: 0 };
        store
            .turn_take(self.here, nobodys, vec![limit], at(0))
            .await?;
        let everything = [
            Trigger::DataNew,
            Trigger::DataUpdate,
            Trigger::WriteSuccess,
            Trigger::WriteFailure,
        ];
        let to_all = self.subscribe(self.webhook(&everything)).await?;
        let mut here_only = self.webhook(&[Trigger::DataNew]);
        here_only.integrations = Some(vec![self.here]);
        self.subscribe(here_only).await?;
        let gone = self.webhook(&everything);
        self.subscribe(gone.clone()).await?;

        let contacts = json!({ "email_1": "zoe@example.com", "phone_1": "+12065550101" });
        let (zoe, _) = self.made("x1", contacts, at(1)).await?;
        let moved = json!({ "email_1": "zoe@later.example" });
        self.made("x1", moved, at(2)).await?;
        let max = json!({ "email_1": "max@example.com" });
        self.made("x2", max.clone(), at(3)).await?;
        let other = json!({ "email_1": "max@other.example" });
        self.made("x2", other, at(4)).await?;
        let refused = self.failure(max, at(5)).await?;
        let mut event = self.write(self.here, at(6), &[]);
        event.operation = Operation::EventCreate;
        self.accept(event).await?;
        let ticket = self.claim_one(at(6)).await?;
        let (_, mut verdict) = self.delivered("");
        if let crate::Verdict::Delivered { x_id, .. } = &mut verdict {
            *x_id = None;
        }
        self.finish(ticket, verdict, at(6)).await?;

        let run = JobId::new(at(7), &*self.entropy);
        store
            .sync_begin(self.here, run, at(7), at(60), at(5_000))
            .await?;
        let seen = Seen {
            kind: Kind::Prospect,
            x_id: "x2".to_owned(),
            asked_at: at(7),
            update: Map::from_iter([("status".to_owned(), json!("Open"))]),
            add: Vec::new(),
            create: None,
            is_gone: false,
        };
        store.call_begin(self.here, Some(1_000_000), at(7)).await?;
        store.sync_record(self.here, run, vec![seen], at(7)).await?;
        let tally = Tally {
            calls: 2,
            seen: 1,
            errors: vec!["a source is gone".to_owned()],
            ..Tally::default()
        };
        store
            .sync_end(run, WriteStatus::PartialSuccess, tally, at(8), None)
            .await?;
        let open_run = JobId::new(at(9), &*self.entropy);
        store
            .sync_begin(self.there, open_run, at(9), at(60), at(6_000))
            .await?;

        let delivery = self.fill_deliveries(to_all).await?;
        let erased = store
            .prospect_erase(&Actor::local(self.all.clone()), &zoe, at(20))
            .await?
            .ok_or("the prospect is known")?;
        store.webhook_delete(&operator(), gone.id, at(21)).await?;
        store.attempts_sweep(at(4), 100).await?;

        // What is open at the end: due later, under a lease, and waiting; the retry says once more what it is about.
        let mut later = self.write(self.there, at(22), &[3]);
        later.consent = Some(model::Consent {
            value: false,
            is_stated: true,
        });
        let known = later.job_id;
        store
            .write_accept(&self.all, later, Some(once(1, 1)))
            .await?;
        let lane = self.lane(self.there, 1, at(22), at(90)).await?;
        let ticket = lane.writes.first().ok_or("it is due")?.ticket;
        self.finish(ticket, again(at(4_000), "busy, Zoë"), at(23))
            .await?;
        let mut retry = self.write(self.here, at(24), &[1, 1]);
        retry.retry_of = Some(refused);
        retry.consent = Some(model::Consent {
            value: true,
            is_stated: false,
        });
        let held = self.accept(retry).await?;
        let waits = self.accept(self.write(self.here, at(25), &[2, 1])).await?;
        let ticket = self.claim_one(at(26)).await?;
        Ok(Filled {
            held: (held, ticket),
            waits,
            known,
            delivery,
            gone,
            erased,
        })
    }

    /// Keys in every state, and members.
    async fn fill_directory(&self) -> Verdicts {
        let (store, by) = (&self.store, operator());
        let (key, _) = new_key(&self.entropy, START, Some(vec![self.here]))?;
        store.key_create(&by, key.clone()).await?;
        let (_, token) = token_make(System::Sandbox, &*self.entropy, at(1))?;
        store.key_rotate(&by, key.id, token, at(60), at(1)).await?;
        store.keys_used(vec![(key.id, at(1))]).await?;
        let (revoked, _) = new_key(&self.entropy, at(1), None)?;
        store.key_create(&by, revoked.clone()).await?;
        store.key_revoke(&by, revoked.id, false, at(2)).await?;
        for (x_id, name) in [("1", "Saguaro Flats"), ("2", "Ünter den Linden")] {
            let member = Member {
                kind: Kind::Community,
                id: CommunityId::new(START, &*self.entropy).to_string(),
                x_id: x_id.to_owned(),
                body: json!({ "integration_id": self.here, "x_id": x_id, "name": name, "timezone": "UTC" }),
                is_active_when_new: true,
            };
            let action = "communities_register";
            store
                .members_register(&by, self.here, action, vec![member], START)
                .await?;
        }
        Ok(())
    }

    /// Deliveries in every state: taken, to be tried again, given up, under a lease, ready.
    async fn fill_deliveries(&self, id: WebhookId) -> Answer<DeliveryTicket> {
        let lane = self.take_lane(id, 4, at(10)).await?.ok_or("it is due")?;
        let mut tickets = lane.deliveries.iter().map(|one| one.ticket);
        for verdict in [
            DeliveryVerdict::Delivered,
            DeliveryVerdict::Again(at(3_000)),
            DeliveryVerdict::GivenUp,
        ] {
            let ticket = tickets.next().ok_or("four are due")?;
            self.tell(ticket, verdict, at(11)).await?;
        }
        Ok(tickets.next().ok_or("four are due")?)
    }
}

/// Every answer of a store, a line each.
async fn answers(store: &Store, scope: &Scope) -> Answer<Vec<String>> {
    let mut all = Vec::new();
    let mut note = |one: &dyn Debug| all.push(format!("{one:?}"));
    let log = LogQuery {
        limit: ALL_ROWS,
        ..LogQuery::default()
    };

    note(&store.master_key_current().await?);
    let contents = store.directory_contents(0).await?;
    note(&(contents.revision, &contents.keys, store.keys_all().await?));
    for branch in &contents.branches {
        let one = &branch.integration;
        note(&(&one.id, &one.name, one.vendor, one.active));
        note(&(one.credential.expose(), one.updated_at, &one.settings));
        note(&(&branch.communities, &branch.attributions, &branch.agents));
    }
    for &kind in Kind::ALL {
        for field in [SortField::CreatedAt, SortField::UpdatedAt] {
            let mut query = Query::new(kind, ALL_ROWS);
            query.order = vec![Sort {
                field,
                is_descending: false,
            }];
            let page = store.records_list(scope, &query).await?;
            note(&(page.total, &page.rows));
            for record in &page.rows {
                let query = ConsentQuery {
                    prospect_id: record.id.clone(),
                    offset: 0,
                    limit: ALL_ROWS,
                };
                let said = store.consents_list(scope, &query).await?;
                note(&said.map(|page| page.rows));
            }
        }
    }
    for write in store.writes_list(scope, &log).await? {
        let call = write.call.as_ref().map(serde_json::to_string).transpose()?;
        note(&(write.job_id, write.integration_id, write.community_id));
        note(&(write.operation, &write.result, call, &write.subject));
        note(&(write.status, write.outcome, &write.errors, &write.record_id));
        note(&(write.attempts, write.accepted_at, write.completed_at));
        note(&(write.next_attempt_at, write.stripped_at));
        note(&store.attempts_list(scope, write.job_id).await?);
    }
    note(&store.jobs_list(scope, &log).await?);
    let diffs = DiffQuery {
        limit: ALL_ROWS,
        ..DiffQuery::default()
    };
    note(&store.diffs_list(scope, &diffs).await?.rows);
    note(&(store.syncs_due().await?, store.lanes_due().await?));
    note(&(store.queue_depth().await?, store.deliveries_depth().await?));
    note(&store.deliveries_due().await?);

    let query = AuditQuery {
        limit: ALL_ROWS,
        ..AuditQuery::default()
    };
    note(&store.audit_list(scope, &query).await?.rows);
    let (chain, broken) = store
        .audit_follow(Chain::default(), ALL_ROWS as u32)
        .await?;
    assert_eq!(broken, None);
    assert!(chain.count > 0);
    note(&chain);

    for event in store.events_list(scope, &EVERY).await?.rows {
        note(&(&event, event.body()?));
    }
    for webhook in store.webhooks_all().await? {
        note(&(webhook.id, &webhook.url, &webhook.triggers, webhook.active));
        let secrets: Vec<_> = webhook
            .secrets(START)
            .iter()
            .map(|one| one.expose())
            .collect();
        let headers = webhook
            .headers
            .iter()
            .map(|(name, value)| (name, value.expose()));
        note(&(secrets, headers.collect::<Vec<_>>(), &webhook.integrations));
        let query = DeliveryQuery {
            webhook_id: webhook.id,
            status: None,
            after: None,
            limit: ALL_ROWS,
        };
        let page = store.deliveries_list(scope, &query).await?;
        for delivery in page.ok_or("the webhook is there")?.rows {
            let (id, event) = (webhook.id, delivery.event_id);
            let tries = store.delivery_attempts_list(scope, id, event).await?;
            note(&(&delivery, tries));
        }
    }
    Ok(all)
}

/// With something in every table, every answer is the same after a restart, and all goes on where it stopped.
pub async fn all_answers_are_the_same_and_all_goes_on<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let filled = world.fill().await?;
    let before = answers(&world.store, &world.all).await?;
    assert!(before.len() > 100, "it answers something");
    world.restart().await?;
    for (one, other) in before.iter().zip(answers(&world.store, &world.all).await?) {
        assert_eq!(*one, other);
    }

    let store = &world.store;
    let replayed = store.replay_find(&world.all, &once(1, 1)).await?;
    assert!(
        matches!(replayed, Some(Acceptance::Replayed { job_id, .. }) if job_id == filled.known)
    );
    let by = Actor::local(world.all.clone());
    let erased = store.prospect_erase(&by, &filled.erased.id, at(30)).await?;
    assert_eq!(erased, Some(filled.erased));

    // One waits still, also for who comes now, and the lease is held; who comes now is behind all others.
    let behind = world.accept(world.write(world.here, at(31), &[2])).await?;
    let beside = world.accept(world.write(world.here, at(31), &[9])).await?;
    let claimed = world.claim(at(31)).await?;
    assert_eq!(jobs(&claimed), [beside]);
    let (held, ticket) = filled.held;
    assert!(claimed[0].ticket.seq > ticket.seq);
    assert_eq!(world.find(held).await?.status, WriteStatus::Pending);
    world.finish(ticket, failed("no"), at(32)).await?;
    assert_eq!(world.find(held).await?.status, WriteStatus::Failure);
    let claimed = world.claim(at(32)).await?;
    assert_eq!(jobs(&claimed), [filled.waits]);
    world
        .finish(claimed[0].ticket, world.delivered("x9").1, at(33))
        .await?;
    assert_eq!(jobs(&world.claim(at(33)).await?), [behind]);

    // Times and places rise, though the clock was set back.
    let log = store.events_list(&world.all, &EVERY).await?.rows;
    let last = log.last().ok_or("something happened")?;
    world
        .happen(world.there, &["late".to_owned()], START)
        .await?;
    let log = store.events_list(&world.all, &EVERY).await?.rows;
    let newest = log.last().ok_or("something happened")?;
    assert!(newest.seq > last.seq && newest.at > last.at);
    let mut query = Query::new(Kind::Prospect, ALL_ROWS);
    query.order = Sort::newest_first();
    let page = store.records_list(&world.all, &query).await?;
    assert_eq!(page.rows[0].x_id.as_deref(), Some("late"));

    // The number of the subscription that is gone is not given again: what was to be sent to it is not sent to another.
    let delivery = filled.delivery;
    world
        .tell(delivery, DeliveryVerdict::Delivered, at(34))
        .await?;
    let mut new = filled.gone;
    new.id = WebhookId::new(at(35), &*world.entropy);
    let id = world.subscribe(new).await?;
    assert!(world.deliveries(id, None).await?.is_empty());
    assert_eq!(world.take(id, at(35)).await?.len(), 0);
    world
        .happen(world.here, &["later".to_owned()], at(36))
        .await?;
    assert_eq!(world.take(id, at(36)).await?.len(), 1);
    Ok(())
}
