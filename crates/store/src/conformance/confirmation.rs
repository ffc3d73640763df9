//! What a vendor's confirmation makes of records: of the one that was meant, of what it takes the place of, and of whom else it touches.

#![expect(missing_docs, reason = "a case's name is its sentence")]

use model::{
    JobId, Timestamp,
    record::Kind,
    write::{Class, NewWrite, Operation, Outcome, Touched, WriteStatus},
};
use serde_json::{Value, json};

use super::{Answer, Backend, Verdicts, World, assert_stands, at, attempt, failed, listed};
use crate::{Finish, Verdict};

/// Has `write` accepted and confirmed under the vendor's id, if it gives one. Returns its job and the record's id should it be new.
async fn confirm<B: Backend>(
    world: &World<B>,
    write: NewWrite,
    x_id: Option<&str>,
    now: Timestamp,
) -> Answer<(JobId, String)> {
    let kind = write.operation.kind();
    let job_id = world.accept(write).await?;
    let ticket = world.claim_one(now).await?;
    let record_id = kind.new_id(now, &*world.entropy);
    let verdict = Verdict::Delivered {
        x_id: x_id.map(str::to_owned),
        record_id: record_id.clone(),
        errors: Vec::new(),
    };
    world.finish(ticket, verdict, now).await?;
    Ok((job_id, record_id))
}

pub async fn an_update_is_of_the_record_that_was_meant_or_says_so<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let create = world.write(world.here, at(0), &[]);
    let (_, meant) = confirm(&world, create, Some("x1"), at(1)).await?;
    let update = |seconds| {
        let mut write = world.write(world.here, at(seconds), &[]);
        write.operation = Operation::ProspectUpdate;
        write.confirmed.subject = Some(meant.clone());
        write.confirmed.update = json!({ "first_name": "Eve" });
        write
    };
    let (job_id, _) = confirm(&world, update(2), Some("x1"), at(3)).await?;
    let found = world.find(job_id).await?;
    assert_stands(&found, WriteStatus::Success, Some(Outcome::Updated), &[]);
    assert_eq!(found.record_id.as_ref(), Some(&meant));
    assert_eq!(found.subject.as_ref(), Some(&meant));
    let changed = world.prospect(&meant).await?;
    assert_eq!(changed.first_name.as_deref(), Some("Eve"));

    let (job_id, other) = confirm(&world, update(4), Some("x2"), at(5)).await?;
    let found = world.find(job_id).await?;
    assert_eq!(found.status, WriteStatus::PartialSuccess);
    assert_eq!(found.record_id, Some(other.clone()));
    assert!(found.errors[0].contains(&meant) && found.errors[0].contains(&other));
    let unchanged = world.prospect(&meant).await?;
    assert_eq!(unchanged.updated_at, at(3).to_string());
    Ok(())
}

pub async fn what_has_no_vendor_id_is_stored_all_the_same<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    for n in 0..2 {
        let mut write = world.write(world.here, at(n), &[]);
        write.operation = Operation::EventCreate;
        let (job_id, id) = confirm(&world, write, None, at(n)).await?;
        let found = world.find(job_id).await?;
        assert_stands(&found, WriteStatus::Success, Some(Outcome::Created), &[]);
        let record = world
            .store
            .record_find(&world.all, Kind::Event, &id)
            .await?
            .ok_or("the event is stored")?;
        assert_eq!(record.x_id, None);
    }
    Ok(())
}

pub async fn what_cannot_be_a_vendor_id_ends_its_write_in_words<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    // Letters that do not repeat, so that no index could make them shorter.
    let long: String = (0..5_000)
        .map(|_| char::from(b'!' + u8::try_from(world.entropy.below(90)).unwrap_or(0)))
        .collect();
    let mut records = std::collections::HashSet::new();
    for (n, x_id) in ["", "a\0b", "two\nlines", long.as_str()].iter().enumerate() {
        let now = at(i64::try_from(n)?);
        let write = world.write(world.here, now, &[]);
        let (job_id, id) = confirm(&world, write, Some(x_id), now).await?;
        let found = world.find(job_id).await?;
        assert_eq!(found.status, WriteStatus::PartialSuccess, "{x_id:?}");
        assert!(
            found.errors[0].contains("cannot be kept"),
            "{:?}",
            found.errors
        );
        assert!(found.errors[0].len() < 1_000, "{:?}", found.errors);
        assert_eq!(found.record_id.as_ref(), Some(&id));
        let record = world
            .store
            .record_find(&world.all, Kind::Prospect, &id)
            .await?
            .ok_or("it is stored")?;
        assert_eq!(record.x_id, None);
        records.insert(id);
    }
    assert_eq!(records.len(), 4, "each is a record of its own");
    Ok(())
}

pub async fn a_vendor_may_say_whatever_it_likes<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let odd = "nul \0, quote \", backslash \\u0000, \u{1f600} and \u{7f}".to_owned();
    let job_id = world.accept_here(&[]).await?;
    let ticket = world.claim_one(at(0)).await?;
    let mut attempt = attempt(ticket.attempt, Class::Unknown, at(0));
    attempt.error = Some(odd.clone());
    attempt.reply.body = Some(odd.clone());
    let verdict = Verdict::Again {
        at: at(1),
        errors: vec![odd.clone()],
    };
    let finish = Finish {
        ticket,
        attempt: attempt.clone(),
        verdict,
        pause_until: None,
        now: at(0),
    };
    world.store.attempt_finish(&finish).await?;
    // What it said keeps nothing from being claimed, nor from being known as not known.
    let claimed = world.claim(at(2)).await?;
    assert_eq!(claimed.len(), 1);
    assert!(claimed[0].may_be_held);
    world.finish(claimed[0].ticket, failed(&odd), at(3)).await?;
    let found = world.find(job_id).await?;
    assert_stands(&found, WriteStatus::Failure, None, &[odd.as_str()]);
    let attempts = world.store.attempts_list(&world.all, job_id).await?;
    assert_eq!(attempts[0], attempt);
    // Nor is anything found under what nobody has.
    for id in ["a\0b", "\0"] {
        let found = world.store.record_find(&world.all, Kind::Prospect, id);
        assert!(found.await?.is_none());
    }
    Ok(())
}

pub async fn an_appointment_takes_the_place_of_an_upcoming_one<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let book = |seconds: i64, community: &str, email: &str, starts_at| {
        let mut write = world.write(world.here, at(seconds), &[]);
        write.operation = Operation::AppointmentCreate;
        write.confirmed.create = json!({
            "community_id": community, "email_1": email, "starts_at": starts_at, "status": "CONFIRMED",
        });
        write.confirmed.update = json!({ "starts_at": starts_at });
        write.confirmed.replaces = vec![("email_1".to_owned(), email.to_owned())];
        write
    };
    let (past, soon, later) = (at(5), at(1_000), at(2_000));
    let (_, gone) = confirm(
        &world,
        book(0, "c1", "a@example.com", past),
        Some("1"),
        at(0),
    )
    .await?;
    let (_, first) = confirm(
        &world,
        book(10, "c1", "a@example.com", soon),
        Some("2"),
        at(10),
    )
    .await?;
    for (community, email) in [("c2", "a@example.com"), ("c1", "b@example.com")] {
        let x_id = format!("{community}{email}");
        let (job_id, _) = confirm(
            &world,
            book(11, community, email, soon),
            Some(&x_id),
            at(11),
        )
        .await?;
        let found = world.find(job_id).await?;
        assert_stands(&found, WriteStatus::Success, Some(Outcome::Created), &[]);
    }
    let (job_id, second) = confirm(
        &world,
        book(12, "c1", "a@example.com", later),
        Some("3"),
        at(12),
    )
    .await?;
    let found = world.find(job_id).await?;
    assert_stands(&found, WriteStatus::Success, Some(Outcome::Replaced), &[]);
    // The same again is the same, and the vendor moving it under its old id is a replacement too.
    let (job_id, _) = confirm(
        &world,
        book(13, "c1", "a@example.com", later),
        Some("3"),
        at(13),
    )
    .await?;
    assert_eq!(world.find(job_id).await?.outcome, Some(Outcome::Matched));
    let (job_id, _) = confirm(
        &world,
        book(14, "c1", "a@example.com", soon),
        Some("3"),
        at(14),
    )
    .await?;
    assert_eq!(world.find(job_id).await?.outcome, Some(Outcome::Replaced));
    let mut stands = Vec::new();
    for id in [&gone, &first, &second] {
        let record = world
            .store
            .record_find(&world.all, Kind::Appointment, id)
            .await?
            .ok_or("an appointment stays")?;
        stands.push((
            record.body["status"].clone(),
            record.body["replaced_by"].clone(),
        ));
    }
    let none = Value::Null;
    assert_eq!(
        stands,
        [
            ("CONFIRMED".into(), none.clone()),
            ("REPLACED".into(), second.into()),
            ("CONFIRMED".into(), none)
        ]
    );
    Ok(())
}

pub async fn what_the_vendor_gives_no_id_is_known_by_what_identifies_it<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let list = |seconds: i64, community: &str, title: &str| {
        let mut write = world.write(world.here, at(seconds), &[]);
        write.operation = Operation::ListingCreate;
        let body = json!({ "community_id": community, "url": "u", "title": title });
        write.confirmed.create = body.clone();
        write.confirmed.update = body;
        write.confirmed.identity = Some(("url".to_owned(), "u".to_owned()));
        write
    };
    let (_, first) = confirm(&world, list(0, "c1", "old"), None, at(0)).await?;
    let (job_id, _) = confirm(&world, list(1, "c1", "new"), Some("7"), at(1)).await?;
    let found = world.find(job_id).await?;
    assert_stands(&found, WriteStatus::Success, Some(Outcome::Updated), &[]);
    assert_eq!(found.record_id.as_ref(), Some(&first));
    let (job_id, _) = confirm(&world, list(2, "c1", "newer"), None, at(2)).await?;
    assert_eq!(world.find(job_id).await?.record_id.as_ref(), Some(&first));
    let (job_id, _) = confirm(&world, list(3, "c2", "elsewhere"), None, at(3)).await?;
    assert_eq!(world.find(job_id).await?.outcome, Some(Outcome::Created));
    let page = world
        .store
        .records_list(&world.all, &listed(Kind::Listing, 0, 10))
        .await?;
    assert_eq!(page.total, Some(2));
    assert_eq!(
        page.rows[1].x_id.as_deref(),
        Some("7"),
        "the id that it gave at last"
    );
    assert_eq!(page.rows[1].body["title"], "newer");
    Ok(())
}

pub async fn a_write_about_something_else_reaches_the_prospect_that_it_touches<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    for (n, x_id, email, phone, is_deleted) in [
        (0, "x0", "b@example.com", "+12065550100", true),
        (0, "x1", "a@example.com", "+12065550111", false),
        (1, "x2", "b@example.com", "+12065550122", false),
    ] {
        let mut write = world.write(world.here, at(n), &[]);
        let body = json!({ "community_id": "c1", "email_1": email, "phone_1": phone, "is_deleted": is_deleted });
        write.confirmed.create = body;
        confirm(&world, write, Some(x_id), at(n)).await?;
    }
    // The first of the contacts that anybody has decides: the email is the last one's, the phone another's. Who was merged is not met.
    let mut write = world.write(world.here, at(2), &[]);
    write.operation = Operation::AppointmentCreate;
    write.confirmed.create = json!({ "community_id": "c1", "status": "CONFIRMED" });
    write.confirmed.prospect = Some(Touched {
        by: vec![
            ("email_1".to_owned(), "b@example.com".to_owned()),
            ("phone_1".to_owned(), "+12065550111".to_owned()),
        ],
        update: json!({ "phone_1": "+12065550111" }),
    });
    let (_, id) = confirm(&world, write, Some("t1"), at(2)).await?;
    let page = world
        .store
        .records_list(&world.all, &listed(Kind::Prospect, 0, 10))
        .await?;
    let [second, first, merged] = &page.rows[..] else {
        return Err("three prospects".into());
    };
    assert_eq!(merged.body["phone_1"], "+12065550100");
    assert_eq!(second.body["phone_1"], "+12065550111");
    assert!(
        first.updated_at < second.updated_at,
        "the other is left alone"
    );
    let tour = world
        .store
        .record_find(&world.all, Kind::Appointment, &id)
        .await?
        .ok_or("the tour is stored")?;
    assert_eq!(tour.body["prospect_id"], second.id.as_str());
    Ok(())
}

pub async fn an_odd_answer_is_told_and_harms_no_other_record<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let create = |seconds: i64, community: &str, name: &str| {
        let mut write = world.write(world.here, at(seconds), &[]);
        let body = json!({ "community_id": community, "first_name": name });
        write.confirmed.create = body.clone();
        write.confirmed.update = body;
        write
    };
    let (_, id) = confirm(&world, create(0, "c1", "Ada"), Some("x1"), at(0)).await?;
    let (job_id, _) = confirm(&world, create(1, "c2", "Eve"), Some("x1"), at(1)).await?;
    let found = world.find(job_id).await?;
    assert_eq!(found.status, WriteStatus::PartialSuccess);
    assert!(found.errors[0].contains("another community") && found.errors[0].contains(&id));
    assert_eq!(
        world.prospect(&id).await?.first_name.as_deref(),
        Some("Ada")
    );

    let merged = crate::history::Seen {
        kind: Kind::Prospect,
        x_id: "x1".to_owned(),
        asked_at: at(9),
        update: serde_json::Map::from_iter([("is_deleted".to_owned(), json!(true))]),
        add: Vec::new(),
        create: None,
        is_gone: false,
    };
    world
        .store
        .sync_record(world.here, job_id, vec![merged], at(2))
        .await?;
    let (job_id, _) = confirm(&world, create(3, "c1", "Ada"), Some("x1"), at(3)).await?;
    let found = world.find(job_id).await?;
    assert_eq!(found.status, WriteStatus::PartialSuccess);
    assert!(
        found.errors[0].contains("merged or deleted"),
        "{:?}",
        found.errors
    );
    Ok(())
}
