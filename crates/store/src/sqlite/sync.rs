//! Synchronisation: what is due, what was seen, and the runs themselves.
//!
//! Guarantee: nothing is deleted; what a vendor shows is stored together with the diff of it.

use model::{
    IntegrationId, JobId, Scope, Timestamp,
    record::{Kind, SortField},
    webhook::{Trigger, stored_run},
    write::WriteStatus,
};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::{
    corrupt, database,
    delivery::lane_of,
    directory,
    events::{self, Happened},
    lists, records, stamp,
};
use crate::{
    Error, Query,
    history::{Candidate, Seen, Tally},
    query::Sort,
    signals::Effects,
};

/// What a run is called in events.
const JOB_TYPE: &str = "sync";

/// Every active integration and when it is to be synchronised, the earliest first.
pub(super) fn due(connection: &Connection) -> Result<Vec<(IntegrationId, Timestamp)>, Error> {
    let rows: Vec<(String, i64)> = connection
        .prepare_cached("SELECT i.id, coalesce(s.due_at, 0) FROM integrations i LEFT JOIN syncs s ON s.lane = i.n WHERE i.active AND i.paused_at IS NULL AND i.archived_at IS NULL ORDER BY 2, i.n")
        .and_then(|mut sql| sql.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .map_err(database)?;
    rows.into_iter()
        .map(|(id, due_at)| {
            let id = id
                .parse()
                .map_err(|_| Error::Corrupt("the id of an integration".to_owned()))?;
            Ok((id, Timestamp::from_micros(due_at)))
        })
        .collect()
}

fn set_due(connection: &Connection, lane: i64, at: Timestamp) -> Result<(), Error> {
    connection
        .prepare_cached("INSERT INTO syncs (lane, due_at) VALUES (?1, ?2) ON CONFLICT (lane) DO UPDATE SET due_at = ?2")
        .and_then(|mut sql| sql.execute(params![lane, at.as_micros()]))
        .map(drop)
        .map_err(database)
}

/// Makes an integration due now. `false` when there is none.
pub(super) fn request(
    connection: &Connection,
    effects: &mut Effects,
    id: IntegrationId,
    now: Timestamp,
) -> Result<bool, Error> {
    let lane: Option<i64> = connection
        .prepare_cached("SELECT n FROM integrations WHERE id = ?1")
        .and_then(|mut sql| sql.query_row([id.to_string()], |row| row.get(0)).optional())
        .map_err(database)?;
    let Some(lane) = lane else { return Ok(false) };
    set_due(connection, lane, now)?;
    effects.sync = true;
    Ok(true)
}

/// Begins a run, and says when the next is due should nobody ask for one before.
pub(super) fn begin(
    connection: &Connection,
    id: IntegrationId,
    job_id: JobId,
    now: Timestamp,
    next_at: Timestamp,
) -> Result<(), Error> {
    let lane = lane_of(connection, id)?;
    set_due(connection, lane, next_at)?;
    connection
        .prepare_cached(
            "INSERT INTO jobs (job_id, lane, status, started_at, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut sql| {
            let body = tally(&Tally::default())?;
            sql.execute(params![
                job_id.to_string(),
                lane,
                WriteStatus::Pending.word(),
                now.as_micros(),
                body
            ])
        })
        .map(drop)
        .map_err(database)
}

fn tally(tally: &Tally) -> Result<String, rusqlite::Error> {
    serde_json::to_string(tally)
        .map_err(|why| rusqlite::Error::ToSqlConversionFailure(Box::new(why)))
}

/// The prospects of an integration to look at again: so many with the newest activity, and so many that were not seen for longest.
pub(super) fn candidates(
    connection: &Connection,
    id: IntegrationId,
    newest: u64,
    stalest: u64,
) -> Result<Vec<Candidate>, Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the synchroniser asks for itself, and of one integration only"
    )]
    let scope = Scope::operator();
    let mut found: Vec<Candidate> = Vec::new();
    for (limit, field, is_descending) in [
        (newest, SortField::UpdatedAt, true),
        (stalest, SortField::LastSeen, false),
    ] {
        let query = Query {
            integrations: Some(vec![id]),
            is_at_vendor: true,
            order: vec![Sort {
                field,
                is_descending,
            }],
            ..Query::new(Kind::Prospect, limit)
        };
        for record in lists::rows(connection, &scope, &query)? {
            let candidate = record.x_id.map(|x_id| Candidate {
                x_id,
                x_community_id: record.body["x_community_id"].as_str().map(str::to_owned),
                body: record.body,
            });
            found.extend(candidate);
        }
    }
    let mut known = std::collections::HashSet::new();
    found.retain(|one| known.insert(one.x_id.clone()));
    Ok(found)
}

/// Stores what was seen, and counts it.
pub(super) fn record(
    connection: &Connection,
    effects: &mut Effects,
    id: IntegrationId,
    job_id: JobId,
    seen: &[Seen],
    now: Timestamp,
) -> Result<Tally, Error> {
    let (lane, integration_id, job_id) =
        (lane_of(connection, id)?, id.to_string(), job_id.to_string());
    let job = records::Job {
        id: &job_id,
        word: JOB_TYPE,
    };
    let mut tally = Tally::default();
    let mut directory_changed = false;
    for one in seen {
        let at = stamp::next(connection, now)?;
        let known = records::by_x_id(connection, lane, one.kind, &one.x_id)?;
        let is_news = match (&known, &one.create) {
            (Some(stored), _) if one.is_gone => {
                tally.missing += 1;
                records::vanish(connection, effects, stored, job, at)?
            }
            (Some(stored), _) => {
                let mut update = one.update.clone();
                if !stored.body["vanished_at"].is_null() {
                    update.insert("vanished_at".to_owned(), Value::Null);
                }
                for (member, value) in &one.add {
                    let mut list = match &stored.body[member] {
                        Value::Array(list) => list.clone(),
                        _ => Vec::new(),
                    };
                    if !list.iter().any(|known| known == value) {
                        list.push(Value::from(value.as_str()));
                        update.insert(member.clone(), Value::Array(list));
                    }
                }
                if stored.updated_at > one.asked_at {
                    update.clear();
                }
                let is_changed = records::change(connection, effects, stored, &update, job, at)?;
                tally.seen += 1;
                tally.changed += u64::from(is_changed);
                is_changed
            }
            (None, Some((new_id, body))) => {
                let new = records::New {
                    id: new_id,
                    kind: one.kind,
                    lane,
                    integration_id: &integration_id,
                    x_id: Some(&one.x_id),
                    body,
                };
                records::insert(connection, effects, &new, Some(job), at)?;
                tally.seen += 1;
                tally.created += 1;
                true
            }
            (None, None) => false,
        };
        let is_of_directory = matches!(one.kind, Kind::Community | Kind::Attribution | Kind::Agent);
        directory_changed |= is_news && is_of_directory;
    }
    if directory_changed {
        directory::branch_changed(connection, effects, lane)?;
    }
    Ok(tally)
}

/// Ends a run; with `next_at`, the next one is due then, unless it is due before.
pub(super) fn end(
    connection: &Connection,
    effects: &mut Effects,
    job_id: JobId,
    status: WriteStatus,
    done: &Tally,
    now: Timestamp,
    next_at: Option<Timestamp>,
) -> Result<(), Error> {
    let lane: i64 = connection
        .prepare_cached("UPDATE jobs SET status = ?2, ended_at = ?3, body = ?4 WHERE job_id = ?1 RETURNING lane")
        .and_then(|mut sql| {
            sql.query_row(params![job_id.to_string(), status.word(), now.as_micros(), tally(done)?], |row| row.get(0))
        })
        .map_err(database)?;
    if let Some(next_at) = next_at {
        connection
            .prepare_cached("UPDATE syncs SET due_at = min(due_at, ?2) WHERE lane = ?1")
            .and_then(|mut sql| sql.execute(params![lane, next_at.as_micros()]))
            .map_err(database)?;
    }
    announce(connection, effects, (lane, job_id), status, done, now)
}

/// Puts the end of a run into the outbox.
fn announce(
    connection: &Connection,
    effects: &mut Effects,
    (lane, job_id): (i64, JobId),
    status: WriteStatus,
    done: &Tally,
    now: Timestamp,
) -> Result<(), Error> {
    let integration_id: String = connection
        .prepare_cached("SELECT id FROM integrations WHERE n = ?1")
        .and_then(|mut sql| sql.query_row([lane], |row| row.get(0)))
        .map_err(database)?;
    let trigger = if status == WriteStatus::Failure {
        Trigger::JobFailure
    } else {
        let is_first = connection
            .prepare_cached(
                "UPDATE syncs SET was_complete = 1 WHERE lane = ?1 AND NOT was_complete",
            )
            .and_then(|mut sql| sql.execute([lane]))
            .map_err(database)?
            > 0;
        if is_first {
            Trigger::FirstSyncComplete
        } else {
            Trigger::SyncComplete
        }
    };
    let job_id = job_id.to_string();
    let happened = Happened {
        trigger,
        kind: None,
        lane,
        integration_id: &integration_id,
        subject: &job_id,
        job: Some((&job_id, JOB_TYPE)),
        stored: Some(stored_run(status, &done.errors)),
    };
    let at = stamp::next(connection, now)?;
    events::record(connection, effects, &happened, at)
}

/// Ends the runs of a process that is gone, and makes their integrations due.
pub(super) fn void(
    connection: &Connection,
    effects: &mut Effects,
    now: Timestamp,
) -> Result<u64, Error> {
    let open: Vec<(i64, String, String)> = connection
        .prepare_cached("SELECT lane, body, job_id FROM jobs WHERE ended_at IS NULL")
        .and_then(|mut sql| {
            sql.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })
        .map_err(database)?;
    for (lane, body, job_id) in &open {
        let mut done: Tally = serde_json::from_str(body).map_err(corrupt("a job"))?;
        done.errors
            .push("Portico stopped before the run had ended".to_owned());
        connection
            .prepare_cached("UPDATE jobs SET status = ?2, ended_at = ?3, body = ?4 WHERE lane = ?1 AND ended_at IS NULL")
            .and_then(|mut sql| {
                sql.execute(params![lane, WriteStatus::Failure.word(), now.as_micros(), tally(&done)?])
            })
            .map_err(database)?;
        set_due(connection, *lane, now)?;
        if let Ok(job_id) = job_id.parse() {
            let run = (*lane, job_id);
            announce(connection, effects, run, WriteStatus::Failure, &done, now)?;
        }
    }
    Ok(open.len() as u64)
}
