//! API keys.
//!
//! Guarantee: a change of a key and its entry in the audit log are one transaction.

use model::{
    Actor, KeyId, Scope, Timestamp,
    key::{Key, Token},
    resources::key::KeyRecord,
};
use serde_json::{Value, json};

use crate::{
    Error, Page, Store,
    audit::{self, Author, Deed},
    directory,
    engines::{
        Transaction,
        db::{Db, Row, corrupt, values},
    },
    listing::scopes::{self, scope_of},
    reading::{Cost, Reading},
    subscriptions::{self, types::Revoked},
};

/// Keys in force for one integration, at most: one for each program and person of a customer, and
/// many to spare. A key counts for every integration that it is limited to; those without a limit
/// count for themselves.
const IN_FORCE_MAX: i64 = 1_000;

/// The same, with those that were revoked or have expired, which are never removed: 27 years of a
/// new key each day.
const EVER_MAX: i64 = 10_000;

/// Keys in all, at most: each process has them in memory, a KB each.
const ALL_MAX: i64 = 100_000;

/// Of those, at most so many that are limited to integrations: the rest is for who sees all.
const LIMITED_MAX: i64 = ALL_MAX / 5 * 4;

/// A key that is in force at ?2.
const IN_FORCE: &str = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)";

/// Tokens that one key has at most: more than one change-over at a time is a mistake.
const TOKENS_MAX: usize = 10;

fn shown(key: &Key) -> Result<Value, Error> {
    serde_json::to_value(KeyRecord::from(key)).map_err(corrupt("a key"))
}

fn write(tx: &mut Transaction<'_>, key: &Key) -> Result<(), Error> {
    let revision = directory::changed(tx)?;
    let body = serde_json::to_string(key).map_err(corrupt("a key"))?;
    let revoked_at = key.revoked_at.map(Timestamp::as_micros);
    let expires_at = key.expires_at.map(Timestamp::as_micros);
    let scope = scope_of(key.integrations.as_deref());
    tx.execute(
        "INSERT INTO keys (id, revision, revoked_at, body, expires_at, scope) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET revision = ?2, revoked_at = ?3, body = ?4, expires_at = ?5, scope = ?6",
        values![key.id.to_string(), revision, revoked_at, body, expires_at, scope],
    )
    .map(drop)
}

/// Refuses another key where there are as many as there can be. It tells no number of others.
fn there_is_room(db: &Db<'_>, key: &Key) -> Result<(), Error> {
    let integrations = key.integrations.as_deref();
    let (ever, in_force) = scopes::most(
        db,
        ("keys", IN_FORCE),
        integrations,
        key.created_at.as_micros(),
    )?;
    let whose = match integrations {
        Some(_) => "one of these integrations",
        None => "all integrations",
    };
    if in_force >= IN_FORCE_MAX {
        return Err(Error::Conflict(format!(
            "{IN_FORCE_MAX} API keys for {whose} are in force, which is as many as there can be; revoke one that is not needed any more"
        )));
    }
    if ever >= EVER_MAX {
        return Err(Error::Conflict(format!(
            "there are {EVER_MAX} API keys for {whose}, revoked ones among them, which is as many as there can be; rotate one instead of making another"
        )));
    }
    let (limited, all) = scopes::limited_and_all(db, "keys")?;
    if integrations.is_some() && limited >= LIMITED_MAX {
        return Err(Error::Conflict(
            "this Portico has as many API keys that are limited to integrations as it can have; its operator can still make some".to_owned(),
        ));
    }
    if all >= ALL_MAX {
        return Err(Error::Conflict(
            "this Portico has as many API keys as it can have; its operator can still make some"
                .to_owned(),
        ));
    }
    Ok(())
}

pub(crate) fn create(tx: &mut Transaction<'_>, by: &Author, key: &Key) -> Result<(), Error> {
    if find(tx, key.id)?.is_some() {
        return Err(Error::Conflict(format!("the key {} exists", key.id)));
    }
    if !by.scope.is_operator() {
        there_is_room(tx, key)?;
    }
    write(tx, key)?;
    record(tx, by, "key_create", None, key, Value::Null, key.created_at)
}

fn record(
    db: &Db<'_>,
    by: &Author,
    action: &str,
    before: Option<&Key>,
    after: &Key,
    more: Value,
    now: Timestamp,
) -> Result<(), Error> {
    let mut told = shown(after)?;
    if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
        told.extend(more);
    }
    let deed = Deed {
        action,
        integration: None,
        subject: after.id.to_string(),
        before: before.map(shown).transpose()?.unwrap_or_default(),
        after: told,
    };
    audit::record(db, by, deed, now)
}

/// Which keys.
#[derive(Clone, Copy, Debug)]
pub struct KeyQuery {
    /// Keys to skip.
    pub offset: u64,
    /// Keys at most.
    pub limit: u64,
}

const COLUMNS: &str = "SELECT body, revoked_at, last_used_at FROM keys";

type Columns = (String, Option<i64>, Option<i64>);

fn columns(row: &Row<'_>) -> Result<Columns, Error> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn read((body, revoked_at, last_used_at): Columns) -> Result<Key, Error> {
    let key: Key = serde_json::from_str(&body).map_err(corrupt("a key"))?;
    Ok(Key {
        revoked_at: revoked_at.map(Timestamp::from_micros),
        last_used_at: last_used_at.map(Timestamp::from_micros),
        ..key
    })
}

fn find(db: &Db<'_>, id: KeyId) -> Result<Option<Key>, Error> {
    db.find(
        &format!("{COLUMNS} WHERE id = ?1"),
        values![id.to_string()],
        columns,
    )?
    .map(read)
    .transpose()
}

/// A page of those that `scope` may know of, oldest first, and how many these are.
fn page(db: &Db<'_>, scope: &Scope, query: &KeyQuery) -> Result<Page<Key>, Error> {
    let which = ("keys", "id", "TRUE", "id");
    scopes::page(
        db,
        scope,
        which,
        (query.offset, query.limit),
        |which, values| {
            let rows: Vec<Columns> =
                db.all(&format!("{COLUMNS} WHERE {which}"), values, columns)?;
            rows.into_iter().map(read).collect()
        },
    )
}

/// Those that changed after a revision, oldest first.
pub(crate) fn since(db: &Db<'_>, revision: i64) -> Result<Vec<Key>, Error> {
    let rows: Vec<Columns> = db.all(
        &format!("{COLUMNS} WHERE revision > ?1 ORDER BY id"),
        values![revision],
        columns,
    )?;
    rows.into_iter().map(read).collect()
}

/// Revokes a key, and switches off the subscriptions that it made, unless it `keeps` them. `None`
/// when there is none; a key that is revoked stays so since then.
pub(crate) fn revoke(
    tx: &mut Transaction<'_>,
    by: &Author,
    (id, keeps): (KeyId, bool),
    now: Timestamp,
) -> Result<Option<Revoked>, Error> {
    let Some(before) = find(tx, id)? else {
        return Ok(None);
    };
    if keeps && by.scope.key() == Some(id) {
        return Err(Error::Conflict(
            "a key cannot keep its own webhooks active beyond its end; revoke it with another key, or leave out keep_webhooks".to_owned(),
        ));
    }
    let made = subscriptions::active_of(tx, id)?;
    let ids: Vec<_> = made.iter().map(|(_, id)| *id).collect();
    let (disabled, kept) = if keeps {
        (Vec::new(), ids)
    } else {
        (ids, Vec::new())
    };
    let is_new = before.revoked_at.is_none();
    let key = Key {
        revoked_at: before.revoked_at.or(Some(now)),
        ..before.clone()
    };
    if is_new {
        let mut more = json!({});
        for (name, ids) in [("disabled_webhooks", &disabled), ("kept_webhooks", &kept)] {
            if !ids.is_empty() {
                more[name] = json!(ids);
            }
        }
        // Before it is: a key may revoke itself.
        record(tx, by, "key_revoke", Some(&before), &key, more, now)?;
    }
    if keeps {
        // Those of a key that is revoked already were kept by who did that.
        if is_new {
            subscriptions::keep(tx, by, id)?;
        }
    } else {
        for (n, webhook) in &made {
            let reason = format!("The API key that made it, {id}, was revoked");
            subscriptions::disable(tx, by, (*n, *webhook), &reason, now)?;
        }
    }
    if is_new {
        write(tx, &key)?;
    }
    Ok(Some(Revoked {
        key,
        disabled,
        kept,
    }))
}

/// Gives a key another token. `None` when there is none.
pub(crate) fn rotate(
    tx: &mut Transaction<'_>,
    by: &Author,
    id: KeyId,
    token: &Token,
    old_until: Timestamp,
    now: Timestamp,
) -> Result<Option<Key>, Error> {
    let settled = tx.time.settled(now);
    let Some(before) = find(tx, id)? else {
        return Ok(None);
    };
    if before.revoked_at.is_some() {
        return Err(Error::Conflict(
            "this key is revoked; make another one".to_owned(),
        ));
    }
    if before.expires_at.is_some_and(|at| at <= settled) {
        return Err(Error::Conflict(
            "this key has expired; make another one".to_owned(),
        ));
    }
    let mut after = before.clone();
    after.rotate(token.clone(), old_until, settled);
    if after.tokens.len() > TOKENS_MAX {
        return Err(Error::Conflict(format!(
            "this key has {TOKENS_MAX} tokens that are still taken; wait until some are over, or revoke it"
        )));
    }
    write(tx, &after)?;
    for old in &before.tokens {
        let kept = after.tokens.iter().find(|one| one.hash == old.hash);
        let new = kept.map_or(Some(settled), |one| one.expires_at);
        if let (Some(old), Some(new)) = (old.expires_at, new)
            && new < old
        {
            subscriptions::end_sooner(tx, id, (old, new))?;
        }
    }
    record(
        tx,
        by,
        "key_rotate",
        Some(&before),
        &after,
        Value::Null,
        now,
    )?;
    Ok(Some(after))
}

/// Notes when keys were last used. Nothing that a request is answered by changes.
pub(crate) fn used(db: &Db<'_>, uses: &[(KeyId, Timestamp)]) -> Result<(), Error> {
    for (id, at) in uses {
        db.execute(
            "UPDATE keys SET last_used_at = CASE WHEN last_used_at > ?2 THEN last_used_at ELSE ?2 END WHERE id = ?1",
            values![id.to_string(), at.as_micros()],
        )?;
    }
    Ok(())
}

impl Store {
    /// Stores a key.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there are as many as there can be for its integrations, or in all. The operator's are not counted.
    pub async fn key_create(&self, by: &Actor, key: Key) -> Result<(), Error> {
        let by = self.author(by).await?;
        self.engine.write(move |tx| create(tx, &by, &key)).await
    }

    /// The keys that the caller may know of, oldest first: those that see no more than it does.
    pub async fn keys_list(&self, scope: &Scope, query: &KeyQuery) -> Result<Page<Key>, Error> {
        self.listed(scope, query, page).await
    }

    /// A key; `None` when there is none that the caller may know of.
    pub async fn key_find(&self, scope: &Scope, id: KeyId) -> Result<Option<Key>, Error> {
        let (scope, reading) = (scope.clone(), Reading::of(scope, Cost::Lookup));
        let found = self.engine.read(reading, move |db| find(db, id)).await?;
        Ok(found.filter(|key| scope.sees_as_much_as(key.integrations.as_deref())))
    }

    /// Every key, oldest first: for the operator, who is not a caller.
    pub async fn keys_all(&self) -> Result<Vec<Key>, Error> {
        self.engine
            .read(Reading::BACKGROUND, |db| since(db, 0))
            .await
    }

    /// Revokes a key; `None` when there is none with this id. The subscriptions that it made are
    /// switched off, unless `keeps_webhooks`: then they go on as long as the actor's key does not
    /// expire. Revoking twice changes nothing, but for subscriptions that were kept the first time.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a key is to keep its own subscriptions.
    pub async fn key_revoke(
        &self,
        by: &Actor,
        id: KeyId,
        keeps_webhooks: bool,
        now: Timestamp,
    ) -> Result<Option<Revoked>, Error> {
        let by = self.author(by).await?;
        self.engine
            .write(move |tx| revoke(tx, &by, (id, keeps_webhooks), now))
            .await
    }

    /// Gives a key another token; those it had are taken until `old_until`. `None` when there is none with this id.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is revoked or has expired.
    pub async fn key_rotate(
        &self,
        by: &Actor,
        id: KeyId,
        token: Token,
        old_until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Key>, Error> {
        let by = self.author(by).await?;
        self.engine
            .write(move |tx| rotate(tx, &by, id, &token, old_until, now))
            .await
    }

    /// Notes when keys were last used.
    pub async fn keys_used(&self, uses: Vec<(KeyId, Timestamp)>) -> Result<(), Error> {
        self.engine.write(move |tx| used(tx, &uses)).await
    }
}

#[cfg(test)]
mod tests {
    use model::{
        Entropy, IntegrationId, Permission,
        key::{System, token_make},
    };
    use rusqlite::{Connection, params};

    use super::*;
    use crate::migrations;

    struct Fixed;
    impl Entropy for Fixed {
        fn bytes(&self) -> [u8; 16] {
            [7; 16]
        }
    }

    /// Keys are never removed: their number has an end though all are revoked.
    #[test]
    fn revoked_keys_count_too_and_for_each_of_their_integrations() {
        let connection = Connection::open_in_memory().unwrap();
        for step in migrations::SQLITE {
            connection.execute_batch(step.sql).unwrap();
        }
        let limited = IntegrationId::new(Timestamp::ZERO, &Fixed);
        let key = |integrations| {
            let (_, token) = token_make(System::Sandbox, &Fixed, Timestamp::ZERO).unwrap();
            let id = KeyId::new(Timestamp::ZERO, &Fixed);
            Key::new(
                id,
                "one",
                System::Sandbox,
                &Permission::ALL,
                integrations,
                token,
            )
        };
        let another = IntegrationId::new(Timestamp::ZERO, &Another);
        let (all, one) = (key(None), key(Some(vec![limited])));
        let other = key(Some(vec![another]));
        let fill = |name: &str, scope: &str, count: i64| {
            connection
                .execute(
                    "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?3)
                     INSERT INTO keys (id, revoked_at, body, scope) SELECT ?1 || n, 1, '', ?2 FROM n",
                    params![name, scope, count],
                )
                .unwrap();
        };
        let db = Db::Sqlite(&connection);
        let why = |key: &Key| match there_is_room(&db, key) {
            Ok(()) => String::new(),
            Err(why) => why.to_string(),
        };
        fill("all", "", EVER_MAX - 1);
        assert_eq!(why(&all), "");
        fill("last", "", 1);
        assert!(why(&all).contains("10000 API keys"), "{}", why(&all));
        assert_eq!(why(&one), "", "another scope");
        // Whatever else they are limited to, and wherever it stands among that.
        let many: Vec<String> = (0..9).map(|n| format!("int_{n:026}")).collect();
        let with = |ids: &[String]| ids.join(" ");
        let last = format!("{} {limited}", with(&many));
        for (n, scope) in [
            format!("int_{:026} {limited}", 0),
            format!("{limited} int_{}", "z".repeat(26)),
            last,
            limited.to_string(),
        ]
        .iter()
        .enumerate()
        {
            assert_eq!(why(&one), "");
            fill(&format!("of {n} "), scope, EVER_MAX / 4);
        }
        assert!(why(&one).contains("10000 API keys for one of"));
        assert_eq!(why(&other), "");
        fill("more", &many[0], LIMITED_MAX - EVER_MAX);
        // The numbers of others are not told.
        let told = why(&other);
        assert!(
            told.contains("keys that are limited to integrations"),
            "{told}"
        );
    }

    struct Another;
    impl Entropy for Another {
        fn bytes(&self) -> [u8; 16] {
            [8; 16]
        }
    }
}
