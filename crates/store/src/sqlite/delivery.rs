//! Writes on their way: claim, lease, finish, and the order of writes about one person.

use model::{
    IntegrationId, JobId, Scope, Timestamp,
    webhook::Trigger,
    write::{Attempt, Class, Operation, Outcome, Reply, WriteStatus},
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    corrupt, database,
    events::{self, Happened},
    intake::{LEASED, READY, Request},
    order, records, stamp, strip,
};
use crate::{Claim, Claimed, Depth, Error, Finish, Lane, Lapse, Ticket, Verdict, signals::Effects};

/// Leases ended in one transaction; the next call ends the rest.
const LAPSE_MAX_ROWS: u32 = 1_000;

pub(super) fn claim(connection: &Connection, claim: &Claim) -> Result<Vec<Lane>, Error> {
    let mut lanes = Vec::with_capacity(claim.lanes.len());
    for (integration_id, limit) in &claim.lanes {
        let lane = lane_of(connection, *integration_id)?;
        let due: Vec<i64> = connection
            .prepare_cached("SELECT seq FROM queue WHERE lane = ?1 AND state = 1 AND due_at <= ?2 ORDER BY due_at, seq LIMIT ?3")
            .and_then(|mut sql| sql.query_map(params![lane, claim.now.as_micros(), limit], |row| row.get(0))?.collect())
            .map_err(database)?;
        let mut writes = Vec::with_capacity(due.len());
        let mut unreadable = Vec::new();
        for seq in due {
            let attempt: u32 = connection
                .prepare_cached("UPDATE queue SET state = 2, due_at = ?2, claimed_at = ?3, attempt = attempt + 1 WHERE seq = ?1 RETURNING attempt")
                .and_then(|mut sql| sql.query_row(params![seq, claim.lease_until.as_micros(), claim.now.as_micros()], |row| row.get(0)))
                .map_err(database)?;
            let ticket = Ticket { seq, attempt };
            match claimed(connection, ticket) {
                Ok(write) => writes.push(write),
                Err(Error::Corrupt(why)) => unreadable.push((ticket, why)),
                Err(why) => return Err(why),
            }
        }
        let next: Option<i64> = connection
            .prepare_cached("SELECT min(due_at) FROM queue WHERE lane = ?1 AND state = 1")
            .and_then(|mut sql| sql.query_row([lane], |row| row.get(0)))
            .map_err(database)?;
        lanes.push(Lane {
            integration_id: *integration_id,
            writes,
            unreadable,
            next_due_at: next.map(Timestamp::from_micros),
        });
    }
    Ok(lanes)
}

fn claimed(connection: &Connection, ticket: Ticket) -> Result<Claimed, Error> {
    let bad = |what: &str| Error::Corrupt(format!("{what} of write {}", ticket.seq));
    let (job_id, operation, accepted_at, request): (String, String, i64, String) = connection
        .prepare_cached("SELECT job_id, operation, accepted_at, request FROM writes WHERE seq = ?1")
        .and_then(|mut sql| {
            sql.query_row([ticket.seq], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
        })
        .map_err(database)?;
    let request: Request = serde_json::from_str(&request).map_err(corrupt("a stored request"))?;
    Ok(Claimed {
        ticket,
        job_id: job_id.parse().map_err(|_| bad("the job id"))?,
        operation: Operation::of(&operation).ok_or_else(|| bad("the operation"))?,
        accepted_at: Timestamp::from_micros(accepted_at),
        may_be_held: ticket.attempt > 1 && was_unknown(connection, ticket.seq)?,
        call: request.call,
        confirmed: request.confirmed,
    })
}

fn was_unknown(connection: &Connection, seq: i64) -> Result<bool, Error> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM attempts WHERE seq = ?1 AND json_extract(body, '$.class') = 'unknown')")
        .and_then(|mut sql| sql.query_row([seq], |row| row.get(0)))
        .map_err(database)
}

pub(super) fn lane_of(
    connection: &Connection,
    integration_id: IntegrationId,
) -> Result<i64, Error> {
    connection
        .prepare_cached("SELECT n FROM integrations WHERE id = ?1")
        .and_then(|mut sql| sql.query_row([integration_id.to_string()], |row| row.get(0)))
        .map_err(database)
}

pub(super) fn renew(
    connection: &Connection,
    tickets: &[Ticket],
    until: Timestamp,
) -> Result<(), Error> {
    let mut sql = connection
        .prepare_cached(
            "UPDATE queue SET due_at = ?3 WHERE seq = ?1 AND attempt = ?2 AND state = 2",
        )
        .map_err(database)?;
    for ticket in tickets {
        sql.execute(params![ticket.seq, ticket.attempt, until.as_micros()])
            .map_err(database)?;
    }
    Ok(())
}

pub(super) fn lapse(
    connection: &Connection,
    effects: &mut Effects,
    which: Lapse,
    now: Timestamp,
) -> Result<u64, Error> {
    let until = match which {
        Lapse::Expired => now.as_micros(),
        Lapse::All => i64::MAX,
    };
    let lapsed: Vec<(i64, u32, i64, String)> = connection
        .prepare_cached(
            "SELECT q.seq, q.attempt, q.claimed_at, i.id FROM queue q JOIN integrations i ON i.n = q.lane WHERE q.state = 2 AND q.due_at <= ?1 ORDER BY q.due_at LIMIT ?2",
        )
        .and_then(|mut sql| sql.query_map(params![until, LAPSE_MAX_ROWS], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?.collect())
        .map_err(database)?;
    for (seq, number, claimed_at, integration_id) in &lapsed {
        let attempt = Attempt {
            number: *number,
            started_at: Timestamp::from_micros(*claimed_at),
            duration_ms: None,
            class: Class::Unknown,
            error: Some(
                "Portico stopped, or lost its lease, before the answer was recorded".to_owned(),
            ),
            reply: Reply::default(),
        };
        record_attempt(connection, *seq, &attempt)?;
        connection
            .prepare_cached("UPDATE queue SET state = ?2, due_at = ?3 WHERE seq = ?1")
            .and_then(|mut sql| sql.execute(params![seq, READY, now.as_micros()]))
            .map_err(database)?;
        effects.due.extend(integration_id.parse::<IntegrationId>());
    }
    Ok(lapsed.len() as u64)
}

pub(super) fn lanes_due(connection: &Connection) -> Result<Vec<(IntegrationId, Timestamp)>, Error> {
    // Steps from lane to lane over the index, so its cost is the number of integrations, not of writes.
    let rows: Vec<(String, i64)> = connection
        .prepare_cached(
            "WITH RECURSIVE lanes (lane) AS (
                 SELECT min(lane) FROM queue WHERE state = 1
                 UNION ALL
                 SELECT (SELECT min(q.lane) FROM queue q WHERE q.state = 1 AND q.lane > lanes.lane) FROM lanes WHERE lanes.lane IS NOT NULL
             )
             SELECT i.id, (SELECT min(due_at) FROM queue q WHERE q.lane = lanes.lane AND q.state = 1) FROM lanes JOIN integrations i ON i.n = lanes.lane",
        )
        .and_then(|mut sql| sql.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .map_err(database)?;
    rows.into_iter()
        .map(|(id, due)| {
            let id = id
                .parse()
                .map_err(|_| Error::Corrupt("the id of an integration".to_owned()))?;
            Ok((id, Timestamp::from_micros(due)))
        })
        .collect()
}

pub(super) fn finish(
    connection: &Connection,
    effects: &mut Effects,
    finish: &Finish,
) -> Result<WriteStatus, Error> {
    let Ticket { seq, attempt } = finish.ticket;
    let open: Option<(i64, u32)> = connection
        .prepare_cached("SELECT state, attempt FROM queue WHERE seq = ?1")
        .and_then(|mut sql| {
            sql.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(database)?;
    // An answer that comes after the end is on record too, unless attempts of that write are kept no more.
    if open.is_some() || strip::keeps_attempts(connection, seq)? {
        record_attempt(connection, seq, &finish.attempt)?;
    }
    let Some((state, current)) = open else {
        // It ended through another attempt; this one changes nothing.
        return status_of(connection, seq);
    };
    let holds_the_lease = state == LEASED && current == attempt;
    match &finish.verdict {
        // A confirmation is the truth whoever brings it, even after its lease had lapsed.
        Verdict::Delivered { x_id, record_id } => {
            let met = records::confirm(
                connection,
                effects,
                seq,
                x_id.as_deref(),
                record_id,
                finish.now,
            )?;
            let (status, trigger) = if met.errors.is_empty() {
                (WriteStatus::Success, Trigger::WriteSuccess)
            } else {
                (WriteStatus::PartialSuccess, Trigger::WriteFailure)
            };
            end(
                connection,
                seq,
                current,
                status,
                Some(met.outcome),
                &met.errors,
                Some(&met.id),
                finish.now,
            )?;
            announce(connection, effects, seq, trigger, finish.now)?;
            Ok(status)
        }
        _ if !holds_the_lease => Ok(WriteStatus::Pending),
        Verdict::Failed { errors } => {
            end(
                connection,
                seq,
                current,
                WriteStatus::Failure,
                None,
                errors,
                None,
                finish.now,
            )?;
            announce(connection, effects, seq, Trigger::WriteFailure, finish.now)?;
            Ok(WriteStatus::Failure)
        }
        Verdict::Again { at, errors } => {
            connection
                .prepare_cached(
                    "UPDATE queue SET state = ?2, due_at = ?3, errors = ?4 WHERE seq = ?1",
                )
                .and_then(|mut sql| sql.execute(params![seq, READY, at.as_micros(), json(errors)?]))
                .map_err(database)?;
            Ok(WriteStatus::Pending)
        }
    }
}

fn json(errors: &[String]) -> Result<String, rusqlite::Error> {
    serde_json::to_string(errors)
        .map_err(|why| rusqlite::Error::ToSqlConversionFailure(Box::new(why)))
}

fn status_of(connection: &Connection, seq: i64) -> Result<WriteStatus, Error> {
    let word: String = connection
        .prepare_cached("SELECT status FROM writes WHERE seq = ?1")
        .and_then(|mut sql| sql.query_row([seq], |row| row.get(0)))
        .map_err(database)?;
    WriteStatus::of(&word).ok_or_else(|| Error::Corrupt(format!("the status of write {seq}")))
}

fn record_attempt(connection: &Connection, seq: i64, attempt: &Attempt) -> Result<(), Error> {
    let body = serde_json::to_string(attempt).map_err(corrupt("an attempt"))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO attempts (seq, number, body) VALUES (?1, ?2, ?3)")
        .and_then(|mut sql| sql.execute(params![seq, attempt.number, body]))
        .map(drop)
        .map_err(database)
}

/// Ends a write and makes those that waited for it ready.
#[expect(
    clippy::too_many_arguments,
    reason = "one line of the final row each; a struct for one caller would say the same twice"
)]
fn end(
    connection: &Connection,
    seq: i64,
    attempts: u32,
    status: WriteStatus,
    outcome: Option<Outcome>,
    errors: &[String],
    record_id: Option<&str>,
    now: Timestamp,
) -> Result<(), Error> {
    connection
        .prepare_cached("UPDATE writes SET status = ?2, outcome = ?3, errors = ?4, record_id = ?5, attempts = ?6, completed_at = ?7 WHERE seq = ?1")
        .and_then(|mut sql| {
            sql.execute(params![seq, status.word(), outcome.map(Outcome::word), json(errors)?, record_id, attempts, now.as_micros()])
        })
        .map_err(database)?;
    let keys: Vec<u8> = connection
        .prepare_cached("DELETE FROM queue WHERE seq = ?1 RETURNING order_keys")
        .and_then(|mut sql| sql.query_row([seq], |row| row.get(0)))
        .map_err(database)?;
    order::leave(connection, seq, &keys, now)
}

/// Puts the end of a write into the outbox and wakes who waits for it.
fn announce(
    connection: &Connection,
    effects: &mut Effects,
    seq: i64,
    trigger: Trigger,
    now: Timestamp,
) -> Result<(), Error> {
    let (job_id, lane, integration_id, operation): (String, i64, String, String) = connection
        .prepare_cached("SELECT w.job_id, w.lane, i.id, w.operation FROM writes w JOIN integrations i ON i.n = w.lane WHERE w.seq = ?1")
        .and_then(|mut sql| {
            sql.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        })
        .map_err(database)?;
    let happened = Happened {
        trigger,
        kind: Operation::of(&operation).map(Operation::kind),
        lane,
        integration_id: &integration_id,
        subject: &job_id,
        job: Some((&job_id, &operation)),
        stored: None,
    };
    events::record(
        connection,
        effects,
        &happened,
        stamp::next(connection, now)?,
    )?;
    effects.ended.extend(job_id.parse::<JobId>());
    // What waited for it may be ready now.
    effects.due.extend(integration_id.parse::<IntegrationId>());
    Ok(())
}

pub(super) fn attempts(
    connection: &Connection,
    scope: &Scope,
    job_id: JobId,
) -> Result<Vec<Attempt>, Error> {
    let rows: Vec<(String, String)> = connection
        .prepare_cached(
            "SELECT a.body, i.id FROM attempts a JOIN writes w ON w.seq = a.seq JOIN integrations i ON i.n = w.lane WHERE w.job_id = ?1 ORDER BY a.number",
        )
        .and_then(|mut sql| sql.query_map([job_id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .map_err(database)?;
    rows.into_iter()
        .filter(|(_, integration)| integration.parse().is_ok_and(|id| scope.sees(id)))
        .map(|(body, _)| serde_json::from_str(&body).map_err(corrupt("an attempt")))
        .collect()
}

pub(super) fn depth(connection: &Connection) -> Result<Depth, Error> {
    connection
        .prepare_cached("SELECT count(*), (SELECT accepted_at FROM writes WHERE seq = (SELECT min(seq) FROM queue)) FROM queue")
        .and_then(|mut sql| {
            sql.query_row([], |row| {
                let oldest: Option<i64> = row.get(1)?;
                Ok(Depth { open: row.get::<_, i64>(0)?.unsigned_abs(), oldest_accepted_at: oldest.map(Timestamp::from_micros) })
            })
        })
        .map_err(database)
}
