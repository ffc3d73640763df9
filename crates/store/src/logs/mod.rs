//! Looking back: the log of writes, the runs of synchronisation, what changed in each record.

pub(crate) mod history;
mod writes;

use model::{Scope, Timestamp, record::Kind, write::WriteStatus};

use crate::{
    Error, Page, Store,
    engines::db::{Db, corrupt, values},
    listing::{self, Conditions, least},
    logs::history::{Diff, DiffQuery, Job, LogQuery},
};

/// Runs of synchronisation, newest first.
pub(crate) fn jobs(db: &Db<'_>, scope: &Scope, query: &LogQuery) -> Result<Vec<Job>, Error> {
    let mut conditions = Conditions::default();
    if !conditions.integration(db, "j.lane", scope, query.integration_id)? {
        return Ok(Vec::new());
    }
    if let Some(since) = query.since {
        conditions.add("j.started_at >= ?", since.as_micros());
    }
    if let Some(status) = query.status {
        conditions.add("j.status = ?", status.word().to_owned());
    }
    let page = conditions.page(query.offset, query.limit);
    let sql = format!(
        "SELECT j.job_id, i.id, i.vendor, j.status, j.started_at, j.ended_at, j.body FROM jobs j JOIN integrations i ON i.n = j.lane WHERE {} ORDER BY j.seq DESC {page}",
        conditions.all()
    );
    type Columns = (String, String, String, String, i64, Option<i64>, String);
    let rows: Vec<Columns> = db.all(&sql, &conditions.values, |row| {
        Ok((
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            row.get(5)?,
            row.get(6)?,
        ))
    })?;
    let bad = |what: &str| Error::Corrupt(format!("{what} of a job"));
    rows.into_iter()
        .map(
            |(job_id, integration_id, vendor, status, started_at, ended_at, body)| {
                Ok(Job {
                    job_id: job_id.parse().map_err(|_| bad("the id"))?,
                    integration_id: integration_id.parse().map_err(|_| bad("the integration"))?,
                    integration_vendor: vendor,
                    status: WriteStatus::of(&status).ok_or_else(|| bad("the status"))?,
                    started_at: Timestamp::from_micros(started_at),
                    ended_at: ended_at.map(Timestamp::from_micros),
                    tally: serde_json::from_str(&body).map_err(corrupt("a job"))?,
                })
            },
        )
        .collect()
}

/// What changed in records, newest first.
pub(crate) fn diffs(db: &Db<'_>, scope: &Scope, query: &DiffQuery) -> Result<Page<Diff>, Error> {
    let mut conditions = Conditions::default();
    if !conditions.integration(db, "d.lane", scope, query.integration_id)? {
        return Ok(Page {
            rows: Vec::new(),
            total: Some(0),
            total_is_exact: true,
            has_more: false,
        });
    }
    if let Some(id) = &query.record_id {
        conditions.add("d.record_id = ?", id.clone());
    }
    if let Some(kind) = query.kind {
        conditions.add("d.kind = ?", kind.word().to_owned());
    }
    if let Some(since) = query.since {
        conditions.add("d.at >= ?", since.as_micros());
    }
    if let Some(until) = query.until {
        conditions.add("d.at <= ?", until.as_micros());
    }
    if let Some(vendor) = &query.vendor {
        let of_vendor = "d.lane IN (SELECT n FROM integrations WHERE vendor = ?)";
        conditions.add(of_vendor, vendor.clone());
    }
    let direction = if query.is_ascending { "" } else { "DESC" };
    let all = conditions.all();
    let counted = conditions.values.clone();
    let page = conditions.page(query.offset, query.limit.saturating_add(1));
    let sql = format!(
        "SELECT d.seq, d.at, i.id, i.vendor, d.kind, d.record_id, d.job_id, d.diff FROM diffs d JOIN integrations i ON i.n = d.lane WHERE {all} ORDER BY d.seq {direction} {page}"
    );
    let rows: Vec<(Diff, String, String)> = db.all(&sql, &conditions.values, |row| {
        let diff = Diff {
            seq: row.get(0)?,
            at: row.get(1).map(Timestamp::from_micros)?,
            integration_id: row.get(2)?,
            integration_vendor: row.get(3)?,
            kind: Kind::Prospect,
            record_id: row.get(5)?,
            job_id: row.get(6)?,
            diff: serde_json::Value::Null,
        };
        Ok((diff, row.get(4)?, row.get(7)?))
    })?;
    let found = rows.len() as u64;
    let rows: Vec<Diff> = rows
        .into_iter()
        .take(usize::try_from(query.limit).unwrap_or(usize::MAX))
        .map(|(diff, kind, body)| {
            Ok(Diff {
                kind: Kind::of(&kind)
                    .ok_or_else(|| Error::Corrupt("the kind of a diff".to_owned()))?,
                diff: serde_json::from_str(&body).map_err(corrupt("a diff"))?,
                ..diff
            })
        })
        .collect::<Result<_, Error>>()?;
    let count = db.one(
        &format!("SELECT count(*) FROM diffs d WHERE {all}"),
        &counted,
        |row| row.get::<i64>(0),
    );
    let least = least(query.offset, found);
    let (total, total_is_exact) = listing::counted_within(count.map(i64::unsigned_abs), least)?;
    Ok(Page {
        rows,
        total,
        total_is_exact,
        has_more: found > query.limit,
    })
}

/// Removes up to `limit` diffs and ended runs that are older than `before`. Returns how many.
pub(crate) fn sweep(db: &Db<'_>, before: Timestamp, limit: u32) -> Result<u64, Error> {
    let mut removed = 0;
    for sql in [
        "DELETE FROM diffs WHERE seq IN (SELECT seq FROM diffs WHERE at < ?1 LIMIT ?2)",
        "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE started_at < ?1 AND ended_at IS NOT NULL LIMIT ?2)",
    ] {
        removed += db.execute(sql, values![before.as_micros(), limit])?;
    }
    Ok(removed)
}

impl Store {
    /// Runs of synchronisation, newest first.
    pub async fn jobs_list(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Job>, Error> {
        self.listed(scope, query, jobs).await
    }

    /// What changed in records.
    pub async fn diffs_list(&self, scope: &Scope, query: &DiffQuery) -> Result<Page<Diff>, Error> {
        self.listed_whole(scope, query, false, diffs, |page| page.total_is_exact)
            .await
    }

    /// Removes up to `limit` diffs, and as many runs, that are older than `before`. Returns how many.
    pub async fn history_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.engine.write(move |tx| sweep(tx, before, limit)).await
    }
}
