//! Records: made and changed by what a vendor confirms or shows, and found by id.
//!
//! Guarantee: a change that changes nothing leaves a record's `updated_at`; one that does is kept as a diff, in the same transaction.

pub(crate) mod consents;
pub(crate) mod lists;
pub(crate) mod plan;
pub mod query;
pub(crate) mod terms;

use std::collections::HashMap;

use model::{
    Scope, Timestamp,
    confirmation::{self, Changes, Confirmation, Known, Related},
    record::{Kind, Record, completed, difference},
    resources::prospect::is_there,
    webhook::{Trigger, stored_change, stored_new},
    write::{Confirmed, Operation},
};
use serde_json::{Map, Value, json};

use crate::{
    Error, Store,
    engines::{
        Transaction,
        bulk::{
            Answers, Bulk, Merge, Question,
            Type::{Integer, Text},
        },
        db::{Db, Ordered, Row, corrupt, owned, values},
    },
    events::{self, Happened},
    listing,
    reading::{Cost, Reading},
};

/// Records with one contact or one address that are looked at, at most: a person has a few.
const HAVING_MAX_ROWS: u32 = 100;

/// A record as it is stored.
pub(crate) struct Stored {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) lane: i64,
    pub(crate) integration_id: String,
    pub(crate) body: Value,
    pub(crate) updated_at: Timestamp,
}

/// A record to be stored.
pub(crate) struct New<'a> {
    pub(crate) id: &'a str,
    pub(crate) kind: Kind,
    pub(crate) lane: i64,
    pub(crate) integration_id: &'a str,
    pub(crate) x_id: Option<&'a str>,
    pub(crate) body: &'a Value,
}

/// What brings a record, or a change of one: the id of a write or of a run of synchronisation, and the name of which.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) id: &'a str,
    pub(crate) word: &'a str,
}

impl<'a> Job<'a> {
    const fn told(self) -> (&'a str, &'a str) {
        (self.id, self.word)
    }
}

/// Reads the columns of [`Stored`] where a condition holds.
macro_rules! stored_where {
    ($condition:literal) => {
        concat!(
            "SELECT r.seq, r.id, r.kind, r.lane, i.id, r.body, r.updated_at FROM records r JOIN integrations i ON i.n = r.lane WHERE ",
            $condition
        )
    };
}

const BY_ID: &str = stored_where!("r.id = ?1");

const BY_X_ID: &str = stored_where!("r.lane = ?1 AND r.kind = ?2 AND r.x_id = ?3");

/// Reads a record.
fn columns(row: &Row<'_>) -> Result<Stored, Error> {
    let kind: String = row.get(2)?;
    let body: String = row.get(5)?;
    Ok(Stored {
        seq: row.get(0)?,
        id: row.get(1)?,
        // A kind that is not known cannot have been asked for.
        kind: Kind::of(&kind).ok_or_else(|| Error::Corrupt("the kind of a record".to_owned()))?,
        lane: row.get(3)?,
        integration_id: row.get(4)?,
        body: serde_json::from_str(&body).map_err(corrupt("a stored record"))?,
        updated_at: row.get(6).map(Timestamp::from_micros)?,
    })
}

/// A record by the vendor's id of it: its integration's row, its kind, and the id.
pub(crate) type XId = (i64, Kind, String);

/// Records by vendors' ids, read ahead; `None` where there is none.
#[derive(Default)]
struct Ahead(HashMap<XId, Option<Stored>>);

/// Asks for the records under some vendors' ids, which are about to be confirmed.
pub(crate) fn by_x_id_question(ids: &[XId]) -> Question<'_> {
    let set = |(lane, kind, x_id): &XId| owned(values![lane, kind.word(), x_id]);
    Question {
        sql: BY_X_ID,
        types: &[Integer, Text, Text],
        sets: ids.iter().map(set).collect(),
    }
}

/// Keeps the answer to [`by_x_id_question`], which stands at `place` of the `questions`.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn by_x_id_keep(
    tx: &Transaction<'_>,
    ids: &[XId],
    (answers, questions, place): (&Answers<'_>, &[Question<'_>], usize),
) -> Result<(), Error> {
    let mut found: HashMap<XId, Option<Stored>> =
        ids.iter().map(|one| (one.clone(), None)).collect();
    answers.each(questions, place, |set, row| {
        found.insert(ids[set].clone(), Some(columns(row)?));
        Ok(())
    })?;
    tx.prefetched.with(|ahead: &mut Ahead| ahead.0 = found);
    Ok(())
}

impl Ahead {
    /// A record is stored, or was changed, perhaps under an id of the vendor's: the row that was
    /// read of it is not used any more.
    fn forget(&mut self, seq: i64, lane: i64, kind: Kind, x_id: Option<&str>) {
        if !self.0.is_empty() {
            self.0.retain(|by, known| {
                let is_it = known.as_ref().is_some_and(|known| known.seq == seq);
                !(is_it || (by.0 == lane && by.1 == kind && Some(by.2.as_str()) == x_id))
            });
        }
    }
}

pub(crate) fn by_x_id(
    db: &Db<'_>,
    lane: i64,
    kind: Kind,
    x_id: &str,
) -> Result<Option<Stored>, Error> {
    db.find(BY_X_ID, values![lane, kind.word(), x_id], columns)
}

pub(crate) fn by_id(db: &Db<'_>, id: &str) -> Result<Option<Stored>, Error> {
    db.find(BY_ID, values![id], columns)
}

const NEW: Bulk = Bulk {
    order: 30,
    sql: "INSERT INTO records (seq, id, kind, lane, x_id, body, created_at, updated_at, last_seen) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?7)",
    types: &[Integer, Text, Text, Integer, Text, Text, Integer],
    merge: Merge::Keep,
};

const SEEN: Bulk = Bulk {
    order: 31,
    sql: "UPDATE records SET last_seen = ?2 WHERE seq = ?1",
    types: &[Integer, Integer],
    merge: Merge::Last(1),
};

const CHANGED: Bulk = Bulk {
    order: 32,
    sql: "UPDATE records SET body = ?2, updated_at = ?3, last_seen = ?3 WHERE seq = ?1",
    types: &[Integer, Text, Integer],
    merge: Merge::Last(1),
};

const DIFFS: Bulk = Bulk {
    order: 60,
    sql: "INSERT INTO diffs (seq, at, lane, kind, record_id, job_id, diff) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    types: &[Integer, Integer, Integer, Text, Text, Text, Text],
    merge: Merge::Keep,
};

/// Stores a record that is new.
pub(crate) fn insert(
    tx: &mut Transaction<'_>,
    new: &New<'_>,
    job: Option<Job<'_>>,
    at: Timestamp,
) -> Result<(), Error> {
    let seq = tx.next_seq(Ordered::Records)?;
    tx.put(
        &NEW,
        values![
            seq,
            new.id,
            new.kind.word(),
            new.lane,
            new.x_id,
            new.body.to_string(),
            at.as_micros()
        ],
    );
    tx.prefetched
        .with(|ahead: &mut Ahead| ahead.forget(seq, new.lane, new.kind, new.x_id));
    let subject = terms::Subject {
        seq,
        kind: new.kind,
        integration_id: new.integration_id,
    };
    terms::enter(tx, subject, new.body);
    let happened = Happened {
        trigger: Trigger::DataNew,
        kind: Some(new.kind),
        lane: new.lane,
        integration_id: new.integration_id,
        subject: new.id,
        job: job.map(Job::told),
        stored: Some(stored_new(new.x_id, new.body)),
    };
    events::record(tx, &happened, at)
}

/// Puts the change of a record into the outbox: the members that differ, as they are now and as they were.
pub(crate) fn announce_change(
    tx: &mut Transaction<'_>,
    record: &Stored,
    (new, previous): (&Map<String, Value>, &Map<String, Value>),
    job: Option<Job<'_>>,
    at: Timestamp,
) -> Result<(), Error> {
    let happened = Happened {
        trigger: Trigger::DataUpdate,
        kind: Some(record.kind),
        lane: record.lane,
        integration_id: &record.integration_id,
        subject: &record.id,
        job: job.map(Job::told),
        stored: Some(stored_change(&record.body["community_id"], new, previous)),
    };
    events::record(tx, &happened, at)
}

/// Refuses a record under the vendor's id of another.
fn is_free(db: &Db<'_>, known: Option<&Stored>, new: &New<'_>) -> Result<(), Error> {
    let Some(x_id) = new.x_id else { return Ok(()) };
    let other = by_x_id(db, new.lane, new.kind, x_id)?;
    if other.is_none_or(|other| known.is_some_and(|known| known.seq == other.seq)) {
        return Ok(());
    }
    let (kind, id, x_id) = (new.kind.word(), new.id, model::issue::cut(x_id));
    Err(Error::Conflict(format!(
        "the {kind} {id} has the vendor's id of another {kind}, {x_id}"
    )))
}

/// Puts another body, and perhaps another vendor's id, in the place of a record's own.
pub(crate) fn replace(
    tx: &Transaction<'_>,
    old: &Stored,
    new: &New<'_>,
    at: Timestamp,
) -> Result<(), Error> {
    tx.send(
        "UPDATE records SET x_id = ?2, body = ?3, updated_at = ?4, last_seen = ?4 WHERE seq = ?1",
        values![old.seq, new.x_id, new.body.to_string(), at.as_micros()],
    )?;
    terms::follow(tx, subject_of(old), &old.body, new.body);
    Ok(())
}

/// Registers a record that may be known already, and puts what is new about it into the outbox.
pub(crate) fn register(
    tx: &mut Transaction<'_>,
    known: Option<&Stored>,
    new: &New<'_>,
    at: Timestamp,
) -> Result<(), Error> {
    is_free(tx, known, new)?;
    let Some(old) = known else {
        return insert(tx, new, None, at);
    };
    replace(tx, old, new, at)?;
    let mut members = as_object(new.body.clone());
    // What it does not have any more is told as well.
    for (name, value) in as_object(old.body.clone()) {
        if !value.is_null() {
            members.entry(name).or_insert(Value::Null);
        }
    }
    let (now, previous) = difference(&old.body, &members);
    if now.is_empty() {
        return Ok(());
    }
    announce_change(tx, old, (&now, &previous), None, at)
}

fn subject_of(stored: &Stored) -> terms::Subject<'_> {
    terms::Subject {
        seq: stored.seq,
        kind: stored.kind,
        integration_id: &stored.integration_id,
    }
}

/// Lays `update` over a record that was seen at the vendor. `true` when that changed it.
pub(crate) fn change(
    tx: &mut Transaction<'_>,
    stored: &Stored,
    update: &Map<String, Value>,
    job: Job<'_>,
    at: Timestamp,
) -> Result<bool, Error> {
    let (seq, lane, kind) = (stored.seq, stored.lane, stored.kind);
    tx.prefetched
        .with(|ahead: &mut Ahead| ahead.forget(seq, lane, kind, None));
    let more = completed(&stored.body, update);
    let (new, previous) = difference(&stored.body, more.as_ref().unwrap_or(update));
    if new.is_empty() {
        tx.put(&SEEN, values![stored.seq, at.as_micros()]);
        return Ok(false);
    }
    let body = laid_over(&stored.body, &new);
    tx.put(
        &CHANGED,
        values![stored.seq, body.to_string(), at.as_micros()],
    );
    terms::follow(tx, subject_of(stored), &stored.body, &body);
    keep_diff(tx, stored, (&new, &previous), job, at)?;
    Ok(true)
}

fn laid_over(body: &Value, update: &Map<String, Value>) -> Value {
    let mut body = body.clone();
    if let Value::Object(body) = &mut body {
        body.extend(update.clone());
    }
    body
}

fn keep_diff(
    tx: &mut Transaction<'_>,
    stored: &Stored,
    (new, previous): (&Map<String, Value>, &Map<String, Value>),
    job: Job<'_>,
    at: Timestamp,
) -> Result<(), Error> {
    let diff = json!({ "new": new, "previous": previous }).to_string();
    tx.put(
        &DIFFS,
        values![
            tx.next_seq(Ordered::Diffs)?,
            at.as_micros(),
            stored.lane,
            stored.kind.word(),
            stored.id,
            job.id,
            diff
        ],
    );
    announce_change(tx, stored, (new, previous), Some(job), at)
}

/// Marks a record that the vendor does not have any more; it stays as it was last seen. `true` when that is news.
pub(crate) fn vanish(
    tx: &mut Transaction<'_>,
    stored: &Stored,
    job: Job<'_>,
    at: Timestamp,
) -> Result<bool, Error> {
    if !stored.body["vanished_at"].is_null() {
        return Ok(false);
    }
    let new = as_object(json!({ "vanished_at": at }));
    let body = laid_over(&stored.body, &new);
    tx.send(
        "UPDATE records SET body = ?2, updated_at = ?3 WHERE seq = ?1",
        values![stored.seq, body.to_string(), at.as_micros()],
    )?;
    let previous = as_object(json!({ "vanished_at": null }));
    keep_diff(tx, stored, (&new, &previous), job, at)?;
    Ok(true)
}

/// A write that is confirmed.
pub(crate) struct Asked<'a> {
    pub(crate) lane: i64,
    pub(crate) integration_id: &'a str,
    pub(crate) job_id: &'a str,
    pub(crate) operation: Operation,
    pub(crate) confirmed: Confirmed,
}

/// Stores the changes that follow from the confirmation of a write: the vendor may have given an id,
/// and `new_id` is ours, should the record be new.
pub(crate) fn confirm(
    tx: &mut Transaction<'_>,
    asked: &Asked<'_>,
    (x_id, new_id): (Option<&str>, &str),
    now: Timestamp,
) -> Result<Changes, Error> {
    let confirmation = Confirmation {
        operation: asked.operation,
        confirmed: &asked.confirmed,
        x_id,
        new_id,
        at: tx.next_stamp(now)?,
    };
    let near = Near::of(tx, asked.lane, &confirmation)?;
    let changes = confirmation::decide(&confirmation, &near.related());
    let (kind, x_id, at) = (asked.operation.kind(), confirmation.x_id(), confirmation.at);
    let job = Job {
        id: asked.job_id,
        word: asked.operation.word(),
    };
    if let (Some(seq), Some(x_id)) = (changes.linked, x_id) {
        set_x_id(tx, seq, x_id)?;
        tx.prefetched
            .with(|ahead: &mut Ahead| ahead.forget(seq, asked.lane, kind, Some(x_id)));
    }
    for update in &changes.updates {
        if let Some(stored) = near.all().find(|one| one.seq == update.seq) {
            change(tx, stored, &update.members, job, at)?;
        }
    }
    if let Some(body) = &changes.created {
        let new = New {
            id: new_id,
            kind,
            lane: asked.lane,
            integration_id: asked.integration_id,
            x_id,
            body,
        };
        insert(tx, &new, Some(job), at)?;
    }
    Ok(changes)
}

/// The stored records that a confirmation may concern.
struct Near {
    by_x_id: Option<Stored>,
    by_identity: Option<Stored>,
    touched: Vec<Stored>,
    replaced: Vec<Stored>,
}

impl Near {
    fn of(tx: &Transaction<'_>, lane: i64, of: &Confirmation<'_>) -> Result<Self, Error> {
        let (kind, confirmed) = (of.operation.kind(), of.confirmed);
        let community = confirmed.community_id();
        let by_x_id = match of.x_id() {
            None => None,
            Some(x_id) => match tx
                .prefetched
                .with(|ahead: &mut Ahead| ahead.0.remove(&(lane, kind, x_id.to_owned())))
            {
                Some(prefetched) => prefetched,
                None => by_x_id(tx, lane, kind, x_id)?,
            },
        };
        let by_identity = match &confirmed.identity {
            Some(identity) if by_x_id.is_none() => {
                having(tx, kind, identity, community)?.into_iter().next()
            }
            _ => None,
        };
        let mut touched = Vec::new();
        for by in confirmed.prospect.iter().flat_map(|touched| &touched.by) {
            touched.extend(having(tx, Kind::Prospect, by, community)?);
            if touched.iter().any(|one| is_there(&one.body)) {
                break;
            }
        }
        let mut replaced = Vec::new();
        for one in &confirmed.replaces {
            replaced.extend(having(tx, Kind::Appointment, one, community)?);
        }
        Ok(Self {
            by_x_id,
            by_identity,
            touched,
            replaced,
        })
    }

    fn all(&self) -> impl Iterator<Item = &Stored> {
        let own = self.by_x_id.iter().chain(&self.by_identity);
        own.chain(&self.touched).chain(&self.replaced)
    }

    fn related(&self) -> Related<'_> {
        Related {
            by_x_id: self.by_x_id.as_ref().map(Stored::known),
            by_identity: self.by_identity.as_ref().map(Stored::known),
            touched: self.touched.iter().map(Stored::known).collect(),
            replaced: self.replaced.iter().map(Stored::known).collect(),
        }
    }
}

impl Stored {
    fn known(&self) -> Known<'_> {
        Known {
            seq: self.seq,
            id: &self.id,
            body: &self.body,
        }
    }
}

/// The records of a kind and a community that have a value in a field, the oldest first.
fn having(
    db: &Db<'_>,
    kind: Kind,
    (field, value): &(String, String),
    community_id: Option<&str>,
) -> Result<Vec<Stored>, Error> {
    let Some(filter) = kind.filter(field) else {
        return Ok(Vec::new());
    };
    let term = terms::of_value(kind, filter, "", value);
    let ids: Vec<String> = db.all(
        "SELECT r.id FROM record_terms t JOIN records r ON r.seq = t.seq WHERE t.term = ?1 ORDER BY t.seq LIMIT ?2",
        values![term, HAVING_MAX_ROWS],
        |row| row.get(0),
    )?;
    let mut found = Vec::new();
    for id in ids {
        found.extend(
            by_id(db, &id)?.filter(|one| one.body["community_id"].as_str() == community_id),
        );
    }
    Ok(found)
}

fn set_x_id(db: &Db<'_>, seq: i64, x_id: &str) -> Result<(), Error> {
    db.send(
        "UPDATE records SET x_id = ?2 WHERE seq = ?1",
        values![seq, x_id],
    )
}

pub(crate) fn as_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The columns that [`read`] reads.
pub(crate) const COLUMNS: &str =
    "r.id, i.id, i.vendor, r.x_id, r.body, r.created_at, r.updated_at, r.last_seen";

/// A record, and its body still to be read.
pub(crate) fn read(row: &Row<'_>) -> Result<(String, Record), Error> {
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

pub(crate) fn assemble((body, record): (String, Record)) -> Result<Record, Error> {
    let body = serde_json::from_str(&body).map_err(corrupt("a stored record"))?;
    Ok(Record { body, ..record })
}

pub(crate) fn find(
    db: &Db<'_>,
    scope: &Scope,
    kind: Kind,
    id: &str,
) -> Result<Option<Record>, Error> {
    db.find(
        &format!(
            "SELECT {COLUMNS} FROM records r JOIN integrations i ON i.n = r.lane WHERE r.id = ?1 AND r.kind = ?2 AND (CAST(?3 AS TEXT) IS NULL OR i.id IN (SELECT value FROM json_each(?3)))"
        ),
        values![id, kind.word(), listing::limited_to(scope)],
        read,
    )?.map(assemble).transpose()
}

impl Store {
    /// A record by its id; `None` when there is none of this kind that the caller may know of. A prospect is there once its vendor has confirmed it.
    pub async fn record_find(
        &self,
        scope: &Scope,
        kind: Kind,
        id: &str,
    ) -> Result<Option<Record>, Error> {
        let (scope, id) = (scope.clone(), id.to_owned());
        self.engine
            .read(Reading::of(&scope, Cost::Lookup), move |db| {
                find(db, &scope, kind, &id)
            })
            .await
    }
}
