//! `portico bench`: measures the server on this machine, over loopback.
//!
//! Guarantee: what it starts ends with it, what it writes is in temporary directories, every accepted write is looked for at the
//! other end, every list is read to its end, and every event is looked for at every receiver. What is missing, or a row that is there twice, fails the command;
//! slowness does not.

mod chaos;
mod database;
mod fill;
mod latency;
mod load;
mod people;
mod process;
mod reads;
mod receivers;
mod report;
mod webhooks;
mod workers;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Subcommand;
use tempfile::TempDir;

use self::{
    database::{Database, Named},
    load::{Bodies, Filled, Much, Tally},
    process::{Kept, Mode, Process, arrived, counted},
    report::{AcceptRow, DeliverRow, Delivered, Measured, Row, Single},
};
use crate::{output, signals};

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
        /// Measures PostgreSQL instead of SQLite, beside a store with a pool of as many connections and a transaction for each request. `postgres` is a server of its own,
        /// which ends with the command; or the URL of an empty database, where what is stored stays. With a password in it, put it into PORTICO_BENCH_STORE.
        #[arg(
            long,
            env = "PORTICO_BENCH_STORE",
            value_name = "postgres|URL",
            value_parser = database::named,
            hide_env_values = true
        )]
        store: Option<Named>,
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
    /// Deliveries a second of a backlog, by one worker and by several on one PostgreSQL, while the vendor takes its time.
    Workers(workers::Plan),
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
        () = signals::told_to_stop() => bail!("stopped before the end"),
    }
}

async fn measure(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Accept {
            connections,
            store,
            plan,
        } => {
            let bodies = plan.bodies()?;
            let database = match &store {
                Some(named) => {
                    let pool = connections.iter().copied().max().unwrap_or(0);
                    Some(Database::open(named, pool, plan.within.as_deref()).await?)
                }
                None => None,
            };
            let mut rows = Vec::new();
            for count in connections {
                rows.push(plan.accept(&bodies, count, database.as_ref()).await?);
            }
            show(&rows, plan.json)?;
            complete(rows.iter().map(|row| (&row.delivery, row.broken())))
        }
        Command::Workers(plan) => {
            let rows = plan.measure().await?;
            show(&rows, plan.json)?;
            complete(rows.iter().map(|row| (&row.delivery, row.broken)))?;
            match rows.iter().find(|row| row.again > 0) {
                None => Ok(()),
                Some(row) => bail!("{} writes arrived once more", row.again),
            }
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

/// Sends so much to a server, and says why when something was not accepted.
async fn sent(
    server: &Process,
    filled: Filled,
    connections: usize,
    much: Much,
) -> anyhow::Result<Tally> {
    let tally = load::run(server.address()?, server.ready(), filled, connections, much).await?;
    if let Some(trouble) = &tally.first_trouble {
        output::note(&format!(
            "The first request that was not accepted: {trouble}"
        ));
    }
    Ok(tally)
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
        let much = Much::For(Duration::from_secs(self.seconds));
        let filled = bodies.for_server(server.ready())?;
        sent(server, filled, connections, much).await
    }

    async fn accept(
        &self,
        bodies: &Bodies,
        connections: usize,
        database: Option<&Database>,
    ) -> anyhow::Result<AcceptRow> {
        let sandbox = Process::sandbox().await?;
        let load = async |kept: Kept<'_>, mode| {
            let server = Process::server(kept, &sandbox, mode).await?;
            let before = counted(&server).await?;
            let tally = self.load(&server, bodies, connections).await?;
            let accepts_per_sync = counted(&server).await?.accepts_per_sync_since(before);
            let measured = Measured::new(&tally, server.peak_rss_mb()?);
            server.kill().await?;
            anyhow::Ok((measured, tally.accepted, accepts_per_sync))
        };
        let unkept = directory(self.within.as_deref())?;
        let (ceiling, ..) = load(unkept.path().into(), Mode::Discards).await?;
        drop(unkept);

        let own = directory(self.within.as_deref())?;
        let kept = database.map_or(own.path().into(), Database::kept);
        let mut accepted = 0;
        let mut single = None;
        if database.is_some() {
            let (measured, count, accepts_per_commit) =
                load(kept, Mode::Pools(connections)).await?;
            accepted += count;
            single = Some(Single {
                measured,
                accepts_per_commit,
            });
        }
        let (durable, count, accepts_per_sync) = load(kept, Mode::Stores).await?;
        accepted += count;

        let held = arrived(&sandbox).await?.prospects;
        let server = Process::server(kept, &sandbox, Mode::Delivers).await?;
        let delivery = self.drain(&server, &sandbox, held, held, accepted).await?;
        server.kill().await?;
        sandbox.kill().await?;
        Ok(AcceptRow {
            connections,
            durable_to_ceiling: durable.share_of(&ceiling),
            durable_to_single: single.as_ref().map(|one| durable.share_of(&one.measured)),
            accepts_per_sync,
            ceiling,
            single,
            durable,
            delivery,
        })
    }

    async fn deliver(&self, bodies: &Bodies, connections: usize) -> anyhow::Result<DeliverRow> {
        let sandbox = Process::sandbox().await?;
        let kept = directory(self.within.as_deref())?;
        let server = Process::server(kept.path(), &sandbox, Mode::Delivers).await?;
        let before = counted(&server).await?;
        let first = arrived(&sandbox).await?.prospects;
        let tally = self.load(&server, bodies, connections).await?;
        let during = arrived(&sandbox).await?.prospects;
        let after = counted(&server).await?;
        let accepting = Measured::new(&tally, server.peak_rss_mb()?);
        let accepted = tally.accepted;
        let delivery = self
            .drain(&server, &sandbox, first, during, accepted)
            .await?;
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
        accepted: u64,
    ) -> anyhow::Result<Delivered> {
        let begun = Instant::now();
        let until = begun + Duration::from_secs(self.drain_seconds);
        let mut open = counted(server).await?.open;
        while open > 0.0 && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
            open = counted(server).await?.open;
        }
        let drained_s = begun.elapsed().as_secs_f64();
        let last = arrived(sandbox).await?.prospects;
        Ok(Delivered {
            accepted,
            arrived: last.saturating_sub(first),
            open: open as u64,
            drained_s,
            delivered_per_s: last.saturating_sub(during) as f64 / drained_s.max(f64::EPSILON),
        })
    }
}
