//! Subscriptions: made, changed, seen and limited.

use model::{
    Actor, IntegrationId, Scope, Secret, WebhookId,
    record::Kind,
    webhook::{Change, Trigger, Webhook},
};

use super::{SECRETS, answered};
use crate::{
    audit::AuditQuery,
    conformance::{Answer, Backend, START, Verdicts, World, assert_conflict, at, operator},
    subscriptions::types::{
        DeliveryFinish, DeliveryQuery, DeliveryVerdict, Health, Replay, Replayed, Standing,
    },
};

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
