//! `portico-bench workers`: what a second worker adds.
//!
//! Guarantee: every row drains a backlog of its own; each accepted write is looked for at the
//! sandbox, which counts what it is told again. No limit of an integration is what holds the
//! workers back, but how many calls each may have under way.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::{
    LOOK_EVERY,
    account::{Account, Known},
    api::Api,
    load::{Bodies, Much, Target},
    place::{self, Named},
    process::{Part, Portico, Process, arrived, counted},
    report::{Delivered, WorkersRow},
    sent,
    site::Site,
};

/// Connections that fill the backlog.
const CONNECTIONS: usize = 64;

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
    /// Calls that each worker has under way at most: a worker's bound, so that it is the vendor
    /// that is waited for rather than this machine.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=512), value_name = "N")]
    calls_max: u16,
    /// Milliseconds that the vendor takes to answer.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    latency_ms: u64,
    /// Writes that wait when the workers begin.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    writes: u64,
    /// Integrations that the writes are spread over. Each may have 100 calls under way, over all
    /// workers.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1_000), value_name = "N")]
    integrations: u16,
    /// Seconds to wait at most until everything is delivered.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    drain_seconds: u64,
    /// `postgres`, a PostgreSQL server of its own, which ends with the command; or the URL of an
    /// empty database, where what is stored stays. With a password in it, put it into
    /// PORTICO_BENCH_STORE.
    #[arg(
        long,
        env = "PORTICO_BENCH_STORE",
        default_value = "postgres",
        value_name = "postgres|URL",
        value_parser = place::named,
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
    pub(super) async fn measure(&self, portico: &Portico) -> anyhow::Result<Vec<WorkersRow>> {
        let sandbox = portico.sandbox(self.latency_ms).await?;
        let within = self.within.as_deref();
        let site = Site::database(portico, &sandbox, &self.store, 0, within).await?;
        let door = portico.serve(&site.place, &sandbox, Part::Requests).await?;
        let targets = self.register(&site, &door, &sandbox).await?;
        let bodies = Bodies::read(None)?;
        let mut rows: Vec<WorkersRow> = Vec::new();
        for workers in &self.workers {
            let filled = bodies.for_targets(&targets);
            let much = Much::Requests(self.writes);
            let first = arrived(&sandbox).await?;
            let tally = sent(&door, &site.token, filled, CONNECTIONS, much).await?;

            let mut started = Vec::new();
            for _ in 0..*workers {
                let part = Part::Deliveries {
                    calls_max: self.calls_max,
                };
                started.push(portico.serve(&site.place, &sandbox, part).await?);
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

    /// Registers integrations that all lead to the first community of the sandbox.
    async fn register(
        &self,
        site: &Site,
        door: &Process,
        sandbox: &Process,
    ) -> anyhow::Result<Vec<Target>> {
        let mut api = Api::of(door, &site.token).await?;
        let known = Known::of(sandbox).await?.least();
        let mut targets = Vec::new();
        for number in 1..=self.integrations {
            let name = format!("Bench {number}");
            let account = Account::register(&mut api, sandbox, &name, &known).await?;
            targets.push(account.target()?);
        }
        Ok(targets)
    }

    /// Waits until everything has arrived, but not for ever. The sandbox held `first` when nothing
    /// of it had been delivered.
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
