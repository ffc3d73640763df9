//! Records: made and changed by what a vendor confirms, found and listed.

use model::{
    Scope, Timestamp,
    record::{Kind, Record},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use super::{corrupt, database, intake::Request};
use crate::{Error, Page};

const PROSPECT: &str = Kind::Prospect.word();

/// The record that a confirmation made or met.
pub(super) struct Met {
    pub(super) id: String,
    pub(super) is_new: bool,
}

/// Makes or changes the record that write `seq` is confirmed to be, under the vendor's id.
pub(super) fn confirm(
    connection: &Connection,
    seq: i64,
    x_id: &str,
    new_id: &str,
    now: Timestamp,
) -> Result<Met, Error> {
    let (lane, request): (i64, String) = connection
        .prepare_cached("SELECT lane, request FROM writes WHERE seq = ?1")
        .and_then(|mut sql| sql.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?))))
        .map_err(database)?;
    let request: Request = serde_json::from_str(&request).map_err(corrupt("a stored request"))?;
    let known: Option<(i64, String, String)> = connection
        .prepare_cached(
            "SELECT seq, id, body FROM records WHERE lane = ?1 AND kind = ?2 AND x_id = ?3",
        )
        .and_then(|mut sql| {
            sql.query_row(params![lane, PROSPECT, x_id], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()
        })
        .map_err(database)?;
    let Some((record_seq, id, body)) = known else {
        connection
            .prepare_cached("INSERT INTO records (id, kind, lane, x_id, body, created_at, updated_at, last_seen) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?6)")
            .and_then(|mut sql| sql.execute(params![new_id, PROSPECT, lane, x_id, request.confirmed.create.to_string(), now.as_micros()]))
            .map_err(database)?;
        return Ok(Met {
            id: new_id.to_owned(),
            is_new: true,
        });
    };
    let mut body: Value = serde_json::from_str(&body).map_err(corrupt("a stored record"))?;
    if let (Value::Object(body), Value::Object(update)) = (&mut body, request.confirmed.update) {
        body.extend(update);
    }
    connection
        .prepare_cached(
            "UPDATE records SET body = ?2, updated_at = ?3, last_seen = ?3 WHERE seq = ?1",
        )
        .and_then(|mut sql| sql.execute(params![record_seq, body.to_string(), now.as_micros()]))
        .map_err(database)?;
    Ok(Met { id, is_new: false })
}

/// The columns that [`read`] reads.
const COLUMNS: &str =
    "r.id, i.id, i.vendor, r.x_id, r.body, r.created_at, r.updated_at, r.last_seen";

/// A record, and its body still to be read.
fn read(row: &Row<'_>) -> rusqlite::Result<(String, Record)> {
    let time = |place: usize| row.get(place).map(Timestamp::from_micros);
    let record = Record {
        id: row.get(0)?,
        integration_id: row.get(1)?,
        integration_vendor: row.get(2)?,
        x_id: row.get(3)?,
        created_at: time(5)?,
        updated_at: time(6)?,
        last_seen: time(7)?,
        body: Value::Null,
    };
    Ok((row.get(4)?, record))
}

fn assemble((body, record): (String, Record)) -> Result<Record, Error> {
    let body = serde_json::from_str(&body).map_err(corrupt("a stored record"))?;
    Ok(Record { body, ..record })
}

/// The integrations the caller is limited to, as a JSON array; `None` when it sees all.
fn limited_to(scope: &Scope) -> Option<String> {
    scope
        .integrations()
        .map(|ids| Value::from_iter(ids.iter().map(ToString::to_string)).to_string())
}

pub(super) fn find(
    connection: &Connection,
    scope: &Scope,
    kind: Kind,
    id: &str,
) -> Result<Option<Record>, Error> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM records r JOIN integrations i ON i.n = r.lane WHERE r.id = ?1 AND r.kind = ?2 AND (?3 IS NULL OR i.id IN (SELECT value FROM json_each(?3)))"
        ))
        .and_then(|mut sql| sql.query_row(params![id, kind.word(), limited_to(scope)], read).optional())
        .map_err(database)?
        .map(assemble)
        .transpose()
}

pub(super) fn list(
    connection: &Connection,
    scope: &Scope,
    kind: Kind,
    offset: u64,
    limit: u64,
) -> Result<Page<Record>, Error> {
    let mine = limited_to(scope);
    let whose = "r.kind = ?1 AND (?2 IS NULL OR i.id IN (SELECT value FROM json_each(?2)))";
    let total: i64 = connection
        .prepare_cached(&format!(
            "SELECT count(*) FROM records r JOIN integrations i ON i.n = r.lane WHERE {whose}"
        ))
        .and_then(|mut sql| sql.query_row(params![kind.word(), mine], |row| row.get(0)))
        .map_err(database)?;
    let total = total.unsigned_abs();
    let offset_rows = i64::try_from(offset).unwrap_or(i64::MAX);
    let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Vec<(String, Record)> = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM records r JOIN integrations i ON i.n = r.lane WHERE {whose} ORDER BY r.seq DESC LIMIT ?3 OFFSET ?4"
        ))
        .and_then(|mut sql| sql.query_map(params![kind.word(), mine, limit_rows, offset_rows], read)?.collect())
        .map_err(database)?;
    let rows = rows
        .into_iter()
        .map(assemble)
        .collect::<Result<Vec<_>, _>>()?;
    let has_more = offset.saturating_add(rows.len() as u64) < total && !rows.is_empty();
    Ok(Page {
        rows,
        total,
        has_more,
    })
}
