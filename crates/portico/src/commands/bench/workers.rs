//! `portico bench workers`: what a second worker adds.
//!
//! Guarantee: every row drains a backlog of its own; each accepted write is looked for at the sandbox, which counts what it is told again. No limit of an integration is what
//! holds the workers back, but how many calls each may have under way.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use hyper::Method;
use serde_json::{Value, json};

use super::{
    LOOK_EVERY,
    database::{self, Database, Named},
    load::{Bodies, Much, Target},
    process::{Mode, Process, arrived, counted},
    report::{Delivered, WorkersRow},
    sent,
    webhooks::Api,
};

/// Connections that fill the backlog.
const CONNECTIONS: usize = 64;

/// Calls that each integration may have under way: the most there may be.
const INTEGRATION_CALLS: u32 = 100;

/// How many workers, and what they work on.
#[derive(clap::Args)]
pub(crate) struct Plan {
    /// Workers that deliver at once, a process each; a row each.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,2",
        value_parser = clap::value_parser!(u16).range(1..=16),
        value_name = "N"
    )]
    workers: Vec<u16>,
    /// Calls that each worker has under way at most: a worker's bound, so that it is the vendor that is waited for rather than this machine.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=512), value_name = "N")]
    calls_max: u16,
    /// Milliseconds that the vendor takes to answer.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    latency_ms: u64,
    /// Writes that wait when the workers begin.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    writes: u64,
    /// Integrations that the writes are spread over. Each may have 100 calls under way, over all workers.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1_000), value_name = "N")]
    integrations: u16,
    /// Seconds to wait at most until everything is delivered.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    drain_seconds: u64,
    /// `postgres`, a PostgreSQL server of its own, which ends with the command; or the URL of an empty database, where what is stored stays. With a password in it, put it into
    /// PORTICO_BENCH_STORE.
    #[arg(
        long,
        env = "PORTICO_BENCH_STORE",
        default_value = "postgres",
        value_name = "postgres|URL",
        value_parser = database::named,
        hide_env_values = true
    )]
    store: Named,
    /// Where the temporary data directories are made: the disk that is measured.
    #[arg(long, value_name = "DIR")]
    within: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Plan {
    /// Runs it.
    ///
    /// # Errors
    /// When a process cannot be started or does not answer.
    pub(super) async fn measure(&self) -> anyhow::Result<Vec<WorkersRow>> {
        let sandbox = Process::slow_sandbox(self.latency_ms).await?;
        let database = Database::open(&self.store, 0, self.within.as_deref()).await?;
        let door = Process::server(database.kept(), &sandbox, Mode::Stores).await?;
        let targets = self.register(&door, &sandbox).await?;
        let bodies = Bodies::read(None)?;
        let mut rows: Vec<WorkersRow> = Vec::new();
        for workers in &self.workers {
            let filled = bodies.for_targets(&targets);
            let much = Much::Requests(self.writes);
            let first = arrived(&sandbox).await?;
            let tally = sent(&door, filled, CONNECTIONS, much).await?;

            let mut started = Vec::new();
            for _ in 0..*workers {
                started.push(Process::worker(database.kept(), &sandbox, self.calls_max).await?);
            }
            let delivery = self
                .drain(&started, &sandbox, first.prospects, tally.accepted)
                .await?;
            let again = arrived(&sandbox).await?.again - first.again;
            let mut rss_mb: f64 = 0.0;
            for worker in started {
                rss_mb = rss_mb.max(worker.peak_rss_mb()?);
                worker.kill().await?;
            }
            let per_s = delivery.delivered_per_s;
            let calls = f64::from(*workers) * f64::from(self.calls_max);
            let most_per_s = calls * 1_000.0 / self.latency_ms as f64;
            rows.push(WorkersRow {
                workers: *workers,
                calls_max: self.calls_max,
                latency_ms: self.latency_ms,
                integrations: self.integrations,
                delivered_per_s: per_s,
                of_most: per_s / most_per_s,
                to_first: rows
                    .first()
                    .map_or(1.0, |first| per_s / first.delivered_per_s.max(f64::EPSILON)),
                again,
                broken: tally.broken,
                delivery,
                rss_mb,
            });
        }
        door.kill().await?;
        sandbox.kill().await?;
        Ok(rows)
    }

    /// Registers integrations that all lead to the first community of the sandbox, without a limit of calls in a time.
    async fn register(&self, door: &Process, sandbox: &Process) -> anyhow::Result<Vec<Target>> {
        let mut api = Api::of(door).await?;
        let state: Value = serde_json::from_str(&sandbox.get("/_sandbox/state").await?)?;
        let (community, source) = (
            &state["communities"][0],
            &state["sources"][0]["sourceTitle"],
        );
        let mut targets = Vec::new();
        for number in 1..=self.integrations {
            let mut make = async |path: &str, body: Value| {
                let path = format!("/v1/admin/integrations/{path}");
                let made = api.call(Method::POST, &path, Some(&body)).await?;
                let id = &made["result"]["id"];
                let word = id.as_str().map(str::to_owned);
                word.with_context(|| format!("{path} answered without an id"))
            };
            let integration = json!({
                "integration_vendor": "KNOCK", "name": format!("Bench {number}"), "system": "SANDBOX",
                "credentials": { "apiKey": "syndication-prospect-TEST-KEY" },
                "base_url": sandbox.word("sandbox_url")?, "max_job_concurrency": INTEGRATION_CALLS, "active": true,
            });
            let integration_id = make("", integration).await?;
            let body = json!({ "x_id": community["id"], "name": community["name"], "timezone": community["timezone"] });
            let community_id = make(&format!("{integration_id}/communities/"), body).await?;
            let body = json!({ "x_id": source, "name": source, "community_ids": [community_id] });
            let attribution_id = make(&format!("{integration_id}/attributions/"), body).await?;
            targets.push(Target {
                integration_id: integration_id.into(),
                community_id: community_id.into(),
                attribution_id: attribution_id.into(),
            });
        }
        Ok(targets)
    }

    /// Waits until everything has arrived, but not for ever. The sandbox held `first` when nothing of it had been delivered.
    async fn drain(
        &self,
        workers: &[Process],
        sandbox: &Process,
        first: u64,
        accepted: u64,
    ) -> anyhow::Result<Delivered> {
        // What the first of several delivered while the last was starting is not counted as theirs.
        let (begun, before) = (Instant::now(), arrived(sandbox).await?.prospects);
        let until = begun + Duration::from_secs(self.drain_seconds);
        let mut last = before;
        while last < first + accepted && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
            last = arrived(sandbox).await?.prospects;
        }
        let drained_s = begun.elapsed().as_secs_f64();
        let worker = workers.first().context("nobody delivers")?;
        let mut open = counted(worker).await?.open;
        while open > 0.0 && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
            open = counted(worker).await?.open;
        }
        Ok(Delivered {
            accepted,
            arrived: arrived(sandbox).await?.prospects.saturating_sub(first),
            open: open as u64,
            drained_s,
            delivered_per_s: last.saturating_sub(before) as f64 / drained_s.max(f64::EPSILON),
        })
    }
}
