//! Keys, integrations, what belongs to them, and the master key.

#![expect(missing_docs, reason = "a case's name is its sentence")]

use model::{
    AgentId, AttributionId, CommunityId, IntegrationId, KeyId, Secret,
    directory::{Agent, Attribution, Branch, Community, Contents, Integration},
    key::{Key, System},
    record::Kind,
};

use super::{
    Backend, SIGNAL_TIMEOUT, START, Verdicts, World, assert_conflict, at, credential, failed,
    integration, listed, new_key, operator, sealer,
};
use crate::{Error, KeyQuery, Registration};

/// An integration with two communities, an attribution and an agent.
fn registration<B: Backend>(world: &World<B>, id: IntegrationId) -> Registration {
    let entropy = &*world.entropy;
    let communities: Vec<_> = ["1001", "1002"]
        .iter()
        .map(|x_id| Community {
            id: CommunityId::new(START, entropy),
            integration_id: id,
            x_id: (*x_id).to_owned(),
            name: "Äcker".to_owned(),
            timezone: "America/Los_Angeles".to_owned(),
            phone_region: Some("US".to_owned()),
            active: true,
        })
        .collect();
    let community_ids = vec![communities[0].id];
    Registration {
        integration: integration(id),
        attributions: vec![Attribution {
            id: AttributionId::new(START, entropy),
            integration_id: id,
            x_id: "Website".to_owned(),
            name: "Website".to_owned(),
            community_ids: community_ids.clone(),
            active: true,
        }],
        agents: vec![Agent {
            id: AgentId::new(START, entropy),
            integration_id: id,
            x_id: "ann".to_owned(),
            name: "Ann".to_owned(),
            community_ids,
            active: false,
        }],
        communities,
    }
}

fn copy(one: &Registration) -> Registration {
    Registration {
        integration: one.integration.clone(),
        communities: one.communities.clone(),
        attributions: one.attributions.clone(),
        agents: one.agents.clone(),
    }
}

fn branch(contents: &Contents, id: IntegrationId) -> Result<&Branch, &'static str> {
    let found = contents
        .branches
        .iter()
        .find(|branch| branch.integration.id == id);
    found.ok_or("it is registered")
}

fn assert_same(found: &Integration, expected: &Integration) {
    assert_eq!(found.id, expected.id);
    assert_eq!(found.name, expected.name);
    assert_eq!(found.vendor, expected.vendor);
    assert_eq!(found.system, expected.system);
    assert_eq!(found.active, expected.active);
    assert_eq!(found.settings, expected.settings);
    assert!(found.credential.expose() == expected.credential.expose());
}

fn assert_same_keys(found: &[Key], expected: &[Key]) {
    let texts = |keys: &[Key]| {
        keys.iter()
            .map(|key| format!("{key:?}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(found), texts(expected));
}

pub async fn keys_are_made_listed_and_revoked<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    assert!(world.store.keys_all().await?.is_empty());
    let (later, later_token) = new_key(&world.entropy, at(20), Some(vec![world.here]))?;
    let (mut early, early_token) = new_key(&world.entropy, at(10), None)?;
    for key in [&later, &early] {
        world.store.key_create(&operator(), key.clone()).await?;
    }
    let listed = world.store.keys_all().await?;
    assert_same_keys(&listed, &[early.clone(), later.clone()]);
    let directory = world.store.directory_load().await?;
    let scope = directory.authenticate(later_token.expose(), at(60));
    assert!(scope.is_some_and(|scope| scope.sees(world.here) && !scope.sees(world.there)));

    assert!(
        world
            .store
            .key_revoke(&operator(), early.id, false, at(40))
            .await?
            .is_some()
    );
    assert!(
        world
            .store
            .key_revoke(&operator(), early.id, false, at(50))
            .await?
            .is_some(),
        "there is such a key"
    );
    early.revoked_at = Some(at(40));
    let unknown = KeyId::new(START, &*world.entropy);
    assert!(
        world
            .store
            .key_revoke(&operator(), unknown, false, at(50))
            .await?
            .is_none()
    );
    for _ in 0..2 {
        let listed = world.store.keys_all().await?;
        assert_same_keys(&listed, &[early.clone(), later.clone()]);
        let contents = world.store.directory_contents(0).await?;
        assert_same_keys(&contents.keys, &listed);
        let directory = world.store.directory_load().await?;
        assert!(
            directory
                .authenticate(early_token.expose(), at(60))
                .is_none()
        );
        assert!(
            directory
                .authenticate(later_token.expose(), at(60))
                .is_some()
        );
        world.restart().await?;
    }
    Ok(())
}

pub async fn a_key_is_known_to_who_sees_all_that_it_does<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let mut made = Vec::new();
    for (place, limited) in [
        None,
        Some(vec![world.here]),
        Some(vec![world.there, world.here]),
        Some(vec![world.there]),
        Some(vec![world.here]),
    ]
    .into_iter()
    .enumerate()
    {
        let (key, _) = new_key(&world.entropy, at(i64::try_from(place)?), limited)?;
        world.store.key_create(&operator(), key.clone()).await?;
        made.push(key);
    }
    let both = Some(vec![world.here, world.there]);
    let (both, token) = new_key(&world.entropy, at(9), both)?;
    world.store.key_create(&operator(), both).await?;
    let directory = world.store.directory_load().await?;
    let both = directory.authenticate(token.expose(), at(9));
    let both = both.ok_or("the key is in force")?;
    for (scope, offset, limit, places, total) in [
        (&world.all, 0, 3, vec![0, 1, 2], 6),
        (&world.all, 3, 2, vec![3, 4], 6),
        (&world.mine, 0, 9, vec![1, 4], 2),
        (&world.mine, 1, 1, vec![4], 2),
        (&world.theirs, 0, 9, vec![3], 1),
        (&both, 0, 4, vec![1, 2, 3, 4], 5),
        (&both, 0, 0, vec![], 5),
        (&both, 9, 9, vec![], 5),
    ] {
        let query = KeyQuery { offset, limit };
        let page = world.store.keys_list(scope, &query).await?;
        let expected: Vec<_> = places.iter().map(|place: &usize| &made[*place]).collect();
        assert_same_keys(
            &page.rows,
            &expected.into_iter().cloned().collect::<Vec<_>>(),
        );
        assert_eq!(page.total, Some(total));
        assert_eq!(page.has_more, offset + limit < total);
    }
    for (scope, places) in [
        (&world.all, vec![0, 1, 2, 3, 4]),
        (&world.mine, vec![1, 4]),
        (&both, vec![1, 2, 3, 4]),
    ] {
        for (place, key) in made.iter().enumerate() {
            let found = world.store.key_find(scope, key.id).await?;
            assert_eq!(found.is_some(), places.contains(&place), "{place}");
        }
    }
    Ok(())
}

pub async fn a_key_that_exists_is_refused<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let (key, _) = new_key(&world.entropy, at(10), None)?;
    world.store.key_create(&operator(), key.clone()).await?;
    assert!(
        world
            .store
            .key_create(&operator(), key.clone())
            .await
            .is_err()
    );
    assert_same_keys(&world.store.keys_all().await?, &[key]);
    Ok(())
}

pub async fn registering_again_replaces_and_adds_nothing<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let mut one = registration(&world, world.here);
    world
        .store
        .integration_register(&operator(), copy(&one), at(1))
        .await?;
    // Writes that are under way keep their integration.
    let job_id = world.accept_here(&[]).await?;

    one.integration.name = "Acme & Söhne".to_owned();
    one.integration.active = false;
    one.integration.system = System::Production;
    one.integration.settings.max_request_frequency = None;
    one.integration.settings.extra_headers.clear();
    one.integration.credential = Secret::new("another");
    one.communities[0].name = "Renamed".to_owned();
    one.communities[0].x_id = "1003".to_owned();
    one.communities[1].phone_region = None;
    one.attributions[0].active = false;
    one.agents[0].community_ids.clear();
    world
        .store
        .integration_register(&operator(), copy(&one), at(2))
        .await?;
    for _ in 0..2 {
        let contents = world.store.directory_contents(0).await?;
        assert_eq!(contents.branches.len(), 2);
        let other = branch(&contents, world.there)?;
        assert_same(&other.integration, &integration(world.there));
        let found = branch(&contents, world.here)?;
        assert_same(&found.integration, &one.integration);
        let mut communities = found.communities.clone();
        communities.sort_unstable_by_key(|one| one.id);
        let mut expected = one.communities.clone();
        expected.sort_unstable_by_key(|one| one.id);
        assert_eq!(communities, expected);
        assert_eq!(found.attributions, one.attributions);
        assert_eq!(found.agents, one.agents);
        world.restart().await?;
    }
    assert_eq!(world.find(job_id).await?.integration_id, world.here);
    world.claim_one(at(3)).await?;
    let prospects = world
        .store
        .records_list(&world.all, &listed(Kind::Prospect, 0, 10))
        .await?;
    assert_eq!(
        prospects.total,
        Some(0),
        "the directory's records are no prospects"
    );
    Ok(())
}

pub async fn a_credential_comes_back_after_a_restart<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let mut empty = integration(IntegrationId::new(at(1), &*world.entropy));
    empty.credential = Secret::new("");
    let registration = Registration {
        integration: empty.clone(),
        communities: Vec::new(),
        attributions: Vec::new(),
        agents: Vec::new(),
    };
    world
        .store
        .integration_register(&operator(), registration, at(1))
        .await?;
    for _ in 0..2 {
        let directory = world.store.directory_load().await?;
        for (id, expected) in [
            (world.here, credential(world.here)),
            (world.there, credential(world.there)),
            (empty.id, String::new()),
        ] {
            let found = directory.integration(id).ok_or("it is registered")?;
            assert!(found.credential.expose() == expected);
        }
        world.restart().await?;
    }
    Ok(())
}

pub async fn a_registration_that_fails_changes_nothing<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let before = world.store.directory_revision().await?;
    let mut one = registration(&world, world.here);
    one.integration.name = "Changed".to_owned();
    one.communities[1].x_id = one.communities[0].x_id.clone();
    assert!(
        world
            .store
            .integration_register(&operator(), one, at(1))
            .await
            .is_err(),
        "two communities have one id at the vendor"
    );
    assert_eq!(world.store.directory_revision().await?, before);
    let contents = world.store.directory_contents(0).await?;
    for branch in contents.branches {
        assert!(branch.communities.is_empty());
        assert_eq!(branch.integration.name, "Acme");
    }
    Ok(())
}

/// What belongs to one integration cannot be taken by registering another with its ids, nor can a vendor's id stand for two.
pub async fn a_registration_takes_nothing_from_another<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let here = registration(&world, world.here);
    world
        .store
        .integration_register(&operator(), copy(&here), at(1))
        .await?;
    let before = world.store.directory_revision().await?;

    let mut there = registration(&world, world.there);
    there.communities[0].id = here.communities[0].id;
    assert_conflict(
        world
            .store
            .integration_register(&operator(), there, at(2))
            .await,
    );

    let mut again = copy(&here);
    again.communities[0].id = registration(&world, world.here).communities[0].id;
    assert_conflict(
        world
            .store
            .integration_register(&operator(), again, at(3))
            .await,
    );

    assert_eq!(world.store.directory_revision().await?, before);
    let contents = world.store.directory_contents(0).await?;
    let found = branch(&contents, world.here)?;
    assert_eq!(found.communities.len(), here.communities.len());
    for (found, expected) in found.communities.iter().zip(&here.communities) {
        assert_eq!((found.id, &found.x_id), (expected.id, &expected.x_id));
    }
    Ok(())
}

pub async fn the_revision_changes_with_the_directory_only<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let mut revisions = vec![world.store.directory_revision().await?];
    let (key, _) = new_key(&world.entropy, at(10), None)?;
    world.store.key_create(&operator(), key.clone()).await?;
    revisions.push(world.store.directory_revision().await?);
    world
        .store
        .key_revoke(&operator(), key.id, false, at(11))
        .await?;
    revisions.push(world.store.directory_revision().await?);
    let one = registration(&world, world.here);
    world
        .store
        .integration_register(&operator(), copy(&one), at(12))
        .await?;
    revisions.push(world.store.directory_revision().await?);
    world
        .store
        .integration_register(&operator(), one, at(13))
        .await?;
    let last = world.store.directory_revision().await?;
    revisions.push(last);
    let (unknown, _) = new_key(&world.entropy, at(13), None)?;
    assert!(
        world
            .store
            .key_revoke(&operator(), unknown.id, false, at(13))
            .await?
            .is_none()
    );
    assert!(
        world
            .store
            .key_revoke(&operator(), key.id, false, at(13))
            .await?
            .is_some()
    );
    assert_eq!(
        world.store.directory_revision().await?,
        last,
        "revoking what is not there, or is revoked, changes nothing"
    );
    let count = revisions.len();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), count, "each change has its own number");

    world.accept_here(&[]).await?;
    let ticket = world.claim_one(at(14)).await?;
    world.finish(ticket, failed("no"), at(14)).await?;
    world.restart().await?;
    assert_eq!(world.store.directory_revision().await?, last);
    Ok(())
}

pub async fn a_change_wakes_who_follows_the_directory<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let changed =
        || tokio::time::timeout(SIGNAL_TIMEOUT, world.store.signals().directory_changed());
    // The registrations that made this world have left one.
    changed().await?;
    let (key, _) = new_key(&world.entropy, at(10), None)?;
    world.store.key_create(&operator(), key.clone()).await?;
    changed().await?;
    world
        .store
        .key_revoke(&operator(), key.id, false, at(11))
        .await?;
    changed().await?;
    world.register(world.here).await?;
    changed().await?;
    Ok(())
}

pub async fn a_wrong_master_key_is_refused<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    world.store.close().await;
    let refused = world
        .backend
        .open(sealer("b", &world.entropy)?, START)
        .await;
    assert!(matches!(refused, Err(Error::MasterKey(_))));
    // The right one still opens it.
    world.restart().await?;
    let contents = world.store.directory_contents(0).await?;
    assert_eq!(contents.branches.len(), 2);
    Ok(())
}

pub async fn what_is_registered_is_read_by_those_who_may<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let here = registration(&world, world.here);
    world
        .store
        .integration_register(&operator(), copy(&here), at(1))
        .await?;
    let store = &world.store;
    for (kind, ids) in [
        (
            Kind::Community,
            here.communities
                .iter()
                .map(|one| one.id.to_string())
                .collect::<Vec<_>>(),
        ),
        (
            Kind::Attribution,
            here.attributions
                .iter()
                .map(|one| one.id.to_string())
                .collect(),
        ),
        (
            Kind::Agent,
            here.agents.iter().map(|one| one.id.to_string()).collect(),
        ),
    ] {
        let page = store.records_list(&world.all, &listed(kind, 0, 10)).await?;
        let newest_first: Vec<_> = page.rows.iter().rev().map(|row| row.id.clone()).collect();
        assert_eq!(newest_first, ids);
        for (id, row) in ids.iter().zip(page.rows.iter().rev()) {
            let found = store.record_find(&world.all, kind, id).await?;
            assert_eq!(found.as_ref(), Some(row));
            assert_eq!(row.created_at, row.last_seen);
            assert_eq!(
                row.created_at.as_millis(),
                at(1).as_millis(),
                "but for what tells them apart"
            );
            assert_eq!(row.integration_id, world.here.to_string());
            let other = store.record_find(&world.all, Kind::Prospect, id).await?;
            assert!(other.is_none(), "an id is of one kind");
        }
    }
    world
        .store
        .integration_register(&operator(), registration(&world, world.there), at(2))
        .await?;
    let mine = store
        .records_list(&world.mine, &listed(Kind::Community, 0, 10))
        .await?;
    assert_eq!(
        mine.total,
        Some(here.communities.len() as u64),
        "another integration's are not seen"
    );
    Ok(())
}
