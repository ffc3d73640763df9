//! API keys.
//!
//! Guarantee: a change of a key and its entry in the audit log are one transaction.

use model::{
    KeyId, Timestamp,
    key::{Key, Token},
    resources::key::KeyRecord,
};
use serde_json::Value;

use super::{
    audit::{self, Author, Deed},
    corrupt,
    db::{Db, Row, values},
    directory,
};
use crate::{Error, signals::Effects};

/// Tokens that one key has at most: more than one change-over at a time is a mistake.
const TOKENS_MAX: usize = 10;

fn shown(key: &Key) -> Result<Value, Error> {
    serde_json::to_value(KeyRecord::from(key)).map_err(corrupt("a key"))
}

fn write(db: &Db<'_>, effects: &mut Effects, key: &Key) -> Result<(), Error> {
    let revision = directory::changed(db, effects)?;
    let body = serde_json::to_string(key).map_err(corrupt("a key"))?;
    let revoked_at = key.revoked_at.map(Timestamp::as_micros);
    db.execute(
        "INSERT INTO keys (id, revision, revoked_at, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET revision = ?2, revoked_at = ?3, body = ?4",
        values![key.id.to_string(), revision, revoked_at, body],
    )
    .map(drop)
}

pub(super) fn create(
    db: &Db<'_>,
    effects: &mut Effects,
    by: &Author,
    key: &Key,
) -> Result<(), Error> {
    if find(db, key.id)?.is_some() {
        return Err(Error::Conflict(format!("the key {} exists", key.id)));
    }
    write(db, effects, key)?;
    record(db, by, "key_create", None, key, key.created_at)
}

fn record(
    db: &Db<'_>,
    by: &Author,
    action: &str,
    before: Option<&Key>,
    after: &Key,
    now: Timestamp,
) -> Result<(), Error> {
    let deed = Deed {
        action,
        integration: None,
        subject: after.id.to_string(),
        before: before.map(shown).transpose()?.unwrap_or_default(),
        after: shown(after)?,
    };
    audit::record(db, by, deed, now)
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

/// Those that changed after a revision, oldest first.
pub(super) fn since(db: &Db<'_>, revision: i64) -> Result<Vec<Key>, Error> {
    let rows: Vec<Columns> = db.all(
        &format!("{COLUMNS} WHERE revision > ?1 ORDER BY id"),
        values![revision],
        columns,
    )?;
    rows.into_iter().map(read).collect()
}

/// Revokes a key. `None` when there is none; a key that is revoked stays so since then.
pub(super) fn revoke(
    db: &Db<'_>,
    effects: &mut Effects,
    by: &Author,
    id: KeyId,
    now: Timestamp,
) -> Result<Option<Key>, Error> {
    let Some(before) = find(db, id)? else {
        return Ok(None);
    };
    if before.revoked_at.is_some() {
        return Ok(Some(before));
    }
    let after = Key {
        revoked_at: Some(now),
        ..before.clone()
    };
    write(db, effects, &after)?;
    record(db, by, "key_revoke", Some(&before), &after, now)?;
    Ok(Some(after))
}

/// Gives a key another token. `None` when there is none.
pub(super) fn rotate(
    db: &Db<'_>,
    effects: &mut Effects,
    by: &Author,
    id: KeyId,
    token: &Token,
    old_until: Timestamp,
    now: Timestamp,
) -> Result<Option<Key>, Error> {
    let settled = effects.time.settled(now);
    let Some(before) = find(db, id)? else {
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
    write(db, effects, &after)?;
    record(db, by, "key_rotate", Some(&before), &after, now)?;
    Ok(Some(after))
}

/// Notes when keys were last used. Nothing that a request is answered by changes.
pub(super) fn used(db: &Db<'_>, uses: &[(KeyId, Timestamp)]) -> Result<(), Error> {
    for (id, at) in uses {
        db.execute(
            "UPDATE keys SET last_used_at = CASE WHEN last_used_at > ?2 THEN last_used_at ELSE ?2 END WHERE id = ?1",
            values![id.to_string(), at.as_micros()],
        )?;
    }
    Ok(())
}
