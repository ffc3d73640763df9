//! Events: what is told, to whom, and for how long the log has it.

use std::collections::BTreeSet;

use model::{
    CommunityId, EventId, JobId, Scope,
    directory::Community,
    record::Kind,
    resources::integration::Member,
    webhook::{Change, DeliveryStatus, Event, Trigger, Webhook},
    write::{Operation, WriteStatus},
};
use serde_json::{Value, json};

use super::{EVERY, bodies, places};
use crate::{
    Lapse, Registration,
    conformance::{
        Answer, Backend, START, Verdicts, World, again, assert_conflict, at, failed, integration,
        operator,
    },
    events::types::EventQuery,
    logs::history::Tally,
    subscriptions::types::DeliveryVerdict,
};

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
            "payload": serde_json::to_value(world.first_of(&log[0]).await?)?, "context": { "community_id": null, "property_id": null },
        })
    );
    assert_eq!(
        told[1]["data"],
        json!({
            "event": "WRITE_OPERATION_SUCCESS", "integration_id": world.here, "vendor": "KNOCK", "root_job_id": jobs[0],
            "write_status": "SUCCESS", "outcome": "CREATED", "errors": [], "created_record_id": record_id, "job_type": "prospect_create",
        })
    );
    // A receiver that was written for the flat shape finds every member too.
    let mut whole = told[1]["data"].clone();
    whole["data"] = told[1]["data"].clone();
    whole["trigger"] = json!("WRITE_OPERATION_SUCCESS");
    whole["meta"] = json!({ "object": "crm_prospects", "integration_id": world.here, "event_id": log[1].id, "created_at": log[1].at });
    assert_eq!(told[1], whole);
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
        integration: integration(id),
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
        if status == ok {
            expected.push((Trigger::JobSuccess, id, job_id, status));
        }
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
    // A run that ends well is told twice: as a run, and as a job.
    assert_eq!(log.len(), 20);
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
    assert_eq!(world.store.event_newest().await?, log[19].seq);
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
    let told = serde_json::json!(last.body()?);
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
    let told = serde_json::json!(world.log(&EVERY).await?[0].body()?);
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
