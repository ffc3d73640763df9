//! `portico-bench webhooks latency`: from accept, over the vendor's write, to the signed event at
//! its receiver.
//!
//! Guarantee: each accepted write is waited for at the receiver. At half the rate writes are sent
//! when they are due, however long those before them take, and what a late one waited counts.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use http_body_util::Full;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};

use crate::{
    connection::Connection,
    load::{Bodies, Filled, Latencies},
    process::{Portico, Process},
    receivers::{Heard, Manner, Receiver},
    report::{HalfRow, Latency, RateRow, WebhookLatency},
    site::Site,
    vendor::PROSPECTS,
    webhooks::{job_id, subscribed},
};

/// What the receiver is told of.
const TRIGGERS: [&str; 1] = ["WRITE_OPERATION_SUCCESS"];

/// Connections that send at once. At half the rate most of them rest.
const CONNECTIONS: usize = 64;

/// How long a server runs before it is counted: its caches are cold, and so is its connection to
/// the receiver.
const WARM_UP: Duration = Duration::from_secs(1);

/// How often it is looked whether everything has come.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long, how many.
#[derive(clap::Args)]
pub(crate) struct Plan {
    /// Seconds that each load lasts.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Writes under way at most, from the request to the receiver, while the highest rate is looked
    /// for; a row each.
    #[arg(long, value_delimiter = ',', default_value = "64,256,1024", value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    outstanding: Vec<u32>,
    /// Seconds to wait at most, after each load, until everything has come.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    drain_seconds: u64,
    /// Where the temporary data directory is made: the disk that is measured.
    #[arg(long, value_name = "DIR")]
    within: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A write on its way.
enum Mark {
    /// It was due then, and accepted then. It keeps its place until it is received.
    Accepted {
        due: Instant,
        at: Instant,
        _place: Option<OwnedSemaphorePermit>,
    },
    /// It was received before its sender had read the answer.
    Received(Instant),
}

/// What is under way, and what has come.
struct Desk {
    open: HashMap<String, Mark>,
    accepted: u64,
    received: u64,
    from_accept: Latencies,
    from_due: Latencies,
}

impl Desk {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            open: HashMap::new(),
            accepted: 0,
            received: 0,
            from_accept: Latencies::new()?,
            from_due: Latencies::new()?,
        })
    }

    fn accepted(
        &mut self,
        id: String,
        due: Instant,
        at: Instant,
        place: Option<OwnedSemaphorePermit>,
    ) {
        self.accepted += 1;
        match self.open.remove(&id) {
            Some(Mark::Received(received)) => self.through(due, at, received),
            _ => {
                let mark = Mark::Accepted {
                    due,
                    at,
                    _place: place,
                };
                self.open.insert(id, mark);
            }
        }
    }

    fn received(&mut self, id: String, received: Instant) {
        match self.open.remove(&id) {
            Some(Mark::Accepted { due, at, .. }) => self.through(due, at, received),
            _ => {
                self.open.insert(id, Mark::Received(received));
            }
        }
    }

    fn through(&mut self, due: Instant, at: Instant, received: Instant) {
        self.received += 1;
        self.from_accept
            .record(received.saturating_duration_since(at));
        self.from_due
            .record(received.saturating_duration_since(due));
    }
}

/// The parts of an event that say which write it is about.
#[derive(Deserialize)]
struct Told {
    data: ToldData,
}

#[derive(Deserialize)]
struct ToldData {
    root_job_id: String,
}

/// What senders and receiver share.
struct Track {
    address: SocketAddr,
    bearer: String,
    filled: Filled,
    desk: Mutex<Desk>,
}

impl Track {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was counted so far, with nothing under way.
    fn begin(&self) -> anyhow::Result<Desk> {
        Ok(std::mem::replace(&mut *self.desk(), Desk::new()?))
    }

    async fn listen(self: Arc<Self>, mut heard: mpsc::UnboundedReceiver<Heard>) {
        while let Some(Heard { body, at }) = heard.recv().await {
            if let Ok(told) = serde_json::from_slice::<Told>(&body) {
                self.desk().received(told.data.root_job_id, at);
            }
        }
    }

    /// Sends one write that was due then.
    async fn send(
        &self,
        connection: &mut Connection,
        due: Instant,
        place: Option<OwnedSemaphorePermit>,
    ) -> anyhow::Result<()> {
        let request = connection
            .request(Method::POST, &PROSPECTS)
            .header("authorization", &self.bearer)
            .header("content-type", "application/json")
            .body(Full::from(self.filled.next()))?;
        let (status, answer) = connection.send(request).await?;
        let at = Instant::now();
        if status != StatusCode::OK {
            bail!(
                "a write was answered {status}: {}",
                String::from_utf8_lossy(&answer)
            );
        }
        self.desk().accepted(job_id(&answer)?, due, at, place);
        Ok(())
    }

    /// As many as there are places for, until then.
    async fn crowd(
        self: Arc<Self>,
        places: Arc<Semaphore>,
        mut connection: Connection,
        until: Instant,
    ) -> anyhow::Result<()> {
        // A place that is free is had also when the time is over.
        while Instant::now() < until {
            let place = tokio::time::timeout_at(until.into(), places.clone().acquire_owned());
            let Ok(place) = place.await else { break };
            self.send(&mut connection, Instant::now(), Some(place?))
                .await?;
        }
        Ok(())
    }

    /// One at each beat, of those that nobody else has sent.
    async fn pace(
        self: Arc<Self>,
        beats: Arc<Beats>,
        mut connection: Connection,
    ) -> anyhow::Result<()> {
        while let Some(due) = beats.next() {
            tokio::time::sleep_until(due.into()).await;
            self.send(&mut connection, due, None).await?;
        }
        Ok(())
    }

    async fn connections(&self) -> anyhow::Result<Vec<Connection>> {
        let mut open = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            open.push(Connection::open(&self.address.to_string()).await?);
        }
        Ok(open)
    }

    /// Waits until everything has come, but not for ever. Returns what has not.
    async fn drain(&self, within: Duration) -> u64 {
        let until = Instant::now() + within;
        loop {
            let (accepted, received) = {
                let desk = self.desk();
                (desk.accepted, desk.received)
            };
            if received >= accepted || Instant::now() >= until {
                return accepted.saturating_sub(received);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// When writes are due, one after the other at the same distance.
struct Beats {
    begun: Instant,
    per_s: f64,
    count: u64,
    next: AtomicU64,
}

impl Beats {
    fn next(&self) -> Option<Instant> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let after = Duration::from_secs_f64(number as f64 / self.per_s);
        (number < self.count).then(|| self.begun + after)
    }
}

async fn all(mut tasks: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

impl Plan {
    /// Runs it.
    ///
    /// # Errors
    /// When a write is not accepted.
    pub(super) async fn measure(&self, portico: &Portico) -> anyhow::Result<WebhookLatency> {
        let sandbox = portico.sandbox(0).await?;
        let (heard_sender, heard) = mpsc::unbounded_channel();
        let receiver = [Receiver::start(Manner::Well, Some(heard_sender)).await?];
        let site = Site::directory(portico, &sandbox, self.within.as_deref()).await?;
        let (server, _) = subscribed(portico, &site, &sandbox, &receiver, &TRIGGERS).await?;
        let track = Arc::new(Track {
            address: server.address(),
            bearer: format!("Bearer {}", site.token),
            filled: Bodies::read(None)?.for_targets(&[site.account.target()?]),
            desk: Mutex::new(Desk::new()?),
        });
        let listening = tokio::spawn(track.clone().listen(heard));
        let mut rates = Vec::new();
        for outstanding in &self.outstanding {
            rates.push(self.rate(&track, *outstanding).await?);
        }
        let max_per_s = rates
            .iter()
            .map(|row| row.received_per_s)
            .fold(0.0, f64::max);
        if max_per_s <= 0.0 {
            bail!("nothing was received while the highest rate was looked for");
        }
        let half = self.half(&track, max_per_s / 2.0, &server).await?;
        listening.abort();
        let trouble = receiver.iter().find_map(Receiver::trouble);
        Ok(WebhookLatency {
            rates,
            max_per_s,
            half,
            trouble,
        })
    }

    /// What comes through in a second with so many under way, which nothing can outgrow.
    async fn rate(&self, track: &Arc<Track>, outstanding: u32) -> anyhow::Result<RateRow> {
        let places = Arc::new(Semaphore::new(outstanding as usize));
        let connections = track.connections().await?;
        let begun = Instant::now();
        let until = begun + WARM_UP + Duration::from_secs(self.seconds);
        let mut tasks = JoinSet::new();
        for connection in connections {
            tasks.spawn(track.clone().crowd(places.clone(), connection, until));
        }
        tokio::time::sleep_until((begun + WARM_UP).into()).await;
        let (first, counted_from) = (track.desk().received, Instant::now());
        tokio::time::sleep_until(until.into()).await;
        let (last, counted_for) = (track.desk().received, counted_from.elapsed());
        all(tasks).await?;
        let missing = track.drain(Duration::from_secs(self.drain_seconds)).await;
        let desk = track.begin()?;
        Ok(RateRow {
            outstanding,
            received_per_s: (last - first) as f64 / counted_for.as_secs_f64(),
            accepted: desk.accepted,
            missing,
            from_accept: Latency::of(&desk.from_accept),
        })
    }

    /// Writes at that rate, whatever becomes of them.
    async fn half(
        &self,
        track: &Arc<Track>,
        per_s: f64,
        server: &Process,
    ) -> anyhow::Result<HalfRow> {
        let count = (per_s * self.seconds as f64).ceil();
        let beats = Arc::new(Beats {
            begun: Instant::now() + LOOK_EVERY,
            per_s,
            count: count as u64,
            next: AtomicU64::new(0),
        });
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for connection in track.connections().await? {
            tasks.spawn(track.clone().pace(beats.clone(), connection));
        }
        all(tasks).await?;
        let sent_in = begun.elapsed();
        let missing = track.drain(Duration::from_secs(self.drain_seconds)).await;
        let desk = track.begin()?;
        if desk.accepted == 0 {
            return None.context("no write was accepted at half the rate");
        }
        Ok(HalfRow {
            wanted_per_s: per_s,
            accepted_per_s: desk.accepted as f64 / sent_in.as_secs_f64(),
            accepted: desk.accepted,
            missing,
            from_accept: Latency::of(&desk.from_accept),
            from_due: Latency::of(&desk.from_due),
            rss_mb: server.peak_rss_mb()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_counted_whichever_side_is_heard_of_first() {
        let mut desk = Desk::new().expect("a desk");
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        desk.accepted("a".to_owned(), at(0), at(10), None);
        desk.received("b".to_owned(), at(19));
        assert_eq!((desk.accepted, desk.received), (1, 0));
        desk.received("a".to_owned(), at(30));
        desk.accepted("b".to_owned(), at(0), at(20), None);
        assert_eq!((desk.accepted, desk.received), (2, 2));
        assert!(desk.open.is_empty());
        // The one that was heard of before it was known to be accepted took no time.
        assert!((19.9..20.1).contains(&desk.from_accept.within_ms(1.0)));
        assert!((29.9..30.1).contains(&desk.from_due.within_ms(1.0)));
    }

    #[test]
    fn beats_are_as_many_as_wanted_and_equally_far_apart() {
        let beats = Beats {
            begun: Instant::now(),
            per_s: 100.0,
            count: 3,
            next: AtomicU64::new(0),
        };
        let due: Vec<_> = std::iter::from_fn(|| beats.next())
            .map(|due| due - beats.begun)
            .collect();
        assert_eq!(due, [0, 10, 20].map(Duration::from_millis));
    }
}
