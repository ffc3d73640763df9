//! What was measured, as a table and as JSON.

use anyhow::bail;
use serde::Serialize;

use crate::load::{Latencies, Tally};

/// One server under load.
#[derive(Serialize)]
pub(crate) struct Measured {
    requests_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    /// The server's peak.
    rss_mb: f64,
    non_200: u64,
    /// Requests without an answer.
    pub(crate) broken: u64,
}

impl Measured {
    pub(crate) fn new(tally: &Tally, rss_mb: f64) -> Self {
        Self {
            requests_per_s: tally.per_s(),
            p50_ms: tally.latencies.within_ms(0.5),
            p99_ms: tally.latencies.within_ms(0.99),
            p999_ms: tally.latencies.within_ms(0.999),
            rss_mb,
            non_200: tally.non_200,
            broken: tally.broken,
        }
    }

    /// How many of `ceiling`'s requests this one answered, as a share.
    pub(crate) fn share_of(&self, ceiling: &Self) -> f64 {
        self.requests_per_s / ceiling.requests_per_s.max(f64::EPSILON)
    }
}

/// What became of what was accepted.
#[derive(Serialize)]
pub(crate) struct Delivered {
    /// Writes answered with 200.
    pub(crate) accepted: u64,
    /// Prospects that the sandbox holds in the end.
    pub(crate) arrived: u64,
    /// Writes that had not ended when the wait was over.
    pub(crate) open: u64,
    /// From the end of the load, or the restart, until nothing was left to deliver.
    pub(crate) drained_s: f64,
    /// What was left at the beginning of that, a second of it.
    pub(crate) delivered_per_s: f64,
}

impl Delivered {
    /// Whether each accepted write arrived, once.
    pub(crate) fn is_whole(&self, broken: u64) -> bool {
        self.open == 0 && (self.accepted..=self.accepted + broken).contains(&self.arrived)
    }
}

/// A server whose store has a pool of as many connections as there are callers, and a transaction
/// for each request.
#[derive(Serialize)]
pub(crate) struct Single {
    #[serde(flatten)]
    pub(crate) measured: Measured,
    pub(crate) accepts_per_commit: f64,
}

/// A row of `portico-bench accept`.
#[derive(Serialize)]
pub(crate) struct AcceptRow {
    pub(crate) connections: usize,
    pub(crate) ceiling: Measured,
    /// On the same PostgreSQL; there is none with SQLite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) single: Option<Single>,
    pub(crate) durable: Measured,
    pub(crate) durable_to_ceiling: f64,
    /// How many requests were answered for each of `single`'s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) durable_to_single: Option<f64>,
    /// Those that shared a commit, which is one sync.
    pub(crate) accepts_per_sync: f64,
    /// After the server was killed and started again, this time with delivery. Of `single` too.
    pub(crate) delivery: Delivered,
}

impl AcceptRow {
    /// Requests without an answer that may have been accepted.
    pub(crate) fn broken(&self) -> u64 {
        let single = self.single.as_ref();
        self.durable.broken + single.map_or(0, |single| single.measured.broken)
    }
}

/// A row of `portico-bench deliver`.
#[derive(Serialize)]
pub(crate) struct DeliverRow {
    pub(crate) connections: usize,
    pub(crate) accepting: Measured,
    pub(crate) accepts_per_sync: f64,
    /// While the load lasted.
    pub(crate) delivered_per_s: f64,
    pub(crate) delivered_to_accepted: f64,
    /// After the load.
    pub(crate) delivery: Delivered,
    /// The server's peak, deliveries after the load included.
    pub(crate) rss_mb: f64,
}

/// A row of `portico-bench workers`.
#[derive(Serialize)]
pub(crate) struct WorkersRow {
    /// Processes that delivered.
    pub(crate) workers: u16,
    /// Calls that each of them had under way at most.
    pub(crate) calls_max: u16,
    /// What the vendor took to answer.
    pub(crate) latency_ms: u64,
    pub(crate) integrations: u16,
    /// Arrived at the sandbox a second, from when all workers were ready until everything had.
    pub(crate) delivered_per_s: f64,
    /// Of what so many calls of that length come to.
    pub(crate) of_most: f64,
    /// Of what the first row's workers delivered a second.
    pub(crate) to_first: f64,
    /// Calls that told the sandbox of a prospect that it held already: none is to be.
    pub(crate) again: u64,
    /// Requests without an answer while the backlog was accepted.
    pub(crate) broken: u64,
    pub(crate) delivery: Delivered,
    /// The most of any worker.
    pub(crate) rss_mb: f64,
}

/// A row of `portico-bench reads` about a store.
#[derive(Serialize)]
pub(crate) struct StoreRow {
    pub(crate) prospects: u64,
    /// To fill it, the indexes included.
    pub(crate) filled_s: f64,
    /// Everything in the data directory, when it was filled.
    pub(crate) database_mb: f64,
    /// From the start of the server on it until it is ready.
    pub(crate) ready_s: f64,
    /// To read all of it by cursor, newest first, a page after the other.
    pub(crate) walked_s: f64,
    /// The server's peak.
    pub(crate) rss_mb: f64,
}

/// How long one kind of read takes.
#[derive(Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Latency {
    pub(crate) fn of(latencies: &Latencies) -> Self {
        Self {
            p50_ms: latencies.within_ms(0.5),
            p99_ms: latencies.within_ms(0.99),
        }
    }
}

/// A row of `portico-bench reads` about a kind of read.
#[derive(Serialize)]
pub(crate) struct ReadRow {
    pub(crate) read: &'static str,
    pub(crate) requests: u64,
    pub(crate) small: Latency,
    pub(crate) large: Latency,
    /// By the medians.
    pub(crate) large_to_small: f64,
}

/// What `portico-bench reads` shows.
#[derive(Serialize)]
pub(crate) struct Reads {
    pub(crate) stores: Vec<StoreRow>,
    pub(crate) reads: Vec<ReadRow>,
}

/// What `portico-bench webhooks chaos` shows about one receiver.
#[derive(Serialize)]
pub(crate) struct ReceiverRow {
    pub(crate) receiver: &'static str,
    /// Events that it took.
    pub(crate) taken: u64,
    /// Events of the log that it did not take, or not as they are.
    pub(crate) missing: u64,
    /// Events that it got and that are not in the log.
    pub(crate) unknown: u64,
    /// Deliveries that came to it.
    pub(crate) attempts: u64,
    /// Of these, those that it failed.
    pub(crate) failed_on_purpose: u64,
    /// Deliveries of events that it had taken before.
    pub(crate) duplicates: u64,
}

/// What `portico-bench webhooks chaos` shows about all of it.
#[derive(Serialize)]
pub(crate) struct ChaosRow {
    /// Writes that were accepted.
    pub(crate) writes: u64,
    /// Of these, those that the vendor refused.
    pub(crate) writes_failed: u64,
    /// Accepted writes whose end is not in the log.
    pub(crate) untold: u64,
    /// Events in the log, of the kinds that the receivers are told of.
    pub(crate) events: u64,
    /// Events taken, over all receivers.
    pub(crate) deliveries: u64,
    /// Deliveries that came to them.
    pub(crate) attempts: u64,
    /// Deliveries of events that had been taken before.
    pub(crate) duplicates: u64,
    pub(crate) attempts_to_deliveries: f64,
    pub(crate) missing: u64,
    pub(crate) unknown: u64,
    /// Deliveries that the server holds to be pending, or has given up.
    pub(crate) pending: u64,
    pub(crate) kills: u64,
    /// Until all writes were accepted.
    pub(crate) accepted_s: f64,
    /// Until nothing was left.
    pub(crate) seconds: f64,
    pub(crate) deliveries_per_s: f64,
    /// The most of any server.
    pub(crate) rss_mb: f64,
}

/// What `portico-bench webhooks chaos` shows.
#[derive(Serialize)]
pub(crate) struct Chaos {
    #[serde(flatten)]
    pub(crate) whole: ChaosRow,
    pub(crate) receivers: Vec<ReceiverRow>,
    /// What was first wrong with a delivery or the log, in words.
    pub(crate) trouble: Option<String>,
}

impl Chaos {
    /// Refuses a run in which something is missing.
    ///
    /// # Errors
    /// In words, when something is.
    pub(crate) fn complete(&self) -> anyhow::Result<()> {
        if let Some(trouble) = &self.trouble {
            bail!("{trouble}");
        }
        let ChaosRow {
            untold,
            missing,
            unknown,
            pending,
            ..
        } = self.whole;
        if untold + missing + unknown + pending > 0 {
            bail!(
                "{missing} deliveries are missing, {pending} are pending or given up, {unknown} are of events that are not in the log, and the end of {untold} writes was not told"
            );
        }
        Ok(())
    }
}

/// A row of `portico-bench webhooks latency`: so many under way at once.
#[derive(Serialize)]
pub(crate) struct RateRow {
    pub(crate) outstanding: u32,
    /// Events taken by the receiver a second.
    pub(crate) received_per_s: f64,
    pub(crate) accepted: u64,
    pub(crate) missing: u64,
    /// From the 200 to the receiver.
    pub(crate) from_accept: Latency,
}

/// What `portico-bench webhooks latency` shows of half the highest rate.
#[derive(Serialize)]
pub(crate) struct HalfRow {
    pub(crate) wanted_per_s: f64,
    pub(crate) accepted_per_s: f64,
    pub(crate) accepted: u64,
    pub(crate) missing: u64,
    /// From the 200 to the receiver.
    pub(crate) from_accept: Latency,
    /// From when the write was due to be sent to the receiver.
    pub(crate) from_due: Latency,
    /// The server's peak, the highest rate included.
    pub(crate) rss_mb: f64,
}

/// What `portico-bench webhooks latency` shows.
#[derive(Serialize)]
pub(crate) struct WebhookLatency {
    pub(crate) rates: Vec<RateRow>,
    pub(crate) max_per_s: f64,
    pub(crate) half: HalfRow,
    /// What was first wrong with a delivery, in words.
    pub(crate) trouble: Option<String>,
}

impl WebhookLatency {
    /// Refuses a run in which something is missing.
    ///
    /// # Errors
    /// In words, when something is.
    pub(crate) fn complete(&self) -> anyhow::Result<()> {
        if let Some(trouble) = &self.trouble {
            bail!("{trouble}");
        }
        let missing = self.rates.iter().map(|row| row.missing).sum::<u64>() + self.half.missing;
        if missing > 0 {
            bail!("{missing} writes were accepted of which the receiver did not hear");
        }
        Ok(())
    }
}

/// A kind of row.
pub(crate) trait Row: Serialize {
    /// The columns' names.
    const COLUMNS: &'static [&'static str];

    /// The row's lines.
    fn lines(&self) -> Vec<Vec<String>>;
}

const DASH: &str = "-";

fn measured(connections: usize, what: &str, one: &Measured) -> Vec<String> {
    vec![
        connections.to_string(),
        what.to_owned(),
        format!("{:.0}", one.requests_per_s),
        format!("{:.2}", one.p50_ms),
        format!("{:.2}", one.p99_ms),
        format!("{:.2}", one.p999_ms),
        (one.non_200 + one.broken).to_string(),
    ]
}

fn arrived(delivery: &Delivered) -> String {
    format!("{}/{}", delivery.arrived, delivery.accepted)
}

impl Row for AcceptRow {
    const COLUMNS: &'static [&'static str] = &[
        "CONNECTIONS",
        "STORE",
        "REQ/S",
        "P50 MS",
        "P99 MS",
        "P99.9 MS",
        "NON-200",
        "OF CEILING",
        "TO SINGLE",
        "ACCEPTS/SYNC",
        "RSS MB",
        "DELIVERED/S",
        "ARRIVED",
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        let cell = |number: Option<f64>, digits: usize| {
            number.map_or(DASH.to_owned(), |number| format!("{number:.digits$}"))
        };
        let line = |what, one, to_single, per_sync, delivery: Option<&Delivered>| {
            let mut line = measured(self.connections, what, one);
            line.extend([
                format!("{:.2}", one.share_of(&self.ceiling)),
                cell(to_single, 1),
                cell(per_sync, 1),
                format!("{:.0}", one.rss_mb),
                cell(delivery.map(|delivery| delivery.delivered_per_s), 0),
                delivery.map_or(DASH.to_owned(), arrived),
            ]);
            line
        };
        let mut lines = vec![line("none", &self.ceiling, None, None, None)];
        if let Some(Single {
            measured,
            accepts_per_commit,
        }) = &self.single
        {
            let per_commit = Some(*accepts_per_commit);
            lines.push(line("single", measured, Some(1.0), per_commit, None));
        }
        lines.push(line(
            "durable",
            &self.durable,
            self.durable_to_single,
            Some(self.accepts_per_sync),
            Some(&self.delivery),
        ));
        lines
    }
}

impl Row for WorkersRow {
    const COLUMNS: &'static [&'static str] = &[
        "WORKERS",
        "CALLS MAX",
        "LATENCY MS",
        "INTEGRATIONS",
        "DELIVERED/S",
        "OF MOST",
        "TO FIRST",
        "SECONDS",
        "ARRIVED",
        "AGAIN",
        "RSS MB",
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        vec![vec![
            self.workers.to_string(),
            self.calls_max.to_string(),
            self.latency_ms.to_string(),
            self.integrations.to_string(),
            format!("{:.0}", self.delivered_per_s),
            format!("{:.2}", self.of_most),
            format!("{:.2}", self.to_first),
            format!("{:.1}", self.delivery.drained_s),
            arrived(&self.delivery),
            self.again.to_string(),
            format!("{:.0}", self.rss_mb),
        ]]
    }
}

impl Row for DeliverRow {
    const COLUMNS: &'static [&'static str] = &[
        "CONNECTIONS",
        "STORE",
        "ACCEPTED/S",
        "P50 MS",
        "P99 MS",
        "P99.9 MS",
        "NON-200",
        "DELIVERED/S",
        "OF ACCEPTED",
        "ACCEPTS/SYNC",
        "RSS MB",
        "DRAINED S",
        "DRAINING/S",
        "ARRIVED",
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        let mut line = measured(self.connections, "durable", &self.accepting);
        line.extend([
            format!("{:.0}", self.delivered_per_s),
            format!("{:.2}", self.delivered_to_accepted),
            format!("{:.1}", self.accepts_per_sync),
            format!("{:.0}", self.rss_mb),
            format!("{:.1}", self.delivery.drained_s),
            format!("{:.0}", self.delivery.delivered_per_s),
            arrived(&self.delivery),
        ]);
        vec![line]
    }
}

impl Row for StoreRow {
    const COLUMNS: &'static [&'static str] = &[
        "PROSPECTS",
        "FILLED S",
        "FILLED/S",
        "DATABASE MB",
        "READY S",
        "WALKED S",
        "RSS MB",
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        vec![vec![
            self.prospects.to_string(),
            format!("{:.1}", self.filled_s),
            format!(
                "{:.0}",
                self.prospects as f64 / self.filled_s.max(f64::EPSILON)
            ),
            format!("{:.0}", self.database_mb),
            format!("{:.2}", self.ready_s),
            format!("{:.1}", self.walked_s),
            format!("{:.0}", self.rss_mb),
        ]]
    }
}

impl Row for ReadRow {
    const COLUMNS: &'static [&'static str] = &[
        "READ",
        "REQUESTS",
        "SMALL P50 MS",
        "LARGE P50 MS",
        "LARGE/SMALL",
        "SMALL P99 MS",
        "LARGE P99 MS",
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        vec![vec![
            self.read.to_owned(),
            self.requests.to_string(),
            format!("{:.2}", self.small.p50_ms),
            format!("{:.2}", self.large.p50_ms),
            format!("{:.2}", self.large_to_small),
            format!("{:.2}", self.small.p99_ms),
            format!("{:.2}", self.large.p99_ms),
        ]]
    }
}

impl Row for ChaosRow {
    const COLUMNS: &'static [&'static str] = &[
        "WRITES",
        "REFUSED",
        "KILLS",
        "EVENTS",
        "DELIVERIES",
        "ATTEMPTS",
        "OF DELIVERIES",
        "DUPLICATES",
        "MISSING",
        "PENDING",
        "ACCEPTED S",
        "SECONDS",
        "DELIVERIES/S",
        "RSS MB",
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        vec![vec![
            self.writes.to_string(),
            self.writes_failed.to_string(),
            self.kills.to_string(),
            self.events.to_string(),
            self.deliveries.to_string(),
            self.attempts.to_string(),
            format!("{:.3}", self.attempts_to_deliveries),
            self.duplicates.to_string(),
            (self.missing + self.unknown + self.untold).to_string(),
            self.pending.to_string(),
            format!("{:.1}", self.accepted_s),
            format!("{:.1}", self.seconds),
            format!("{:.0}", self.deliveries_per_s),
            format!("{:.0}", self.rss_mb),
        ]]
    }
}

impl Row for ReceiverRow {
    const COLUMNS: &'static [&'static str] = &[
        "RECEIVER",
        "TAKEN",
        "MISSING",
        "ATTEMPTS",
        "FAILED ON PURPOSE",
        "DUPLICATES",
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        vec![vec![
            self.receiver.to_owned(),
            self.taken.to_string(),
            (self.missing + self.unknown).to_string(),
            self.attempts.to_string(),
            self.failed_on_purpose.to_string(),
            self.duplicates.to_string(),
        ]]
    }
}

impl Row for RateRow {
    const COLUMNS: &'static [&'static str] = &[
        "UNDER WAY",
        "RECEIVED/S",
        "P50 MS",
        "P99 MS",
        "ACCEPTED",
        "MISSING",
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        vec![vec![
            self.outstanding.to_string(),
            format!("{:.0}", self.received_per_s),
            format!("{:.2}", self.from_accept.p50_ms),
            format!("{:.2}", self.from_accept.p99_ms),
            self.accepted.to_string(),
            self.missing.to_string(),
        ]]
    }
}

/// The p99 from accept to receipt that is aimed at, at half the highest rate.
const TARGET_P99_MS: f64 = 250.0;

impl Row for HalfRow {
    const COLUMNS: &'static [&'static str] = &[
        "AT HALF, WANTED/S",
        "ACCEPTED/S",
        "P50 MS",
        "P99 MS",
        "UNDER 250 MS",
        "SINCE DUE P50 MS",
        "P99 MS",
        "ACCEPTED",
        "MISSING",
        "RSS MB",
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        let is_under = self.from_accept.p99_ms < TARGET_P99_MS;
        vec![vec![
            format!("{:.0}", self.wanted_per_s),
            format!("{:.0}", self.accepted_per_s),
            format!("{:.2}", self.from_accept.p50_ms),
            format!("{:.2}", self.from_accept.p99_ms),
            if is_under { "yes" } else { "no" }.to_owned(),
            format!("{:.2}", self.from_due.p50_ms),
            format!("{:.2}", self.from_due.p99_ms),
            self.accepted.to_string(),
            self.missing.to_string(),
            format!("{:.0}", self.rss_mb),
        ]]
    }
}

/// The rows as a table.
pub(crate) fn table<R: Row>(rows: &[R]) -> String {
    let mut lines = vec![
        R::COLUMNS
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>(),
    ];
    lines.extend(rows.iter().flat_map(Row::lines));
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(String::len).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..R::COLUMNS.len()).map(width).collect();
    let shown = lines.iter().map(|line| {
        let cells = line.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:>width$}"))
            .collect();
        cells.join("  ")
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::Delivered;

    #[test]
    fn whole_means_each_once_but_for_what_is_not_known() {
        let of = |arrived, open| Delivered {
            accepted: 10,
            arrived,
            open,
            drained_s: 1.0,
            delivered_per_s: 10.0,
        };
        assert!(of(10, 0).is_whole(0));
        assert!(!of(9, 0).is_whole(0));
        assert!(!of(11, 0).is_whole(0));
        assert!(of(11, 0).is_whole(1));
        assert!(!of(10, 1).is_whole(0));
    }
}
