//! Writes at the door: custody, idempotency, scope, retries.

#![expect(missing_docs, reason = "a case's name is its sentence")]

use model::{
    JobId,
    record::Kind,
    write::{Block, NewWrite, Operation, WriteStatus},
};
use tokio::task::JoinSet;

use super::{
    Backend, Verdicts, World, assert_conflict, assert_stands, at, failed, ids, jobs, listed, once,
};
use crate::{Acceptance, Depth, Error, Once};

type Answers = JoinSet<(JobId, String, Result<Acceptance, Error>)>;

impl<B: Backend> World<B> {
    /// Hands in a write on a task of its own.
    fn hand_in(&self, tasks: &mut Answers, write: NewWrite, once: Option<Once>) {
        let (store, scope) = (self.store.clone(), self.all.clone());
        tasks.spawn(async move {
            let (job_id, result) = (write.job_id, write.result.clone());
            let answer = store.write_accept(&scope, write, once).await;
            (job_id, result, answer)
        });
    }

    /// Hands in a write under an idempotency key.
    async fn accept_once(&self, write: NewWrite, once: Once) -> Result<Acceptance, Error> {
        self.store.write_accept(&self.all, write, Some(once)).await
    }

    async fn replay(&self, once: Once) -> Result<Option<Acceptance>, Error> {
        self.store.replay_find(&self.all, &once).await
    }

    async fn is_known(&self, job_id: JobId) -> Result<bool, Error> {
        let found = self.store.write_find(&self.all, job_id).await?;
        Ok(found.is_some())
    }
}

pub async fn an_accepted_write_is_found_after_a_restart<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let write = world.write(world.here, at(3), &[1, -2, i64::MAX]);
    let (result, call) = (write.result.clone(), write.call.clone());
    let job_id = world.accept(write).await?;
    for _ in 0..2 {
        let found = world.find(job_id).await?;
        assert_eq!(found.job_id, job_id);
        assert_eq!(found.integration_id, world.here);
        assert_eq!(found.community_id, world.community);
        assert_eq!(found.result, result);
        assert!(found.call.as_ref() == Some(&call));
        assert_stands(&found, WriteStatus::Pending, None, &[]);
        assert_eq!((found.record_id, found.attempts), (None, 0));
        assert_eq!(found.accepted_at, at(3));
        assert_eq!(found.next_attempt_at, Some(at(3)));
        world.restart().await?;
    }
    let attempts = world.store.attempts_list(&world.all, job_id).await?;
    assert!(attempts.is_empty());
    let claimed = world.claim(at(3)).await?;
    assert_eq!(jobs(&claimed), [job_id]);
    assert!(claimed[0].call == call);
    Ok(())
}

pub async fn a_hundred_concurrent_accepts_are_all_found_and_claimed_in_order<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let mut tasks = Answers::new();
    // Ten at each instant, the later instants first.
    for n in 0..100 {
        let write = world.write(world.here, at(10 - n / 10), &[]);
        world.hand_in(&mut tasks, write, None);
    }
    let mut accepted = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (job_id, result, answer) = done?;
        assert_eq!(answer?, Acceptance::Accepted);
        assert_eq!(world.find(job_id).await?.result, result);
        accepted.push(job_id);
    }
    let claimed = world.claim(at(10)).await?;
    let order = claimed.iter().map(|one| (one.accepted_at, one.ticket.seq));
    assert!(
        order.is_sorted(),
        "by time and, within an instant, as accepted"
    );
    let mut claimed = jobs(&claimed);
    claimed.sort_unstable();
    accepted.sort_unstable();
    assert_eq!(claimed, accepted);
    Ok(())
}

pub async fn an_idempotency_key_replays_its_write_byte_for_byte<B: Backend>(
    backend: B,
) -> Verdicts {
    let mut world = World::new(backend).await?;
    assert_eq!(world.replay(once(1, 1)).await?, None);
    let first = world.write(world.here, at(0), &[]);
    let replayed = Acceptance::Replayed {
        job_id: first.job_id,
        result: first.result.clone(),
    };
    let answer = world.accept_once(first, once(1, 1)).await?;
    assert_eq!(answer, Acceptance::Accepted);
    for _ in 0..2 {
        let twin = world.write(world.here, at(1), &[]);
        let twin_id = twin.job_id;
        assert_eq!(world.accept_once(twin, once(1, 1)).await?, replayed);
        assert_eq!(world.replay(once(1, 1)).await?.as_ref(), Some(&replayed));
        assert!(!world.is_known(twin_id).await?);
        world.restart().await?;
    }
    // After its end, too.
    let ticket = world.claim_one(at(2)).await?;
    world.finish(ticket, failed("no"), at(2)).await?;
    assert_eq!(world.replay(once(1, 1)).await?, Some(replayed));
    assert_eq!(world.claim(at(9)).await?.len(), 0);
    Ok(())
}

pub async fn an_idempotency_key_refuses_another_body<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let first = world.write(world.here, at(0), &[]);
    world.accept_once(first, once(1, 1)).await?;
    let other = world.write(world.here, at(1), &[]);
    let other_id = other.job_id;
    let answer = world.accept_once(other, once(1, 2)).await?;
    assert_eq!(answer, Acceptance::Mismatch);
    let found = world.replay(once(1, 2)).await?;
    assert_eq!(found, Some(Acceptance::Mismatch));
    assert!(!world.is_known(other_id).await?);
    // The same body under another key is another write.
    let second = world.write(world.here, at(1), &[]);
    let answer = world.accept_once(second, once(2, 1)).await?;
    assert_eq!(answer, Acceptance::Accepted);
    assert_eq!(world.store.queue_depth().await?.open, 2);
    Ok(())
}

pub async fn two_hundred_concurrent_twins_make_one_write<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let mut tasks = Answers::new();
    for _ in 0..200 {
        let write = world.write(world.here, at(0), &[]);
        world.hand_in(&mut tasks, write, Some(once(1, 1)));
    }
    let (mut accepted, mut replayed) = (Vec::new(), Vec::new());
    while let Some(done) = tasks.join_next().await {
        match done? {
            (job_id, result, Ok(Acceptance::Accepted)) => accepted.push((job_id, result)),
            (_, _, Ok(Acceptance::Replayed { job_id, result })) => replayed.push((job_id, result)),
            (_, _, other) => return Err(format!("{other:?}").into()),
        }
    }
    assert_eq!((accepted.len(), replayed.len()), (1, 199));
    assert!(replayed.iter().all(|one| accepted.contains(one)));
    assert_eq!(world.claim(at(0)).await?.len(), 1);
    Ok(())
}

pub async fn an_accept_that_fails_stores_nothing_and_leaves_its_idempotency_key_free<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let mut write = world.write(world.here, at(0), &[7]);
    let refused_id = write.job_id;
    write.retry_of = Some(world.write(world.here, at(0), &[]).job_id);
    assert_conflict(world.accept_once(write, once(1, 1)).await);
    assert_eq!(world.replay(once(1, 1)).await?, None);
    assert!(!world.is_known(refused_id).await?);
    assert_eq!(world.store.queue_depth().await?, Depth::default());
    let write = world.write(world.here, at(0), &[7]);
    let job_id = write.job_id;
    let answer = world.accept_once(write, once(1, 1)).await?;
    assert_eq!(answer, Acceptance::Accepted);
    assert_eq!(jobs(&world.claim(at(0)).await?), [job_id]);
    Ok(())
}

pub async fn expired_idempotency_keys_are_swept_and_others_stay<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let mut job_ids = Vec::new();
    for (key, expires_at) in [(1, at(10)), (2, at(11)), (3, at(12)), (4, at(99))] {
        let write = world.write(world.here, at(0), &[]);
        job_ids.push(write.job_id);
        let until = Once {
            expires_at,
            ..once(key, 1)
        };
        world.accept_once(write, until).await?;
    }
    let used = |now| Once {
        used_at: at(now),
        ..once(1, 1)
    };
    assert!(world.replay(used(9)).await?.is_some());
    assert_eq!(world.replay(used(10)).await?, None, "before any sweep");
    for (now, swept) in [(9, 0), (12, 2), (12, 1), (12, 0)] {
        let count = world.store.idempotency_sweep(at(now), 2).await?;
        assert_eq!(count, swept);
    }
    for key in 1..=3 {
        assert_eq!(world.replay(once(key, 1)).await?, None);
    }
    let kept = world.replay(once(4, 1)).await?;
    assert!(matches!(kept, Some(Acceptance::Replayed { .. })));
    // A write outlives its key, and the key is free again, for any body.
    assert!(world.is_known(job_ids[0]).await?);
    let write = world.write(world.here, at(12), &[]);
    let answer = world.accept_once(write, once(1, 2)).await?;
    assert_eq!(answer, Acceptance::Accepted);
    Ok(())
}

pub async fn a_scope_sees_nothing_of_another_integration<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let job_id = world.accept_here(&[]).await?;
    let ticket = world.claim_one(at(0)).await?;
    let (record_id, verdict) = world.delivered("x1");
    world.finish(ticket, verdict, at(1)).await?;
    let scopes = [
        (&world.all, true),
        (&world.mine, true),
        (&world.theirs, false),
    ];
    for (scope, sees) in scopes {
        let write = world.store.write_find(scope, job_id).await?;
        assert_eq!(write.is_some(), sees);
        let attempts = world.store.attempts_list(scope, job_id).await?;
        assert_eq!(attempts.len(), usize::from(sees));
        let prospect = world
            .store
            .record_find(scope, Kind::Prospect, &record_id.to_string())
            .await?;
        assert_eq!(prospect.is_some(), sees);
        let page = world
            .store
            .records_list(scope, &listed(Kind::Prospect, 0, 10))
            .await?;
        assert_eq!((page.total, page.has_more), (Some(u64::from(sees)), false));
        assert_eq!(ids(&page).len(), usize::from(sees));
    }
    Ok(())
}

pub async fn a_scope_cannot_write_to_another_integration<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let write = world.write(world.here, at(0), &[]);
    assert_conflict(world.store.write_accept(&world.theirs, write, None).await);
    assert_eq!(world.store.queue_depth().await?.open, 0);
    let write = world.write(world.here, at(0), &[]);
    let answer = world.store.write_accept(&world.mine, write, None).await?;
    assert_eq!(answer, Acceptance::Accepted);
    Ok(())
}

pub async fn only_a_failed_write_can_be_retried<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let job_id = world.accept_here(&[]).await?;
    let retry = || {
        let mut write = world.write(world.here, at(5), &[]);
        write.retry_of = Some(job_id);
        world.store.write_accept(&world.all, write, None)
    };
    assert_conflict(retry().await);
    let ticket = world.claim_one(at(0)).await?;
    assert_conflict(retry().await);
    let (_, verdict) = world.delivered("x1");
    world.finish(ticket, verdict, at(1)).await?;
    assert_conflict(retry().await);
    assert_eq!(world.store.queue_depth().await?.open, 0);
    Ok(())
}

pub async fn a_failed_write_is_retried_once_and_so_is_its_repeat<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let mut job_id = world.accept_here(&[1]).await?;
    for _ in 0..3 {
        let ticket = world.claim_one(at(6)).await?;
        world.finish(ticket, failed("no"), at(6)).await?;
        let mut repeat = world.write(world.here, at(6), &[1]);
        repeat.retry_of = Some(job_id);
        let repeat_id = world.accept(repeat).await?;
        let mut second = world.write(world.here, at(6), &[1]);
        second.retry_of = Some(job_id);
        assert_conflict(world.store.write_accept(&world.all, second, None).await);
        let former = world.find(job_id).await?;
        assert_stands(&former, WriteStatus::Failure, None, &["no"]);
        job_id = repeat_id;
    }
    assert_eq!(jobs(&world.claim(at(6)).await?), [job_id]);
    Ok(())
}

pub async fn one_of_many_concurrent_retries_is_accepted<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let job_id = world.accept_here(&[]).await?;
    let ticket = world.claim_one(at(0)).await?;
    world.finish(ticket, failed("no"), at(0)).await?;
    let mut tasks = Answers::new();
    for _ in 0..20 {
        let mut write = world.write(world.here, at(1), &[]);
        write.retry_of = Some(job_id);
        world.hand_in(&mut tasks, write, None);
    }
    let mut accepted = 0;
    while let Some(done) = tasks.join_next().await {
        match done?.2 {
            Ok(Acceptance::Accepted) => accepted += 1,
            other => assert_conflict(other),
        }
    }
    assert_eq!(accepted, 1);
    assert_eq!(world.claim(at(1)).await?.len(), 1);
    Ok(())
}

pub async fn the_queue_depth_counts_what_has_not_ended<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    assert_eq!(world.store.queue_depth().await?, Depth::default());
    let depth = |open: u64, oldest: i64| Depth {
        open,
        oldest_queued_at: Some(at(oldest)),
    };
    world.accept(world.write(world.here, at(1), &[1])).await?;
    world.accept(world.write(world.here, at(2), &[1])).await?;
    world.accept(world.write(world.there, at(3), &[])).await?;
    assert_eq!(world.store.queue_depth().await?, depth(3, 1));
    let ticket = world.claim_one(at(4)).await?;
    assert_eq!(world.store.queue_depth().await?, depth(3, 1));
    world.finish(ticket, failed("no"), at(4)).await?;
    world.restart().await?;
    assert_eq!(world.store.queue_depth().await?, depth(2, 2));
    let ticket = world.claim_one(at(5)).await?;
    let (_, verdict) = world.delivered("x1");
    world.finish(ticket, verdict, at(5)).await?;
    assert_eq!(world.store.queue_depth().await?, depth(1, 3));
    Ok(())
}

pub async fn a_closed_store_refuses<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    world.store.check().await?;
    world.store.close().await;
    world.store.close().await;
    let closed = |why: Option<Error>| matches!(why, Some(Error::Closed));
    assert!(closed(world.store.check().await.err()));
    let write = world.write(world.here, at(0), &[]);
    let job_id = write.job_id;
    assert!(closed(world.accept_once(write, once(1, 1)).await.err()));
    assert!(closed(world.is_known(job_id).await.err()));
    assert!(closed(world.store.directory_revision().await.err()));
    world.restart().await?;
    world.store.check().await?;
    assert!(!world.is_known(job_id).await?);
    Ok(())
}

pub async fn a_write_is_kept_out_by_an_open_one_that_blocks_it<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let first = world.accept_here(&[1]).await?;
    let update = |operations: &'static [Operation], key: i64| {
        let mut write = world.write(world.here, at(1), &[key]);
        write.operation = Operation::ProspectUpdate;
        write.blocked_by = vec![Block { key, operations }];
        write
    };
    let creates: &[Operation] = &[Operation::ProspectCreate];
    assert_conflict(
        world
            .store
            .write_accept(&world.all, update(creates, 1), None)
            .await,
    );
    world
        .accept(update(&[Operation::ProspectUpdate], 1))
        .await?;
    world.accept(update(creates, 2)).await?;
    let again = update(creates, 1);
    world.restart().await?;
    assert_conflict(world.store.write_accept(&world.all, again, None).await);
    let claimed = world.claim(at(2)).await?;
    assert_eq!(claimed[0].job_id, first);
    world.finish(claimed[0].ticket, failed("no"), at(3)).await?;
    let mut write = world.write(world.here, at(4), &[1]);
    write.blocked_by = vec![Block {
        key: 1,
        operations: creates,
    }];
    world.accept(write).await?;
    Ok(())
}
