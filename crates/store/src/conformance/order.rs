//! The order of writes about one person, and a random history against a model of the whole queue.

#![expect(missing_docs, reason = "a case's name is its sentence")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use model::{
    IntegrationId, JobId, Timestamp,
    record::Kind,
    retry::{CUT_OFFS_EXCUSED, cut_off_seed, write::delay_ms},
    write::{Class, Outcome, WriteStatus},
};

use super::{
    Answer, Backend, START, Seeded, Verdicts, World, again, at, failed, jobs, lapse, listed,
    unlimited,
};
use crate::{Ask, Claim, Claimed, Depth, Lapse, Ticket, Verdict};

pub async fn a_write_waits_for_an_earlier_one_with_a_common_key<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    for (n, verdict) in [failed("no"), world.delivered("x1").1]
        .into_iter()
        .enumerate()
    {
        let n = i64::try_from(n)? * 100;
        let first = world
            .accept(world.write(world.here, at(n), &[1, 2]))
            .await?;
        let second = world
            .accept(world.write(world.here, at(n), &[2, 3]))
            .await?;
        let waiting = world.find(second).await?;
        assert_eq!(waiting.status, WriteStatus::Pending);
        assert_eq!(waiting.next_attempt_at, None);
        let lane = world.lane(world.here, 9, at(n + 1), at(n + 9)).await?;
        assert_eq!((jobs(&lane.writes), lane.next_due_at), (vec![first], None));
        world
            .finish(lane.writes[0].ticket, verdict, at(n + 2))
            .await?;
        let ready = world.find(second).await?;
        assert_eq!(ready.next_attempt_at, Some(at(n + 2)));
        let claimed = world.claim(at(n + 2)).await?;
        assert_eq!(jobs(&claimed), [second]);
        assert!(!claimed[0].may_be_held);
        world
            .finish(claimed[0].ticket, failed("no"), at(n + 3))
            .await?;
    }
    Ok(())
}

/// Claims and fails what is due until nothing is, and returns the writes in the order claimed, a line a claim.
async fn drain<B: Backend>(world: &World<B>, now: Timestamp) -> Answer<Vec<Vec<JobId>>> {
    let mut rounds = Vec::new();
    loop {
        let claimed = world.claim(now).await?;
        if claimed.is_empty() {
            return Ok(rounds);
        }
        rounds.push(jobs(&claimed));
        for one in claimed {
            world.finish(one.ticket, failed("no"), now).await?;
        }
    }
}

pub async fn a_chain_over_two_keys_is_delivered_in_order<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let (email, phone) = (1, 2);
    let a = world.accept_here(&[email]).await?;
    let b = world.accept_here(&[email, phone]).await?;
    let c = world.accept_here(&[phone]).await?;
    let d = world.accept_here(&[email]).await?;
    let rounds = drain(&world, at(1)).await?;
    assert_eq!(rounds, [vec![a], vec![b], vec![c, d]]);
    // The keys are free again.
    let e = world.accept_here(&[phone, email]).await?;
    assert_eq!(jobs(&world.claim(at(1)).await?), [e]);
    Ok(())
}

pub async fn a_write_with_two_keys_waits_for_both<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let a = world.accept_here(&[1]).await?;
    let b = world.accept_here(&[2]).await?;
    let c = world.accept_here(&[1, 2]).await?;
    let claimed = world.claim(at(1)).await?;
    assert_eq!(jobs(&claimed), [a, b]);
    world.finish(claimed[1].ticket, failed("no"), at(2)).await?;
    assert_eq!(world.claim(at(2)).await?.len(), 0);
    world.finish(claimed[0].ticket, failed("no"), at(3)).await?;
    assert_eq!(jobs(&world.claim(at(3)).await?), [c]);
    Ok(())
}

pub async fn a_repeated_attempt_keeps_later_writes_waiting<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let first = world.accept_here(&[1]).await?;
    let second = world.accept_here(&[1]).await?;
    let ticket = world.claim_one(at(1)).await?;
    world.finish(ticket, again(at(50), "busy"), at(2)).await?;
    assert_eq!(world.claim(at(49)).await?.len(), 0);
    let ticket = world.claim_one(at(50)).await?;
    lapse(&world.store, Lapse::All, at(60)).await?;
    assert_eq!(jobs(&world.claim(at(60)).await?), [first]);
    world.finish(ticket, failed("late"), at(61)).await?;
    assert_eq!(world.claim(at(61)).await?.len(), 0);
    let (_, verdict) = world.delivered("x1");
    world.finish(ticket, verdict, at(62)).await?;
    assert_eq!(jobs(&world.claim(at(62)).await?), [second]);
    Ok(())
}

pub async fn other_keys_do_not_wait<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let mut expected = Vec::new();
    for keys in [&[1][..], &[2], &[], &[-1, i64::MIN], &[], &[i64::MAX, 0]] {
        expected.push(world.accept_here(keys).await?);
    }
    assert_eq!(jobs(&world.claim(at(1)).await?), expected);
    Ok(())
}

pub async fn a_key_named_twice_does_not_block<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let a = world.accept_here(&[1, 1]).await?;
    let b = world.accept_here(&[1, 2, 2, 1]).await?;
    let c = world.accept_here(&[2]).await?;
    let rounds = drain(&world, at(1)).await?;
    assert_eq!(rounds, [[a], [b], [c]]);
    Ok(())
}

pub async fn waiting_survives_a_restart<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    let first = world.accept_here(&[1]).await?;
    let second = world.accept_here(&[1, 2]).await?;
    world.restart().await?;
    let third = world.accept_here(&[2]).await?;
    let claimed = world.claim(at(1)).await?;
    assert_eq!(jobs(&claimed), [first]);
    world.restart().await?;
    assert_eq!(world.claim(at(2)).await?.len(), 0);
    world.finish(claimed[0].ticket, failed("no"), at(2)).await?;
    world.restart().await?;
    let rounds = drain(&world, at(2)).await?;
    assert_eq!(rounds, [[second], [third]]);
    Ok(())
}

/// Histories of the random case, and steps of each.
const SEEDS: [u64; 2] = [11, 22];
const STEPS: usize = 250;

/// Steps between two comparisons of every open write.
const COMPARE_STEPS: usize = 25;

/// Where a write of the model stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Waits,
    Ready { due: Timestamp },
    Leased { until: Timestamp },
    Ended { status: WriteStatus },
}

/// A write as the model knows it. Its place in [`Model::writes`] is its place in the order accepted.
struct Known {
    job_id: JobId,
    lane: IntegrationId,
    keys: BTreeSet<i64>,
    stand: Stand,
    accepted_at: Timestamp,
    attempt: u32,
    attempts: BTreeMap<u32, Class>,
    /// The attempts that were cut off.
    cut_off: BTreeSet<u32>,
    errors: Vec<String>,
    outcome: Option<Outcome>,
    record_id: Option<String>,
    completed_at: Option<Timestamp>,
}

impl Known {
    /// The attempts that were cut off and do not count for the schedule: two in a row.
    fn excused(&self) -> Vec<u32> {
        let is_third = |number: u32| {
            (1..=CUT_OFFS_EXCUSED)
                .all(|back| number > back && self.cut_off.contains(&(number - back)))
        };
        let all = self.cut_off.iter().copied();
        all.filter(|number| !is_third(*number)).collect()
    }
}

/// A queue with the rules written down as plainly as possible.
#[derive(Default)]
struct Model {
    writes: Vec<Known>,
    places: HashMap<JobId, usize>,
    /// Records by integration and the vendor's id.
    records: HashMap<(IntegrationId, Option<String>), String>,
    /// The writes that have ended, in the order they did.
    ended: Vec<usize>,
    /// Every ticket that was ever given out.
    tickets: Vec<(usize, Ticket)>,
}

impl Model {
    fn is_open(&self, place: usize) -> bool {
        !matches!(self.writes[place].stand, Stand::Ended { .. })
    }

    /// Whether an earlier open write shares a key with this one.
    fn is_blocked(&self, place: usize) -> bool {
        (0..place).any(|earlier| {
            self.is_open(earlier)
                && !self.writes[earlier]
                    .keys
                    .is_disjoint(&self.writes[place].keys)
        })
    }

    fn accept(&mut self, job_id: JobId, lane: IntegrationId, keys: &[i64], now: Timestamp) {
        let place = self.writes.len();
        self.places.insert(job_id, place);
        self.writes.push(Known {
            job_id,
            lane,
            keys: keys.iter().copied().collect(),
            stand: Stand::Ready { due: now },
            accepted_at: now,
            attempt: 0,
            attempts: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            errors: Vec::new(),
            outcome: None,
            record_id: None,
            completed_at: None,
        });
        if self.is_blocked(place) {
            self.writes[place].stand = Stand::Waits;
        }
    }

    /// The ready writes of a lane and when they are due, in the order due.
    fn ready(&self, lane: IntegrationId) -> Vec<(Timestamp, usize)> {
        let mut ready: Vec<_> = self
            .writes
            .iter()
            .enumerate()
            .filter(|(_, write)| write.lane == lane)
            .filter_map(|(place, write)| match write.stand {
                Stand::Ready { due } => Some((due, place)),
                _ => None,
            })
            .collect();
        ready.sort_unstable();
        ready
    }

    /// How many writes of a lane are under a lease.
    fn leased(&self, lane: IntegrationId) -> usize {
        let held = self
            .writes
            .iter()
            .filter(|write| write.lane == lane && matches!(write.stand, Stand::Leased { .. }));
        held.count()
    }

    /// Checks what a claim brought for a lane, and notes it.
    fn claim(
        &mut self,
        lane: IntegrationId,
        limit: usize,
        claim: (Timestamp, Timestamp),
        got: &[Claimed],
    ) {
        let (now, until) = claim;
        let mut expected = self.ready(lane);
        expected.retain(|(due, _)| *due <= now);
        expected.truncate(limit);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(_, place)| self.writes[place].job_id)
            .collect();
        assert_eq!(jobs(got), expected);
        for one in got {
            let place = self.places[&one.job_id];
            assert!(!self.is_blocked(place), "claimed before its turn");
            let write = &mut self.writes[place];
            write.attempt += 1;
            let excused = u32::try_from(write.excused().len()).unwrap_or(u32::MAX);
            assert_eq!(one.tries, write.attempt - excused);
            write.stand = Stand::Leased { until };
            let was_unknown = write
                .attempts
                .values()
                .any(|class| *class == Class::Unknown);
            assert_eq!(
                (one.ticket.attempt, one.may_be_held, one.accepted_at),
                (write.attempt, was_unknown, write.accepted_at)
            );
            self.tickets.push((place, one.ticket));
        }
    }

    fn lapse(&mut self, which: Lapse, now: Timestamp) -> u64 {
        let mut count = 0;
        for (place, write) in self.writes.iter_mut().enumerate() {
            if let Stand::Leased { until } = write.stand
                && (which == Lapse::All || until <= now)
            {
                write.attempts.insert(write.attempt, Class::Unknown);
                write.cut_off.insert(write.attempt);
                count += 1;
                let excused = write.excused();
                let mut due = now;
                if !excused.contains(&write.attempt)
                    && let Some((_, ticket)) = self.tickets.iter().find(|one| one.0 == place)
                {
                    let failures = write.attempt - u32::try_from(excused.len()).unwrap_or(0);
                    let seed = cut_off_seed(ticket.seq, now);
                    let wait_ms = delay_ms(failures, Class::Unknown, seed);
                    due = now.plus_millis(i64::try_from(wait_ms).unwrap_or(i64::MAX));
                }
                write.stand = Stand::Ready { due };
            }
        }
        count
    }

    fn renew(&mut self, tickets: &[(usize, Ticket)], to: Timestamp) {
        for (place, ticket) in tickets {
            let write = &mut self.writes[*place];
            if let Stand::Leased { until } = &mut write.stand
                && write.attempt == ticket.attempt
            {
                *until = to;
            }
        }
    }

    /// Notes the end of an attempt; returns the status that is to follow.
    fn finish(
        &mut self,
        (place, ticket): (usize, Ticket),
        class: Class,
        verdict: &Verdict,
        now: Timestamp,
    ) -> WriteStatus {
        let write = &mut self.writes[place];
        write.attempts.insert(ticket.attempt, class);
        write.cut_off.remove(&ticket.attempt);
        if let Stand::Ended { status } = write.stand {
            return status;
        }
        let holds = matches!(write.stand, Stand::Leased { .. }) && write.attempt == ticket.attempt;
        match verdict {
            Verdict::Delivered {
                x_id, record_id, ..
            } => {
                let known = (write.lane, x_id.clone());
                let is_new = !self.records.contains_key(&known);
                let record = self
                    .records
                    .entry(known)
                    .or_insert_with(|| record_id.to_string());
                write.outcome = Some(if is_new {
                    Outcome::Created
                } else {
                    Outcome::Matched
                });
                write.record_id = Some(record.clone());
                write.errors.clear();
                self.end(place, WriteStatus::Success, now);
                WriteStatus::Success
            }
            _ if !holds => WriteStatus::Pending,
            Verdict::Failed { errors } => {
                write.errors.clone_from(errors);
                self.end(place, WriteStatus::Failure, now);
                WriteStatus::Failure
            }
            Verdict::Again { at, errors } => {
                write.errors.clone_from(errors);
                write.stand = Stand::Ready { due: *at };
                WriteStatus::Pending
            }
        }
    }

    fn end(&mut self, place: usize, status: WriteStatus, now: Timestamp) {
        self.writes[place].stand = Stand::Ended { status };
        self.writes[place].completed_at = Some(now);
        self.ended.push(place);
        for later in place + 1..self.writes.len() {
            if self.writes[later].stand == Stand::Waits && !self.is_blocked(later) {
                self.writes[later].stand = Stand::Ready { due: now };
            }
        }
    }

    fn depth(&self) -> Depth {
        let mut open = (0..self.writes.len()).filter(|place| self.is_open(*place));
        let oldest = open.next();
        Depth {
            open: oldest.iter().count() as u64 + open.count() as u64,
            oldest_queued_at: oldest.map(|place| self.writes[place].accepted_at),
        }
    }

    /// Of each key, writes ended in the order accepted; and none ended twice.
    fn assert_order(&self) {
        let mut last = HashMap::new();
        for place in &self.ended {
            for key in &self.writes[*place].keys {
                let before = last.insert(*key, *place);
                assert!(
                    before < Some(*place),
                    "of key {key}, {before:?} ended before {place}"
                );
            }
        }
        let distinct: BTreeSet<_> = self.ended.iter().collect();
        assert_eq!(distinct.len(), self.ended.len());
    }
}

/// A random history: the world, its model, and what decides.
struct History<B> {
    world: World<B>,
    model: Model,
    dice: Arc<Seeded>,
    now: Timestamp,
}

impl<B: Backend> History<B> {
    fn soon(&self, seconds: usize) -> Timestamp {
        self.now
            .plus_millis(1 + self.dice.below(seconds * 1_000) as i64)
    }

    fn lanes(&self) -> [IntegrationId; 2] {
        [self.world.here, self.world.there]
    }

    async fn accept(&mut self) -> Verdicts {
        let lane = self.dice.below(2);
        // Keys of a person at one integration: a few of few, so that they meet.
        let keys: Vec<i64> = (0..self.dice.below(4))
            .map(|_| (lane * 100 + self.dice.below(5)) as i64)
            .collect();
        let lane = self.lanes()[lane];
        let write = self.world.write(lane, self.now, &keys);
        let job_id = self.world.accept(write).await?;
        self.model.accept(job_id, lane, &keys, self.now);
        Ok(())
    }

    async fn claim(&mut self, most: usize) -> Verdicts {
        let limits: Vec<_> = self
            .lanes()
            .into_iter()
            .map(|lane| (lane, self.dice.below(most), 1 + self.dice.below(2 * most)))
            .collect();
        let lease_until = self.soon(15);
        let claim = Claim {
            lanes: limits
                .iter()
                .map(|(lane, limit, concurrency)| Ask {
                    concurrency: *concurrency as u32,
                    ..unlimited(*lane, *limit as u32)
                })
                .collect(),
            now: self.now,
            lease_until,
        };
        let lanes = self.world.store.writes_claim(claim).await?;
        assert_eq!(lanes.len(), limits.len());
        for (got, (lane, limit, concurrency)) in lanes.iter().zip(limits) {
            assert_eq!(got.integration_id, lane);
            let limit = limit.min(concurrency.saturating_sub(self.model.leased(lane)));
            self.model
                .claim(lane, limit, (self.now, lease_until), &got.writes);
            let next = self.model.ready(lane).first().map(|(due, _)| *due);
            assert_eq!(got.next_due_at, next);
        }
        Ok(())
    }

    async fn finish(&mut self) -> Verdicts {
        // Mostly of the latest leases, sometimes of any there ever was.
        let count = self.model.tickets.len();
        let window = if self.dice.below(4) == 0 {
            count
        } else {
            count.min(8)
        };
        if window == 0 {
            return Ok(());
        }
        let ticket = self.model.tickets[count - 1 - self.dice.below(window)];
        let (class, verdict) = match self.dice.below(6) {
            0..=2 => {
                let x_id = format!("x{}", self.dice.below(6));
                (Class::Delivered, self.world.delivered(&x_id).1)
            }
            3 => (Class::Rejected, failed("refused")),
            4 => (Class::Retry, again(self.soon(9), "busy")),
            _ => (Class::Unknown, again(self.soon(9), "timed out")),
        };
        let expected = self.model.finish(ticket, class, &verdict, self.now);
        let status = self
            .world
            .finish_as(ticket.1, class, verdict, self.now)
            .await?;
        assert_eq!(status, expected);
        Ok(())
    }

    async fn lapse(&mut self, which: Lapse) -> Verdicts {
        let count = lapse(&self.world.store, which, self.now).await?;
        assert_eq!(count, self.model.lapse(which, self.now));
        Ok(())
    }

    async fn renew(&mut self) -> Verdicts {
        let until = self.soon(15);
        let count = self.model.tickets.len();
        let some: Vec<_> = (0..self.dice.below(4).min(count))
            .map(|_| self.model.tickets[count - 1 - self.dice.below(count.min(8))])
            .collect();
        let tickets = some.iter().map(|(_, ticket)| *ticket).collect();
        self.world.store.leases_renew(tickets, until).await?;
        self.model.renew(&some, until);
        Ok(())
    }

    async fn step(&mut self) -> Verdicts {
        match self.dice.below(100) {
            0..25 => self.accept().await,
            25..50 => self.claim(4).await,
            50..78 => self.finish().await,
            78..86 => self.lapse(Lapse::Expired).await,
            86..91 => self.renew().await,
            91..92 => self.lapse(Lapse::All).await,
            92..93 => self.world.restart().await,
            _ => {
                self.now = self.soon(6);
                Ok(())
            }
        }
    }

    /// Compares the store with the model: the queue as a whole, and every write of `places`.
    async fn compare(&self, places: impl Iterator<Item = usize>) -> Verdicts {
        let store = &self.world.store;
        let depth = store.queue_depth().await?;
        assert_eq!(depth, self.model.depth());
        let mut due = store.lanes_due().await?;
        due.sort_unstable();
        let mut expected: Vec<_> = self
            .lanes()
            .into_iter()
            .filter_map(|lane| Some((lane, self.model.ready(lane).first()?.0)))
            .collect();
        expected.sort_unstable();
        assert_eq!(due, expected);
        for place in places {
            let known = &self.model.writes[place];
            let found = self.world.find(known.job_id).await?;
            let (status, next) = match known.stand {
                Stand::Waits | Stand::Leased { .. } => (WriteStatus::Pending, None),
                Stand::Ready { due } => (WriteStatus::Pending, Some(due)),
                Stand::Ended { status } => (status, None),
            };
            assert_eq!((found.status, found.next_attempt_at), (status, next));
            assert_eq!(
                (found.integration_id, found.attempts, &found.errors),
                (known.lane, known.attempt, &known.errors)
            );
            assert_eq!(
                (found.outcome, &found.record_id, found.completed_at),
                (known.outcome, &known.record_id, known.completed_at)
            );
            let attempts = store.attempts_list(&self.world.all, known.job_id).await?;
            let attempts: Vec<_> = attempts.iter().map(|one| (one.number, one.class)).collect();
            let expected: Vec<_> = known
                .attempts
                .iter()
                .map(|(number, class)| (*number, *class))
                .collect();
            assert_eq!(attempts, expected);
        }
        Ok(())
    }

    /// Delivers whatever is left.
    async fn drain(&mut self) -> Verdicts {
        while self.model.depth().open > 0 {
            self.now = self.now.plus_millis(60_000);
            self.lapse(Lapse::Expired).await?;
            let given = self.model.tickets.len();
            let limit = self.model.writes.len() + 1;
            // Every limit but none: a lane may draw 0, and the other goes on.
            self.claim(limit).await?;
            for index in given..self.model.tickets.len() {
                let ticket = self.model.tickets[index];
                let (_, verdict) = self.world.delivered(&format!("y{}", ticket.0));
                let class = Class::Delivered;
                self.model.finish(ticket, class, &verdict, self.now);
                let status = self
                    .world
                    .finish_as(ticket.1, class, verdict, self.now)
                    .await?;
                assert_eq!(status, WriteStatus::Success);
            }
        }
        Ok(())
    }
}

pub async fn a_random_history_agrees_with_a_model<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    for seed in SEEDS {
        // Integrations of its own, so that histories do not meet.
        world.here = IntegrationId::new(START, &*world.entropy);
        world.there = IntegrationId::new(START, &*world.entropy);
        world.register(world.here).await?;
        world.register(world.there).await?;
        let mut history = History {
            world,
            model: Model::default(),
            dice: Arc::new(Seeded::new(seed)),
            now: START,
        };
        for step in 0..STEPS {
            history
                .step()
                .await
                .map_err(|why| format!("seed {seed}, step {step}: {why}"))?;
            if step % COMPARE_STEPS == 0 {
                let open: Vec<_> = (0..history.model.writes.len())
                    .filter(|place| history.model.is_open(*place))
                    .collect();
                history.compare(open.into_iter()).await?;
            }
        }
        history.compare(0..history.model.writes.len()).await?;
        history.drain().await?;
        history.compare(0..history.model.writes.len()).await?;
        history.model.assert_order();
        let page = history
            .world
            .store
            .records_list(&history.world.all, &listed(Kind::Prospect, 0, 10_000))
            .await?;
        let lanes = history.lanes().map(|lane| lane.to_string());
        let stored: BTreeSet<_> = page
            .rows
            .into_iter()
            .filter(|row| lanes.contains(&row.integration_id))
            .map(|row| row.id)
            .collect();
        let expected: BTreeSet<_> = history.model.records.into_values().collect();
        assert_eq!(stored, expected);
        world = history.world;
    }
    Ok(())
}
