//! The master key: its change, while the store is closed and while it is in use.

#![expect(missing_docs, reason = "a case's name is its sentence")]

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use model::{IntegrationId, Secret, audit::Chain, webhook::Trigger};

use super::{Answer, Backend, START, Verdicts, World, at, credential, operator};
use crate::{
    Error, Sealer, Store,
    sealing::{KeySource, MasterKey, MasterKeyId, split},
};

/// How long a store may take to read a source again.
const LEARN_TRIES: u32 = 100;
const LEARN_STEP: Duration = Duration::from_millis(100);

/// A source whose keys a case changes: a digit a key, the first first.
struct Source(Mutex<&'static str>);

impl Source {
    fn new(digits: &'static str) -> Arc<Self> {
        Arc::new(Self(Mutex::new(digits)))
    }

    fn put(&self, digits: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = digits;
    }
}

fn text(digit: char) -> Secret {
    Secret::new(digit.to_string().repeat(64))
}

fn id(digit: char) -> Result<MasterKeyId, Error> {
    MasterKey::parse(&text(digit)).map(|key| key.id())
}

impl KeySource for Source {
    fn read(&self) -> Result<Vec<Secret>, String> {
        let digits = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(digits
            .chars()
            .flat_map(|digit| split(&text(digit)))
            .collect())
    }
}

/// Opens the data of `world` once more, under the keys of `source`.
async fn open<B: Backend>(world: &World<B>, source: &Arc<Source>) -> Result<Arc<Store>, Error> {
    let sealer = Sealer::from_source(source.clone(), world.entropy.clone())?;
    world.backend.open(sealer, START).await
}

/// Asserts that the data opens under these keys and holds its credentials, or that it is refused naming `missing`.
async fn check<B: Backend>(
    world: &World<B>,
    digits: &'static str,
    missing: Option<char>,
) -> Verdicts {
    match (open(world, &Source::new(digits)).await, missing) {
        (Ok(store), None) => {
            assert_credentials(&store, &[world.here, world.there]).await?;
            store.close().await;
            Ok(())
        }
        (Err(Error::MasterKey(why)), Some(missing)) => {
            let first = digits.chars().next().ok_or("a key")?;
            for named in [id(missing)?, id(first)?] {
                assert!(why.contains(&named.to_string()), "{digits}: {why}");
            }
            Ok(())
        }
        (Ok(_), Some(missing)) => Err(format!("{digits} opens, without {missing}").into()),
        (Err(why), _) => Err(format!("{digits}: {why}").into()),
    }
}

async fn assert_credentials(store: &Store, ids: &[IntegrationId]) -> Verdicts {
    let contents = store.directory_contents(0).await?;
    assert_eq!(contents.branches.len(), ids.len());
    for branch in contents.branches {
        let one = branch.integration;
        assert!(one.credential.expose() == credential(one.id), "{}", one.id);
    }
    Ok(())
}

/// A world whose store has keys `b` and `a`, and seals under `a`.
async fn world_with_both<B: Backend>(backend: B) -> Answer<World<B>> {
    let mut world = World::new(backend).await?;
    world.store.close().await;
    world.store = open(&world, &Source::new("ba")).await?;
    assert_eq!(world.store.master_key_current().await?, id('a')?);
    Ok(world)
}

pub async fn secrets_move_under_another_key_and_nothing_else_changes<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = world_with_both(backend).await?;
    let revision = world.store.directory_revision().await?;
    assert_eq!(world.store.secrets_rewrap(10).await?, 0, "all are under a");
    world
        .store
        .master_key_set(&operator(), id('b')?, at(1))
        .await?;
    assert_eq!(world.store.master_key_current().await?, id('b')?);
    // Two credentials, and the key of the audit log.
    for expected in [1, 1, 1, 0] {
        assert_eq!(world.store.secrets_rewrap(1).await?, expected);
        assert_credentials(&world.store, &[world.here, world.there]).await?;
    }
    assert_eq!(world.store.directory_revision().await?, revision);
    world.store.close().await;
    check(&world, "b", None).await?;
    check(&world, "cb", None).await?;
    check(&world, "a", Some('b')).await?;
    check(&world, "ca", Some('b')).await
}

pub async fn a_move_that_was_broken_off_needs_both_keys_and_goes_on<B: Backend>(
    backend: B,
) -> Verdicts {
    let mut world = world_with_both(backend).await?;
    world
        .store
        .master_key_set(&operator(), id('b')?, at(1))
        .await?;
    assert_eq!(world.store.secrets_rewrap(1).await?, 1);
    world.store.close().await;
    check(&world, "a", Some('b')).await?;
    check(&world, "b", Some('a')).await?;
    check(&world, "ab", None).await?;
    check(&world, "ba", None).await?;
    world.store = open(&world, &Source::new("ba")).await?;
    assert_eq!(world.store.secrets_rewrap(10).await?, 2);
    world.store.close().await;
    check(&world, "b", None).await
}

pub async fn the_audit_log_is_judged_by_keys_that_are_gone<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    for (digits, next, after) in [("ba", 'b', "b"), ("cb", 'c', "c")] {
        world.store.close().await;
        world.store = open(&world, &Source::new(digits)).await?;
        let (count, key) = (audited(&world.store).await?, id(next)?);
        world.store.master_key_set(&operator(), key, at(1)).await?;
        while world.store.secrets_rewrap(10).await? > 0 {}
        world
            .register(IntegrationId::new(at(1), &*world.entropy))
            .await?;
        assert_eq!(audited(&world.store).await?, count + 2);
        world.store.close().await;
        world.store = open(&world, &Source::new(after)).await?;
        assert_eq!(audited(&world.store).await?, count + 2);
    }
    Ok(())
}

/// The entries of the audit log, which holds, and all of which have a MAC.
async fn audited(store: &Store) -> Answer<u64> {
    let mut chain = Chain::default();
    loop {
        let (next, broken) = store.audit_follow(chain, 3).await?;
        if let Some(why) = broken {
            return Err(why.into());
        }
        if next.count == chain.count {
            break;
        }
        chain = next;
    }
    assert_eq!(chain.with_mac, chain.count);
    let head = store.audit_head().await?.ok_or("there are entries")?;
    assert_eq!(head, (chain.count, chain.head.to_vec()));
    Ok(chain.count)
}

pub async fn a_store_in_use_follows_a_change_of_key<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    world.store.close().await;
    let source = Source::new("a");
    world.store = open(&world, &source).await?;
    let third = IntegrationId::new(at(1), &*world.entropy);

    // Another process changes the key, as the command line does.
    let other = open(&world, &Source::new("ba")).await?;
    source.put("ba");
    other.master_key_set(&operator(), id('b')?, at(1)).await?;
    assert_eq!(other.secrets_rewrap(1).await?, 1);
    assert_credentials(&world.store, &[world.here, world.there]).await?;
    world.register(third).await?;
    assert_eq!(other.secrets_rewrap(10).await?, 2, "the new one is under b");
    other.close().await;
    source.put("b");

    let all = [world.here, world.there, third];
    assert_credentials(&world.store, &all).await?;
    world.store.close().await;
    world.store = open(&world, &source).await?;
    assert_credentials(&world.store, &all).await
}

pub async fn a_secret_that_cannot_be_sealed_under_the_current_key_is_refused<B: Backend>(
    backend: B,
) -> Verdicts {
    let mut world = World::new(backend).await?;
    world.store.close().await;
    let source = Source::new("a");
    world.store = open(&world, &source).await?;
    let unknown = world
        .store
        .master_key_set(&operator(), id('c')?, at(1))
        .await;
    assert!(matches!(unknown, Err(Error::MasterKey(_))));
    let other = open(&world, &Source::new("ba")).await?;
    other.master_key_set(&operator(), id('b')?, at(1)).await?;

    let revision = world.store.directory_revision().await?;
    let third = IntegrationId::new(at(1), &*world.entropy);
    let refused = world.register(third).await;
    assert!(matches!(refused, Err(Error::MasterKey(_))));
    assert_eq!(world.store.directory_revision().await?, revision);
    assert_credentials(&world.store, &[world.here, world.there]).await?;
    world.accept_here(&[]).await?;

    source.put("ba");
    for _ in 0..LEARN_TRIES {
        match world.register(third).await {
            Ok(()) => {
                assert_eq!(other.secrets_rewrap(10).await?, 3, "not the new one");
                return assert_credentials(&world.store, &[world.here, world.there, third]).await;
            }
            Err(Error::MasterKey(_)) => tokio::time::sleep(LEARN_STEP).await,
            Err(why) => return Err(why.into()),
        }
    }
    Err("the key is not learnt".into())
}

pub async fn secrets_of_subscriptions_move_too<B: Backend>(backend: B) -> Verdicts {
    let mut world = world_with_both(backend).await?;
    let webhook = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    let second = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;
    world
        .store
        .master_key_set(&operator(), id('b')?, at(1))
        .await?;
    // Two integrations, two webhooks, of which one changes meanwhile, and is sealed anew by that; and the key of the audit log.
    world.switch(second, true, at(2)).await?;
    for expected in [2, 2, 0] {
        assert_eq!(world.store.secrets_rewrap(2).await?, expected);
        let now = world.webhook_now(webhook).await?;
        let signs = now.secrets(at(3));
        assert!(signs.len() == 2 && signs[0].expose() == "signing-secret");
        assert!(now.headers[0].1.expose() == "header-value");
    }
    world.store.close().await;
    check(&world, "b", None).await?;
    check(&world, "a", Some('b')).await?;
    world.store = open(&world, &Source::new("b")).await?;
    for one in world.store.webhooks_all().await? {
        assert!(one.secret.expose() == "signing-secret");
    }
    Ok(())
}
