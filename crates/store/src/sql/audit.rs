//! The audit log.
//!
//! Guarantee: an entry is written in the transaction of the change that it tells of; there is no
//! way to change or remove one. A key that is revoked makes none, and so no change that is audited,
//! however long ago its request began.

use model::{
    Actor, IntegrationId, Scope, Timestamp,
    audit::{CHAIN_START, Chain, Entry, chained},
};
use serde_json::Value;

use super::{
    corrupt,
    db::{Db, values},
    lists, logs,
};
use crate::{Error, Page, history::AuditQuery};

fn seq_of(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What was done, and to what.
pub(super) struct Deed<'a> {
    pub(super) action: &'a str,
    /// The integration that it concerns: its row and its id.
    pub(super) integration: Option<(i64, IntegrationId)>,
    pub(super) subject: String,
    pub(super) before: Value,
    pub(super) after: Value,
}

/// Writes an entry.
///
/// # Errors
/// [`Error::Revoked`] when the actor's key was revoked since it asked.
pub(super) fn record(db: &Db<'_>, by: &Actor, deed: Deed<'_>, now: Timestamp) -> Result<(), Error> {
    if let Some(id) = by.scope.key() {
        let is_revoked: Option<bool> = db.find(
            "SELECT revoked_at IS NOT NULL FROM keys WHERE id = ?1",
            values![id.to_string()],
            |row| row.get(0),
        )?;
        if is_revoked == Some(true) {
            return Err(Error::Revoked);
        }
    }
    let last: Option<(u64, Vec<u8>)> = db.find(
        "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1",
        &[],
        |row| Ok((row.get::<i64>(0)?.unsigned_abs(), row.get(1)?)),
    )?;
    let (seq, before) = last.map_or((1, CHAIN_START.to_vec()), |(seq, hash)| (seq + 1, hash));
    let entry = Entry {
        seq,
        at: now,
        key_id: by.scope.key(),
        address: by.address,
        request_id: by.request_id.clone(),
        action: deed.action.to_owned(),
        integration_id: deed.integration.map(|(_, id)| id),
        subject: deed.subject,
        before: deed.before,
        after: deed.after,
    };
    let entry = serde_json::to_string(&entry).map_err(corrupt("an entry of the audit log"))?;
    let hash = chained(&before, &entry);
    let lane = deed.integration.map(|(lane, _)| lane);
    db.send(
        "INSERT INTO audit (seq, at, lane, entry, hash) VALUES (?1, ?2, ?3, ?4, ?5)",
        values![seq_of(seq), now.as_micros(), lane, entry, hash],
    )
}

/// A page, newest first.
pub(super) fn list(
    db: &Db<'_>,
    scope: &Scope,
    query: &AuditQuery,
) -> Result<Page<(Entry, Vec<u8>)>, Error> {
    let mut conditions = logs::Conditions::default();
    if !conditions.integration(db, "lane", scope, query.integration_id)? {
        return Ok(Page {
            rows: Vec::new(),
            total: Some(0),
            total_is_exact: true,
            has_more: false,
        });
    }
    if let Some(since) = query.since {
        conditions.add("at >= ?", since.as_micros());
    }
    let which = conditions.all();
    let counted = conditions.values.clone();
    let page = conditions.page(query.offset, query.limit.saturating_add(1));
    let rows: Vec<(String, Vec<u8>)> = db.all(
        &format!("SELECT entry, hash FROM audit WHERE {which} ORDER BY seq DESC {page}"),
        &conditions.values,
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let found = rows.len() as u64;
    let rows = rows
        .into_iter()
        .take(usize::try_from(query.limit).unwrap_or(usize::MAX))
        .map(|(entry, hash)| {
            let entry =
                serde_json::from_str(&entry).map_err(corrupt("an entry of the audit log"))?;
            Ok((entry, hash))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let count = db.one(
        &format!("SELECT count(*) FROM audit WHERE {which}"),
        &counted,
        |row| row.get::<i64>(0),
    );
    let least = logs::least(query.offset, found);
    let (total, total_is_exact) = lists::counted_within(count.map(i64::unsigned_abs), least)?;
    Ok(Page {
        has_more: found > query.limit,
        total,
        total_is_exact,
        rows,
    })
}

/// An entry with the columns that it is listed by.
type Columns = (i64, String, Vec<u8>, i64, Option<String>);

/// Whether an entry is listed as what it is: its hash does not cover the columns that lists go by.
fn as_listed(entry: &Entry, at: i64, integration_id: Option<&str>) -> Result<(), String> {
    let told = entry.integration_id.map(|id| id.to_string());
    if entry.at.as_micros() != at || told.as_deref() != integration_id {
        return Err(format!(
            "entry {} is listed under another time or integration than its own",
            entry.seq
        ));
    }
    Ok(())
}

/// Follows the chain for up to `limit` entries. The second value is why it breaks there, in words.
pub(super) fn follow(
    db: &Db<'_>,
    mut chain: Chain,
    limit: u32,
) -> Result<(Chain, Option<String>), Error> {
    let rows: Vec<Columns> = db.all(
        "SELECT a.seq, a.entry, a.hash, a.at, i.id FROM audit a LEFT JOIN integrations i ON i.n = a.lane WHERE a.seq > ?1 ORDER BY a.seq LIMIT ?2",
        values![seq_of(chain.count), limit],
        |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            },
    )?;
    for (seq, entry, hash, at, integration_id) in rows {
        let before = chain;
        let followed = chain.follow(seq.unsigned_abs(), &entry, &hash);
        if let Err(why) =
            followed.and_then(|entry| as_listed(&entry, at, integration_id.as_deref()))
        {
            return Ok((before, Some(why)));
        }
    }
    Ok((chain, None))
}
