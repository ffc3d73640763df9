//! Writes at the door, a batch at a time.
//!
//! A batch is read for at once, decided write by write, and stored with one statement a table.
//! Guarantee: the answers are those that each write would get alone, behind the ones before it.

use std::collections::{BTreeSet, HashMap, HashSet};

use model::{
    IntegrationId, Timestamp,
    write::{Operation, WriteStatus},
};

use crate::{
    Acceptance, Error, Once,
    accept::{
        self, Row,
        idempotency::{self, Used},
    },
    engines::{
        Transaction,
        bulk::{
            Bulk, Merge, Question,
            Type::{Blob, Boolean, Integer, Text},
        },
        crowd::{Answers, Batched},
        db::{Bind, Ordered, Value, values},
    },
    erasure,
    queue::{READY, WAITS, order},
};

/// A write to be accepted.
pub(crate) struct NewRow {
    pub(crate) row: Row,
    /// The idempotency key that it came with.
    pub(crate) once: Option<Once>,
}

impl Batched for NewRow {
    type Answer = Acceptance;

    /// As many as fit into a commit.
    const MAX: usize = usize::MAX;

    const IS_NEW_WORK: bool = true;

    fn serve(tx: &mut Transaction<'_>, requests: &[&Self]) -> Result<Answers<Acceptance>, Error> {
        let each = requests.iter().map(|one| (&one.row, one.once.as_ref()));
        all(tx, &each.collect::<Vec<_>>())
    }
}

/// A write, and the idempotency key that it came with.
type Asked<'a> = (&'a Row, Option<&'a Once>);

const LANES: usize = 0;
const OPEN: usize = 1;
const USED: usize = 2;
const BLOCKS: usize = 3;
const ERASED: usize = 4;
const RETRIED: usize = 5;

const WRITES: Bulk = Bulk {
    order: 10,
    sql: "INSERT INTO writes (seq, job_id, lane, community_id, operation, accepted_at, retry_of, result, request, status) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'PENDING')",
    types: &[
        Integer, Text, Integer, Text, Text, Integer, Text, Text, Text,
    ],
    merge: Merge::Keep,
};

const QUEUE: Bulk = Bulk {
    order: 11,
    sql: "INSERT INTO queue (seq, lane, state, due_at, order_keys, queued_at) VALUES (?1, ?2, ?3, ?4, ?5, ?4)",
    types: &[Integer, Integer, Integer, Integer, Blob],
    merge: Merge::Keep,
};

const IDEMPOTENCY: Bulk = Bulk {
    order: 13,
    sql: "INSERT INTO idempotency (key_hash, fingerprint, job_id, expires_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key_hash) DO UPDATE SET fingerprint = excluded.fingerprint, job_id = excluded.job_id, expires_at = excluded.expires_at",
    types: &[Blob, Blob, Text, Integer],
    merge: Merge::Last(1),
};

const CONSENTS: Bulk = Bulk {
    order: 14,
    sql: "INSERT INTO consents (seq, at, value, is_stated, request_id, key_id, repeats_job_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    types: &[Integer, Integer, Boolean, Boolean, Text, Text, Text],
    merge: Merge::Keep,
};

/// A write that another one repeats.
struct Retried {
    status: String,
    stripped_at: Option<i64>,
    repeated_by: Option<String>,
    /// The write that first said of messages what it said.
    consent_of: Option<String>,
}

/// The rows that a batch is decided by, with its own writes so far.
struct Known {
    lanes: HashMap<IntegrationId, i64>,
    /// Order keys that open writes have.
    open: HashSet<i64>,
    used: HashMap<[u8; 32], Used>,
    /// The open writes that have a key, and their operations.
    blocks: HashMap<i64, Vec<(String, String)>>,
    erased: HashMap<String, Timestamp>,
    retried: HashMap<String, Retried>,
}

/// Each of some values once.
fn each_once<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    all.collect::<BTreeSet<T>>().into_iter().collect()
}

/// The same, as the values of a question.
fn sets<T: Bind>(all: &[T]) -> Vec<Vec<Value<'_>>> {
    all.iter().map(|one| vec![one.bind()]).collect()
}

impl Known {
    /// Reads for all of `asked`.
    fn of(tx: &Transaction<'_>, asked: &[Asked<'_>]) -> Result<Self, Error> {
        let rows = || asked.iter().map(|(row, _)| *row);
        let integrations = each_once(rows().map(|row| row.integration_id));
        let ids: Vec<String> = integrations.iter().map(ToString::to_string).collect();
        let order_keys = each_once(rows().flat_map(|row| &row.order_keys));
        let used = asked
            .iter()
            .filter_map(|(_, once)| Some(once.as_ref()?.key_hash));
        let hashes = each_once(used);
        let blocks = rows().flat_map(|row| &row.blocked_by);
        let block_keys = each_once(blocks.map(|block| block.key));
        let abouts = each_once(rows().filter_map(|row| row.about.as_deref()));
        let failed = each_once(rows().filter_map(|row| row.retry_of.as_deref()));
        let questions = [
            Question {
                sql: "SELECT n FROM integrations WHERE id = ?1",
                types: &[Text],
                sets: sets(&ids),
            },
            Question {
                sql: "SELECT 1 FROM queue_order WHERE order_key = ?1 LIMIT 1",
                types: &[Integer],
                sets: sets(&order_keys),
            },
            Question {
                sql: idempotency::USED,
                types: &[Blob],
                sets: sets(&hashes),
            },
            Question {
                sql: "SELECT w.job_id, w.operation FROM queue_order o CROSS JOIN writes w ON w.seq = o.seq WHERE o.order_key = ?1 ORDER BY o.seq",
                types: &[Integer],
                sets: sets(&block_keys),
            },
            Question {
                sql: "SELECT at FROM erasures WHERE record_id = ?1",
                types: &[Text],
                sets: sets(&abouts),
            },
            Question {
                sql: "SELECT w.status, w.stripped_at, (SELECT r.job_id FROM writes r WHERE r.retry_of = w.job_id), c.repeats_job_id FROM writes w LEFT JOIN consents c ON c.seq = w.seq WHERE w.job_id = ?1",
                types: &[Text],
                sets: sets(&failed),
            },
        ];
        let answers = tx.ask(&questions)?;
        let mut known = Self {
            lanes: HashMap::new(),
            open: HashSet::new(),
            used: HashMap::new(),
            blocks: HashMap::new(),
            erased: HashMap::new(),
            retried: HashMap::new(),
        };
        answers.each(&questions, LANES, |set, row| {
            known.lanes.insert(integrations[set], row.get(0)?);
            Ok(())
        })?;
        answers.each(&questions, OPEN, |set, _| {
            known.open.insert(*order_keys[set]);
            Ok(())
        })?;
        answers.each(&questions, USED, |set, row| {
            known.used.insert(hashes[set], idempotency::used(row)?);
            Ok(())
        })?;
        answers.each(&questions, BLOCKS, |set, row| {
            let writes = known.blocks.entry(block_keys[set]).or_default();
            writes.push((row.get(0)?, row.get(1)?));
            Ok(())
        })?;
        answers.each(&questions, ERASED, |set, row| {
            let at = row.get(0).map(Timestamp::from_micros)?;
            known.erased.insert(abouts[set].to_owned(), at);
            Ok(())
        })?;
        answers.each(&questions, RETRIED, |set, row| {
            let retried = Retried {
                status: row.get(0)?,
                stripped_at: row.get(1)?,
                repeated_by: row.get(2)?,
                consent_of: row.get(3)?,
            };
            known.retried.insert(failed[set].to_owned(), retried);
            Ok(())
        })?;
        Ok(known)
    }

    /// Decides on one write: its integration's row, and whether it waits for an earlier write.
    ///
    /// # Errors
    /// Why it is refused.
    fn decide(&self, row: &Row) -> Result<(i64, bool), Error> {
        if let Some(failed) = &row.retry_of {
            self.may_be_retried(failed)?;
        }
        for block in &row.blocked_by {
            for (job_id, operation) in self.blocks.get(&block.key).into_iter().flatten() {
                let operation = Operation::of(operation);
                if operation.is_some_and(|one| block.operations.contains(&one)) {
                    return Err(accept::blocked(row, job_id));
                }
            }
        }
        if let Some(id) = &row.about
            && let Some(at) = self.erased.get(id)
        {
            return Err(erasure::refused(id, *at));
        }
        let lane = self.lanes.get(&row.integration_id).copied();
        let lane = lane.ok_or_else(|| {
            Error::Database(format!("there is no integration {}", row.integration_id))
        })?;
        let waits = row.order_keys.iter().any(|key| self.open.contains(key));
        Ok((lane, waits))
    }

    /// Only a failed write may be repeated, and only once: its repeat can be repeated in turn.
    fn may_be_retried(&self, failed: &str) -> Result<(), Error> {
        let conflict = |words: String| Err(Error::Conflict(words));
        let Some(write) = self.retried.get(failed) else {
            return conflict("there is no such write to retry".to_owned());
        };
        if let Some(at) = write.stripped_at {
            return conflict(accept::gone(Timestamp::from_micros(at)));
        }
        match WriteStatus::of(&write.status) {
            Some(WriteStatus::Failure) => {}
            Some(status) => {
                return conflict(format!(
                    "only a write that ended as FAILURE can be retried; this one is {status}"
                ));
            }
            None => return conflict("there is no such write to retry".to_owned()),
        }
        match &write.repeated_by {
            None => Ok(()),
            Some(job_id) => conflict(format!(
                "this write was retried already, as {job_id}; retry that one if it failed too"
            )),
        }
    }

    /// Has the writes behind it know of a write that is accepted.
    fn add(&mut self, (row, once): Asked<'_>) {
        for key in &row.order_keys {
            self.open.insert(*key);
            let write = (row.job_id.clone(), row.operation.word().to_owned());
            let writes = self.blocks.entry(*key).or_default();
            if writes.last() != Some(&write) {
                writes.push(write);
            }
        }
        if let Some(once) = once {
            let used = Used {
                fingerprint: once.fingerprint.to_vec(),
                job_id: row.job_id.clone(),
                expires_at: once.expires_at,
                result: row.result.clone(),
                stripped_at: None,
            };
            self.used.insert(once.key_hash, used);
        }
        if let Some(failed) = &row.retry_of
            && let Some(write) = self.retried.get_mut(failed)
        {
            write.repeated_by = Some(row.job_id.clone());
        }
    }
}

/// Accepts writes; an answer for each.
///
/// # Errors
/// When one of them cannot be stored: then none is.
fn all(tx: &mut Transaction<'_>, asked: &[Asked<'_>]) -> Result<Answers<Acceptance>, Error> {
    let mut known = Known::of(tx, asked)?;
    let mut answers = Vec::with_capacity(asked.len());
    for one in asked {
        let (row, once) = *one;
        let earlier = once.and_then(|once| Some((once, known.used.get(&once.key_hash)?)));
        if let Some((once, used)) = earlier.filter(|(once, used)| used.expires_at > once.used_at) {
            answers.push(idempotency::replayed(once, used));
            continue;
        }
        match known.decide(row) {
            Err(why) => answers.push(Err(why)),
            Ok((lane, waits)) => {
                store(tx, *one, (lane, waits), &known)?;
                known.add(*one);
                answers.push(Ok(Acceptance::Accepted));
            }
        }
    }
    Ok(answers)
}

fn store(
    tx: &mut Transaction<'_>,
    (row, once): Asked<'_>,
    (lane, waits): (i64, bool),
    known: &Known,
) -> Result<(), Error> {
    let seq = tx.next_seq(Ordered::Writes)?;
    tx.put(
        &WRITES,
        values![
            seq,
            row.job_id,
            lane,
            row.community_id,
            row.operation.word(),
            row.accepted_at.as_micros(),
            row.retry_of,
            row.result,
            row.request
        ],
    );
    let state = if waits { WAITS } else { READY };
    let due_at = tx.time.at_once(row.accepted_at).as_micros();
    let kept = order::kept(&row.order_keys);
    tx.put(&QUEUE, values![seq, lane, state, due_at, kept]);
    order::enter(tx, seq, &row.order_keys);
    if let Some(once) = once {
        tx.put(
            &IDEMPOTENCY,
            values![
                once.key_hash,
                once.fingerprint,
                row.job_id,
                once.expires_at.as_micros()
            ],
        );
    }
    if let Some(consent) = row.consent {
        let repeats = row.retry_of.as_ref().map(|failed| {
            let first = known
                .retried
                .get(failed)
                .and_then(|write| write.consent_of.as_ref());
            first.unwrap_or(failed)
        });
        tx.put(
            &CONSENTS,
            values![
                seq,
                row.accepted_at.as_micros(),
                consent.value,
                consent.is_stated,
                row.request_id,
                row.key_id,
                repeats
            ],
        );
    }
    if !waits {
        tx.raised.due.insert(row.integration_id);
    }
    Ok(())
}
