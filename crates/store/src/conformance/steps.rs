//! Writes that take more calls than one, and the tokens that calls take.

use model::{
    Secret,
    resources::integration::Change,
    write::{AttemptKind, Class},
};

use super::{Backend, Verdicts, World, again, at, attempt, operator};
use crate::{Finish, LastAttempt, VendorLimit};

/// Which call comes next follows from the last, whoever claims the write: it is told with the claim.
pub async fn a_claim_tells_the_last_call<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    world.accept_here(&[]).await?;
    let first = world.claim(at(1)).await?;
    assert_eq!(first[0].last, None);
    let mut ticket = first[0].ticket;
    for (second, kind, class, x_id, told) in [
        (2, AttemptKind::Token, Class::Delivered, None, None),
        (
            3,
            AttemptKind::Write,
            Class::Unknown,
            None,
            Some(AttemptKind::Write),
        ),
        // A call to be let in hides nothing, and one that was not made does neither.
        (
            4,
            AttemptKind::Token,
            Class::Delivered,
            None,
            Some(AttemptKind::Write),
        ),
        (
            4,
            AttemptKind::NoCall,
            Class::Retry,
            None,
            Some(AttemptKind::Write),
        ),
        (
            5,
            AttemptKind::Resolve,
            Class::Retry,
            None,
            Some(AttemptKind::Resolve),
        ),
        (
            6,
            AttemptKind::FollowUp,
            Class::Unknown,
            Some("7"),
            Some(AttemptKind::FollowUp),
        ),
    ] {
        let now = at(second);
        let mut made = attempt(ticket.attempt, class, now);
        made.kind = kind;
        made.x_id = x_id.map(str::to_owned);
        let finish = Finish {
            ticket,
            attempt: made,
            verdict: again(now, "on it goes"),
            pause_until: None,
            now,
        };
        world.store.attempt_finish(&finish).await?;
        world.restart().await?;
        let claimed = world.claim(now).await?;
        ticket = claimed[0].ticket;
        let last = claimed[0].last.clone();
        assert_eq!(last.as_ref().map(|last| last.kind), told, "{second}");
        if kind == AttemptKind::FollowUp {
            let expected = LastAttempt {
                kind,
                class,
                x_id: Some("7".to_owned()),
            };
            assert_eq!(last, Some(expected));
        }
    }
    Ok(())
}

/// A token is fetched by one at a time, kept sealed over a restart, and goes with its credentials.
pub async fn a_token_is_fetched_by_one_and_goes_with_its_credentials<B: Backend>(
    backend: B,
) -> Verdicts {
    let mut world = World::new(backend).await?;
    let id = world.here;
    assert!(world.store.token_find(id).await?.is_none());
    assert!(world.store.token_begin(id, at(1), at(10)).await?);
    assert!(
        !world.store.token_begin(id, at(2), at(12)).await?,
        "another fetches it"
    );
    assert!(
        world.store.token_begin(world.there, at(2), at(12)).await?,
        "of another integration"
    );
    assert!(
        world.store.token_begin(id, at(11), at(20)).await?,
        "its fetcher is gone"
    );
    world.store.token_end(id).await?;
    assert!(
        world.store.token_begin(id, at(12), at(22)).await?,
        "it gave up"
    );
    world
        .store
        .token_put(id, &Secret::new("first"), at(40))
        .await?;
    world.restart().await?;
    let kept = world.store.token_find(id).await?.ok_or("a token")?;
    assert_eq!((kept.secret.expose(), kept.expires_at), ("first", at(40)));
    assert!(
        !world.store.token_begin(id, at(39), at(50)).await?,
        "it is still good"
    );
    // What is refused is over, unless another is there by then.
    world.store.token_expire(id, kept.revision - 1).await?;
    assert!(!world.store.token_begin(id, at(39), at(50)).await?);
    world.store.token_expire(id, kept.revision).await?;
    assert!(world.store.token_begin(id, at(39), at(50)).await?);
    world
        .store
        .token_put(id, &Secret::new("second"), at(80))
        .await?;
    let change = Change {
        credential: Some(Secret::new("another")),
        ..Change::default()
    };
    world
        .store
        .integration_change(&operator(), id, "integration_update", change, at(41))
        .await?;
    assert!(world.store.token_find(id).await?.is_none());
    Ok(())
}

/// What a vendor limits by itself is as far apart as it says; a write that is put back keeps its turn,
/// and no attempt is counted.
pub async fn a_write_is_put_back_until_its_turn<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    for _ in 0..3 {
        world.accept_here(&[]).await?;
    }
    let limits = |key: &str| {
        vec![VendorLimit {
            key: key.to_owned(),
            gap_micros: 10_000_000,
        }]
    };
    let mut turns = Vec::new();
    for write in world.claim(at(1)).await? {
        assert!(!write.has_turn);
        let turn = world
            .store
            .turn_take(world.here, write.ticket, limits("one"), at(1))
            .await?;
        turns.push(turn);
    }
    assert_eq!(turns, [None, Some(at(11)), Some(at(21))]);
    world.restart().await?;
    let first = world.claim(at(11)).await?;
    let (has_turn, attempt) = (first[0].has_turn, first[0].ticket.attempt);
    assert_eq!((first.len(), has_turn, attempt), (1, true, 1));
    // A repeat of it takes another turn.
    let ticket = first[0].ticket;
    world.finish(ticket, again(at(12), "busy"), at(12)).await?;
    let repeat = world.claim(at(12)).await?;
    assert!(!repeat[0].has_turn);
    let turn = world
        .store
        .turn_take(world.here, repeat[0].ticket, limits("one"), at(12))
        .await?;
    assert_eq!(turn, Some(at(31)));
    // Of several limits, the latest turn; nobody waits for another kind.
    let second = world.claim(at(21)).await?;
    let both = [limits("one"), limits("other")].concat();
    let turn = world
        .store
        .turn_take(world.here, second[0].ticket, both, at(21))
        .await?;
    assert_eq!(turn, Some(at(41)));
    Ok(())
}
