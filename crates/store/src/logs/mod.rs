//! Looking back: the log of writes, the runs of synchronisation, what changed in each record.

pub(crate) mod audit;
pub mod history;

use model::{
    IntegrationId, Scope, Timestamp,
    record::Kind,
    write::{Write, WriteStatus},
};

use crate::{
    Error, Page, Store, accept,
    engines::db::{Db, Value as Sql, corrupt, values},
    logs::history::{Diff, DiffQuery, Job, LogQuery},
    records::{lists, plan},
};

/// How far the order accepted and the order of commits may differ: no write waits for its commit as long as this, in microseconds.
const DISORDER_MICROS: i64 = 60_000_000;

/// The conditions of a statement, and their values.
#[derive(Default)]
pub(crate) struct Conditions {
    holds: Vec<String>,
    pub(crate) values: Vec<Sql<'static>>,
}

impl Conditions {
    /// Adds a condition; the question mark in it stands for `value`.
    pub(crate) fn add(&mut self, condition: &str, value: impl Into<Sql<'static>>) {
        self.values.push(value.into());
        let place = format!("?{}", self.values.len());
        self.holds.push(condition.replace('?', &place));
    }

    /// Adds that the row is of an integration that was asked for and may be seen. `false` when there can be none.
    pub(crate) fn integration(
        &mut self,
        db: &Db<'_>,
        column: &str,
        scope: &Scope,
        asked: Option<IntegrationId>,
    ) -> Result<bool, Error> {
        let asked = asked.map(|id| vec![id]);
        let Some(seen) = plan::seen(scope, asked.as_deref()) else {
            return Ok(true);
        };
        let mut places = Vec::new();
        for id in seen {
            if let Some(lane) = plan::lane(db, id)? {
                self.values.push(Sql::Integer(lane));
                places.push(format!("?{}", self.values.len()));
            }
        }
        self.holds
            .push(format!("{column} IN ({})", places.join(", ")));
        Ok(!places.is_empty())
    }

    pub(crate) fn page(&mut self, offset: u64, limit: u64) -> String {
        let mut number = |count: u64| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.values.push(Sql::Integer(count));
            self.values.len()
        };
        let (limit, offset) = (number(limit), number(offset));
        format!("LIMIT ?{limit} OFFSET ?{offset}")
    }

    pub(crate) fn all(&self) -> String {
        if self.holds.is_empty() {
            "TRUE".to_owned()
        } else {
            self.holds.join(" AND ")
        }
    }
}

/// Accepted writes, newest first.
pub(crate) fn writes(db: &Db<'_>, scope: &Scope, query: &LogQuery) -> Result<Vec<Write>, Error> {
    let mut conditions = Conditions::default();
    if !conditions.integration(db, "w.lane", scope, query.integration_id)? {
        return Ok(Vec::new());
    }
    if let Some(since) = query.since {
        conditions.add("w.accepted_at >= ?", since.as_micros());
        conditions.add("w.seq >= ?", first_since(db, since)?);
    }
    let from = match query.status {
        // Read along what is open, or along what went wrong: few among many.
        Some(WriteStatus::Pending) => "queue q CROSS JOIN writes w ON w.seq = q.seq",
        Some(status @ (WriteStatus::Failure | WriteStatus::PartialSuccess)) => {
            conditions.add("w.status = ?", status.word().to_owned());
            conditions
                .holds
                .push("w.status IN ('FAILURE', 'PARTIAL_SUCCESS')".to_owned());
            "writes w INDEXED BY writes_failed LEFT JOIN queue q ON q.seq = w.seq"
        }
        Some(WriteStatus::Success) => {
            conditions.add("w.status = ?", WriteStatus::Success.word().to_owned());
            "writes w LEFT JOIN queue q ON q.seq = w.seq"
        }
        None => "writes w LEFT JOIN queue q ON q.seq = w.seq",
    };
    let page = conditions.page(query.offset, query.limit);
    let sql = format!(
        "SELECT {} FROM {from} JOIN integrations i ON i.n = w.lane WHERE {} ORDER BY w.seq DESC {page}",
        accept::COLUMNS,
        conditions.all()
    );
    let rows: Vec<Result<Write, Error>> =
        db.all(&sql, &conditions.values, |row| Ok(accept::read(row)))?;
    rows.into_iter().collect()
}

/// A place in the order accepted before which nothing was accepted since `since`.
fn first_since(db: &Db<'_>, since: Timestamp) -> Result<i64, Error> {
    let since = since.as_micros().saturating_sub(DISORDER_MICROS);
    first_at(db, "writes", "accepted_at", since)
}

/// The first place of a table that is in the order of `column` whose value there is not below `least`; the last place when there is none. Found by
/// halving, since these tables have no index by time: every accept would pay for one.
pub(crate) fn first_at(
    db: &Db<'_>,
    table: &'static str,
    column: &'static str,
    least: i64,
) -> Result<i64, Error> {
    let (mut low, mut high): (i64, i64) = db.one(
        &format!("SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM {table}"),
        &[],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    while low < high {
        let middle = low + (high - low) / 2;
        let at: Option<(i64, i64)> = db.find(
            &format!("SELECT seq, {column} FROM {table} WHERE seq >= ?1 ORDER BY seq LIMIT 1"),
            values![middle],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        match at {
            Some((seq, at)) if at < least => low = seq + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

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
    let all = conditions.all();
    let counted = conditions.values.clone();
    let page = conditions.page(query.offset, query.limit.saturating_add(1));
    let sql = format!(
        "SELECT d.seq, d.at, i.id, i.vendor, d.kind, d.record_id, d.job_id, d.diff FROM diffs d JOIN integrations i ON i.n = d.lane WHERE {all} ORDER BY d.seq DESC {page}"
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
    let (total, total_is_exact) = lists::counted_within(count.map(i64::unsigned_abs), least)?;
    Ok(Page {
        rows,
        total,
        total_is_exact,
        has_more: found > query.limit,
    })
}

/// How many rows there are at least, when `found` were met behind so many.
pub(crate) const fn least(offset: u64, found: u64) -> u64 {
    if found == 0 {
        0
    } else {
        offset.saturating_add(found)
    }
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
    /// Accepted writes, newest first.
    pub async fn writes_list(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Write>, Error> {
        self.listed(scope, query, writes)
            .await
            .map(|all| all.into_iter().map(|write| self.told(write)).collect())
    }

    /// Runs of synchronisation, newest first.
    pub async fn jobs_list(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Job>, Error> {
        self.listed(scope, query, jobs).await
    }

    /// What changed in records, newest first.
    pub async fn diffs_list(&self, scope: &Scope, query: &DiffQuery) -> Result<Page<Diff>, Error> {
        self.listed_whole(scope, query, false, diffs, |page| page.total_is_exact)
            .await
    }

    /// Removes up to `limit` diffs, and as many runs, that are older than `before`. Returns how many.
    pub async fn history_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.engine.write(move |tx| sweep(tx, before, limit)).await
    }
}
