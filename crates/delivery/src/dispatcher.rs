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

use connectors::{
    Answer, Target,
    connector::{Connections, FetchToken},
    write_operation::{IfUnknown, WriteOperation},
};
use model::{
    IntegrationId, Timestamp,
    directory::{Directory, Integration},
    retry,
    write::{Attempt, AttemptKind, Call, Class, Reply},
};
use store::{Ask, Claim, Claimed, Error, Finish, Lapse, Ticket, VendorLimit, Verdict};
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
    step::{self, Step},
    tokens::Given,
    way::Turn,
};

/// After how long a write is tried again whose call could not be made, in milliseconds.
const NO_CALL_AGAIN_MS: i64 = 1_000;

/// Why a write ends that must not arrive twice.
const NEVER_REPEATED: &str = "The outcome is unknown, and this is never sent twice: the vendor may hold it. Look it up at the vendor before you send it again";

/// What the loop hears of a call.
#[derive(Clone, Copy)]
enum Report {
    /// It is over, and its outcome is with the store, in front of the next claim. So the claim that
    /// fills its place is served in the commit that records it.
    Ended(Ended),
    /// No call was made: the write was put back until its turn.
    PutBack {
        integration_id: IntegrationId,
        ticket: Ticket,
        turn_at: Timestamp,
    },
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
        // What is of a vendor that this build does not have waits for one that does.
        let is_called =
            |one: &&Arc<Integration>| one.calls() && parts.registry.get(one.vendor).is_some();
        let Some(integration) = directory.integration(*id).filter(is_called) else {
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
                connector.connections().clone(),
                connector.operation(write.operation),
                integration.clone(),
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
        Report::PutBack {
            integration_id,
            ticket,
            turn_at,
        } => {
            leases.calls = leases.calls.saturating_sub(1);
            leases.until.remove(&ticket);
            let mut lanes = lanes.lock();
            let lane = lanes.entry(integration_id).or_default();
            lane.way.put_back();
            lane.way.signal(turn_at);
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

/// Makes the next call of a write and records what became of it. When the lease has lapsed before,
/// none is made: this process stood still meanwhile, and another may have delivered the write, and
/// later ones about the same person.
async fn deliver(
    parts: Arc<Parts>,
    connections: Connections,
    operation: Option<&'static WriteOperation>,
    integration: Arc<Integration>,
    (write, lease_until): (Claimed, Timestamp),
    done: mpsc::Sender<Report>,
) {
    let integration_id = integration.id;
    let started_at = parts.timer.now();
    let started = Instant::now();
    let made = if parts.timer.steady() >= lease_until {
        Made::NoCall("No call was made: Portico stood still until its lease had lapsed")
    } else {
        make(&parts, &connections, operation, &integration, &write).await
    };
    if let Made::PutBack(turn_at) = made {
        let report = Report::PutBack {
            integration_id,
            ticket: write.ticket,
            turn_at,
        };
        let _ = done.send(report).await;
        return;
    }
    let took = started.elapsed();
    let steady = parts.timer.steady();
    let decided = decide(&parts, operation, &write, made);
    let Decided {
        kind,
        request,
        answer,
        x_id,
        verdict,
    } = decided;
    let (class, retry_after_ms) = (answer.class, answer.retry_after_ms);
    let now = parts.timer.now();
    told(&write, integration_id, class, took);
    let again_at = match verdict {
        Verdict::Again { at, .. } => Some(at),
        Verdict::Delivered { .. } | Verdict::Failed { .. } => None,
    };
    let is_due_at_once = again_at.is_some_and(|at| at <= steady);
    let finish = Finish {
        ticket: write.ticket,
        attempt: Attempt {
            number: write.ticket.attempt,
            started_at,
            duration_ms: Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            class,
            error: answer.error,
            reply: answer.reply,
            kind,
            x_id,
            request,
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
        class: match (kind, class) {
            // It has answered what it was asked.
            (AttemptKind::Resolve, Class::Retry) => Class::Delivered,
            // A new token is fetched at once.
            (_, Class::Unauthorized) if is_due_at_once => Class::Delivered,
            (_, class) => class,
        },
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
            .attempted(integration.vendor, class, took, since_accepted_ms);
    }
    let _ = done
        .send(Report::Recorded {
            integration_id,
            ticket: write.ticket,
            again_at,
        })
        .await;
}

/// Makes the next call of a write. A vendor that gives tokens is asked for one first, where there is
/// none in force.
async fn make(
    parts: &Parts,
    connections: &Connections,
    operation: Option<&'static WriteOperation>,
    integration: &Integration,
    write: &Claimed,
) -> Made {
    let Step::Call(kind, call) = step::next(operation, &write.call, write.last.as_ref()) else {
        return Made::GivenUp;
    };
    let mut target = Target::of(integration);
    let mut token = None;
    if let Some(fetch) = &connections.token {
        match parts.tokens.of(integration.id).await {
            Ok(Given::Token(given)) => {
                target.token = Some(given.secret.clone());
                token = Some(given);
            }
            Ok(Given::Right) => return renew(parts, fetch.clone(), integration.id, target).await,
            Err(why) => {
                tracing::warn!(%why, integration_id = %integration.id, "the vendor's token could not be read");
                return Made::NoCall("No call was made: the vendor's token could not be read");
            }
        }
    }
    match turn(parts, integration, write).await {
        Ok(None) => {}
        Ok(Some(turn_at)) => return Made::PutBack(turn_at),
        Err(why) => {
            tracing::warn!(%why, integration_id = %integration.id, "a turn could not be taken");
            return Made::NoCall("No call was made: the vendor's own limits could not be read");
        }
    }
    // A task of its own, so that a call that panics is an attempt like any other.
    let (writes, sent) = (connections.writes.clone(), call.clone());
    let called = tokio::spawn(async move { writes.call(&target, kind, &sent).await });
    let answer = called.await.unwrap_or_else(|_| panicked());
    // Once: if the next token is refused as well, it is the credentials.
    let was_refused = write
        .last
        .as_ref()
        .is_some_and(|last| last.class == Class::Unauthorized);
    if let (Some(token), Class::Unauthorized, false) = (token, answer.class, was_refused) {
        if let Err(why) = parts.tokens.expire(integration.id, &token).await {
            why.tell("a token that the vendor refuses could not be given up");
        }
        return Made::TokenRefused(kind, call, answer);
    }
    Made::Call(kind, call, answer)
}

/// The turn of a write under the limits that its vendor sets by itself, if it has not come yet.
async fn turn(
    parts: &Parts,
    integration: &Integration,
    write: &Claimed,
) -> Result<Option<Timestamp>, Error> {
    let Some(connector) = parts.registry.get(integration.vendor) else {
        return Ok(None);
    };
    let all = connector.definition().paces.iter().enumerate();
    let limits = all.filter(|(_, pace)| pace.counts(write.operation));
    let limits: Vec<VendorLimit> = limits
        .map(|(place, pace)| VendorLimit {
            key: match pace.is_per_community {
                true => format!("{place} {}", write.call.x_community_id),
                false => place.to_string(),
            },
            gap_micros: pace.gap_micros(),
        })
        .collect();
    if limits.is_empty() || write.has_turn {
        return Ok(None);
    }
    let now = parts.timer.steady();
    let taken = parts
        .store
        .turn_take(integration.id, write.ticket, limits, now);
    taken.await
}

/// Fetches a token and keeps it.
async fn renew(
    parts: &Parts,
    fetch: Arc<dyn FetchToken>,
    id: IntegrationId,
    target: Target,
) -> Made {
    let call = fetch.token_call();
    let sent = call.clone();
    let called = tokio::spawn(async move { fetch.token_fetch(&target, &sent).await });
    let (mut answer, token) = called.await.unwrap_or_else(|_| (panicked(), None));
    let kept = match &token {
        Some(token) => parts.tokens.keep(id, token).await,
        None => parts.tokens.end(id).await,
    };
    if let Err(why) = kept {
        why.tell("a vendor's token could not be kept; it is fetched again");
        answer = failed(Class::Retry, "The vendor's token could not be kept");
    }
    Made::Call(AttemptKind::Token, call, answer)
}

fn panicked() -> Answer {
    failed(
        Class::Unknown,
        "Portico failed while it made the call; this is a fault of Portico's",
    )
}

/// What stands for an answer where the vendor gave none.
fn failed(class: Class, why: &str) -> Answer {
    Answer {
        class,
        x_id: None,
        is_match: false,
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
            kind: AttemptKind::Write,
            x_id: None,
            request: None,
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

/// What became of a claimed write.
enum Made {
    /// No call, for this reason: it is made a little later.
    NoCall(&'static str),
    /// No call: its turn comes then, and it was put back.
    PutBack(Timestamp),
    /// No call: none can be made any more.
    GivenUp,
    /// A call, and its answer.
    Call(AttemptKind, Call, Answer),
    /// A call that was refused for its token, which is given up.
    TokenRefused(AttemptKind, Call, Answer),
}

/// What is recorded of it.
struct Decided {
    kind: AttemptKind,
    /// What was sent, where that is not the write's own call.
    request: Option<Call>,
    answer: Answer,
    /// The vendor's id, where the next call needs it.
    x_id: Option<String>,
    verdict: Verdict,
}

impl Decided {
    fn without_call(answer: Answer, verdict: Verdict) -> Self {
        Self {
            // It says nothing of what the vendor has: the next step is what this one was to be.
            kind: AttemptKind::NoCall,
            request: None,
            answer,
            x_id: None,
            verdict,
        }
    }
}

/// What follows from what was made.
fn decide(
    parts: &Parts,
    operation: Option<&WriteOperation>,
    write: &Claimed,
    made: Made,
) -> Decided {
    let soon = |millis: i64| parts.timer.steady().plus_millis(millis);
    let is_token_refused = matches!(made, Made::TokenRefused(..));
    let (kind, call, answer) = match made {
        Made::Call(kind, call, answer) | Made::TokenRefused(kind, call, answer) => {
            (kind, call, answer)
        }
        // However old it is: it ends after a try, not without one.
        Made::NoCall(why) => {
            let verdict = Verdict::Again {
                at: soon(NO_CALL_AGAIN_MS),
                errors: vec![why.to_owned()],
            };
            return Decided::without_call(failed(Class::Retry, why), verdict);
        }
        Made::GivenUp | Made::PutBack(_) => {
            let errors = vec![NEVER_REPEATED.to_owned()];
            let answer = failed(Class::Unknown, "No call was made: this is never sent twice");
            return Decided::without_call(answer, Verdict::Failed { errors });
        }
    };
    let is_never_repeated =
        operation.is_some_and(|one| matches!(one.if_unknown, IfUnknown::NeverRepeat));
    let has_follow_up = operation.is_some_and(|one| one.follow_up.is_some());
    let delivered = |x_id: Option<String>, errors: Vec<String>| Verdict::Delivered {
        x_id,
        record_id: write
            .operation
            .kind()
            .new_id(parts.timer.now(), &*parts.entropy),
        errors,
    };
    let errors: Vec<String> = answer.error.clone().into_iter().collect();
    let known_x_id = write.last.as_ref().and_then(|last| last.x_id.clone());
    let mut kept_x_id = None;
    let verdict = match (kind, answer.class) {
        _ if is_token_refused => {
            kept_x_id = known_x_id;
            Verdict::Again {
                at: soon(0),
                errors,
            }
        }
        (AttemptKind::Token, Class::Delivered) => Verdict::Again {
            at: soon(0),
            errors,
        },
        // What is found may be what it held before, without what is new in the write.
        (AttemptKind::Write | AttemptKind::Resolve, Class::Delivered)
            if (answer.is_match || kind == AttemptKind::Resolve)
                && has_follow_up
                && answer.x_id.is_some() =>
        {
            kept_x_id.clone_from(&answer.x_id);
            Verdict::Again {
                at: soon(0),
                errors,
            }
        }
        (AttemptKind::FollowUp, Class::Delivered) => {
            delivered(answer.x_id.clone().or(known_x_id), Vec::new())
        }
        (AttemptKind::FollowUp, Class::Rejected) => delivered(known_x_id, errors),
        (_, Class::Delivered) => delivered(answer.x_id.clone(), Vec::new()),
        (AttemptKind::Write, Class::Unknown) if is_never_repeated => Verdict::Failed {
            errors: [NEVER_REPEATED.to_owned()]
                .into_iter()
                .chain(errors)
                .collect(),
        },
        (AttemptKind::Write, Class::Rejected) => rejected(write, errors),
        // The vendor has said that it does not have it.
        (AttemptKind::Resolve, Class::Retry) => Verdict::Again {
            at: soon(0),
            errors,
        },
        _ => {
            if kind == AttemptKind::FollowUp {
                kept_x_id = known_x_id;
            }
            again(parts, write, &answer, errors)
        }
    };
    Decided {
        kind,
        request: (kind != AttemptKind::Write).then_some(call),
        answer,
        x_id: kept_x_id,
        verdict,
    }
}

fn rejected(write: &Claimed, mut errors: Vec<String>) -> Verdict {
    if write.may_be_held {
        errors.push(
            "An earlier attempt ended without a known outcome: the vendor may hold it".to_owned(),
        );
    }
    Verdict::Failed { errors }
}

/// Another try on schedule, unless the write is too old.
fn again(parts: &Parts, write: &Claimed, answer: &Answer, errors: Vec<String>) -> Verdict {
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
