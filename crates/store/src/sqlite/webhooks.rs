//! Subscriptions to events.
//!
//! Guarantee: secrets and the values of headers are sealed; a change of a subscription and its entry in the audit log are one transaction. What
//! becomes of a receiver (failing, switched off) changes beside that, and nobody's change undoes it by accident.

use model::{
    Actor, IntegrationId, Scope, Secret, Timestamp, WebhookId,
    key::System,
    record::Kind,
    resources::webhook::WebhookRecord,
    webhook::{Change, Disabled, Previous, Subscribed, Webhook},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Sqlite,
    audit::{self, Deed},
    corrupt, database,
    writer::Kind as Request,
};
use crate::{Error, Sealer, sealing::Purpose, signals::Effects};

/// Subscriptions at most: each event is held against all that are to its trigger, and the announcer keeps them in memory.
const WEBHOOKS_MAX: i64 = 1_000;

/// How often a change is applied anew because another came between.
const CHANGE_TRIES: usize = 5;

/// What of a subscription stands in the clear.
#[derive(Serialize, Deserialize)]
struct Body {
    url: String,
    triggers: Vec<Subscribed>,
    system: System,
    previous_until: Vec<Timestamp>,
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
    };
    serde_json::to_string(&body).map_err(corrupt("a webhook"))
}

/// What [`read`] reads.
const COLUMNS: &str = "id, active, integrations, sealed, body, failing_since, disabled_at, disabled_reason, created_at, updated_at, n, revision";

/// A subscription, and where it is stored.
struct Stored {
    webhook: Webhook,
    n: i64,
    revision: i64,
}

fn read(row: &Row<'_>, sealer: &Sealer) -> Result<Stored, Error> {
    let text = |place: usize| row.get::<_, String>(place).map_err(database);
    let time = |place: usize| {
        row.get::<_, Option<i64>>(place)
            .map(|at| at.map(Timestamp::from_micros))
            .map_err(database)
    };
    let id = text(0)?;
    let integrations: Option<String> = row.get(2).map_err(database)?;
    let blob: Vec<u8> = row.get(3).map_err(database)?;
    let body: Body = serde_json::from_str(&text(4)?).map_err(corrupt("a webhook"))?;
    let secrets = sealer.open(&id, Purpose::WebhookSecret, &blob)?;
    let secrets: Sealed =
        serde_json::from_str(secrets.expose()).map_err(corrupt("the secrets of a webhook"))?;
    let headers = secrets.headers.into_iter();
    let disabled_at = time(6)?;
    let reason: Option<String> = row.get(7).map_err(database)?;
    let webhook = Webhook {
        id: id
            .parse()
            .map_err(|_| Error::Corrupt("the id of a webhook".to_owned()))?,
        url: body.url,
        headers: headers
            .map(|(name, value)| (name, Secret::new(value)))
            .collect(),
        triggers: body.triggers,
        active: row.get(1).map_err(database)?,
        system: body.system,
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
        created_at: time(8)?.unwrap_or(Timestamp::ZERO),
        updated_at: time(9)?.unwrap_or(Timestamp::ZERO),
    };
    Ok(Stored {
        webhook,
        n: row.get(10).map_err(database)?,
        revision: row.get(11).map_err(database)?,
    })
}

/// Where a subscription is stored, and the integrations that it is limited to.
pub(super) struct Place {
    pub(super) n: i64,
    pub(super) integrations: Option<Vec<IntegrationId>>,
}

/// The place of a subscription that `scope` may know of.
pub(super) fn row(
    connection: &Connection,
    scope: &Scope,
    id: WebhookId,
) -> Result<Option<Place>, Error> {
    let found: Option<(i64, Option<String>)> = connection
        .prepare_cached("SELECT n, integrations FROM webhooks WHERE id = ?1")
        .and_then(|mut sql| {
            sql.query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(database)?;
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

/// Every subscription that `scope` may know of and that can be read.
fn all(connection: &Connection, sealer: &Sealer, scope: &Scope) -> Result<Vec<Webhook>, Error> {
    let rows: Vec<Result<Stored, Error>> = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM webhooks ORDER BY n"))
        .and_then(|mut sql| sql.query_map([], |row| Ok(read(row, sealer)))?.collect())
        .map_err(database)?;
    let mut webhooks = Vec::with_capacity(rows.len());
    for row in rows {
        match row {
            Ok(row) if scope.sees_as_much_as(row.webhook.integrations.as_deref()) => {
                webhooks.push(row.webhook);
            }
            Ok(_) => {}
            Err(Error::Corrupt(what)) => {
                tracing::error!(%what, "a webhook cannot be read; the others go on");
            }
            Err(why) => return Err(why),
        }
    }
    Ok(webhooks)
}

fn one(
    connection: &Connection,
    sealer: &Sealer,
    scope: &Scope,
    id: WebhookId,
) -> Result<Option<Stored>, Error> {
    let found = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM webhooks WHERE id = ?1"))
        .and_then(|mut sql| {
            sql.query_row([id.to_string()], |row| Ok(read(row, sealer)))
                .optional()
        })
        .map_err(database)?
        .transpose()?;
    Ok(found.filter(|one| scope.sees_as_much_as(one.webhook.integrations.as_deref())))
}

fn shown(webhook: &Webhook) -> Result<Value, Error> {
    serde_json::to_value(WebhookRecord::of(webhook, false)).map_err(corrupt("a webhook"))
}

fn note(
    connection: &Connection,
    by: &Actor,
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
    audit::record(connection, by, deed, now)
}

fn put_triggers(connection: &Connection, n: i64, triggers: &[Subscribed]) -> Result<(), Error> {
    connection
        .execute("DELETE FROM webhook_triggers WHERE webhook = ?1", [n])
        .map_err(database)?;
    for one in triggers {
        connection
            .execute(
                "INSERT INTO webhook_triggers (trigger, kind, webhook) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                params![one.trigger.word(), one.kind.map_or("", Kind::word), n],
            )
            .map_err(database)?;
    }
    Ok(())
}

/// Whether what happens is kept for it.
const fn takes(webhook: &Webhook) -> bool {
    webhook.active || webhook.disabled.is_some()
}

fn insert(
    connection: &Connection,
    effects: &mut Effects,
    by: &Actor,
    webhook: &Webhook,
    sealed: &[u8],
) -> Result<(), Error> {
    let count: i64 = connection
        .query_row("SELECT count(*) FROM webhooks", [], |row| row.get(0))
        .map_err(database)?;
    if count >= WEBHOOKS_MAX {
        return Err(Error::Conflict(format!(
            "there are {count} webhooks, which is as many as there can be; delete one that is not needed any more"
        )));
    }
    let integrations = webhook
        .integrations
        .as_ref()
        .map(serde_json::to_string)
        .transpose()
        .map_err(corrupt("the integrations of a webhook"))?;
    connection
        .execute(
            "INSERT INTO webhooks (id, active, takes, integrations, sealed, body, revision, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8)",
            params![
                webhook.id.to_string(),
                webhook.active,
                takes(webhook),
                integrations,
                sealed,
                body(webhook)?,
                webhook.created_at.as_micros(),
                webhook.updated_at.as_micros()
            ],
        )
        .map_err(database)?;
    put_triggers(
        connection,
        connection.last_insert_rowid(),
        &webhook.triggers,
    )?;
    effects.webhooks = true;
    let states = (Value::Null, shown(webhook)?);
    note(
        connection,
        by,
        "webhook_create",
        webhook.id,
        states,
        webhook.created_at,
    )
}

/// Puts a changed subscription in the place of what it was read from. `false` when that changed meanwhile.
fn replace(
    connection: &Connection,
    effects: &mut Effects,
    (by, action): (&Actor, &str),
    (before, after): (&Stored, &Webhook),
    sealed: &[u8],
) -> Result<bool, Error> {
    let disabled = after.disabled.as_ref();
    // How its receiver does may have been noted since it was read: it is taken back only where the change begins anew.
    let begins_anew = after.url != before.webhook.url || (after.active && !before.webhook.active);
    let changed = connection
        .execute(
            "UPDATE webhooks SET active = ?3, takes = ?4, sealed = ?5, body = ?6, revision = revision + 1,
                    failing_since = CASE WHEN ?7 THEN NULL ELSE failing_since END, disabled_at = ?8, disabled_reason = ?9, updated_at = ?10
             WHERE n = ?1 AND revision = ?2",
            params![
                before.n,
                before.revision,
                after.active,
                takes(after),
                sealed,
                body(after)?,
                begins_anew,
                disabled.map(|disabled| disabled.at.as_micros()),
                disabled.map(|disabled| disabled.reason.as_str()),
                after.updated_at.as_micros()
            ],
        )
        .map_err(database)?;
    if changed == 0 {
        return Ok(false);
    }
    put_triggers(connection, before.n, &after.triggers)?;
    if (after.active && !before.webhook.active) || after.url != before.webhook.url {
        // What failed before is no reason to wait any more. These are few: a receiver that fails is not sent much.
        connection
            .execute(
                "UPDATE deliveries SET due_at = ?2, tries = 0 WHERE webhook = ?1 AND state = 1 AND due_at > ?2",
                params![before.n, after.updated_at.as_micros()],
            )
            .map_err(database)?;
    }
    effects.webhooks = true;
    effects.deliveries.insert(after.id);
    let states = (shown(&before.webhook)?, shown(after)?);
    note(connection, by, action, after.id, states, after.updated_at)?;
    Ok(true)
}

fn delete(
    connection: &Connection,
    effects: &mut Effects,
    by: &Actor,
    id: WebhookId,
    now: Timestamp,
) -> Result<bool, Error> {
    let Some(Place { n, .. }) = row(connection, &by.scope, id)? else {
        return Ok(false);
    };
    for sql in [
        "INSERT INTO webhooks_gone (n) VALUES (?1)",
        "DELETE FROM webhook_triggers WHERE webhook = ?1",
        "DELETE FROM webhooks WHERE n = ?1",
    ] {
        connection.execute(sql, [n]).map_err(database)?;
    }
    effects.webhooks = true;
    let states = (Value::Null, Value::Null);
    note(connection, by, "webhook_delete", id, states, now)?;
    Ok(true)
}

/// Notes that its receiver failed at an attempt that began at `started_at`; one that began before the subscription was last changed says nothing of it as it is
/// now. It is switched off, for `reason`, at once or, with `since_before`, when it failed all the time since then. `true` when it was.
pub(super) fn failed(
    connection: &Connection,
    effects: &mut Effects,
    (n, started_at): (i64, Timestamp),
    since_before: Option<Timestamp>,
    reason: &str,
    now: Timestamp,
) -> Result<bool, Error> {
    connection
        .prepare_cached(
            "UPDATE webhooks SET failing_since = ?2 WHERE n = ?1 AND failing_since IS NULL AND updated_at <= ?3",
        )
        .and_then(|mut sql| sql.execute(params![n, now.as_micros(), started_at.as_micros()]))
        .map_err(database)?;
    let since_before = since_before.map_or(i64::MAX, Timestamp::as_micros);
    let disabled = connection
        .prepare_cached(
            "UPDATE webhooks SET active = 0, takes = 1, disabled_at = ?3, disabled_reason = ?4, revision = revision + 1
             WHERE n = ?1 AND active AND failing_since <= ?2 AND updated_at <= ?5",
        )
        .and_then(|mut sql| {
            sql.execute(params![n, since_before, now.as_micros(), reason, started_at.as_micros()])
        })
        .map_err(database)?;
    effects.webhooks |= disabled > 0;
    Ok(disabled > 0)
}

/// Notes that its receiver works.
pub(super) fn did_well(connection: &Connection, n: i64) -> Result<(), Error> {
    connection
        .prepare_cached(
            "UPDATE webhooks SET failing_since = NULL WHERE n = ?1 AND failing_since IS NOT NULL",
        )
        .and_then(|mut sql| sql.execute([n]))
        .map(drop)
        .map_err(database)
}

impl Sqlite {
    pub(super) async fn webhooks(&self, scope: &Scope) -> Result<Vec<Webhook>, Error> {
        let scope = scope.clone();
        self.read_sealed(move |connection, sealer| all(connection, sealer, &scope))
            .await
    }

    async fn webhook_stored(&self, scope: &Scope, id: WebhookId) -> Result<Option<Stored>, Error> {
        let scope = scope.clone();
        self.read_sealed(move |connection, sealer| one(connection, sealer, &scope, id))
            .await
    }

    pub(super) async fn webhook(
        &self,
        scope: &Scope,
        id: WebhookId,
    ) -> Result<Option<Webhook>, Error> {
        let stored = self.webhook_stored(scope, id).await?;
        Ok(stored.map(|stored| stored.webhook))
    }

    pub(super) async fn webhook_insert(&self, by: &Actor, webhook: Webhook) -> Result<(), Error> {
        let (by, id, secrets) = (by.clone(), webhook.id.to_string(), sealed(&webhook)?);
        let change = move |connection: &Connection, effects: &mut Effects, sealed: &[u8]| {
            insert(connection, effects, &by, &webhook, sealed)
        };
        self.write_sealed(&id, Purpose::WebhookSecret, &secrets, change)
            .await
    }

    pub(super) async fn webhook_replace(
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
            change.clone().apply(&mut after, now);
            let (by, secrets, made) = (by.clone(), sealed(&after)?, after.clone());
            let put = move |connection: &Connection, effects: &mut Effects, sealed: &[u8]| {
                replace(
                    connection,
                    effects,
                    (&by, action),
                    (&before, &after),
                    sealed,
                )
            };
            let is_done = self
                .write_sealed(&id.to_string(), Purpose::WebhookSecret, &secrets, put)
                .await?;
            if is_done {
                return Ok(Some(made));
            }
        }
        Err(Error::Busy)
    }

    pub(super) async fn webhook_remove(
        &self,
        by: &Actor,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let by = by.clone();
        self.writer
            .write(Request::Other, move |connection, effects| {
                delete(connection, effects, &by, id, now)
            })
            .await
    }
}
