//! Synchronisation and looking back: what was seen, what changed, what was done.

#![expect(missing_docs, reason = "a case's name is its sentence")]

use model::{
    Actor, JobId, Timestamp,
    record::Kind,
    write::{Class, WriteStatus},
};
use serde_json::{Map, Value, json};

use super::{Backend, Verdicts, World, at, failed, listed};
use crate::{
    Lapse,
    logs::history::{DiffQuery, LogQuery, Seen, Tally},
};

fn seen(x_id: &str, update: Value, create: Option<(String, Value)>) -> Seen {
    Seen {
        kind: Kind::Prospect,
        x_id: x_id.to_owned(),
        asked_at: Timestamp::from_micros(i64::MAX),
        update: match update {
            Value::Object(update) => update,
            _ => Map::new(),
        },
        add: Vec::new(),
        create,
        is_gone: false,
    }
}

const ALL: DiffQuery = DiffQuery {
    integration_id: None,
    record_id: None,
    kind: None,
    vendor: None,
    since: None,
    until: None,
    is_ascending: false,
    offset: 0,
    limit: 100,
};

fn log(limit: u64) -> LogQuery {
    LogQuery {
        limit,
        ..LogQuery::default()
    }
}

pub async fn what_was_seen_is_stored_with_its_diff<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let (store, job_id) = (&world.store, JobId::new(at(0), &*world.entropy));
    let id = Kind::Prospect.new_id(at(0), &*world.entropy);
    let new = (id.clone(), json!({ "status": "New", "first_name": "Zoë" }));
    let first = vec![
        seen("x1", json!({}), Some(new)),
        seen("x2", json!({}), None),
    ];
    let tally = store.sync_record(world.here, job_id, first, at(1)).await?;
    assert_eq!((tally.seen, tally.created, tally.changed), (1, 1, 0));
    let same = vec![seen("x1", json!({ "status": "New" }), None)];
    let tally = store.sync_record(world.here, job_id, same, at(2)).await?;
    assert_eq!((tally.seen, tally.created, tally.changed), (1, 0, 0));
    let unchanged = world.prospect(&id).await?;
    assert_eq!(unchanged.updated_at, at(1).to_string());
    assert_eq!(unchanged.last_seen, at(2).to_string(), "but seen");
    let other = vec![seen(
        "x1",
        json!({ "status": "Open", "is_deleted": true }),
        None,
    )];
    let tally = store.sync_record(world.here, job_id, other, at(3)).await?;
    assert_eq!((tally.seen, tally.created, tally.changed), (1, 0, 1));
    let changed = world.prospect(&id).await?;
    assert_eq!(changed.status.as_deref(), Some("Open"));
    assert_eq!(changed.first_name.as_deref(), Some("Zoë"));
    assert_eq!(changed.updated_at, at(3).to_string());

    let page = store.diffs_list(&world.mine, &ALL).await?;
    assert_eq!(
        (page.rows.len(), page.total, page.has_more),
        (1, Some(1), false)
    );
    let diff = &page.rows[0];
    assert_eq!((&diff.record_id, &diff.job_id), (&id, &job_id.to_string()));
    assert_eq!((diff.at, diff.kind), (at(3), Kind::Prospect));
    assert_eq!(
        diff.diff,
        json!({ "new": { "status": "Open", "is_deleted": true }, "previous": { "status": "New", "is_deleted": null } })
    );
    assert!(store.diffs_list(&world.theirs, &ALL).await?.rows.is_empty());
    for (query, count) in [
        (
            DiffQuery {
                record_id: Some(id.clone()),
                ..ALL
            },
            1,
        ),
        (
            DiffQuery {
                record_id: Some("pro_x".to_owned()),
                ..ALL
            },
            0,
        ),
        (
            DiffQuery {
                kind: Some(Kind::Agent),
                ..ALL
            },
            0,
        ),
        (
            DiffQuery {
                since: Some(at(3)),
                ..ALL
            },
            1,
        ),
        (
            DiffQuery {
                since: Some(at(4)),
                ..ALL
            },
            0,
        ),
        (
            DiffQuery {
                integration_id: Some(world.there),
                ..ALL
            },
            0,
        ),
        (DiffQuery { offset: 1, ..ALL }, 0),
    ] {
        let page = store.diffs_list(&world.all, &query).await?;
        assert_eq!(page.rows.len(), count, "{query:?}");
    }
    // A value that a list must have is added once.
    for n in 0..2 {
        let mut member = seen("s1", json!({}), None);
        member.kind = Kind::Attribution;
        member.create = (n == 0).then(|| {
            let id = Kind::Attribution.new_id(at(4), &*world.entropy);
            (id, json!({ "community_ids": ["com_a"] }))
        });
        member.add = vec![("community_ids".to_owned(), "com_b".to_owned())];
        let mut twice = member.clone();
        twice.create = None;
        store
            .sync_record(world.here, job_id, vec![member, twice], at(4))
            .await?;
    }
    let page = store
        .records_list(&world.all, &listed(Kind::Attribution, 0, 10))
        .await?;
    assert_eq!(page.rows.len(), 1);
    assert_eq!(
        page.rows[0].body["community_ids"],
        json!(["com_a", "com_b"])
    );
    Ok(())
}

pub async fn what_is_gone_at_the_vendor_is_marked_and_stays<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let (store, job_id) = (&world.store, JobId::new(at(0), &*world.entropy));
    let id = Kind::Prospect.new_id(at(0), &*world.entropy);
    let new = (id.clone(), json!({ "status": "New" }));
    let first = vec![seen("x1", json!({}), Some(new))];
    store.sync_record(world.here, job_id, first, at(1)).await?;
    let mut gone = seen("x1", json!({}), None);
    gone.is_gone = true;
    for n in 2..4 {
        let tally = store
            .sync_record(world.here, job_id, vec![gone.clone()], at(n))
            .await?;
        assert_eq!((tally.missing, tally.seen, tally.changed), (1, 0, 0));
    }
    let marked = world.prospect(&id).await?;
    assert_eq!(
        marked.vanished_at,
        Some(at(2).to_string()),
        "when it was first missed"
    );
    assert_eq!(
        (marked.status.as_deref(), marked.last_seen),
        (Some("New"), at(1).to_string())
    );
    let back = vec![seen("x1", json!({ "status": "New" }), None)];
    store.sync_record(world.here, job_id, back, at(5)).await?;
    let back = world.prospect(&id).await?;
    assert_eq!(
        (back.vanished_at, back.last_seen),
        (None, at(5).to_string())
    );
    assert_eq!(store.diffs_list(&world.all, &ALL).await?.total, Some(2));
    Ok(())
}

pub async fn a_record_that_changed_after_the_vendor_was_asked_stays<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let (store, job_id) = (&world.store, JobId::new(at(0), &*world.entropy));
    world.accept_here(&[]).await?;
    let ticket = world.claim_one(at(1)).await?;
    let (id, verdict) = world.delivered("x1");
    world.finish(ticket, verdict, at(5)).await?;
    let mut late = seen("x1", json!({ "first_name": "Old" }), None);
    late.asked_at = at(4);
    let tally = store
        .sync_record(world.here, job_id, vec![late.clone()], at(6))
        .await?;
    assert_eq!((tally.seen, tally.changed), (1, 0));
    assert_eq!(
        world.prospect(&id).await?.first_name.as_deref(),
        Some("Zoë")
    );
    late.asked_at = at(7);
    store
        .sync_record(world.here, job_id, vec![late], at(8))
        .await?;
    assert_eq!(
        world.prospect(&id).await?.first_name.as_deref(),
        Some("Old")
    );
    Ok(())
}

pub async fn a_run_is_due_begun_and_ended<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let store = &world.store;
    let due = store.syncs_due().await?;
    assert_eq!(due.len(), 2, "what was never synchronised is due");
    assert!(due.iter().all(|(_, due_at)| *due_at <= at(0)));
    let job_id = JobId::new(at(0), &*world.entropy);
    assert!(
        store
            .sync_begin(world.here, job_id, at(1), at(60), at(100))
            .await?
    );
    let due = store.syncs_due().await?;
    assert_eq!(due.len(), 1, "one that is under way is not due");
    assert_eq!(due[0].0, world.there);
    let running = store.jobs_list(&world.mine, &log(10)).await?;
    assert_eq!(
        (running.len(), running[0].status),
        (1, WriteStatus::Pending)
    );
    assert_eq!((running[0].job_id, running[0].ended_at), (job_id, None));

    let tally = Tally {
        calls: 3,
        errors: vec!["no".to_owned()],
        ..Tally::default()
    };
    store
        .sync_end(
            job_id,
            WriteStatus::PartialSuccess,
            tally.clone(),
            at(2),
            Some(at(50)),
        )
        .await?;
    assert_eq!(store.syncs_due().await?[1], (world.here, at(50)));
    let ended = store.jobs_list(&world.mine, &log(10)).await?;
    assert_eq!(
        (ended[0].status, ended[0].ended_at),
        (WriteStatus::PartialSuccess, Some(at(2)))
    );
    assert_eq!(ended[0].tally, tally);
    assert!(store.jobs_list(&world.theirs, &log(10)).await?.is_empty());

    assert!(
        !store
            .sync_request(&Actor::local(world.theirs.clone()), world.here, at(3))
            .await?
    );
    assert_eq!(store.syncs_due().await?[1], (world.here, at(50)));
    let signal = store.signals().sync_due();
    assert!(
        store
            .sync_request(&Actor::local(world.mine.clone()), world.here, at(3))
            .await?
    );
    tokio::time::timeout(super::SIGNAL_TIMEOUT, signal).await?;
    let due = store.syncs_due().await?;
    assert!(due.contains(&(world.here, at(3))));
    Ok(())
}

pub async fn a_run_that_was_cut_off_is_ended_and_due_again<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let job_id = JobId::new(at(0), &*world.entropy);
    world
        .store
        .sync_begin(world.here, job_id, at(1), at(60), at(100))
        .await?;
    world.restart().await?;
    assert_eq!(world.store.syncs_lapse(Lapse::Expired, at(5)).await?, 0);
    assert_eq!(world.store.syncs_lapse(Lapse::All, at(5)).await?, 1);
    assert_eq!(world.store.syncs_lapse(Lapse::All, at(6)).await?, 0);
    let jobs = world.store.jobs_list(&world.all, &log(10)).await?;
    assert_eq!(
        (jobs[0].status, jobs[0].ended_at),
        (WriteStatus::Failure, Some(at(5)))
    );
    assert!(
        jobs[0].tally.errors[0].contains("stopped"),
        "{:?}",
        jobs[0].tally
    );
    assert!(
        world
            .store
            .syncs_due()
            .await?
            .contains(&(world.here, at(5)))
    );
    Ok(())
}

pub async fn an_integration_is_synchronised_by_one_at_a_time<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let (store, here) = (&world.store, world.here);
    let new_run = || JobId::new(at(0), &*world.entropy);
    let first = new_run();
    let begin = async |id, job_id, now| store.sync_begin(id, job_id, now, at(20), at(100)).await;
    assert!(begin(here, first, at(1)).await?);
    assert!(!begin(here, new_run(), at(2)).await?, "one is under way");
    assert!(begin(world.there, new_run(), at(2)).await?);
    // Nor when somebody asks for one, until it has ended.
    let by = Actor::local(world.all.clone());
    assert!(store.sync_request(&by, here, at(3)).await?);
    assert!(store.syncs_due().await?.is_empty());
    assert!(!begin(here, new_run(), at(4)).await?);
    let done = Tally::default();
    store
        .sync_end(first, WriteStatus::Success, done, at(5), None)
        .await?;
    assert_eq!(store.syncs_due().await?, [(here, at(3))]);
    // Whoever saw that it is due and comes late finds that it was done.
    let mut tasks = tokio::task::JoinSet::new();
    let elsewhere = world.elsewhere().await?;
    for n in 0..20 {
        let (store, job_id) = ([store, &elsewhere][n % 2].clone(), new_run());
        tasks.spawn(async move {
            let is_begun = store
                .sync_begin(here, job_id, at(6), at(20), at(100))
                .await?;
            if is_begun {
                let done = Tally::default();
                store
                    .sync_end(job_id, WriteStatus::Success, done, at(6), None)
                    .await?;
            }
            Ok::<_, crate::Error>(is_begun)
        });
    }
    let mut begun = 0;
    while let Some(is_begun) = tasks.join_next().await {
        begun += usize::from(is_begun??);
    }
    assert_eq!(begun, 1);
    assert_eq!(store.syncs_due().await?, [(here, at(100))]);
    Ok(())
}

pub async fn a_run_whose_lease_lapsed_is_taken_over<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let (first, second) = (
        JobId::new(at(0), &*world.entropy),
        JobId::new(at(1), &*world.entropy),
    );
    let here = world.here;
    let begun = world.store.sync_begin(here, first, at(1), at(20), at(100));
    assert!(begun.await?);
    let lost = world.store.syncs_renew(vec![first, second], at(40)).await?;
    assert_eq!(lost, [second], "there is no such run");
    world.restart().await?;
    let store = &world.store;
    assert_eq!(store.syncs_lapse(Lapse::Expired, at(39)).await?, 0);
    let signal = store.signals().sync_due();
    assert_eq!(store.syncs_lapse(Lapse::Expired, at(40)).await?, 1);
    assert_eq!(store.syncs_lapse(Lapse::Expired, at(40)).await?, 0);
    tokio::time::timeout(super::SIGNAL_TIMEOUT, signal).await?;
    assert!(store.syncs_due().await?.contains(&(here, at(40))));
    let begun = store.sync_begin(here, second, at(41), at(60), at(200));
    assert!(begun.await?);

    // The first, should it live on, learns of it, and what it says of itself counts no more.
    assert_eq!(
        store.syncs_renew(vec![first, second], at(70)).await?,
        [first]
    );
    let done = Tally {
        seen: 9,
        ..Tally::default()
    };
    store
        .sync_end(first, WriteStatus::Success, done, at(42), Some(at(43)))
        .await?;
    let jobs = store.jobs_list(&world.all, &log(10)).await?;
    let stand: Vec<_> = jobs.iter().map(|one| (one.job_id, one.status)).collect();
    assert_eq!(
        stand,
        [
            (second, WriteStatus::Pending),
            (first, WriteStatus::Failure)
        ]
    );
    assert_eq!((jobs[1].ended_at, jobs[1].tally.seen), (Some(at(40)), 0));
    let done = Tally::default();
    store
        .sync_end(second, WriteStatus::Success, done, at(50), None)
        .await?;
    assert!(store.syncs_due().await?.contains(&(here, at(200))));
    assert_eq!(store.syncs_lapse(Lapse::All, at(99)).await?, 0);
    Ok(())
}

pub async fn candidates_are_the_newest_and_the_stalest<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let (store, job_id) = (&world.store, JobId::new(at(0), &*world.entropy));
    for n in 0..10 {
        let id = Kind::Prospect.new_id(at(0), &*world.entropy);
        let body = json!({ "x_community_id": "c1" });
        let one = seen(&format!("x{n}"), json!({}), Some((id, body)));
        store
            .sync_record(world.here, job_id, vec![one], at(n))
            .await?;
    }
    // x0 changes, and is the newest; x1 was seen, and is not the stalest.
    for (x_id, update) in [("x0", json!({ "status": "Open" })), ("x1", json!({}))] {
        store
            .sync_record(world.here, job_id, vec![seen(x_id, update, None)], at(20))
            .await?;
    }
    let found = store.sync_candidates(world.here, 3, 2).await?;
    let x_ids: Vec<&str> = found.iter().map(|one| one.x_id.as_str()).collect();
    assert_eq!(x_ids, ["x0", "x9", "x8", "x2", "x3"]);
    assert_eq!(found[0].x_community_id.as_deref(), Some("c1"));
    assert_eq!(store.sync_candidates(world.here, 100, 100).await?.len(), 10);
    assert!(
        store
            .sync_candidates(world.there, 100, 100)
            .await?
            .is_empty()
    );
    Ok(())
}

pub async fn the_log_of_writes_is_filtered_by_all_that_it_offers<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let mut every = Vec::new();
    for n in 0..12 {
        let id = if n % 3 == 0 { world.there } else { world.here };
        // Hours apart, so that times tell them apart.
        let job_id = world.accept(world.write(id, at(n * 3_600), &[])).await?;
        let lane = world.lane(id, 1, at(n * 3_600), at(n * 3_600 + 60)).await?;
        let ticket = lane.writes[0].ticket;
        let now = at(n * 3_600 + 1);
        match n % 4 {
            0 => drop(world.finish(ticket, failed("no"), now).await?),
            1 => {}
            _ => {
                let (_, verdict) = world.delivered(&format!("x{n}"));
                world
                    .finish_as(ticket, Class::Delivered, verdict, now)
                    .await?;
            }
        }
        every.insert(0, (n, id, job_id));
    }
    let check = async |scope, query: LogQuery, keeps: &dyn Fn(i64) -> bool| -> Verdicts {
        let found = world.store.writes_list(scope, &query).await?;
        let found: Vec<JobId> = found.iter().map(|write| write.job_id).collect();
        let expected: Vec<JobId> = every
            .iter()
            .filter(|(n, ..)| keeps(*n))
            .map(|(_, _, job_id)| *job_id)
            .skip(usize::try_from(query.offset)?)
            .take(usize::try_from(query.limit)?)
            .collect();
        assert_eq!(found, expected, "{query:?}");
        Ok(())
    };
    check(&world.all, log(100), &|_| true).await?;
    check(
        &world.all,
        LogQuery {
            offset: 3,
            ..log(4)
        },
        &|_| true,
    )
    .await?;
    check(&world.mine, log(100), &|n| n % 3 != 0).await?;
    let there = Some(world.there);
    check(
        &world.all,
        LogQuery {
            integration_id: there,
            ..log(100)
        },
        &|n| n % 3 == 0,
    )
    .await?;
    check(
        &world.mine,
        LogQuery {
            integration_id: there,
            ..log(100)
        },
        &|_| false,
    )
    .await?;
    for (status, keeps) in [
        (
            WriteStatus::Failure,
            &(|n: i64| n % 4 == 0) as &dyn Fn(i64) -> bool,
        ),
        (WriteStatus::Pending, &|n| n % 4 == 1),
        (WriteStatus::Success, &|n| n % 4 > 1),
        (WriteStatus::PartialSuccess, &|_| false),
    ] {
        check(
            &world.all,
            LogQuery {
                status: Some(status),
                ..log(100)
            },
            keeps,
        )
        .await?;
    }
    for since in [0, 1, 5, 11, 12] {
        let query = LogQuery {
            since: Some(at(since * 3_600)),
            ..log(100)
        };
        check(&world.all, query, &|n| n >= since).await?;
    }
    Ok(())
}

pub async fn what_is_old_is_swept<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let (store, job_id) = (&world.store, JobId::new(at(0), &*world.entropy));
    store
        .sync_begin(world.here, job_id, at(0), at(60), at(100))
        .await?;
    let id = Kind::Prospect.new_id(at(0), &*world.entropy);
    let new = (id, json!({ "status": "0" }));
    store
        .sync_record(
            world.here,
            job_id,
            vec![seen("x1", json!({}), Some(new))],
            at(0),
        )
        .await?;
    for n in 1..=5 {
        let one = seen("x1", json!({ "status": n.to_string() }), None);
        store
            .sync_record(world.here, job_id, vec![one], at(n))
            .await?;
    }
    assert_eq!(
        store.history_sweep(at(4), 2).await?,
        2,
        "no more than asked, and no run that is open"
    );
    store
        .sync_end(job_id, WriteStatus::Success, Tally::default(), at(6), None)
        .await?;
    assert_eq!(store.history_sweep(at(4), 100).await?, 2);
    assert_eq!(store.history_sweep(at(4), 100).await?, 0);
    assert_eq!(store.diffs_list(&world.all, &ALL).await?.rows.len(), 2);
    assert!(store.jobs_list(&world.all, &log(10)).await?.is_empty());
    Ok(())
}
