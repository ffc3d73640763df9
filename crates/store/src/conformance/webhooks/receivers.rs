//! Receivers: known to fail or to work, and switched off.

use model::webhook::{Change, DeliveryStatus, Trigger};

use super::{answered, places};
use crate::{
    Depth,
    conformance::{Answer, Backend, START, Verdicts, World, at},
    subscriptions::types::{DeliveryFinish, DeliveryVerdict, Health, Standing},
};

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
