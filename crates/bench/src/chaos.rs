//! `portico-bench webhooks chaos`: nothing is lost while everybody fails.
//!
//! Guarantee: the log of events is read from the server, and every event in it is looked for at
//! every receiver, with the body that the log has; every accepted write is looked for in the log.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, StatusCode};
use model::EventId;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    api::Api,
    connection::Connection,
    load::{Bodies, Filled},
    process::{Part, Portico, Process, counted},
    receivers::{Manner, Receiver, fingerprint},
    report::{Chaos, ChaosRow, ReceiverRow},
    site::Site,
    vendor::PROSPECTS,
    webhooks::{job_id, subscribed},
};

/// What the receivers are told of.
const TRIGGERS: [&str; 3] = [
    "DATA_NEW",
    "WRITE_OPERATION_FAILURE",
    "WRITE_OPERATION_SUCCESS",
];

/// Of so many events, a write brings two: how it ended, and the prospect that is new.
const EVENTS_A_WRITE: u64 = 2;

/// The share of the writes that the sandbox refuses, so that there are failures to tell of.
const REFUSED: f64 = 0.02;

/// Connections that send at once.
const CONNECTIONS: usize = 64;

/// How often a write is sent at most until it is accepted. A kill or a full queue costs each a few.
const SENT_MAX: u32 = 1_000;

/// How long a sender waits after a request that was not accepted.
const SEND_PAUSE: Duration = Duration::from_millis(20);

/// How often it is looked how far things are.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often the server is asked what is pending: it counts it.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Events on a page of the log: the most there may be.
const PAGE: usize = 250;

/// How much, how often, how long.
#[derive(clap::Args)]
pub(crate) struct Plan {
    /// Writes to have accepted.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    writes: u64,
    /// How often the server is killed, spread over the whole.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    kills: u64,
    /// Seconds to wait at most, once all is accepted, until everything has been told.
    #[arg(long, default_value_t = 1_800, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    drain_seconds: u64,
    /// Where the temporary data directory is made.
    #[arg(long, value_name = "DIR")]
    within: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A page of the log of events.
#[derive(Deserialize)]
struct Page {
    meta: Value,
    results: Vec<Row>,
}

/// An event of the log. Its body stays as it was sent: receivers get the same bytes.
#[derive(Deserialize)]
struct Row {
    id: EventId,
    trigger: String,
    model: Option<String>,
    subject_id: String,
    body: Box<RawValue>,
}

/// The log of events, as far as it was read.
#[derive(Default)]
struct Log {
    cursor: Option<String>,
    /// Each event that the receivers are told of, with the hash of its body.
    events: HashMap<EventId, u64>,
    /// The writes that it tells the end of.
    ended: HashSet<String>,
    failures: u64,
    trouble: Option<String>,
}

impl Log {
    /// Reads what came since.
    async fn follow(&mut self, api: &mut Api) -> anyhow::Result<()> {
        loop {
            let cursor = self.cursor.as_ref();
            let behind = cursor.map(|cursor| format!("&cursor={cursor}"));
            let path = format!(
                "/v1/admin/events?order-by=created_at:asc&limit={PAGE}{}",
                behind.unwrap_or_default()
            );
            let page: Page = api.read(Method::GET, &path, None).await?;
            let rows = page.results.len();
            for row in page.results {
                self.note(row);
            }
            if let Some(next) = page.meta["nextCursor"].as_str() {
                self.cursor = Some(next.to_owned());
            }
            if rows < PAGE {
                return Ok(());
            }
        }
    }

    fn note(&mut self, row: Row) {
        let trigger = row.trigger.as_str();
        if !TRIGGERS.contains(&trigger) || row.model.as_deref() != Some("crm_prospects") {
            return;
        }
        let id = row.id;
        let hash = fingerprint(row.body.get().as_bytes());
        if self.events.insert(id, hash).is_some() {
            self.trouble
                .get_or_insert_with(|| format!("{id} stands in the log twice"));
        }
        if trigger != "DATA_NEW" {
            self.failures += u64::from(trigger == "WRITE_OPERATION_FAILURE");
            let is_new = self.ended.insert(row.subject_id);
            if !is_new {
                self.trouble
                    .get_or_insert_with(|| format!("{id} tells the end of a write once more"));
            }
        }
    }
}

/// What the senders share.
struct Load {
    address: SocketAddr,
    bearer: String,
    filled: Filled,
    writes: u64,
    next: AtomicU64,
    accepted: AtomicU64,
    /// Whether there is a server.
    is_up: watch::Receiver<bool>,
}

impl Load {
    /// Has writes accepted until there are enough, and returns the ids of its own.
    async fn drive(self: Arc<Self>) -> anyhow::Result<Vec<String>> {
        let (mut ids, mut connection) = (Vec::new(), None);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.writes {
                return Ok(ids);
            }
            ids.push(self.accept(number, &mut connection).await?);
            self.accepted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends a write under its key until it is accepted, as a careful client does.
    async fn accept(
        &self,
        number: u64,
        connection: &mut Option<Connection>,
    ) -> anyhow::Result<String> {
        let body = self.filled.next();
        let mut is_up = self.is_up.clone();
        for _ in 0..SENT_MAX {
            // Nobody connects while nobody listens: a port that nobody has may be given to whoever
            // connects to it.
            is_up.wait_for(|is_up| *is_up).await?;
            let opened = match connection.take() {
                Some(open) => Ok(open),
                None => Connection::open(&self.address.to_string()).await,
            };
            if let Ok(mut open) = opened {
                let request = open
                    .request(Method::POST, &PROSPECTS)
                    .header("authorization", &self.bearer)
                    .header("content-type", "application/json")
                    .header("idempotency-key", format!("bench-{number}"))
                    .body(Full::from(body.clone()))?;
                match open.send(request).await {
                    Ok((StatusCode::OK, answer)) => {
                        *connection = Some(open);
                        return job_id(&answer);
                    }
                    Ok((StatusCode::SERVICE_UNAVAILABLE, _)) => *connection = Some(open),
                    Ok((status, answer)) => {
                        let said: String =
                            String::from_utf8_lossy(&answer).chars().take(300).collect();
                        bail!("a write was answered {status}: {said}");
                    }
                    // Whether it was accepted is not known; its key tells.
                    Err(_) => {}
                }
            }
            tokio::time::sleep(SEND_PAUSE).await;
        }
        bail!("a write was not accepted in {SENT_MAX} tries")
    }
}

/// Has the sandbox refuse some of what it is sent.
async fn refuse_some(sandbox: &Process) -> anyhow::Result<()> {
    let fault = json!({
        "match": { "method": "POST", "path": "/prospect*" },
        "kind": "status", "status": 400, "probability": REFUSED,
    });
    let mut connection = Connection::open(&sandbox.address().to_string()).await?;
    let request = connection
        .request(Method::POST, "/_sandbox/faults")
        .header("content-type", "application/json")
        .body(Full::from(Bytes::from(fault.to_string())))?;
    let (status, _) = connection.send(request).await?;
    if status != StatusCode::OK {
        bail!("the sandbox answered {status} when it was to refuse writes");
    }
    Ok(())
}

impl Plan {
    /// Runs it.
    ///
    /// # Errors
    /// When a write is not accepted, or the server does not come back.
    pub(super) async fn measure(&self, portico: &Portico) -> anyhow::Result<Chaos> {
        let sandbox = portico.sandbox(0).await?;
        refuse_some(&sandbox).await?;
        let mut receivers = Vec::new();
        for manner in Manner::ALL {
            receivers.push(Receiver::start(manner, None).await?);
        }
        let site = Site::directory(portico, &sandbox, self.within.as_deref()).await?;
        let (server, ids) = subscribed(portico, &site, &sandbox, &receivers, &TRIGGERS).await?;
        let address = server.address();
        let (up, is_up) = watch::channel(true);
        let load = Arc::new(Load {
            address,
            bearer: format!("Bearer {}", site.token),
            filled: Bodies::read(None)?.for_targets(&[site.account.target()?]),
            writes: self.writes,
            next: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            is_up,
        });
        let begun = Instant::now();
        let mut senders = JoinSet::new();
        for _ in 0..CONNECTIONS {
            senders.spawn(load.clone().drive());
        }

        let mut run = Run {
            plan: self,
            portico,
            site: &site,
            sandbox: &sandbox,
            receivers: &receivers,
            server: Some(server),
            kills: 0,
            rss_mb: 0.0,
            log: Log::default(),
        };
        let mut accepted: Vec<String> = Vec::new();
        let mut loaded_at = None;
        loop {
            while let Some(ended) = senders.try_join_next() {
                accepted.extend(ended??);
            }
            if senders.is_empty() && loaded_at.is_none() {
                loaded_at = Some(Instant::now());
            }
            if run.is_to_be_killed(load.accepted.load(Ordering::Relaxed)) {
                up.send_replace(false);
                run.kill_and_start().await?;
                up.send_replace(true);
                continue;
            }
            let Some(loaded_at) = loaded_at else {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            let is_over = loaded_at.elapsed() > Duration::from_secs(self.drain_seconds);
            if is_over || (run.kills == self.kills && run.is_told().await?) {
                break;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        let took = begun.elapsed();
        let loaded = loaded_at.map_or(took, |at| at - begun);
        run.report(&accepted, &ids, took, loaded).await
    }
}

/// The server under way, and what is known of it.
struct Run<'a> {
    plan: &'a Plan,
    portico: &'a Portico,
    site: &'a Site,
    sandbox: &'a Process,
    receivers: &'a [Receiver],
    /// Taken out while it is killed and started again.
    server: Option<Process>,
    kills: u64,
    rss_mb: f64,
    log: Log,
}

impl Run<'_> {
    /// Whether the next kill's turn has come. Half of the way is what is accepted, the other half
    /// what is taken, so that some meet the load and some what follows it.
    fn is_to_be_killed(&self, accepted: u64) -> bool {
        if self.kills == self.plan.kills {
            return false;
        }
        let taken: u64 = self.receivers.iter().map(|one| one.counts().taken).sum();
        let all = self.plan.writes * EVENTS_A_WRITE * self.receivers.len() as u64;
        let done = accepted as f64 / self.plan.writes as f64 + taken as f64 / all as f64;
        done / 2.0 >= (self.kills + 1) as f64 / (self.plan.kills + 1) as f64
    }

    /// Kills the server, and starts it on its data and its address.
    async fn kill_and_start(&mut self) -> anyhow::Result<()> {
        let server = self.server.take().context("There is no server")?;
        let address = server.address();
        self.rss_mb = self.rss_mb.max(server.peak_rss_mb()?);
        server.kill().await?;
        self.kills += 1;
        let (place, part) = (&self.site.place, Part::Everything);
        let started = self.portico.serve_at(address, place, self.sandbox, part);
        self.server = Some(started.await?);
        Ok(())
    }

    fn server(&self) -> anyhow::Result<&Process> {
        self.server.as_ref().context("there is no server")
    }

    /// Whether nothing is left: no write open, no delivery pending, and nothing in the log that a
    /// receiver has not taken.
    async fn is_told(&mut self) -> anyhow::Result<bool> {
        let now = counted(self.server()?).await?;
        if now.open > 0.0 || now.pending > 0.0 {
            return Ok(false);
        }
        let mut api = Api::of(self.server()?, &self.site.token).await?;
        self.log.follow(&mut api).await?;
        let events = &self.log.events;
        Ok(self
            .receivers
            .iter()
            .all(|receiver| receiver.missing(events) == 0))
    }

    async fn report(
        mut self,
        accepted: &[String],
        webhooks: &[String],
        took: Duration,
        loaded: Duration,
    ) -> anyhow::Result<Chaos> {
        let mut api = Api::of(self.server()?, &self.site.token).await?;
        self.log.follow(&mut api).await?;
        let mut trouble = self.log.trouble.take();
        let mut pending = 0;
        for id in webhooks {
            for status in ["PENDING", "FAILED"] {
                let path = format!("/v1/webhooks/{id}/deliveries?status={status}&limit={PAGE}");
                let page = api.call(Method::GET, &path, None).await?;
                let rows = page["results"].as_array();
                pending += rows.context("a page without rows")?.len() as u64;
            }
        }
        let log = &self.log;
        let untold = accepted.iter().filter(|id| !log.ended.contains(*id));
        let untold = untold.count() as u64;
        let mut rows = Vec::new();
        for receiver in self.receivers {
            let word = receiver.manner().word();
            let of = |what: String| format!("the receiver \"{word}\": {what}");
            trouble = trouble.or_else(|| receiver.trouble().map(of));
            let counts = receiver.counts();
            rows.push(ReceiverRow {
                receiver: word,
                taken: counts.taken,
                missing: receiver.missing(&log.events),
                unknown: receiver.unknown(&log.events),
                attempts: counts.attempts,
                failed_on_purpose: counts.failed,
                duplicates: counts.duplicates,
            });
        }
        let sum = |of: fn(&ReceiverRow) -> u64| rows.iter().map(of).sum::<u64>();
        let (deliveries, attempts) = (sum(|row| row.taken), sum(|row| row.attempts));
        let seconds = took.as_secs_f64();
        let whole = ChaosRow {
            writes: accepted.len() as u64,
            writes_failed: log.failures,
            untold,
            events: log.events.len() as u64,
            deliveries,
            attempts,
            duplicates: sum(|row| row.duplicates),
            attempts_to_deliveries: attempts as f64 / (deliveries as f64).max(1.0),
            missing: sum(|row| row.missing),
            unknown: sum(|row| row.unknown),
            pending,
            kills: self.kills,
            accepted_s: loaded.as_secs_f64(),
            seconds,
            deliveries_per_s: deliveries as f64 / seconds.max(f64::EPSILON),
            rss_mb: self.rss_mb.max(self.server()?.peak_rss_mb()?),
        };
        if whole.events == 0 {
            return Err(anyhow!("nothing was told at all"));
        }
        Ok(Chaos {
            whole,
            receivers: rows,
            trouble,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_log_is_held_against_itself() {
        let row = |id: &str, trigger: &str, subject: &str| {
            json!({
                "id": id, "trigger": trigger, "model": "crm_prospects", "subject_id": subject,
                "body": { "trigger": trigger },
            })
        };
        let (first, second) = (
            "evt_00000000000000000000000001",
            "evt_00000000000000000000000002",
        );
        let read = |rows: &[Value]| {
            let mut log = Log::default();
            for row in rows {
                let row = serde_json::from_str(&row.to_string()).expect("a row");
                log.note(row);
            }
            log
        };
        let log = read(&[
            row(first, "WRITE_OPERATION_SUCCESS", "job_1"),
            row(second, "WRITE_OPERATION_FAILURE", "job_2"),
        ]);
        assert_eq!((log.events.len(), log.ended.len(), log.failures), (2, 2, 1));
        assert!(log.trouble.is_none());
        let twice = row(first, "WRITE_OPERATION_SUCCESS", "job_1");
        assert!(read(&[twice.clone(), twice]).trouble.is_some());
        let log = read(&[
            row(first, "WRITE_OPERATION_SUCCESS", "job_1"),
            row(second, "WRITE_OPERATION_FAILURE", "job_1"),
        ]);
        assert!(log.trouble.is_some());
        let mut other = row(first, "DATA_NEW", "att_1");
        other["model"] = json!("crm_attributions");
        assert!(read(&[other]).events.is_empty());
    }
}
