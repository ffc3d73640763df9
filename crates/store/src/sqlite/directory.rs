//! Integrations, what belongs to them, and keys.

use model::{
    KeyId, Secret, Timestamp,
    directory::{Contents, Integration, Settings, Vendor},
    key::{Key, System},
    record::Kind,
};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{corrupt, database, records, stamp};
use crate::{Error, Registration, Sealer, sealing::Purpose, signals::Effects};

/// An integration's body: what is neither a column nor a secret.
#[derive(Serialize, Deserialize)]
struct Body {
    name: String,
    system: System,
    settings: Settings,
}

pub(super) fn revision(connection: &Connection) -> Result<i64, Error> {
    connection
        .prepare_cached("SELECT revision FROM revisions WHERE what = 'directory'")
        .and_then(|mut sql| sql.query_row([], |row| row.get(0)))
        .map_err(database)
}

pub(super) fn changed(connection: &Connection, effects: &mut Effects) -> Result<(), Error> {
    effects.directory = true;
    connection
        .execute(
            "UPDATE revisions SET revision = revision + 1 WHERE what = 'directory'",
            [],
        )
        .map(drop)
        .map_err(database)
}

pub(super) fn contents(connection: &Connection, sealer: &Sealer) -> Result<Contents, Error> {
    let rows: Vec<(String, String, bool, Vec<u8>, String)> = connection
        .prepare_cached("SELECT id, vendor, active, credential, body FROM integrations ORDER BY n")
        .and_then(|mut sql| {
            sql.query_map([], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                ))
            })?
            .collect()
        })
        .map_err(database)?;
    let mut integrations = Vec::with_capacity(rows.len());
    for (id, vendor, active, sealed, body) in rows {
        let body: Body = serde_json::from_str(&body).map_err(corrupt("an integration"))?;
        let credential: Secret = sealer.open(&id, Purpose::Credential, &sealed)?;
        integrations.push(Integration {
            id: id
                .parse()
                .map_err(|_| Error::Corrupt("the id of an integration".to_owned()))?,
            name: body.name,
            vendor: vendor.parse::<Vendor>().map_err(Error::Corrupt)?,
            system: body.system,
            active,
            settings: body.settings,
            credential,
        });
    }
    Ok(Contents {
        keys: keys(connection)?,
        integrations,
        communities: bodies(connection, "community")?,
        attributions: bodies(connection, "attribution")?,
        agents: bodies(connection, "agent")?,
    })
}

fn bodies<T: DeserializeOwned>(connection: &Connection, kind: &str) -> Result<Vec<T>, Error> {
    let rows: Vec<String> = connection
        .prepare_cached("SELECT body FROM records WHERE kind = ?1 ORDER BY seq")
        .and_then(|mut sql| sql.query_map([kind], |row| row.get(0))?.collect())
        .map_err(database)?;
    rows.iter()
        .map(|body| serde_json::from_str(body).map_err(corrupt("a record of the directory")))
        .collect()
}

pub(super) fn register(
    connection: &Connection,
    effects: &mut Effects,
    registration: &Registration,
    sealed: &[u8],
    now: Timestamp,
) -> Result<(), Error> {
    let one = &registration.integration;
    let body = Body {
        name: one.name.clone(),
        system: one.system,
        settings: one.settings.clone(),
    };
    let lane: i64 = connection
        .query_row(
            "INSERT INTO integrations (id, vendor, active, credential, body, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
             ON CONFLICT (id) DO UPDATE SET vendor = ?2, active = ?3, credential = ?4, body = ?5, updated_at = ?6 RETURNING n",
            params![
                one.id.to_string(),
                one.vendor.name(),
                one.active,
                sealed,
                serde_json::to_string(&body).map_err(corrupt("an integration"))?,
                now.as_micros()
            ],
            |row| row.get(0),
        )
        .map_err(database)?;
    let integration_id = one.id.to_string();
    let put = |kind: Kind, id: String, x_id: &str, body: Result<Value, _>| {
        let body = body.map_err(corrupt("a record of the directory"))?;
        let new = records::New {
            id: &id,
            kind,
            lane,
            integration_id: &integration_id,
            x_id: Some(x_id),
            body: &body,
        };
        put(connection, &new, now)
    };
    for one in &registration.communities {
        put(
            Kind::Community,
            one.id.to_string(),
            &one.x_id,
            serde_json::to_value(one),
        )?;
    }
    for one in &registration.attributions {
        put(
            Kind::Attribution,
            one.id.to_string(),
            &one.x_id,
            serde_json::to_value(one),
        )?;
    }
    for one in &registration.agents {
        put(
            Kind::Agent,
            one.id.to_string(),
            &one.x_id,
            serde_json::to_value(one),
        )?;
    }
    changed(connection, effects)
}

fn put(connection: &Connection, new: &records::New<'_>, now: Timestamp) -> Result<(), Error> {
    let at = stamp::next(connection, now)?;
    match records::by_id(connection, new.id)? {
        None => records::insert(connection, new, at),
        Some(old) if old.lane == new.lane && old.kind == new.kind => {
            records::replace(connection, &old, new, at)
        }
        Some(_) => Err(Error::Conflict(format!(
            "the {} {} belongs to another integration",
            new.kind.word(),
            new.id
        ))),
    }
}

pub(super) fn key_create(
    connection: &Connection,
    effects: &mut Effects,
    key: &Key,
) -> Result<(), Error> {
    connection
        .execute(
            "INSERT INTO keys (id, token_hash, revoked_at, body) VALUES (?1, ?2, NULL, ?3)",
            params![
                key.id.to_string(),
                key.token_hash,
                serde_json::to_string(key).map_err(corrupt("a key"))?
            ],
        )
        .map_err(database)?;
    changed(connection, effects)
}

pub(super) fn keys(connection: &Connection) -> Result<Vec<Key>, Error> {
    let rows: Vec<(String, Option<i64>)> = connection
        .prepare_cached("SELECT body, revoked_at FROM keys ORDER BY id")
        .and_then(|mut sql| {
            sql.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .map_err(database)?;
    rows.into_iter()
        .map(|(body, revoked_at)| {
            let key: Key = serde_json::from_str(&body).map_err(corrupt("a key"))?;
            Ok(Key {
                revoked_at: revoked_at.map(Timestamp::from_micros),
                ..key
            })
        })
        .collect()
}

pub(super) fn key_revoke(
    connection: &Connection,
    effects: &mut Effects,
    id: KeyId,
    now: Timestamp,
) -> Result<bool, Error> {
    let revoked_at: Option<Option<i64>> = connection
        .query_row(
            "SELECT revoked_at FROM keys WHERE id = ?1",
            [id.to_string()],
            |row| row.get(0),
        )
        .optional()
        .map_err(database)?;
    if revoked_at == Some(None) {
        connection
            .execute(
                "UPDATE keys SET revoked_at = ?2 WHERE id = ?1",
                params![id.to_string(), now.as_micros()],
            )
            .map_err(database)?;
        changed(connection, effects)?;
    }
    Ok(revoked_at.is_some())
}
