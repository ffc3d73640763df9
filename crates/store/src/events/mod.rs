//! The log of events, which is the outbox: what happened, and for whom it is to be delivered.
//!
//! Guarantee: an event, and a delivery of it for each who subscribes, are stored in the transaction of the fact. Whoever follows the log by its order misses
//! nothing.

pub(crate) mod types;

use std::{collections::HashMap, ops::ControlFlow};

use model::{
    EventId, Scope, Timestamp, WebhookId,
    record::Kind,
    webhook::{Ended, Event, Trigger},
    write::{Outcome, WriteStatus},
};

use crate::{
    Error, Page, Store,
    engines::{
        Transaction,
        bulk::{
            Answers, Bulk, Merge, Question,
            Type::{Integer, Text},
        },
        db::{Db, Ordered, Row, Value as Sql, corrupt, values},
    },
    events::types::{EventHead, EventPage, EventQuery},
    listing::{self, Conditions, limited_to},
    reading::{Cost, Reading},
};

/// Something that happened.
pub(crate) struct Happened<'a> {
    pub(crate) trigger: Trigger,
    pub(crate) kind: Option<Kind>,
    pub(crate) lane: i64,
    pub(crate) integration_id: &'a str,
    pub(crate) subject: &'a str,
    /// What brought it: a write or a run of synchronisation, and which of these.
    pub(crate) job: Option<(&'a str, &'a str)>,
    pub(crate) stored: Option<String>,
}

/// The subscriptions that an event is delivered to: row and id of each.
type Subscribers = Vec<(i64, String)>;

/// The events of one trigger, kind and integration: all have the same subscribers.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Topic {
    pub(crate) trigger: Trigger,
    pub(crate) kind: Option<Kind>,
    pub(crate) integration_id: String,
}

impl Topic {
    fn values(&self) -> [Sql<'_>; 3] {
        [
            Sql::Text(self.trigger.word().into()),
            Sql::from(self.kind.map(|kind| kind.word().to_owned())),
            Sql::Text(self.integration_id.as_str().into()),
        ]
    }
}

/// Subscribers by topic, as far as they were read.
#[derive(Default)]
struct Known(HashMap<Topic, Subscribers>);

/// Whom an event is to be delivered to.
const SUBSCRIBERS: &str =
    "SELECT DISTINCT w.n, w.id FROM webhook_triggers t JOIN webhooks w ON w.n = t.webhook
     WHERE t.trigger = ?1 AND t.kind IN ('', ?2) AND w.takes
     AND (w.integrations IS NULL OR EXISTS (SELECT 1 FROM json_each(w.integrations) WHERE value = ?3))";

const EVENTS: Bulk = Bulk {
    order: 70,
    sql: "INSERT INTO events (seq, id, at, lane, trigger, kind, subject, job_id, job_type, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    types: &[
        Integer, Text, Integer, Integer, Text, Text, Text, Text, Text, Text,
    ],
    merge: Merge::Keep,
};

const DELIVERIES: Bulk = Bulk {
    order: 71,
    sql: "INSERT INTO deliveries (webhook, event, state, due_at, queued_at) VALUES (?1, ?2, 1, ?3, ?4)",
    types: &[Integer, Integer, Integer, Integer],
    merge: Merge::Keep,
};

/// Stores an event, with a delivery for each who subscribes to it.
pub(crate) fn record(
    tx: &mut Transaction<'_>,
    happened: &Happened<'_>,
    at: Timestamp,
) -> Result<(), Error> {
    let (trigger, kind) = (happened.trigger.word(), happened.kind.map(Kind::word));
    let (job_id, job_type) = happened.job.unzip();
    let id = EventId::new(at, &*tx.entropy).to_string();
    let event = tx.next_seq(Ordered::Events)?;
    tx.put(
        &EVENTS,
        values![
            event,
            id,
            at.as_micros(),
            happened.lane,
            trigger,
            kind,
            happened.subject,
            job_id,
            job_type,
            happened.stored
        ],
    );
    tx.raised.events = true;
    let subscribers = subscribers(tx, happened)?;
    if subscribers.is_empty() {
        return Ok(());
    }
    // Times of events go ahead of a clock that was set back; what is due is due by the clock.
    let due_at = tx.time.at_once(tx.stamped_at().min(at));
    let queued_at = tx.time.at_once(at);
    for (webhook, id) in subscribers {
        tx.put(
            &DELIVERIES,
            values![webhook, event, due_at.as_micros(), queued_at.as_micros()],
        );
        tx.raised.deliveries.extend(id.parse::<WebhookId>());
    }
    Ok(())
}

/// Whom an event is to be delivered to. Many of a batch are alike, so it is remembered.
fn subscribers(tx: &Transaction<'_>, happened: &Happened<'_>) -> Result<Subscribers, Error> {
    let topic = Topic {
        trigger: happened.trigger,
        kind: happened.kind,
        integration_id: happened.integration_id.to_owned(),
    };
    if let Some(known) = tx
        .prefetched
        .with(|all: &mut Known| all.0.get(&topic).cloned())
    {
        return Ok(known);
    }
    // No change of a subscription waits.
    let found = tx
        .before_waiting()
        .all(SUBSCRIBERS, &topic.values(), subscriber)?;
    tx.prefetched
        .with(|all: &mut Known| all.0.insert(topic, Subscribers::clone(&found)));
    Ok(found)
}

fn subscriber(row: &Row<'_>) -> Result<(i64, String), Error> {
    Ok((row.get(0)?, row.get(1)?))
}

/// Asks for the subscribers of `topics`, of which events are about to be recorded.
pub(crate) fn subscribers_question(topics: &[Topic]) -> Question<'_> {
    Question {
        sql: SUBSCRIBERS,
        types: &[Text, Text, Text],
        sets: topics.iter().map(|one| one.values().to_vec()).collect(),
    }
}

/// Keeps the answer to [`subscribers_question`], which stands at `place` of the `questions`.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn subscribers_keep(
    tx: &Transaction<'_>,
    topics: &[Topic],
    (answers, questions, place): (&Answers<'_>, &[Question<'_>], usize),
) -> Result<(), Error> {
    let found = answers.of_each(questions, place, subscriber)?;
    tx.prefetched
        .with(|all: &mut Known| all.0.extend(topics.iter().cloned().zip(found)));
    Ok(())
}

/// The columns that [`read`] reads.
pub(crate) const COLUMNS: &str = "e.seq, e.id, e.at, e.trigger, e.kind, i.id, i.vendor, e.subject, e.job_id, e.job_type, e.body, w.status, w.outcome, w.errors, w.record_id";

/// Which write an event tells of, if it is one of a write.
pub(crate) const WRITE_OF: &str = "w.job_id = CASE WHEN e.trigger IN ('WRITE_OPERATION_SUCCESS', 'WRITE_OPERATION_FAILURE') THEN e.subject END";

/// Where they are. The log leads, whatever else is asked: so its order need not be sorted.
fn from() -> String {
    format!("events e CROSS JOIN integrations i ON i.n = e.lane LEFT JOIN writes w ON {WRITE_OF}")
}

/// Reads what [`COLUMNS`] selects.
///
/// # Errors
/// [`Error::Corrupt`] when it is not what was stored: no attempt to read it again would do better.
pub(crate) fn read(row: &Row<'_>) -> Result<Event, Error> {
    let seq: i64 = row.get(0)?;
    let bad = |what: &str| Error::Corrupt(format!("{what} of event {seq}"));
    let column = |place: usize| bad(&format!("column {place}"));
    let text = |place: usize| row.get::<String>(place).map_err(|_| column(place));
    let some = |place: usize| row.get::<Option<String>>(place).map_err(|_| column(place));
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
        at: row
            .get(2)
            .map(Timestamp::from_micros)
            .map_err(|_| column(2))?,
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
fn at(db: &Db<'_>, seq: i64) -> Result<Event, Error> {
    db.find(
        &format!("SELECT {COLUMNS} FROM {} WHERE e.seq = ?1", from()),
        values![seq],
        read,
    )?
    .ok_or_else(|| missing(seq))
}

/// What is said where an event should be.
pub(crate) fn missing(seq: i64) -> Error {
    Error::Corrupt(format!("event {seq} is not in the log"))
}

/// True if an event still says what it said: nobody in it was forgotten since.
pub(crate) const IS_KEPT: &str = "SELECT CASE WHEN w.seq IS NULL THEN e.body IS NOT NULL ELSE w.stripped_at IS NULL END FROM events e LEFT JOIN writes w ON w.job_id = CASE WHEN e.trigger IN ('WRITE_OPERATION_SUCCESS', 'WRITE_OPERATION_FAILURE') THEN e.subject END WHERE e.seq = ?1";

/// The place of an event that `scope` may know of.
pub(crate) fn place(db: &Db<'_>, scope: &Scope, id: EventId) -> Result<Option<i64>, Error> {
    db.find(
        "SELECT e.seq FROM events e JOIN integrations i ON i.n = e.lane
             WHERE e.id = ?1 AND (CAST(?2 AS TEXT) IS NULL OR i.id IN (SELECT value FROM json_each(?2)))",
        values![id.to_string(), limited_to(scope)],
        |row| row.get(0),
    )
}

/// The place of an event to go on behind.
///
/// # Errors
/// [`Error::Conflict`] when it is not in the log.
pub(crate) fn cursor(db: &Db<'_>, scope: &Scope, id: EventId) -> Result<i64, Error> {
    place(db, scope, id)?.ok_or_else(|| {
        Error::Conflict(format!(
            "the cursor goes on behind the event {id}, which is not in the log any more: events are kept for 30 days. Begin anew, without a cursor"
        ))
    })
}

pub(crate) fn find(db: &Db<'_>, scope: &Scope, id: EventId) -> Result<Option<Event>, Error> {
    place(db, scope, id)?.map(|seq| at(db, seq)).transpose()
}

/// Events that one look passes at most, when most of them may not be what is asked for: a few
/// milliseconds of work.
const PIECE_ROWS: u64 = 4_000;

/// Integrations whose events are looked up one after the other; of more, the log has nearly all.
const LANES_MAX: usize = 100;

/// A piece of the log: the places of the next events that may be asked for, in order.
struct Piece {
    sql: String,
    values: Vec<Sql<'static>>,
    rows: u64,
}

impl Piece {
    /// The next `rows` places of `lanes`, or of the whole log, that lie between two places, both
    /// excluded.
    fn new(
        lanes: Option<&[i64]>,
        subject: Option<&str>,
        (above, below): (i64, i64),
        is_descending: bool,
        rows: u64,
    ) -> Self {
        let direction = if is_descending { "DESC" } else { "ASC" };
        let mut values = vec![
            Sql::Integer(above),
            Sql::Integer(below),
            Sql::Integer(i64::try_from(rows).unwrap_or(i64::MAX)),
        ];
        let mut bind = |value: Sql<'static>| {
            values.push(value);
            format!("?{}", values.len())
        };
        let some = |conditions: &str| {
            format!(
                "SELECT e.seq FROM events e WHERE e.seq > ?1 AND e.seq < ?2{conditions} ORDER BY e.seq {direction} LIMIT ?3"
            )
        };
        let lanes: Option<Vec<String>> =
            lanes.map(|all| all.iter().map(|lane| bind(Sql::Integer(*lane))).collect());
        let sql = match (subject, lanes.as_deref()) {
            (Some(subject), lanes) => {
                let subject = bind(Sql::from(subject.to_owned()));
                let of = lanes.map_or(String::new(), |all| {
                    format!(" AND +e.lane IN ({})", all.join(", "))
                });
                some(&format!(" AND e.subject = {subject}{of}"))
            }
            (None, None) => some(""),
            (None, Some([lane])) => some(&format!(" AND e.lane = {lane}")),
            (None, Some(lanes)) if lanes.len() > LANES_MAX => {
                some(&format!(" AND +e.lane IN ({})", lanes.join(", ")))
            }
            (None, Some(lanes)) => {
                let each = lanes.iter().map(|lane| {
                    let own = some(&format!(" AND e.lane = {lane}"));
                    format!("SELECT o.seq FROM ({own}) AS o")
                });
                let each: Vec<String> = each.collect();
                format!(
                    "SELECT u.seq FROM ({}) AS u ORDER BY u.seq {direction} LIMIT ?3",
                    each.join(" UNION ALL ")
                )
            }
        };
        Self { sql, values, rows }
    }

    /// How many places it has, and the last of them.
    fn extent(&self, db: &Db<'_>, is_descending: bool) -> Result<(u64, Option<i64>), Error> {
        let last = if is_descending { "min" } else { "max" };
        db.one(
            &format!("SELECT count(*), {last}(p.seq) FROM ({}) AS p", self.sql),
            &self.values,
            |row| Ok((row.get::<i64>(0)?.unsigned_abs(), row.get(1)?)),
        )
    }
}

/// The statement that reads the events of a piece that `conditions` hold for.
fn list_sql(piece: &str, conditions: &str, is_descending: bool) -> String {
    let order = if is_descending { "DESC" } else { "ASC" };
    format!(
        "SELECT {COLUMNS} FROM ({piece}) AS p CROSS JOIN events e ON e.seq = p.seq CROSS JOIN integrations i ON i.n = e.lane LEFT JOIN writes w ON {WRITE_OF} WHERE {conditions} ORDER BY p.seq {order}"
    )
}

/// A page of the log: what is asked for of the next piece of it.
pub(crate) fn list(db: &Db<'_>, scope: &Scope, query: &EventQuery) -> Result<EventPage, Error> {
    let asked = query.integration_id.map(|id| vec![id]);
    let lanes = match listing::seen(scope, asked.as_deref()) {
        None => None,
        Some(seen) => {
            let mut lanes = Vec::new();
            for id in seen {
                lanes.extend(listing::lane(db, id)?);
            }
            Some(lanes)
        }
    };
    let (mut above, mut below) = (i64::MIN, i64::MAX);
    let after = query.after.map(|after| cursor(db, scope, after));
    for place in after.transpose()?.into_iter().chain(query.behind) {
        if query.is_descending {
            below = below.min(place);
        } else {
            above = above.max(place);
        }
    }
    if let Some(since) = query.since {
        above = above.max(first_since(db, since)?.saturating_sub(1));
    }
    if lanes.as_ref().is_some_and(Vec::is_empty) {
        return Ok(EventPage::default());
    }
    let is_filtered = query.trigger.is_some() || query.kind.is_some();
    let rows = if is_filtered {
        PIECE_ROWS
    } else {
        query.limit.saturating_add(1)
    };
    let piece = |subject, rows| {
        let between = (above, below);
        Piece::new(
            lanes.as_deref(),
            subject,
            between,
            query.is_descending,
            rows,
        )
    };
    let piece_of = piece(query.subject.as_deref(), rows);
    let (count, mut last) = piece_of.extent(db, query.is_descending)?;
    let is_cut = count >= piece_of.rows;
    let mut conditions = Conditions::behind(piece_of.values);
    if let Some(trigger) = query.trigger {
        conditions.add("e.trigger = ?", trigger.word().to_owned());
    }
    if let Some(kind) = query.kind {
        conditions.add("e.kind = ?", kind.word().to_owned());
    }
    if let Some(since) = query.since {
        conditions.add("e.at >= ?", since.as_micros());
    }
    let sql = list_sql(&piece_of.sql, &conditions.all(), query.is_descending);
    let page = readable(db, &sql, &conditions.values, query.limit, read)?;
    // Of a full page nothing more counts than what is on it.
    let seen = if page.has_more || page.rows.len() as u64 >= query.limit {
        page.rows.last().map(|row| (row.seq, row.id))
    } else {
        if query.subject.is_some() && !is_cut && !query.is_descending {
            // All of the log was looked at, though nothing else of it is about this.
            let newest = Piece::new(lanes.as_deref(), None, (above, below), true, 1);
            last = newest.extent(db, true)?.1.or(last);
        }
        match last {
            Some(seq) => id_at(db, seq)?.map(|id| (seq, id)),
            None => None,
        }
    };
    Ok(EventPage {
        has_more: page.has_more || is_cut,
        rows: page.rows,
        seen,
    })
}

/// The id of the event at a place, if it can be read.
fn id_at(db: &Db<'_>, seq: i64) -> Result<Option<EventId>, Error> {
    let id: Option<String> = db.find(
        "SELECT id FROM events WHERE seq = ?1",
        values![seq],
        |row| row.get(0),
    )?;
    Ok(id.and_then(|id| id.parse().ok()))
}

const HEADS: &str = "SELECT e.seq, e.id, e.at, e.trigger, e.kind, i.id, e.subject FROM events e CROSS JOIN integrations i ON i.n = e.lane WHERE e.seq > ?1 ORDER BY e.seq LIMIT ?2";

/// What is told of the next events behind a place of the log, whoever may know of them. Those that
/// cannot be read are left out.
pub(crate) fn heads(db: &Db<'_>, after: i64, limit: u32) -> Result<Vec<EventHead>, Error> {
    let heads = db.all(HEADS, values![after, limit], |row| {
        let id: String = row.get(1)?;
        let integration: String = row.get(5)?;
        let trigger: String = row.get(3)?;
        let kind: Option<String> = row.get(4)?;
        Ok(EventHead {
            seq: row.get(0)?,
            id: id.parse().ok(),
            at: row.get(2).map(Timestamp::from_micros)?,
            trigger: Trigger::of(&trigger),
            kind: kind.and_then(|word| Kind::of(&word)),
            integration_id: integration.parse().ok(),
            subject: row.get(6)?,
        })
    })?;
    Ok(heads)
}

/// The place of the newest event; 0 when there is none.
pub(crate) fn newest(db: &Db<'_>) -> Result<i64, Error> {
    db.one("SELECT coalesce(max(seq), 0) FROM events", &[], |row| {
        row.get(0)
    })
}

/// The first `limit` rows that a statement brings. One that cannot be read is left out, and told to the operator: it hides none behind it.
pub(crate) fn readable<T>(
    db: &Db<'_>,
    sql: &str,
    values: &[Sql<'_>],
    limit: u64,
    read: impl Fn(&Row<'_>) -> Result<T, Error>,
) -> Result<Page<T>, Error> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut page, mut has_more) = (Vec::new(), false);
    db.until(sql, values, limit.saturating_add(1), |row| {
        match read(row) {
            Ok(_) if page.len() >= most => {
                has_more = true;
                return Ok(ControlFlow::Break(()));
            }
            Ok(row) => page.push(row),
            Err(Error::Corrupt(what)) => {
                tracing::error!(%what, "a row of the log of events cannot be read");
            }
            Err(why) => return Err(why),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Page {
        rows: page,
        total: None,
        total_is_exact: true,
        has_more,
    })
}

/// The place of the first event that was stored at `since` or later.
pub(crate) fn first_since(db: &Db<'_>, since: Timestamp) -> Result<i64, Error> {
    listing::first_at(db, "events", "at", since.as_micros())
}

const FORGET: [&str; 2] = [
    "UPDATE events SET body = NULL WHERE subject = ?1 AND body IS NOT NULL",
    "UPDATE delivery_attempts SET body = json_remove(body, '$.response')
     WHERE webhook IN (SELECT n FROM webhooks UNION ALL SELECT n FROM webhooks_gone) AND event IN (SELECT seq FROM events WHERE subject = ?1)",
];

/// Takes what a person may be known by out of the events about `subject`, and out of what receivers answered to them.
pub(crate) fn forget(db: &Db<'_>, subject: &str) -> Result<(), Error> {
    for sql in FORGET {
        db.send(sql, values![subject])?;
    }
    Ok(())
}

/// The last of the oldest events. The newest stays, so that no place in the log is used twice.
const OLDEST: &str =
    "SELECT max(seq) FROM (SELECT seq, at FROM events ORDER BY seq LIMIT ?2) AS oldest
     WHERE at < ?1 AND seq < (SELECT max(seq) FROM events)";

/// Removes what happened up to a place in the log.
const SWEEP: [&str; 3] = [
    "DELETE FROM delivery_attempts WHERE webhook IN (SELECT n FROM webhooks UNION ALL SELECT n FROM webhooks_gone) AND event <= ?1",
    "DELETE FROM deliveries WHERE webhook IN (SELECT n FROM webhooks UNION ALL SELECT n FROM webhooks_gone) AND event <= ?1",
    "DELETE FROM events WHERE seq <= ?1",
];

/// Removes events that are older than `before`, with their deliveries, and deliveries of subscriptions that are no more: some `limit` rows of each.
pub(crate) fn sweep(db: &Db<'_>, before: Timestamp, limit: u32) -> Result<u64, Error> {
    // Each event may have a delivery for each subscription.
    let webhooks: u32 = db.one("SELECT count(*) FROM webhooks", &[], |row| row.get(0))?;
    let events = limit.div_ceil(1 + webhooks);
    let last: Option<i64> = db.one(OLDEST, values![before.as_micros(), events], |row| {
        row.get(0)
    })?;
    let mut removed = 0;
    if let Some(last) = last {
        for sql in SWEEP {
            removed += db.execute(sql, values![last])?;
        }
    }
    let gone: Vec<i64> = db.all("SELECT n FROM webhooks_gone", &[], |row| row.get(0))?;
    // Of all of them together: how long accepts wait does not grow with their number.
    let mut budget = limit;
    for n in gone {
        let mut of_this = 0;
        for table in ["delivery_attempts", "deliveries"] {
            of_this += db.execute(
                &format!(
                    "DELETE FROM {table} WHERE webhook = ?1 AND event IN (SELECT event FROM {table} WHERE webhook = ?1 ORDER BY event LIMIT ?2)"
                ),
                values![n, budget],
            )?;
        }
        removed += of_this;
        if of_this > 0 {
            budget = budget.saturating_sub(u32::try_from(of_this).unwrap_or(u32::MAX));
        } else if budget > 0 {
            db.send("DELETE FROM webhooks_gone WHERE n = ?1", values![n])?;
        }
        if budget == 0 {
            break;
        }
    }
    Ok(removed)
}

impl Store {
    /// What is asked for of the next piece of the log of events: more may follow behind an empty
    /// page.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the event to go on behind is not in the log.
    pub async fn events_list(&self, scope: &Scope, query: &EventQuery) -> Result<EventPage, Error> {
        self.listed_whole(scope, query, query.goes_on, list, |_| true)
            .await
    }

    /// What is known of the next events behind a place of the log, in order and of whomever: for
    /// the process itself, which tells callers only of what they may know of.
    pub async fn event_heads(&self, after: i64, limit: u32) -> Result<Vec<EventHead>, Error> {
        self.engine
            .read(Reading::OWN, move |db| heads(db, after, limit))
            .await
    }

    /// The place of the newest event; 0 when there is none.
    pub async fn event_newest(&self) -> Result<i64, Error> {
        self.engine.read(Reading::OWN, newest).await
    }

    /// An event; `None` when there is none that the caller may know of.
    pub async fn event_find(&self, scope: &Scope, id: EventId) -> Result<Option<Event>, Error> {
        let scope = scope.clone();
        self.engine
            .read(Reading::of(&scope, Cost::Lookup), move |db| {
                find(db, &scope, id)
            })
            .await
    }

    /// Removes events that are older than `before`, with their deliveries, and deliveries of subscriptions that are no more: some `limit` rows of each.
    /// Returns how many rows; none are left when it is 0. The newest event stays.
    pub async fn events_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.engine.write(move |tx| sweep(tx, before, limit)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscriptions::deliveries::tests::assert_plan;

    /// The log has millions of events: none of this may read them all, or sort them.
    #[test]
    fn the_log_is_read_along_its_order() {
        let cursor = "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
        let of_piece = "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)";
        let write = "SEARCH w USING INDEX sqlite_autoindex_writes_1 (job_id=?) LEFT-JOIN";
        let lane = "SEARCH e USING COVERING INDEX events_lane (lane=? AND seq>? AND seq<?)";
        let subject = "SEARCH e USING COVERING INDEX events_subject (subject=? AND rowid>?";
        let subject_of_some = "SEARCH e USING INDEX events_subject (subject=? AND rowid>?";
        let many: Vec<i64> = (0..=LANES_MAX as i64).collect();
        type Of<'a> = (Option<&'a [i64]>, Option<&'a str>);
        let cases: [(Of<'_>, &str); 5] = [
            ((None, None), cursor),
            ((Some(&[1]), None), lane),
            ((Some(&many), None), cursor),
            ((None, Some("pro_1")), subject),
            ((Some(&[1, 2]), Some("pro_1")), subject_of_some),
        ];
        for is_descending in [false, true] {
            for ((lanes, about), along) in cases {
                let piece = Piece::new(lanes, about, (1, 9), is_descending, 10);
                assert_plan(&piece.sql, &[along], &[]);
                let conditions = "e.trigger = ?4 AND e.kind = ?5 AND e.at >= ?6";
                let sql = list_sql(&piece.sql, conditions, is_descending);
                let sql = format!("{sql} LIMIT 10 OFFSET 0");
                assert_plan(&sql, &[along, of_piece, write], &["SCAN p"]);
            }
        }
        assert_plan(
            HEADS,
            &["SEARCH e USING INTEGER PRIMARY KEY (rowid>?)"],
            &[],
        );
        assert_plan(
            &format!("SELECT {COLUMNS} FROM {} WHERE e.seq = ?1", from()),
            &[of_piece, write],
            &[],
        );
    }

    #[test]
    fn who_is_told_and_what_goes_is_found_by_indexes() {
        let triggers = "SEARCH t USING PRIMARY KEY (trigger=? AND kind=?)";
        let hook = "SEARCH w USING INTEGER PRIMARY KEY";
        assert_plan(SUBSCRIBERS, &[triggers, hook], &["SCAN json_each"]);
        // A table of at most a thousand rows leads; of the others a range of each.
        let few = ["SCAN webhooks", "SCAN webhooks_gone", "SCAN (subquery"];
        assert_plan(OLDEST, &["SCAN events"], &["SCAN events", "SCAN (subquery"]);
        assert_plan(
            SWEEP[0],
            &["SEARCH delivery_attempts USING PRIMARY KEY (webhook=? AND event<?)"],
            &few,
        );
        assert_plan(
            SWEEP[1],
            &["SEARCH deliveries USING PRIMARY KEY (webhook=? AND event<?)"],
            &few,
        );
        assert_plan(
            SWEEP[2],
            &["SEARCH events USING INTEGER PRIMARY KEY (rowid<?)"],
            &few,
        );
        assert_plan(
            FORGET[0],
            &["SEARCH events USING INDEX events_subject"],
            &few,
        );
        assert_plan(
            FORGET[1],
            &["SEARCH delivery_attempts USING PRIMARY KEY (webhook=? AND event=?)"],
            &few,
        );
    }
}
