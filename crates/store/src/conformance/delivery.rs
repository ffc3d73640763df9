//! Writes on their way: claims, leases, and how an attempt ends.

#![expect(missing_docs, reason = "a case's name is its sentence")]

use std::{collections::HashSet, time::Duration};

use model::{
    record::Kind,
    write::{Class, Outcome, WriteStatus},
};
use tokio::task::JoinSet;

use super::{
    Backend, SIGNAL_TIMEOUT, Verdicts, World, again, assert_stands, at, attempt, failed, ids, jobs,
    lapse, listed, unlimited,
};
use crate::{Claim, Lapse};

pub async fn due_writes_are_claimed_in_order_and_never_twice<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let mut jobs_by_time = Vec::new();
    for seconds in [30, 10, 20, 10] {
        let write = world.write(world.here, at(seconds), &[]);
        jobs_by_time.push((seconds, world.accept(write).await?));
    }
    // A sort that keeps the order accepted within an instant.
    jobs_by_time.sort_by_key(|(seconds, _)| *seconds);
    let expected: Vec<_> = jobs_by_time.into_iter().map(|(_, job_id)| job_id).collect();
    let lane = world.lane(world.here, 3, at(40), at(99)).await?;
    assert_eq!(lane.integration_id, world.here);
    assert_eq!(jobs(&lane.writes), expected[..3]);
    for claimed in &lane.writes {
        assert_eq!(claimed.ticket.attempt, 1);
        assert!(!claimed.may_be_held);
        let found = world.find(claimed.job_id).await?;
        assert_stands(&found, WriteStatus::Pending, None, &[]);
        assert_eq!((found.attempts, found.next_attempt_at), (1, None));
        assert!(Some(&claimed.call) == found.call.as_ref());
        assert_eq!(claimed.accepted_at, found.accepted_at);
        assert_eq!(claimed.operation, found.operation);
    }
    assert_eq!(jobs(&world.claim(at(40)).await?), expected[3..]);
    // Nor once the leases are over, as long as nobody has ended them.
    assert_eq!(world.claim(at(1_000)).await?.len(), 0);
    Ok(())
}

pub async fn a_claim_keeps_to_the_limit_of_each_lane<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    for n in 0..5 {
        world.accept(world.write(world.here, at(n), &[])).await?;
        world
            .accept(world.write(world.there, at(10 + n), &[]))
            .await?;
    }
    let claim = |here: u32, there: u32| {
        let claim = Claim {
            lanes: vec![unlimited(world.there, there), unlimited(world.here, here)],
            now: at(50),
            lease_until: at(90),
        };
        world.store.writes_claim(claim)
    };
    for (here, there, expected) in [
        (2, 0, [(0, Some(10)), (2, Some(2))]),
        (1, 4, [(4, Some(14)), (1, Some(3))]),
        (9, 1, [(1, None), (2, None)]),
        (9, 9, [(0, None), (0, None)]),
    ] {
        let lanes = claim(here, there).await?;
        let ids: Vec<_> = lanes.iter().map(|lane| lane.integration_id).collect();
        assert_eq!(ids, [world.there, world.here]);
        let got: Vec<_> = lanes
            .iter()
            .map(|lane| (lane.writes.len(), lane.next_due_at))
            .collect();
        assert_eq!(got, expected.map(|(count, due)| (count, due.map(at))));
    }
    let nothing = Claim {
        lanes: Vec::new(),
        now: at(50),
        lease_until: at(90),
    };
    assert!(world.store.writes_claim(nothing).await?.is_empty());
    Ok(())
}

pub async fn concurrent_claims_share_no_write<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    for _ in 0..60 {
        world.accept_here(&[]).await?;
    }
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (store, here) = (world.store.clone(), world.here);
        tasks.spawn(async move {
            let claim = Claim {
                lanes: vec![unlimited(here, 4)],
                now: at(0),
                lease_until: at(60),
            };
            store.writes_claim(claim).await
        });
    }
    let mut seen = HashSet::new();
    while let Some(done) = tasks.join_next().await {
        for claimed in done??.iter().flat_map(|lane| &lane.writes) {
            assert!(seen.insert(claimed.job_id), "claimed twice");
        }
    }
    assert_eq!(seen.len(), 60);
    Ok(())
}

pub async fn nothing_is_claimed_before_it_is_due<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let job_id = world.accept(world.write(world.here, at(10), &[])).await?;
    let lane = world
        .lane(world.here, 9, at(10).plus_millis(-1), at(60))
        .await?;
    assert_eq!((lane.writes.len(), lane.next_due_at), (0, Some(at(10))));
    let lane = world.lane(world.here, 9, at(10), at(60)).await?;
    assert_eq!((jobs(&lane.writes), lane.next_due_at), (vec![job_id], None));
    let ticket = lane.writes[0].ticket;
    world.finish(ticket, again(at(20), "busy"), at(11)).await?;
    let lane = world.lane(world.here, 9, at(19), at(60)).await?;
    assert_eq!((lane.writes.len(), lane.next_due_at), (0, Some(at(20))));
    let lane = world.lane(world.here, 9, at(20), at(60)).await?;
    assert_eq!((jobs(&lane.writes), lane.next_due_at), (vec![job_id], None));
    Ok(())
}

pub async fn lanes_due_lists_each_integration_once<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    assert!(world.store.lanes_due().await?.is_empty());
    for seconds in [7, 5, 9] {
        world
            .accept(world.write(world.there, at(seconds), &[]))
            .await?;
    }
    assert_eq!(world.store.lanes_due().await?, [(world.there, at(5))]);
    world.accept(world.write(world.here, at(8), &[1])).await?;
    world.accept(world.write(world.here, at(1), &[1])).await?;
    let mut expected = [(world.here, at(8)), (world.there, at(5))];
    expected.sort_unstable();
    for _ in 0..2 {
        let mut due = world.store.lanes_due().await?;
        due.sort_unstable();
        assert_eq!(due, expected, "a write that waits is not ready");
        world.restart().await?;
    }
    let ticket = world.claim_one(at(10)).await?;
    assert_eq!(world.store.lanes_due().await?, [(world.there, at(5))]);
    world.finish(ticket, again(at(30), "busy"), at(11)).await?;
    let mut due = world.store.lanes_due().await?;
    due.sort_unstable();
    assert_eq!(
        due.into_iter().find(|(id, _)| *id == world.here),
        Some((world.here, at(30)))
    );
    Ok(())
}

pub async fn a_renewed_lease_stays<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    world.accept_here(&[]).await?;
    world.accept_here(&[]).await?;
    let lane = world.lane(world.here, 9, at(0), at(10)).await?;
    let (kept, left) = (lane.writes[0].ticket, lane.writes[1].ticket);
    assert_eq!(lapse(&world.store, Lapse::Expired, at(9)).await?, 0);
    world.store.leases_renew(vec![kept], at(30)).await?;
    assert_eq!(lapse(&world.store, Lapse::Expired, at(20)).await?, 1);
    let again = world.lane(world.here, 9, at(20), at(40)).await?;
    assert_eq!(jobs(&again.writes), [lane.writes[1].job_id]);
    // A ticket of a lease that is gone renews nothing.
    world.store.leases_renew(vec![left], at(999)).await?;
    world.store.leases_renew(Vec::new(), at(999)).await?;
    assert_eq!(lapse(&world.store, Lapse::Expired, at(30)).await?, 1);
    assert_eq!(lapse(&world.store, Lapse::Expired, at(40)).await?, 1);
    // Nor does it take hold of a write that is ready.
    world.store.leases_renew(vec![kept, left], at(999)).await?;
    assert_eq!(world.claim(at(40)).await?.len(), 2);
    Ok(())
}

pub async fn a_lapsed_lease_comes_back_with_its_attempt_unknown<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let job_id = world.accept_here(&[]).await?;
    let first = world.lane(world.here, 9, at(3), at(10)).await?;
    assert_eq!(first.writes.len(), 1);
    assert_eq!(lapse(&world.store, Lapse::Expired, at(12)).await?, 1);
    let found = world.find(job_id).await?;
    assert_eq!(found.status, WriteStatus::Pending);
    assert_eq!((found.attempts, found.next_attempt_at), (1, Some(at(12))));

    let second = world.lane(world.here, 9, at(12), at(30)).await?;
    assert_eq!(jobs(&second.writes), [job_id]);
    assert!(second.writes[0].may_be_held);
    assert_eq!(second.writes[0].ticket.attempt, 2);
    let attempts = world.store.attempts_list(&world.all, job_id).await?;
    assert_eq!(attempts.len(), 1, "only the attempt that is over");
    let cut_off = &attempts[0];
    assert_eq!((cut_off.number, cut_off.class), (1, Class::Unknown));
    assert_eq!((cut_off.started_at, cut_off.duration_ms), (at(3), None));
    assert!(cut_off.error.is_some());

    let ticket = second.writes[0].ticket;
    world.finish(ticket, again(at(13), "busy"), at(13)).await?;
    let third = world.claim(at(13)).await?;
    assert!(third[0].may_be_held, "one unknown attempt is enough");
    let classes: Vec<_> = world
        .store
        .attempts_list(&world.all, job_id)
        .await?
        .iter()
        .map(|one| (one.number, one.class))
        .collect();
    assert_eq!(classes, [(1, Class::Unknown), (2, Class::Retry)]);
    Ok(())
}

pub async fn what_is_cut_off_again_and_again_waits_from_the_third_time<B: Backend>(
    backend: B,
) -> Verdicts {
    let mut world = World::new(backend).await?;
    let job_id = world.accept_here(&[]).await?;
    let (mut now, mut waited_ms) = (at(1), 0);
    // By attempt: whether it is cut off, and which of those that count for the schedule it is.
    for (place, (is_cut_off, tries)) in [
        (true, 1),
        (true, 1),
        (false, 1),
        (true, 2),
        (true, 2),
        (true, 2),
        (true, 3),
        (true, 4),
        (false, 5),
        (true, 6),
        (true, 6),
        (false, 6),
    ]
    .into_iter()
    .enumerate()
    {
        let claimed = world.claim(now).await?;
        assert_eq!(claimed.len(), 1, "{place}");
        let ticket = claimed[0].ticket;
        assert_eq!(
            (ticket.attempt, claimed[0].tries),
            (u32::try_from(place + 1)?, tries)
        );
        if !is_cut_off {
            now = now.plus_millis(1);
            world.finish(ticket, again(now, "busy"), now).await?;
            continue;
        }
        let was_cut_off_twice = matches!(place, 5..=7);
        world.restart().await?;
        assert_eq!(lapse(&world.store, Lapse::All, now).await?, 1);
        let due_at = world.find(job_id).await?.next_attempt_at;
        let due_at = due_at.ok_or("it is due again")?;
        if was_cut_off_twice {
            // Somewhere within the bound of so many failures.
            let bound_ms = 500 << (tries - 1);
            let waits_ms = due_at.millis_since(now);
            assert!(waits_ms <= bound_ms, "{place}: {waits_ms}");
            waited_ms += waits_ms;
        } else {
            assert_eq!(due_at, now, "{place}");
        }
        now = due_at;
    }
    assert!(waited_ms > 0, "none of them waited");
    Ok(())
}

pub async fn all_leases_can_be_ended_at_once<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    for _ in 0..3 {
        world.accept_here(&[]).await?;
        world.accept(world.write(world.there, at(0), &[])).await?;
    }
    let held = world.lane(world.here, 2, at(0), at(9_999)).await?.writes;
    let there = world.lane(world.there, 1, at(0), at(9_999)).await?.writes;
    world.restart().await?;
    assert_eq!(lapse(&world.store, Lapse::Expired, at(5)).await?, 0);
    assert_eq!(lapse(&world.store, Lapse::All, at(5)).await?, 3);
    assert_eq!(lapse(&world.store, Lapse::All, at(5)).await?, 0);
    for claimed in held.iter().chain(&there) {
        let found = world.find(claimed.job_id).await?;
        assert_eq!(found.next_attempt_at, Some(at(5)));
        let attempts = world
            .store
            .attempts_list(&world.all, claimed.job_id)
            .await?;
        assert_eq!(attempts.len(), 1);
        assert_eq!(attempts[0].class, Class::Unknown);
    }
    let claimed = world.claim(at(5)).await?;
    assert_eq!(claimed.len(), 3);
    let may_be_held = claimed.iter().filter(|one| one.may_be_held).count();
    assert_eq!(may_be_held, 2, "the third was never attempted");
    Ok(())
}

pub async fn a_lease_and_its_errors_survive_a_restart<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let job_id = world.accept_here(&[]).await?;
    let ticket = world.claim_one(at(0)).await?;
    world.finish(ticket, again(at(5), "busy"), at(1)).await?;
    let ticket = world.claim_one(at(5)).await?;
    world.restart().await?;
    let found = world.find(job_id).await?;
    assert_stands(&found, WriteStatus::Pending, None, &["busy"]);
    assert_eq!((found.attempts, found.next_attempt_at), (2, None));
    assert_eq!(world.claim(at(6)).await?.len(), 0);
    let (_, verdict) = world.delivered("x1");
    let status = world.finish(ticket, verdict, at(7)).await?;
    assert_eq!(status, WriteStatus::Success);
    world.restart().await?;
    let found = world.find(job_id).await?;
    assert_stands(&found, WriteStatus::Success, Some(Outcome::Created), &[]);
    assert_eq!(found.completed_at, Some(at(7)));
    Ok(())
}

pub async fn a_late_confirmation_counts<B: Backend>(backend: B) -> Verdicts {
    // Whether or not another attempt has begun by then.
    let world = World::new(backend).await?;
    for (x_id, is_claimed_again) in [("x1", false), ("x2", true)] {
        let job_id = world.accept_here(&[5]).await?;
        let next_id = world.accept_here(&[5]).await?;
        let first = world.claim_one(at(0)).await?;
        lapse(&world.store, Lapse::All, at(10)).await?;
        let second = match is_claimed_again {
            true => Some(world.claim_one(at(10)).await?),
            false => None,
        };
        let (record_id, verdict) = world.delivered(x_id);
        let status = world.finish(first, verdict, at(11)).await?;
        assert_eq!(status, WriteStatus::Success);
        let found = world.find(job_id).await?;
        assert_stands(&found, WriteStatus::Success, Some(Outcome::Created), &[]);
        assert_eq!(found.record_id, Some(record_id.to_string()));
        assert_eq!(found.completed_at, Some(at(11)));
        if let Some(second) = second {
            // Whoever holds it now learns that it has ended.
            let status = world.finish(second, failed("no"), at(12)).await?;
            assert_eq!(status, WriteStatus::Success);
        }
        let attempts = world.store.attempts_list(&world.all, job_id).await?;
        assert_eq!(attempts[0].class, Class::Delivered);
        let next = world.claim(at(12)).await?;
        assert_eq!(jobs(&next), [next_id], "never the one that has ended");
        world.finish(next[0].ticket, failed("no"), at(12)).await?;
        assert_eq!(lapse(&world.store, Lapse::All, at(13)).await?, 0);
    }
    Ok(())
}

pub async fn a_late_failure_changes_nothing<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let job_id = world.accept_here(&[]).await?;
    let first = world.claim_one(at(0)).await?;
    lapse(&world.store, Lapse::All, at(10)).await?;
    for is_leased in [false, true] {
        let second = match is_leased {
            true => Some(world.claim_one(at(10)).await?),
            false => None,
        };
        for verdict in [failed("late"), again(at(500), "late")] {
            let status = world.finish(first, verdict, at(11)).await?;
            assert_eq!(status, WriteStatus::Pending);
            let found = world.find(job_id).await?;
            assert_stands(&found, WriteStatus::Pending, None, &[]);
            let due = (!is_leased).then_some(at(10));
            assert_eq!(found.next_attempt_at, due);
        }
        let attempts = world.store.attempts_list(&world.all, job_id).await?;
        let classes: Vec<_> = attempts.iter().map(|one| (one.number, one.class)).collect();
        assert_eq!(
            classes,
            [(1, Class::Retry)],
            "what became of it is on record all the same"
        );
        if let Some(second) = second {
            assert_eq!(
                lapse(&world.store, Lapse::Expired, at(12)).await?,
                0,
                "the second lease still stands"
            );
            let status = world.finish(second, failed("in time"), at(12)).await?;
            assert_eq!(status, WriteStatus::Failure);
        }
    }
    let found = world.find(job_id).await?;
    assert_stands(&found, WriteStatus::Failure, None, &["in time"]);
    Ok(())
}

pub async fn an_attempt_after_the_end_is_recorded_and_changes_nothing<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let job_id = world.accept_here(&[]).await?;
    let first = world.claim_one(at(0)).await?;
    lapse(&world.store, Lapse::All, at(1)).await?;
    let second = world.claim_one(at(1)).await?;
    world.finish(second, failed("no"), at(2)).await?;
    let (record_id, verdict) = world.delivered("x1");
    for ticket in [first, second] {
        let status = world.finish(ticket, verdict.clone(), at(3)).await?;
        assert_eq!(status, WriteStatus::Failure);
    }
    let found = world.find(job_id).await?;
    assert_stands(&found, WriteStatus::Failure, None, &["no"]);
    assert_eq!((found.attempts, found.completed_at), (2, Some(at(2))));
    assert!(
        world
            .store
            .record_find(&world.all, Kind::Prospect, &record_id.to_string())
            .await?
            .is_none()
    );
    let attempts = world.store.attempts_list(&world.all, job_id).await?;
    assert_eq!(attempts[0], attempt(1, Class::Delivered, at(3)));
    assert_eq!(world.store.queue_depth().await?.open, 0);
    Ok(())
}

pub async fn a_first_confirmation_creates_and_a_second_updates<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let created = world.accept_here(&[]).await?;
    let ticket = world.claim_one(at(0)).await?;
    let (record_id, verdict) = world.delivered("x1");
    world.finish(ticket, verdict, at(1)).await?;
    let found = world.find(created).await?;
    assert_stands(&found, WriteStatus::Success, Some(Outcome::Created), &[]);
    assert_eq!(found.record_id, Some(record_id.to_string()));
    let first = world.prospect(&record_id.to_string()).await?;
    assert_eq!(first.id, record_id.to_string());
    assert_eq!(first.x_id.as_deref(), Some("x1"));
    assert_eq!(first.integration_id, world.here.to_string());
    assert_eq!(first.integration_vendor, "KNOCK");
    assert_eq!(first.created_at, at(1).to_string());
    assert_eq!(first.updated_at, at(1).to_string());
    assert_eq!(first.last_seen, at(1).to_string());
    assert_eq!(first.first_name.as_deref(), Some("Zoë"));
    assert_eq!(first.city.as_deref(), Some("Seattle"));
    assert_eq!(first.notes.as_deref(), Some("first"));

    let mut write = world.write(world.here, at(2), &[]);
    write.confirmed.create = serde_json::json!({ "first_name": "Eve", "last_name": "Eve" });
    let matched = world.accept(write).await?;
    let ticket = world.claim_one(at(2)).await?;
    let (unused_id, verdict) = world.delivered("x1");
    world.finish(ticket, verdict, at(3)).await?;
    let found = world.find(matched).await?;
    assert_stands(&found, WriteStatus::Success, Some(Outcome::Matched), &[]);
    assert_eq!(found.record_id, Some(record_id.to_string()));
    assert!(
        world
            .store
            .record_find(&world.all, Kind::Prospect, &unused_id.to_string())
            .await?
            .is_none()
    );
    let second = world.prospect(&record_id.to_string()).await?;
    let mut expected = first.clone();
    expected.notes = Some("second".to_owned());
    expected.city = None;
    expected.updated_at = at(3).to_string();
    expected.last_seen = at(3).to_string();
    assert!(second == expected, "only the members to update change");
    assert_eq!(
        world
            .store
            .records_list(&world.all, &listed(Kind::Prospect, 0, 10))
            .await?
            .total,
        Some(1)
    );
    Ok(())
}

pub async fn the_same_vendor_id_in_two_integrations_is_two_prospects<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    for id in [world.here, world.there] {
        let job_id = world.accept(world.write(id, at(0), &[])).await?;
        let lane = world.lane(id, 1, at(0), at(60)).await?;
        let (record_id, verdict) = world.delivered("x1");
        world.finish(lane.writes[0].ticket, verdict, at(1)).await?;
        let found = world.find(job_id).await?;
        assert_stands(&found, WriteStatus::Success, Some(Outcome::Created), &[]);
        let prospect = world.prospect(&record_id.to_string()).await?;
        assert_eq!(prospect.integration_id, id.to_string());
    }
    Ok(())
}

pub async fn prospects_are_listed_newest_first_a_page_at_a_time<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let empty = world
        .store
        .records_list(&world.all, &listed(Kind::Prospect, 0, 10))
        .await?;
    assert_eq!(
        (empty.rows.len(), empty.total, empty.has_more),
        (0, Some(0), false)
    );
    let (mut every, mut mine) = (Vec::new(), Vec::new());
    for n in 0..5 {
        let lane_id = if n % 2 == 0 { world.here } else { world.there };
        world.accept(world.write(lane_id, at(n), &[])).await?;
        let lane = world.lane(lane_id, 1, at(n), at(60)).await?;
        let (record_id, verdict) = world.delivered(&format!("x{n}"));
        world.finish(lane.writes[0].ticket, verdict, at(n)).await?;
        every.insert(0, record_id.to_string());
        if lane_id == world.here {
            mine.insert(0, record_id.to_string());
        }
    }
    for (offset, limit, expected, has_more) in [
        (0, 2, &every[..2], true),
        (2, 2, &every[2..4], true),
        (3, 2, &every[3..], false),
        (4, 2, &every[4..], false),
        (0, 5, &every[..], false),
        (5, 2, &[], false),
        (u64::MAX, u64::MAX, &[], false),
    ] {
        let page = world
            .store
            .records_list(&world.all, &listed(Kind::Prospect, offset, limit))
            .await?;
        assert_eq!(ids(&page), expected);
        assert_eq!(
            (page.total, page.has_more),
            (Some(5), has_more),
            "from {offset}"
        );
    }
    let page = world
        .store
        .records_list(&world.mine, &listed(Kind::Prospect, 1, 1))
        .await?;
    assert_eq!(ids(&page), mine[1..2]);
    assert_eq!((page.total, page.has_more), (Some(3), true));
    Ok(())
}

pub async fn a_failure_ends_with_its_errors<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let job_id = world.accept_here(&[]).await?;
    let ticket = world.claim_one(at(0)).await?;
    world.finish(ticket, again(at(1), "busy"), at(1)).await?;
    let ticket = world.claim_one(at(1)).await?;
    let status = world
        .finish(ticket, failed("Knock refused: é"), at(2))
        .await?;
    assert_eq!(status, WriteStatus::Failure);
    let found = world.find(job_id).await?;
    assert_stands(&found, WriteStatus::Failure, None, &["Knock refused: é"]);
    assert_eq!((found.attempts, found.completed_at), (2, Some(at(2))));
    assert_eq!((found.record_id, found.next_attempt_at), (None, None));
    assert_eq!(
        world.store.attempts_list(&world.all, job_id).await?,
        [
            attempt(1, Class::Retry, at(1)),
            attempt(2, Class::Rejected, at(2))
        ]
    );
    assert_eq!(world.claim(at(999)).await?.len(), 0);
    assert!(world.store.lanes_due().await?.is_empty());
    Ok(())
}

pub async fn a_write_to_be_tried_again_stays_open_with_its_errors<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let job_id = world.accept_here(&[]).await?;
    for n in 0..4_u32 {
        let now = at(i64::from(n) * 10);
        let claimed = world.claim(now).await?;
        assert_eq!(jobs(&claimed), [job_id]);
        // Once it was a time-out, the vendor may hold it for good.
        assert_eq!(claimed[0].may_be_held, n >= 2);
        let ticket = claimed[0].ticket;
        assert_eq!(ticket.attempt, n + 1);
        let (class, why) = match n {
            1 => (Class::Unknown, "timed out"),
            _ => (Class::Retry, "busy"),
        };
        let due = now.plus_millis(10_000);
        let status = world.finish_as(ticket, class, again(due, why), now).await?;
        assert_eq!(status, WriteStatus::Pending);
        let found = world.find(job_id).await?;
        assert_stands(&found, WriteStatus::Pending, None, &[why]);
        assert_eq!((found.attempts, found.next_attempt_at), (n + 1, Some(due)));
    }
    Ok(())
}

pub async fn accepts_and_lapses_signal_what_is_due<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    world.accept_here(&[1]).await?;
    assert_eq!(world.due().await?, HashSet::from([world.here]));
    assert!(world.store.signals().take_due().is_empty());
    let ticket = world.claim_one(at(0)).await?;
    world.accept_here(&[1]).await?;
    world.store.check().await?;
    assert!(
        world.store.signals().take_due().is_empty(),
        "a write that waits is not due"
    );
    // Its turn comes when the former ends.
    world.finish(ticket, failed("no"), at(1)).await?;
    assert_eq!(world.due().await?, HashSet::from([world.here]));
    world.claim_one(at(1)).await?;
    lapse(&world.store, Lapse::All, at(2)).await?;
    assert_eq!(world.due().await?, HashSet::from([world.here]));
    world.accept(world.write(world.there, at(3), &[])).await?;
    assert_eq!(world.due().await?, HashSet::from([world.there]));
    Ok(())
}

pub async fn the_end_of_a_write_wakes_who_watches_it<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    for verdict in [failed("no"), world.delivered("x1").1] {
        let job_id = world.accept_here(&[]).await?;
        let other_id = world.accept_here(&[]).await?;
        let signals = world.store.signals();
        let (one, two) = (signals.watch_end(job_id), signals.watch_end(job_id));
        let other = signals.watch_end(other_id);
        let (one_ended, two_ended, other_ended) = (one.ended(), two.ended(), other.ended());
        let claimed = world.claim(at(0)).await?;
        assert_eq!(jobs(&claimed), [job_id, other_id]);
        world.finish(claimed[0].ticket, verdict, at(1)).await?;
        tokio::time::timeout(SIGNAL_TIMEOUT, one_ended).await?;
        tokio::time::timeout(SIGNAL_TIMEOUT, two_ended).await?;
        let woken = tokio::time::timeout(Duration::from_millis(20), other_ended).await;
        assert!(woken.is_err(), "the other has not ended");
        let other_ended = other.ended();
        drop(one);
        drop(two);
        world.finish(claimed[1].ticket, failed("no"), at(1)).await?;
        tokio::time::timeout(SIGNAL_TIMEOUT, other_ended).await?;
    }
    Ok(())
}
