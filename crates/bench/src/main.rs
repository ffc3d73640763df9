//! Measures Portico on this machine, over loopback: it starts the real `portico`, loads it, kills
//! it, and looks for what it has answered.
//!
//! Guarantee: what it starts ends with it, what it writes is in temporary directories, every
//! accepted write is looked for at the other end, every list is read to its end, and every event is
//! looked for at every receiver. What is missing, or a row that is there twice, fails the command;
//! slowness does not.

mod account;
mod api;
mod chaos;
mod compared;
mod connection;
mod fill;
mod latency;
mod load;
mod main_job;
mod output;
mod people;
mod place;
mod process;
mod reads;
mod receivers;
mod report;
mod site;
mod system;
mod vendor;
mod webhooks;
mod workers;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::bail;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{
    load::{Filled, Much, Tally},
    process::{Portico, Process},
    report::{Delivered, Row},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often a backlog is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Measure Portico on this machine, over loopback
#[derive(Parser)]
#[command(name = "portico-bench", version)]
struct Arguments {
    /// The `portico` to measure [default: the one beside this executable]
    #[arg(long, env = "PORTICO_BENCH_BINARY", value_name = "FILE", global = true)]
    portico: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Measure(Measurement),
    /// Serves a store that Portico's is compared with, for `accept`.
    #[command(hide = true)]
    Server(compared::Arguments),
}

#[derive(Subcommand)]
enum Measurement {
    /// Accepted writes a second, beside the same with a store that keeps nothing. Delivery follows,
    /// after a kill and a restart.
    Accept(main_job::Accept),
    /// Deliveries a second while writes are accepted at full speed, and how long the rest takes.
    Deliver(main_job::Deliver),
    /// Deliveries a second of a backlog, by one worker and by several on one PostgreSQL, while the
    /// vendor takes its time.
    Workers(workers::Plan),
    /// How long lists and records take to read with many prospects stored, beside the same with
    /// few.
    Reads(reads::Plan),
    /// Events told to receivers: whether all arrive while everybody fails, and how soon they do.
    Webhooks(webhooks::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A server of a compared store logs as `portico` does when it is measured.
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .with_env_var("PORTICO_LOG")
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(why) => return output::failed(&why.into()),
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => output::failed(&why),
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let measurement = match arguments.command {
        // It ends as it is killed, without a word.
        Command::Server(arguments) => return compared::run(arguments).await,
        Command::Measure(measurement) => measurement,
    };
    let portico = Portico::find(arguments.portico)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // The processes end with the future that holds them.
    tokio::select! {
        ended = measure(measurement, &portico) => ended,
        _ = terminate.recv() => bail!("Stopped before the end"),
        _ = interrupt.recv() => bail!("Stopped before the end"),
    }
}

async fn measure(measurement: Measurement, portico: &Portico) -> anyhow::Result<()> {
    match measurement {
        Measurement::Accept(plan) => plan.measure(portico).await,
        Measurement::Deliver(plan) => plan.measure(portico).await,
        Measurement::Workers(plan) => {
            let rows = plan.measure(portico).await?;
            show(&rows, plan.json)?;
            complete(rows.iter().map(|row| (&row.delivery, row.broken)))?;
            match rows.iter().find(|row| row.again > 0) {
                None => Ok(()),
                Some(row) => bail!("{} writes arrived once more", row.again),
            }
        }
        Measurement::Reads(plan) => {
            let shown = plan.measure(portico).await?;
            output::data(&if plan.json {
                serde_json::to_string(&shown)?
            } else {
                format!(
                    "{}\n\n{}",
                    report::table(&shown.stores),
                    report::table(&shown.reads)
                )
            })?;
            Ok(())
        }
        Measurement::Webhooks(arguments) => arguments.measure(portico).await,
    }
}

/// The most connections: each takes a file descriptor here and one in the server.
const CONNECTIONS_MAX: usize = 400;

fn connections(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=CONNECTIONS_MAX).contains(count))
        .ok_or_else(|| format!("a number from 1 to {CONNECTIONS_MAX}"))
}

fn show<R: Row>(rows: &[R], json: bool) -> anyhow::Result<()> {
    let shown = if json {
        serde_json::to_string(rows)?
    } else {
        report::table(rows)
    };
    output::data(&shown)?;
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

/// Sends so much to a server, under the key with `token`, and says why when something was not
/// accepted.
async fn sent(
    server: &Process,
    token: &str,
    filled: Filled,
    connections: usize,
    much: Much,
) -> anyhow::Result<Tally> {
    let tally = load::run(server.address(), token, filled, connections, much).await?;
    if let Some(trouble) = &tally.first_trouble {
        output::note(&format!(
            "The first request that was not accepted: {trouble}"
        ));
    }
    Ok(tally)
}
