//! Changes while running, and the audit log of them.

#![expect(missing_docs, reason = "a case's name is its sentence")]

use model::{
    Actor, CommunityId, IntegrationId, Secret,
    audit::{Chain, Entry},
    key::{Key, System, token_make},
    record::Kind,
    resources::integration::{Change, IntegrationUpdate, Member},
};
use serde_json::{Value, json};

use super::{
    Backend, START, Verdicts, World, assert_conflict, at, failed, listed, new_key, operator,
};
use crate::{Store, audit::AuditQuery};

fn update(update: IntegrationUpdate) -> Change {
    Change {
        update,
        ..Change::default()
    }
}

/// The whole audit log, newest first, once its chain was followed.
async fn log(store: &Store) -> Result<Vec<Entry>, crate::Error> {
    let mut chain = Chain::default();
    loop {
        // In small steps: a chain is followed from where it was left.
        let (next, broken) = store.audit_follow(chain, 2).await?;
        assert_eq!(broken, None);
        if next == chain {
            break;
        }
        chain = next;
    }
    let query = AuditQuery {
        limit: 100,
        ..AuditQuery::default()
    };
    let page = store.audit_list(&operator().scope, &query).await?;
    assert_eq!(page.total, Some(chain.count));
    if let Some((newest, hash)) = page.rows.first() {
        assert_eq!((newest.seq, &hash[..]), (chain.count, &chain.head[..]));
    }
    Ok(page.rows.into_iter().map(|(entry, _)| entry).collect())
}

pub async fn a_change_leaves_what_it_does_not_name<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let renamed = update(IntegrationUpdate {
        name: Some("Renamed".to_owned()),
        max_request_frequency: Some(0),
        ..IntegrationUpdate::default()
    });
    let changed = world
        .store
        .integration_change(
            &operator(),
            world.here,
            "integration_update",
            renamed,
            at(5),
        )
        .await?
        .ok_or("it is there")?;
    assert_eq!(changed.settings.max_request_frequency, None);
    assert_eq!(changed.settings.max_job_concurrency, 4);
    for _ in 0..2 {
        let directory = world.store.directory_load().await?;
        let found = directory.integration(world.here).ok_or("it is there")?;
        assert_eq!((found.name.as_str(), found.updated_at), ("Renamed", at(5)));
        assert!(found.credential.expose() == super::credential(world.here));
        let other = directory.integration(world.there).ok_or("it is there")?;
        assert_eq!(other.name, "Acme");
        world.restart().await?;
    }
    let others = Actor::local(world.theirs.clone());
    let none = world
        .store
        .integration_change(
            &others,
            world.here,
            "integration_update",
            Change::default(),
            at(6),
        )
        .await?;
    assert!(none.is_none(), "another's integration is not there");
    Ok(())
}

pub async fn what_changed_is_read_without_the_rest<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let all = world.store.directory_contents(0).await?;
    assert_eq!(all.branches.len(), 2);
    let (key, _) = new_key(&world.entropy, at(1), None)?;
    world.store.key_create(&operator(), key.clone()).await?;
    let keys = world.store.directory_contents(all.revision).await?;
    assert_eq!((keys.keys.len(), keys.branches.len()), (1, 0));
    let change = Change {
        credential: Some(Secret::new("another")),
        ..Change::default()
    };
    world
        .store
        .integration_change(
            &operator(),
            world.there,
            "integration_update",
            change,
            at(2),
        )
        .await?;
    let one = world.store.directory_contents(keys.revision).await?;
    assert_eq!((one.keys.len(), one.branches.len()), (0, 1));
    let found = &one.branches[0].integration;
    assert!(found.id == world.there && found.credential.expose() == "another");
    let none = world.store.directory_contents(one.revision).await?;
    assert_eq!((none.keys.len(), none.branches.len()), (0, 0));
    // Laid over each other in turn they are the whole.
    let directory = [keys, one, none]
        .into_iter()
        .fold(model::Directory::new(all), |so_far, more| so_far.with(more));
    let found = directory.integration(world.there).ok_or("it is there")?;
    assert!(found.credential.expose() == "another");
    assert!(directory.integration(world.here).is_some());
    Ok(())
}

pub async fn an_archive_waits_for_open_writes_and_takes_the_credential<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    world.accept_here(&[]).await?;
    let archive = || Change {
        archived_at: Some(at(9)),
        ..Change::default()
    };
    let by = operator();
    let change = |change| {
        world
            .store
            .integration_change(&by, world.here, "integration_archive", change, at(9))
    };
    assert_conflict(change(archive()).await);
    let ticket = world.claim_one(at(3)).await?;
    world.finish(ticket, failed("no"), at(4)).await?;
    let archived = change(archive()).await?.ok_or("it is there")?;
    assert_eq!(
        (archived.archived_at, archived.active),
        (Some(at(9)), false)
    );
    let directory = world.store.directory_load().await?;
    let found = directory.integration(world.here).ok_or("it is there")?;
    assert!(found.credential.expose().is_empty());
    assert!(change(archive()).await?.is_some(), "twice is once");
    assert_conflict(change(Change::default()).await);
    let due = world.store.syncs_due().await?;
    assert!(due.iter().all(|(id, _)| *id != world.here));
    Ok(())
}

pub async fn members_are_known_by_the_vendors_id_of_them<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let member = |x_id: &str, name: &str| Member {
        kind: Kind::Community,
        id: CommunityId::new(START, &*world.entropy).to_string(),
        x_id: x_id.to_owned(),
        body: json!({ "integration_id": world.here, "x_id": x_id, "name": name, "timezone": "UTC", "active": (name == "Two").then_some(false) }),
        is_active_when_new: true,
    };
    let by = operator();
    let register = |id, members| {
        world
            .store
            .members_register(&by, id, "communities_register", members, at(3))
    };
    let first = register(world.here, vec![member("1", "One"), member("2", "Two")])
        .await?
        .ok_or("it is there")?;
    assert!(first.iter().all(|one| one.is_new));
    let again = register(
        world.here,
        vec![member("2", "Second"), member("3", "Three")],
    )
    .await?
    .ok_or("it is there")?;
    assert_eq!((again[0].is_new, &again[0].id), (false, &first[1].id));
    assert!(again[1].is_new);
    let directory = world.store.directory_load().await?;
    let mut names: Vec<_> = directory
        .communities(world.here)
        .map(|one| one.name.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["One", "Second", "Three"]);
    let mut active = directory.communities(world.here).filter(|one| one.active);
    assert!(
        active.all(|one| one.name != "Second"),
        "not said: as it was"
    );
    // The same at the vendor, and another integration's: that is another community.
    let there = register(world.there, vec![member("1", "Theirs")])
        .await?
        .ok_or("it is there")?;
    assert!(there[0].is_new);
    let mine = world
        .store
        .records_list(&world.mine, &listed(Kind::Community, 0, 10))
        .await?;
    assert_eq!(mine.total, Some(3));
    Ok(())
}

pub async fn a_rotated_key_has_both_tokens_for_a_while<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let (key, old) = new_key(&world.entropy, at(10), None)?;
    world.store.key_create(&operator(), key.clone()).await?;
    let (new, kept) = token_make(System::Sandbox, &*world.entropy, at(20))?;
    let rotated = world
        .store
        .key_rotate(&operator(), key.id, kept, at(60), at(20))
        .await?
        .ok_or("it is there")?;
    assert_eq!(rotated.tokens.len(), 2);
    world.store.keys_used(vec![(key.id, at(30))]).await?;
    world.store.keys_used(vec![(key.id, at(25))]).await?;
    world.restart().await?;
    let directory = world.store.directory_load().await?;
    let opens = |token: &Secret, now| directory.authenticate(token.expose(), now).is_some();
    assert!(opens(&old, at(59)) && opens(&new, at(59)));
    assert!(!opens(&old, at(60)) && opens(&new, at(61)));
    let listed = world.store.keys_all().await?;
    assert_eq!(listed[0].last_used_at, Some(at(30)), "the latest counts");

    world
        .store
        .key_revoke(&operator(), key.id, false, at(70))
        .await?;
    let directory = world.store.directory_load().await?;
    assert!(directory.authenticate(new.expose(), at(71)).is_none());
    let (_, late) = token_make(System::Sandbox, &*world.entropy, at(80))?;
    let refused = world
        .store
        .key_rotate(&operator(), key.id, late, at(90), at(80))
        .await;
    assert_conflict(refused);
    Ok(())
}

pub async fn every_change_is_in_the_audit_log_without_secrets<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let before = log(&world.store).await?.len();
    let (key, token) = new_key(&world.entropy, at(10), Some(vec![world.here]))?;
    let by = Actor {
        scope: world.mine.clone(),
        address: "192.0.2.7".parse().ok(),
        request_id: Some("a-request".to_owned()),
    };
    world.store.key_create(&by, key.clone()).await?;
    let change = Change {
        update: IntegrationUpdate {
            name: Some("Renamed".to_owned()),
            ..IntegrationUpdate::default()
        },
        credential: Some(Secret::new("top-secret")),
        ..Change::default()
    };
    world
        .store
        .integration_change(&by, world.here, "integration_update", change, at(11))
        .await?;
    world.store.key_revoke(&by, key.id, false, at(12)).await?;
    world.store.key_revoke(&by, key.id, false, at(13)).await?;
    assert!(world.store.sync_request(&by, world.here, at(14)).await?);
    for _ in 0..2 {
        let entries = log(&world.store).await?;
        let actions: Vec<_> = entries.iter().map(|one| one.action.as_str()).collect();
        let expected = [
            "integration_sync",
            "key_revoke",
            "integration_update",
            "key_create",
        ];
        assert_eq!(actions[..actions.len() - before], expected);
        assert_eq!(entries[2].before["name"], "Acme");
        assert_eq!(entries[2].after["name"], "Renamed");
        assert_eq!(entries[2].after["credentials"], "replaced");
        assert_eq!(entries[3].before, Value::Null);
        for entry in &entries[..4] {
            assert_eq!(entry.key_id, by.scope.key());
            assert_eq!(entry.address, by.address);
            let text = serde_json::to_string(entry)?;
            for secret in ["top-secret", token.expose(), &key.tokens[0].hash] {
                assert!(!text.contains(secret), "{}", entry.action);
            }
        }
        world.restart().await?;
    }
    let query = AuditQuery {
        limit: 1,
        ..AuditQuery::default()
    };
    let mine = world.store.audit_list(&world.mine, &query).await?;
    assert!(mine.has_more && mine.rows[0].0.integration_id == Some(world.here));
    let theirs = world.store.audit_list(&world.theirs, &query).await?;
    assert_eq!(theirs.total, Some(1), "only that theirs was registered");
    Ok(())
}

pub async fn there_is_an_end_to_the_number_of_keys<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let by = Actor::local(world.all.clone());
    let of = |integrations: Option<Vec<IntegrationId>>| {
        new_key(&world.entropy, at(10), integrations).map(|(key, _)| key)
    };
    let both = vec![world.here, world.there];
    let mut last = None;
    for _ in 0..10 {
        let mut made = Vec::new();
        for _ in 0..100 {
            let (store, by, key) = (world.store.clone(), by.clone(), of(Some(both.clone()))?);
            last = Some(key.id);
            made.push(tokio::spawn(
                async move { store.key_create(&by, key).await },
            ));
        }
        for one in made {
            one.await??;
        }
    }
    let turned = vec![world.there, world.here];
    assert_conflict(world.store.key_create(&by, of(Some(turned))?).await);
    // Each counts for both.
    for one in [world.here, world.there] {
        assert_conflict(world.store.key_create(&by, of(Some(vec![one]))?).await);
    }
    // Others have room, and so has the operator at the machine.
    let other = IntegrationId::new(START, &*world.entropy);
    for integrations in [None, Some(vec![other])] {
        world.store.key_create(&by, of(integrations)?).await?;
    }
    // What is revoked, or has expired, makes room.
    let expiring = Key {
        expires_at: Some(at(20)),
        ..of(Some(both.clone()))?
    };
    let operators = of(Some(both.clone()))?;
    world
        .store
        .key_create(&operator(), operators.clone())
        .await?;
    for id in [operators.id, last.ok_or("there are some")?] {
        assert_conflict(world.store.key_create(&by, expiring.clone()).await);
        world.store.key_revoke(&by, id, false, at(11)).await?;
    }
    world.store.key_create(&by, expiring).await?;
    assert_conflict(world.store.key_create(&by, of(Some(both.clone()))?).await);
    let (late, _) = new_key(&world.entropy, at(20), Some(both))?;
    world.store.key_create(&by, late).await?;
    Ok(())
}
