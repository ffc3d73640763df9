//! Records: made and changed by what a vendor confirms or shows, and found by id.
//!
//! Guarantee: a change that changes nothing leaves a record's `updated_at`; one that does is kept as a diff, in the same transaction.

use model::{
    Scope, Timestamp,
    record::{Kind, Record},
    resources::prospect::is_there,
    webhook::{Trigger, stored_change, stored_new},
    write::{Confirmed, Operation, Outcome, Touched},
};
use serde_json::{Map, Value, json};

use super::{
    corrupt,
    db::{self, Db, Refused, Row, values},
    events::{self, Happened},
    intake::Request,
    stamp, terms,
};
use crate::{Error, signals::Effects};

/// Records with one contact or one address that are looked at, at most: a person has a few.
const HAVING_MAX_ROWS: u32 = 100;

/// Bytes of a vendor's id at most: ids are a tenth of that, and PostgreSQL's index has room for some 2,700.
const X_ID_MAX_BYTES: usize = 1_024;

/// Whether a text can be a vendor's id of something: one that has no room in an index, or that nobody could name again, is none.
pub(super) fn is_x_id(text: &str) -> bool {
    (1..=X_ID_MAX_BYTES).contains(&text.len()) && !text.contains(char::is_control)
}

/// A record as it is stored.
pub(super) struct Stored {
    pub(super) seq: i64,
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) lane: i64,
    pub(super) integration_id: String,
    pub(super) body: Value,
    pub(super) updated_at: Timestamp,
}

/// A record to be stored.
pub(super) struct New<'a> {
    pub(super) id: &'a str,
    pub(super) kind: Kind,
    pub(super) lane: i64,
    pub(super) integration_id: &'a str,
    pub(super) x_id: Option<&'a str>,
    pub(super) body: &'a Value,
}

/// What brings a record, or a change of one: the id of a write or of a run of synchronisation, and the name of which.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) id: &'a str,
    pub(super) word: &'a str,
}

impl<'a> Job<'a> {
    const fn told(self) -> (&'a str, &'a str) {
        (self.id, self.word)
    }
}

/// The record that a confirmation made or met.
pub(super) struct Met {
    pub(super) id: String,
    pub(super) outcome: Outcome,
    /// What is missing, when the vendor did something else than was meant.
    pub(super) errors: Vec<String>,
}

/// Where a record's columns stand for [`stored`].
const STORED: &str = "SELECT r.seq, r.id, r.kind, r.lane, i.id, r.body, r.updated_at FROM records r JOIN integrations i ON i.n = r.lane";

/// Reads what [`STORED`] selects, with `condition` behind it.
fn stored(db: &Db<'_>, condition: &str, values: &[db::Value<'_>]) -> Result<Option<Stored>, Error> {
    let row: Option<(String, Stored)> =
        db.find(&format!("{STORED} WHERE {condition}"), values, |row| {
            let kind: String = row.get(2)?;
            let stored = Stored {
                seq: row.get(0)?,
                id: row.get(1)?,
                // A kind that is not known cannot have been asked for.
                kind: Kind::of(&kind)
                    .ok_or_else(|| Error::Corrupt("the kind of a record".to_owned()))?,
                lane: row.get(3)?,
                integration_id: row.get(4)?,
                body: Value::Null,
                updated_at: row.get(6).map(Timestamp::from_micros)?,
            };
            Ok((row.get(5)?, stored))
        })?;
    row.map(|(body, stored)| {
        let body = serde_json::from_str(&body).map_err(corrupt("a stored record"))?;
        Ok(Stored { body, ..stored })
    })
    .transpose()
}

pub(super) fn by_x_id(
    db: &Db<'_>,
    lane: i64,
    kind: Kind,
    x_id: &str,
) -> Result<Option<Stored>, Error> {
    stored(
        db,
        "r.lane = ?1 AND r.kind = ?2 AND r.x_id = ?3",
        values![lane, kind.word(), x_id],
    )
}

pub(super) fn by_id(db: &Db<'_>, id: &str) -> Result<Option<Stored>, Error> {
    stored(db, "r.id = ?1", values![id])
}

/// Stores a record that is new.
pub(super) fn insert(
    db: &Db<'_>,
    effects: &mut Effects,
    new: &New<'_>,
    job: Option<Job<'_>>,
    at: Timestamp,
) -> Result<(), Error> {
    let seq = db.execute_unique(
        "INSERT INTO records (id, kind, lane, x_id, body, created_at, updated_at, last_seen) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?6) RETURNING seq",
        values![new.id, new.kind.word(), new.lane, new.x_id, new.body.to_string(), at.as_micros()],
    ).map_err(|why| refused(new, why))?;
    let subject = terms::Subject {
        seq,
        kind: new.kind,
        integration_id: new.integration_id,
    };
    terms::enter(db, subject, new.body)?;
    let happened = Happened {
        trigger: Trigger::DataNew,
        kind: Some(new.kind),
        lane: new.lane,
        integration_id: new.integration_id,
        subject: new.id,
        job: job.map(Job::told),
        stored: Some(stored_new(new.x_id, new.body)),
    };
    events::record(db, effects, &happened, at)
}

/// Puts the change of a record into the outbox: the members that differ, as they are now and as they were.
pub(super) fn announce_change(
    db: &Db<'_>,
    effects: &mut Effects,
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
    events::record(db, effects, &happened, at)
}

/// The members of `new` that differ from `old`, as they are now and as they were.
pub(super) fn difference(
    old: &Value,
    new: &Map<String, Value>,
) -> (Map<String, Value>, Map<String, Value>) {
    let (mut now, mut previous) = (Map::new(), Map::new());
    for (name, value) in new {
        if old[name] != *value {
            now.insert(name.clone(), value.clone());
            previous.insert(name.clone(), old[name].clone());
        }
    }
    (now, previous)
}

/// Why a record was not stored: in words for the caller, when the vendor's id is another record's.
fn refused(new: &New<'_>, why: Refused) -> Error {
    match why {
        Refused::Taken => {
            let (kind, id) = (new.kind.word(), new.id);
            let x_id = model::issue::cut(new.x_id.unwrap_or_default());
            Error::Conflict(format!(
                "the {kind} {id} has the vendor's id of another {kind}, {x_id}"
            ))
        }
        Refused::Other(why) => why,
    }
}

/// Puts another body, and perhaps another vendor's id, in the place of a record's own.
pub(super) fn replace(
    db: &Db<'_>,
    old: &Stored,
    new: &New<'_>,
    at: Timestamp,
) -> Result<(), Error> {
    db.execute_unique(
        "UPDATE records SET x_id = ?2, body = ?3, updated_at = ?4, last_seen = ?4 WHERE seq = ?1 RETURNING seq",
        values![old.seq, new.x_id, new.body.to_string(), at.as_micros()],
    ).map_err(|why| refused(new, why))?;
    terms::follow(db, subject_of(old), &old.body, new.body)
}

/// Registers a record that may be known already, and puts what is new about it into the outbox.
pub(super) fn register(
    db: &Db<'_>,
    effects: &mut Effects,
    known: Option<&Stored>,
    new: &New<'_>,
    at: Timestamp,
) -> Result<(), Error> {
    let Some(old) = known else {
        return insert(db, effects, new, None, at);
    };
    replace(db, old, new, at)?;
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
    announce_change(db, effects, old, (&now, &previous), None, at)
}

fn subject_of(stored: &Stored) -> terms::Subject<'_> {
    terms::Subject {
        seq: stored.seq,
        kind: stored.kind,
        integration_id: &stored.integration_id,
    }
}

/// Lays `update` over a record that was seen at the vendor. `true` when that changed it.
pub(super) fn change(
    db: &Db<'_>,
    effects: &mut Effects,
    stored: &Stored,
    update: &Map<String, Value>,
    job: Job<'_>,
    at: Timestamp,
) -> Result<bool, Error> {
    let (new, previous) = difference(&stored.body, update);
    if new.is_empty() {
        db.send(
            "UPDATE records SET last_seen = ?2 WHERE seq = ?1",
            values![stored.seq, at.as_micros()],
        )?;
        return Ok(false);
    }
    let body = laid_over(&stored.body, &new);
    db.send(
        "UPDATE records SET body = ?2, updated_at = ?3, last_seen = ?3 WHERE seq = ?1",
        values![stored.seq, body.to_string(), at.as_micros()],
    )?;
    terms::follow(db, subject_of(stored), &stored.body, &body)?;
    keep_diff(db, effects, stored, (&new, &previous), job, at)?;
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
    db: &Db<'_>,
    effects: &mut Effects,
    stored: &Stored,
    (new, previous): (&Map<String, Value>, &Map<String, Value>),
    job: Job<'_>,
    at: Timestamp,
) -> Result<(), Error> {
    {
        let diff = json!({ "new": new, "previous": previous }).to_string();
        db.execute(
            "INSERT INTO diffs (at, lane, kind, record_id, job_id, diff) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            values![at.as_micros(), stored.lane, stored.kind.word(), stored.id, job.id, diff],
        )
    }?;
    announce_change(db, effects, stored, (new, previous), Some(job), at)
}

/// Marks a record that the vendor does not have any more; it stays as it was last seen. `true` when that is news.
pub(super) fn vanish(
    db: &Db<'_>,
    effects: &mut Effects,
    stored: &Stored,
    job: Job<'_>,
    at: Timestamp,
) -> Result<bool, Error> {
    if !stored.body["vanished_at"].is_null() {
        return Ok(false);
    }
    let new = as_object(json!({ "vanished_at": at }));
    let body = laid_over(&stored.body, &new);
    db.send(
        "UPDATE records SET body = ?2, updated_at = ?3 WHERE seq = ?1",
        values![stored.seq, body.to_string(), at.as_micros()],
    )?;
    let previous = as_object(json!({ "vanished_at": null }));
    keep_diff(db, effects, stored, (&new, &previous), job, at)?;
    Ok(true)
}

/// A write that is confirmed.
struct Asked {
    lane: i64,
    integration_id: String,
    job_id: String,
    operation: Operation,
    confirmed: Confirmed,
}

fn asked(db: &Db<'_>, seq: i64) -> Result<Asked, Error> {
    let (lane, integration_id, job_id, operation, request): (i64, String, String, String, String) = db.one(
        "SELECT w.lane, i.id, w.job_id, w.operation, w.request FROM writes w JOIN integrations i ON i.n = w.lane WHERE w.seq = ?1",
        values![seq],
        |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            },
    )?;
    let request: Request = serde_json::from_str(&request).map_err(corrupt("a stored request"))?;
    Ok(Asked {
        lane,
        integration_id,
        job_id,
        operation: Operation::of(&operation)
            .ok_or_else(|| Error::Corrupt(format!("the operation of write {seq}")))?,
        confirmed: request.confirmed,
    })
}

/// Makes or changes the record that write `seq` is confirmed to be, under the vendor's id if it gave one.
pub(super) fn confirm(
    db: &Db<'_>,
    effects: &mut Effects,
    seq: i64,
    x_id: Option<&str>,
    new_id: &str,
    now: Timestamp,
) -> Result<Met, Error> {
    let asked = asked(db, seq)?;
    let (kind, at) = (asked.operation.kind(), stamp::next(db, now)?);
    let job = Job {
        id: &asked.job_id,
        word: asked.operation.word(),
    };
    let mut confirmed = asked.confirmed;
    let mut errors = Vec::new();
    let given = x_id;
    let x_id = given.filter(|text| is_x_id(text));
    if let (Some(given), None) = (given, x_id) {
        errors.push(format!(
            "The vendor took it and answered with an id that cannot be kept, {}: it is empty, longer than {X_ID_MAX_BYTES} bytes, or more than one line. The record has no vendor's id; look it up at the vendor",
            model::issue::cut(given)
        ));
    }
    let mut known = match x_id {
        Some(x_id) => by_x_id(db, asked.lane, kind, x_id)?,
        None => None,
    };
    if known.is_none()
        && let Some(identity) = &confirmed.identity
    {
        let community = &confirmed.create["community_id"];
        known = having(db, kind, identity, community)?.into_iter().next();
        if let (Some(known), Some(x_id)) = (&known, x_id) {
            set_x_id(db, known.seq, x_id)?;
        }
    }
    if let Some(touched) = &confirmed.prospect {
        let community = &confirmed.create["community_id"];
        if let Some(prospect) = touch(db, effects, touched, community, job, at)? {
            for record in [&mut confirmed.create, &mut confirmed.update] {
                record["prospect_id"] = json!(prospect);
            }
        }
    }
    if let Some(known) = &known {
        errors.extend(odd(asked.operation, known, &confirmed.create));
    }
    let (id, is_new, is_changed) = match known {
        Some(known) if is_elsewhere(&known, &confirmed.create) => (known.id, false, false),
        Some(known) => {
            let mut update = as_object(confirmed.update);
            if !known.body["vanished_at"].is_null() {
                update.insert("vanished_at".to_owned(), Value::Null);
            }
            let is_changed = change(db, effects, &known, &update, job, at)?;
            (known.id, false, is_changed)
        }
        None => {
            let new = New {
                id: new_id,
                kind,
                lane: asked.lane,
                integration_id: &asked.integration_id,
                x_id,
                body: &confirmed.create,
            };
            insert(db, effects, &new, Some(job), at)?;
            (new_id.to_owned(), true, true)
        }
    };
    let plain = if is_new {
        Outcome::Created
    } else {
        Outcome::Matched
    };
    let outcome = match asked.operation {
        Operation::ProspectCreate | Operation::EventCreate => plain,
        Operation::ListingCreate if is_new => plain,
        Operation::ListingCreate => Outcome::Updated,
        Operation::ProspectUpdate => match &confirmed.subject {
            Some(subject) if *subject != id => {
                errors.push(format!(
                    "The vendor found another record by the contact and made the change there: {id}. Prospect {subject} was not changed. Look at both at the vendor"
                ));
                plain
            }
            _ => Outcome::Updated,
        },
        Operation::AppointmentCreate => {
            let given_way = give_way(
                db,
                effects,
                job,
                &confirmed.replaces,
                &id,
                &confirmed.create,
                at,
            )?;
            if given_way || (!is_new && is_changed) {
                Outcome::Replaced
            } else {
                plain
            }
        }
    };
    Ok(Met {
        id,
        outcome,
        errors,
    })
}

/// Whether a record is of another community than what was confirmed.
fn is_elsewhere(known: &Stored, confirmed: &Value) -> bool {
    let (held, sent) = (&known.body["community_id"], &confirmed["community_id"]);
    !held.is_null() && !sent.is_null() && held != sent
}

/// What is odd about the record that the vendor answered with.
fn odd(operation: Operation, known: &Stored, confirmed: &Value) -> Option<String> {
    let id = &known.id;
    if is_elsewhere(known, confirmed) {
        return Some(format!(
            "The vendor answered with the id of a record of another community, {id}, which was left as it is. Look it up at the vendor"
        ));
    }
    let is_dead = operation.kind() == Kind::Prospect && known.body["is_deleted"] == true;
    is_dead.then(|| {
        format!("The vendor put it on a record that it has shown as merged or deleted: {id}. Look it up at the vendor")
    })
}

/// Marks the upcoming appointments that appointment `id` took the place of. `true` when there are any.
fn give_way(
    db: &Db<'_>,
    effects: &mut Effects,
    job: Job<'_>,
    replaces: &[(String, String)],
    id: &str,
    create: &Value,
    at: Timestamp,
) -> Result<bool, Error> {
    let mut any = false;
    for one in replaces {
        let earlier = having(db, Kind::Appointment, one, &create["community_id"])?;
        for earlier in earlier.iter().filter(|earlier| earlier.id != id) {
            let starts_at = earlier.body["starts_at"]
                .as_str()
                .and_then(|text| Timestamp::parse(text).ok());
            let is_upcoming = starts_at.is_some_and(|starts_at| starts_at > at);
            // Two prospects that are known may share a contact; their tours are two.
            let (theirs, ours) = (&earlier.body["prospect_id"], &create["prospect_id"]);
            let is_anothers = !theirs.is_null() && !ours.is_null() && theirs != ours;
            if is_upcoming && !is_anothers && earlier.body["status"] == create["status"] {
                let update = as_object(json!({ "status": "REPLACED", "replaced_by": id }));
                any |= change(db, effects, earlier, &update, job, at)?;
            }
        }
    }
    Ok(any)
}

/// The records of a kind and a community that have a value in a field, the oldest first.
fn having(
    db: &Db<'_>,
    kind: Kind,
    (field, value): &(String, String),
    community_id: &Value,
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
        found.extend(by_id(db, &id)?.filter(|one| one.body["community_id"] == *community_id));
    }
    Ok(found)
}

fn set_x_id(db: &Db<'_>, seq: i64, x_id: &str) -> Result<(), Error> {
    db.send(
        "UPDATE records SET x_id = ?2 WHERE seq = ?1",
        values![seq, x_id],
    )
}

/// Lays what a write about something else does to a prospect over its record, if there is one. Returns its id.
fn touch(
    db: &Db<'_>,
    effects: &mut Effects,
    touched: &Touched,
    community_id: &Value,
    job: Job<'_>,
    at: Timestamp,
) -> Result<Option<String>, Error> {
    for by in &touched.by {
        let found = having(db, Kind::Prospect, by, community_id)?;
        // What is gone at the vendor, or merged there, is not what it met.
        if let Some(prospect) = found.into_iter().find(|one| is_there(&one.body)) {
            let update = as_object(touched.update.clone());
            change(db, effects, &prospect, &update, job, at)?;
            return Ok(Some(prospect.id));
        }
    }
    Ok(None)
}

pub(super) fn as_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The columns that [`read`] reads.
pub(super) const COLUMNS: &str =
    "r.id, i.id, i.vendor, r.x_id, r.body, r.created_at, r.updated_at, r.last_seen";

/// A record, and its body still to be read.
pub(super) fn read(row: &Row<'_>) -> Result<(String, Record), Error> {
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

pub(super) fn assemble((body, record): (String, Record)) -> Result<Record, Error> {
    let body = serde_json::from_str(&body).map_err(corrupt("a stored record"))?;
    Ok(Record { body, ..record })
}

/// The integrations the caller is limited to, as a JSON array; `None` when it sees all.
pub(super) fn limited_to(scope: &Scope) -> Option<String> {
    scope
        .integrations()
        .map(|ids| Value::from_iter(ids.iter().map(ToString::to_string)).to_string())
}

pub(super) fn find(
    db: &Db<'_>,
    scope: &Scope,
    kind: Kind,
    id: &str,
) -> Result<Option<Record>, Error> {
    db.find(
        &format!(
            "SELECT {COLUMNS} FROM records r JOIN integrations i ON i.n = r.lane WHERE r.id = ?1 AND r.kind = ?2 AND (CAST(?3 AS TEXT) IS NULL OR i.id IN (SELECT value FROM json_each(?3)))"
        ),
        values![id, kind.word(), limited_to(scope)],
        read,
    )?.map(assemble).transpose()
}
