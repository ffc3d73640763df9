//! `portico bench`: measures the server on this machine, over loopback.
//!
//! Guarantee: what it starts ends with it, what it writes is in temporary directories, every accepted write is looked for at the
//! other end, every list is read to its end, and every event is looked for at every receiver. What is missing, or a row that is there twice, fails the command;
//! slowness does not.

mod chaos;
mod fill;
mod latency;
mod load;
mod people;
mod process;
mod reads;
mod receivers;
mod report;
mod webhooks;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Subcommand;
use tempfile::TempDir;

use self::{
    load::{Bodies, Tally},
    process::{Mode, Process, arrived, counted},
    report::{AcceptRow, DeliverRow, Delivered, Measured, Row},
};
use crate::{output, server};

/// How often a backlog is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Measures the server on this machine, over loopback. The load shares the machine with what is measured.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Accepted writes a second, beside the same with a store that keeps nothing. Delivery follows, after a kill and a restart.
    Accept {
        /// Connections that send at once; a row each.
        #[arg(
            long,
            value_delimiter = ',',
            default_value = "8,64,256",
            value_parser = connections,
            value_name = "N"
        )]
        connections: Vec<usize>,
        #[command(flatten)]
        plan: Plan,
    },
    /// Deliveries a second while writes are accepted at full speed, and how long the rest takes.
    Deliver {
        /// Connections that send at once; a row each.
        #[arg(
            long,
            value_delimiter = ',',
            default_value = "64",
            value_parser = connections,
            value_name = "N"
        )]
        connections: Vec<usize>,
        #[command(flatten)]
        plan: Plan,
    },
    /// How long lists and records take to read with many prospects stored, beside the same with few.
    Reads(reads::Plan),
    /// Events told to receivers: whether all arrive while everybody fails, and how soon they do.
    Webhooks(webhooks::Arguments),
}

#[derive(clap::Args)]
struct Plan {
    /// Seconds that each load lasts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Seconds to wait at most until everything is delivered.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    drain_seconds: u64,
    /// NDJSON: bodies to send in turn. Ids and contacts are put in their place.
    #[arg(long, value_name = "FILE")]
    bodies: Option<PathBuf>,
    /// Where the temporary data directories are made: the disk that is measured.
    #[arg(long, value_name = "DIR")]
    within: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// The most connections: each takes a file descriptor here and one in the server.
const CONNECTIONS_MAX: usize = 400;

fn connections(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=CONNECTIONS_MAX).contains(count))
        .ok_or_else(|| format!("a number from 1 to {CONNECTIONS_MAX}"))
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    tokio::select! {
        ended = measure(arguments) => ended,
        // The processes end with the future that holds them.
        () = server::told_to_stop() => bail!("stopped before the end"),
    }
}

async fn measure(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Accept { connections, plan } => {
            let bodies = plan.bodies()?;
            let mut rows = Vec::new();
            for count in connections {
                rows.push(plan.accept(&bodies, count).await?);
            }
            show(&rows, plan.json)?;
            complete(rows.iter().map(|row| (&row.delivery, row.durable.broken)))
        }
        Command::Deliver { connections, plan } => {
            let bodies = plan.bodies()?;
            let mut rows = Vec::new();
            for count in connections {
                rows.push(plan.deliver(&bodies, count).await?);
            }
            show(&rows, plan.json)?;
            complete(rows.iter().map(|row| (&row.delivery, row.accepting.broken)))
        }
        Command::Reads(plan) => {
            let shown = plan.measure().await?;
            output::data(&if plan.json {
                serde_json::to_string(&shown)?
            } else {
                format!(
                    "{}\n\n{}",
                    report::table(&shown.stores),
                    report::table(&shown.reads)
                )
            });
            Ok(())
        }
        Command::Webhooks(arguments) => arguments.measure().await,
    }
}

fn show<R: Row>(rows: &[R], json: bool) -> anyhow::Result<()> {
    let shown = if json {
        serde_json::to_string(rows)?
    } else {
        report::table(rows)
    };
    output::data(&shown);
    Ok(())
}

fn complete<'a>(mut rows: impl Iterator<Item = (&'a Delivered, u64)>) -> anyhow::Result<()> {
    match rows.find(|(delivery, broken)| !delivery.is_whole(*broken)) {
        None => Ok(()),
        Some((delivery, _)) => bail!(
            "of {} accepted writes {} arrived; {} had not ended",
            delivery.accepted,
            delivery.arrived,
            delivery.open
        ),
    }
}

/// A temporary data directory, in `within` if that is given.
fn directory(within: Option<&Path>) -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("portico-bench-");
    match within {
        Some(within) => builder.tempdir_in(within),
        None => builder.tempdir(),
    }
    .context("a temporary directory cannot be made")
}

impl Plan {
    fn bodies(&self) -> anyhow::Result<Bodies> {
        let text = self
            .bodies
            .as_ref()
            .map(|path| {
                std::fs::read_to_string(path)
                    .with_context(|| format!("the bodies {} cannot be read", path.display()))
            })
            .transpose()?;
        Bodies::read(text.as_deref())
    }

    async fn load(
        &self,
        server: &Process,
        bodies: &Bodies,
        connections: usize,
    ) -> anyhow::Result<Tally> {
        let lasts = Duration::from_secs(self.seconds);
        let tally = load::run(
            server.address()?,
            server.ready(),
            bodies,
            connections,
            lasts,
        )
        .await?;
        if let Some(trouble) = &tally.first_trouble {
            output::note(&format!(
                "The first request that was not accepted: {trouble}"
            ));
        }
        Ok(tally)
    }

    async fn accept(&self, bodies: &Bodies, connections: usize) -> anyhow::Result<AcceptRow> {
        let sandbox = Process::sandbox().await?;

        let kept = directory(self.within.as_deref())?;
        let server = Process::server(kept.path(), &sandbox, Mode::Discards).await?;
        let tally = self.load(&server, bodies, connections).await?;
        let ceiling = Measured::new(&tally, server.peak_rss_mb()?);
        server.kill().await?;
        drop(kept);

        let kept = directory(self.within.as_deref())?;
        let server = Process::server(kept.path(), &sandbox, Mode::Stores).await?;
        let before = counted(&server).await?;
        let tally = self.load(&server, bodies, connections).await?;
        let after = counted(&server).await?;
        let durable = Measured::new(&tally, server.peak_rss_mb()?);
        server.kill().await?;

        let held = arrived(&sandbox).await?;
        let server = Process::server(kept.path(), &sandbox, Mode::Delivers).await?;
        let delivery = self.drain(&server, &sandbox, held, held, &tally).await?;
        server.kill().await?;
        sandbox.kill().await?;
        Ok(AcceptRow {
            connections,
            durable_to_ceiling: durable.share_of(&ceiling),
            accepts_per_sync: after.accepts_per_sync_since(before),
            ceiling,
            durable,
            delivery,
        })
    }

    async fn deliver(&self, bodies: &Bodies, connections: usize) -> anyhow::Result<DeliverRow> {
        let sandbox = Process::sandbox().await?;
        let kept = directory(self.within.as_deref())?;
        let server = Process::server(kept.path(), &sandbox, Mode::Delivers).await?;
        let before = counted(&server).await?;
        let first = arrived(&sandbox).await?;
        let tally = self.load(&server, bodies, connections).await?;
        let during = arrived(&sandbox).await?;
        let after = counted(&server).await?;
        let accepting = Measured::new(&tally, server.peak_rss_mb()?);
        let delivery = self.drain(&server, &sandbox, first, during, &tally).await?;
        let rss_mb = server.peak_rss_mb()?;
        server.kill().await?;
        sandbox.kill().await?;
        let delivered_per_s = (during - first) as f64 / tally.took.as_secs_f64();
        Ok(DeliverRow {
            connections,
            accepts_per_sync: after.accepts_per_sync_since(before),
            delivered_per_s,
            delivered_to_accepted: delivered_per_s / tally.per_s().max(f64::EPSILON),
            accepting,
            delivery,
            rss_mb,
        })
    }

    /// Waits until nothing is left to deliver, but not for ever. The sandbox held `first` before the load and `during` just now.
    async fn drain(
        &self,
        server: &Process,
        sandbox: &Process,
        first: u64,
        during: u64,
        tally: &Tally,
    ) -> anyhow::Result<Delivered> {
        let begun = Instant::now();
        let until = begun + Duration::from_secs(self.drain_seconds);
        let mut open = counted(server).await?.open;
        while open > 0.0 && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
            open = counted(server).await?.open;
        }
        let drained_s = begun.elapsed().as_secs_f64();
        let last = arrived(sandbox).await?;
        Ok(Delivered {
            accepted: tally.accepted,
            arrived: last.saturating_sub(first),
            open: open as u64,
            drained_s,
            delivered_per_s: last.saturating_sub(during) as f64 / drained_s.max(f64::EPSILON),
        })
    }
}
