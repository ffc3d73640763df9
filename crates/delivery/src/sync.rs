//! Synchronisation: what vendors show, brought home.
//!
//! Guarantee: writes go first. A question is put to a vendor only while no write to it is due, at the pace that its integration allows, one at a time, and
//! its failures count for nothing with writes. Of all processes one synchronises an integration at a time, under a lease. Bounded in calls a run; what a run
//! does not reach, later runs do. Nothing is deleted here because it is gone there.

use std::{collections::HashMap, future::Future, sync::Arc};

use connectors::{
    FetchFailure, Target,
    connector::{Connections, FetchProspect},
};
use model::{
    CommunityId, IntegrationId, JobId, Timestamp,
    contact::{DEFAULT_REGION, Phone},
    directory::{Attribution, Integration},
    record::Kind,
    write::{Class, WriteStatus},
};
use serde_json::{Map, Value, json};
use store::{
    Error, Lapse,
    history::{Candidate, Seen, Tally},
};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use crate::{Parts, lane::Lanes};

/// How often it is looked what is due, as a net under the signals.
const LOOK_MS: i64 = 60_000;

/// How long to wait before asking a store again that failed.
const STORE_TROUBLE_MS: i64 = 5_000;

/// Integrations that one process synchronises at once; the others wait their turn.
const RUNS_MAX: usize = 16;

/// Records that are stored together: a commit for each would be felt by writes.
const RECORD_ROWS: usize = 25;

/// Times that a question is put again when the vendor cannot answer now.
const ASK_TRIES: u32 = 3;

/// How long to wait before that, times the tries so far.
const ASK_AGAIN_MS: i64 = 2_000;

/// How long the vendor's `Retry-After` is waited for within a run; longer ends the run.
const RETRY_AFTER_MAX_MS: u64 = 60_000;

/// How long a run waits for a vendor whose circuit breaker is open, or that asked for a pause, before it
/// ends: as long as a pause may be. The runs of one process are few, and others wait for their turn.
const HELD_UP_MAX_MS: u64 = 5 * 60_000;

/// When a run that did not go well is due again, unless its next is due before.
const RUN_AGAIN_MS: i64 = 15 * 60_000;

/// The largest part of the prospects of a run that may be newly gone, as one of so many: a fifth. People
/// remove and merge cards one by one; where more are gone, it is likelier that somebody else answers,
/// or another account.
const GONE_PART: usize = 5;

/// Prospects that may be gone whatever part of the run they are: of a handful, one that is merged
/// is soon more than a fifth.
const GONE_FEW: usize = 1;

/// True if so many gone of `all` are to be believed.
const fn is_credible(gone: usize, all: usize) -> bool {
    gone <= GONE_FEW || gone.saturating_mul(GONE_PART) <= all
}

/// Errors that a run keeps: they tend to be all alike.
const ERRORS_MAX: usize = 20;

/// The runs of this process.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    runs: HashMap<tokio::task::Id, (IntegrationId, JobId, AbortHandle)>,
}

impl Running {
    fn spawn(
        &mut self,
        id: IntegrationId,
        job_id: JobId,
        run: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(run);
        self.runs.insert(task.id(), (id, job_id, task));
    }

    fn has(&self, id: IntegrationId) -> bool {
        self.runs.values().any(|(one, _, _)| *one == id)
    }

    /// Returns when one has ended, and which it is if it panicked; never while there is none.
    async fn ended(&mut self) -> Option<(IntegrationId, JobId)> {
        match self.tasks.join_next_with_id().await {
            Some(Ok((task, ()))) => {
                self.runs.remove(&task);
                None
            }
            Some(Err(why)) => {
                let (id, job_id, _) = self.runs.remove(&why.id())?;
                why.is_panic().then_some((id, job_id))
            }
            None => std::future::pending().await,
        }
    }
}

/// Synchronises whatever is due, until told to stop. Runs that are broken off are ended when their leases lapse, or at the next start of a store that has no other process.
pub(crate) async fn run(parts: Arc<Parts>, lanes: Arc<Lanes>, mut stopping: watch::Receiver<bool>) {
    let mut running = Running::default();
    let (mut next_sweep, mut next_look) = (Timestamp::ZERO, Timestamp::ZERO);
    while !*stopping.borrow() {
        let signal = parts.store.signals().sync_due();
        let now = parts.timer.steady();
        if now >= next_sweep {
            next_sweep = now.plus_millis(parts.settings.sweep_ms);
            sweep(&parts, &running, now).await;
        }
        if now >= next_look {
            match look(&parts, &lanes, &mut running, now).await {
                Ok(at) => next_look = at,
                Err(Error::Closed) => return,
                Err(why) => {
                    why.tell("it could not be read what is to be synchronised; trying again");
                    next_look = now.plus_millis(STORE_TROUBLE_MS);
                }
            }
        }
        tokio::select! {
            () = signal => next_look = Timestamp::ZERO,
            panicked = running.ended() => {
                next_look = Timestamp::ZERO;
                if let Some((id, job_id)) = panicked {
                    tracing::error!(integration_id = %id, "a synchronisation panicked");
                    end_panicked(&parts, job_id).await;
                }
            }
            () = parts.timer.sleep_until(next_look.min(next_sweep)) => {}
            _ = stopping.changed() => {}
        }
    }
    running.tasks.shutdown().await;
}

/// Renews the leases of runs under way, breaks off those that another process has taken for dead, and ends those whose process is.
async fn sweep(parts: &Parts, running: &Running, now: Timestamp) {
    let job_ids: Vec<JobId> = running.runs.values().map(|(_, id, _)| *id).collect();
    let work = async {
        if !job_ids.is_empty() {
            let until = now.plus_millis(parts.settings.lease_ms);
            for lost in parts.store.syncs_renew(job_ids, until).await? {
                // Or it has just ended, and does nothing any more.
                let task = running.runs.values().find(|(_, id, _)| *id == lost);
                if let Some((_, _, task)) = task {
                    task.abort();
                }
            }
        }
        parts.store.syncs_lapse(Lapse::Expired, now).await
    };
    match work.await {
        Ok(0) => {}
        Ok(lapsed) => {
            tracing::warn!(
                lapsed,
                "leases of synchronisations lapsed; they are made up for"
            );
        }
        Err(why) => {
            why.tell("leases of synchronisations could not be looked after; trying again");
        }
    }
}

/// Ends a run that panicked as one that failed: else its lease would lapse, and it would be repeated at once.
async fn end_panicked(parts: &Parts, job_id: JobId) {
    let tally = Tally {
        errors: vec![
            "Portico failed while it synchronised; this is a fault of Portico's".to_owned(),
        ],
        ..Tally::default()
    };
    let now = parts.timer.now();
    let next_at = Some(parts.timer.steady().plus_millis(RUN_AGAIN_MS));
    let ended = parts
        .store
        .sync_end(job_id, WriteStatus::Failure, tally, now, next_at);
    if let Err(why) = ended.await {
        tracing::error!(%why, %job_id, "the end of a synchronisation could not be stored");
    }
}

/// Begins what is due. Returns when to look again.
async fn look(
    parts: &Arc<Parts>,
    lanes: &Arc<Lanes>,
    running: &mut Running,
    now: Timestamp,
) -> Result<Timestamp, Error> {
    let mut again_at = now.plus_millis(LOOK_MS);
    let directory = parts.live.get();
    for (id, due_at) in parts.store.syncs_due().await? {
        if running.has(id) {
            continue;
        }
        if due_at > now {
            again_at = again_at.min(due_at);
        } else if running.runs.len() < RUNS_MAX
            && let Some(integration) = directory.integration(id)
            && let Some(connector) = parts.registry.get(integration.vendor)
        {
            let job_id = JobId::new(parts.timer.now(), &*parts.entropy);
            let lease_until = now.plus_millis(parts.settings.lease_ms);
            let next_at = now.plus_millis(integration.settings.sync_every_ms());
            let is_begun = parts
                .store
                .sync_begin(id, job_id, now, lease_until, next_at)
                .await?;
            // Else another process was faster.
            if is_begun {
                let run = Run {
                    target: Target::of(integration),
                    parts: parts.clone(),
                    lanes: lanes.clone(),
                    integration: integration.clone(),
                    connections: connector.connections().clone(),
                    job_id,
                    tally: Tally::default(),
                };
                running.spawn(id, job_id, run.run());
            }
        }
    }
    Ok(again_at)
}

/// A run under way.
struct Run {
    parts: Arc<Parts>,
    lanes: Arc<Lanes>,
    integration: Arc<Integration>,
    connections: Connections,
    target: Target,
    job_id: JobId,
    tally: Tally,
}

/// Why a run cannot go on.
enum Stop {
    /// The vendor says of so many prospects that they are gone, of so many in all, that it is not
    /// believed.
    Gone(usize, usize),
    /// The vendor does not answer: why.
    Vendor(String),
    /// The store does not.
    Store(Error),
}

impl From<Error> for Stop {
    fn from(why: Error) -> Self {
        Self::Store(why)
    }
}

impl Run {
    /// Synchronises one integration.
    async fn run(mut self) {
        let stopped = self.whole().await.err();
        self.end(stopped).await;
    }

    async fn whole(&mut self) -> Result<(), Stop> {
        // First, since nothing may change if it turns out that their answers are not to be believed.
        self.prospects().await?;
        self.models(Kind::Prospect, self.connections.prospect.is_some());
        self.attributions().await?;
        self.models(Kind::Attribution, self.connections.attributions.is_some());
        Ok(())
    }

    /// Notes that a model was read to its end, if the vendor can be asked for it.
    fn models(&mut self, kind: Kind, is_asked_for: bool) {
        let model = is_asked_for.then(|| kind.model().to_owned());
        self.tally.models.extend(model);
    }

    /// The lead sources of every community.
    async fn attributions(&mut self) -> Result<(), Stop> {
        let Some(fetch) = self.connections.attributions.clone() else {
            return Ok(());
        };
        let directory = self.parts.live.get();
        let mut communities: Vec<(CommunityId, String)> = directory
            .communities(self.integration.id)
            .filter(|one| one.active)
            .map(|one| (one.id, one.x_id.clone()))
            .collect();
        communities.sort_unstable();
        for (community_id, x_community_id) in communities {
            let mut tries = 0;
            let titles = loop {
                self.turn(&mut tries).await?;
                let asked_at = self.parts.timer.now();
                let told = fetch
                    .attributions_fetch(&self.target, &x_community_id)
                    .await;
                match told {
                    Ok(titles) => break Some((asked_at, titles)),
                    Err(why) if self.again(tries, &why).await? => {}
                    Err(why) => {
                        if why.is_gone {
                            self.note(why.error);
                        }
                        break None;
                    }
                }
            };
            let Some((asked_at, titles)) = titles else {
                continue;
            };
            let seen: Vec<Seen> = titles
                .into_iter()
                .map(|title| self.attribution(community_id, title, asked_at))
                .collect();
            self.record(seen).await?;
        }
        Ok(())
    }

    fn attribution(&self, community_id: CommunityId, title: String, asked_at: Timestamp) -> Seen {
        let (now, entropy) = (self.parts.timer.now(), &*self.parts.entropy);
        let new = Attribution {
            id: model::AttributionId::new(now, entropy),
            integration_id: self.integration.id,
            x_id: title.clone(),
            name: title.clone(),
            community_ids: vec![community_id],
            active: true,
        };
        Seen {
            kind: Kind::Attribution,
            x_id: title,
            asked_at,
            update: Map::new(),
            add: vec![("community_ids".to_owned(), community_id.to_string())],
            create: serde_json::to_value(&new)
                .ok()
                .map(|body| (new.id.to_string(), body)),
            is_gone: false,
        }
    }

    /// Prospects, those with the newest activity first, and some that were not seen for longest. All
    /// are read before the first is stored: only then is it known how many are gone.
    async fn prospects(&mut self) -> Result<(), Stop> {
        let Some(fetch) = self.connections.prospect.clone() else {
            return Ok(());
        };
        let settings = &self.parts.settings;
        let candidates = self
            .parts
            .store
            .sync_candidates(
                self.integration.id,
                settings.sync_newest_max,
                settings.sync_stalest_max,
            )
            .await?;
        // Those that were gone before are read again, too, and say nothing of this run.
        let was_there = |one: &Candidate| one.body["vanished_at"].is_null();
        let all = candidates.iter().filter(|one| was_there(one)).count();
        let (mut seen, mut stopped) = (Vec::new(), None);
        let (mut gone, mut read) = (0, 0);
        for candidate in candidates {
            match self.prospect(&*fetch, &candidate).await {
                Ok(one) => {
                    if let Some(one) = &one
                        && was_there(&candidate)
                    {
                        read += 1;
                        gone += usize::from(one.is_gone);
                    }
                    seen.extend(one);
                }
                Err(why) => {
                    stopped = Some(why);
                    break;
                }
            }
            // Whatever the rest is.
            if !is_credible(gone, all) {
                return Err(Stop::Gone(gone, all));
            }
        }
        if !is_credible(gone, read) {
            return Err(Stop::Gone(gone, read));
        }
        // If the vendor stopped answering, what was seen until then is stored all the same.
        while !seen.is_empty() {
            let rest = seen.split_off(RECORD_ROWS.min(seen.len()));
            self.record(std::mem::replace(&mut seen, rest)).await?;
        }
        stopped.map_or(Ok(()), Err)
    }

    async fn prospect(
        &mut self,
        fetch: &dyn FetchProspect,
        candidate: &Candidate,
    ) -> Result<Option<Seen>, Stop> {
        let x_community_id = candidate.x_community_id.as_deref().unwrap_or_default();
        let mut tries = 0;
        let (asked_at, mut update) = loop {
            self.turn(&mut tries).await?;
            let asked_at = self.parts.timer.now();
            let told = fetch
                .prospect_fetch(
                    &self.target,
                    x_community_id,
                    &candidate.x_id,
                    &candidate.body,
                )
                .await;
            match told {
                Ok(update) => break (asked_at, update),
                Err(why) if self.again(tries, &why).await? => {}
                Err(why) if why.is_gone => {
                    let mut gone = self.seen(candidate, asked_at, Map::new());
                    gone.is_gone = true;
                    return Ok(Some(gone));
                }
                Err(_) => return Ok(None),
            }
        };
        if let Some(x_agent_id) = update.get("x_agent_id") {
            let directory = self.parts.live.get();
            let agent_id = x_agent_id
                .as_str()
                .and_then(|x_id| directory.id_of(Kind::Agent, self.integration.id, x_id));
            update.insert("agent_id".to_owned(), json!(agent_id));
        }
        if update.contains_key("phone_1") {
            read_phone(&mut update, &self.phone_region(candidate));
        }
        // Many are kept until the last is read, and most say nothing new.
        update.retain(|member, value| candidate.body.get(member) != Some(value));
        Ok(Some(self.seen(candidate, asked_at, update)))
    }

    /// The region in which phone numbers of a prospect's community are read.
    fn phone_region(&self, candidate: &Candidate) -> String {
        let community_id: Option<CommunityId> = candidate.body["community_id"]
            .as_str()
            .and_then(|id| id.parse().ok());
        let directory = self.parts.live.get();
        let community = directory
            .communities(self.integration.id)
            .find(|community| Some(community.id) == community_id);
        community
            .map_or(DEFAULT_REGION, |community| community.phone_region())
            .to_owned()
    }

    fn seen(&self, candidate: &Candidate, asked_at: Timestamp, update: Map<String, Value>) -> Seen {
        Seen {
            kind: Kind::Prospect,
            x_id: candidate.x_id.clone(),
            asked_at,
            update,
            add: Vec::new(),
            create: None,
            is_gone: false,
        }
    }

    /// Whether a question that brought nothing is to be put again, once the time for that has come. If not, it is noted why.
    async fn again(&mut self, tries: u32, why: &FetchFailure) -> Result<bool, Stop> {
        if why.is_gone {
            return Ok(false);
        }
        let retry_after_ms = why.retry_after_ms.unwrap_or(0);
        match why.class {
            Class::Retry | Class::Unknown
                if tries < ASK_TRIES && retry_after_ms <= RETRY_AFTER_MAX_MS =>
            {
                let asked_ms = i64::try_from(retry_after_ms).unwrap_or(0);
                let wait_ms = asked_ms.max(ASK_AGAIN_MS * i64::from(tries));
                let now = self.parts.timer.steady();
                self.parts.timer.sleep_until(now.plus_millis(wait_ms)).await;
                Ok(true)
            }
            Class::Rejected => {
                self.note(why.error.clone());
                Ok(false)
            }
            Class::Delivered | Class::Retry | Class::Unknown | Class::Unauthorized => {
                Err(Stop::Vendor(why.error.clone()))
            }
        }
    }

    /// Returns when a question may be put, which then counts.
    async fn turn(&mut self, tries: &mut u32) -> Result<(), Stop> {
        let id = self.integration.id;
        let gap_micros = self.integration.settings.call_gap_micros();
        let mut held_up_since = None;
        loop {
            let now = self.parts.timer.steady();
            let (turn, is_held_up) = {
                let mut lanes = self.lanes.lock();
                let lane = lanes.entry(id).or_default();
                (lane.sync_turn(now), lane.way.is_held_up(now))
            };
            let since = *held_up_since.get_or_insert(now);
            if !is_held_up {
                held_up_since = None;
            } else if now.millis_since(since) >= HELD_UP_MAX_MS {
                return Err(Stop::Vendor(format!(
                    "{} was left alone for {} minutes, since writes to it keep failing or it asked for \
                     a pause",
                    self.integration.vendor,
                    HELD_UP_MAX_MS / 60_000
                )));
            }
            let again_at = match turn {
                Ok(()) => self.parts.store.call_begin(id, gap_micros, now).await?,
                Err(at) => Some(at),
            };
            match again_at {
                None => break,
                Some(at) => self.parts.timer.sleep_until(at).await,
            }
        }
        *tries += 1;
        self.tally.calls += 1;
        let target = self
            .parts
            .tokens
            .target(&self.integration, &self.connections)
            .await;
        self.target = target.map_err(|why| Stop::Vendor(why.error))?;
        Ok(())
    }

    async fn record(&mut self, seen: Vec<Seen>) -> Result<(), Stop> {
        if seen.is_empty() {
            return Ok(());
        }
        let (id, now) = (self.integration.id, self.parts.timer.now());
        let done = self
            .parts
            .store
            .sync_record(id, self.job_id, seen, now)
            .await?;
        self.tally.seen += done.seen;
        self.tally.created += done.created;
        self.tally.changed += done.changed;
        self.tally.missing += done.missing;
        Ok(())
    }

    fn note(&mut self, error: String) {
        if self.tally.errors.len() < ERRORS_MAX && !self.tally.errors.contains(&error) {
            self.tally.errors.push(error);
        }
    }

    /// Writes down how the run went.
    async fn end(mut self, stopped: Option<Stop>) {
        let is_whole = stopped.is_none();
        match stopped {
            None => {}
            Some(Stop::Vendor(why)) => self.note(why),
            Some(Stop::Gone(gone, all)) => {
                tracing::warn!(
                    integration_id = %self.integration.id,
                    gone,
                    read = all,
                    "the vendor says that many prospects are gone; the run changes nothing"
                );
                self.note(format!(
                    "{} says that {gone} of {all} prospects are gone, which is more than one in \
                     {GONE_PART}; nothing was changed. Check that the integration's base url and \
                     credential are those of the account that has them",
                    self.integration.vendor
                ));
            }
            Some(Stop::Store(Error::Closed)) => return,
            Some(Stop::Store(why)) => {
                tracing::error!(%why, "a synchronisation could not store what it saw");
                self.note("Portico could not store what the vendor showed".to_owned());
            }
        }
        let status = match (is_whole, self.tally.errors.is_empty(), self.tally.seen) {
            (true, true, _) => WriteStatus::Success,
            (_, _, 0) => WriteStatus::Failure,
            _ => WriteStatus::PartialSuccess,
        };
        let (now, integration_id) = (self.parts.timer.now(), self.integration.id);
        let again_at = self.parts.timer.steady().plus_millis(RUN_AGAIN_MS);
        let next_at = (!is_whole).then_some(again_at);
        let Tally {
            calls,
            seen,
            changed,
            ..
        } = self.tally;
        tracing::info!(job_id = %self.job_id, %integration_id, %status, calls, seen, changed, "synchronised");
        let ended = self
            .parts
            .store
            .sync_end(self.job_id, status, self.tally, now, next_at)
            .await;
        if let Err(why) = ended {
            tracing::error!(%why, %integration_id, "the end of a synchronisation could not be stored");
        }
    }
}

/// Brings the number that a vendor shows to the form of our records. One that is none stays as it
/// is.
fn read_phone(update: &mut Map<String, Value>, region: &str) {
    let told = update.get("phone_1").and_then(Value::as_str);
    let Some(phone) = told.and_then(|told| Phone::parse(told, region).ok()) else {
        return;
    };
    if let Some(extension) = phone.extension() {
        update.insert("phone_1_extension".to_owned(), json!(extension));
    }
    update.insert("phone_1".to_owned(), json!(phone.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_a_vendor_shows_is_read_as_every_other() {
        let check = |told: Value, region: &str, expect: Value| {
            let mut update = Map::from_iter([("phone_1".to_owned(), told.clone())]);
            read_phone(&mut update, region);
            assert_eq!(Value::Object(update), expect, "{told} in {region}");
        };
        let number = |number: &str| json!({ "phone_1": number });
        check(json!("+12065550155"), "US", number("+12065550155"));
        check(json!("(206) 555-0155"), "US", number("+12065550155"));
        check(json!("+86 131 2345 6789"), "US", number("+8613123456789"));
        check(json!("020 7946 0958"), "GB", number("+442079460958"));
        check(
            json!("206-555-0155 x4"),
            "US",
            json!({ "phone_1": "+12065550155", "phone_1_extension": "4" }),
        );
        check(json!("n/a"), "US", number("n/a"));
        check(Value::Null, "US", json!({ "phone_1": null }));
    }

    #[test]
    fn more_than_a_fifth_is_not_believed_but_for_one() {
        for (gone, all, expected) in [
            (0, 0, true),
            (1, 1, true),
            (1, 4, true),
            (2, 2, false),
            (2, 9, false),
            (2, 10, true),
            (3, 3, false),
            (3, 14, false),
            (3, 15, true),
            (60, 300, true),
            (61, 300, false),
            (300, 300, false),
        ] {
            assert_eq!(is_credible(gone, all), expected, "{gone} of {all}");
        }
    }
}
