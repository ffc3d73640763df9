//! Which read runs now, and how much it may cost.
//!
//! Guarantee: a look-up never waits behind a list, and what the server itself asks never waits
//! behind a caller's look-up. Among lists, the key that was served least is next, so a key with many
//! requests delays another key by one read at the most. A read that costs more than a page is
//! expensive: a key has one of these at a time, and not all connections serve them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{KeyId, Scope};
use tokio::{sync::oneshot, time::timeout};

use crate::Error;

/// How long the database works on a read that a caller waits for: counting a few million records
/// takes as long.
pub const READ_MAX: Duration = Duration::from_secs(5);

/// How long a page may take before it counts as expensive, where work cannot be counted: ten times
/// as long as a full page takes on a slow disk.
pub(crate) const PAGE_MAX: Duration = Duration::from_millis(500);

/// How long the database works on a look-up that a caller waits for: a thousand times as long as
/// one takes.
pub(crate) const LOOKUP_MAX: Duration = Duration::from_secs(1);

/// How long a read waits for a connection: callers give up after some ten seconds, and hear before
/// that how it stands.
const WAIT_MAX: Duration = Duration::from_secs(8);

/// Expensive reads of one key that wait behind the one that runs: a client that asks for a few
/// things at once is served, and a flood is not.
pub const EXPENSIVE_WAITING_MAX: usize = 8;

/// The cost of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// The same always: found by an id, or what the server itself asks all the time. That of a
    /// caller is bounded by [`LOOKUP_MAX`].
    Lookup,
    /// That of a page along an index. What turns out to cost more is broken off, and repeated as
    /// expensive.
    Page,
    /// Bounded by [`READ_MAX`] alone.
    Expensive,
    /// Of the server's own work, which goes on in pieces. Bounded by the engine alone.
    Background,
}

/// A read at the door.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) cost: Cost,
    /// The key it is for; `None` for the operator and for the server itself.
    pub(crate) key: Option<KeyId>,
}

impl Reading {
    /// Of the server's own: what it asks all the time.
    pub(crate) const OWN: Self = Self {
        cost: Cost::Lookup,
        key: None,
    };

    /// Of the server's own: work that goes on in pieces.
    pub(crate) const BACKGROUND: Self = Self {
        cost: Cost::Background,
        key: None,
    };

    pub(crate) fn of(scope: &Scope, cost: Cost) -> Self {
        Self {
            cost,
            key: scope.key(),
        }
    }

    /// True for a look-up that is no caller's.
    pub(crate) fn is_own(self) -> bool {
        self.cost == Cost::Lookup && self.key.is_none()
    }

    /// Whether it goes before others: the lower one does.
    pub(crate) fn rank(self) -> u8 {
        match self.cost {
            Cost::Lookup if self.is_own() => 0,
            Cost::Lookup => 1,
            Cost::Page | Cost::Expensive | Cost::Background => 2,
        }
    }

    /// Whose turn it is: look-ups of a key take no turn of its lists.
    fn whose(self) -> (bool, Option<KeyId>) {
        (self.cost == Cost::Lookup, self.key)
    }
}

/// The connections that read, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// For look-ups.
    pub(crate) lookups: usize,
    /// Of those, at most so many for look-ups of callers at once.
    pub(crate) callers: usize,
    /// For everything else.
    pub(crate) lists: usize,
    /// Of those for everything else, at most so many for expensive reads at once.
    pub(crate) expensive: usize,
    /// For all but the server's own look-ups, together.
    pub(crate) shared: usize,
}

impl Shares {
    /// Of connections that can all serve either. With fewer than three, none is kept free for the
    /// server's own look-ups, which are next when one is; with one, look-ups wait behind a list.
    pub(crate) fn of(connections: usize) -> Self {
        let lists = connections.saturating_sub(2).max(1);
        let shared = match connections {
            0 | 1 => 1,
            2 => 2,
            more => more - 1,
        };
        Self {
            lookups: connections.max(1),
            callers: connections.saturating_sub(1).max(1),
            lists,
            expensive: (lists / 2).max(1),
            shared,
        }
    }
}

/// Who reads, and who waits for it.
pub(crate) struct Gates {
    gate: Arc<Gate>,
    wait_max: Duration,
}

impl Gates {
    pub(crate) fn new(shares: Shares) -> Self {
        Self {
            gate: Gate::new(shares),
            wait_max: WAIT_MAX,
        }
    }

    /// Waits until a read may run: as long as it holds what this returns.
    ///
    /// # Errors
    /// [`Error::ReadsCrowded`] when its key has as many expensive reads as it may have,
    /// [`Error::Busy`] when none may run in time.
    pub(crate) async fn enter(&self, reading: Reading) -> Result<Permit, Error> {
        let receiver = self.gate.queue(reading)?;
        match timeout(self.wait_max, receiver).await {
            Ok(permit) => permit.map_err(|_| Error::Closed),
            Err(_) if reading.cost == Cost::Expensive => Err(Error::ReadsCrowded),
            Err(_) => Err(Error::Busy),
        }
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.gate.close();
    }
}

/// The connections, and who waits for them.
struct Gate(Mutex<State>);

struct State {
    /// What is free.
    free: Shares,
    /// In the order they came.
    waiting: Vec<Waiting>,
    /// The keys of which some read runs or waits, look-ups apart.
    keys: HashMap<(bool, Option<KeyId>), Served>,
    /// Counts who was let in.
    turn: u64,
    is_closed: bool,
}

struct Waiting {
    reading: Reading,
    permit: oneshot::Sender<Permit>,
}

/// How a key is served.
#[derive(Clone, Copy, Default)]
struct Served {
    running: usize,
    expensive: usize,
    /// When it was let in last.
    turn: u64,
}

impl Gate {
    fn new(shares: Shares) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            free: shares,
            waiting: Vec::new(),
            keys: HashMap::new(),
            turn: 0,
            is_closed: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(self: &Arc<Self>, reading: Reading) -> Result<oneshot::Receiver<Permit>, Error> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Error::Closed);
        }
        state.waiting.retain(|one| !one.permit.is_closed());
        let is_same =
            |one: &&Waiting| one.reading.cost == Cost::Expensive && one.reading.key == reading.key;
        if reading.cost == Cost::Expensive
            && state.waiting.iter().filter(is_same).count() >= EXPENSIVE_WAITING_MAX
        {
            return Err(Error::ReadsCrowded);
        }
        let (permit, receiver) = oneshot::channel();
        state.waiting.push(Waiting { reading, permit });
        self.admit(&mut state);
        Ok(receiver)
    }

    /// Lets in whoever may come in.
    fn admit(self: &Arc<Self>, state: &mut State) {
        while let Some(place) = state.next() {
            let Waiting { reading, permit } = state.waiting.remove(place);
            state.turn += 1;
            let turn = state.turn;
            let served = state.keys.entry(reading.whose()).or_default();
            served.turn = turn;
            served.running += 1;
            if reading.cost == Cost::Expensive {
                served.expensive += 1;
            }
            for count in state.free.of_reading(reading) {
                *count -= 1;
            }
            let gate = Some(self.clone());
            if let Err(mut unused) = permit.send(Permit { gate, reading }) {
                // It waits no longer. The gate is locked here already.
                unused.gate = None;
                state.leave(reading);
            }
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.waiting.clear();
    }
}

impl Shares {
    /// The numbers that a read takes one of.
    fn of_reading(&mut self, reading: Reading) -> impl Iterator<Item = &mut usize> {
        let Self {
            lookups,
            callers,
            lists,
            expensive,
            shared,
        } = self;
        let taken = match reading.cost {
            Cost::Lookup if reading.is_own() => [Some(lookups), None, None],
            Cost::Lookup => [Some(lookups), Some(callers), Some(shared)],
            Cost::Expensive => [Some(lists), Some(expensive), Some(shared)],
            Cost::Page | Cost::Background => [Some(lists), None, Some(shared)],
        };
        taken.into_iter().flatten()
    }
}

impl State {
    /// The place of who is let in next, if anybody can be.
    fn next(&self) -> Option<usize> {
        let served = |reading: Reading| self.keys.get(&reading.whose()).copied();
        let may_run = |reading: Reading| {
            let mut free = self.free;
            let has_room = free.of_reading(reading).all(|count| *count > 0);
            let expensive = served(reading).unwrap_or_default().expensive;
            has_room && (reading.cost != Cost::Expensive || expensive == 0)
        };
        let places = self.waiting.iter().enumerate();
        let next = places
            .filter(|(_, one)| may_run(one.reading))
            .min_by_key(|(place, one)| {
                let served = served(one.reading).unwrap_or_default();
                (one.reading.rank(), served.running, served.turn, *place)
            });
        next.map(|(place, _)| place)
    }

    fn leave(&mut self, reading: Reading) {
        for count in self.free.of_reading(reading) {
            *count += 1;
        }
        let is_waiting = self
            .waiting
            .iter()
            .any(|one| one.reading.whose() == reading.whose());
        let served = self.keys.entry(reading.whose()).or_default();
        served.running -= 1;
        if reading.cost == Cost::Expensive {
            served.expensive -= 1;
        }
        if served.running == 0 && !is_waiting {
            self.keys.remove(&reading.whose());
        }
    }
}

/// The right to read, given back when dropped.
pub(crate) struct Permit {
    gate: Option<Arc<Gate>>,
    reading: Reading,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            let mut state = gate.lock();
            state.leave(self.reading);
            gate.admit(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Entropy, Timestamp};

    use super::*;

    struct Fixed(u8);
    impl Entropy for Fixed {
        fn bytes(&self) -> [u8; 16] {
            [self.0; 16]
        }
    }

    fn reading(cost: Cost, key: u8) -> Reading {
        let key = Some(KeyId::new(Timestamp::ZERO, &Fixed(key)));
        Reading { cost, key }
    }

    fn gates(lists: usize, expensive: usize) -> Gates {
        Gates::new(Shares {
            lookups: 2,
            callers: 1,
            lists,
            expensive,
            shared: lists + 1,
        })
    }

    /// A read at the door, queued already when this returns.
    fn queued(gates: &Gates, reading: Reading) -> oneshot::Receiver<Permit> {
        gates.gate.queue(reading).unwrap()
    }

    #[test]
    fn a_key_with_many_reads_delays_another_by_one() {
        let gates = gates(1, 1);
        let mut many: Vec<_> = (0..10)
            .map(|_| queued(&gates, reading(Cost::Page, 1)))
            .collect();
        let mut other = queued(&gates, reading(Cost::Page, 2));
        assert!(other.try_recv().is_err(), "one of the first runs");
        drop(many.remove(0).try_recv().unwrap());
        let running = other.try_recv().unwrap();
        // It asks again and again, and is next each time, though the other's were there before.
        let mut again = queued(&gates, reading(Cost::Page, 2));
        drop(running);
        drop(many.remove(0).try_recv().unwrap());
        drop(again.try_recv().unwrap());
        assert!(many.remove(0).try_recv().is_ok(), "nobody else is there");
    }

    #[test]
    fn expensive_reads_are_bounded_over_all_and_for_each_key() {
        let gates = gates(3, 2);
        let mut first = queued(&gates, reading(Cost::Expensive, 1));
        let running = first.try_recv().unwrap();
        let mut waiting: Vec<_> = (0..EXPENSIVE_WAITING_MAX)
            .map(|_| queued(&gates, reading(Cost::Expensive, 1)))
            .collect();
        assert!(waiting[0].try_recv().is_err(), "one at a time");
        let refused = gates.gate.queue(reading(Cost::Expensive, 1));
        assert!(matches!(refused, Err(Error::ReadsCrowded)));
        let second = queued(&gates, reading(Cost::Expensive, 2)).try_recv();
        let mut third = queued(&gates, reading(Cost::Expensive, 3));
        assert!(second.is_ok() && third.try_recv().is_err(), "two over all");
        let page = queued(&gates, reading(Cost::Page, 4)).try_recv();
        assert!(page.is_ok(), "a page finds a connection");
        // Who waits no longer is no longer counted, and is not let in.
        drop(waiting.split_off(1));
        drop(second);
        assert!(third.try_recv().is_ok(), "it was served least");
        drop(running);
        assert!(waiting[0].try_recv().is_ok());
        assert!(gates.gate.queue(reading(Cost::Expensive, 1)).is_ok());
    }

    #[tokio::test]
    async fn a_look_up_waits_for_no_list() {
        let gates = gates(1, 1);
        let list = gates.enter(reading(Cost::Page, 1)).await.unwrap();
        let lookup = gates.enter(reading(Cost::Lookup, 1)).await;
        assert!(lookup.is_ok());
        drop(list);
        drop(lookup);
        assert_eq!(gates.gate.lock().keys.len(), 0);
        gates.close();
        let closed = gates.enter(reading(Cost::Page, 1)).await;
        assert!(matches!(closed, Err(Error::Closed)));
    }

    #[test]
    fn the_servers_own_look_up_waits_for_no_caller() {
        for connections in 3..6 {
            let gates = Gates::new(Shares::of(connections));
            let mut all: Vec<_> = (0..20)
                .flat_map(|key| [(Cost::Page, key), (Cost::Lookup, key)])
                .map(|(cost, key)| queued(&gates, reading(cost, key)))
                .collect();
            let let_in = |all: &mut Vec<oneshot::Receiver<Permit>>| {
                all.iter_mut()
                    .filter_map(|one| one.try_recv().ok())
                    .collect::<Vec<_>>()
            };
            let running = let_in(&mut all);
            assert_eq!(running.len(), connections - 1, "one is kept free");
            let is_lookup = |permit: &&Permit| permit.reading.cost == Cost::Lookup;
            assert!(running.iter().any(|permit| is_lookup(&permit)));
            assert!(queued(&gates, Reading::OWN).try_recv().is_ok());
        }
        // With fewer it is the next.
        let gates = Gates::new(Shares::of(1));
        let running = queued(&gates, reading(Cost::Lookup, 1)).try_recv().unwrap();
        let mut waiting = queued(&gates, reading(Cost::Lookup, 2));
        let mut own = queued(&gates, Reading::OWN);
        drop(running);
        let running = own.try_recv().unwrap();
        assert!(waiting.try_recv().is_err());
        drop(running);
        assert!(waiting.try_recv().is_ok());
    }

    #[tokio::test]
    async fn a_read_waits_for_a_bounded_time() {
        let gates = Gates {
            wait_max: Duration::from_millis(20),
            ..gates(1, 1)
        };
        let running = gates.enter(reading(Cost::Expensive, 1)).await.unwrap();
        let late = gates.enter(reading(Cost::Page, 2)).await;
        assert!(matches!(late, Err(Error::Busy)));
        let late = gates.enter(reading(Cost::Expensive, 2)).await;
        assert!(matches!(late, Err(Error::ReadsCrowded)));
        drop(running);
        assert!(gates.enter(reading(Cost::Page, 2)).await.is_ok());
    }
}
