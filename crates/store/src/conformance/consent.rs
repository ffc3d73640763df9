//! What was agreed to.

use model::Consent;

use super::{Acceptance, Backend, Verdicts, World, assert_conflict, at, failed, once};
use crate::records::consents::{ConsentEvent, ConsentQuery};

const SAID_NO: Consent = Consent {
    value: false,
    is_stated: true,
};
const SAID_NOTHING: Consent = Consent {
    value: true,
    is_stated: false,
};

fn of(prospect_id: &str) -> ConsentQuery {
    ConsentQuery {
        prospect_id: prospect_id.to_owned(),
        offset: 0,
        limit: 10,
    }
}

impl<B: Backend> World<B> {
    async fn consents(&self, prospect_id: &str) -> super::Answer<Vec<ConsentEvent>> {
        let page = self
            .store
            .consents_list(&self.all, &of(prospect_id))
            .await?
            .ok_or("the prospect is known")?;
        assert_eq!(page.total, Some(page.rows.len() as u64));
        Ok(page.rows)
    }
}

/// An event is stored with its write, belongs to the prospect that the write made or met, and is there for who may see that; a replay adds none.
pub async fn an_event_comes_with_its_write(backend: impl Backend) -> Verdicts {
    let mut world = World::new(backend).await?;
    let (record_id, verdict) = world.delivered("x1");
    let mut jobs = Vec::new();
    for (second, consent) in [(1, Some(SAID_NO)), (2, None), (3, Some(SAID_NOTHING))] {
        let mut write = world.write(world.here, at(second), &[]);
        write.consent = consent;
        write.request_id = format!("request-{second}");
        jobs.push(world.accept(write).await?);
        let ticket = world.claim_one(at(second)).await?;
        world.finish(ticket, verdict.clone(), at(second)).await?;
    }
    world.restart().await?;
    let events = world.consents(&record_id).await?;
    let shown: Vec<_> = events
        .iter()
        .map(|one| (one.job_id, one.consent, one.at, one.request_id.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            (jobs[2], SAID_NOTHING, at(3), "request-3"),
            (jobs[0], SAID_NO, at(1), "request-1"),
        ],
        "newest first, of the writes that say something"
    );
    assert_eq!(events[0].key_id, world.all.key());
    assert_eq!(
        (events[0].integration_id, events[0].community_id),
        (world.here, world.community)
    );
    let asked = of(&record_id);
    let theirs = world.store.consents_list(&world.theirs, &asked).await?;
    assert!(theirs.is_none());

    let mut write = world.write(world.here, at(4), &[]);
    write.consent = Some(SAID_NO);
    for _ in 0..2 {
        let mut twin = world.write(world.here, at(4), &[]);
        twin.consent = Some(SAID_NO);
        world
            .store
            .write_accept(&world.all, twin, Some(once(1, 1)))
            .await?;
    }
    let replayed = world
        .store
        .write_accept(&world.all, write, Some(once(1, 1)))
        .await?;
    assert!(matches!(replayed, Acceptance::Replayed { .. }));
    let ticket = world.claim_one(at(4)).await?;
    world.finish(ticket, verdict, at(4)).await?;
    assert_eq!(world.consents(&record_id).await?.len(), 3);
    Ok(())
}

/// A retry, and its retry, name the write that first said what they say; a refused one adds nothing.
pub async fn a_retry_names_who_first_said_it(backend: impl Backend) -> Verdicts {
    let world = World::new(backend).await?;
    let mut write = world.write(world.here, at(0), &[]);
    write.consent = Some(SAID_NO);
    let first = world.accept(write).await?;
    let mut last = first;
    for second in 1..3 {
        let ticket = world.claim_one(at(second)).await?;
        world.finish(ticket, failed("no"), at(second)).await?;
        let retry = || {
            let mut retry = world.write(world.here, at(second), &[]);
            retry.retry_of = Some(last);
            retry.consent = Some(SAID_NO);
            retry
        };
        let again = world.accept(retry()).await?;
        assert_conflict(world.store.write_accept(&world.all, retry(), None).await);
        last = again;
    }
    let ticket = world.claim_one(at(3)).await?;
    let (record_id, verdict) = world.delivered("x1");
    world.finish(ticket, verdict, at(3)).await?;
    let events = world.consents(&record_id).await?;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].job_id, events[0].repeats_job_id),
        (last, Some(first))
    );
    Ok(())
}
