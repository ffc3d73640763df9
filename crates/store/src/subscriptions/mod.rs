//! Subscriptions to events.
//!
//! Guarantee: secrets and the values of headers are sealed; a change of a subscription and its entry in the audit log are one transaction. What
//! becomes of a receiver (failing, switched off) changes beside that, and nobody's change undoes it by accident.

pub(crate) mod deliveries;
pub(crate) mod types;

use model::{
    Actor, IntegrationId, KeyId, Scope, Secret, Timestamp, WebhookId,
    key::System,
    record::Kind,
    resources::webhook::WebhookRecord,
    webhook::{Change, Disabled, ObjectStyle, Previous, Subscribed, Webhook},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Error, Page, Sealer, Store,
    audit::{self, Author, Deed},
    engines::{
        Transaction,
        db::{self, Db, Row, corrupt, values},
    },
    listing::scopes,
    reading::{Cost, Reading},
    sealing::Purpose,
    subscriptions::types::{Health, WebhookQuery},
};

/// Subscriptions for one integration, at most: each event is held against all that are to its
/// trigger. One counts for every integration that it is limited to; those without a limit count for
/// themselves.
const OF_ONE_MAX: i64 = ALL_MAX / 5;

/// Subscriptions in all, at most: the announcer has them in memory, some KB each.
const ALL_MAX: i64 = 5_000;

/// Of those, at most so many that are limited to integrations: the rest is for who sees all.
const LIMITED_MAX: i64 = ALL_MAX / 5 * 4;

/// How often a change is applied anew because another came between.
const CHANGE_TRIES: usize = 5;

/// What of a subscription stands in the clear.
#[derive(Serialize, Deserialize)]
struct Body {
    url: String,
    triggers: Vec<Subscribed>,
    system: System,
    previous_until: Vec<Timestamp>,
    /// Absent in those that an older build has stored.
    #[serde(default)]
    object_style: ObjectStyle,
}

/// What of a subscription is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    secret: String,
    previous: Vec<String>,
    headers: Vec<(String, String)>,
}

fn sealed(webhook: &Webhook) -> Result<Secret, Error> {
    let sealed = Sealed {
        secret: webhook.secret.expose().to_owned(),
        previous: webhook
            .previous
            .iter()
            .map(|previous| previous.secret.expose().to_owned())
            .collect(),
        headers: webhook
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect(),
    };
    serde_json::to_string(&sealed)
        .map(Secret::new)
        .map_err(corrupt("the secrets of a webhook"))
}

fn body(webhook: &Webhook) -> Result<String, Error> {
    let body = Body {
        url: webhook.url.clone(),
        triggers: webhook.triggers.clone(),
        system: webhook.system,
        previous_until: webhook
            .previous
            .iter()
            .map(|previous| previous.until)
            .collect(),
        object_style: webhook.object_style,
    };
    serde_json::to_string(&body).map_err(corrupt("a webhook"))
}

/// A number that grows with each change of a subscription that concerns who delivers to it.
pub(crate) fn revision(db: &Db<'_>) -> Result<i64, Error> {
    db.one(
        "SELECT revision FROM revisions WHERE what = 'webhooks'",
        &[],
        |row| row.get(0),
    )
}

/// A subscription has changed.
fn changed(tx: &mut Transaction<'_>) -> Result<(), Error> {
    tx.webhooks_changed();
    tx.send(
        "UPDATE revisions SET revision = revision + 1 WHERE what = 'webhooks'",
        &[],
    )
}

/// What [`read`] reads.
const COLUMNS: &str = "id, active, integrations, sealed, body, failing_since, disabled_at, disabled_reason, created_at, updated_at, n, revision, created_by";

/// A subscription, and where it is stored.
struct Stored {
    webhook: Webhook,
    n: i64,
    revision: i64,
}

fn read(row: &Row<'_>, sealer: &Sealer) -> Result<Stored, Error> {
    let text = |place: usize| row.get::<String>(place);
    let time = |place: usize| {
        row.get::<Option<i64>>(place)
            .map(|at| at.map(Timestamp::from_micros))
    };
    let id = text(0)?;
    let integrations: Option<String> = row.get(2)?;
    let blob: Vec<u8> = row.get(3)?;
    let body: Body = serde_json::from_str(&text(4)?).map_err(corrupt("a webhook"))?;
    let secrets = sealer.open(&id, Purpose::WebhookSecret, &blob)?;
    let secrets: Sealed =
        serde_json::from_str(secrets.expose()).map_err(corrupt("the secrets of a webhook"))?;
    let headers = secrets.headers.into_iter();
    let disabled_at = time(6)?;
    let reason: Option<String> = row.get(7)?;
    let webhook = Webhook {
        id: id
            .parse()
            .map_err(|_| Error::Corrupt("the id of a webhook".to_owned()))?,
        url: body.url,
        headers: headers
            .map(|(name, value)| (name, Secret::new(value)))
            .collect(),
        triggers: body.triggers,
        active: row.get(1)?,
        system: body.system,
        object_style: body.object_style,
        integrations: integrations
            .map(|list| serde_json::from_str(&list))
            .transpose()
            .map_err(corrupt("the integrations of a webhook"))?,
        secret: Secret::new(secrets.secret),
        previous: secrets
            .previous
            .into_iter()
            .zip(body.previous_until)
            .map(|(secret, until)| Previous {
                secret: Secret::new(secret),
                until,
            })
            .collect(),
        failing_since: time(5)?,
        disabled: disabled_at.map(|at| Disabled {
            at,
            reason: reason.unwrap_or_default(),
        }),
        created_by: row
            .get::<Option<String>>(12)?
            .map(|id| id.parse())
            .transpose()
            .map_err(|_| Error::Corrupt("the key of a webhook".to_owned()))?,
        created_at: time(8)?.unwrap_or(Timestamp::ZERO),
        updated_at: time(9)?.unwrap_or(Timestamp::ZERO),
    };
    Ok(Stored {
        webhook,
        n: row.get(10)?,
        revision: row.get(11)?,
    })
}

/// Where a subscription is stored, and the integrations that it is limited to.
pub(crate) struct Place {
    pub(crate) n: i64,
    pub(crate) integrations: Option<Vec<IntegrationId>>,
}

/// The place of a subscription that `scope` may know of.
pub(crate) fn row(db: &Db<'_>, scope: &Scope, id: WebhookId) -> Result<Option<Place>, Error> {
    let found: Option<(i64, Option<String>)> = db.find(
        "SELECT n, integrations FROM webhooks WHERE id = ?1",
        values![id.to_string()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((n, integrations)) = found else {
        return Ok(None);
    };
    let integrations: Option<Vec<IntegrationId>> = integrations
        .map(|list| serde_json::from_str(&list))
        .transpose()
        .map_err(corrupt("the integrations of a webhook"))?;
    Ok(scope
        .sees_as_much_as(integrations.as_deref())
        .then_some(Place { n, integrations }))
}

/// The subscriptions of a statement that can be read.
fn readable(
    db: &Db<'_>,
    sealer: &Sealer,
    condition: &str,
    values: &[db::Value<'_>],
) -> Result<Vec<Webhook>, Error> {
    let rows: Vec<Result<Stored, Error>> = db.all(
        &format!("SELECT {COLUMNS} FROM webhooks WHERE {condition}"),
        values,
        |row| Ok(read(row, sealer)),
    )?;
    let mut webhooks = Vec::with_capacity(rows.len());
    for row in rows {
        match row {
            Ok(row) => webhooks.push(row.webhook),
            Err(Error::Corrupt(what)) => {
                tracing::error!(%what, "a webhook cannot be read; the others go on");
            }
            Err(why) => return Err(why),
        }
    }
    Ok(webhooks)
}

/// A page of those that `scope` may know of, and how many these are. Only the
/// secrets of the page are opened.
fn page(
    db: &Db<'_>,
    sealer: &Sealer,
    scope: &Scope,
    query: WebhookQuery,
) -> Result<Page<Webhook>, Error> {
    let active = match query.active {
        Some(true) => "active",
        Some(false) => "NOT active",
        None => "TRUE",
    };
    let order = if query.is_descending { "n DESC" } else { "n" };
    let which = ("webhooks", "n", active, order);
    scopes::page(
        db,
        scope,
        which,
        (query.offset, query.limit),
        |which, values| readable(db, sealer, which, values),
    )
}

/// A subscription that `scope` may know of. The secrets of others are not opened: that would take
/// longer than to find none.
fn one(
    db: &Db<'_>,
    sealer: &Sealer,
    scope: &Scope,
    id: WebhookId,
) -> Result<Option<Stored>, Error> {
    db.find(
        &format!(
            "SELECT {COLUMNS} FROM webhooks WHERE id = ?1 AND (CAST(?2 AS TEXT) IS NULL OR (
               integrations IS NOT NULL AND NOT EXISTS (SELECT 1 FROM json_each(integrations)
                 WHERE value NOT IN (SELECT value FROM json_each(?2)))))"
        ),
        values![id.to_string(), scopes::own(scope)],
        |row| read(row, sealer),
    )
}

fn shown(webhook: &Webhook) -> Result<Value, Error> {
    serde_json::to_value(WebhookRecord::of(webhook, false)).map_err(corrupt("a webhook"))
}

fn note(
    db: &Db<'_>,
    by: &Author,
    action: &str,
    id: WebhookId,
    (before, after): (Value, Value),
    now: Timestamp,
) -> Result<(), Error> {
    let deed = Deed {
        action,
        integration: None,
        subject: id.to_string(),
        before,
        after,
    };
    audit::record(db, by, deed, now)
}

fn put_triggers(db: &Db<'_>, n: i64, triggers: &[Subscribed]) -> Result<(), Error> {
    db.send(
        "DELETE FROM webhook_triggers WHERE webhook = ?1",
        values![n],
    )?;
    for one in triggers {
        db.send(
            "INSERT INTO webhook_triggers (trigger, kind, webhook) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            values![one.trigger.word(), one.kind.map_or("", Kind::word), n],
        )?;
    }
    Ok(())
}

/// Whether what happens is kept for it.
const fn takes(webhook: &Webhook) -> bool {
    webhook.active || webhook.disabled.is_some()
}

/// Refuses another subscription where there are as many as there can be. It tells no number of
/// others.
fn there_is_room(db: &Db<'_>, webhook: &Webhook) -> Result<(), Error> {
    let integrations = webhook.integrations.as_deref();
    let (count, _) = scopes::most(db, ("webhooks", "TRUE"), integrations, 0)?;
    if count >= OF_ONE_MAX {
        let whose = match integrations {
            Some(_) => "one of your key's integrations",
            None => "all integrations",
        };
        return Err(Error::Conflict(format!(
            "there are {OF_ONE_MAX} webhooks for {whose}, which is as many as there can be; delete one that is not needed any more"
        )));
    }
    let (limited, all) = scopes::limited_and_all(db, "webhooks")?;
    if all >= ALL_MAX || (integrations.is_some() && limited >= LIMITED_MAX) {
        return Err(Error::Conflict(
            "this Portico has as many webhooks as it can have; delete one that is not needed any more, or ask its operator".to_owned(),
        ));
    }
    Ok(())
}

/// Whether the key that made a subscription is no longer in force.
fn has_outlived_its_key(
    db: &Db<'_>,
    key: Option<KeyId>,
    settled: Timestamp,
) -> Result<bool, Error> {
    let Some(key) = key else { return Ok(false) };
    let is_over = db.find(
        "SELECT revoked_at IS NOT NULL OR coalesce(expires_at <= ?2, FALSE) FROM keys WHERE id = ?1",
        values![key.to_string(), settled.as_micros()],
        |row| row.get(0),
    )?;
    Ok(is_over.unwrap_or(true))
}

/// The active subscriptions that a key made: their rows and ids.
pub(crate) fn active_of(db: &Db<'_>, key: KeyId) -> Result<Vec<(i64, WebhookId)>, Error> {
    rows_of(
        db,
        "created_by = ?1 AND active ORDER BY n",
        values![key.to_string()],
    )
}

fn rows_of(
    db: &Db<'_>,
    condition: &str,
    values: &[db::Value<'_>],
) -> Result<Vec<(i64, WebhookId)>, Error> {
    let rows: Vec<(i64, String)> = db.all(
        &format!("SELECT n, id FROM webhooks WHERE {condition}"),
        values,
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let parsed = rows.into_iter().map(|(n, id)| match id.parse() {
        Ok(id) => Ok((n, id)),
        Err(_) => Err(Error::Corrupt("the id of a webhook".to_owned())),
    });
    parsed.collect()
}

/// Keeps the subscriptions that a key made active when that key ends: they are those of the key of
/// `by` from now on, and end with it. The operator, who has no key, leaves them without an end.
pub(crate) fn keep(tx: &mut Transaction<'_>, by: &Author, key: KeyId) -> Result<(), Error> {
    let lapses_at = by.scope.expires_at().map(Timestamp::as_micros);
    let keeper = by.scope.key().map(|id| id.to_string());
    tx.send(
        "UPDATE webhooks SET lapses_at = ?2, created_by = coalesce(?3, created_by), revision = revision + 1 WHERE created_by = ?1",
        values![key.to_string(), lapses_at, keeper],
    )?;
    changed(tx)
}

/// Brings forward the end of subscriptions that a token of a key made: the token, which was to end
/// at `old`, ends at `new`.
pub(crate) fn end_sooner(
    tx: &mut Transaction<'_>,
    key: KeyId,
    (old, new): (Timestamp, Timestamp),
) -> Result<(), Error> {
    tx.send(
        "UPDATE webhooks SET lapses_at = ?3, revision = revision + 1 WHERE created_by = ?1 AND lapses_at = ?2",
        values![key.to_string(), old.as_micros(), new.as_micros()],
    )?;
    changed(tx)
}

fn switch_off(tx: &mut Transaction<'_>, n: i64, reason: &str, now: Timestamp) -> Result<(), Error> {
    tx.send(
        "UPDATE webhooks SET active = FALSE, takes = TRUE, disabled_at = ?2, disabled_reason = ?3, revision = revision + 1 WHERE n = ?1 AND active",
        values![n, now.as_micros(), reason],
    )?;
    changed(tx)
}

/// Switches off an active subscription, for `reason`. What happens is kept for it.
pub(crate) fn disable(
    tx: &mut Transaction<'_>,
    by: &Author,
    (n, id): (i64, WebhookId),
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    switch_off(tx, n, reason, now)?;
    let states = (
        json!({ "active": true }),
        json!({ "active": false, "disabled_at": now, "disabled_reason": reason }),
    );
    note(tx, by, "webhook_disable", id, states, now)
}

/// Active subscriptions whose key has expired.
const OVER: &str = "active AND lapses_at <= ?1";

/// Whether there are some.
pub(crate) fn is_over(db: &Db<'_>, now: Timestamp) -> Result<bool, Error> {
    let first = db.find(
        &format!("SELECT n FROM webhooks WHERE {OVER} LIMIT 1"),
        values![now.as_micros()],
        |row| row.get::<i64>(0),
    )?;
    Ok(first.is_some())
}

/// Switches them off.
pub(crate) fn lapse(tx: &mut Transaction<'_>, now: Timestamp) -> Result<Vec<WebhookId>, Error> {
    let over = rows_of(tx, &format!("{OVER} ORDER BY n"), values![now.as_micros()])?;
    let reason = "The API key that made it, or the token of that key, has expired";
    for (n, _) in &over {
        switch_off(tx, *n, reason, now)?;
    }
    Ok(over.into_iter().map(|(_, id)| id).collect())
}

fn insert(
    tx: &mut Transaction<'_>,
    by: &Author,
    webhook: &Webhook,
    sealed: &[u8],
) -> Result<(), Error> {
    there_is_room(tx, webhook)?;
    let integrations = webhook
        .integrations
        .as_ref()
        .map(serde_json::to_string)
        .transpose()
        .map_err(corrupt("the integrations of a webhook"))?;
    let n: i64 = tx.one(
        "INSERT INTO webhooks (id, active, takes, integrations, sealed, body, revision, created_at, updated_at, created_by, lapses_at, scope)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?9, ?10, ?11) RETURNING n",
        values![
            webhook.id.to_string(),
            webhook.active,
            takes(webhook),
            integrations,
            sealed,
            body(webhook)?,
            webhook.created_at.as_micros(),
            webhook.updated_at.as_micros(),
            webhook.created_by.map(|id| id.to_string()),
            by.scope.expires_at().map(Timestamp::as_micros),
            scopes::scope_of(webhook.integrations.as_deref()),
        ],
        |row| row.get(0),
    )?;
    put_triggers(tx, n, &webhook.triggers)?;
    changed(tx)?;
    let states = (Value::Null, shown(webhook)?);
    note(
        tx,
        by,
        "webhook_create",
        webhook.id,
        states,
        webhook.created_at,
    )
}

/// Puts a changed subscription in the place of what it was read from, and returns it. `None` when
/// that changed meanwhile.
fn replace(
    tx: &mut Transaction<'_>,
    (by, action, adopts): (&Author, &str, bool),
    (before, after): (&Stored, &Webhook),
    sealed: &[u8],
) -> Result<Option<Webhook>, Error> {
    let mut after = after.clone();
    let begins = after.active && !before.webhook.active;
    let settled = tx.time.settled(after.updated_at);
    // Who says where events go answers for it, and so does who switches on what nobody answers for.
    let adopts = adopts
        || after.url != before.webhook.url
        || (begins && has_outlived_its_key(tx, after.created_by, settled)?);
    if adopts {
        after.created_by = by.scope.key();
    }
    let after = after;
    let disabled = after.disabled.as_ref();
    // How its receiver does may have been noted since it was read: it is taken back only where the change begins anew.
    let begins_anew = after.url != before.webhook.url || begins;
    let replaced = tx.execute(
        "UPDATE webhooks SET active = ?3, takes = ?4, sealed = ?5, body = ?6, revision = revision + 1,
                    failing_since = CASE WHEN ?7 THEN NULL ELSE failing_since END,
                    gone_since = CASE WHEN ?7 THEN NULL ELSE gone_since END, disabled_at = ?8, disabled_reason = ?9, updated_at = ?10,
                    created_by = ?11, lapses_at = CASE WHEN ?12 THEN ?13 ELSE lapses_at END
             WHERE n = ?1 AND revision = ?2",
        values![
            before.n,
            before.revision,
            after.active,
            takes(&after),
            sealed,
            body(&after)?,
            begins_anew,
            disabled.map(|disabled| disabled.at.as_micros()),
            disabled.map(|disabled| disabled.reason.as_str()),
            after.updated_at.as_micros(),
            after.created_by.map(|id| id.to_string()),
            adopts,
            by.scope.expires_at().map(Timestamp::as_micros),
        ],
    )?;
    if replaced == 0 {
        return Ok(None);
    }
    put_triggers(tx, before.n, &after.triggers)?;
    if begins_anew {
        // What failed before is no reason to wait any more. These are few: a receiver that fails is not sent much.
        tx.execute(
            "UPDATE deliveries SET due_at = ?2, tries = 0 WHERE webhook = ?1 AND state = 1 AND due_at > ?2",
            values![
                before.n,
                tx.time.at_once(after.updated_at).as_micros()
            ],
        )?;
    }
    changed(tx)?;
    tx.raised.deliveries.insert(after.id);
    let states = (shown(&before.webhook)?, shown(&after)?);
    note(tx, by, action, after.id, states, after.updated_at)?;
    Ok(Some(after))
}

fn delete(
    tx: &mut Transaction<'_>,
    by: &Author,
    id: WebhookId,
    now: Timestamp,
) -> Result<bool, Error> {
    let Some(Place { n, .. }) = row(tx, &by.scope, id)? else {
        return Ok(false);
    };
    for sql in [
        "INSERT INTO webhooks_gone (n) VALUES (?1)",
        "DELETE FROM webhook_triggers WHERE webhook = ?1",
        "DELETE FROM webhooks WHERE n = ?1",
    ] {
        tx.send(sql, values![n])?;
    }
    changed(tx)?;
    let states = (Value::Null, Value::Null);
    note(tx, by, "webhook_delete", id, states, now)?;
    Ok(true)
}

/// A receiver that was tried: the row of its subscription, when the attempt began, and whether it
/// was known to fail by then.
#[derive(Clone, Copy)]
pub(crate) struct Tried {
    pub(crate) n: i64,
    pub(crate) started_at: Timestamp,
    pub(crate) fails: bool,
}

/// Notes that its receiver failed at an attempt; one that began before the subscription was last
/// changed says nothing of it as it is now. It is switched off, for `reason`, at once or, with
/// `since_before`, when it failed all the time since then.
pub(crate) fn failed(
    tx: &mut Transaction<'_>,
    tried: Tried,
    since_before: Option<Timestamp>,
    reason: &str,
    now: Timestamp,
) -> Result<Health, Error> {
    let told = (since_before, reason, now);
    noted(tx, "failing_since", tried, told)
}

/// As [`failed`], of a receiver that says that it is gone: it is switched off when it said so first no
/// later than `said_before`.
pub(crate) fn said_gone(
    tx: &mut Transaction<'_>,
    tried: Tried,
    said_before: Option<Timestamp>,
    reason: &str,
    now: Timestamp,
) -> Result<Health, Error> {
    noted(tx, "gone_since", tried, (said_before, reason, now))
}

/// Notes in the column `since` that something is so of a receiver, and switches its subscription off
/// when it has been so for long enough.
fn noted(
    tx: &mut Transaction<'_>,
    since: &str,
    tried: Tried,
    (since_before, reason, now): (Option<Timestamp>, &str, Timestamp),
) -> Result<Health, Error> {
    let (n, started_at) = (tried.n, tried.started_at.as_micros());
    let is_new = tx.execute(
        &format!(
            "UPDATE webhooks SET {since} = ?2 WHERE n = ?1 AND {since} IS NULL AND updated_at <= ?3"
        ),
        values![n, now.as_micros(), started_at],
    )? > 0;
    let since_before = since_before.map_or(i64::MAX, Timestamp::as_micros);
    let disabled = tx.execute(
        &format!(
            "UPDATE webhooks SET active = FALSE, takes = TRUE, disabled_at = ?3, disabled_reason = ?4, revision = revision + 1
             WHERE n = ?1 AND active AND {since} <= ?2 AND updated_at <= ?5"
        ),
        values![n, since_before, now.as_micros(), reason, started_at],
    )?;
    if disabled > 0 {
        changed(tx)?;
        return Ok(Health::Off);
    }
    Ok(if is_new && !tried.fails {
        Health::Fails
    } else {
        Health::Same
    })
}

/// Notes that its receiver works.
pub(crate) fn did_well(db: &Db<'_>, tried: Tried) -> Result<Health, Error> {
    if !tried.fails {
        return Ok(Health::Same);
    }
    db.send(
        "UPDATE webhooks SET failing_since = NULL, gone_since = NULL WHERE n = ?1",
        values![tried.n],
    )?;
    Ok(Health::Works)
}

impl Store {
    /// The subscriptions that the caller may know of, the oldest first: those that get no more than
    /// the caller sees. One that cannot be read is counted and left out.
    pub async fn webhooks_list(
        &self,
        scope: &Scope,
        query: WebhookQuery,
    ) -> Result<Page<Webhook>, Error> {
        let read = |cost| {
            let (scope, reading) = (scope.clone(), Reading::of(scope, cost));
            self.read_sealed(reading, move |db, sealer| page(db, sealer, &scope, query))
        };
        match read(Cost::Page).await {
            Err(Error::ReadTooLong) => read(Cost::Expensive).await,
            other => other,
        }
    }

    /// Every subscription that can be read, the oldest first: for who delivers for all.
    pub async fn webhooks_all(&self) -> Result<Vec<Webhook>, Error> {
        self.read_sealed(Reading::BACKGROUND, |db, sealer| {
            readable(db, sealer, "TRUE ORDER BY n", &[])
        })
        .await
    }

    async fn webhook_stored(&self, scope: &Scope, id: WebhookId) -> Result<Option<Stored>, Error> {
        let (scope, reading) = (scope.clone(), Reading::of(scope, Cost::Lookup));
        self.read_sealed(reading, move |db, sealer| one(db, sealer, &scope, id))
            .await
    }

    /// A subscription; `None` when there is none that the caller may know of.
    pub async fn webhook_find(
        &self,
        scope: &Scope,
        id: WebhookId,
    ) -> Result<Option<Webhook>, Error> {
        let stored = self.webhook_stored(scope, id).await?;
        Ok(stored.map(|stored| stored.webhook))
    }

    /// Stores a subscription.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there are as many as there can be for its integrations, or in all.
    pub async fn webhook_create(&self, by: &Actor, webhook: Webhook) -> Result<(), Error> {
        let by = self.author(by).await?;
        let (id, secrets) = (webhook.id.to_string(), sealed(&webhook)?);
        let change =
            move |tx: &mut Transaction<'_>, sealed: &[u8]| insert(tx, &by, &webhook, sealed);
        self.write_sealed(&id, Purpose::WebhookSecret, &secrets, change)
            .await
    }

    /// Changes a subscription; `action` is what the audit log calls that. `None` when there is none that the caller may know of.
    pub async fn webhook_change(
        &self,
        by: &Actor,
        id: WebhookId,
        action: &'static str,
        change: Change,
        now: Timestamp,
    ) -> Result<Option<Webhook>, Error> {
        // One after the other here, so that only who changes it from another process comes between.
        let _turn = self.webhook_changes.lock().await;
        for _ in 0..CHANGE_TRIES {
            let Some(before) = self.webhook_stored(&by.scope, id).await? else {
                return Ok(None);
            };
            let mut after = before.webhook.clone();
            let settled = self.engine.signals().time().settled(now);
            let adopts = change.adopts;
            change.clone().apply(&mut after, now, settled);
            let secrets = sealed(&after)?;
            let by = self.author(by).await?;
            let put = move |tx: &mut Transaction<'_>, sealed: &[u8]| {
                replace(tx, (&by, action, adopts), (&before, &after), sealed)
            };
            let made = self
                .write_sealed(&id.to_string(), Purpose::WebhookSecret, &secrets, put)
                .await?;
            if made.is_some() {
                return Ok(made);
            }
        }
        Err(Error::Busy)
    }

    /// Removes a subscription, with its deliveries. `false` when there is none that the caller may know of.
    pub async fn webhook_delete(
        &self,
        by: &Actor,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let by = self.author(by).await?;
        self.engine.write(move |tx| delete(tx, &by, id, now)).await
    }

    /// Switches off the subscriptions that are active and whose key has expired by `now`. Returns
    /// them.
    pub async fn webhooks_lapse(&self, now: Timestamp) -> Result<Vec<WebhookId>, Error> {
        // Nearly always there is none, and a read is no commit.
        if !self
            .engine
            .read(Reading::OWN, move |db| is_over(db, now))
            .await?
        {
            return Ok(Vec::new());
        }
        self.engine.write(move |tx| lapse(tx, now)).await
    }

    /// A number that grows with each change of a subscription that concerns who delivers to it.
    pub async fn webhooks_revision(&self) -> Result<i64, Error> {
        self.engine.read(Reading::OWN, revision).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{
        Directory, Entropy, Permission,
        directory::Contents,
        key::{Key, token_make},
    };
    use rusqlite::{Connection, params};

    use super::*;
    use crate::{migrations, sealing::MasterKey};

    struct Fixed(u8);
    impl Entropy for Fixed {
        fn bytes(&self) -> [u8; 16] {
            [self.0; 16]
        }
    }

    fn sealer(digit: char) -> (Sealer, crate::sealing::MasterKeyId) {
        let text = Secret::new(digit.to_string().repeat(64));
        let id = MasterKey::parse(&text).unwrap().id();
        (Sealer::new(&text, Arc::new(Fixed(9))).unwrap(), id)
    }

    /// Who asks for one subscription pays for one, however many others have.
    #[test]
    fn only_the_secrets_of_a_page_are_opened() {
        let connection = Connection::open_in_memory().unwrap();
        for step in migrations::SQLITE {
            connection.execute_batch(step.sql).unwrap();
        }
        let (ours, theirs) = (sealer('a'), sealer('b'));
        let ids: Vec<_> = (1..4)
            .map(|n| WebhookId::new(Timestamp::ZERO, &Fixed(n)))
            .collect();
        // The secrets of the second cannot be opened.
        for (id, (sealer, key)) in ids.iter().zip([&ours, &theirs, &ours]) {
            let secrets = Secret::new(r#"{"secret":"","previous":[],"headers":[]}"#);
            let sealed = sealer
                .seal(*key, &id.to_string(), Purpose::WebhookSecret, &secrets)
                .unwrap();
            let body = r#"{"url":"","triggers":[],"system":"PRODUCTION","previous_until":[]}"#;
            connection
                .execute(
                    "INSERT INTO webhooks (id, active, takes, sealed, body, revision, created_at, updated_at)
                     VALUES (?1, TRUE, TRUE, ?2, ?3, 1, 0, 0)",
                    params![id.to_string(), sealed, body],
                )
                .unwrap();
        }
        #[expect(clippy::disallowed_methods, reason = "a test may act as the operator")]
        let all = Scope::operator();
        let listed = |offset| {
            let query = WebhookQuery {
                active: None,
                is_descending: false,
                offset,
                limit: 1,
            };
            page(&Db::Sqlite(&connection), &ours.0, &all, query)
        };
        for (offset, id) in [(0, ids[0]), (2, ids[2])] {
            let page = listed(offset).unwrap();
            assert_eq!((page.rows[0].id, page.total), (id, Some(3)));
        }
        assert!(matches!(listed(1), Err(Error::MasterKey(_))));
        let known = |scope: &Scope| one(&Db::Sqlite(&connection), &ours.0, scope, ids[1]);
        assert!(matches!(known(&all), Err(Error::MasterKey(_))));
        assert!(matches!(known(&limited()), Ok(None)), "not even looked at");
    }

    /// Who has a few integrations fills the store with no mix of them.
    #[test]
    fn subscriptions_count_for_each_integration_and_leave_room_for_others() {
        let connection = Connection::open_in_memory().unwrap();
        for step in migrations::SQLITE {
            connection.execute_batch(step.sql).unwrap();
        }
        let db = Db::Sqlite(&connection);
        let id = |n| IntegrationId::new(Timestamp::ZERO, &Fixed(n));
        let has_room = |numbers: Option<&[u8]>| {
            let ids: Option<Vec<_>> = numbers.map(|all| all.iter().map(|n| id(*n)).collect());
            let webhook = Webhook {
                id: WebhookId::new(Timestamp::ZERO, &Fixed(1)),
                url: String::new(),
                headers: Vec::new(),
                triggers: Vec::new(),
                active: true,
                system: System::Sandbox,
                object_style: Default::default(),
                integrations: ids,
                secret: Secret::new(""),
                previous: Vec::new(),
                failing_since: None,
                disabled: None,
                created_by: None,
                created_at: Timestamp::ZERO,
                updated_at: Timestamp::ZERO,
            };
            there_is_room(&db, &webhook).is_ok()
        };
        let fill = |numbers: &[u8], count: i64| {
            let ids: Vec<_> = numbers.iter().map(|n| id(*n)).collect();
            connection
                .execute(
                    "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?2)
                     INSERT INTO webhooks (id, active, takes, sealed, body, revision, created_at, updated_at, scope)
                     SELECT ?1 || n, TRUE, TRUE, x'', '', 1, 0, 0, ?1 FROM n",
                    params![scopes::scope_of(Some(&ids)), count],
                )
                .unwrap();
        };
        // All mixes of three, of each as many as there can be of one.
        for mix in [&[1][..], &[2], &[3], &[1, 2], &[1, 3], &[2, 3], &[1, 2, 3]] {
            assert!(has_room(Some(mix)));
            fill(mix, OF_ONE_MAX / 4);
        }
        for mix in [&[1][..], &[2], &[3], &[1, 2], &[1, 4], &[1, 2, 3]] {
            assert!(!has_room(Some(mix)), "{mix:?}");
        }
        assert!(has_room(Some(&[4])) && has_room(None));
        for n in 4..7 {
            fill(&[n], 3 * OF_ONE_MAX / 4);
        }
        assert!(!has_room(Some(&[7])), "four fifths of all");
        assert!(has_room(None), "who sees all has the rest");
    }

    /// Who sees one integration.
    fn limited() -> Scope {
        let (token, kept) = token_make(System::Sandbox, &Fixed(1), Timestamp::ZERO).unwrap();
        let ours = IntegrationId::new(Timestamp::ZERO, &Fixed(1));
        let key = Key::new(
            KeyId::new(Timestamp::ZERO, &Fixed(1)),
            "one",
            System::Sandbox,
            &Permission::ALL,
            Some(vec![ours]),
            kept,
        );
        let directory = Directory::new(Contents {
            keys: vec![key],
            ..Contents::default()
        });
        directory
            .authenticate(token.expose(), Timestamp::ZERO)
            .unwrap()
    }
}
