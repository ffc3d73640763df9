//! What is in a store, for who asks what is wrong with it.
//!
//! Guarantee: nothing is changed, and no secret and no person's data is among what is told.

pub(crate) mod misread;
pub mod postgres;
pub mod sqlite;

use model::Timestamp;

pub use crate::inspect::misread::Misread;
use crate::{
    Error,
    clock::{Dial, stored},
    engines::db::{Db, values},
    master_key,
    sealing::MasterKeyId,
    stamp,
};

/// What is in a store.
pub struct Data {
    /// The key that secrets are sealed under; none before the first start.
    pub master_key: Option<MasterKeyId>,
    /// Every key that some secret is sealed under.
    pub sealed_under: Vec<MasterKeyId>,
    /// The newest time that was stored.
    pub newest_at: Timestamp,
    /// How steady time stands to wall time.
    pub clock: Dial,
    /// API keys that are in force.
    pub keys: u64,
    /// Active integrations.
    pub active: u64,
    /// The vendors of active integrations, each once, up to the limit asked for.
    pub vendors: Vec<String>,
    /// Where the vendors of active integrations are, each once, up to the limit asked for.
    pub base_urls: Vec<String>,
    /// Subscriptions to events.
    pub webhooks: u64,
    /// Of those, some whose receivers fail: the id, and why when it was switched off for that. The longest failing first, up to a few.
    pub failing: Vec<(String, Option<String>)>,
    /// Records whose phone number is not the one that was accepted.
    pub misread: Misread,
}

/// Failing subscriptions that are named at most.
const FAILING_MAX: u32 = 5;

/// Looks at a store whose schema is this program's.
pub(crate) fn look(db: &Db<'_>, vendors_max: u32, now: Timestamp) -> Result<Data, Error> {
    Ok(Data {
        master_key: master_key::recorded(db)?,
        sealed_under: master_key::in_use(db)?,
        newest_at: newest_at(db)?,
        clock: stored::dial(db)?,
        keys: keys(db, now)?,
        active: count(db, "SELECT count(*) FROM integrations WHERE active")?,
        vendors: db.all(
            "SELECT DISTINCT vendor FROM integrations WHERE active ORDER BY vendor LIMIT ?1",
            values![vendors_max],
            |row| row.get(0),
        )?,
        base_urls: db.all(
            "SELECT DISTINCT json_extract(body, '$.settings.base_url') FROM integrations WHERE active LIMIT ?1",
            values![vendors_max],
            |row| row.get(0),
        )?,
        webhooks: count(db, "SELECT count(*) FROM webhooks")?,
        failing: db.all(
            "SELECT id, disabled_reason FROM webhooks WHERE disabled_at IS NOT NULL OR (active AND failing_since IS NOT NULL)
             ORDER BY failing_since LIMIT ?1",
            values![FAILING_MAX],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?,
        misread: misread::look(db)?,
    })
}

fn count(db: &Db<'_>, sql: &str) -> Result<u64, Error> {
    let count: i64 = db.one(sql, &[], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

fn keys(db: &Db<'_>, now: Timestamp) -> Result<u64, Error> {
    let mut in_force = 0;
    db.each(
        "SELECT json_extract(body, '$.expires_at') FROM keys WHERE revoked_at IS NULL",
        &[],
        |row| {
            let expires_at: Option<String> = row.get(0)?;
            let is_over = expires_at
                .and_then(|at| Timestamp::parse(&at).ok())
                .is_some_and(|at| at <= now);
            in_force += u64::from(!is_over);
            Ok(())
        },
    )?;
    Ok(in_force)
}

/// Each is the end of an index.
fn newest_at(db: &Db<'_>) -> Result<Timestamp, Error> {
    let applied: Option<i64> = db.one("SELECT max(applied_at) FROM migrations", &[], |row| {
        row.get(0)
    })?;
    let accepted: Option<i64> = db.find(
        "SELECT accepted_at FROM writes ORDER BY seq DESC LIMIT 1",
        &[],
        |row| row.get(0),
    )?;
    let newest = applied.max(accepted).unwrap_or(0);
    Ok(Timestamp::from_micros(newest).max(stamp::last(db)?))
}
