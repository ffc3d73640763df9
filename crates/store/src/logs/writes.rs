//! Accepted writes, looked up and listed.

use model::{
    Consent, JobId, Scope, Timestamp,
    write::{Operation, Outcome, Write, WriteStatus},
};

use crate::{
    Error, Store,
    engines::db::{self, Db, corrupt, count, values},
    listing::{self, Conditions},
    logs::history::LogQuery,
    queue::Request,
    reading::{Cost, Reading},
};

/// How far the order accepted and the order of commits may differ: no write waits for its commit as long as this, in microseconds.
const DISORDER_MICROS: i64 = 60_000_000;

/// What stands for the errors of a write that was stripped: it may not have ended without a word.
const WHY_IS_GONE: &str = "Why is no longer kept: what this write said was removed, since the person was forgotten or the time for which writes are kept is over";

/// The columns that [`read`] reads, of `writes w`, `integrations i`, and `queue q` where the write is open.
pub(crate) const COLUMNS: &str = "w.job_id, i.id, w.community_id, w.operation, w.result, w.request, w.status, w.outcome, coalesce(w.errors, q.errors), w.record_id, coalesce(q.attempt, w.attempts), w.accepted_at, w.completed_at, CASE q.state WHEN 1 THEN q.due_at END, i.vendor, w.stripped_at, (SELECT c.value FROM consents c WHERE c.seq = w.seq), (SELECT c.is_stated FROM consents c WHERE c.seq = w.seq)";

pub(crate) fn find(db: &Db<'_>, scope: &Scope, job_id: JobId) -> Result<Option<Write>, Error> {
    // Another's is not read at all: it would take longer than to find nothing.
    db.find(
        &format!(
            "SELECT {COLUMNS} FROM writes w JOIN integrations i ON i.n = w.lane LEFT JOIN queue q ON q.seq = w.seq WHERE w.job_id = ?1 AND (CAST(?2 AS TEXT) IS NULL OR i.id IN (SELECT value FROM json_each(?2)))"
        ),
        values![job_id.to_string(), listing::limited_to(scope)],
        read,
    )
}

pub(crate) fn read(row: &db::Row<'_>) -> Result<Write, Error> {
    let text = |place: usize| row.get::<String>(place);
    let maybe = |place: usize| row.get::<Option<String>>(place);
    let time = |place: usize| {
        row.get::<Option<i64>>(place)
            .map(|at| at.map(Timestamp::from_micros))
    };
    let job_id = text(0)?;
    let bad = |what: &str| Error::Corrupt(format!("{what} of write {job_id}"));
    let request: Option<Request> = serde_json::from_str(&text(5)?).ok();
    let (call, confirmed) = request
        .map(|request| (request.call, request.confirmed))
        .unzip();
    let status = WriteStatus::of(&text(6)?).ok_or_else(|| bad("the status"))?;
    let stripped_at = time(15)?;
    let flag = |place: usize| row.get::<Option<bool>>(place);
    let consent = flag(16)?.zip(flag(17)?);
    let mut errors: Vec<String> = maybe(8)?
        .map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(corrupt("a stored list of errors"))?
        .unwrap_or_default();
    if stripped_at.is_some() && status != WriteStatus::Success {
        errors = vec![WHY_IS_GONE.to_owned()];
    }
    Ok(Write {
        job_id: job_id.parse().map_err(|_| bad("the id"))?,
        integration_id: text(1)?.parse().map_err(|_| bad("the integration"))?,
        integration_vendor: text(14)?,
        community_id: text(2)?.parse().map_err(|_| bad("the community"))?,
        operation: Operation::of(&text(3)?).ok_or_else(|| bad("the operation"))?,
        result: text(4)?,
        call,
        subject: confirmed.and_then(|confirmed| confirmed.subject),
        status,
        outcome: maybe(7)?
            .map(|word| Outcome::of(&word).ok_or_else(|| bad("the outcome")))
            .transpose()?,
        errors,
        record_id: maybe(9)?,
        attempts: count(row, 10)?,
        accepted_at: time(11)?.ok_or_else(|| bad("the time"))?,
        completed_at: time(12)?,
        next_attempt_at: time(13)?,
        consent: consent.map(|(value, is_stated)| Consent { value, is_stated }),
        stripped_at,
    })
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
            conditions.hold("w.status IN ('FAILURE', 'PARTIAL_SUCCESS')");
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
        COLUMNS,
        conditions.all()
    );
    let rows: Vec<Result<Write, Error>> = db.all(&sql, &conditions.values, |row| Ok(read(row)))?;
    rows.into_iter().collect()
}

/// A place in the order accepted before which nothing was accepted since `since`.
fn first_since(db: &Db<'_>, since: Timestamp) -> Result<i64, Error> {
    let since = since.as_micros().saturating_sub(DISORDER_MICROS);
    listing::first_at(db, "writes", "accepted_at", since)
}

impl Store {
    /// A write as it stands; `None` when there is none that the caller may know of.
    pub async fn write_find(&self, scope: &Scope, job_id: JobId) -> Result<Option<Write>, Error> {
        let scope = scope.clone();
        self.engine
            .read(Reading::of(&scope, Cost::Lookup), move |db| {
                find(db, &scope, job_id)
            })
            .await
            .map(|found| found.map(|write| self.told(write)))
    }

    /// Accepted writes, newest first.
    pub async fn writes_list(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Write>, Error> {
        self.listed(scope, query, writes)
            .await
            .map(|all| all.into_iter().map(|write| self.told(write)).collect())
    }
}
