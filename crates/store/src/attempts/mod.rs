//! Attempts to deliver writes: claim, lease, finish.
//!
//! Guarantee: an attempt, its outcome, and what follows from it are stored in one transaction.

pub(crate) mod turns;
pub(crate) mod types;

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use model::{
    IntegrationId, JobId, Scope, Timestamp,
    retry::{CUT_OFFS_EXCUSED, cut_off_seed, write::delay_ms},
    webhook::Trigger,
    write::{Attempt, AttemptKind, Class, Operation, Outcome, Reply, WriteStatus},
};

use crate::{
    Ask, Claim, Claimed, Depth, Error, Finish, Lane, Lapse, Store, Ticket, Verdict,
    engines::{
        Transaction,
        bulk::{
            Bulk, Merge, Question,
            Type::{Integer, Text},
        },
        crowd::{Answers, Batched, OUTCOMES_MAX},
        db::{Bind, Db, Row, corrupt, count, owned, values},
    },
    erasure::strip,
    events::{self, Happened, Topic},
    listing::no_integration,
    queue::{
        LEASED, READY, Request, due_questions, next_due_at,
        order::{self, Left},
        pace,
    },
    reading::Reading,
    records::{self, Asked, XId},
};

/// Leases ended in one transaction; the next call ends the rest.
const LAPSE_MAX_ROWS: u32 = 1_000;

/// How often a lane that others fill, or of whose change the claimer has not heard, is asked again: whoever frees a place of it wakes only their own process. At whole multiples, so that one claim asks for all such lanes.
const FULL_AGAIN_MICROS: i64 = 250_000;

/// The answer to a claim for one integration, whose writes are still to be read.
pub(crate) struct Given {
    integration_id: IntegrationId,
    due: Vec<Due>,
    next_due_at: Option<Timestamp>,
    not_before: Option<Timestamp>,
}

/// Claims the due writes of all integrations together: with so many questions to the database,
/// however many integrations there are.
pub(crate) fn claim(tx: &Transaction<'_>, claim: &Claim) -> Result<Vec<Given>, Error> {
    let now = claim.now;
    // The start of an attempt, should it be cut off.
    let claimed_at = tx.time.wall(now);
    let ids = claim.lanes.iter().map(|ask| ask.integration_id.to_string());
    let ids: Vec<String> = ids.collect();
    let of_each = ids.iter().zip(&claim.lanes);
    let set = |(id, ask): (_, &Ask)| owned(values![id, now.as_micros(), ask.limit]);
    let [due, next] = due_questions(&DUE, NEXT, of_each.map(set).collect());
    // In one way to the database, so that more may be due than there is room for.
    let questions = [pace::Pacing::question(&ids), due, next];
    let answers = tx.ask(&questions)?;
    let pacings = answers.of_each(&questions, 0, pace::Pacing::read)?;
    let due = answers.of_each(&questions, 1, Due::read)?;
    let next = answers.of_each(&questions, 2, next_due_at)?;
    let mut lanes = Vec::with_capacity(ids.len());
    let of_each = claim.lanes.iter().zip(pacings).zip(due).zip(next);
    for (((ask, mut pacing), mut due), next) in of_each {
        let id = ask.integration_id;
        let mut pacing = pacing.pop().ok_or_else(|| no_integration(id))?;
        let places = ask.concurrency.saturating_sub(pacing.leased);
        let wanted = ask.limit.min(places);
        let is_outdated = is_outdated(ask, &pacing);
        let room = match is_outdated {
            true => 0,
            false => pacing.writes_room(now, ask.gap_micros, wanted).unwrap_or(0),
        };
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let next = next.into_iter().flatten().next();
        let next_due_at = due.get(room).map(|one| one.due_at).or(next);
        due.truncate(room);
        let given = u32::try_from(due.len()).unwrap_or(u32::MAX);
        // No change of a pace waits.
        pacing.writes_began(tx.before_waiting(), now, ask.gap_micros, given)?;
        for one in &due {
            tx.put(
                &CLAIMED,
                values![
                    one.ticket.seq,
                    claim.lease_until.as_micros(),
                    claimed_at.as_micros(),
                    one.ticket.attempt
                ],
            );
        }
        let mut not_before = pacing.writes_room(now, ask.gap_micros, 1).err();
        // The claimer could take more, and what others hold has the last places.
        let is_full = given == places && places < ask.limit;
        if (is_full || is_outdated) && next_due_at.is_some_and(|at| at <= now) {
            let micros = (now.as_micros() / FULL_AGAIN_MICROS + 1) * FULL_AGAIN_MICROS;
            not_before = not_before.max(Some(Timestamp::from_micros(micros)));
        }
        lanes.push(Given {
            integration_id: ask.integration_id,
            due,
            next_due_at,
            not_before,
        });
    }
    Ok(lanes)
}

impl Given {
    /// Reads the writes. Not in the transaction: the next one does not wait for it.
    fn read(self) -> Lane {
        let mut writes = Vec::with_capacity(self.due.len());
        let mut unreadable = Vec::new();
        for one in self.due {
            let ticket = one.ticket;
            match one.claimed() {
                Ok(write) => writes.push(write),
                Err(Error::Corrupt(why)) => unreadable.push((ticket, why)),
                Err(why) => unreadable.push((ticket, why.to_string())),
            }
        }
        Lane {
            integration_id: self.integration_id,
            writes,
            unreadable,
            next_due_at: self.next_due_at,
            not_before: self.not_before,
        }
    }
}

/// Whether the claimer has not yet heard of a change of the integration.
fn is_outdated(ask: &Ask, pacing: &pace::Pacing) -> bool {
    ask.as_of.is_some_and(|known| known != pacing.updated_at)
}

/// When the next of an integration is due, behind those that [`DUE`] gives for the same values:
/// the next in order, or the first that is not due yet, whichever is earlier.
const NEXT: &str =
    "SELECT (SELECT q.due_at FROM queue q WHERE q.lane = (SELECT n FROM integrations WHERE id = ?1) AND q.state = 1 ORDER BY q.due_at, q.seq LIMIT 1 OFFSET ?3),
            (SELECT q.due_at FROM queue q WHERE q.lane = (SELECT n FROM integrations WHERE id = ?1) AND q.state = 1 AND q.due_at > ?2 ORDER BY q.due_at, q.seq LIMIT 1)";

/// Attempts of a write, as `a`, that Portico's own end cut off and that are excused: those with fewer
/// than [`CUT_OFFS_EXCUSED`](model::retry::CUT_OFFS_EXCUSED) cut off right before them.
const EXCUSED: &str = "attempts a WHERE a.seq = SEQ AND json_extract(a.body, '$.duration_ms') IS NULL
         AND (SELECT count(*) FROM attempts b WHERE b.seq = a.seq AND b.number BETWEEN a.number - CUT_OFFS AND a.number - 1
                  AND json_extract(b.body, '$.duration_ms') IS NULL) < CUT_OFFS";

/// [`EXCUSED`] of the write that `seq` names.
fn excused(seq: &str) -> String {
    EXCUSED
        .replace("SEQ", seq)
        .replace("CUT_OFFS", &CUT_OFFS_EXCUSED.to_string())
}

/// The due writes of an integration, the attempt that each would be, whether the outcome of an
/// earlier one is unknown, and how many are excused. The queue leads: what waits there is little.
static DUE: LazyLock<String> = LazyLock::new(|| {
    let excused = excused("q.seq");
    format!(
        "SELECT q.seq, q.attempt, w.job_id, w.operation, w.accepted_at, w.request,
            CASE WHEN q.attempt = 0 THEN FALSE ELSE EXISTS (SELECT 1 FROM attempts a WHERE a.seq = q.seq AND json_extract(a.body, '$.class') = 'unknown') END AS was_unknown,
            CASE WHEN q.attempt = 0 THEN 0 ELSE (SELECT count(*) FROM {excused}) END AS excused,
            CASE WHEN q.queued_at > 0 THEN q.queued_at ELSE w.accepted_at END AS queued_at, q.due_at,
            CASE WHEN q.attempt = 0 THEN NULL ELSE (SELECT a.body FROM attempts a WHERE a.seq = q.seq AND coalesce(json_extract(a.body, '$.kind'), '') NOT IN ('token', 'no_call') ORDER BY a.number DESC LIMIT 1) END AS last, q.turn_at
         FROM queue q CROSS JOIN writes w ON w.seq = q.seq
         WHERE q.lane = (SELECT n FROM integrations WHERE id = ?1) AND q.state = 1 AND q.due_at <= ?2 ORDER BY q.due_at, q.seq LIMIT ?3"
    )
});

/// A due write.
struct Due {
    ticket: Ticket,
    job_id: String,
    operation: String,
    accepted_at: Timestamp,
    request: String,
    was_unknown: bool,
    excused: u32,
    queued_at: Timestamp,
    due_at: Timestamp,
    last: Option<String>,
    turn_at: i64,
}

impl Due {
    fn read(row: &Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            ticket: Ticket {
                seq: row.get(0)?,
                attempt: count(row, 1)?.saturating_add(1),
            },
            job_id: row.get(2)?,
            operation: row.get(3)?,
            accepted_at: row.get(4).map(Timestamp::from_micros)?,
            request: row.get(5)?,
            was_unknown: row.get(6)?,
            excused: count(row, 7)?,
            queued_at: row.get(8).map(Timestamp::from_micros)?,
            due_at: row.get(9).map(Timestamp::from_micros)?,
            last: row.get(10)?,
            turn_at: row.get(11)?,
        })
    }

    /// The write to be called.
    ///
    /// # Errors
    /// What of its row cannot be read.
    fn claimed(self) -> Result<Claimed, Error> {
        let ticket = self.ticket;
        let bad = |what: &str| Error::Corrupt(format!("{what} of write {}", ticket.seq));
        // All of it, so that a write whose confirmation cannot be read ends before its call.
        let request: Request =
            serde_json::from_str(&self.request).map_err(corrupt("a stored request"))?;
        Ok(Claimed {
            ticket,
            job_id: self.job_id.parse().map_err(|_| bad("the job id"))?,
            operation: Operation::of(&self.operation).ok_or_else(|| bad("the operation"))?,
            accepted_at: self.accepted_at,
            queued_at: self.queued_at,
            may_be_held: self.was_unknown,
            tries: ticket.attempt.saturating_sub(self.excused).max(1),
            call: request.call,
            has_turn: self.turn_at != 0,
            last: self
                .last
                .map(|body| serde_json::from_str(&body))
                .transpose()
                .map_err(corrupt("a stored attempt"))?,
        })
    }
}

pub(crate) fn renew(db: &Db<'_>, tickets: &[Ticket], until: Timestamp) -> Result<(), Error> {
    for ticket in tickets {
        db.send(
            "UPDATE queue SET due_at = ?3 WHERE seq = ?1 AND attempt = ?2 AND state = 2",
            values![ticket.seq, ticket.attempt, until.as_micros()],
        )?;
    }
    Ok(())
}

pub(crate) fn lapse(tx: &mut Transaction<'_>, which: Lapse, now: Timestamp) -> Result<u64, Error> {
    let until = which.until_micros(now);
    let lapsed: Vec<(i64, u32, i64, String)> = tx.all(
        "SELECT q.seq, q.attempt, q.claimed_at, i.id FROM queue q INDEXED BY queue_leased JOIN integrations i ON i.n = q.lane WHERE q.state = 2 AND q.due_at <= ?1 ORDER BY q.due_at LIMIT ?2",
        values![until, LAPSE_MAX_ROWS],
        |row| Ok((row.get(0)?, count(row, 1)?, row.get(2)?, row.get(3)?)),
    )?;
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
            kind: AttemptKind::Write,
            x_id: None,
            request: None,
        };
        record_attempt(tx, *seq, &attempt)?;
        tx.raised
            .due
            .extend(integration_id.parse::<IntegrationId>());
    }
    let sql = format!("SELECT a.number FROM {}", excused("?1"));
    let sets: Vec<_> = lapsed.iter().map(|one| owned(values![one.0])).collect();
    let excused = tx.all_for(&sql, &sets, |row| count(row, 0))?;
    for ((seq, number, ..), excused) in lapsed.iter().zip(excused) {
        let wait_ms = if excused.contains(number) {
            0
        } else {
            let count = u32::try_from(excused.len()).unwrap_or(u32::MAX);
            let failures = number.saturating_sub(count);
            delay_ms(failures, Class::Unknown, cut_off_seed(*seq, now))
        };
        let due_at = now.plus_millis(i64::try_from(wait_ms).unwrap_or(i64::MAX));
        tx.send(
            "UPDATE queue SET state = ?2, due_at = ?3 WHERE seq = ?1",
            values![seq, READY, due_at.as_micros()],
        )?;
    }
    Ok(lapsed.len() as u64)
}

pub(crate) fn lanes_due(db: &Db<'_>) -> Result<Vec<(IntegrationId, Timestamp)>, Error> {
    // Steps from lane to lane over the index, so its cost is the number of integrations, not of writes.
    db.all(
        "WITH RECURSIVE lanes (lane) AS (
                 SELECT (SELECT lane FROM queue WHERE state = 1 ORDER BY lane, due_at, seq LIMIT 1)
                 UNION ALL
                 SELECT (SELECT q.lane FROM queue q WHERE q.state = 1 AND q.lane > lanes.lane ORDER BY q.lane, q.due_at, q.seq LIMIT 1) FROM lanes WHERE lanes.lane IS NOT NULL
             )
             SELECT i.id, (SELECT q.due_at FROM queue q WHERE q.lane = lanes.lane AND q.state = 1 ORDER BY q.due_at, q.seq LIMIT 1) FROM lanes JOIN integrations i ON i.n = lanes.lane",
        &[],
        due_of,
    )
}

/// Reads an integration's id and when something of it is due.
pub(crate) fn due_of(row: &Row<'_>) -> Result<(IntegrationId, Timestamp), Error> {
    let id: String = row.get(0)?;
    let id = id
        .parse()
        .map_err(|_| Error::Corrupt("the id of an integration".to_owned()))?;
    Ok((id, row.get(1).map(Timestamp::from_micros)?))
}

fn finish(
    tx: &mut Transaction<'_>,
    finish: &Finish,
    left: &mut Left,
) -> Result<WriteStatus, Error> {
    let Ticket { seq, attempt } = finish.ticket;
    let foreseen = tx.prefetched.with(|all: &mut Standings| all.0.remove(&seq));
    let mut write = match foreseen {
        Some(foreseen) => foreseen,
        None => tx.one(STANDING, values![seq], Standing::read)?,
    };
    if let Some(until) = finish.pause_until {
        pace::pause(tx, seq, until)?;
    }
    // An answer that comes after the end is on record too, unless attempts of that write are kept no more.
    if write.open.is_some() || write.keeps_attempts {
        record_attempt(tx, seq, &finish.attempt)?;
    }
    let Some(open) = write.open.take() else {
        // It ended through another attempt; this one changes nothing.
        return WriteStatus::of(&write.status)
            .ok_or_else(|| Error::Corrupt(format!("the status of write {seq}")));
    };
    let holds_the_lease = open.state == LEASED && open.attempt == attempt;
    match &finish.verdict {
        // A confirmation is the truth whoever brings it, even after its lease had lapsed.
        Verdict::Delivered {
            x_id,
            record_id,
            errors,
        } => {
            let ids = (x_id.as_deref(), record_id.as_str());
            let mut met = records::confirm(tx, &write.asked()?, ids, finish.now)?;
            met.errors.extend_from_slice(errors);
            let (status, trigger) = if met.errors.is_empty() {
                (WriteStatus::Success, Trigger::WriteSuccess)
            } else {
                (WriteStatus::PartialSuccess, Trigger::WriteFailure)
            };
            let end = End {
                status,
                outcome: Some(met.outcome),
                errors: &met.errors,
                record_id: Some(&met.id),
            };
            write.end(tx, &open, &end, finish.now)?;
            left.add(tx, seq, &open.order_keys, finish.now);
            write.announce(tx, trigger, finish.now)?;
            Ok(status)
        }
        _ if !holds_the_lease => Ok(WriteStatus::Pending),
        Verdict::Failed { errors } => {
            let end = End {
                status: WriteStatus::Failure,
                outcome: None,
                errors,
                record_id: None,
            };
            write.end(tx, &open, &end, finish.now)?;
            left.add(tx, seq, &open.order_keys, finish.now);
            write.announce(tx, Trigger::WriteFailure, finish.now)?;
            Ok(WriteStatus::Failure)
        }
        Verdict::Again { at, errors } => {
            tx.put(&AGAIN, values![seq, at.as_micros(), json(errors)?]);
            Ok(WriteStatus::Pending)
        }
    }
}

fn json(errors: &[String]) -> Result<String, Error> {
    serde_json::to_string(errors).map_err(corrupt("the errors of a write"))
}

const ATTEMPTS: Bulk = Bulk {
    order: 20,
    sql: "INSERT INTO attempts (seq, number, body) VALUES (?1, ?2, ?3) ON CONFLICT (seq, number) DO UPDATE SET body = excluded.body",
    types: &[Integer, Integer, Text],
    merge: Merge::Last(2),
};

const ENDED: Bulk = Bulk {
    order: 80,
    sql: "UPDATE writes SET status = ?2, outcome = ?3, errors = ?4, record_id = ?5, attempts = ?6, completed_at = ?7 WHERE seq = ?1",
    types: &[Integer, Text, Text, Text, Text, Integer, Integer],
    merge: Merge::Last(1),
};

const DEQUEUED: Bulk = Bulk {
    order: 81,
    sql: "DELETE FROM queue WHERE seq = ?1",
    types: &[Integer],
    merge: Merge::Last(1),
};

const AGAIN: Bulk = Bulk {
    order: 82,
    sql: "UPDATE queue SET state = 1, due_at = ?2, errors = ?3, turn_at = 0 WHERE seq = ?1",
    types: &[Integer, Integer, Text],
    merge: Merge::Last(1),
};

const CLAIMED: Bulk = Bulk {
    order: 83,
    sql: "UPDATE queue SET state = 2, due_at = ?2, claimed_at = ?3, attempt = ?4 WHERE seq = ?1",
    types: &[Integer, Integer, Integer, Integer],
    merge: Merge::Last(1),
};

fn record_attempt(tx: &Transaction<'_>, seq: i64, attempt: &Attempt) -> Result<(), Error> {
    let body = serde_json::to_string(attempt).map_err(corrupt("an attempt"))?;
    tx.put(&ATTEMPTS, values![seq, attempt.number, body]);
    Ok(())
}

/// Writes that are about to be finished, by their place.
#[derive(Default)]
struct Standings(HashMap<i64, Standing>);

/// A write as it stands when an attempt of it is over.
struct Standing {
    seq: i64,
    lane: i64,
    integration_id: String,
    job_id: String,
    operation: String,
    request: String,
    status: String,
    keeps_attempts: bool,
    /// Its row of the queue, while it has not ended.
    open: Option<Open>,
}

/// A row of the queue.
struct Open {
    state: i64,
    attempt: u32,
    order_keys: Vec<u8>,
}

/// How a write ends.
struct End<'a> {
    status: WriteStatus,
    outcome: Option<Outcome>,
    errors: &'a [String],
    record_id: Option<&'a str>,
}

/// What [`Standing::read`] reads.
const STANDING: &str = "SELECT w.seq, w.lane, i.id, w.job_id, w.operation, w.request, w.status, w.kept, q.state, q.attempt, q.order_keys
     FROM writes w JOIN integrations i ON i.n = w.lane LEFT JOIN queue q ON q.seq = w.seq WHERE w.seq = ?1";

impl Batched for Finish {
    type Answer = WriteStatus;

    const MAX: usize = OUTCOMES_MAX;

    const IS_NEW_WORK: bool = false;

    fn serve(tx: &mut Transaction<'_>, finishes: &[&Self]) -> Result<Answers<WriteStatus>, Error> {
        prefetch(tx, finishes)?;
        let mut left = Left::default();
        let each = finishes.iter();
        let statuses = each
            .map(|one| finish(tx, one, &mut left).map(Ok))
            .collect::<Result<_, _>>()?;
        left.settle(tx)?;
        Ok(statuses)
    }
}

/// Reads at once the rows that [`finish`] needs of each.
fn prefetch(tx: &Transaction<'_>, finishes: &[&Finish]) -> Result<(), Error> {
    let questions = [Question {
        sql: STANDING,
        types: &[Integer],
        sets: finishes
            .iter()
            .map(|one| vec![one.ticket.seq.bind()])
            .collect(),
    }];
    let mut standings = HashMap::new();
    tx.ask(&questions)?.each(&questions, 0, |_, row| {
        let one = Standing::read(row)?;
        standings.insert(one.seq, one);
        Ok(())
    })?;
    let (mut x_ids, mut topics, mut keys) = (HashSet::new(), HashSet::new(), HashSet::new());
    for finish in finishes {
        let Some(write) = standings.get(&finish.ticket.seq) else {
            continue;
        };
        if let (Some(open), Verdict::Delivered { .. } | Verdict::Failed { .. }) =
            (&write.open, &finish.verdict)
        {
            keys.extend(order::read(&open.order_keys));
        }
        let kind = Operation::of(&write.operation).map(Operation::kind);
        let topic = |trigger| Topic {
            trigger,
            kind,
            integration_id: write.integration_id.clone(),
        };
        match &finish.verdict {
            Verdict::Delivered { x_id, .. } => {
                // Nearly all of the events that follow: the others' subscribers are read one by one.
                topics.extend([topic(Trigger::DataNew), topic(Trigger::WriteSuccess)]);
                x_ids.extend(
                    kind.zip(x_id.clone())
                        .map(|(kind, id)| (write.lane, kind, id)),
                );
            }
            Verdict::Failed { .. } => {
                topics.insert(topic(Trigger::WriteFailure));
            }
            Verdict::Again { .. } => {}
        }
    }
    let x_ids: Vec<XId> = x_ids.into_iter().collect();
    let topics: Vec<Topic> = topics.into_iter().collect();
    let keys: Vec<i64> = keys.into_iter().collect();
    let questions = [
        records::by_x_id_question(&x_ids),
        events::subscribers_question(&topics),
        order::behind_question(&keys),
    ];
    let answers = tx.ask(&questions)?;
    records::by_x_id_keep(tx, &x_ids, (&answers, &questions, 0))?;
    events::subscribers_keep(tx, &topics, (&answers, &questions, 1))?;
    order::behind_keep(tx, &keys, (&answers, &questions, 2))?;
    tx.prefetched.with(|all: &mut Standings| all.0 = standings);
    Ok(())
}

impl Standing {
    fn read(row: &Row<'_>) -> Result<Self, Error> {
        let open = match row.get::<Option<i64>>(8)? {
            None => None,
            Some(state) => Some(Open {
                state,
                attempt: count(row, 9)?,
                order_keys: row.get(10)?,
            }),
        };
        Ok(Self {
            seq: row.get(0)?,
            lane: row.get(1)?,
            integration_id: row.get(2)?,
            job_id: row.get(3)?,
            operation: row.get(4)?,
            request: row.get(5)?,
            status: row.get(6)?,
            keeps_attempts: strip::keeps_attempts(row.get(7)?),
            open,
        })
    }

    fn asked(&self) -> Result<Asked<'_>, Error> {
        let request: Request =
            serde_json::from_str(&self.request).map_err(corrupt("a stored request"))?;
        Ok(Asked {
            lane: self.lane,
            integration_id: &self.integration_id,
            job_id: &self.job_id,
            operation: Operation::of(&self.operation)
                .ok_or_else(|| Error::Corrupt(format!("the operation of write {}", self.seq)))?,
            confirmed: request.confirmed,
        })
    }

    /// Ends it; those that waited for it are made ready.
    fn end(
        &self,
        tx: &mut Transaction<'_>,
        open: &Open,
        end: &End<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let outcome = end.outcome.map(Outcome::word);
        tx.put(
            &ENDED,
            values![
                self.seq,
                end.status.word(),
                outcome,
                json(end.errors)?,
                end.record_id,
                open.attempt,
                now.as_micros()
            ],
        );
        tx.put(&DEQUEUED, values![self.seq]);
        Ok(())
    }

    /// Puts its end into the outbox and wakes who waits for it.
    fn announce(
        &self,
        tx: &mut Transaction<'_>,
        trigger: Trigger,
        now: Timestamp,
    ) -> Result<(), Error> {
        let happened = Happened {
            trigger,
            kind: Operation::of(&self.operation).map(Operation::kind),
            lane: self.lane,
            integration_id: &self.integration_id,
            subject: &self.job_id,
            job: Some((&self.job_id, &self.operation)),
            stored: None,
        };
        events::record(tx, &happened, tx.next_stamp(now)?)?;
        tx.raised.ended.extend(self.job_id.parse::<JobId>());
        // What waited for it may be ready now.
        tx.raised
            .due
            .extend(self.integration_id.parse::<IntegrationId>());
        Ok(())
    }
}

pub(crate) fn attempts(db: &Db<'_>, scope: &Scope, job_id: JobId) -> Result<Vec<Attempt>, Error> {
    let rows: Vec<(String, String)> = db.all(
        "SELECT a.body, i.id FROM attempts a JOIN writes w ON w.seq = a.seq JOIN integrations i ON i.n = w.lane WHERE w.job_id = ?1 ORDER BY a.number",
        values![job_id.to_string()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    rows.into_iter()
        .filter(|(_, integration)| integration.parse().is_ok_and(|id| scope.sees(id)))
        .map(|(body, _)| serde_json::from_str(&body).map_err(corrupt("an attempt")))
        .collect()
}

pub(crate) fn depth(db: &Db<'_>) -> Result<Depth, Error> {
    db.one(
        "SELECT count(*), (SELECT CASE WHEN q.queued_at > 0 THEN q.queued_at ELSE w.accepted_at END
             FROM queue q JOIN writes w ON w.seq = q.seq WHERE q.seq = (SELECT o.seq FROM queue o ORDER BY o.seq LIMIT 1)) FROM queue",
        &[],
        |row| {
                let oldest: Option<i64> = row.get(1)?;
                Ok(Depth { open: row.get::<i64>(0)?.unsigned_abs(), oldest_queued_at: oldest.map(Timestamp::from_micros) })
            },
    )
}

impl Store {
    /// The attempts of a write, oldest first.
    pub async fn attempts_list(&self, scope: &Scope, job_id: JobId) -> Result<Vec<Attempt>, Error> {
        self.listed(scope, &job_id, |db, scope, job_id| {
            attempts(db, scope, *job_id)
        })
        .await
    }

    /// Puts due writes under a lease, in the order due, as many as the limits of their integrations leave, and counts an attempt for each.
    pub async fn writes_claim(&self, claim: Claim) -> Result<Vec<Lane>, Error> {
        let given = self.engine.write(move |tx| self::claim(tx, &claim)).await?;
        Ok(given.into_iter().map(Given::read).collect())
    }

    /// Prolongs leases that are still held.
    pub async fn leases_renew(&self, tickets: Vec<Ticket>, until: Timestamp) -> Result<(), Error> {
        self.engine
            .write(move |tx| renew(tx, &tickets, until))
            .await
    }

    /// Ends leases and records their attempts as cut off. Their writes are due at once, or, from the
    /// third attempt in a row that was cut off, by the retry schedule. Returns how many.
    pub async fn leases_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error> {
        self.engine.write(move |tx| lapse(tx, which, now)).await
    }

    /// Every integration that has a ready write, and when its first is due.
    pub async fn lanes_due(&self) -> Result<Vec<(IntegrationId, Timestamp)>, Error> {
        self.engine.read(Reading::OWN, lanes_due).await
    }

    /// Records an attempt and what follows from it: record, outcome, event, and the next write about the same person made ready.
    /// Returns the write's status afterwards.
    pub async fn attempt_finish(&self, finish: &Finish) -> Result<WriteStatus, Error> {
        self.engine.batch(finish.clone()).await
    }

    /// How much is waiting.
    pub async fn queue_depth(&self) -> Result<Depth, Error> {
        self.engine.read(Reading::BACKGROUND, depth).await
    }
}
