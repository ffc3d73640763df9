//! Forgetting a person, and what is kept for a time.

use model::{
    Actor, JobId, Timestamp,
    record::Kind,
    write::{Class, NewWrite, Outcome, WriteStatus},
};
use serde_json::{Value, json};

use super::{Answer, Backend, Verdicts, World, assert_conflict, at, attempt, failed, listed, once};
use crate::{Acceptance, Finish, erasure::privacy::Erasure, logs::history::DiffQuery};

impl<B: Backend> World<B> {
    /// A write of a prospect with these contacts.
    fn of_person(&self, accepted_at: Timestamp, contacts: &Value) -> NewWrite {
        let mut write = self.write(self.here, accepted_at, &[]);
        let mut person = json!({ "community_id": self.community, "first_name": "Zoë" });
        for (name, value) in contacts.as_object().into_iter().flatten() {
            person[name] = value.clone();
        }
        write.confirmed.create = person;
        write.confirmed.update = contacts.clone();
        write
    }

    /// Has a prospect made, or met, under the vendor's id. Returns its id and the write.
    pub(super) async fn made(
        &self,
        x_id: &str,
        contacts: Value,
        now: Timestamp,
    ) -> Answer<(String, JobId)> {
        let job_id = self.accept(self.of_person(now, &contacts)).await?;
        let ticket = self.claim_one(now).await?;
        let (_, verdict) = self.delivered(x_id);
        self.finish(ticket, verdict, now).await?;
        let record_id = self.find(job_id).await?.record_id;
        Ok((record_id.ok_or("it made or met a record")?, job_id))
    }

    /// Has a write about these contacts fail.
    pub(super) async fn failure(&self, contacts: Value, now: Timestamp) -> Answer<JobId> {
        let job_id = self.accept(self.of_person(now, &contacts)).await?;
        let ticket = self.claim_one(now).await?;
        self.finish(ticket, failed("Zoë was refused"), now).await?;
        Ok(job_id)
    }

    async fn erase(&self, id: &str, now: Timestamp) -> Answer<Erasure> {
        let erasure = self
            .store
            .prospect_erase(&Actor::local(self.all.clone()), id, now)
            .await?;
        Ok(erasure.ok_or("the prospect is known")?)
    }

    /// Whether a write says nothing of a person any more, and its row stands.
    async fn is_stripped(&self, job_id: JobId) -> Answer<bool> {
        let write = self.find(job_id).await?;
        let attempts = self.store.attempts_list(&self.all, job_id).await?;
        let is_bare = write.result.is_empty()
            && write.call.is_none()
            && !write.errors.iter().any(|error| error.contains("Zoë"))
            && attempts.is_empty();
        assert_eq!(is_bare, write.stripped_at.is_some(), "all of it or nothing");
        assert_eq!(write.attempts, 1, "how often it was tried stays");
        assert_ne!(write.completed_at, None);
        Ok(is_bare)
    }
}

/// All that is a person's goes: by its id, and by their contacts, those they had before too. What is another's stays, though they share a contact.
pub async fn a_person_is_forgotten_and_others_are_not(backend: impl Backend) -> Verdicts {
    let mut world = World::new(backend).await?;
    let (zoe, first) = world
        .made(
            "x1",
            json!({ "email_1": "Zoe@example.com", "phone_1": "+12065550101" }),
            at(1),
        )
        .await?;
    // Known by another address since, and sharing a phone with somebody.
    let (same, second) = world
        .made("x1", json!({ "email_1": "zoe@later.example" }), at(2))
        .await?;
    assert_eq!(same, zoe);
    let (other, others) = world
        .made(
            "x2",
            json!({ "email_1": "max@example.com", "phone_1": "+12065550101" }),
            at(3),
        )
        .await?;
    let by_old = world
        .failure(json!({ "email_1": "zoe@EXAMPLE.com" }), at(4))
        .await?;
    let by_both = world
        .failure(
            json!({ "email_1": "zoe@later.example", "phone_1": "+12065550109" }),
            at(5),
        )
        .await?;
    let of_max = world
        .failure(
            json!({ "email_1": "max@example.com", "phone_1": "+12065550101" }),
            at(6),
        )
        .await?;
    let of_none = world
        .failure(json!({ "email_1": "eve@example.com" }), at(7))
        .await?;
    let max = world.prospect(&other).await?;
    let stranger = Actor::local(world.theirs.clone());
    let theirs = world.store.prospect_erase(&stranger, &zoe, at(9));
    assert!(theirs.await?.is_none(), "it is not for others to forget");

    let erasure = world.erase(&zoe, at(10)).await?;
    let counts = erasure.counts;
    assert_eq!(
        (counts.writes, counts.attempts, counts.records, counts.diffs),
        (4, 4, 1, 1)
    );
    world.restart().await?;
    for job_id in [first, second, by_old, by_both] {
        assert!(world.is_stripped(job_id).await?);
    }
    for job_id in [others, of_max, of_none] {
        assert!(!world.is_stripped(job_id).await?);
    }
    let gone = world.prospect(&zoe).await?;
    assert_eq!(gone.erased_at, Some(at(10).to_string()));
    assert_eq!(
        (gone.x_id, gone.email_1, gone.phone_1, gone.first_name),
        (None, None, None, None)
    );
    assert_eq!(gone.community_id, Some(world.community.to_string()));
    assert!(world.prospect(&other).await? == max);
    let diffs = DiffQuery {
        record_id: Some(zoe.clone()),
        limit: 10,
        ..DiffQuery::default()
    };
    assert!(
        world
            .store
            .diffs_list(&world.all, &diffs)
            .await?
            .rows
            .is_empty()
    );
    let write = world.find(second).await?;
    assert_eq!(
        (write.status, write.outcome, write.record_id),
        (
            WriteStatus::Success,
            Some(Outcome::Matched),
            Some(zoe.clone())
        )
    );
    assert_eq!(world.erase(&zoe, at(11)).await?, erasure, "twice is once");

    // The vendor's id is free: who comes again is somebody new.
    let (anew, _) = world
        .made("x1", json!({ "email_1": "zoe@later.example" }), at(12))
        .await?;
    assert_ne!(anew, zoe);
    let page = world
        .store
        .records_list(&world.all, &listed(Kind::Prospect, 0, 10))
        .await?;
    assert_eq!(page.total, Some(3));
    let candidates = world.store.sync_candidates(world.here, 10, 10).await?;
    assert_eq!(candidates.len(), 2, "who was forgotten is not asked for");
    Ok(())
}

/// While a write about the person is open nothing is removed, and the refusal names it.
pub async fn an_open_write_keeps_a_person_from_being_forgotten(backend: impl Backend) -> Verdicts {
    let world = World::new(backend).await?;
    let contacts = json!({ "email_1": "zoe@example.com" });
    let (zoe, first) = world.made("x1", contacts.clone(), at(1)).await?;
    let open = world.accept(world.of_person(at(2), &contacts)).await?;
    let refused = world
        .store
        .prospect_erase(&Actor::local(world.all.clone()), &zoe, at(3))
        .await;
    assert!(
        refused
            .as_ref()
            .is_err_and(|why| why.to_string().contains(&open.to_string())),
        "{refused:?}"
    );
    assert_conflict(refused);
    assert!(!world.is_stripped(first).await?);
    let ticket = world.claim_one(at(4)).await?;
    world.finish(ticket, failed("Zoë again"), at(4)).await?;
    assert_eq!(world.erase(&zoe, at(5)).await?.counts.writes, 2);
    Ok(())
}

/// Nothing about a forgotten person comes in any more: no write, no retry, no replay, no late answer.
pub async fn nothing_comes_back_of_a_forgotten_person(backend: impl Backend) -> Verdicts {
    let world = World::new(backend).await?;
    let contacts = json!({ "email_1": "zoe@example.com" });
    let (zoe, _) = world.made("x1", contacts.clone(), at(1)).await?;
    let write = world.of_person(at(2), &contacts);
    let job_id = write.job_id;
    world
        .store
        .write_accept(&world.all, write, Some(once(1, 1)))
        .await?;
    let ticket = world.claim_one(at(2)).await?;
    world
        .finish(ticket, failed("Zoë was refused"), at(2))
        .await?;
    world.erase(&zoe, at(3)).await?;

    let mut about = world.of_person(at(4), &contacts);
    about.confirmed.subject = Some(zoe.clone());
    assert_conflict(world.store.write_accept(&world.all, about, None).await);
    let mut event = world.of_person(at(4), &contacts);
    event.confirmed.create = json!({ "prospect_id": zoe });
    assert_conflict(world.store.write_accept(&world.all, event, None).await);
    let mut retry = world.of_person(at(4), &contacts);
    retry.retry_of = Some(job_id);
    assert_conflict(world.store.write_accept(&world.all, retry, None).await);
    for other_body in [1, 2] {
        let again = once(1, other_body);
        let gone = Acceptance::Erased { at: at(3) };
        let found = world.store.replay_find(&world.all, &again).await?;
        assert_eq!(found, Some(gone.clone()));
        let repeat = world.of_person(at(4), &json!({ "email_1": "zoe@example.com" }));
        let found = world.store.write_accept(&world.all, repeat, Some(again));
        assert_eq!(found.await?, gone);
    }
    let late = Finish {
        ticket,
        attempt: attempt(ticket.attempt, Class::Rejected, at(5)),
        verdict: failed("Zoë, late"),
        pause_until: None,
        now: at(5),
    };
    let status = world.store.attempt_finish(&late).await?;
    assert_eq!(status, WriteStatus::Failure);
    assert!(world.is_stripped(job_id).await?);
    Ok(())
}

/// Attempts, and then contents, of writes that ended long ago go, so many at a time; open ones stay.
pub async fn what_ended_long_ago_goes_a_bounded_number_at_a_time(
    backend: impl Backend,
) -> Verdicts {
    let world = World::new(backend).await?;
    let mut old = Vec::new();
    for second in 1..=5 {
        let (_, job_id) = world
            .made(
                &second.to_string(),
                json!({ "email_1": format!("p{second}@example.com") }),
                at(second),
            )
            .await?;
        old.push(job_id);
    }
    let open = world.accept_here(&[]).await?;
    let store = &world.store;
    assert_eq!(
        store.attempts_sweep(at(3), 10).await?,
        2,
        "those that ended before"
    );
    assert_eq!(store.attempts_sweep(at(9), 2).await?, 2);
    assert_eq!(store.attempts_sweep(at(9), 2).await?, 1);
    assert_eq!(store.attempts_sweep(at(9), 2).await?, 0);
    for job_id in &old {
        assert!(store.attempts_list(&world.all, *job_id).await?.is_empty());
        assert_ne!(world.find(*job_id).await?.result, "");
    }
    assert_eq!(store.writes_sweep(at(9), 3, at(9)).await?, 3);
    assert_eq!(store.writes_sweep(at(9), 3, at(9)).await?, 2);
    assert_eq!(store.writes_sweep(at(9), 3, at(9)).await?, 0);
    for job_id in old {
        assert!(world.is_stripped(job_id).await?);
    }
    assert_eq!(world.find(open).await?.stripped_at, None);
    Ok(())
}
