//! The loop that hands due writes to connectors.
//!
//! Guarantee: subscribed before it looks, so it sleeps through nothing. Fair: connection slots go
//! to the lane that has the fewest, and a lane that has none always gets one. Bounded: it never has
//! more calls under way than the settings allow, and [`FIRST_CALLS_MAX`] first calls beyond; as many
//! outcomes again may wait for the store. Other processes may do the same on the same store: their
//! writes are under their leases, and the limits of an integration hold for all together ([`Ask`]).

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Instant,
};

use connectors::{Answer, Target, connector::Deliver};
use model::{
    IntegrationId, Timestamp, Vendor,
    directory::Directory,
    retry,
    write::{Attempt, Class, Reply},
};
use store::{Ask, Claim, Claimed, Error, Finish, Lapse, Ticket, Verdict};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Duration,
};

use crate::{
    FIRST_CALLS_MAX, Parts,
    lane::{Lane, Lanes, pause_ms},
    recording::{STORE_TROUBLE_WAIT, until_recorded},
    share::{Slots, Want, deal},
    way::Turn,
};

/// After how long a write is tried again whose lease lapsed before its call, in milliseconds.
const LATE_AGAIN_MS: i64 = 1_000;

/// What the loop hears of a call.
#[derive(Clone, Copy)]
enum Report {
    /// It is over, and its outcome is with the store, in front of the next claim. So the claim that
    /// fills its place is served in the commit that records it.
    Ended(Ended),
    /// Its outcome is recorded, or its lease is left to lapse.
    Recorded {
        integration_id: IntegrationId,
        ticket: Ticket,
        /// When its write is due again, if it is.
        again_at: Option<Timestamp>,
    },
}

/// A call that is over.
#[derive(Clone, Copy)]
struct Ended {
    integration_id: IntegrationId,
    class: Class,
    retry_after_ms: Option<u64>,
    /// When the vendor's answer came. What is known of the vendor is as old as that.
    at: Timestamp,
}

/// The writes that this process works on.
#[derive(Default)]
struct Leases {
    /// Until when each lease holds.
    until: HashMap<Ticket, Timestamp>,
    /// Calls under way. The other leases are those of outcomes on their way into the store.
    calls: usize,
}

impl Leases {
    /// Connection slots in use, of `calls_max`. An outcome that waits for the store uses none,
    /// unless as many wait as there are slots: then the store does not keep up.
    fn slots(&self, calls_max: usize) -> usize {
        self.calls.max(self.until.len().saturating_sub(calls_max))
    }
}

pub(crate) async fn run(parts: Arc<Parts>, lanes: &Lanes, mut stopping: watch::Receiver<bool>) {
    let mut leases = Leases::default();
    let mut calls = JoinSet::new();
    let (done_sender, mut done) = mpsc::channel::<Report>(parts.settings.in_flight_max.max(1));
    let mut next_sweep = Timestamp::ZERO;
    let mut changes = parts.live.changes();
    while !*stopping.borrow() {
        let due = parts.store.signals().due();
        let now = parts.timer.steady();
        let is_sweep = now >= next_sweep;
        if is_sweep {
            next_sweep = now.plus_millis(parts.settings.sweep_ms);
            sweep(&parts, &leases.until, now).await;
        }
        // Taken in any case: a sweep looks at everything, too.
        if parts.store.signals().take_missed_due() || is_sweep {
            look(&parts, lanes).await;
        }
        for id in parts.store.signals().take_due() {
            lanes.lock().entry(id).or_default().way.signal(now);
        }
        let mut wake_at = next_sweep;
        let directory = parts.live.get();
        let asks = asks(
            &parts,
            &directory,
            &mut lanes.lock(),
            leases.slots(parts.settings.in_flight_max),
            now,
            &mut wake_at,
        );
        if asks.is_empty() {
            tokio::select! {
                () = due => {}
                // What an integration was kept back by may be no more.
                _ = changes.changed() => {}
                Some(one) = done.recv() => take(&parts, lanes, &mut leases, one),
                () = parts.timer.sleep_until(wake_at) => {}
                _ = stopping.changed() => {}
            }
        } else {
            claim(
                &parts,
                &directory,
                lanes,
                &mut leases,
                &mut calls,
                &done_sender,
                asks,
                now,
            )
            .await;
        }
        while let Ok(one) = done.try_recv() {
            take(&parts, lanes, &mut leases, one);
        }
        while calls.try_join_next().is_some() {}
    }
    let drain = async {
        while calls.join_next().await.is_some() {
            while done.try_recv().is_ok() {}
        }
    };
    if tokio::time::timeout(Duration::from_millis(parts.settings.drain_ms), drain)
        .await
        .is_err()
    {
        tracing::warn!(
            calls = calls.len(),
            "calls still under way are given up; their writes are repeated"
        );
        calls.shutdown().await;
    }
}

/// What every lane may claim now; `wake_at` is brought forward to when a lane that may not, may.
fn asks(
    parts: &Parts,
    directory: &Directory,
    lanes: &mut HashMap<IntegrationId, Lane>,
    slots_used: usize,
    now: Timestamp,
    wake_at: &mut Timestamp,
) -> Vec<Ask> {
    let mut wants: Vec<Want<Ask>> = Vec::new();
    for (id, lane) in lanes {
        let Some(integration) = directory.integration(*id).filter(|one| one.calls()) else {
            continue;
        };
        lane.follow(integration.updated_at);
        let concurrency = integration.settings.max_job_concurrency;
        match lane.turn(now, concurrency) {
            Turn::Claim(limit) => wants.push(Want {
                key: Ask {
                    integration_id: *id,
                    limit,
                    concurrency,
                    gap_micros: integration.settings.call_gap_micros(),
                    as_of: Some(integration.updated_at),
                },
                held: lane.way.in_flight,
                served_at: lane.served_at,
                limit,
            }),
            Turn::At(at) => *wake_at = (*wake_at).min(at),
            Turn::Idle => {}
        }
    }
    let slots = Slots::left(parts.settings.in_flight_max, FIRST_CALLS_MAX, slots_used);
    let dealt = deal(wants, slots).into_iter();
    dealt.map(|(ask, limit)| Ask { limit, ..ask }).collect()
}

#[expect(
    clippy::too_many_arguments,
    reason = "the loop's own state, taken apart so that the loop reads in one screen"
)]
async fn claim(
    parts: &Arc<Parts>,
    directory: &Directory,
    lanes: &Lanes,
    leases: &mut Leases,
    calls: &mut JoinSet<()>,
    done: &mpsc::Sender<Report>,
    asks: Vec<Ask>,
    now: Timestamp,
) {
    let again: Vec<IntegrationId> = asks.iter().map(|ask| ask.integration_id).collect();
    for id in &again {
        // Whatever becomes ready from here on signals anew; the claim tells what is ready by now.
        if let Some(lane) = lanes.lock().get_mut(id) {
            lane.way.due_at = None;
        }
    }
    let lease_until = now.plus_millis(parts.settings.lease_ms);
    let claimed = match parts
        .store
        .writes_claim(Claim {
            lanes: asks,
            now,
            lease_until,
        })
        .await
    {
        Ok(claimed) => claimed,
        Err(why) => {
            why.tell("due writes could not be claimed; trying again");
            for id in again {
                lanes.lock().entry(id).or_default().way.signal(now);
            }
            tokio::time::sleep(STORE_TROUBLE_WAIT).await;
            return;
        }
    };
    let mut lanes = lanes.lock();
    for got in claimed {
        let lane = lanes.entry(got.integration_id).or_default();
        lane.told(now, got.next_due_at, got.not_before);
        for (ticket, why) in got.unreadable {
            calls.spawn(end_unreadable(parts.clone(), ticket, why));
        }
        let Some(integration) = directory.integration(got.integration_id) else {
            continue;
        };
        let Some(connector) = parts.registry.get(integration.vendor) else {
            continue;
        };
        let count = u32::try_from(got.writes.len()).unwrap_or(u32::MAX);
        lane.way.began(now, count);
        if count > 0 {
            lane.served_at = now;
        }
        for write in got.writes {
            leases.until.insert(write.ticket, lease_until);
            leases.calls += 1;
            let call = deliver(
                parts.clone(),
                connector.connections().writes.clone(),
                Target::of(integration),
                integration.vendor,
                got.integration_id,
                (write, lease_until),
                done.clone(),
            );
            calls.spawn(call);
        }
    }
}

fn take(parts: &Parts, lanes: &Lanes, leases: &mut Leases, one: Report) {
    match one {
        Report::Ended(one) => {
            leases.calls = leases.calls.saturating_sub(1);
            ended(parts, lanes, one);
        }
        Report::Recorded {
            integration_id,
            ticket,
            again_at,
        } => {
            leases.until.remove(&ticket);
            let mut lanes = lanes.lock();
            let lane = lanes.entry(integration_id).or_default();
            lane.recorded();
            if let Some(again_at) = again_at {
                lane.way.signal(again_at);
            }
        }
    }
}

fn ended(parts: &Parts, lanes: &Lanes, one: Ended) {
    let seed = parts.entropy.number();
    let mut lanes = lanes.lock();
    let lane = lanes.entry(one.integration_id).or_default();
    let now = one.at;
    let was_held_up = lane.way.is_held_up(now);
    lane.ended(now, one.class, pause_ms(one.retry_after_ms), seed);
    if lane.way.is_held_up(now) && !was_held_up {
        tracing::warn!(integration_id = %one.integration_id, class = %one.class, retry_after_ms = one.retry_after_ms, "the vendor is in trouble, or asked to be left alone; the integration's writes wait a while");
    }
}

/// Renews what is held, and ends what lapsed, whoever held it.
async fn sweep(parts: &Parts, held: &HashMap<Ticket, Timestamp>, now: Timestamp) {
    let tickets: Vec<Ticket> = held.keys().copied().collect();
    let work = async {
        if !tickets.is_empty() {
            parts
                .store
                .leases_renew(tickets, now.plus_millis(parts.settings.lease_ms))
                .await?;
        }
        let lapsed = parts.store.leases_lapse(Lapse::Expired, now).await?;
        if lapsed > 0 {
            tracing::warn!(lapsed, "leases lapsed; their writes are repeated");
        }
        Ok::<(), Error>(())
    };
    match work.await {
        Ok(()) => {}
        Err(why) => why.tell("leases could not be looked after; trying again"),
    }
}

/// Looks for due writes that no signal told of.
async fn look(parts: &Parts, lanes: &Lanes) {
    match parts.store.lanes_due().await {
        Ok(due) => {
            let mut lanes = lanes.lock();
            for (id, at) in due {
                lanes.entry(id).or_default().way.signal(at);
            }
        }
        Err(why) => why.tell("it could not be read what is due; trying again at the next sweep"),
    }
}

/// Makes one call and records what became of it. When the lease has lapsed before, none is made: this process stood still meanwhile, and another may have delivered the write, and
/// later ones about the same person.
async fn deliver(
    parts: Arc<Parts>,
    vendor_calls: Arc<dyn Deliver>,
    target: Target,
    vendor: Vendor,
    integration_id: IntegrationId,
    (write, lease_until): (Claimed, Timestamp),
    done: mpsc::Sender<Report>,
) {
    let started_at = parts.timer.now();
    let is_late = parts.timer.steady() >= lease_until;
    let started = Instant::now();
    let answer = if is_late {
        failed(
            Class::Retry,
            "No call was made: Portico stood still until its lease had lapsed",
        )
    } else {
        // A task of its own, so that a call that panics is an attempt like any other.
        let call = write.call.clone();
        let called = tokio::spawn(async move { vendor_calls.call(&target, &call).await }).await;
        called.unwrap_or_else(|_| {
            failed(
                Class::Unknown,
                "Portico failed while it made the call; this is a fault of Portico's",
            )
        })
    };
    let took = started.elapsed();
    let (class, retry_after_ms) = (answer.class, answer.retry_after_ms);
    let (now, steady) = (parts.timer.now(), parts.timer.steady());
    let verdict = if is_late {
        // However old it is: it ends after a try, not without one.
        Verdict::Again {
            at: steady.plus_millis(LATE_AGAIN_MS),
            errors: answer.error.clone().into_iter().collect(),
        }
    } else {
        decide(&parts, &write, &answer)
    };
    told(&write, integration_id, class, took);
    let again_at = match verdict {
        Verdict::Again { at, .. } => Some(at),
        Verdict::Delivered { .. } | Verdict::Failed { .. } => None,
    };
    let finish = Finish {
        ticket: write.ticket,
        attempt: Attempt {
            number: write.ticket.attempt,
            started_at,
            duration_ms: Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            class,
            error: answer.error,
            reply: answer.reply,
        },
        verdict,
        pause_until: pause_ms(retry_after_ms)
            .map(|asked| steady.plus_millis(i64::try_from(asked).unwrap_or(i64::MAX))),
        now,
    };
    let mut recording = pin!(record(&parts, &finish));
    // Polled once, it is in the store's queue.
    let begun = poll_fn(|context| Poll::Ready(recording.as_mut().poll(context))).await;
    let ended = Ended {
        integration_id,
        class,
        retry_after_ms,
        at: steady,
    };
    let _ = done.send(Report::Ended(ended)).await;
    let is_recorded = match begun {
        Poll::Ready(is_recorded) => is_recorded,
        Poll::Pending => recording.await,
    };
    if is_recorded {
        let since_accepted_ms = again_at
            .is_none()
            .then(|| steady.millis_since(write.queued_at));
        parts
            .observer
            .attempted(vendor, class, took, since_accepted_ms);
    }
    let _ = done
        .send(Report::Recorded {
            integration_id,
            ticket: write.ticket,
            again_at,
        })
        .await;
}

/// What stands for an answer where the vendor gave none.
fn failed(class: Class, why: &str) -> Answer {
    Answer {
        class,
        x_id: None,
        error: Some(why.to_owned()),
        retry_after_ms: None,
        reply: Reply::default(),
    }
}

/// One line an attempt. Without the vendor's words, which may repeat a person's contact: `portico` shows them to who asks for the attempts.
fn told(write: &Claimed, integration_id: IntegrationId, class: Class, took: Duration) {
    let (job_id, attempt) = (write.job_id, write.ticket.attempt);
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match class {
        Class::Delivered => {
            tracing::debug!(%job_id, %integration_id, attempt, took_ms, "delivered");
        }
        Class::Unauthorized => {
            tracing::warn!(%job_id, %integration_id, attempt, took_ms, "the vendor refuses the integration's credential; its writes wait");
        }
        Class::Rejected | Class::Retry | Class::Unknown => {
            tracing::info!(%job_id, %integration_id, attempt, took_ms, %class, "an attempt failed");
        }
    }
}

/// Ends a write that cannot be read as FAILURE: its call cannot be made, and those behind it must not wait for ever.
async fn end_unreadable(parts: Arc<Parts>, ticket: Ticket, why: String) {
    tracing::error!(seq = ticket.seq, %why, "a stored write cannot be read; it ends as FAILURE");
    let now = parts.timer.now();
    let error = format!("Portico could not read the stored write: {why}");
    let finish = Finish {
        ticket,
        attempt: Attempt {
            number: ticket.attempt,
            started_at: now,
            duration_ms: Some(0),
            class: Class::Rejected,
            error: Some(error.clone()),
            reply: Reply::default(),
        },
        verdict: Verdict::Failed {
            errors: vec![error],
        },
        pause_until: None,
        now,
    };
    record(&parts, &finish).await;
}

/// Records an outcome; `false` when the store would not have it, so that the lease lapses and the call is repeated.
async fn record(parts: &Parts, finish: &Finish) -> bool {
    let trouble = "an outcome could not be recorded; trying again";
    let recorded = until_recorded(trouble, || parts.store.attempt_finish(finish)).await;
    if let Err(why) = &recorded {
        tracing::error!(%why, seq = finish.ticket.seq, "an outcome could not be recorded; its call is repeated");
    }
    recorded.is_ok()
}

/// What follows from an answer.
fn decide(parts: &Parts, write: &Claimed, answer: &Answer) -> Verdict {
    let mut errors: Vec<String> = answer.error.clone().into_iter().collect();
    match answer.class {
        Class::Delivered => Verdict::Delivered {
            x_id: answer.x_id.clone(),
            record_id: write
                .operation
                .kind()
                .new_id(parts.timer.now(), &*parts.entropy),
        },
        Class::Rejected => {
            if write.may_be_held {
                errors.push(
                    "An earlier attempt ended without a known outcome: the vendor may hold it"
                        .to_owned(),
                );
            }
            Verdict::Failed { errors }
        }
        Class::Retry | Class::Unknown | Class::Unauthorized => {
            let age_ms = age_ms(parts, write);
            if age_ms >= parts.settings.write_max_age_ms {
                return Verdict::Failed {
                    errors: given_up(parts, write, answer),
                };
            }
            let delay_ms = retry::write::delay_asked_ms(
                write.tries,
                answer.class,
                parts.entropy.number(),
                answer.retry_after_ms,
            );
            // The last try falls on the maximum age, not somewhere behind it.
            let delay_ms = delay_ms.min(parts.settings.write_max_age_ms - age_ms);
            Verdict::Again {
                at: parts
                    .timer
                    .steady()
                    .plus_millis(i64::try_from(delay_ms).unwrap_or(i64::MAX)),
                errors,
            }
        }
    }
}

/// How old a write is, by the clock that says more. Settled time does not count a jump ahead that
/// nobody confirmed; steady time counts on where the clock was set back behind the accept.
fn age_ms(parts: &Parts, write: &Claimed) -> u64 {
    let settled_ms = parts.timer.settled().millis_since(write.accepted_at);
    let steady_ms = parts.timer.steady().millis_since(write.queued_at);
    settled_ms.max(steady_ms)
}

fn given_up(parts: &Parts, write: &Claimed, answer: &Answer) -> Vec<String> {
    let hours = parts.settings.write_max_age_ms / 3_600_000;
    let known = if write.may_be_held || answer.class == Class::Unknown {
        "the outcome is still unknown: the vendor may hold it. Look it up at the vendor before you send it again"
    } else {
        "the vendor did not take it"
    };
    let mut errors = vec![format!(
        "Given up after {} attempts over {hours} hours: {known}",
        write.ticket.attempt
    )];
    errors.extend(answer.error.clone());
    errors
}
