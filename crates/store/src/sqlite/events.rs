//! The log of events, which is the outbox: what happened, and for whom it is to be delivered.
//!
//! Guarantee: an event, and a delivery of it for each who subscribes, are stored in the transaction of the fact. Whoever follows the log by its order misses
//! nothing.

use model::{
    EventId, Scope, Timestamp, WebhookId,
    record::Kind,
    webhook::{Ended, Event, Trigger},
    write::{Outcome, WriteStatus},
};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::{
    corrupt, database,
    logs::{self, Conditions},
    records::limited_to,
    stamp,
};
use crate::{Error, Page, signals::Effects, webhooks::EventQuery};

/// Something that happened.
pub(super) struct Happened<'a> {
    pub(super) trigger: Trigger,
    pub(super) kind: Option<Kind>,
    pub(super) lane: i64,
    pub(super) integration_id: &'a str,
    pub(super) subject: &'a str,
    /// What brought it: a write or a run of synchronisation, and which of these.
    pub(super) job: Option<(&'a str, &'a str)>,
    pub(super) stored: Option<String>,
}

/// Stores an event, with a delivery for each who subscribes to it.
pub(super) fn record(
    connection: &Connection,
    effects: &mut Effects,
    happened: &Happened<'_>,
    at: Timestamp,
) -> Result<(), Error> {
    let (trigger, kind) = (happened.trigger.word(), happened.kind.map(Kind::word));
    connection
        .prepare_cached("INSERT INTO events (id, at, lane, trigger, kind, subject, job_id, job_type, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
        .and_then(|mut sql| {
            let (job_id, job_type) = happened.job.unzip();
            let id = EventId::new(at, &*effects.entropy).to_string();
            sql.execute(params![id, at.as_micros(), happened.lane, trigger, kind, happened.subject, job_id, job_type, happened.stored])
        })
        .map_err(database)?;
    effects.events = true;
    let event = connection.last_insert_rowid();
    let subscribers: Vec<(i64, String)> = connection
        .prepare_cached(
            "SELECT DISTINCT w.n, w.id FROM webhook_triggers t JOIN webhooks w ON w.n = t.webhook
             WHERE t.trigger = ?1 AND t.kind IN ('', ?2) AND w.takes
             AND (w.integrations IS NULL OR EXISTS (SELECT 1 FROM json_each(w.integrations) WHERE value = ?3))",
        )
        .and_then(|mut sql| {
            sql.query_map(params![trigger, kind, happened.integration_id], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .map_err(database)?;
    for (webhook, id) in subscribers {
        connection
            .prepare_cached(&format!(
                "INSERT INTO deliveries (webhook, event, state, due_at) VALUES (?1, ?2, 1, {})",
                stamp::ASKED_AT
            ))
            .and_then(|mut sql| sql.execute([webhook, event]))
            .map_err(database)?;
        effects.deliveries.extend(id.parse::<WebhookId>());
    }
    Ok(())
}

/// The columns that [`read`] reads, and where they are.
pub(super) const COLUMNS: &str = "e.seq, e.id, e.at, e.trigger, e.kind, i.id, i.vendor, e.subject, e.job_id, e.job_type, e.body, w.status, w.outcome, w.errors, w.record_id";
pub(super) const FROM: &str = "events e JOIN integrations i ON i.n = e.lane
    LEFT JOIN writes w ON w.job_id = CASE WHEN e.trigger IN ('WRITE_OPERATION_SUCCESS', 'WRITE_OPERATION_FAILURE') THEN e.subject END";

/// Reads what [`COLUMNS`] selects.
pub(super) fn read(row: &Row<'_>) -> Result<Event, Error> {
    let seq: i64 = row.get(0).map_err(database)?;
    let bad = |what: &str| Error::Corrupt(format!("{what} of event {seq}"));
    let text = |place: usize| row.get::<_, String>(place).map_err(database);
    let some = |place: usize| row.get::<_, Option<String>>(place).map_err(database);
    let ended = match some(11)? {
        None => None,
        Some(status) => Some(Ended {
            status: WriteStatus::of(&status).ok_or_else(|| bad("the status of the write"))?,
            outcome: some(12)?.and_then(|word| Outcome::of(&word)),
            errors: match some(13)? {
                Some(errors) => {
                    serde_json::from_str(&errors).map_err(corrupt("the errors of a write"))?
                }
                None => Vec::new(),
            },
            record_id: some(14)?,
        }),
    };
    Ok(Event {
        seq,
        id: text(1)?.parse().map_err(|_| bad("the id"))?,
        at: row.get(2).map(Timestamp::from_micros).map_err(database)?,
        trigger: Trigger::of(&text(3)?).ok_or_else(|| bad("the trigger"))?,
        kind: some(4)?
            .map(|word| Kind::of(&word).ok_or_else(|| bad("the kind of record")))
            .transpose()?,
        integration_id: text(5)?,
        integration_vendor: text(6)?,
        subject: text(7)?,
        job_id: some(8)?,
        job_type: some(9)?,
        stored: some(10)?,
        ended,
    })
}

/// The event at a place of the log.
pub(super) fn at(connection: &Connection, seq: i64) -> Result<Event, Error> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} WHERE e.seq = ?1"))
        .and_then(|mut sql| sql.query_row([seq], |row| Ok(read(row))))
        .map_err(database)?
}

/// The place of an event that `scope` may know of.
pub(super) fn place(
    connection: &Connection,
    scope: &Scope,
    id: EventId,
) -> Result<Option<i64>, Error> {
    connection
        .prepare_cached(
            "SELECT e.seq FROM events e JOIN integrations i ON i.n = e.lane
             WHERE e.id = ?1 AND (?2 IS NULL OR i.id IN (SELECT value FROM json_each(?2)))",
        )
        .and_then(|mut sql| {
            sql.query_row(params![id.to_string(), limited_to(scope)], |row| row.get(0))
                .optional()
        })
        .map_err(database)
}

/// The place of an event to go on behind.
///
/// # Errors
/// [`Error::Conflict`] when it is not in the log.
pub(super) fn cursor(connection: &Connection, scope: &Scope, id: EventId) -> Result<i64, Error> {
    place(connection, scope, id)?.ok_or_else(|| {
        Error::Conflict(format!(
            "the cursor goes on behind the event {id}, which is not in the log any more: events are kept for 30 days. Begin anew, without a cursor"
        ))
    })
}

pub(super) fn find(
    connection: &Connection,
    scope: &Scope,
    id: EventId,
) -> Result<Option<Event>, Error> {
    place(connection, scope, id)?
        .map(|seq| at(connection, seq))
        .transpose()
}

/// A page of the log.
pub(super) fn list(
    connection: &Connection,
    scope: &Scope,
    query: &EventQuery,
) -> Result<Page<Event>, Error> {
    let none = Page {
        rows: Vec::new(),
        total: None,
        has_more: false,
    };
    let mut conditions = Conditions::default();
    if !conditions.integration(connection, "e.lane", scope, query.integration_id)? {
        return Ok(none);
    }
    if let Some(trigger) = query.trigger {
        conditions.add("e.trigger = ?", trigger.word().to_owned());
    }
    if let Some(kind) = query.kind {
        conditions.add("e.kind = ?", kind.word().to_owned());
    }
    if let Some(subject) = &query.subject {
        conditions.add("e.subject = ?", subject.clone());
    }
    if let Some(since) = query.since {
        conditions.add("e.at >= ?", since.as_micros());
        conditions.add("e.seq >= ?", first_since(connection, since)?);
    }
    if let Some(after) = query.after {
        let seq = cursor(connection, scope, after)?;
        let condition = if query.is_descending {
            "e.seq < ?"
        } else {
            "e.seq > ?"
        };
        conditions.add(condition, seq);
    }
    // No end: rows are read one by one until there are enough that can be.
    let page = conditions.page(0, i64::MAX as u64);
    let order = if query.is_descending { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE {} ORDER BY e.seq {order} {page}",
        conditions.all()
    );
    let mut sql = connection.prepare_cached(&sql).map_err(database)?;
    let rows = sql
        .query_map(params_from_iter(conditions.values), |row| Ok(read(row)))
        .map_err(database)?;
    readable(rows, query.limit)
}

/// The first `limit` of `rows`, which are read as they are asked for. One that cannot be read is left out, and told to the operator: it hides none behind it.
pub(super) fn readable<T>(
    rows: impl Iterator<Item = Result<Result<T, Error>, rusqlite::Error>>,
    limit: u64,
) -> Result<Page<T>, Error> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut page, mut has_more) = (Vec::new(), false);
    for row in rows {
        match row.map_err(database)? {
            Ok(_) if page.len() >= limit => {
                has_more = true;
                break;
            }
            Ok(row) => page.push(row),
            Err(Error::Corrupt(what)) => {
                tracing::error!(%what, "a row of the log of events cannot be read");
            }
            Err(why) => return Err(why),
        }
    }
    Ok(Page {
        rows: page,
        total: None,
        has_more,
    })
}

/// The place of the first event that was stored at `since` or later.
pub(super) fn first_since(connection: &Connection, since: Timestamp) -> Result<i64, Error> {
    logs::first_at(connection, "events", "at", since.as_micros())
}

/// Takes what a person may be known by out of the events about `subject`, and out of what receivers answered to them.
pub(super) fn forget(connection: &Connection, subject: &str) -> Result<(), Error> {
    for sql in [
        "UPDATE events SET body = NULL WHERE subject = ?1 AND body IS NOT NULL",
        "UPDATE delivery_attempts SET body = json_remove(body, '$.response')
         WHERE webhook IN (SELECT n FROM webhooks UNION ALL SELECT n FROM webhooks_gone) AND event IN (SELECT seq FROM events WHERE subject = ?1)",
    ] {
        connection
            .prepare_cached(sql)
            .and_then(|mut sql| sql.execute([subject]))
            .map_err(database)?;
    }
    Ok(())
}

/// Removes up to `limit` events that are older than `before`, with their deliveries, and as many deliveries of subscriptions that are no more.
pub(super) fn sweep(connection: &Connection, before: Timestamp, limit: u32) -> Result<u64, Error> {
    // The newest stays, so that no place in the log is used twice.
    let last: Option<i64> = connection
        .prepare_cached(
            "SELECT max(seq) FROM (SELECT seq, at FROM events ORDER BY seq LIMIT ?2)
             WHERE at < ?1 AND seq < (SELECT max(seq) FROM events)",
        )
        .and_then(|mut sql| sql.query_row(params![before.as_micros(), limit], |row| row.get(0)))
        .map_err(database)?;
    let mut removed = 0;
    if let Some(last) = last {
        for sql in [
            "DELETE FROM delivery_attempts WHERE webhook IN (SELECT n FROM webhooks UNION ALL SELECT n FROM webhooks_gone) AND event <= ?1",
            "DELETE FROM deliveries WHERE webhook IN (SELECT n FROM webhooks UNION ALL SELECT n FROM webhooks_gone) AND event <= ?1",
            "DELETE FROM events WHERE seq <= ?1",
        ] {
            removed += connection
                .prepare_cached(sql)
                .and_then(|mut sql| sql.execute([last]))
                .map_err(database)?;
        }
    }
    let gone: Vec<i64> = connection
        .prepare_cached("SELECT n FROM webhooks_gone")
        .and_then(|mut sql| sql.query_map([], |row| row.get(0))?.collect())
        .map_err(database)?;
    for n in gone {
        let mut left = 0;
        for sql in [
            "DELETE FROM delivery_attempts WHERE webhook = ?1 AND event IN (SELECT event FROM delivery_attempts WHERE webhook = ?1 ORDER BY event LIMIT ?2)",
            "DELETE FROM deliveries WHERE webhook = ?1 AND event IN (SELECT event FROM deliveries WHERE webhook = ?1 ORDER BY event LIMIT ?2)",
        ] {
            left += connection
                .prepare_cached(sql)
                .and_then(|mut sql| sql.execute(params![n, limit]))
                .map_err(database)?;
        }
        if left == 0 {
            connection
                .execute("DELETE FROM webhooks_gone WHERE n = ?1", [n])
                .map_err(database)?;
        }
        removed += left;
    }
    Ok(removed as u64)
}
