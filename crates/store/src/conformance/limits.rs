//! What holds for all who call a vendor together, in whichever process they are: how many calls are under way, how fast they begin, and that it is left alone.

#![expect(missing_docs, reason = "a case's name is its sentence")]

use model::{
    IntegrationId, Timestamp,
    resources::integration::{Change, IntegrationUpdate},
    write::{Class, WriteStatus},
};
use tokio::task::JoinSet;

use super::{
    Answer, Backend, Verdicts, World, again, ask, at, attempt, integration, jobs, lapse, operator,
    unlimited,
};
use crate::{Ask, Claim, Finish, Lapse, Registration, Ticket};

/// A call a second, and no more at once.
const SECOND: Option<i64> = Some(1_000_000);

/// The longest that a lane which others fill is left before it is asked again.
const SOON_MS: i64 = 250;

impl<B: Backend> World<B> {
    async fn accept_many(&self, id: IntegrationId, count: usize) -> Verdicts {
        for _ in 0..count {
            self.accept(self.write(id, at(0), &[])).await?;
        }
        Ok(())
    }

    /// The write that `ticket` is of is to be tried again at `at`; its vendor asked to be left alone until `pause_until`.
    async fn pause(
        &self,
        ticket: Ticket,
        pause_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Answer<WriteStatus> {
        let finish = Finish {
            ticket,
            attempt: attempt(ticket.attempt, Class::Retry, now),
            verdict: again(at(9_999), "busy"),
            pause_until,
            now,
        };
        Ok(self.store.attempt_finish(&finish).await?)
    }
}

/// What a claimer asks that can take `limit`.
const fn at_most(concurrency: u32, integration_id: IntegrationId, limit: u32) -> Ask {
    Ask {
        concurrency,
        ..unlimited(integration_id, limit)
    }
}

const fn paced(gap_micros: Option<i64>, integration_id: IntegrationId, limit: u32) -> Ask {
    Ask {
        gap_micros,
        ..unlimited(integration_id, limit)
    }
}

pub async fn claimers_together_hold_as_many_as_may_be_under_way<B: Backend>(
    backend: B,
) -> Verdicts {
    let mut world = World::new(backend).await?;
    let (here, there) = (world.here, world.there);
    let mut elsewhere = world.elsewhere().await?;
    world.accept_many(here, 12).await?;
    world.accept_many(there, 5).await?;
    let first = ask(&world.store, at_most(4, here, 3), at(1), at(20)).await?;
    assert_eq!((first.writes.len(), first.not_before), (3, None));
    // The second could take as many, and gets what is left.
    let second = ask(&elsewhere, at_most(4, here, 4), at(1), at(20)).await?;
    assert_eq!((second.writes.len(), second.next_due_at), (1, Some(at(0))));
    let soon = second.not_before.ok_or("others fill it")?;
    assert!(soon > at(1) && soon <= at(1).plus_millis(SOON_MS));
    for now in [at(1), soon] {
        let none = ask(&elsewhere, at_most(4, here, 3), now, at(20)).await?;
        assert_eq!(none.writes.len(), 0);
        assert!(none.not_before > Some(now), "it is not asked all the time");
    }
    let other = ask(&world.store, at_most(4, there, 9), at(1), at(20)).await?;
    assert_eq!(other.writes.len(), 4, "another integration's are its own");

    // Whoever comes later, also in another process, finds them held.
    world.restart().await?;
    elsewhere = world.elsewhere().await?;
    let none = ask(&elsewhere, at_most(4, here, 4), at(2), at(20)).await?;
    assert_eq!(none.writes.len(), 0);
    world.pause(first.writes[0].ticket, None, at(2)).await?;
    let one = ask(&world.store, at_most(4, here, 4), at(2), at(20)).await?;
    assert_eq!(one.writes.len(), 1, "a place is free");
    let fewer = ask(&world.store, at_most(2, here, 2), at(2), at(20)).await?;
    assert_eq!(fewer.writes.len(), 0, "more are under way than may be now");
    let more = ask(&world.store, at_most(6, here, 6), at(2), at(20)).await?;
    assert_eq!(more.writes.len(), 2);

    // However many ask at once.
    let mut tasks = JoinSet::new();
    for n in 0..20 {
        let store = [&world.store, &elsewhere][n % 2].clone();
        tasks.spawn(async move {
            let claim = Claim {
                lanes: vec![at_most(8, here, 3)],
                now: at(2),
                lease_until: at(20),
            };
            store.writes_claim(claim).await
        });
    }
    let mut given = 0;
    while let Some(done) = tasks.join_next().await {
        given += done??.iter().map(|lane| lane.writes.len()).sum::<usize>();
    }
    assert_eq!(given, 2, "6 were under way");

    // Of those who are gone, too, until their leases lapse.
    let none = ask(&world.store, at_most(8, here, 8), at(25), at(50)).await?;
    assert_eq!(none.writes.len(), 0);
    assert_eq!(lapse(&elsewhere, Lapse::Expired, at(25)).await?, 12);
    let taken_over = ask(&world.store, at_most(8, here, 9), at(25), at(50)).await?;
    assert_eq!(taken_over.writes.len(), 8);
    let held: Vec<_> = jobs(&first.writes)[1..].to_vec();
    assert!(held.iter().all(|id| jobs(&taken_over.writes).contains(id)));
    Ok(())
}

pub async fn claimers_together_keep_to_the_pace<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let here = world.here;
    let mut elsewhere = world.elsewhere().await?;
    for (round, per_minute) in [7_i64, 60, 250].into_iter().enumerate() {
        world.accept_many(here, 300).await?;
        let gap = (60_000_000 + per_minute - 1) / per_minute;
        // Rounds do not see each other: the bucket is full again.
        let begin = at(1_000 * i64::try_from(round)?);
        let (mut now, mut promised) = (begin, begin);
        let mut given: Vec<(Timestamp, usize)> = Vec::new();
        while now < begin.plus_millis(60_000) {
            let wanted = u32::try_from(1 + world.entropy.below(9))?;
            let store = [&world.store, &elsewhere][world.entropy.below(2)];
            let lane = ask(store, paced(Some(gap), here, wanted), now, at(999_999)).await?;
            let count = lane.writes.len();
            if now >= promised {
                assert!(count > 0, "{now}: it said that there would be one");
            }
            assert!(lane.not_before.is_none_or(|at| at > now));
            promised = lane.not_before.unwrap_or(now);
            given.push((now, count));
            // Some ask too early, some late, and some in the same instant.
            let step = match world.entropy.below(4) {
                0 => 0,
                1 => promised.as_micros() - now.as_micros(),
                _ => i64::try_from(world.entropy.below(2 * usize::try_from(gap)?))?,
            };
            now = Timestamp::from_micros(now.as_micros() + step);
            if given.len() == 20 {
                world.restart().await?;
                elsewhere = world.elsewhere().await?;
            }
        }
        let bucket = (per_minute / 60).max(1);
        for (place, (from, _)) in given.iter().enumerate() {
            let mut calls = 0;
            for (at, count) in &given[place..] {
                calls += i64::try_from(*count)?;
                let micros = at.as_micros() - from.as_micros();
                assert!(calls <= micros / gap + bucket + 1, "{calls} in {micros} µs");
            }
        }
        let all: usize = given.iter().map(|(_, count)| count).sum();
        assert!(all > 2, "{all}");
    }
    // Another integration has its own, and none without a limit.
    world.accept_many(world.there, 5).await?;
    let unpaced = paced(None, world.there, 9);
    let other = ask(&world.store, unpaced, at(0), at(9_999)).await?;
    assert_eq!((other.writes.len(), other.not_before), (5, None));
    Ok(())
}

pub async fn a_vendor_that_asked_to_be_left_alone_is_left_alone_by_all<B: Backend>(
    backend: B,
) -> Verdicts {
    let mut world = World::new(backend).await?;
    let (here, there) = (world.here, world.there);
    let mut elsewhere = world.elsewhere().await?;
    world.accept_many(here, 5).await?;
    world.accept_many(there, 1).await?;
    let held = world.lane(here, 3, at(1), at(99)).await?.writes;
    world.pause(held[0].ticket, Some(at(30)), at(2)).await?;
    for _ in 0..2 {
        let none = ask(&elsewhere, unlimited(here, 9), at(29), at(99)).await?;
        assert_eq!((none.writes.len(), none.not_before), (0, Some(at(30))));
        assert_eq!(none.next_due_at, Some(at(0)));
        assert_eq!(
            elsewhere.call_begin(here, None, at(29)).await?,
            Some(at(30)),
            "nor is it asked how things stand"
        );
        world.restart().await?;
        elsewhere = world.elsewhere().await?;
    }
    // The longest counts, and one that says nothing of it changes nothing.
    world.pause(held[1].ticket, Some(at(20)), at(3)).await?;
    world.pause(held[2].ticket, None, at(3)).await?;
    let none = world.lane(here, 9, at(21), at(99)).await?;
    assert_eq!((none.writes.len(), none.not_before), (0, Some(at(30))));
    // Also from an answer that came after its lease had lapsed.
    world.pause(held[1].ticket, Some(at(40)), at(4)).await?;
    let none = world.lane(here, 9, at(39), at(99)).await?;
    assert_eq!(none.not_before, Some(at(40)));
    assert_eq!(world.lane(there, 9, at(5), at(99)).await?.writes.len(), 1);
    assert_eq!(world.store.call_begin(there, None, at(5)).await?, None);
    let back = world.lane(here, 9, at(40), at(99)).await?;
    assert_eq!((back.writes.len(), back.not_before), (2, None));
    assert_eq!(world.store.call_begin(here, None, at(40)).await?, None);
    Ok(())
}

pub async fn synchronisation_takes_what_writes_leave_and_nothing_of_theirs<B: Backend>(
    backend: B,
) -> Verdicts {
    let mut world = World::new(backend).await?;
    let (here, there) = (world.here, world.there);
    let elsewhere = world.elsewhere().await?;
    world.accept_many(here, 3).await?;
    let call = |id, now| world.store.call_begin(id, SECOND, now);
    assert_eq!(call(here, at(10)).await?, None);
    assert_eq!(call(here, at(10)).await?, Some(at(11)), "its own pace");
    assert_eq!(call(there, at(10)).await?, None);
    // A write that comes now goes now, though synchronisation has just had a call.
    let lane = ask(&elsewhere, paced(SECOND, here, 9), at(10), at(99)).await?;
    assert_eq!((lane.writes.len(), lane.not_before), (1, Some(at(11))));
    assert_eq!(
        call(here, at(11)).await?,
        Some(at(12)),
        "the write had this turn"
    );
    world.restart().await?;
    let call = |id, now| world.store.call_begin(id, SECOND, now);
    assert_eq!(call(here, at(11)).await?, Some(at(12)));
    assert_eq!(call(here, at(12)).await?, None);
    assert_eq!(
        world.store.call_begin(here, None, at(12)).await?,
        None,
        "without a limit"
    );
    Ok(())
}

pub async fn an_integration_that_changed_begins_anew<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let here = world.here;
    world.accept_many(here, 20).await?;
    let hour = Some(3_600_000_000);
    let pause = async || -> Verdicts {
        let lane = ask(&world.store, paced(hour, here, 9), at(1), at(99)).await?;
        assert_eq!(lane.writes.len(), 1);
        let ticket = lane.writes[0].ticket;
        world.pause(ticket, Some(at(60)), at(1)).await?;
        let none = ask(&world.store, paced(hour, here, 9), at(2), at(99)).await?;
        assert_eq!((none.writes.len(), none.not_before), (0, Some(at(60))));
        Ok(())
    };
    let change = async |change: Change| {
        let (by, action) = (operator(), "integration_update");
        world
            .store
            .integration_change(&by, here, action, change, at(2))
            .await
    };
    let update = |update| Change {
        update,
        ..Change::default()
    };
    pause().await?;
    let name = IntegrationUpdate {
        name: Some("another".to_owned()),
        ..IntegrationUpdate::default()
    };
    change(update(name)).await?;
    let none = ask(&world.store, paced(hour, here, 9), at(2), at(99)).await?;
    assert_eq!(none.writes.len(), 0, "its name has nothing to do with that");
    for one in [
        Change {
            credential: Some(model::Secret::new("another")),
            ..Change::default()
        },
        update(IntegrationUpdate {
            base_url: Some("http://127.0.0.1:2".to_owned()),
            ..IntegrationUpdate::default()
        }),
        update(IntegrationUpdate {
            max_request_frequency: Some(1),
            ..IntegrationUpdate::default()
        }),
    ] {
        change(one).await?;
        pause().await?;
    }
    let registration = Registration {
        integration: integration(here),
        communities: Vec::new(),
        attributions: Vec::new(),
        agents: Vec::new(),
    };
    world
        .store
        .integration_register(&operator(), registration, at(3))
        .await?;
    pause().await?;
    change(update(IntegrationUpdate {
        max_request_frequency: Some(1_000_000),
        ..IntegrationUpdate::default()
    }))
    .await?;
    // Else a claimer that has not heard of it would keep the others waiting for as long as it had to itself.
    let known = |as_of| Ask {
        as_of: Some(as_of),
        ..paced(hour, here, 9)
    };
    let none = ask(&world.store, known(at(3)), at(4), at(99)).await?;
    assert_eq!((none.writes.len(), none.next_due_at), (0, Some(at(0))));
    let soon = none.not_before.ok_or("it hears of it soon")?;
    assert!(soon > at(4) && soon <= at(4).plus_millis(SOON_MS));
    let lane = ask(&world.store, known(at(2)), at(4), at(99)).await?;
    assert_eq!(lane.writes.len(), 1);
    Ok(())
}
