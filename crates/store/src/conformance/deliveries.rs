//! Random histories of deliveries against a model: what happens, is claimed, finished, cut off, replayed, switched off and on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{
    EventId, Timestamp, WebhookId,
    retry::{CUT_OFFS_EXCUSED, cut_off_seed, delivery::delay_ms},
    webhook::{DeliveryStatus, Trigger},
};

use super::{Backend, START, Seeded, Verdicts, World, operator, webhooks::lapse};
use crate::{
    Depth, Lapse,
    subscriptions::types::{DeliveryClaim, DeliveryTicket, DeliveryVerdict, Replay},
};

/// Histories, and steps of each.
const SEEDS: [u64; 2] = [5, 6];
const STEPS: usize = 200;

/// Steps between two comparisons of every delivery.
const COMPARE_STEPS: usize = 20;

/// Subscriptions of a history: the first may be switched off, the second is limited to one integration.
const WEBHOOKS: usize = 3;

/// Where a delivery of the model stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Ready { due: Timestamp },
    Leased { until: Timestamp },
    Delivered,
    GivenUp,
}

#[derive(Clone, Debug)]
struct Known {
    stand: Stand,
    attempts: u32,
    tries: u32,
    /// The attempts that were cut off.
    cut_off: BTreeSet<u32>,
    was_delivered: bool,
}

/// A subscription of the model: its deliveries by the place of the event in the log.
struct Subscriber {
    id: WebhookId,
    is_active: bool,
    takes: bool,
    deliveries: BTreeMap<usize, Known>,
}

struct History<B> {
    world: World<B>,
    dice: Seeded,
    now: Timestamp,
    subscribers: Vec<Subscriber>,
    /// Every event: its id, and whether it is `here`.
    events: Vec<(EventId, bool)>,
    /// Every ticket that was ever given out: of whom, and of which event.
    tickets: Vec<(usize, usize, DeliveryTicket)>,
}

impl<B: Backend> History<B> {
    fn soon(&self, seconds: usize) -> Timestamp {
        self.now
            .plus_millis(1 + self.dice.below(seconds * 1_000) as i64)
    }

    /// Whether the subscriber of this place may see an event.
    fn may_see(&self, who: usize, event: usize) -> bool {
        who != 1 || self.events[event].1
    }

    async fn happen(&mut self) -> Verdicts {
        let is_here = self.dice.below(2) == 0;
        let id = if is_here {
            self.world.here
        } else {
            self.world.there
        };
        let first = self.events.len();
        let names: Vec<String> = (0..self.dice.below(4))
            .map(|n| format!("x{}", first + n))
            .collect();
        for event in self.world.happen(id, &names, self.now).await? {
            let place = self.events.len();
            self.events.push((event, is_here));
            for who in 0..self.subscribers.len() {
                if self.subscribers[who].takes && self.may_see(who, place) {
                    let known = Known {
                        stand: Stand::Ready { due: self.now },
                        attempts: 0,
                        tries: 0,
                        cut_off: BTreeSet::new(),
                        was_delivered: false,
                    };
                    self.subscribers[who].deliveries.insert(place, known);
                }
            }
        }
        Ok(())
    }

    async fn claim(&mut self, most: usize) -> Verdicts {
        let until = self.soon(15);
        let limits: Vec<usize> = (0..WEBHOOKS).map(|_| self.dice.below(most)).collect();
        let lanes = self.subscribers.iter().zip(&limits);
        let claim = DeliveryClaim {
            lanes: lanes.map(|(one, limit)| (one.id, *limit as u32)).collect(),
            now: self.now,
            lease_until: until,
        };
        let mut lanes = self.world.store.deliveries_claim(claim).await?.into_iter();
        for (who, limit) in limits.into_iter().enumerate() {
            let subscriber = &mut self.subscribers[who];
            if !subscriber.is_active {
                continue;
            }
            let lane = lanes.next().ok_or("a lane of each that is active")?;
            assert_eq!(lane.webhook_id, subscriber.id);
            let ready = |one: &Subscriber| {
                let mut all: Vec<_> = one
                    .deliveries
                    .iter()
                    .filter_map(|(place, known)| match known.stand {
                        Stand::Ready { due } => Some((due, *place)),
                        _ => None,
                    })
                    .collect();
                all.sort_unstable();
                all
            };
            let mut expected = ready(subscriber);
            expected.retain(|(due, _)| *due <= self.now);
            expected.truncate(limit);
            assert_eq!(lane.deliveries.len(), expected.len());
            for (got, (_, place)) in lane.deliveries.iter().zip(expected) {
                let event = got.event.as_ref().map_err(Clone::clone)?;
                assert_eq!(event.id, self.events[place].0);
                let known = subscriber.deliveries.get_mut(&place).ok_or("it is there")?;
                assert!(
                    matches!(known.stand, Stand::Ready { .. }),
                    "never under two leases"
                );
                known.attempts += 1;
                known.tries += 1;
                known.stand = Stand::Leased { until };
                assert_eq!(
                    (got.ticket.attempt, got.ticket.tries),
                    (known.attempts, known.tries)
                );
                self.tickets.push((who, place, got.ticket));
            }
            let next = ready(subscriber).first().map(|(due, _)| *due);
            assert_eq!(lane.next_due_at, next);
        }
        assert!(lanes.next().is_none());
        Ok(())
    }

    async fn finish(&mut self) -> Verdicts {
        // Mostly of the latest leases, sometimes of any there ever was.
        let count = self.tickets.len();
        let window = if self.dice.below(4) == 0 {
            count
        } else {
            count.min(8)
        };
        if window == 0 {
            return Ok(());
        }
        let (who, place, ticket) = self.tickets[count - 1 - self.dice.below(window)];
        let verdict = match self.dice.below(5) {
            0..=2 => DeliveryVerdict::Delivered,
            3 => DeliveryVerdict::Again(self.soon(9)),
            _ => DeliveryVerdict::GivenUp,
        };
        self.end(who, place, ticket, verdict).await
    }

    async fn end(
        &mut self,
        who: usize,
        place: usize,
        ticket: DeliveryTicket,
        verdict: DeliveryVerdict,
    ) -> Verdicts {
        assert!(!self.world.tell(ticket, verdict, self.now).await?);
        let known = self.subscribers[who].deliveries.get_mut(&place);
        let known = known.ok_or("it is there")?;
        known.cut_off.remove(&ticket.attempt);
        let holds = matches!(known.stand, Stand::Leased { .. }) && known.attempts == ticket.attempt;
        match verdict {
            DeliveryVerdict::Delivered => {
                known.was_delivered = true;
                known.stand = Stand::Delivered;
            }
            DeliveryVerdict::Again(due) if holds => known.stand = Stand::Ready { due },
            DeliveryVerdict::GivenUp if holds => known.stand = Stand::GivenUp,
            _ => {}
        }
        Ok(())
    }

    async fn lapse(&mut self, which: Lapse) -> Verdicts {
        let mut expected = 0;
        for (who, subscriber) in self.subscribers.iter_mut().enumerate() {
            for (place, known) in &mut subscriber.deliveries {
                let Stand::Leased { until } = known.stand else {
                    continue;
                };
                if which == Lapse::Expired && until > self.now {
                    continue;
                }
                expected += 1;
                let number = known.attempts;
                let before = (1..=CUT_OFFS_EXCUSED)
                    .filter(|back| number > *back && known.cut_off.contains(&(number - back)))
                    .count();
                known.cut_off.insert(number);
                if before < CUT_OFFS_EXCUSED as usize {
                    known.stand = Stand::Ready { due: self.now };
                    known.tries = known.tries.saturating_sub(1);
                    continue;
                }
                let of_it = |(one, event, _): &&(usize, usize, DeliveryTicket)| {
                    (*one, *event) == (who, *place)
                };
                let (_, _, ticket) = self.tickets.iter().find(of_it).ok_or("a ticket")?;
                let seed = cut_off_seed(ticket.event, self.now);
                known.stand = match delay_ms(known.tries, None, seed) {
                    Some(wait) => Stand::Ready {
                        due: self.now.plus_millis(i64::try_from(wait)?),
                    },
                    None => Stand::GivenUp,
                };
            }
        }
        assert_eq!(lapse(&self.world.store, which, self.now).await?, expected);
        Ok(())
    }

    async fn replay(&mut self) -> Verdicts {
        let (who, count) = (self.dice.below(WEBHOOKS), self.events.len());
        if count == 0 {
            return Ok(());
        }
        let (replay, wanted): (_, Vec<usize>) = match self.dice.below(3) {
            0 => {
                let place = self.dice.below(count);
                (Replay::Event(self.events[place].0), vec![place])
            }
            1 => {
                let given_up = self.subscribers[who].deliveries.iter();
                let given_up = given_up.filter(|(_, known)| known.stand == Stand::GivenUp);
                (Replay::Failed, given_up.map(|(place, _)| *place).collect())
            }
            _ => (Replay::Since(START), (0..count).collect()),
        };
        let mut expected = 0;
        for place in wanted {
            if !self.may_see(who, place) {
                continue;
            }
            let ready = Stand::Ready { due: self.now };
            let known = self.subscribers[who].deliveries.entry(place);
            let known = known.or_insert(Known {
                stand: ready,
                attempts: 0,
                tries: 0,
                cut_off: BTreeSet::new(),
                was_delivered: false,
            });
            if !matches!(known.stand, Stand::Leased { .. }) {
                (known.stand, known.tries) = (ready, 0);
                expected += 1;
            }
        }
        let (by, mut got, mut after) = (operator(), 0, 0);
        loop {
            let id = self.subscribers[who].id;
            let done = self
                .world
                .store
                .deliveries_replay(&by, id, replay, after, 7, self.now);
            let Some(piece) = done.await? else { break };
            got += piece.count;
            match piece.next {
                Some(next) => after = next,
                None => break,
            }
        }
        assert_eq!(got, expected, "{replay:?}");
        Ok(())
    }

    async fn switch(&mut self) -> Verdicts {
        let first = &mut self.subscribers[0];
        first.is_active = !first.is_active;
        first.takes = first.is_active;
        if first.is_active {
            // What failed before is no reason to wait any more.
            for known in first.deliveries.values_mut() {
                match &mut known.stand {
                    Stand::Ready { due } if *due > self.now => {
                        *due = self.now;
                        known.tries = 0;
                    }
                    _ => {}
                }
            }
        }
        self.world
            .switch(first.id, first.is_active, self.now)
            .await?;
        Ok(())
    }

    async fn step(&mut self) -> Verdicts {
        match self.dice.below(100) {
            0..20 => self.happen().await,
            20..45 => self.claim(4).await,
            45..75 => self.finish().await,
            75..82 => self.lapse(Lapse::Expired).await,
            82..83 => self.lapse(Lapse::All).await,
            83..87 => self.replay().await,
            87..91 => self.switch().await,
            91..93 => self.world.restart().await,
            _ => {
                self.now = self.soon(6);
                Ok(())
            }
        }
    }

    async fn compare(&self) -> Verdicts {
        let (mut open, mut oldest) = (0, None);
        for one in &self.subscribers {
            let all = self.world.deliveries(one.id, None).await?;
            assert_eq!(all.len(), one.deliveries.len());
            if let Some(newest) = all.first() {
                let found = self.world.delivery(one.id, newest.event_id).await?;
                assert_eq!(format!("{found:?}"), format!("{newest:?}"));
            }
            let all: HashMap<_, _> = all.into_iter().map(|one| (one.event_id, one)).collect();
            for (place, known) in &one.deliveries {
                let found = all.get(&self.events[*place].0).ok_or("it is listed")?;
                let (status, next) = match known.stand {
                    Stand::Ready { due } => (DeliveryStatus::Pending, one.is_active.then_some(due)),
                    Stand::Leased { .. } => (DeliveryStatus::Pending, None),
                    Stand::Delivered => (DeliveryStatus::Delivered, None),
                    Stand::GivenUp => (DeliveryStatus::Failed, None),
                };
                assert_eq!(
                    (found.status, found.next_attempt_at, found.attempts),
                    (status, next, known.attempts)
                );
                if one.is_active && status == DeliveryStatus::Pending {
                    open += 1;
                    let at = found.created_at;
                    oldest = Some(oldest.map_or(at, |before: Timestamp| before.min(at)));
                }
            }
        }
        let depth = Depth {
            open,
            oldest_queued_at: oldest,
        };
        assert_eq!(self.world.store.deliveries_depth().await?, depth);
        Ok(())
    }

    /// Ends all that is open. Nothing is pending then, and every event was delivered, or is given up.
    async fn drain(&mut self) -> Verdicts {
        if !self.subscribers[0].is_active {
            self.switch().await?;
        }
        self.lapse(Lapse::All).await?;
        while self.world.store.deliveries_depth().await?.open > 0 {
            // One that was cut off again and again may be due hours later.
            self.now = self.soon(3_600);
            let before = self.tickets.len();
            self.claim(20).await?;
            let fresh = self.tickets[before..].to_vec();
            for (who, place, ticket) in fresh {
                self.end(who, place, ticket, DeliveryVerdict::Delivered)
                    .await?;
            }
        }
        self.compare().await?;
        for known in self
            .subscribers
            .iter()
            .flat_map(|one| one.deliveries.values())
        {
            match known.stand {
                Stand::Delivered => assert!(known.was_delivered),
                Stand::GivenUp => {}
                open => return Err(format!("still open: {open:?}").into()),
            }
        }
        assert!(self.world.store.deliveries_due().await?.is_empty());
        Ok(())
    }
}

/// A history's data is the case's own for the first seed; the others go on where it ended.
pub async fn a_random_history_of_deliveries_agrees_with_a_model<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let mut subscribers = Vec::new();
    for who in 0..WEBHOOKS {
        let mut webhook = world.webhook(&[Trigger::DataNew]);
        webhook.integrations = (who == 1).then(|| vec![world.here]);
        subscribers.push(Subscriber {
            id: world.subscribe(webhook).await?,
            is_active: true,
            takes: true,
            deliveries: BTreeMap::new(),
        });
    }
    let mut history = History {
        world,
        dice: Seeded::new(0),
        now: START,
        subscribers,
        events: Vec::new(),
        tickets: Vec::new(),
    };
    for seed in SEEDS {
        history.dice = Seeded::new(seed);
        for step in 0..STEPS {
            history.step().await?;
            if step % COMPARE_STEPS == 0 {
                history.compare().await?;
            }
        }
        history.drain().await?;
    }
    assert!(history.events.len() > 100, "something happened");
    Ok(())
}
