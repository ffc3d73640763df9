//! Deliveries: claimed, attempted, replayed, listed and counted.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    EventId, WebhookId,
    webhook::{Change, DeliveryStatus, Trigger},
};
use serde_json::json;

use super::lapse;
use super::{EVERY, LEASE_S, answered, places};
use crate::{
    Depth, Lapse,
    audit::AuditQuery,
    conformance::{Answer, Backend, START, Verdicts, World, assert_conflict, at, failed, operator},
    subscriptions::types::{DeliveryClaim, DeliveryQuery, DeliveryVerdict, Replay, Replayed},
};

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
