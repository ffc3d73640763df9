//! The main job at full speed: `portico-bench accept` and `portico-bench deliver`.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::{
    LOOK_EVERY, complete, connections,
    load::{Bodies, Much, Tally},
    place::{self, Named},
    process::{Compared, Part, Portico, Process, arrived, counted, serve_compared},
    report::{AcceptRow, DeliverRow, Delivered, Measured, Single},
    sent, show,
    site::Site,
};

/// What `accept` measures.
#[derive(clap::Args)]
pub(crate) struct Accept {
    /// Connections that send at once; a row each.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "8,64,256",
        value_parser = connections,
        value_name = "N"
    )]
    connections: Vec<usize>,
    /// Measures PostgreSQL instead of SQLite, beside a store with a pool of as many connections and
    /// a transaction for each request. `postgres` is a server of its own, which ends with the
    /// command; or the URL of an empty database, where what is stored stays. With a password in it,
    /// put it into PORTICO_BENCH_STORE.
    #[arg(
        long,
        env = "PORTICO_BENCH_STORE",
        value_name = "postgres|URL",
        value_parser = place::named,
        hide_env_values = true
    )]
    store: Option<Named>,
    #[command(flatten)]
    plan: Plan,
}

/// What `deliver` measures.
#[derive(clap::Args)]
pub(crate) struct Deliver {
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
}

#[derive(clap::Args)]
pub(crate) struct Plan {
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

impl Accept {
    /// Measures, and shows a row for each number of connections.
    ///
    /// # Errors
    /// When a process fails, or an accepted write did not arrive.
    pub(crate) async fn measure(&self, portico: &Portico) -> anyhow::Result<()> {
        let bodies = self.plan.bodies()?;
        let sandbox = portico.sandbox(0).await?;
        let within = self.plan.within.as_deref();
        let database = match &self.store {
            Some(named) => {
                let pool = self.connections.iter().copied().max().unwrap_or(0);
                Some(Site::database(portico, &sandbox, named, pool, within).await?)
            }
            None => None,
        };
        let mut rows = Vec::new();
        for count in &self.connections {
            let plan = &self.plan;
            let row = plan.accept(portico, &sandbox, &bodies, *count, database.as_ref());
            rows.push(row.await?);
        }
        show(&rows, self.plan.json)?;
        complete(rows.iter().map(|row| (&row.delivery, row.broken())))
    }
}

impl Deliver {
    /// Measures, and shows a row for each number of connections.
    ///
    /// # Errors
    /// When a process fails, or an accepted write did not arrive.
    pub(crate) async fn measure(&self, portico: &Portico) -> anyhow::Result<()> {
        let bodies = self.plan.bodies()?;
        let mut rows = Vec::new();
        for count in &self.connections {
            rows.push(self.plan.deliver(portico, &bodies, *count).await?);
        }
        show(&rows, self.plan.json)?;
        complete(rows.iter().map(|row| (&row.delivery, row.accepting.broken)))
    }
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
        site: &Site,
        bodies: &Bodies,
        connections: usize,
    ) -> anyhow::Result<Tally> {
        let much = Much::For(Duration::from_secs(self.seconds));
        let filled = bodies.for_targets(&[site.account.target()?]);
        sent(server, &site.token, filled, connections, much).await
    }

    async fn accept(
        &self,
        portico: &Portico,
        sandbox: &Process,
        bodies: &Bodies,
        connections: usize,
        database: Option<&Site>,
    ) -> anyhow::Result<AcceptRow> {
        let load = async |server: Process, site: &Site| {
            let before = counted(&server).await?;
            let tally = self.load(&server, site, bodies, connections).await?;
            let accepts_per_sync = counted(&server).await?.accepts_per_sync_since(before);
            let measured = Measured::new(&tally, server.peak_rss_mb()?);
            server.kill().await?;
            anyhow::Ok((measured, tally.accepted, accepts_per_sync))
        };
        let within = self.within.as_deref();
        let own = Site::directory(portico, sandbox, within).await?;
        let server = serve_compared(&own.place, sandbox, Compared::Discards).await?;
        let (ceiling, ..) = load(server, &own).await?;

        // The ceiling has kept nothing, so its directory is as good as a new one.
        let site = database.unwrap_or(&own);
        let mut accepted = 0;
        let mut single = None;
        if database.is_some() {
            let pools = Compared::Pools(connections);
            let server = serve_compared(&site.place, sandbox, pools).await?;
            let (measured, count, accepts_per_commit) = load(server, site).await?;
            accepted += count;
            single = Some(Single {
                measured,
                accepts_per_commit,
            });
        }
        let server = site.serve_without_delivery(portico, sandbox).await?;
        let (durable, count, accepts_per_sync) = load(server, site).await?;
        accepted += count;

        let held = arrived(sandbox).await?.prospects;
        let server = portico
            .serve(&site.place, sandbox, Part::Everything)
            .await?;
        if !site.place.is_shared() {
            site.resume(&server).await?;
        }
        let delivery = self.drain(&server, sandbox, held, held, accepted).await?;
        server.kill().await?;
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

    async fn deliver(
        &self,
        portico: &Portico,
        bodies: &Bodies,
        connections: usize,
    ) -> anyhow::Result<DeliverRow> {
        let sandbox = portico.sandbox(0).await?;
        let site = Site::directory(portico, &sandbox, self.within.as_deref()).await?;
        let server = portico
            .serve(&site.place, &sandbox, Part::Everything)
            .await?;
        let before = counted(&server).await?;
        let first = arrived(&sandbox).await?.prospects;
        let tally = self.load(&server, &site, bodies, connections).await?;
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

    /// Waits until nothing is left to deliver, but not for ever. The sandbox held `first` before
    /// the load and `during` just now.
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
