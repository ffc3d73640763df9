//! A store filled without a vendor: as a run of synchronisation that was shown very many people.
//!
//! Guarantee: afterwards the store holds as many prospects as were asked for, and no run of
//! synchronisation is due while it is measured.

use std::{
    cmp::Reverse,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use model::{
    Actor, Clock, IntegrationId, JobId, ProspectId, Scope, Timestamp, record::Kind,
    write::WriteStatus,
};
use serde_json::{Map, Value, json};
use store::{
    Store, Unobserved,
    history::{Seen, Tally},
    sqlite,
};

use crate::{
    people::{self, People, mix},
    place,
    site::Site,
    system::{SystemClock, SystemEntropy, sealer},
};

/// People shown in one transaction.
const BATCH: u64 = 1_000;

/// For so many new ones, one of those before is shown again, changed: so that the order of changes
/// is not the order of creation.
const CHANGED_ONE_IN: u64 = 20;

/// Until when no synchronisation is due: longer than any measurement.
const NO_SYNC_FOR: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The data directory of a filled store, and what its lists must say.
pub(crate) struct Filled {
    /// Everyone, by number.
    pub(crate) people: Vec<ProspectId>,
    /// Everyone, who changed last first.
    pub(crate) latest_changed: Vec<ProspectId>,
    /// How long it took, the indexes included.
    pub(crate) took: Duration,
    /// Bytes on disk afterwards.
    pub(crate) bytes: u64,
}

/// Fills the store in the data directory of `site`, which no server has, with `count` people.
///
/// # Errors
/// When the store refuses, or does not keep just what it was shown.
pub(crate) async fn fill(site: &Site, people: &People, count: u64) -> anyhow::Result<Filled> {
    let data_dir = site.place.data_dir();
    let (file, key) = (place::sqlite_file(&data_dir), site.place.master_key()?);
    let open = move || {
        sqlite::open(
            &file,
            sealer(&key)?,
            Arc::new(Unobserved),
            SystemClock.now(),
        )
    };
    let store = tokio::task::spawn_blocking(open).await??;
    let id = site.account.integration_id.parse();
    let id = id.map_err(|_| anyhow!("The integration's id is not one of Portico's"))?;
    let begun = Instant::now();
    let (people, changed) = show(&store, id, people, count).await?;
    let took = begun.elapsed();
    store.close().await;

    let mut order: Vec<usize> = (0..people.len()).collect();
    order.sort_unstable_by_key(|number| Reverse(changed.get(*number).copied()));
    let latest_changed = order
        .iter()
        .filter_map(|number| people.get(*number).copied());
    Ok(Filled {
        latest_changed: latest_changed.collect(),
        people,
        took,
        bytes: bytes_in(&data_dir)?,
    })
}

/// Shows `count` people to the store, as one run. Returns their ids, and for each its place among
/// all changes.
async fn show(
    store: &Store,
    id: IntegrationId,
    people: &People,
    count: u64,
) -> anyhow::Result<(Vec<ProspectId>, Vec<u64>)> {
    let begun_at = SystemClock.now();
    let job_id = JobId::new(begun_at, &SystemEntropy);
    // A server that was killed may have left a run open, and the next may not be due yet.
    store.take_over(begun_at).await?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the benchmark fills its own store, without a key"
    )]
    let operator = Actor::local(Scope::operator());
    store.sync_request(&operator, id, begun_at).await?;
    let until = later(begun_at);
    if !store.sync_begin(id, job_id, begun_at, until, until).await? {
        bail!("a synchronisation of the bench's integration could not begin");
    }
    let mut done = Tally::default();
    let (mut ids, mut changed): (Vec<ProspectId>, Vec<u64>) = (Vec::new(), Vec::new());
    let mut events: u64 = 0;
    while (ids.len() as u64) < count {
        let now = SystemClock.now();
        let first = ids.len() as u64;
        let end = count.min(first + BATCH);
        let mut seen = Vec::new();
        for number in first..end {
            let new_id = ProspectId::new(now, &SystemEntropy);
            seen.push(new(number, new_id, people));
            ids.push(new_id);
            changed.push(events);
            events += 1;
        }
        for _ in 0..(end - first) / CHANGED_ONE_IN {
            let number = mix(events) % end;
            seen.push(again(number, begun_at, events));
            if let Some(place) = usize::try_from(number)
                .ok()
                .and_then(|place| changed.get_mut(place))
            {
                *place = events;
            }
            events += 1;
        }
        let tally = store.sync_record(id, job_id, seen, now).await?;
        done.seen += tally.seen;
        done.created += tally.created;
        done.changed += tally.changed;
    }
    if done.created != count || done.created + done.changed != events {
        bail!(
            "of {count} people shown {} were new to the store, and {} of {} changes were changes",
            done.created,
            done.changed,
            events - count
        );
    }
    store
        .sync_end(job_id, WriteStatus::Success, done, SystemClock.now(), None)
        .await?;
    Ok((ids, changed))
}

fn later(now: Timestamp) -> Timestamp {
    let micros = i64::try_from(NO_SYNC_FOR.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_add(micros))
}

fn new(number: u64, id: ProspectId, people: &People) -> Seen {
    Seen {
        create: Some((id.to_string(), people.body(number))),
        ..shown(number, Map::new())
    }
}

/// Person `number` with a change that no other event makes.
fn again(number: u64, begun_at: Timestamp, event: u64) -> Seen {
    let at = begun_at.as_micros().saturating_add_unsigned(event);
    let update = Map::from_iter([("x_updated_at".to_owned(), json!(Timestamp::from_micros(at)))]);
    shown(number, update)
}

fn shown(number: u64, update: Map<String, Value>) -> Seen {
    Seen {
        kind: Kind::Prospect,
        x_id: people::x_id(number),
        // Nothing changed here since.
        asked_at: Timestamp::from_micros(i64::MAX),
        update,
        add: Vec::new(),
        create: None,
        is_gone: false,
    }
}

/// Bytes of the files in `directory`.
fn bytes_in(directory: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).context("the data directory cannot be read")? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
