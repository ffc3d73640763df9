//! Events on their way to subscribers: claim, lease, finish, and looking back.
//!
//! Guarantee: a delivery is pending until its receiver has taken it or it was tried as often as it is; whoever holds it when the process dies loses it, and it is
//! tried again.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use model::{
    Actor, EventId, Scope, Timestamp, WebhookId,
    record::Kind,
    retry::{CUT_OFFS_EXCUSED, cut_off_seed, delivery::delay_ms},
    webhook::{Delivery, DeliveryAttempt, DeliveryStatus, Trigger},
};
use serde_json::{Value, json};

use crate::{
    Depth, Error, Lapse, Page, Store,
    audit::{self, Author, Deed},
    engines::{
        Transaction,
        bulk::{
            Bulk, Merge, Question,
            Type::{Integer, Text},
        },
        crowd::{Answers, Batched, OUTCOMES_MAX},
        db::{Bind, Db, Row, Value as Sql, corrupt, count, owned, values},
    },
    events,
    queue::{due_questions, next_due_at},
    reading::{Cost, Reading},
    subscriptions::{
        self, Place, Tried,
        types::{
            ClaimedDelivery, DeliveryClaim, DeliveryFinish, DeliveryLane, DeliveryQuery,
            DeliveryTicket, DeliveryVerdict, Health, Replay, Replayed, Standing,
        },
    },
};

/// States of `deliveries.state`.
const READY: i64 = 1;
const LEASED: i64 = 2;
const DELIVERED: i64 = 3;
const GIVEN_UP: i64 = 4;

/// Leases ended in one transaction; the next call ends the rest.
const LAPSE_MAX_ROWS: u32 = 1_000;

/// A subscription that deliveries may be claimed for.
const CLAIMABLE: &str =
    "SELECT n FROM webhooks WHERE id = ?1 AND active AND coalesce(lapses_at > ?2, TRUE)";

/// The due deliveries of a subscription. One without its event is claimed too: it is to be told, not
/// waited for.
static DUE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {EVENT}, d.webhook, d.event, d.attempts, d.tries
         FROM deliveries d LEFT JOIN events e ON e.seq = d.event LEFT JOIN integrations i ON i.n = e.lane LEFT JOIN writes w ON {WRITE_OF_EVENT}
         WHERE d.webhook = (SELECT n FROM webhooks WHERE id = ?1) AND d.state = 1 AND d.due_at <= ?2 ORDER BY d.due_at, d.event LIMIT ?3",
        EVENT = events::COLUMNS,
        WRITE_OF_EVENT = events::WRITE_OF,
    )
});

/// When the next of a subscription is due, behind those that [`DUE`] gives for the same values: the
/// next in order, or the first that is not due yet, whichever is earlier.
const NEXT: &str =
    "SELECT (SELECT d.due_at FROM deliveries d WHERE d.webhook = (SELECT n FROM webhooks WHERE id = ?1) AND d.state = 1 ORDER BY d.due_at, d.event LIMIT 1 OFFSET ?3),
            (SELECT d.due_at FROM deliveries d WHERE d.webhook = (SELECT n FROM webhooks WHERE id = ?1) AND d.state = 1 AND d.due_at > ?2 ORDER BY d.due_at, d.event LIMIT 1)";

/// Leases that end.
const LEASED_UNTIL: &str = "SELECT webhook, event, attempts, claimed_at, tries FROM deliveries WHERE state = 2 AND due_at <= ?1 ORDER BY due_at LIMIT ?2";

/// How many of these attempts of a delivery were cut off.
const CUT_OFF_BETWEEN: &str = "SELECT count(*) FROM delivery_attempts
     WHERE webhook = ?1 AND event = ?2 AND number BETWEEN ?3 AND ?4 AND json_extract(body, '$.duration_ms') IS NULL";

/// When the next is due for each subscription.
const NEXT_OF_EACH: &str = "SELECT w.id, (SELECT d.due_at FROM deliveries d WHERE d.webhook = w.n AND d.state = 1 ORDER BY d.due_at, d.event LIMIT 1) FROM webhooks w WHERE w.active";

/// How many are open.
const DEPTH: &str =
    "SELECT open, (SELECT at FROM events WHERE seq = first),
         (SELECT max(o.queued_at) FROM webhooks v CROSS JOIN deliveries o ON o.webhook = v.n WHERE o.event = first) FROM (
         SELECT count(*) AS open, min(d.event) AS first FROM webhooks w CROSS JOIN deliveries d INDEXED BY deliveries_open ON d.webhook = w.n
         WHERE w.active AND d.state IN (1, 2)) AS all_open";

/// Claims what is due, for all subscriptions together, as that of writes does.
pub(crate) fn claim(
    tx: &Transaction<'_>,
    claim: &DeliveryClaim,
) -> Result<Vec<DeliveryLane>, Error> {
    // The start of an attempt, should it be cut off.
    let claimed_at = tx.time.wall(claim.now);
    let settled = tx.time.settled(claimed_at).as_micros();
    let ids: Vec<String> = claim.lanes.iter().map(|(id, _)| id.to_string()).collect();
    let of_each = ids.iter().zip(&claim.lanes);
    let set = |(id, (_, limit)): (_, &(_, u32))| owned(values![id, claim.now.as_micros(), limit]);
    let [due, next] = due_questions(&DUE, NEXT, of_each.map(set).collect());
    let claimable = Question {
        sql: CLAIMABLE,
        types: &[Text, Integer],
        sets: ids.iter().map(|id| owned(values![id, settled])).collect(),
    };
    // In one way to the database.
    let questions = [claimable, due, next];
    let answers = tx.ask(&questions)?;
    let claimable = answers.of_each(&questions, 0, |row| row.get::<i64>(0))?;
    let due = answers.of_each(&questions, 1, claimed)?;
    let next = answers.of_each(&questions, 2, next_due_at)?;
    let mut lanes = Vec::new();
    let of_each = claim.lanes.iter().zip(claimable).zip(due).zip(next);
    for ((((webhook_id, _), claimable), deliveries), next) in of_each {
        if claimable.is_empty() {
            continue;
        }
        for ClaimedDelivery { ticket, .. } in &deliveries {
            tx.put(
                &CLAIMED,
                values![
                    ticket.webhook,
                    ticket.event,
                    claim.lease_until.as_micros(),
                    claimed_at.as_micros(),
                    ticket.attempt,
                    ticket.tries
                ],
            );
        }
        lanes.push(DeliveryLane {
            webhook_id: *webhook_id,
            deliveries,
            next_due_at: next.into_iter().flatten().next(),
        });
    }
    Ok(lanes)
}

/// Reads a row of [`DUE`].
fn claimed(row: &Row<'_>) -> Result<ClaimedDelivery, Error> {
    let ticket = DeliveryTicket {
        webhook: row.get(15)?,
        event: row.get(16)?,
        attempt: count(row, 17)?.saturating_add(1),
        tries: count(row, 18)?.saturating_add(1),
    };
    let event = match row.get::<Option<i64>>(0)? {
        Some(_) => events::read(row),
        None => Err(events::missing(ticket.event)),
    };
    let event = match event {
        Ok(event) => Ok(event),
        Err(Error::Corrupt(why)) => Err(why),
        Err(why) => return Err(why),
    };
    Ok(ClaimedDelivery { ticket, event })
}

const CLAIMED: Bulk = Bulk {
    order: 93,
    sql: "UPDATE deliveries SET state = 2, due_at = ?3, claimed_at = ?4, attempts = ?5, tries = ?6 WHERE webhook = ?1 AND event = ?2",
    types: &[Integer, Integer, Integer, Integer, Integer, Integer],
    merge: Merge::Last(2),
};

const ATTEMPTS: Bulk = Bulk {
    order: 91,
    sql: "INSERT INTO delivery_attempts (webhook, event, number, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (webhook, event, number) DO UPDATE SET body = excluded.body",
    types: &[Integer, Integer, Integer, Text],
    merge: Merge::Last(3),
};

const FINISHED: Bulk = Bulk {
    order: 92,
    sql: "UPDATE deliveries SET state = ?3, due_at = ?4, error = ?5 WHERE webhook = ?1 AND event = ?2",
    types: &[Integer, Integer, Integer, Integer, Text],
    merge: Merge::Last(2),
};

fn record_attempt(
    tx: &Transaction<'_>,
    (webhook, event): (i64, i64),
    attempt: &DeliveryAttempt,
) -> Result<(), Error> {
    let body = serde_json::to_string(attempt).map_err(corrupt("an attempt"))?;
    tx.put(&ATTEMPTS, values![webhook, event, attempt.number, body]);
    Ok(())
}

impl Batched for DeliveryFinish {
    type Answer = Health;

    const MAX: usize = OUTCOMES_MAX;

    const IS_NEW_WORK: bool = false;

    fn serve(tx: &mut Transaction<'_>, finishes: &[&Self]) -> Result<Answers<Health>, Error> {
        prefetch(tx, finishes)?;
        let each = finishes.iter();
        each.map(|one| finish(tx, one).map(Ok)).collect()
    }
}

/// A delivery as it is stored when an attempt of it is over.
#[derive(Clone, Copy)]
struct Open {
    state: i64,
    attempts: u32,
    /// Whether its receiver is known to fail.
    fails: bool,
}

/// Deliveries that are about to be finished, by subscription and event; `None` where the event or
/// the subscription is gone.
#[derive(Default)]
struct Ahead(HashMap<(i64, i64), Option<Open>>);

/// Events of which nobody was forgotten since, as far as they were read.
#[derive(Default)]
struct Whole(HashMap<i64, bool>);

const OPEN: &str = "SELECT d.state, d.attempts, w.failing_since IS NOT NULL OR w.gone_since IS NOT NULL
     FROM deliveries d LEFT JOIN webhooks w ON w.n = d.webhook WHERE d.webhook = ?1 AND d.event = ?2";

/// Reads at once the rows that [`finish`] needs of each.
fn prefetch(tx: &Transaction<'_>, finishes: &[&DeliveryFinish]) -> Result<(), Error> {
    let places: Vec<(i64, i64)> = finishes
        .iter()
        .map(|one| (one.ticket.webhook, one.ticket.event))
        .collect();
    let answered = finishes.iter().filter(|one| one.attempt.response.is_some());
    let events: BTreeSet<i64> = answered.map(|one| one.ticket.event).collect();
    let events: Vec<i64> = events.into_iter().collect();
    let questions = [
        Question {
            sql: OPEN,
            types: &[Integer, Integer],
            sets: places
                .iter()
                .map(|(webhook, event)| vec![webhook.bind(), event.bind()])
                .collect(),
        },
        Question {
            sql: events::IS_KEPT,
            types: &[Integer],
            sets: events.iter().map(|event| vec![event.bind()]).collect(),
        },
    ];
    let mut open: HashMap<_, _> = places.iter().map(|place| (*place, None)).collect();
    let mut whole: HashMap<_, _> = events.iter().map(|event| (*event, false)).collect();
    let answers = tx.ask(&questions)?;
    answers.each(&questions, 0, |set, row| {
        let one = Open {
            state: row.get(0)?,
            attempts: count(row, 1)?,
            fails: row.get(2)?,
        };
        open.insert(places[set], Some(one));
        Ok(())
    })?;
    answers.each(&questions, 1, |set, row| {
        whole.insert(events[set], row.get(0)?);
        Ok(())
    })?;
    tx.prefetched.with(|ahead: &mut Ahead| ahead.0 = open);
    tx.prefetched.with(|ahead: &mut Whole| ahead.0 = whole);
    Ok(())
}

/// The delivery of `finish`, read anew if it, or its subscription, has changed since it was read.
fn opened(tx: &Transaction<'_>, finish: &DeliveryFinish) -> Result<Option<Open>, Error> {
    let place = (finish.ticket.webhook, finish.ticket.event);
    let take = || {
        tx.prefetched
            .with(|ahead: &mut Ahead| ahead.0.remove(&place))
    };
    if let Some(open) = take() {
        return Ok(open);
    }
    prefetch(tx, &[finish])?;
    Ok(take().flatten())
}

/// Records an attempt and what follows.
fn finish(tx: &mut Transaction<'_>, finish: &DeliveryFinish) -> Result<Health, Error> {
    let DeliveryTicket {
        webhook,
        event,
        attempt,
        ..
    } = finish.ticket;
    // Without a row the event, or the subscription, is gone.
    let Some(open) = opened(tx, finish)? else {
        return Ok(Health::Same);
    };
    let state = open.state;
    let is_whole = || {
        tx.prefetched
            .with(|ahead: &mut Whole| ahead.0.get(&event) == Some(&true))
    };
    let mut kept = finish.attempt.clone();
    if kept.response.is_some() && !is_whole() {
        // The person was forgotten while the receiver was told of them.
        kept.response = None;
    }
    record_attempt(tx, (webhook, event), &kept)?;
    let holds_the_lease = state == LEASED && open.attempts == attempt;
    let (next, due_at) = match finish.verdict {
        // That the receiver has it is the truth, even when the lease had lapsed.
        DeliveryVerdict::Delivered if state != DELIVERED => (DELIVERED, finish.now),
        DeliveryVerdict::Again(at) if holds_the_lease => (READY, at),
        DeliveryVerdict::GivenUp if holds_the_lease => (GIVEN_UP, finish.now),
        DeliveryVerdict::Delivered | DeliveryVerdict::Again(_) | DeliveryVerdict::GivenUp => {
            (state, finish.now)
        }
    };
    if next != state {
        tx.put(
            &FINISHED,
            values![
                webhook,
                event,
                next,
                due_at.as_micros(),
                finish.attempt.error
            ],
        );
    }
    let tried = Tried {
        n: webhook,
        started_at: finish.attempt.started_at,
        fails: open.fails,
    };
    let health = judge(tx, finish, tried)?;
    if health != Health::Same {
        // The next attempt of the batch finds the subscription as it is now.
        tx.prefetched.with(|ahead: &mut Ahead| ahead.0.clear());
    }
    Ok(health)
}

/// Notes on the subscription that an attempt shows of its receiver.
fn judge(tx: &mut Transaction<'_>, finish: &DeliveryFinish, tried: Tried) -> Result<Health, Error> {
    match &finish.standing {
        Standing::Unasked => Ok(Health::Same),
        Standing::Well => subscriptions::did_well(tx, tried),
        Standing::Failed {
            since_before,
            reason,
        } => subscriptions::failed(tx, tried, Some(*since_before), reason, finish.now),
        Standing::SaidGone {
            said_before,
            reason,
            failed_before,
            failed,
        } => {
            let said = Some(*said_before);
            let health = subscriptions::said_gone(tx, tried, said, reason, finish.now)?;
            if health == Health::Off {
                return Ok(health);
            }
            let since_before = Some(*failed_before);
            subscriptions::failed(tx, tried, since_before, failed, finish.now)
        }
        Standing::Gone { reason } => subscriptions::failed(tx, tried, None, reason, finish.now),
    }
}

pub(crate) fn lapse(tx: &mut Transaction<'_>, which: Lapse, now: Timestamp) -> Result<u64, Error> {
    let until = which.until_micros(now);
    let lapsed: Vec<(i64, i64, u32, i64, u32)> =
        tx.all(LEASED_UNTIL, values![until, LAPSE_MAX_ROWS], |row| {
            let (attempts, tries) = (count(row, 2)?, count(row, 4)?);
            Ok((row.get(0)?, row.get(1)?, attempts, row.get(3)?, tries))
        })?;
    for (webhook, event, number, claimed_at, tries) in &lapsed {
        let attempt = DeliveryAttempt {
            number: *number,
            started_at: Timestamp::from_micros(*claimed_at),
            duration_ms: None,
            is_taken: false,
            error: Some(
                "Portico stopped, or lost its lease, before the answer was recorded".to_owned(),
            ),
            status: None,
            response: None,
            response_is_cut: false,
        };
        record_attempt(tx, (*webhook, *event), &attempt)?;
        let first = i64::from(*number) - i64::from(CUT_OFFS_EXCUSED);
        let cut_off_before: i64 = tx.one(
            CUT_OFF_BETWEEN,
            values![webhook, event, first, i64::from(*number) - 1],
            |row| row.get(0),
        )?;
        // A receiver is not to blame for what Portico's own end cut off: it counts as an attempt,
        // and not as a try. Unless it is cut off again and again: then it may be what ends Portico.
        let is_excused = cut_off_before < i64::from(CUT_OFFS_EXCUSED);
        let tries = tries.saturating_sub(u32::from(is_excused));
        let wait_ms = match is_excused {
            true => Some(0),
            false => delay_ms(tries, None, cut_off_seed(*event, now)),
        };
        let (state, wait_ms) = wait_ms.map_or((GIVEN_UP, 0), |wait_ms| (READY, wait_ms));
        let error = attempt.error.filter(|_| state == GIVEN_UP);
        let due_at = now.plus_millis(i64::try_from(wait_ms).unwrap_or(i64::MAX));
        tx.execute(
            "UPDATE deliveries SET state = ?3, due_at = ?4, tries = ?5, error = coalesce(?6, error) WHERE webhook = ?1 AND event = ?2",
            values![webhook, event, state, due_at.as_micros(), tries, error],
        )?;
        let id: Option<String> = tx.find(
            "SELECT id FROM webhooks WHERE n = ?1",
            values![webhook],
            |row| row.get(0),
        )?;
        tx.raised
            .deliveries
            .extend(id.and_then(|id| id.parse::<WebhookId>().ok()));
    }
    Ok(lapsed.len() as u64)
}

pub(crate) fn due(db: &Db<'_>) -> Result<Vec<(WebhookId, Timestamp)>, Error> {
    let rows: Vec<(String, Option<i64>)> =
        db.all(NEXT_OF_EACH, &[], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.into_iter()
        .filter_map(|(id, due_at)| Some((id, due_at?)))
        .map(|(id, due_at)| {
            let id = id
                .parse()
                .map_err(|_| Error::Corrupt("the id of a webhook".to_owned()))?;
            Ok((id, Timestamp::from_micros(due_at)))
        })
        .collect()
}

pub(crate) fn depth(db: &Db<'_>) -> Result<Depth, Error> {
    let (open, oldest): (i64, Option<i64>) = db.one(DEPTH, &[], |row| {
        let queued: Option<i64> = row.get(2)?;
        // One that was stored before this was noted, or is replayed, has the time of its event.
        let queued = queued.filter(|at| *at > 0);
        Ok((row.get(0)?, queued.or(row.get(1)?)))
    })?;
    Ok(Depth {
        open: open.unsigned_abs(),
        oldest_queued_at: oldest.map(Timestamp::from_micros),
    })
}

/// What [`read`] reads.
const COLUMNS: &str =
    "e.id, e.seq, e.trigger, e.kind, i.id, e.at, d.state, d.attempts, d.error, d.due_at, w.active";

fn read(row: &Row<'_>) -> Result<Delivery, Error> {
    let seq: i64 = row.get(1)?;
    let bad = |what: &str| Error::Corrupt(format!("{what} of event {seq}"));
    let text = |place: usize| row.get::<String>(place);
    let kind: Option<String> = row.get(3)?;
    let state: i64 = row.get(6)?;
    let due_at = row.get(9).map(Timestamp::from_micros)?;
    let is_active: bool = row.get(10)?;
    Ok(Delivery {
        event_id: text(0)?.parse().map_err(|_| bad("the id"))?,
        seq,
        trigger: Trigger::of(&text(2)?).ok_or_else(|| bad("the trigger"))?,
        kind: kind.and_then(|word| Kind::of(&word)),
        integration_id: text(4)?,
        created_at: row.get(5).map(Timestamp::from_micros)?,
        status: match state {
            DELIVERED => DeliveryStatus::Delivered,
            GIVEN_UP => DeliveryStatus::Failed,
            _ => DeliveryStatus::Pending,
        },
        attempts: count(row, 7)?,
        error: row.get(8)?,
        next_attempt_at: (state == READY && is_active).then_some(due_at),
        completed_at: [DELIVERED, GIVEN_UP].contains(&state).then_some(due_at),
    })
}

fn list_sql(status: Option<DeliveryStatus>) -> String {
    // What is open, and what was given up, is read along an index that has just these: the most are delivered.
    let (along, states) = match status {
        None => ("", "TRUE"),
        Some(DeliveryStatus::Pending) => ("INDEXED BY deliveries_open", "d.state IN (1, 2)"),
        Some(DeliveryStatus::Delivered) => ("", "d.state = 3"),
        Some(DeliveryStatus::Failed) => ("INDEXED BY deliveries_failed", "d.state = 4"),
    };
    format!(
        "SELECT {COLUMNS} FROM deliveries d {along} CROSS JOIN webhooks w ON w.n = d.webhook CROSS JOIN events e ON e.seq = d.event CROSS JOIN integrations i ON i.n = e.lane
         WHERE d.webhook = ?1 AND d.event < ?2 AND {states} ORDER BY d.event DESC"
    )
}

/// The deliveries of a subscription, the newest event first.
pub(crate) fn list(
    db: &Db<'_>,
    scope: &Scope,
    query: &DeliveryQuery,
) -> Result<Option<Page<Delivery>>, Error> {
    let Some(Place { n: webhook, .. }) = subscriptions::row(db, scope, query.webhook_id)? else {
        return Ok(None);
    };
    let before = match query.after {
        Some(after) => events::cursor(db, scope, after)?,
        None => i64::MAX,
    };
    let sql = list_sql(query.status);
    events::readable(db, &sql, values![webhook, before], query.limit, read).map(Some)
}

/// Row and place of a delivery that `scope` may know of.
fn known(
    db: &Db<'_>,
    scope: &Scope,
    webhook_id: WebhookId,
    event_id: EventId,
) -> Result<Option<(i64, i64)>, Error> {
    let webhook = subscriptions::row(db, scope, webhook_id)?;
    let event = events::place(db, scope, event_id)?;
    Ok(webhook.map(|webhook| webhook.n).zip(event))
}

pub(crate) fn find(
    db: &Db<'_>,
    scope: &Scope,
    webhook_id: WebhookId,
    event_id: EventId,
) -> Result<Option<Delivery>, Error> {
    match known(db, scope, webhook_id, event_id)? {
        Some((webhook, event)) => at(db, webhook, event),
        None => Ok(None),
    }
}

/// The delivery of the event at a place of the log.
fn at(db: &Db<'_>, webhook: i64, event: i64) -> Result<Option<Delivery>, Error> {
    db.find(
        &format!(
            "SELECT {COLUMNS} FROM deliveries d JOIN webhooks w ON w.n = d.webhook JOIN events e ON e.seq = d.event JOIN integrations i ON i.n = e.lane
             WHERE d.webhook = ?1 AND d.event = ?2"
        ),
        values![webhook, event],
        read,
    )
}

pub(crate) fn attempts(
    db: &Db<'_>,
    scope: &Scope,
    webhook_id: WebhookId,
    event_id: EventId,
) -> Result<Option<Vec<DeliveryAttempt>>, Error> {
    let Some((webhook, event)) = known(db, scope, webhook_id, event_id)? else {
        return Ok(None);
    };
    if at(db, webhook, event)?.is_none() {
        return Ok(None);
    }
    let rows: Vec<String> = db.all(
        "SELECT body FROM delivery_attempts WHERE webhook = ?1 AND event = ?2 ORDER BY number",
        values![webhook, event],
        |row| row.get(0),
    )?;
    rows.iter()
        .map(|body| serde_json::from_str(body).map_err(corrupt("an attempt")))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// What was given up, behind a place in the log.
const GIVEN_UP_BEHIND: &str = "SELECT event FROM deliveries WHERE webhook = ?1 AND state = 4 AND event > ?2 ORDER BY event LIMIT ?3";

/// Events of a part of the log that a subscription is to.
const SUBSCRIBED_BETWEEN: &str =
    "SELECT DISTINCT e.seq FROM events e CROSS JOIN integrations i ON i.n = e.lane
     JOIN webhook_triggers t ON t.webhook = ?1 AND t.trigger = e.trigger AND t.kind IN ('', e.kind)
     WHERE e.seq BETWEEN ?2 AND ?3 AND (CAST(?4 AS TEXT) IS NULL OR i.id IN (SELECT value FROM json_each(?4))) ORDER BY e.seq";

/// The events that a piece of a replay looks at.
struct Piece {
    events: Vec<i64>,
    next: Option<i64>,
}

fn piece(
    db: &Db<'_>,
    by: &Author,
    (webhook, limited): (i64, Option<String>),
    replay: Replay,
    (after, limit): (i64, u32),
) -> Result<Option<Piece>, Error> {
    let places = |sql: &str, values: Vec<Sql>| -> Result<Vec<i64>, Error> {
        db.all(sql, &values, |row| row.get(0))
    };
    let next_of = |seen: &[i64]| {
        seen.last()
            .copied()
            .filter(|_| seen.len() >= usize::try_from(limit).unwrap_or(usize::MAX))
    };
    let piece = match replay {
        Replay::Event(id) => {
            let Some(event) = events::place(db, &by.scope, id)? else {
                return Ok(None);
            };
            // The caller may see more than the subscription does.
            let is_theirs = places(
                "SELECT e.seq FROM events e JOIN integrations i ON i.n = e.lane
                 WHERE e.seq = ?1 AND (CAST(?2 AS TEXT) IS NULL OR i.id IN (SELECT value FROM json_each(?2)))",
                vec![event.into(), limited.into()],
            )?;
            if is_theirs.is_empty() {
                return Ok(None);
            }
            Piece {
                events: vec![event],
                next: None,
            }
        }
        Replay::Failed => {
            let events = places(
                GIVEN_UP_BEHIND,
                vec![webhook.into(), after.into(), i64::from(limit).into()],
            )?;
            Piece {
                next: next_of(&events),
                events,
            }
        }
        Replay::Since(since) => {
            let first = events::first_since(db, since)?;
            let seen = places(
                "SELECT seq FROM events WHERE seq > ?1 AND at >= ?2 ORDER BY seq LIMIT ?3",
                vec![
                    after.max(first - 1).into(),
                    since.as_micros().into(),
                    i64::from(limit).into(),
                ],
            )?;
            let (low, high) = match (seen.first(), seen.last()) {
                (Some(low), Some(high)) => (*low, *high),
                _ => (1, 0),
            };
            let events = places(
                SUBSCRIBED_BETWEEN,
                vec![webhook.into(), low.into(), high.into(), limited.into()],
            )?;
            Piece {
                next: next_of(&seen),
                events,
            }
        }
    };
    Ok(Some(piece))
}

/// Makes deliveries due once more.
pub(crate) fn replay(
    tx: &mut Transaction<'_>,
    by: &Author,
    webhook_id: WebhookId,
    replay: Replay,
    (after, limit): (i64, u32),
    now: Timestamp,
) -> Result<Option<Replayed>, Error> {
    let Some(Place {
        n: webhook,
        integrations,
    }) = subscriptions::row(tx, &by.scope, webhook_id)?
    else {
        return Ok(None);
    };
    let limited =
        integrations.map(|ids| Value::from_iter(ids.iter().map(ToString::to_string)).to_string());
    let asked = (webhook, limited);
    let Some(piece) = piece(tx, by, asked, replay, (after, limit))? else {
        return Ok(None);
    };
    if after == 0 {
        let (what, since) = match replay {
            Replay::Event(id) => (id.to_string(), Value::Null),
            Replay::Failed => ("failed".to_owned(), Value::Null),
            Replay::Since(since) => ("since".to_owned(), json!(since)),
        };
        let deed = Deed {
            action: "webhook_replay",
            integration: None,
            subject: webhook_id.to_string(),
            before: Value::Null,
            after: json!({ "what": what, "since": since }),
        };
        audit::record(tx, by, deed, now)?;
    }
    let due_at = tx.time.at_once(now);
    let mut count = 0;
    for event in piece.events {
        // What is under a lease is being tried just now.
        count += tx.execute(
            "INSERT INTO deliveries (webhook, event, state, due_at) VALUES (?1, ?2, 1, ?3)
                 ON CONFLICT (webhook, event) DO UPDATE SET state = 1, due_at = ?3, tries = 0 WHERE deliveries.state <> 2",
            values![webhook, event, due_at.as_micros()],
        )?;
    }
    if count > 0 {
        tx.raised.deliveries.insert(webhook_id);
    }
    Ok(Some(Replayed {
        count,
        next: piece.next,
    }))
}

impl Store {
    /// Puts due deliveries of active subscriptions under a lease, in the order due, and counts an attempt for each.
    pub async fn deliveries_claim(&self, claim: DeliveryClaim) -> Result<Vec<DeliveryLane>, Error> {
        self.engine.write(move |tx| self::claim(tx, &claim)).await
    }

    /// Records an attempt to deliver and what follows from it. Returns what that changed about its
    /// receiver.
    pub async fn delivery_finish(&self, finish: &DeliveryFinish) -> Result<Health, Error> {
        let finish = finish.clone();
        self.engine.batch(finish).await
    }

    /// Ends leases of deliveries and records their attempts as cut off. They are due at once, or,
    /// from the third attempt in a row that was cut off, by the retry schedule. Returns how many.
    pub async fn deliveries_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error> {
        self.engine.write(move |tx| lapse(tx, which, now)).await
    }

    /// Every active subscription that has a ready delivery, and when its first is due.
    pub async fn deliveries_due(&self) -> Result<Vec<(WebhookId, Timestamp)>, Error> {
        self.engine.read(Reading::OWN, due).await
    }

    /// The deliveries of a subscription, the newest event first, without a total; `None` when there is none that the caller may know of.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the event to go on behind is not in the log.
    pub async fn deliveries_list(
        &self,
        scope: &Scope,
        query: &DeliveryQuery,
    ) -> Result<Option<Page<Delivery>>, Error> {
        self.listed(scope, query, list).await.map(|found| {
            found.map(|page| Page {
                rows: page
                    .rows
                    .into_iter()
                    .map(|one| self.told_delivery(one))
                    .collect(),
                total: page.total,
                total_is_exact: page.total_is_exact,
                has_more: page.has_more,
            })
        })
    }

    /// The delivery of an event to a subscription; `None` when there is none that the caller may know of.
    pub async fn delivery_find(
        &self,
        scope: &Scope,
        webhook_id: WebhookId,
        event_id: EventId,
    ) -> Result<Option<Delivery>, Error> {
        let scope = scope.clone();
        self.engine
            .read(Reading::of(&scope, Cost::Lookup), move |db| {
                find(db, &scope, webhook_id, event_id)
            })
            .await
            .map(|found| found.map(|one| self.told_delivery(one)))
    }

    /// The attempts of a delivery, oldest first; `None` when there is none that the caller may know of.
    pub async fn delivery_attempts_list(
        &self,
        scope: &Scope,
        webhook_id: WebhookId,
        event_id: EventId,
    ) -> Result<Option<Vec<DeliveryAttempt>>, Error> {
        let of = (webhook_id, event_id);
        self.listed(scope, &of, |db, scope, (webhook_id, event_id)| {
            attempts(db, scope, *webhook_id, *event_id)
        })
        .await
    }

    /// Makes up to `limit` deliveries due once more, from the event behind `after` on. `None` when there is no such subscription, or event, that the caller may
    /// know of. The first piece, with `after` of 0, is entered in the audit log.
    pub async fn deliveries_replay(
        &self,
        by: &Actor,
        webhook_id: WebhookId,
        replay: Replay,
        after: i64,
        limit: u32,
        now: Timestamp,
    ) -> Result<Option<Replayed>, Error> {
        let by = self.author(by).await?;
        self.engine
            .write(move |tx| {
                let from = (after, limit);
                self::replay(tx, &by, webhook_id, replay, from, now)
            })
            .await
    }

    /// How many deliveries to active subscriptions are waiting, and since when the first is: when its event was stored.
    pub async fn deliveries_depth(&self) -> Result<Depth, Error> {
        self.engine.read(Reading::BACKGROUND, depth).await
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::migrations;

    /// Asserts that the plan of `sql` has each of `steps`, and walks over no whole table but those of `may_scan`.
    pub(crate) fn assert_plan(sql: &str, steps: &[&str], may_scan: &[&str]) {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for step in migrations::SQLITE {
            connection.execute_batch(step.sql).unwrap();
        }
        let mut plan = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let mut rows = plan.raw_query();
        let mut lines: Vec<String> = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            lines.push(row.get(3).unwrap());
        }
        let whole = lines.join("\n");
        for step in steps {
            assert!(
                lines.iter().any(|line| line.starts_with(step)),
                "no {step}: {sql}\n{whole}"
            );
        }
        for line in &lines {
            let is_scan =
                line.starts_with("SCAN") && !may_scan.iter().any(|one| line.starts_with(one));
            assert!(
                !is_scan && !line.contains("TEMP B-TREE FOR ORDER BY"),
                "{line}: {sql}\n{whole}"
            );
        }
    }

    /// Most deliveries are long delivered, and there are millions of them: what is asked for all the time must not walk past them.
    #[test]
    fn deliveries_are_found_by_their_indexes() {
        assert_plan(
            &DUE,
            &[
                "SEARCH d USING INDEX deliveries_ready (webhook=? AND due_at<?)",
                "SEARCH e USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN",
                "SEARCH w USING INDEX sqlite_autoindex_writes_1 (job_id=?) LEFT-JOIN",
            ],
            &[],
        );
        assert_plan(
            NEXT,
            &["SEARCH d USING COVERING INDEX deliveries_ready (webhook=? AND due_at>?)"],
            &["SCAN CONSTANT ROW"],
        );
        assert_plan(
            LEASED_UNTIL,
            &["SEARCH deliveries USING INDEX deliveries_leased (due_at<?)"],
            &[],
        );
        // Of the thousand subscriptions, a step or a range of each.
        let each = "SEARCH d USING COVERING INDEX deliveries_ready (webhook=?)";
        assert_plan(NEXT_OF_EACH, &[each], &["SCAN w"]);
        let open = "SEARCH d USING COVERING INDEX deliveries_open (webhook=?)";
        assert_plan(DEPTH, &[open], &["SCAN w", "SCAN v", "SCAN all_open"]);
        for (status, along) in [
            (None, "SEARCH d USING PRIMARY KEY (webhook=? AND event<?)"),
            (
                Some(DeliveryStatus::Delivered),
                "SEARCH d USING PRIMARY KEY (webhook=? AND event<?)",
            ),
            (
                Some(DeliveryStatus::Pending),
                "SEARCH d USING INDEX deliveries_open (webhook=? AND event<?)",
            ),
            (
                Some(DeliveryStatus::Failed),
                "SEARCH d USING INDEX deliveries_failed (webhook=? AND event<?)",
            ),
        ] {
            assert_plan(&list_sql(status), &[along], &[]);
        }
        let failed =
            "SEARCH deliveries USING COVERING INDEX deliveries_failed (webhook=? AND event>?)";
        assert_plan(GIVEN_UP_BEHIND, &[failed], &[]);
        let between = "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
        assert_plan(SUBSCRIBED_BETWEEN, &[between], &["SCAN json_each"]);
    }
}
