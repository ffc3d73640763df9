//! What `/metrics` tells.
//!
//! Guarantee: labels are from fixed sets; no id, no person and no credential is ever a label.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::{Clock, vendor::Vendor, write::Class};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use store::{Acceptance, Depth};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AcceptLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    vendor: String,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JumpLabels {
    direction: &'static str,
}

/// Every metric.
pub struct Metrics {
    registry: Registry,
    accepts: Family<AcceptLabels, Counter>,
    commits: Counter,
    commits_failed: Counter,
    batch: Histogram,
    commit_seconds: Histogram,
    attempts: Family<AttemptLabels, Counter>,
    call_seconds: Histogram,
    outcome_seconds: Histogram,
    store_answers: Gauge,
    open: Gauge,
    oldest_seconds: Gauge,
    deliveries_pending: Gauge,
    deliveries_oldest_seconds: Gauge,
    clock_unconfirmed_seconds: Gauge,
    clock_jumps: Family<JumpLabels, Counter>,
    deliveries: Family<DeliveryLabels, Counter>,
    delivery_seconds: Histogram,
    announce_seconds: Histogram,
    log_lines_lost: Counter,
    /// Where lines of the log that are lost are counted.
    log_lines_lost_now: Arc<AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("portico");
        let accepts = Family::default();
        let commits = Counter::default();
        let commits_failed = Counter::default();
        let batch = Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0]);
        let commit_seconds =
            Histogram::new([0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0]);
        let attempts = Family::default();
        let call_seconds = Histogram::new([
            0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
        ]);
        let outcome_seconds =
            Histogram::new([0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0, 86400.0]);
        let (open, oldest_seconds) = (Gauge::default(), Gauge::default());
        let (deliveries_pending, deliveries_oldest_seconds) = (Gauge::default(), Gauge::default());
        let (clock_unconfirmed_seconds, clock_jumps) = (Gauge::default(), Family::default());
        let deliveries = Family::default();
        let delivery_seconds = Histogram::new([
            0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0,
        ]);
        let announce_seconds =
            Histogram::new([0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0, 86400.0]);
        registry.register(
            "accepts",
            "Writes at the door, by what became of them",
            accepts.clone(),
        );
        registry.register(
            "commits",
            "Synced commits that took in at least one accepted write",
            commits.clone(),
        );
        registry.register(
            "commits_failed",
            "Commits that failed, or of which nobody knows whether they were stored; the log says why",
            commits_failed.clone(),
        );
        registry.register(
            "commit_requests",
            "Requests that shared one commit",
            batch.clone(),
        );
        registry.register_with_unit(
            "commit_duration",
            "How long a commit took",
            Unit::Seconds,
            commit_seconds.clone(),
        );
        registry.register(
            "attempts",
            "Calls to vendors, by how they ended",
            attempts.clone(),
        );
        registry.register_with_unit(
            "call_duration",
            "How long a call to a vendor took",
            Unit::Seconds,
            call_seconds.clone(),
        );
        registry.register_with_unit(
            "outcome_delay",
            "From accept to the end of a write",
            Unit::Seconds,
            outcome_seconds.clone(),
        );
        let store_answers = Gauge::default();
        registry.register(
            "store_answers",
            "Whether the store answered just now: while it does not, depths and ages are those of the last time",
            store_answers.clone(),
        );
        registry.register("queue_depth", "Writes that have not ended", open.clone());
        registry.register_with_unit(
            "queue_age",
            "Age of the oldest write that has not ended",
            Unit::Seconds,
            oldest_seconds.clone(),
        );
        registry.register(
            "deliveries_pending",
            "Events that active webhooks have not taken",
            deliveries_pending.clone(),
        );
        registry.register_with_unit(
            "deliveries_oldest_age",
            "Age of the oldest event that an active webhook has not taken",
            Unit::Seconds,
            deliveries_oldest_seconds.clone(),
        );
        registry.register_with_unit(
            "clock_unconfirmed",
            "How far the clock was set ahead without a confirmation: nothing is given up or expires for it. Run `portico clock accept` if the time is right",
            Unit::Seconds,
            clock_unconfirmed_seconds.clone(),
        );
        registry.register(
            "clock_jumps",
            "How often the clock was set by more than five seconds",
            clock_jumps.clone(),
        );
        registry.register(
            "delivery_attempts",
            "Attempts to deliver events to receivers, by how they ended",
            deliveries.clone(),
        );
        registry.register_with_unit(
            "delivery_duration",
            "How long an attempt to deliver took",
            Unit::Seconds,
            delivery_seconds.clone(),
        );
        registry.register_with_unit(
            "announce_delay",
            "From an event to its being taken by a receiver",
            Unit::Seconds,
            announce_seconds.clone(),
        );
        let log_lines_lost = Counter::default();
        registry.register(
            "log_lines_lost",
            "Lines of the log that could not be written: see where stderr goes",
            log_lines_lost.clone(),
        );
        Self {
            registry,
            accepts,
            commits,
            commits_failed,
            batch,
            commit_seconds,
            attempts,
            call_seconds,
            outcome_seconds,
            store_answers,
            open,
            oldest_seconds,
            deliveries_pending,
            deliveries_oldest_seconds,
            clock_unconfirmed_seconds,
            clock_jumps,
            deliveries,
            delivery_seconds,
            announce_seconds,
            log_lines_lost,
            log_lines_lost_now: Arc::default(),
        }
    }
}

impl Metrics {
    /// The same, told by `lost` how many lines of the log are lost.
    #[must_use]
    pub fn with_log_lines_lost(self, lost: Arc<AtomicU64>) -> Self {
        Self {
            log_lines_lost_now: lost,
            ..self
        }
    }

    /// The clock was set, ahead or back.
    pub fn clock_jumped(&self, is_ahead: bool) {
        let direction = if is_ahead { "ahead" } else { "back" };
        self.clock_jumps
            .get_or_create(&JumpLabels { direction })
            .inc();
    }

    /// A write was at the door.
    pub fn accepted(&self, acceptance: &Acceptance) {
        let result = match acceptance {
            Acceptance::Accepted => "accepted",
            Acceptance::Replayed { .. } => "replayed",
            Acceptance::Mismatch => "mismatch",
            Acceptance::Erased { .. } => "erased",
        };
        self.accepts.get_or_create(&AcceptLabels { result }).inc();
    }

    /// The text, with the depths of writes and of deliveries, or those of the last time when the store does not tell; `None` when it cannot be written.
    pub fn render(&self, depths: Option<(Depth, Depth)>, clock: &dyn Clock) -> Option<String> {
        let steady = clock.steady();
        let unconfirmed_ms = clock.now().millis_since(clock.settled());
        self.clock_unconfirmed_seconds
            .set(i64::try_from(unconfirmed_ms / 1_000).unwrap_or(i64::MAX));
        self.store_answers.set(i64::from(depths.is_some()));
        let depths = depths.map(|(writes, deliveries)| {
            [
                (writes, &self.open, &self.oldest_seconds),
                (
                    deliveries,
                    &self.deliveries_pending,
                    &self.deliveries_oldest_seconds,
                ),
            ]
        });
        for (depth, open, oldest_seconds) in depths.into_iter().flatten() {
            open.set(i64::try_from(depth.open).unwrap_or(i64::MAX));
            let age_ms = depth
                .oldest_queued_at
                .map_or(0, |oldest| steady.millis_since(oldest));
            oldest_seconds.set(i64::try_from(age_ms / 1_000).unwrap_or(i64::MAX));
        }
        let lost = self.log_lines_lost_now.load(Ordering::Relaxed);
        self.log_lines_lost.inner().store(lost, Ordering::Relaxed);
        let mut text = String::new();
        encode(&mut text, &self.registry).ok()?;
        Some(text)
    }
}

impl store::Observer for Metrics {
    fn committed(&self, requests: usize, accepts: usize, took: Duration) {
        if accepts > 0 {
            self.commits.inc();
        }
        self.batch.observe(requests as f64);
        self.commit_seconds.observe(took.as_secs_f64());
    }

    fn commit_failed(&self) {
        self.commits_failed.inc();
    }
}

impl delivery::Observer for Metrics {
    fn attempted(
        &self,
        vendor: Vendor,
        class: Class,
        took: Duration,
        since_accepted_ms: Option<u64>,
    ) {
        self.attempts
            .get_or_create(&AttemptLabels {
                vendor: vendor.to_string(),
                class: class.word(),
            })
            .inc();
        self.call_seconds.observe(took.as_secs_f64());
        if let Some(millis) = since_accepted_ms {
            self.outcome_seconds.observe(millis as f64 / 1_000.0);
        }
    }
}

impl webhooks::announcer::Observer for Metrics {
    fn announced(&self, is_taken: bool, took: Duration, since_created_ms: Option<u64>) {
        let result = if is_taken { "delivered" } else { "failed" };
        self.deliveries
            .get_or_create(&DeliveryLabels { result })
            .inc();
        self.delivery_seconds.observe(took.as_secs_f64());
        if let Some(millis) = since_created_ms {
            self.announce_seconds.observe(millis as f64 / 1_000.0);
        }
    }
}
