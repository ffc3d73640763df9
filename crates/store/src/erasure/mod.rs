//! Forgetting a person: everything that says something of them, found and removed.
//!
//! Who a prospect is is known by the contacts that its record has, had, or was written with. What is theirs by an id (their record, its events and
//! appointments, the writes that made or changed these) is found through indexes. Writes that failed made nothing and are found by the contacts in them: that takes a
//! walk over all writes that are open or went wrong, which a reader does in pieces before the writing thread is asked. What came
//! since is looked at there, and when the person has changed meanwhile all of it begins again.
//! Guarantee: all of it in one transaction, or nothing while a write of theirs has not ended.

pub(crate) mod privacy;
pub mod retention;
pub(crate) mod strip;

use std::collections::BTreeSet;

use model::{
    Actor, IntegrationId, Scope, Timestamp,
    erasure::erased,
    record::Kind,
    write::{Confirmed, WriteStatus},
};
use serde_json::{Value, json};

use crate::{
    Error, Store,
    audit::{self, Author, Deed},
    engines::{
        Transaction,
        db::{Db, Row, corrupt, values},
    },
    erasure::privacy::{Erasure, ErasureCounts},
    events,
    queue::Request,
    reading::Reading,
    records::{self, Stored, terms},
};

/// Writes that one piece of the walk looks at.
const WALK_ROWS: i64 = 1_000;

/// Writes accepted since the walk that the writing thread looks at: a moment of its time. When there are more, the walk goes on.
const SINCE_MAX_WRITES: i64 = 2_000;

/// Open writes that a refusal names.
const NAMED_MAX: usize = 10;

/// The members that hold a contact.
const CONTACTS: [&str; 2] = ["email_1", "phone_1"];

/// A contact in its normal form: field and value.
type Contact = (&'static str, String);

/// What a person is known by, and what is theirs by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    id: String,
    lane: i64,
    community_id: Value,
    /// Every contact that they have or had here.
    contacts: BTreeSet<Contact>,
    /// Those of them that no other prospect of the community has.
    own: BTreeSet<Contact>,
    /// Their record, its events and its appointments.
    records: BTreeSet<String>,
}

/// What a write says about whom.
enum Theirs {
    No,
    Open(String),
    Ended(i64),
}

/// What the walk found.
pub(crate) struct Walk {
    person: Person,
    /// Up to which place all writes were looked at.
    through: i64,
    wrong: BTreeSet<i64>,
}

/// Where an erasure stands.
pub(crate) enum Step {
    /// There is no such prospect that the caller may know of.
    None,
    /// It is done, now or before.
    Done(Erasure),
    /// More has happened than can be looked at at once: walk again.
    Again,
}

/// What an earlier erasure of a record removed.
fn earlier(db: &Db<'_>, id: &str) -> Result<Option<Erasure>, Error> {
    let found: Option<(i64, String)> = db.find(
        "SELECT at, body FROM erasures WHERE record_id = ?1",
        values![id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    found
        .map(|(at, body)| {
            Ok(Erasure {
                id: id.to_owned(),
                erased_at: Timestamp::from_micros(at),
                counts: serde_json::from_str(&body).map_err(corrupt("an erasure"))?,
            })
        })
        .transpose()
}

/// Why a write about a person who was forgotten is refused.
pub(crate) fn refused(id: &str, erased_at: Timestamp) -> Error {
    Error::Conflict(format!(
        "the person of {id} was forgotten at {erased_at}; what is about them is taken no more"
    ))
}

/// The contacts in the members of `body`.
fn contacts_in(body: &Value) -> impl Iterator<Item = Contact> + '_ {
    CONTACTS.into_iter().flat_map(move |name| {
        let filter = Kind::Prospect.filter(name);
        let values = filter.map(|filter| filter.values(body)).unwrap_or_default();
        values.into_iter().map(move |value| (name, value))
    })
}

/// The contacts that a write would have given a record.
fn contacts_of(confirmed: &Confirmed) -> BTreeSet<Contact> {
    let mut all: BTreeSet<Contact> = contacts_in(&confirmed.create).collect();
    all.extend(contacts_in(&confirmed.update));
    if let Some(touched) = &confirmed.prospect {
        all.extend(contacts_in(&touched.update));
    }
    all
}

/// The records of a kind that have a value in a field, whatever their number.
fn having(db: &Db<'_>, kind: Kind, field: &str, value: &str) -> Result<Vec<Stored>, Error> {
    let Some(filter) = kind.filter(field) else {
        return Ok(Vec::new());
    };
    let term = terms::of_value(kind, filter, "", value);
    let ids: Vec<String> = db.all(
        "SELECT r.id FROM record_terms t JOIN records r ON r.seq = t.seq WHERE t.term = ?1 ORDER BY t.seq",
        values![term],
        |row| row.get(0),
    )?;
    let mut found = Vec::new();
    for id in ids {
        found.extend(records::by_id(db, &id)?);
    }
    Ok(found)
}

impl Person {
    fn of(db: &Db<'_>, record: &Stored) -> Result<Self, Error> {
        let mut person = Self {
            id: record.id.clone(),
            lane: record.lane,
            community_id: record.body["community_id"].clone(),
            contacts: BTreeSet::new(),
            own: BTreeSet::new(),
            records: BTreeSet::new(),
        };
        person.take(db, record)?;
        for kind in [Kind::Event, Kind::Appointment] {
            for one in having(db, kind, "prospect_id", &record.id)? {
                person.take(db, &one)?;
            }
        }
        for (name, value) in &person.contacts {
            let others = having(db, Kind::Prospect, name, value)?;
            let is_anothers = others
                .iter()
                .any(|one| one.id != person.id && person.is_here(one));
            if !is_anothers {
                person.own.insert((name, value.clone()));
            }
        }
        // Tours that were asked for before the prospect was known are nobody's by an id.
        for (name, value) in person.contacts.clone() {
            for tour in having(db, Kind::Appointment, name, &value)? {
                let is_nobodys = tour.body["prospect_id"].is_null() && person.is_here(&tour);
                if is_nobodys && person.is_meant_by(&contacts_in(&tour.body).collect()) {
                    person.records.insert(tour.id);
                }
            }
        }
        Ok(person)
    }

    /// Whether a record is of the same community, and thus of the same matching at the vendor.
    fn is_here(&self, one: &Stored) -> bool {
        one.lane == self.lane && one.body["community_id"] == self.community_id
    }

    /// Takes a record that is theirs, with the contacts that it has, had, or was written with.
    fn take(&mut self, db: &Db<'_>, record: &Stored) -> Result<(), Error> {
        self.records.insert(record.id.clone());
        self.contacts.extend(contacts_in(&record.body));
        let diffs: Vec<String> = db.all(
            "SELECT diff FROM diffs WHERE record_id = ?1",
            values![&record.id],
            |row| row.get(0),
        )?;
        for diff in diffs {
            let diff: Value = serde_json::from_str(&diff).map_err(corrupt("a diff"))?;
            for part in ["new", "previous"] {
                self.contacts.extend(contacts_in(&diff[part]));
            }
        }
        let requests: Vec<String> = db.all(
            "SELECT request FROM writes WHERE record_id = ?1",
            values![&record.id],
            |row| row.get(0),
        )?;
        for request in requests {
            // One that was stripped, or cannot be read, says nothing.
            if let Ok(request) = serde_json::from_str::<Request>(&request) {
                self.contacts.extend(contacts_of(&request.confirmed));
            }
        }
        Ok(())
    }

    /// Whether contacts are theirs: one that nobody else has, or all of them.
    fn is_meant_by(&self, contacts: &BTreeSet<Contact>) -> bool {
        !contacts.is_empty()
            && (!contacts.is_disjoint(&self.own) || contacts.is_subset(&self.contacts))
    }

    /// Whether a write that made or changed nothing is about them.
    fn is_concerned(&self, request: &str) -> bool {
        let Ok(request) = serde_json::from_str::<Request>(request) else {
            // What cannot be read may still name them.
            return self
                .own
                .iter()
                .any(|(_, value)| request.to_lowercase().contains(&value.to_lowercase()));
        };
        let confirmed = &request.confirmed;
        let named = confirmed
            .subject
            .as_deref()
            .or_else(|| confirmed.prospect_id());
        match named {
            Some(id) => id == self.id,
            None => self.is_meant_by(&contacts_of(confirmed)),
        }
    }

    /// Whether the write of a row is about them.
    fn looks_at(&self, row: &Line) -> Theirs {
        let is_here =
            row.lane == self.lane && self.community_id.as_str() == Some(&row.community_id);
        if !is_here || !self.is_concerned(&row.request) {
            return Theirs::No;
        }
        match WriteStatus::of(&row.status) {
            Some(WriteStatus::Pending) => Theirs::Open(row.job_id.clone()),
            // What it made or met is theirs or not by its id.
            Some(WriteStatus::Success) => Theirs::No,
            _ => Theirs::Ended(row.seq),
        }
    }
}

/// A write as it is looked at.
struct Line {
    seq: i64,
    job_id: String,
    lane: i64,
    community_id: String,
    status: String,
    request: String,
}

/// Looks at a piece of `along`: writes with a place above `after`, up to `through`. Returns the place of the last of them. One at a time, for bodies may be large.
fn piece(
    db: &Db<'_>,
    (from, place): Along,
    (after, through): (i64, i64),
    mut look: impl FnMut(&Line),
) -> Result<Option<i64>, Error> {
    let sql = format!(
        "SELECT w.seq, w.job_id, w.lane, w.community_id, w.status, w.request FROM {from} AND {place} > ?1 AND {place} <= ?2 ORDER BY {place} LIMIT ?3"
    );
    let mut last = None;
    db.each(&sql, values![after, through, WALK_ROWS], |row| {
        let line = Line::read(row)?;
        look(&line);
        last = Some(line.seq);
        Ok(())
    })?;
    Ok(last)
}

impl Line {
    fn read(row: &Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            seq: row.get(0)?,
            job_id: row.get(1)?,
            lane: row.get(2)?,
            community_id: row.get(3)?,
            status: row.get(4)?,
            request: row.get(5)?,
        })
    }
}

/// Tables with a condition, and the column by whose order they are read.
type Along = (&'static str, &'static str);

/// What the walk goes along: first what is open, then what went wrong. A write that ends meanwhile was met as the one, or is met as the other.
const ALONG: [Along; 2] = [
    (
        "queue q CROSS JOIN writes w ON w.seq = q.seq WHERE TRUE",
        "q.seq",
    ),
    (
        "writes w INDEXED BY writes_failed WHERE w.status IN ('FAILURE', 'PARTIAL_SUCCESS')",
        "w.seq",
    ),
];

/// What was accepted lately, however it stands.
const LATELY: Along = ("writes w WHERE TRUE", "w.seq");

/// A walk under way.
pub(crate) struct Walking {
    walk: Walk,
    open: BTreeSet<String>,
    along: usize,
    after: i64,
}

/// How a walk goes on.
pub(crate) enum Walked {
    /// There is no such prospect that the caller may know of.
    None,
    /// It was erased before.
    Done(Erasure),
    /// There is more to walk.
    On(Walking),
    /// All was looked at.
    All(Walk),
}

/// Begins a walk.
pub(crate) fn begin(db: &Db<'_>, scope: &Scope, id: &str) -> Result<Walked, Error> {
    let Some(record) = find(db, scope, id)? else {
        return Ok(Walked::None);
    };
    if let Some(erasure) = earlier(db, id)? {
        return Ok(Walked::Done(erasure));
    }
    let walk = Walk {
        person: Person::of(db, &record)?,
        through: newest(db)?,
        wrong: BTreeSet::new(),
    };
    Ok(Walked::On(Walking {
        walk,
        open: BTreeSet::new(),
        along: 0,
        after: 0,
    }))
}

/// Goes on with a walk, a piece.
///
/// # Errors
/// [`Error::Conflict`] at its end, when a write about the person is open.
pub(crate) fn walk(db: &Db<'_>, mut walking: Walking) -> Result<Walked, Error> {
    let Some(along) = ALONG.get(walking.along) else {
        not_open(&walking.open)?;
        return Ok(Walked::All(walking.walk));
    };
    let walk = &mut walking.walk;
    let within = (walking.after, walk.through);
    let last = piece(db, *along, within, |row| match walk.person.looks_at(row) {
        Theirs::No => {}
        Theirs::Open(job_id) => drop(walking.open.insert(job_id)),
        Theirs::Ended(seq) => drop(walk.wrong.insert(seq)),
    })?;
    match last {
        Some(last) => walking.after = last,
        None => (walking.along, walking.after) = (walking.along + 1, 0),
    }
    Ok(Walked::On(walking))
}

fn newest(db: &Db<'_>) -> Result<i64, Error> {
    db.one("SELECT coalesce(max(seq), 0) FROM writes", &[], |row| {
        row.get(0)
    })
}

fn find(db: &Db<'_>, scope: &Scope, id: &str) -> Result<Option<Stored>, Error> {
    if records::find(db, scope, Kind::Prospect, id)?.is_none() {
        return Ok(None);
    }
    records::by_id(db, id)
}

fn not_open(open: &BTreeSet<String>) -> Result<(), Error> {
    if open.is_empty() {
        return Ok(());
    }
    let named: Vec<&str> = open.iter().take(NAMED_MAX).map(String::as_str).collect();
    let (count, named) = (open.len(), named.join(", "));
    let verb = if count == 1 {
        "write about this person has"
    } else {
        "writes about this person have"
    };
    Err(Error::Conflict(format!(
        "{count} {verb} not ended: {named}. Nothing was forgotten. Send this again when write-status no longer says PENDING for them"
    )))
}

/// Removes all that the walk found and all that is theirs by its id.
pub(crate) fn erase(
    tx: &mut Transaction<'_>,
    by: &Author,
    walk: &Walk,
    now: Timestamp,
) -> Result<Step, Error> {
    let id = &walk.person.id;
    let Some(record) = find(tx, &by.scope, id)? else {
        return Ok(Step::None);
    };
    if let Some(erasure) = earlier(tx, id)? {
        return Ok(Step::Done(erasure));
    }
    let person = Person::of(tx, &record)?;
    let since = newest(tx)?;
    if person != walk.person || since - walk.through > SINCE_MAX_WRITES {
        return Ok(Step::Again);
    }
    let (mut open, mut writes) = (BTreeSet::new(), walk.wrong.clone());
    let mut after = walk.through;
    while let Some(last) = piece(tx, LATELY, (after, since), |row| {
        match person.looks_at(row) {
            Theirs::No => {}
            Theirs::Open(job_id) => drop(open.insert(job_id)),
            Theirs::Ended(seq) => drop(writes.insert(seq)),
        }
    })? {
        after = last;
    }
    not_open(&open)?;
    for record in &person.records {
        let made: Vec<i64> = tx.all(
            "SELECT seq FROM writes WHERE record_id = ?1",
            values![record],
            |row| row.get(0),
        )?;
        writes.extend(made);
    }

    let mut counts = ErasureCounts::default();
    for seq in &writes {
        strip::write(tx, *seq, now, &mut counts)?;
    }
    for record in &person.records {
        if let Some(stored) = records::by_id(tx, record)? {
            forget(tx, &stored, now)?;
            counts.records += 1;
        }
        counts.diffs += tx.execute("DELETE FROM diffs WHERE record_id = ?1", values![record])?;
    }
    {
        let key_id = by.scope.key().map(|id| id.to_string());
        tx.execute(
            "INSERT INTO erasures (record_id, at, key_id, body) VALUES (?1, ?2, ?3, ?4)",
            values![id, now.as_micros(), key_id, json!(counts).to_string()],
        )
    }?;
    let integration_id = record.integration_id.parse::<IntegrationId>();
    let deed = Deed {
        action: "prospect_erase",
        integration: integration_id.ok().map(|id| (record.lane, id)),
        subject: id.clone(),
        before: Value::Null,
        after: json!(counts),
    };
    audit::record(tx, by, deed, now)?;
    Ok(Step::Done(Erasure {
        id: id.clone(),
        erased_at: now,
        counts,
    }))
}

/// Takes the person out of a record, and its name at the vendor, by which it would be asked for again.
fn forget(tx: &mut Transaction<'_>, stored: &Stored, now: Timestamp) -> Result<(), Error> {
    let new = records::New {
        id: &stored.id,
        kind: stored.kind,
        lane: stored.lane,
        integration_id: &stored.integration_id,
        x_id: None,
        body: &erased(stored.kind, &stored.body, now),
    };
    let at = tx.next_stamp(now)?;
    records::replace(tx, stored, &new, at)?;
    events::forget(tx, &stored.id)?;
    if stored.kind != Kind::Prospect {
        return Ok(());
    }
    // Whoever was told of the person is told that they are to be forgotten.
    let told = |value| records::as_object(json!({ "erased_at": value }));
    let change = (&told(json!(now)), &told(Value::Null));
    records::announce_change(tx, stored, change, None, at)
}

/// Walks over the writes that are open or went wrong, before an erasure gives up on a person about whom something happens all the time.
const ERASURE_WALKS_MAX: u32 = 10;

impl Store {
    /// Forgets the person of a prospect; `None` when there is none that the caller may know of. On `Ok` SQLite has no byte of what was removed left in the
    /// store's files; PostgreSQL has removed the rows, and overwrites what they leave in its files when it does (vacuum, its write-ahead log). Erasing again
    /// changes nothing and returns the same.
    ///
    /// # Errors
    /// [`Error::Conflict`] while a write about the person is open: then nothing was removed. [`Error::Unfinished`] when all was removed and
    /// a reader stands in the way of its last traces: asking again finishes it.
    pub async fn prospect_erase(
        &self,
        by: &Actor,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Erasure>, Error> {
        let Some(erasure) = self.erase(by, id, now).await? else {
            return Ok(None);
        };
        self.engine.leave_no_traces().await?;
        Ok(Some(erasure))
    }

    /// Removes what is a person's from the tables; `None` when there is no such prospect that the caller may know of.
    async fn erase(&self, by: &Actor, id: &str, now: Timestamp) -> Result<Option<Erasure>, Error> {
        for _ in 0..ERASURE_WALKS_MAX {
            let (own, name) = (by.scope.clone(), id.to_owned());
            let mut walked = self
                .engine
                .read(Reading::BACKGROUND, move |db| begin(db, &own, &name))
                .await?;
            let walk = loop {
                walked = match walked {
                    Walked::None => return Ok(None),
                    Walked::Done(erasure) => return Ok(Some(erasure)),
                    Walked::All(walk) => break walk,
                    Walked::On(walking) => {
                        let on = move |db: &Db<'_>| walk(db, walking);
                        self.engine.read(Reading::BACKGROUND, on).await?
                    }
                };
            };
            let by = self.author(by).await?;
            let step = self
                .engine
                .write(move |tx| erase(tx, &by, &walk, now))
                .await?;
            match step {
                Step::None => return Ok(None),
                Step::Done(erasure) => return Ok(Some(erasure)),
                Step::Again => {}
            }
        }
        Err(Error::Busy)
    }
}
