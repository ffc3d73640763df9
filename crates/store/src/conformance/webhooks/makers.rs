//! Subscriptions and the keys that made them.

use model::{
    Actor, KeyId, Timestamp, WebhookId,
    key::{System, token_make},
    webhook::{Change, Trigger, Webhook},
};
use serde_json::json;

use crate::{
    Error,
    audit::AuditQuery,
    conformance::{
        Answer, Backend, START, Verdicts, World, assert_conflict, at, new_key, operator,
    },
};

impl<B: Backend> World<B> {
    /// A key that ends at `expires_at`, and who acts with it.
    async fn maker(&self, expires_at: Option<Timestamp>) -> Answer<(KeyId, Actor)> {
        let (mut key, token) = new_key(&self.entropy, START, None)?;
        key.expires_at = expires_at;
        self.store.key_create(&operator(), key.clone()).await?;
        let directory = self.store.directory_load().await?;
        let scope = directory.authenticate(token.expose(), START);
        Ok((key.id, Actor::local(scope.ok_or("the key is in force")?)))
    }

    async fn made_by(&self, key: KeyId, by: &Actor) -> Answer<WebhookId> {
        let webhook = Webhook {
            created_by: Some(key),
            ..self.webhook(&[Trigger::DataNew])
        };
        let id = webhook.id;
        self.store.webhook_create(by, webhook).await?;
        Ok(id)
    }

    async fn why_off(&self, id: WebhookId) -> Answer<Option<String>> {
        let webhook = self.webhook_now(id).await?;
        assert_eq!(webhook.active, webhook.disabled.is_none());
        Ok(webhook.disabled.map(|disabled| disabled.reason))
    }
}

pub async fn a_subscription_that_is_kept_ends_with_the_key_that_kept_it<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let (short, by_short) = world.maker(Some(at(10))).await?;
    let (long, by_long) = world.maker(Some(at(20))).await?;
    let kept = world.made_by(short, &by_short).await?;
    let revoke = async |by: &Actor, id| world.store.key_revoke(by, id, true, at(1)).await;
    assert_conflict(revoke(&by_short, short).await);
    let done = revoke(&by_long, short)
        .await?
        .ok_or("there is such a key")?;
    assert_eq!(done.kept, [kept]);
    // A repeat takes nothing from what was kept, and gives it no more.
    revoke(&operator(), short).await?;
    assert!(world.store.webhooks_lapse(at(19)).await?.is_empty());
    assert_eq!(world.store.webhooks_lapse(at(20)).await?, [kept]);
    // Also when that key is revoked, which has no end.
    let (leaked, by_leaked) = world.maker(None).await?;
    let (child, by_child) = world.maker(None).await?;
    let outliving = world.made_by(child, &by_child).await?;
    revoke(&by_leaked, child).await?;
    assert_eq!(world.webhook_now(outliving).await?.created_by, Some(leaked));
    let done = world
        .store
        .key_revoke(&operator(), leaked, false, at(2))
        .await?;
    assert_eq!(done.ok_or("there is such a key")?.disabled, [outliving]);
    // The operator's has no end.
    let other = world.made_by(long, &by_long).await?;
    revoke(&operator(), long).await?;
    assert!(world.store.webhooks_lapse(at(9_999)).await?.is_empty());
    assert!(world.webhook_now(other).await?.active);
    Ok(())
}

pub async fn a_subscription_ends_with_the_token_that_made_it<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let (key, first) = new_key(&world.entropy, START, None)?;
    world.store.key_create(&operator(), key.clone()).await?;
    let rotate = async |until, now| -> Answer<()> {
        let (_, token) = token_make(System::Sandbox, &*world.entropy, now)?;
        let by = operator();
        world
            .store
            .key_rotate(&by, key.id, token, until, now)
            .await?;
        Ok(())
    };
    rotate(at(1_000), at(1)).await?;
    let directory = world.store.directory_load().await?;
    let scope = directory.authenticate(first.expose(), at(1));
    let by_first = Actor::local(scope.ok_or("the token is still taken")?);
    let made = world.made_by(key.id, &by_first).await?;
    // A later rotation ends the token sooner, and what it made with it.
    rotate(at(2), at(2)).await?;
    assert_eq!(world.take(made, at(2)).await?.len(), 0);
    assert_eq!(world.store.webhooks_lapse(at(2)).await?, [made]);
    Ok(())
}

pub async fn a_subscription_ends_with_the_key_that_made_it<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let (first, by_first) = world.maker(None).await?;
    let (second, by_second) = world.maker(None).await?;
    let revoked = world.made_by(first, &by_first).await?;
    let idle = world.made_by(first, &by_first).await?;
    world.switch(idle, false, at(1)).await?;
    let others = world.made_by(second, &by_second).await?;
    let operators = world.subscribe(world.webhook(&[Trigger::DataNew])).await?;

    let done = world
        .store
        .key_revoke(&operator(), first, false, at(2))
        .await?;
    let done = done.ok_or("there is such a key")?;
    assert_eq!((done.disabled, done.kept), (vec![revoked], Vec::new()));
    world.restart().await?;
    let why = world.why_off(revoked).await?.ok_or("it is off")?;
    assert!(why.contains(&first.to_string()), "{why}");
    assert_eq!(world.why_off(others).await?, None);
    assert_eq!(world.why_off(operators).await?, None);
    // Nothing is sent to it any more, and nothing is lost.
    let events = world.happen_here(1, at(3)).await?;
    assert_eq!(world.take(revoked, at(3)).await?.len(), 0);
    assert_eq!(world.take(others, at(3)).await?.len(), 1);
    assert_eq!(world.delivery(revoked, events[0]).await?.attempts, 0);

    // Who switches it on answers for it, also where that was switched off by its owner.
    let on = Change {
        active: Some(true),
        ..Change::default()
    };
    for id in [revoked, idle] {
        let change =
            world
                .store
                .webhook_change(&by_second, id, "webhook_update", on.clone(), at(4));
        let adopted = change.await?.ok_or("the webhook is there")?;
        assert_eq!(adopted.created_by, Some(second));
    }
    assert_eq!(world.take(revoked, at(4)).await?.len(), 1);
    let done = world
        .store
        .key_revoke(&operator(), second, false, at(5))
        .await?;
    let disabled = done.ok_or("there is such a key")?.disabled;
    assert_eq!(disabled, [revoked, idle, others]);

    // With a key that was revoked while its request was under way nothing is made or switched on.
    let late = world.made_by(second, &by_second).await;
    assert!(late.is_err_and(|why| matches!(why.downcast_ref::<Error>(), Some(Error::Revoked))));
    let late = world
        .store
        .webhook_change(&by_second, others, "webhook_update", on, at(6));
    assert!(matches!(late.await, Err(Error::Revoked)));
    assert!(world.why_off(others).await?.is_some());
    Ok(())
}

pub async fn a_subscription_is_kept_or_adopted_when_its_key_ends<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let (first, by_first) = world.maker(Some(at(100))).await?;
    let (second, by_second) = world.maker(Some(at(200))).await?;
    let kept = world.made_by(first, &by_first).await?;
    let done = world
        .store
        .key_revoke(&operator(), first, true, at(2))
        .await?;
    let done = done.ok_or("there is such a key")?;
    assert_eq!((done.disabled, done.kept), (Vec::new(), vec![kept]));
    let query = AuditQuery {
        limit: 1,
        ..AuditQuery::default()
    };
    let log = world.store.audit_list(&world.all, &query).await?;
    let told = &log.rows[0].0;
    assert_eq!(told.action, "key_revoke");
    assert_eq!(told.after["kept_webhooks"], json!([kept]));

    // What expires first is switched off then, and what another key has adopted is not.
    let lapses = world.made_by(second, &by_second).await?;
    let (third, by_third) = world.maker(Some(at(300))).await?;
    let adopted = world.made_by(second, &by_second).await?;
    let adopt = Change {
        adopts: true,
        ..Change::default()
    };
    let change = world
        .store
        .webhook_change(&by_third, adopted, "webhook_update", adopt, at(3));
    assert_eq!(change.await?.ok_or("it is there")?.created_by, Some(third));
    // Whoever says where events go answers for it.
    let (thief, by_thief) = world.maker(None).await?;
    let elsewhere = Change {
        url: Some("https://elsewhere.example/".to_owned()),
        ..Change::default()
    };
    let turned = world.made_by(second, &by_second).await?;
    world
        .store
        .webhook_change(&by_thief, turned, "webhook_update", elsewhere, at(3))
        .await?;
    let done = world
        .store
        .key_revoke(&operator(), thief, false, at(4))
        .await?;
    assert_eq!(done.ok_or("there is such a key")?.disabled, [turned]);
    let revision = world.store.webhooks_revision().await?;
    assert!(world.store.webhooks_lapse(at(199)).await?.is_empty());
    assert_eq!(world.store.webhooks_revision().await?, revision);
    assert_eq!(world.store.webhooks_lapse(at(200)).await?, [lapses]);
    assert_ne!(world.store.webhooks_revision().await?, revision);
    assert!(world.store.webhooks_lapse(at(200)).await?.is_empty());
    let why = world.why_off(lapses).await?.ok_or("it is off")?;
    assert!(why.contains("expired"), "{why}");
    assert_eq!(world.why_off(kept).await?, None);
    assert_eq!(world.why_off(adopted).await?, None);
    assert_eq!(world.store.webhooks_lapse(at(300)).await?, [adopted]);
    // One that was kept at first may be switched off later.
    let done = world
        .store
        .key_revoke(&operator(), first, false, at(301))
        .await?;
    assert_eq!(done.ok_or("there is such a key")?.disabled, [kept]);
    Ok(())
}
