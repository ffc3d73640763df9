//! Synchronisation: what is due, what was seen, and the runs themselves.
//!
//! Guarantee: nothing is deleted; what a vendor shows is stored together with the diff of it.

use model::{
    Actor, IntegrationId, JobId, Scope, Timestamp,
    confirmation::is_x_id,
    record::{Kind, SortField},
    webhook::{Trigger, stored_run},
    write::WriteStatus,
};
use serde_json::Value;

use crate::{
    Error, Lapse, Query, Store,
    attempts::due_of,
    directory,
    engines::{
        Transaction,
        db::{Db, corrupt, values},
    },
    events::{self, Happened},
    listing,
    logs::history::{Candidate, Seen, Tally},
    reading::Reading,
    records::{self, lists, query::Sort},
};

/// What a run is called in events.
const JOB_TYPE: &str = "sync";

/// That no run of integration `i` is under way.
const IS_IDLE: &str = "NOT EXISTS (SELECT 1 FROM jobs j INDEXED BY jobs_open WHERE j.lane = i.n AND j.ended_at IS NULL)";

/// Every active integration of which no run is under way, and when it is to be synchronised, the earliest first.
pub(crate) fn due(db: &Db<'_>) -> Result<Vec<(IntegrationId, Timestamp)>, Error> {
    db.all(
        &format!(
            "SELECT i.id, coalesce(s.due_at, 0) FROM integrations i LEFT JOIN syncs s ON s.lane = i.n
             WHERE i.active AND i.paused_at IS NULL AND i.archived_at IS NULL AND {IS_IDLE} ORDER BY 2, i.n"
        ),
        &[],
        due_of,
    )
}

fn set_due(db: &Db<'_>, lane: i64, at: Timestamp) -> Result<(), Error> {
    db.send(
        "INSERT INTO syncs (lane, due_at) VALUES (?1, ?2) ON CONFLICT (lane) DO UPDATE SET due_at = ?2",
        values![lane, at.as_micros()],
    )
}

/// Makes an integration due now. `false` when there is none.
pub(crate) fn request(
    tx: &mut Transaction<'_>,
    id: IntegrationId,
    now: Timestamp,
) -> Result<bool, Error> {
    let Some(lane) = listing::lane(tx, id)? else {
        return Ok(false);
    };
    set_due(tx, lane, tx.time.at_once(now))?;
    tx.raised.sync = true;
    Ok(true)
}

/// Begins a run, and says when the next is due should nobody ask for one before. `false` when one is under way, or none is due any more.
pub(crate) fn begin(
    tx: &Transaction<'_>,
    id: IntegrationId,
    job_id: JobId,
    (now, lease_until): (Timestamp, Timestamp),
    next_at: Timestamp,
) -> Result<bool, Error> {
    let lane: Option<i64> = tx.find(
        &format!("SELECT i.n FROM integrations i LEFT JOIN syncs s ON s.lane = i.n WHERE i.id = ?1 AND coalesce(s.due_at, 0) <= ?2 AND {IS_IDLE}"),
        values![id.to_string(), now.as_micros()],
        |row| row.get(0),
    )?;
    let Some(lane) = lane else { return Ok(false) };
    set_due(tx, lane, next_at)?;
    tx.send(
        "INSERT INTO jobs (job_id, lane, status, started_at, body, lease_until) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        values![
            job_id.to_string(),
            lane,
            WriteStatus::Pending.word(),
            tx.time.wall(now).as_micros(),
            tally(&Tally::default())?,
            lease_until.as_micros(),
        ],
    )?;
    Ok(true)
}

/// Prolongs the leases of runs that are under way, and returns those that are not any more.
pub(crate) fn renew(db: &Db<'_>, job_ids: &[JobId], until: Timestamp) -> Result<Vec<JobId>, Error> {
    let mut lost = Vec::new();
    for job_id in job_ids {
        let renewed = db.execute(
            "UPDATE jobs SET lease_until = ?2 WHERE job_id = ?1 AND ended_at IS NULL",
            values![job_id.to_string(), until.as_micros()],
        )?;
        if renewed == 0 {
            lost.push(*job_id);
        }
    }
    Ok(lost)
}

fn tally(tally: &Tally) -> Result<String, Error> {
    serde_json::to_string(tally).map_err(corrupt("a job"))
}

/// The prospects of an integration to look at again: so many with the newest activity, and so many that were not seen for longest.
pub(crate) fn candidates(
    db: &Db<'_>,
    id: IntegrationId,
    newest: u64,
    stalest: u64,
) -> Result<Vec<Candidate>, Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the synchroniser asks for itself, and of one integration only"
    )]
    let scope = Scope::operator();
    let mut found: Vec<Candidate> = Vec::new();
    for (limit, field, is_descending) in [
        (newest, SortField::UpdatedAt, true),
        (stalest, SortField::LastSeen, false),
    ] {
        let query = Query {
            integrations: Some(vec![id]),
            is_at_vendor: true,
            order: vec![Sort {
                field,
                is_descending,
            }],
            ..Query::new(Kind::Prospect, limit)
        };
        for record in lists::rows(db, &scope, &query)? {
            let candidate = record.x_id.map(|x_id| Candidate {
                x_id,
                x_community_id: record.body["x_community_id"].as_str().map(str::to_owned),
                body: record.body,
            });
            found.extend(candidate);
        }
    }
    let mut known = std::collections::HashSet::new();
    found.retain(|one| known.insert(one.x_id.clone()));
    Ok(found)
}

/// Stores what was seen, and counts it.
pub(crate) fn record(
    tx: &mut Transaction<'_>,
    id: IntegrationId,
    job_id: JobId,
    seen: &[Seen],
    now: Timestamp,
) -> Result<Tally, Error> {
    let lane = listing::lane(tx, id)?.ok_or_else(|| listing::no_integration(id))?;
    let (integration_id, job_id) = (id.to_string(), job_id.to_string());
    let job = records::Job {
        id: &job_id,
        word: JOB_TYPE,
    };
    let mut tally = Tally::default();
    let mut directory_changed = false;
    for one in seen {
        let at = tx.next_stamp(now)?;
        let known = records::by_x_id(tx, lane, one.kind, &one.x_id)?;
        let is_news = match (&known, &one.create) {
            // A vendor that confirmed it since has it again.
            (Some(stored), _) if one.is_gone && stored.updated_at > one.asked_at => false,
            (Some(stored), _) if one.is_gone => {
                tally.missing += 1;
                records::vanish(tx, stored, job, at)?
            }
            (Some(stored), _) => {
                let mut update = one.update.clone();
                if !stored.body["vanished_at"].is_null() {
                    update.insert("vanished_at".to_owned(), Value::Null);
                }
                for (member, value) in &one.add {
                    let mut list = match &stored.body[member] {
                        Value::Array(list) => list.clone(),
                        _ => Vec::new(),
                    };
                    if !list.iter().any(|known| known == value) {
                        list.push(Value::from(value.as_str()));
                        update.insert(member.clone(), Value::Array(list));
                    }
                }
                if stored.updated_at > one.asked_at {
                    update.clear();
                }
                let is_changed = records::change(tx, stored, &update, job, at)?;
                tally.seen += 1;
                tally.changed += u64::from(is_changed);
                is_changed
            }
            (None, Some(_)) if !is_x_id(&one.x_id) => {
                tracing::warn!(
                    integration_id,
                    kind = one.kind.word(),
                    "the vendor shows something under an id that cannot be kept; it is left out"
                );
                false
            }
            (None, Some((new_id, body))) => {
                let new = records::New {
                    id: new_id,
                    kind: one.kind,
                    lane,
                    integration_id: &integration_id,
                    x_id: Some(&one.x_id),
                    body,
                };
                records::insert(tx, &new, Some(job), at)?;
                tally.seen += 1;
                tally.created += 1;
                true
            }
            (None, None) => false,
        };
        let is_of_directory = matches!(one.kind, Kind::Community | Kind::Attribution | Kind::Agent);
        directory_changed |= is_news && is_of_directory;
    }
    if directory_changed {
        directory::branch_changed(tx, lane)?;
    }
    Ok(tally)
}

/// Ends a run, unless it has ended; with `next_at`, the next one is due then, unless it is due before.
pub(crate) fn end(
    tx: &mut Transaction<'_>,
    job_id: JobId,
    status: WriteStatus,
    done: &Tally,
    now: Timestamp,
    next_at: Option<Timestamp>,
) -> Result<(), Error> {
    let lane: Option<i64> = tx.find(
        "UPDATE jobs SET status = ?2, ended_at = ?3, body = ?4 WHERE job_id = ?1 AND ended_at IS NULL RETURNING lane",
        values![
            job_id.to_string(),
            status.word(),
            now.as_micros(),
            tally(done)?
        ],
        |row| row.get(0),
    )?;
    // Its lease lapsed, and it was ended for that.
    let Some(lane) = lane else { return Ok(()) };
    if let Some(next_at) = next_at {
        tx.send(
            "UPDATE syncs SET due_at = CASE WHEN due_at < ?2 THEN due_at ELSE ?2 END WHERE lane = ?1",
            values![lane, next_at.as_micros()],
        )?;
    }
    announce(tx, (lane, job_id), status, done, now)
}

/// Puts the end of a run into the outbox.
fn announce(
    tx: &mut Transaction<'_>,
    (lane, job_id): (i64, JobId),
    status: WriteStatus,
    done: &Tally,
    now: Timestamp,
) -> Result<(), Error> {
    let integration_id: String = tx.one(
        "SELECT id FROM integrations WHERE n = ?1",
        values![lane],
        |row| row.get(0),
    )?;
    let trigger = if status == WriteStatus::Failure {
        Trigger::JobFailure
    } else {
        let is_first = tx.execute(
            "UPDATE syncs SET was_complete = TRUE WHERE lane = ?1 AND NOT was_complete",
            values![lane],
        )? > 0;
        if is_first {
            Trigger::FirstSyncComplete
        } else {
            Trigger::SyncComplete
        }
    };
    let job_id = job_id.to_string();
    let ended_well = (status == WriteStatus::Success).then_some(Trigger::JobSuccess);
    for trigger in [trigger].into_iter().chain(ended_well) {
        let happened = Happened {
            trigger,
            kind: None,
            lane,
            integration_id: &integration_id,
            subject: &job_id,
            job: Some((&job_id, JOB_TYPE)),
            stored: Some(stored_run(status, &done.errors, &done.models)),
        };
        let at = tx.next_stamp(now)?;
        events::record(tx, &happened, at)?;
    }
    Ok(())
}

/// Ends runs whose process is gone, and makes their integrations due.
pub(crate) fn lapse(tx: &mut Transaction<'_>, which: Lapse, now: Timestamp) -> Result<u64, Error> {
    let until = which.until_micros(now);
    let open: Vec<(i64, String, String)> = tx.all(
        "SELECT lane, body, job_id FROM jobs INDEXED BY jobs_open WHERE ended_at IS NULL AND lease_until <= ?1",
        values![until],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let ended_at = tx.time.wall(now);
    for (lane, body, job_id) in &open {
        tx.raised.sync = true;
        let mut done: Tally = serde_json::from_str(body).map_err(corrupt("a job"))?;
        done.errors
            .push("Portico stopped before the run had ended".to_owned());
        tx.send(
            "UPDATE jobs SET status = ?2, ended_at = ?3, body = ?4 WHERE job_id = ?1",
            values![
                job_id,
                WriteStatus::Failure.word(),
                ended_at.as_micros(),
                tally(&done)?
            ],
        )?;
        set_due(tx, *lane, now)?;
        if let Ok(job_id) = job_id.parse() {
            let run = (*lane, job_id);
            announce(tx, run, WriteStatus::Failure, &done, ended_at)?;
        }
    }
    Ok(open.len() as u64)
}

impl Store {
    /// Ends what a process that is gone held, so that nothing waits for its leases to lapse. Where
    /// other processes may hold leases, theirs stay until they lapse.
    ///
    /// # Errors
    /// As those of the lapses.
    pub async fn take_over(&self, now: Timestamp) -> Result<(), Error> {
        if self.is_shared() {
            return Ok(());
        }
        while self.leases_lapse(Lapse::All, now).await? > 0 {}
        while self.deliveries_lapse(Lapse::All, now).await? > 0 {}
        self.syncs_lapse(Lapse::All, now).await.map(drop)
    }

    /// Makes an integration due to be synchronised now; `false` when there is none that the caller may know of.
    pub async fn sync_request(
        &self,
        by: &Actor,
        id: IntegrationId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        if !by.scope.sees(id) {
            return Ok(false);
        }
        let by = self.author(by).await?;
        self.engine
            .write(move |tx| {
                let is_due = request(tx, id, now)?;
                if is_due {
                    let deed = ("integration_sync", id.to_string());
                    directory::note(tx, &by, id, (deed.0, &deed.1), now)?;
                }
                Ok(is_due)
            })
            .await
    }

    /// Every active integration of which no run is under way, and when it is to be synchronised, the earliest first.
    pub async fn syncs_due(&self) -> Result<Vec<(IntegrationId, Timestamp)>, Error> {
        self.engine.read(Reading::OWN, due).await
    }

    /// Begins a run of synchronisation that is due, under a lease; the next is due at `next_at`, unless one is asked for before. `false` when one is under way or
    /// none is due any more: another process was first.
    pub async fn sync_begin(
        &self,
        id: IntegrationId,
        job_id: JobId,
        now: Timestamp,
        lease_until: Timestamp,
        next_at: Timestamp,
    ) -> Result<bool, Error> {
        self.engine
            .write(move |tx| begin(tx, id, job_id, (now, lease_until), next_at))
            .await
    }

    /// Prolongs the leases of runs that are under way. Returns those that are not any more: they are to be broken off.
    pub async fn syncs_renew(
        &self,
        job_ids: Vec<JobId>,
        until: Timestamp,
    ) -> Result<Vec<JobId>, Error> {
        self.engine
            .write(move |tx| renew(tx, &job_ids, until))
            .await
    }

    /// The prospects of an integration to look at again: so many with the newest activity, and so many that were not seen for longest.
    pub async fn sync_candidates(
        &self,
        id: IntegrationId,
        newest: u64,
        stalest: u64,
    ) -> Result<Vec<Candidate>, Error> {
        self.engine
            .read(Reading::BACKGROUND, move |db| {
                candidates(db, id, newest, stalest)
            })
            .await
    }

    /// Stores what a run has seen, with the diffs of it, and says what was new.
    pub async fn sync_record(
        &self,
        id: IntegrationId,
        job_id: JobId,
        seen: Vec<Seen>,
        now: Timestamp,
    ) -> Result<Tally, Error> {
        self.engine
            .write(move |tx| record(tx, id, job_id, &seen, now))
            .await
    }

    /// Ends a run; with `next_at`, the next is due then, unless it is due before. One whose lease has lapsed stays as that left it.
    pub async fn sync_end(
        &self,
        job_id: JobId,
        status: WriteStatus,
        tally: Tally,
        now: Timestamp,
        next_at: Option<Timestamp>,
    ) -> Result<(), Error> {
        self.engine
            .write(move |tx| end(tx, job_id, status, &tally, now, next_at))
            .await
    }

    /// Ends leases of runs: they have failed, and their integrations are due. Returns how many.
    pub async fn syncs_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error> {
        self.engine.write(move |tx| lapse(tx, which, now)).await
    }
}
