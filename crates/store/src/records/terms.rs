//! Which records have which value, kept with every change of a record.
//!
//! Guarantee: derived from the records alone, in the transaction that changes them; a store whose terms were made by another version of this rule
//! makes them anew when it is opened.

use std::collections::BTreeSet;

use model::record::{Filter, Kind};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::engines::db::{Db, corrupt, values};
use crate::{
    Error,
    engines::{
        Transaction,
        bulk::{Bulk, Merge, Type::Integer},
    },
};

/// Raise it when the filters of a kind, or the way a term is made, change: in a step of the schema that needs itself, since nodes that make terms by another rule must
/// not work beside.
const VERSION: i64 = 2;

/// Records whose terms are made at once.
const BUILD_ROWS: u32 = 1_000;

/// What a record's terms are made of.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) seq: i64,
    pub(crate) kind: Kind,
    pub(crate) integration_id: &'a str,
}

/// The term of all records of a kind. It has a count, and no rows.
pub(crate) fn of_kind(kind: Kind) -> i64 {
    hash(kind, "", "", "")
}

/// The term of a value in a field. `integration_id` counts for fields that are the vendor's.
pub(crate) fn of_value(kind: Kind, filter: &Filter, integration_id: &str, value: &str) -> i64 {
    let within = if filter.is_of_vendor {
        integration_id
    } else {
        ""
    };
    hash(kind, filter.name, within, value)
}

fn hash(kind: Kind, field: &str, within: &str, value: &str) -> i64 {
    let mut hash = Sha256::new();
    for part in [kind.word(), field, within, value] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(head)
}

/// A record's terms, and whether each is counted.
fn terms(subject: Subject<'_>, body: &Value) -> BTreeSet<(i64, bool)> {
    let Subject {
        kind,
        integration_id,
        ..
    } = subject;
    let own = of_value(kind, &Filter::INTEGRATION, "", integration_id);
    let mut all = BTreeSet::from([(own, true)]);
    for filter in kind.filters() {
        for value in filter.values(body) {
            let term = of_value(kind, filter, integration_id, &value);
            all.insert((term, filter.is_wide));
        }
    }
    all
}

const ENTERED: Bulk = Bulk {
    order: 41,
    sql: "INSERT INTO record_terms (term, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    types: &[Integer, Integer],
    merge: Merge::Keep,
};

const LEFT: Bulk = Bulk {
    order: 40,
    sql: "DELETE FROM record_terms WHERE term = ?1 AND seq = ?2",
    types: &[Integer, Integer],
    merge: Merge::Keep,
};

const COUNTS: Bulk = Bulk {
    order: 42,
    sql: "INSERT INTO record_counts (term, n) VALUES (?1, ?2) ON CONFLICT (term) DO UPDATE SET n = record_counts.n + excluded.n",
    types: &[Integer, Integer],
    merge: Merge::Sum,
};

/// Enters a new record.
pub(crate) fn enter(tx: &Transaction<'_>, subject: Subject<'_>, body: &Value) {
    tx.put(&COUNTS, values![of_kind(subject.kind), 1_i64]);
    for (term, is_wide) in terms(subject, body) {
        add(tx, subject.seq, term, is_wide);
    }
}

/// Follows a record from one body to another.
pub(crate) fn follow(tx: &Transaction<'_>, subject: Subject<'_>, from: &Value, to: &Value) {
    let (old, new) = (terms(subject, from), terms(subject, to));
    for &(term, is_wide) in old.difference(&new) {
        tx.take_back(&ENTERED, values![term, subject.seq]);
        tx.put(&LEFT, values![term, subject.seq]);
        if is_wide {
            tx.put(&COUNTS, values![term, -1_i64]);
        }
    }
    for &(term, is_wide) in new.difference(&old) {
        add(tx, subject.seq, term, is_wide);
    }
}

fn add(tx: &Transaction<'_>, seq: i64, term: i64, is_counted: bool) {
    tx.put(&ENTERED, values![term, seq]);
    if is_counted {
        tx.put(&COUNTS, values![term, 1_i64]);
    }
}

/// How many records have a term that is counted.
pub(crate) fn counted(db: &Db<'_>, term: i64) -> Result<u64, Error> {
    db.find(
        "SELECT n FROM record_counts WHERE term = ?1",
        values![term],
        |row| row.get::<i64>(0),
    )
    .map(|n| n.unwrap_or(0).unsigned_abs())
}

/// Makes all terms anew if they were made by another version of this rule.
pub(crate) fn build(tx: &Transaction<'_>) -> Result<(), Error> {
    let made_by: i64 = tx.one(
        "SELECT revision FROM revisions WHERE what = 'terms'",
        &[],
        |row| row.get(0),
    )?;
    if made_by == VERSION {
        return Ok(());
    }
    if made_by > VERSION {
        return Err(Error::Database(
            "what lists are filtered by was made by a newer Portico; start that one".to_owned(),
        ));
    }
    tx.send("DELETE FROM record_terms", &[])?;
    tx.send("DELETE FROM record_counts", &[])?;
    let mut last = i64::MIN;
    loop {
        let some: Vec<(i64, String, String, String)> = tx.all(
            "SELECT r.seq, r.kind, i.id, r.body FROM records r JOIN integrations i ON i.n = r.lane WHERE r.seq > ?1 ORDER BY r.seq LIMIT ?2",
            values![last, BUILD_ROWS],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        for (seq, kind, integration_id, body) in &some {
            last = *seq;
            let subject = Subject {
                seq: *seq,
                kind: Kind::of(kind)
                    .ok_or_else(|| Error::Corrupt("the kind of a record".to_owned()))?,
                integration_id,
            };
            let body = serde_json::from_str(body).map_err(corrupt("a stored record"))?;
            enter(tx, subject, &body);
        }
        if some.is_empty() {
            break;
        }
    }
    tx.send(
        "UPDATE revisions SET revision = ?1 WHERE what = 'terms'",
        values![VERSION],
    )?;
    tx.settle()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_filters_raises_the_version() {
        let filters: Vec<String> = Kind::ALL
            .iter()
            .flat_map(|kind| kind.filters().iter().map(move |one| (kind, one)))
            .map(|(kind, one)| format!("{} {one:?}", kind.word()))
            .collect();
        let digest = Sha256::digest(filters.join("\n").as_bytes());
        let rule = (VERSION, model::hex::encode(&digest[..8]));
        assert_eq!(
            rule,
            (2, "c838a4b1292da671".to_owned()),
            "stores keep terms made by the old rule unless VERSION is raised; then write the new rule here"
        );
    }
}
