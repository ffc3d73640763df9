//! Writes at the door, a batch in a few statements.
//!
//! What [`intake`] asks and stores for one write, this asks and stores for all of a batch: two ways to the server, however many they are. Guarantee: the
//! answers are those that [`intake::accept`] would give for one after the other.

use std::collections::{HashMap, HashSet};

use model::{
    IntegrationId, Timestamp,
    write::{Operation, WriteStatus},
};
use tokio_postgres::types::ToSql;

use super::session::Session;
use crate::{
    Acceptance, Error, Once,
    engines::{Transaction, writer::Accept},
    sql::{
        db::Ordered,
        erasure,
        intake::{self, READY, Row, WAITS},
        order,
    },
};

/// Values of a statement that has one for each row.
type Lists<'a> = &'a [&'a (dyn ToSql + Sync)];

const REPLAYS: &str = "SELECT i.key_hash, i.fingerprint, i.job_id, i.expires_at, w.result, w.stripped_at FROM idempotency i JOIN writes w ON w.job_id = i.job_id WHERE i.key_hash = ANY ($1)";
const OPEN: &str = "SELECT DISTINCT order_key FROM queue_order WHERE order_key = ANY ($1)";
const BLOCKS: &str = "SELECT o.order_key, w.job_id, w.operation FROM queue_order o JOIN writes w ON w.seq = o.seq WHERE o.order_key = ANY ($1) ORDER BY o.seq";
const ERASED: &str = "SELECT record_id, at FROM erasures WHERE record_id = ANY ($1)";
const LANES: &str = "SELECT id, n FROM integrations WHERE id = ANY ($1)";

const WRITES: &str = "INSERT INTO writes (seq, job_id, lane, community_id, operation, accepted_at, result, request, status)
    SELECT *, $9::TEXT FROM UNNEST ($1::BIGINT[], $2::TEXT[], $3::BIGINT[], $4::TEXT[], $5::TEXT[], $6::BIGINT[], $7::TEXT[], $8::TEXT[])";
const QUEUE: &str = "INSERT INTO queue (seq, lane, state, due_at, order_keys, queued_at)
    SELECT one.*, one.due_at FROM UNNEST ($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BYTEA[]) AS one (seq, lane, state, due_at, order_keys)";
const ORDER: &str = "INSERT INTO queue_order (order_key, seq) SELECT * FROM UNNEST ($1::BIGINT[], $2::BIGINT[]) ON CONFLICT DO NOTHING";
const KEYS: &str = "INSERT INTO idempotency (key_hash, fingerprint, job_id, expires_at)
    SELECT * FROM UNNEST ($1::BYTEA[], $2::BYTEA[], $3::TEXT[], $4::BIGINT[])
    ON CONFLICT (key_hash) DO UPDATE SET fingerprint = excluded.fingerprint, job_id = excluded.job_id, expires_at = excluded.expires_at";
const CONSENTS: &str = "INSERT INTO consents (seq, at, value, is_stated, request_id, key_id)
    SELECT * FROM UNNEST ($1::BIGINT[], $2::BIGINT[], $3::BOOLEAN[], $4::BOOLEAN[], $5::TEXT[], $6::TEXT[])";

/// Whether a write can be taken with others: what a retry asks is asked of each alone.
pub(super) fn is_plain(write: &Accept) -> bool {
    write.row.retry_of.is_none()
}

/// What an idempotency key stands for.
struct Used {
    fingerprint: Vec<u8>,
    job_id: String,
    result: String,
    stripped_at: Option<i64>,
}

/// What the database says of a batch before anything of it is stored.
#[derive(Default)]
struct Known {
    used: HashMap<Vec<u8>, (Used, i64)>,
    /// Keys that open writes have.
    open: HashSet<i64>,
    /// The open writes with a key: which, and what they ask.
    blocks: HashMap<i64, Vec<(String, String)>>,
    erased: HashMap<String, Timestamp>,
    lanes: HashMap<String, i64>,
}

fn ask(session: &Session, writes: &[&Accept]) -> Result<Known, Error> {
    let mut keys: Vec<&[u8]> = Vec::new();
    let (mut order_keys, mut block_keys): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
    let mut abouts: Vec<&str> = Vec::new();
    let mut integrations: HashSet<IntegrationId> = HashSet::new();
    for write in writes {
        keys.extend(write.once.as_ref().map(|once| once.key_hash.as_slice()));
        order_keys.extend(&write.row.order_keys);
        block_keys.extend(write.row.blocked_by.iter().map(|block| block.key));
        abouts.extend(write.row.about.as_deref());
        integrations.insert(write.row.integration_id);
    }
    let integrations: Vec<String> = integrations.iter().map(ToString::to_string).collect();
    let questions: [(&str, Lists<'_>); 5] = [
        (LANES, &[&integrations]),
        (OPEN, &[&order_keys]),
        (REPLAYS, &[&keys]),
        (BLOCKS, &[&block_keys]),
        (ERASED, &[&abouts]),
    ];
    let answers = session.together(&questions)?;
    let [lanes, open, used, blocks, erased] = answers.as_slice() else {
        return Err(Error::Database("an answer is missing".to_owned()));
    };
    let mut known = Known {
        lanes: read(lanes, |row| Ok((row.try_get(0)?, row.try_get(1)?)))?,
        open: read(open, |row| row.try_get(0))?,
        erased: read(erased, |row| {
            Ok((row.try_get(0)?, row.try_get(1).map(Timestamp::from_micros)?))
        })?,
        ..Known::default()
    };
    known.used = read(used, |row| {
        let used = Used {
            fingerprint: row.try_get(1)?,
            job_id: row.try_get(2)?,
            result: row.try_get(4)?,
            stripped_at: row.try_get(5)?,
        };
        Ok((row.try_get(0)?, (used, row.try_get(3)?)))
    })?;
    let blocks: Vec<(i64, (String, String))> = read(blocks, |row| {
        Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))
    })?;
    for (key, write) in blocks {
        known.blocks.entry(key).or_default().push(write);
    }
    Ok(known)
}

fn read<T, C: FromIterator<T>>(
    rows: &[tokio_postgres::Row],
    one: impl Fn(&tokio_postgres::Row) -> Result<T, tokio_postgres::Error>,
) -> Result<C, Error> {
    rows.iter()
        .map(one)
        .collect::<Result<C, _>>()
        .map_err(|why| super::session::database(&why))
}

/// A write that is to be stored.
struct Taken<'a> {
    write: &'a Accept,
    seq: i64,
    lane: i64,
    waits: bool,
}

impl Known {
    /// Decides on one write, behind those before it.
    fn take<'a>(
        &mut self,
        session: &Session,
        write: &'a Accept,
    ) -> Result<Result<Taken<'a>, Acceptance>, Error> {
        let row = &write.row;
        if let Some(once) = &write.once {
            let earlier = self.used.get(once.key_hash.as_slice());
            if let Some((used, _)) =
                earlier.filter(|(_, expires_at)| *expires_at > once.used_at.as_micros())
            {
                let kept = (used.result.clone(), used.stripped_at);
                return intake::replayed(once, &used.fingerprint, &used.job_id, kept).map(Err);
            }
        }
        for block in &row.blocked_by {
            for (job_id, operation) in self.blocks.get(&block.key).into_iter().flatten() {
                let operation = Operation::of(operation);
                if operation.is_some_and(|one| block.operations.contains(&one)) {
                    return Err(intake::blocked(row, job_id));
                }
            }
        }
        if let Some(id) = &row.about
            && let Some(at) = self.erased.get(id)
        {
            return Err(erasure::refused(id, *at));
        }
        let lane = self.lanes.get(&row.integration_id.to_string()).copied();
        let lane = lane.ok_or_else(|| {
            Error::Database(format!("there is no integration {}", row.integration_id))
        })?;
        let seq = session.next_seq(Ordered::Writes)?;
        let mut waits = false;
        let own: HashSet<i64> = row.order_keys.iter().copied().collect();
        for key in own {
            waits |= !self.open.insert(key);
            let of_key = (row.job_id.clone(), row.operation.word().to_owned());
            self.blocks.entry(key).or_default().push(of_key);
        }
        if let Some(once) = &write.once {
            let used = Used {
                fingerprint: once.fingerprint.to_vec(),
                job_id: row.job_id.clone(),
                result: row.result.clone(),
                stripped_at: None,
            };
            let kept = (used, once.expires_at.as_micros());
            self.used.insert(once.key_hash.to_vec(), kept);
        }
        Ok(Ok(Taken {
            write,
            seq,
            lane,
            waits,
        }))
    }
}

/// Takes writes into custody that are all plain; an answer for each.
pub(super) fn all(
    session: &Session,
    tx: &mut Transaction<'_>,
    writes: &[&Accept],
) -> Result<Vec<Result<Acceptance, Error>>, Error> {
    let mut known = ask(session, writes)?;
    let (mut answers, mut taken) = (Vec::with_capacity(writes.len()), Vec::new());
    for write in writes {
        answers.push(match known.take(session, write) {
            Ok(Ok(one)) => {
                taken.push(one);
                Ok(Acceptance::Accepted)
            }
            Ok(Err(earlier)) => Ok(earlier),
            Err(why) => Err(why),
        });
    }
    if !taken.is_empty() {
        store(session, tx, &taken)?;
    }
    for one in taken.iter().filter(|one| !one.waits) {
        tx.raised.due.insert(one.write.row.integration_id);
    }
    Ok(answers)
}

fn store(session: &Session, tx: &Transaction<'_>, taken: &[Taken<'_>]) -> Result<(), Error> {
    fn list<'a, T>(taken: &'a [Taken<'a>], of: impl Fn(&'a Taken<'a>, &'a Row) -> T) -> Vec<T> {
        taken.iter().map(|one| of(one, &one.write.row)).collect()
    }
    let seqs = list(taken, |one, _| one.seq);
    let lanes = list(taken, |one, _| one.lane);
    let times = list(taken, |_, row| row.accepted_at.as_micros());
    let at_once = |at| tx.time.at_once(at).as_micros();
    let due = list(taken, |_, row| at_once(row.accepted_at));
    let job_ids = list(taken, |_, row| row.job_id.as_str());
    let communities = list(taken, |_, row| row.community_id.as_str());
    let operations = list(taken, |_, row| row.operation.word());
    let results = list(taken, |_, row| row.result.as_str());
    let requests = list(taken, |_, row| row.request.as_str());
    let states = list(taken, |one, _| if one.waits { WAITS } else { READY });
    let kept = list(taken, |_, row| order::kept(&row.order_keys));
    let pending = WriteStatus::Pending.word();
    let (mut keys, mut key_seqs) = (Vec::new(), Vec::new());
    for one in taken {
        for key in &one.write.row.order_keys {
            keys.push(*key);
            key_seqs.push(one.seq);
        }
    }
    let used: Vec<(&Once, &str)> = taken
        .iter()
        .filter_map(|one| Some((one.write.once.as_ref()?, one.write.row.job_id.as_str())))
        .collect();
    let hashes: Vec<&[u8]> = used
        .iter()
        .map(|(once, _)| once.key_hash.as_slice())
        .collect();
    let prints: Vec<&[u8]> = used
        .iter()
        .map(|(once, _)| once.fingerprint.as_slice())
        .collect();
    let users: Vec<&str> = used.iter().map(|(_, job_id)| *job_id).collect();
    let ends: Vec<i64> = used
        .iter()
        .map(|(once, _)| once.expires_at.as_micros())
        .collect();

    let said: Vec<_> = taken
        .iter()
        .filter_map(|one| Some((one.write.row.consent?, one)))
        .collect();
    let said_seqs: Vec<i64> = said.iter().map(|(_, one)| one.seq).collect();
    let said_times: Vec<i64> = said
        .iter()
        .map(|(_, one)| one.write.row.accepted_at.as_micros())
        .collect();
    let said_values: Vec<bool> = said.iter().map(|(consent, _)| consent.value).collect();
    let said_stated: Vec<bool> = said.iter().map(|(consent, _)| consent.is_stated).collect();
    let said_requests: Vec<&str> = said
        .iter()
        .map(|(_, one)| one.write.row.request_id.as_str())
        .collect();
    let said_keys: Vec<Option<&str>> = said
        .iter()
        .map(|(_, one)| one.write.row.key_id.as_deref())
        .collect();

    let writes: Lists<'_> = &[
        &seqs,
        &job_ids,
        &lanes,
        &communities,
        &operations,
        &times,
        &results,
        &requests,
        &pending,
    ];
    let queue: Lists<'_> = &[&seqs, &lanes, &states, &due, &kept];
    let order: Lists<'_> = &[&keys, &key_seqs];
    let idempotency: Lists<'_> = &[&hashes, &prints, &users, &ends];
    let consents: Lists<'_> = &[
        &said_seqs,
        &said_times,
        &said_values,
        &said_stated,
        &said_requests,
        &said_keys,
    ];
    let mut statements = vec![(WRITES, writes), (QUEUE, queue)];
    if !keys.is_empty() {
        statements.push((ORDER, order));
    }
    if !used.is_empty() {
        statements.push((KEYS, idempotency));
    }
    if !said.is_empty() {
        statements.push((CONSENTS, consents));
    }
    session.together(&statements).map(drop)
}
