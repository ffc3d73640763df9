//! The loop that delivers events to subscribers.
//!
//! Guarantee: what is stored to be delivered is tried until its receiver has it, or as often as the schedule says; subscribed before it looks, so it sleeps
//! through nothing; a slow or dead receiver delays no other, since each has its own lane and always room for one delivery.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use delivery::{
    Timer,
    recording::{STORE_TROUBLE_WAIT, until_recorded},
    running::Running,
    share::{Slots, Want, deal},
    way::{Turn, Way},
};
use model::{
    Entropy, EventId, Timestamp, WebhookId, retry,
    webhook::{DeliveryAttempt, Event, ObjectStyle, Webhook},
};
use store::{
    Error, Lapse, Store,
    webhooks::{
        ClaimedDelivery, DeliveryClaim, DeliveryFinish, DeliveryTicket, DeliveryVerdict, Health,
        Standing,
    },
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    client::Client,
    sender::{Gone, Sent, send},
};

/// The longest that one answer's `Retry-After` keeps the other deliveries back. The one that was told waits as long as it was told.
const PAUSE_MAX_MS: u64 = 60 * 60_000;

/// How far apart two answers 410 that have a body must be, with none taken in between, to be believed:
/// six hours. Gateways say it, too, while what stands behind them is being deployed or mended.
const GONE_AGAIN_MS: i64 = 6 * 3_600_000;

/// How long the log says nothing more of a receiver after a line about it, in milliseconds: one
/// that works at every second attempt does not fill it.
const TOLD_EVERY_MS: i64 = 60_000;

/// Who wants to know about attempts: metrics.
pub trait Observer: Send + Sync + 'static {
    /// One attempt ended after `took`; with `since_created_ms`, its event was taken with it.
    fn announced(&self, is_taken: bool, took: Duration, since_created_ms: Option<u64>);
}

/// The announcer's bounds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Deliveries under way at once over all subscribers, beyond the one that each may always have: bounds memory.
    pub in_flight_max: usize,
    /// Deliveries under way at once to one subscriber.
    pub per_webhook_max: u32,
    /// How long a lease holds. Twice as long as an attempt may take ([`CALL_TIMEOUT`](crate::client::CALL_TIMEOUT)), so that there is as much time again to record how it went: it is not renewed. What a
    /// dead process held is taken over within a lease and a sweep.
    pub lease_ms: i64,
    /// How often lapsed leases are looked for, and, as a net under the signals, due deliveries and changed subscriptions.
    pub sweep_ms: i64,
    /// How long deliveries under way may go on once the announcer is told to stop.
    pub drain_ms: u64,
    /// How long a receiver may do nothing but fail before its subscription is switched off: days, so that no weekend is too long.
    pub disable_after_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            in_flight_max: 1_024,
            per_webhook_max: 32,
            lease_ms: 30_000,
            sweep_ms: 5_000,
            drain_ms: 10_000,
            disable_after_ms: 5 * 24 * 3_600_000,
        }
    }
}

/// What the announcer works with.
pub struct Parts {
    /// Where deliveries are claimed and their outcomes recorded.
    pub store: Arc<Store>,
    /// The way to receivers.
    pub client: Client,
    /// Time.
    pub timer: Arc<dyn Timer>,
    /// Jitter.
    pub entropy: Arc<dyn Entropy>,
    /// Metrics.
    pub observer: Arc<dyn Observer>,
    /// Bounds.
    pub settings: Settings,
}

/// Starts an announcer on the current runtime. Told to stop, it claims nothing more, lets deliveries
/// under way finish within the drain time, and gives the rest up: their leases lapse and they are
/// sent again.
pub fn start(parts: Parts) -> Running {
    Running::start(|stopping| run(Arc::new(parts), stopping))
}

/// A delivery that is over.
struct Done {
    webhook_id: WebhookId,
    is_taken: bool,
    retry_after_ms: Option<u64>,
    /// When it is due again, if it is.
    again_at: Option<Timestamp>,
    /// What it changed about the receiver.
    health: Health,
}

/// What the log was told of a receiver.
struct Told {
    /// When, in steady time.
    at: Timestamp,
    /// Whether it failed then.
    failed: bool,
    /// Whether it fails now.
    fails: bool,
    /// How often that has changed since.
    changes: u32,
}

/// What the loop knows: the lanes, and the subscriptions as they were last read.
#[derive(Default)]
struct Known {
    lanes: HashMap<WebhookId, Way>,
    webhooks: HashMap<WebhookId, Arc<Webhook>>,
    /// The receivers that began to fail or to work since this process began.
    told: HashMap<WebhookId, Told>,
    /// As of which change of them.
    revision: Option<i64>,
    /// As of which signal that one of them changed.
    signalled: Option<u64>,
    in_flight: usize,
}

async fn run(parts: Arc<Parts>, mut stopping: watch::Receiver<bool>) {
    let mut known = Known::default();
    let mut calls = JoinSet::new();
    let (done_sender, mut done) = mpsc::unbounded_channel::<Done>();
    let mut next_sweep = Timestamp::ZERO;
    while !*stopping.borrow() {
        let signals = parts.store.signals();
        let due = signals.deliveries_due();
        let now = parts.timer.steady();
        let signalled = signals.webhooks_revision();
        let is_sweep = now >= next_sweep;
        if is_sweep {
            next_sweep = now.plus_millis(parts.settings.sweep_ms);
            sweep(&parts, now).await;
            tell_health(&mut known, now);
        }
        // Taken in any case: a sweep looks at everything, too.
        if signals.take_missed_deliveries() || is_sweep {
            look(&parts, &mut known).await;
        }
        if is_sweep || known.signalled != Some(signalled) {
            reload(&parts, &mut known, signalled).await;
        }
        for id in signals.take_deliveries_due() {
            known.lanes.entry(id).or_default().signal(now);
        }
        let mut wake_at = next_sweep;
        let asks = asks(&parts.settings, &known, now, &mut wake_at);
        if asks.is_empty() {
            tokio::select! {
                () = due => {}
                Some(one) = done.recv() => take(&parts, &mut known, &one),
                () = parts.timer.sleep_until(wake_at) => {}
                _ = stopping.changed() => {}
            }
        } else {
            claim(&parts, &mut known, &mut calls, &done_sender, asks, now).await;
        }
        while let Ok(one) = done.try_recv() {
            take(&parts, &mut known, &one);
        }
        while calls.try_join_next().is_some() {}
    }
    let drain = async { while calls.join_next().await.is_some() {} };
    let within = Duration::from_millis(parts.settings.drain_ms);
    if tokio::time::timeout(within, drain).await.is_err() {
        tracing::warn!(
            deliveries = calls.len(),
            "deliveries still under way are given up; their events are sent again"
        );
        calls.shutdown().await;
    }
}

/// Reads the subscriptions anew, if one of them changed, here or in another process. One that was changed begins anew: perhaps it leads elsewhere now.
async fn reload(parts: &Parts, known: &mut Known, signalled: u64) {
    let read = async {
        // Before what it is of: a change between the two is read once more, and never missed.
        let revision = parts.store.webhooks_revision().await?;
        if known.revision == Some(revision) {
            return Ok(None);
        }
        let read = parts.store.webhooks_all().await?;
        Ok(Some((revision, read)))
    };
    match read.await {
        Ok(None) => known.signalled = Some(signalled),
        Ok(Some((revision, read))) => {
            let mut webhooks = HashMap::with_capacity(read.len());
            for webhook in read {
                let before = known.webhooks.get(&webhook.id);
                let is_changed = before.is_some_and(|before| {
                    before.updated_at != webhook.updated_at || before.active != webhook.active
                });
                if is_changed && let Some(lane) = known.lanes.get_mut(&webhook.id) {
                    lane.forgive();
                }
                webhooks.insert(webhook.id, Arc::new(webhook));
            }
            known
                .lanes
                .retain(|id, lane| webhooks.contains_key(id) || lane.in_flight > 0);
            known.told.retain(|id, _| webhooks.contains_key(id));
            known.webhooks = webhooks;
            known.revision = Some(revision);
            known.signalled = Some(signalled);
        }
        Err(Error::Closed) => {}
        Err(why) => {
            why.tell("the subscriptions could not be read; trying again");
            tokio::time::sleep(STORE_TROUBLE_WAIT).await;
        }
    }
}

/// What every lane may claim now; `wake_at` is brought forward to when a lane that may not, may.
fn asks(
    settings: &Settings,
    known: &Known,
    now: Timestamp,
    wake_at: &mut Timestamp,
) -> Vec<(WebhookId, u32)> {
    let mut wants: Vec<Want<WebhookId>> = Vec::new();
    for (id, lane) in &known.lanes {
        if known.webhooks.get(id).is_none_or(|webhook| !webhook.active) {
            continue;
        }
        match lane.turn(now, settings.per_webhook_max) {
            Turn::Claim(limit) => wants.push(Want {
                key: *id,
                held: lane.in_flight,
                served_at: Timestamp::ZERO,
                limit,
            }),
            Turn::At(at) => *wake_at = (*wake_at).min(at),
            Turn::Idle => {}
        }
    }
    // Subscriptions are few enough that each may have one under way beyond the maximum.
    let slots = Slots::left(settings.in_flight_max, usize::MAX, known.in_flight);
    deal(wants, slots)
}

async fn claim(
    parts: &Arc<Parts>,
    known: &mut Known,
    calls: &mut JoinSet<()>,
    done: &mpsc::UnboundedSender<Done>,
    asks: Vec<(WebhookId, u32)>,
    now: Timestamp,
) {
    for (id, _) in &asks {
        // Whatever becomes ready from here on signals anew; the claim tells what is ready by now.
        if let Some(lane) = known.lanes.get_mut(id) {
            lane.due_at = None;
        }
    }
    let again: Vec<WebhookId> = asks.iter().map(|(id, _)| *id).collect();
    let claim = DeliveryClaim {
        lanes: asks,
        now,
        lease_until: now.plus_millis(parts.settings.lease_ms),
    };
    let claimed = match parts.store.deliveries_claim(claim).await {
        Ok(claimed) => claimed,
        Err(why) => {
            why.tell("due deliveries could not be claimed; trying again");
            for id in again {
                known.lanes.entry(id).or_default().signal(now);
            }
            tokio::time::sleep(STORE_TROUBLE_WAIT).await;
            return;
        }
    };
    for got in claimed {
        let lane = known.lanes.entry(got.webhook_id).or_default();
        if let Some(next_due_at) = got.next_due_at {
            lane.signal(next_due_at);
        }
        let Some(webhook) = known.webhooks.get(&got.webhook_id) else {
            continue;
        };
        let count = got.deliveries.len();
        lane.began(now, u32::try_from(count).unwrap_or(u32::MAX));
        known.in_flight += count;
        for delivery in got.deliveries {
            calls.spawn(deliver(
                parts.clone(),
                webhook.clone(),
                delivery,
                done.clone(),
            ));
        }
    }
}

fn take(parts: &Parts, known: &mut Known, one: &Done) {
    known.in_flight = known.in_flight.saturating_sub(1);
    let now = parts.timer.steady();
    let lane = known.lanes.entry(one.webhook_id).or_default();
    let pause_ms = one.retry_after_ms.map(|asked| asked.min(PAUSE_MAX_MS));
    lane.ended(now, one.is_taken, pause_ms, parts.entropy.number());
    if let Some(again_at) = one.again_at {
        lane.signal(again_at);
    }
    if matches!(one.health, Health::Fails | Health::Works) {
        let fails = one.health == Health::Fails;
        let told = known.told.entry(one.webhook_id).or_insert(Told {
            at: now.plus_millis(-TOLD_EVERY_MS),
            failed: !fails,
            fails,
            changes: 0,
        });
        told.fails = fails;
        told.changes = told.changes.saturating_add(1);
        tell_health(known, now);
    }
}

/// Puts into the log which receivers have begun to fail or to work, a line each now and then.
/// Attempts have none: they are listed to who asks for them.
fn tell_health(known: &mut Known, now: Timestamp) {
    for (webhook_id, told) in &mut known.told {
        if told.changes == 0 || now < told.at.plus_millis(TOLD_EVERY_MS) {
            continue;
        }
        let changes = told.changes;
        if told.fails == told.failed {
            let fails = told.fails;
            tracing::info!(%webhook_id, changes, fails, "a receiver works and fails by turns");
        } else if told.fails {
            tracing::info!(%webhook_id, changes, "a receiver fails; its events are sent again");
        } else {
            tracing::info!(%webhook_id, changes, "a receiver works again");
        }
        *told = Told {
            at: now,
            failed: told.fails,
            fails: told.fails,
            changes: 0,
        };
    }
}

/// Ends what lapsed, whoever held it.
async fn sweep(parts: &Parts, now: Timestamp) {
    match parts.store.deliveries_lapse(Lapse::Expired, now).await {
        Ok(0) => {}
        Ok(lapsed) => tracing::warn!(
            lapsed,
            "leases of deliveries lapsed; their events are sent again"
        ),
        Err(why) => why.tell("leases of deliveries could not be looked after; trying again"),
    }
    match parts.store.webhooks_lapse(parts.timer.settled()).await {
        Ok(lapsed) => {
            for webhook_id in lapsed {
                tracing::warn!(%webhook_id, "a subscription was switched off, since the API key that made it has expired; its events are kept, and delivered when it is switched on");
            }
        }
        Err(why) => why.tell("keys of subscriptions could not be looked after; trying again"),
    }
}

/// Looks for due deliveries that no signal told of.
async fn look(parts: &Parts, known: &mut Known) {
    match parts.store.deliveries_due().await {
        Ok(due) => {
            for (id, at) in due {
                known.lanes.entry(id).or_default().signal(at);
            }
        }
        Err(why) => {
            why.tell(
                "it could not be read what is to be delivered; trying again at the next sweep",
            );
        }
    }
}

/// Makes one attempt and records what became of it.
async fn deliver(
    parts: Arc<Parts>,
    webhook: Arc<Webhook>,
    delivery: ClaimedDelivery,
    done: mpsc::UnboundedSender<Done>,
) {
    let ClaimedDelivery { ticket, event } = delivery;
    // A task of its own, so that a panic is an attempt like any other and gives the lane its place back.
    let attempt = tokio::spawn(attempt(parts.clone(), webhook.clone(), ticket, event));
    let over = attempt.await.unwrap_or(Done {
        webhook_id: webhook.id,
        is_taken: false,
        retry_after_ms: None,
        again_at: None,
        health: Health::Same,
    });
    let _ = done.send(over);
}

async fn attempt(
    parts: Arc<Parts>,
    webhook: Arc<Webhook>,
    ticket: DeliveryTicket,
    event: Result<Event, String>,
) -> Done {
    let (started_at, started) = (parts.timer.now(), Instant::now());
    let read =
        event.and_then(|event| Ok((event.id, event.at, body(&event, webhook.object_style)?)));
    let (id, created_at, body) = match read {
        Ok(read) => read,
        Err(why) => {
            let finish = unreadable(ticket, &why, started_at);
            record(&parts, &webhook, &finish).await;
            return Done {
                webhook_id: webhook.id,
                is_taken: false,
                retry_after_ms: None,
                again_at: None,
                health: Health::Same,
            };
        }
    };
    let sent = send(
        &parts.client,
        &webhook,
        id,
        body,
        ticket.attempt,
        (started_at, parts.timer.settled()),
    )
    .await;
    let now = parts.timer.now();
    let retry_after_ms = sent.retry_after_ms;
    let is_taken = sent.attempt.is_taken;
    told(&webhook, id, &sent);
    let verdict = decide(&parts, ticket, &sent);
    let finish = DeliveryFinish {
        ticket,
        standing: standing(&parts, &sent),
        attempt: sent.attempt,
        verdict,
        now,
    };
    let health = record(&parts, &webhook, &finish).await;
    if health.is_some() {
        let since_created_ms = is_taken.then(|| now.millis_since(created_at));
        parts
            .observer
            .announced(is_taken, started.elapsed(), since_created_ms);
    }
    Done {
        webhook_id: webhook.id,
        is_taken,
        retry_after_ms,
        again_at: match verdict {
            DeliveryVerdict::Again(at) => Some(at),
            DeliveryVerdict::Delivered | DeliveryVerdict::GivenUp => None,
        },
        health: health.unwrap_or(Health::Same),
    }
}

fn body(event: &Event, style: ObjectStyle) -> Result<Bytes, String> {
    let told = |why: serde_json::Error| {
        format!(
            "event {} is not readable at line {} column {}",
            event.id,
            why.line(),
            why.column()
        )
    };
    let body = event.body().map_err(told)?.styled(style);
    serde_json::to_vec(&body).map(Bytes::from).map_err(told)
}

/// One line an attempt, for who looks closely. Without the address and the receiver's words, either
/// of which may hold a secret: who asks for the attempts is shown them.
fn told(webhook: &Webhook, event_id: EventId, sent: &Sent) {
    let (webhook_id, attempt, status) = (webhook.id, sent.attempt.number, sent.attempt.status);
    if sent.attempt.is_taken {
        tracing::debug!(%webhook_id, %event_id, attempt, status, "delivered to a receiver");
    } else {
        tracing::debug!(%webhook_id, %event_id, attempt, status, "an attempt to deliver to a receiver failed");
    }
}

/// What follows from an attempt for its delivery.
fn decide(parts: &Parts, ticket: DeliveryTicket, sent: &Sent) -> DeliveryVerdict {
    let now = parts.timer.steady();
    if sent.attempt.is_taken {
        return DeliveryVerdict::Delivered;
    }
    if sent.gone == Gone::Yes {
        // Nothing is sent until the subscription is switched on again, and then this at once.
        return DeliveryVerdict::Again(now);
    }
    match retry::delivery::delay_ms(ticket.tries, sent.retry_after_ms, parts.entropy.number()) {
        Some(delay_ms) => {
            DeliveryVerdict::Again(now.plus_millis(i64::try_from(delay_ms).unwrap_or(i64::MAX)))
        }
        None => DeliveryVerdict::GivenUp,
    }
}

/// What an attempt says about its receiver.
fn standing(parts: &Parts, sent: &Sent) -> Standing {
    let why = sent.attempt.error.as_deref().unwrap_or_default();
    if sent.attempt.is_taken {
        return Standing::Well;
    }
    let days = parts.settings.disable_after_ms / 86_400_000;
    let now = parts.timer.settled();
    let failed_before = now.plus_millis(-parts.settings.disable_after_ms);
    let failed = format!("Every attempt failed for {days} days. The last time, {why}");
    match sent.gone {
        Gone::Yes => Standing::Gone {
            reason: why.to_owned(),
        },
        Gone::Perhaps => Standing::SaidGone {
            said_before: now.plus_millis(-GONE_AGAIN_MS),
            reason: format!("{why}, as it did hours before"),
            failed_before,
            failed,
        },
        Gone::No => Standing::Failed {
            since_before: failed_before,
            reason: failed,
        },
    }
}

/// An event that cannot be read cannot be sent, today or tomorrow: its delivery is given up, and those behind it go on.
fn unreadable(ticket: DeliveryTicket, why: &str, now: Timestamp) -> DeliveryFinish {
    tracing::error!(seq = ticket.event, %why, "a stored event cannot be read; its delivery is given up");
    DeliveryFinish {
        ticket,
        attempt: DeliveryAttempt {
            number: ticket.attempt,
            started_at: now,
            duration_ms: Some(0),
            is_taken: false,
            error: Some(format!("Portico could not read the stored event: {why}")),
            status: None,
            response: None,
            response_is_cut: false,
        },
        verdict: DeliveryVerdict::GivenUp,
        standing: Standing::Unasked,
        now,
    }
}

/// Records an outcome, and returns what it changed about the receiver; `None` when the store would
/// not have it, so that the lease lapses and the event is sent again.
async fn record(parts: &Parts, webhook: &Webhook, finish: &DeliveryFinish) -> Option<Health> {
    let trouble = "an attempt to deliver could not be recorded; trying again";
    match until_recorded(trouble, || parts.store.delivery_finish(finish)).await {
        Ok(health) => {
            if health == Health::Off {
                tracing::warn!(webhook_id = %webhook.id, "a subscription was switched off, since its receiver failed for days or is gone; its events are kept, and delivered when it is switched on");
            }
            Some(health)
        }
        Err(why) => {
            tracing::error!(%why, seq = finish.ticket.event, "an attempt to deliver could not be recorded; it is repeated");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::CALL_TIMEOUT;

    #[test]
    fn a_lease_outlives_the_longest_attempt_and_the_recording_of_it() {
        let lease_ms = Settings::default().lease_ms.unsigned_abs();
        assert!(u128::from(lease_ms) >= 2 * CALL_TIMEOUT.as_millis());
    }
}
