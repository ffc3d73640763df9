//! The slots for connections, and who makes room when there is none.
//!
//! Guarantee: no more connections are open than there are slots, nor more of one address than it may have; and a newcomer gets a slot at once as long as
//! any connection of anybody waits for its caller.
//!
//! A connection either waits for its caller (to agree on TLS, to send a head or the rest of a body, to take its answer, to ask again), or the server works for it.
//! To wait for a caller costs the server a slot and may be what an attacker wants; to break work off may lose a lead. So only those that wait are
//! closed, and only when a slot is needed:
//!
//! * It is taken from the address that has most of them, so who holds a few is not touched while somebody holds many. An attacker has to come from
//!   as many addresses as there are slots before others feel it. All addresses of an IPv6 network of 64 bits count as one, since whoever
//!   has one has all.
//! * Of those, the one goes that has waited longest. An honest caller sends its request in the moment that it connects, and is served long before
//!   it has become the oldest of thousands; this is what helps where attacker and honest callers share an address.
//! * Proxies that the operator named are not limited, and lose a slot only when nobody else has one to lose: behind them are many.
//!
//! The alternative, shorter timeouts as slots run out, would close honest callers' idle connections no less, and let a newcomer wait.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// The bits of an IPv6 address that tell one customer of a network from another.
const IPV6_NETWORK_BITS: u32 = 64;

/// How often it is told that connections were closed for want of slots.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The turn of a connection that the server works for.
const WORKING: u64 = 0;

/// Who a connection is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Origin {
    is_proxy: bool,
    network: IpAddr,
}

impl Origin {
    /// Of the address at the other end.
    pub(crate) fn new(peer: IpAddr, is_proxy: bool) -> Self {
        let network = match peer.to_canonical() {
            IpAddr::V6(address) => {
                let host_bits = u128::BITS - IPV6_NETWORK_BITS;
                Ipv6Addr::from_bits(address.to_bits() >> host_bits << host_bits).into()
            }
            address => address,
        };
        Self { is_proxy, network }
    }
}

/// All slots.
pub(crate) struct Slots {
    total: usize,
    per_address: usize,
    state: Mutex<State>,
    /// Somebody has gone, or has begun to wait for its caller.
    changed: Notify,
}

#[derive(Default)]
struct State {
    open: usize,
    /// Closed, and not yet gone.
    leaving: usize,
    last_turn: u64,
    holders: HashMap<Origin, Holder>,
    /// Who makes room comes last.
    ranks: BTreeSet<Rank>,
    closed_untold: u64,
    told_at: Option<Instant>,
}

/// What one origin has.
#[derive(Default)]
struct Holder {
    open: usize,
    leaving: usize,
    /// Those that wait for their caller, the longest first.
    waiting: BTreeMap<u64, Arc<Caller>>,
}

/// The other end of a connection, and how far it has come.
#[derive(Default)]
struct Caller {
    close: Notify,
    /// Heads of requests that came, and answers that were handed over: odd while there is a
    /// request.
    steps: AtomicU64,
    /// It does not take what it is sent.
    is_taking: AtomicBool,
    /// A part of what it sends is not read.
    is_cut: AtomicBool,
}

/// Whether it is no proxy, how many wait for their callers, since when the first of them does, and who it is.
type Rank = (bool, usize, Reverse<u64>, Origin);

impl Holder {
    fn rank(&self, origin: Origin) -> Option<Rank> {
        let (&oldest, _) = self.waiting.first_key_value()?;
        Some((
            !origin.is_proxy,
            self.waiting.len(),
            Reverse(oldest),
            origin,
        ))
    }
}

impl State {
    /// Changes what `origin` has, and its rank with it.
    fn change<T>(&mut self, origin: Origin, change: impl FnOnce(&mut Holder) -> T) -> T {
        let holder = self.holders.entry(origin).or_default();
        if let Some(rank) = holder.rank(origin) {
            self.ranks.remove(&rank);
        }
        let changed = change(holder);
        self.ranks.extend(holder.rank(origin));
        if holder.open == 0 {
            self.holders.remove(&origin);
        }
        changed
    }

    /// Closes the connection of `origin` that has waited longest for its caller. False when there is none.
    fn close_oldest(&mut self, origin: Origin) -> bool {
        let closed = self.change(origin, |holder| {
            let (_, caller) = holder.waiting.pop_first()?;
            holder.leaving += 1;
            Some(caller)
        });
        let Some(caller) = closed else { return false };
        caller.close.notify_one();
        self.leaving += 1;
        self.closed_untold += 1;
        let is_time = self.told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY);
        if is_time {
            tracing::warn!(
                closed = self.closed_untold,
                "there are more connections than slots; of those that wait for their callers, the oldest are closed"
            );
            (self.closed_untold, self.told_at) = (0, Some(Instant::now()));
        }
        true
    }

    fn turn(&mut self) -> u64 {
        self.last_turn += 1;
        self.last_turn
    }
}

impl Slots {
    /// So many slots, and so many for one address at most, unless it is a trusted proxy's.
    pub(crate) fn new(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            per_address,
            state: Mutex::default(),
            changed: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot for a newcomer, which waits for its caller. `None` when its address has as many as it may, and the server works for all of them. One
    /// asks at a time.
    pub(crate) async fn take(self: &Arc<Self>, origin: Origin) -> Option<Arc<Slot>> {
        loop {
            {
                let mut state = self.state();
                let of_origin = state.holders.get(&origin);
                let staying = of_origin.map_or(0, |holder| holder.open - holder.leaving);
                let is_at_limit = !origin.is_proxy && staying >= self.per_address;
                if is_at_limit && !state.close_oldest(origin) {
                    return None;
                }
                if state.open < self.total {
                    state.open += 1;
                    let (turn, caller) = (state.turn(), Arc::<Caller>::default());
                    state.change(origin, |holder| {
                        holder.open += 1;
                        holder.waiting.insert(turn, caller.clone());
                    });
                    return Some(Arc::new(Slot {
                        slots: self.clone(),
                        origin,
                        turn: turn.into(),
                        caller,
                    }));
                }
                if state.leaving == 0
                    && let Some(&(.., victim)) = state.ranks.last()
                {
                    state.close_oldest(victim);
                }
            }
            self.changed.notified().await;
        }
    }

    /// Closes the connections whose callers have neither sent a whole head nor have an answer to
    /// take.
    pub(crate) fn close_unasked(&self) {
        let state = self.state();
        for caller in state.holders.values().flat_map(|one| one.waiting.values()) {
            let is_asking = caller.steps.load(Ordering::Relaxed) % 2 == 1;
            if !is_asking && !caller.is_taking.load(Ordering::Relaxed) {
                caller.close.notify_one();
            }
        }
    }
}

/// A connection's slot, its own until dropped.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    origin: Origin,
    /// Since when it waits for its caller, counted in turns. One that says so and is not among the waiting has been closed.
    turn: AtomicU64,
    caller: Arc<Caller>,
}

impl Slot {
    /// Ends when another needs the slot.
    pub(crate) async fn closed(&self) {
        self.caller.close.notified().await;
    }

    /// The head of a request has come.
    pub(crate) fn asked(&self) {
        if !self.has_request() {
            self.caller.steps.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// True if there is a request that is not answered yet.
    pub(crate) fn has_request(&self) -> bool {
        self.steps() % 2 == 1
    }

    /// Requests that came and answers that were handed over.
    pub(crate) fn steps(&self) -> u64 {
        self.caller.steps.load(Ordering::Relaxed)
    }

    /// True if the caller still has to take a part of what it was sent.
    pub(crate) fn set_taking(&self, is_taking: bool) {
        self.caller.is_taking.store(is_taking, Ordering::Relaxed);
    }

    /// A part of what the caller sends will not be read.
    pub(crate) fn cut(&self) {
        self.caller.is_cut.store(true, Ordering::Relaxed);
    }

    /// True if a part of what the caller sends was not read.
    pub(crate) fn is_cut(&self) -> bool {
        self.caller.is_cut.load(Ordering::Relaxed)
    }

    /// The server has all that it needs from the caller.
    pub(crate) fn work(&self) {
        let mut state = self.slots.state();
        let turn = self.turn.load(Ordering::Relaxed);
        let was_waiting = state.change(self.origin, |holder| holder.waiting.remove(&turn));
        if was_waiting.is_some() {
            self.turn.store(WORKING, Ordering::Relaxed);
        }
    }

    /// From now on, nothing happens until the caller does something.
    pub(crate) fn wait(&self) {
        if self.has_request() {
            self.caller.steps.fetch_add(1, Ordering::Relaxed);
        }
        let mut state = self.slots.state();
        let (old, new) = (self.turn.load(Ordering::Relaxed), state.turn());
        state.change(self.origin, |holder| {
            if old == WORKING || holder.waiting.remove(&old).is_some() {
                holder.waiting.insert(new, self.caller.clone());
                self.turn.store(new, Ordering::Relaxed);
            }
        });
        drop(state);
        self.slots.changed.notify_one();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        let turn = *self.turn.get_mut();
        let was_closed = state.change(self.origin, |holder| {
            holder.open -= 1;
            let was_closed = turn != WORKING && holder.waiting.remove(&turn).is_none();
            holder.leaving -= usize::from(was_closed);
            was_closed
        });
        state.open -= 1;
        state.leaving -= usize::from(was_closed);
        drop(state);
        self.slots.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, task::Poll};

    use super::*;

    fn origin(address: &str) -> Origin {
        Origin::new(address.parse().expect("an address"), false)
    }

    fn proxy(address: &str) -> Origin {
        Origin::new(address.parse().expect("an address"), true)
    }

    /// What a future gives that has nothing to wait for.
    async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| {
            Poll::Ready(match future.as_mut().poll(context) {
                Poll::Ready(given) => Some(given),
                Poll::Pending => None,
            })
        })
        .await
    }

    async fn take(slots: &Arc<Slots>, origin: Origin) -> Arc<Slot> {
        let taken = at_once(slots.take(origin)).await.expect("at once");
        taken.expect("a slot")
    }

    async fn is_closed(slot: &Slot) -> bool {
        at_once(slot.closed()).await.is_some()
    }

    /// What a newcomer gets while `victim` is there, and after it has gone.
    async fn makes_room(slots: &Arc<Slots>, newcomer: Origin, victim: Arc<Slot>) -> Arc<Slot> {
        assert!(at_once(slots.take(newcomer)).await.is_none());
        assert!(is_closed(&victim).await);
        drop(victim);
        take(slots, newcomer).await
    }

    #[tokio::test]
    async fn who_holds_most_makes_room_the_oldest_first() {
        let (few, many) = (origin("192.0.2.1"), origin("192.0.2.2"));
        let slots = Slots::new(4, 4);
        let oldest = take(&slots, few).await;
        let (first, second) = (take(&slots, many).await, take(&slots, many).await);
        let third = take(&slots, many).await;
        // The first asks once more, and so is not the oldest of its address any more.
        first.work();
        first.wait();
        let newcomer = makes_room(&slots, origin("192.0.2.3"), second).await;
        let another = makes_room(&slots, origin("192.0.2.4"), third).await;
        // Now all have one, and the oldest of all goes.
        let last = makes_room(&slots, origin("192.0.2.5"), oldest).await;
        for slot in [&first, &newcomer, &another, &last] {
            assert!(!is_closed(slot).await);
        }
    }

    #[tokio::test]
    async fn who_is_worked_for_is_not_closed() {
        let slots = Slots::new(2, 2);
        let (one, other) = (
            take(&slots, origin("192.0.2.1")).await,
            take(&slots, origin("192.0.2.2")).await,
        );
        one.work();
        other.work();
        let newcomer = origin("192.0.2.3");
        assert!(at_once(slots.take(newcomer)).await.is_none());
        assert!(!is_closed(&one).await && !is_closed(&other).await);
        // As soon as one waits for its caller again, it goes.
        let mut taking = std::pin::pin!(slots.take(newcomer));
        assert!(at_once(taking.as_mut()).await.is_none());
        other.wait();
        assert!(at_once(taking.as_mut()).await.is_none());
        assert!(is_closed(&other).await);
        drop(other);
        assert!(taking.await.is_some());
    }

    #[tokio::test]
    async fn who_has_not_asked_is_closed_when_the_server_stops() {
        let slots = Slots::new(9, 9);
        let mut all = Vec::new();
        for _ in 0..6 {
            all.push(take(&slots, origin("192.0.2.1")).await);
        }
        let [new, sending, working, answered, slow, again] = &all[..] else {
            panic!("six");
        };
        sending.asked();
        working.asked();
        working.work();
        for slot in [answered, slow, again] {
            slot.asked();
            slot.work();
            slot.wait();
        }
        slow.set_taking(true);
        again.asked();
        slots.close_unasked();
        assert!(is_closed(new).await && is_closed(answered).await);
        for slot in [sending, working, slow, again] {
            assert!(!is_closed(slot).await);
        }
        drop(all);
        let state = slots.state();
        assert_eq!((state.open, state.leaving), (0, 0));
    }

    #[tokio::test]
    async fn one_closed_connection_is_one_place() {
        let slots = Slots::new(3, 3);
        let attacker = origin("192.0.2.1");
        let (first, second) = (take(&slots, attacker).await, take(&slots, attacker).await);
        let third = take(&slots, attacker).await;
        let mut taking = std::pin::pin!(slots.take(origin("192.0.2.2")));
        assert!(at_once(taking.as_mut()).await.is_none());
        // Whatever else happens until it has gone, no other has to go.
        third.work();
        third.wait();
        assert!(at_once(taking.as_mut()).await.is_none());
        assert!(is_closed(&first).await && !is_closed(&second).await && !is_closed(&third).await);
        // One that is closed stays so, whatever it still does.
        first.work();
        first.wait();
        drop(first);
        assert!(taking.await.is_some());
        drop((second, third));
        let state = slots.state();
        assert_eq!((state.open, state.leaving), (0, 0));
        assert!(state.holders.is_empty() && state.ranks.is_empty());
    }

    #[tokio::test]
    async fn an_address_has_its_own_limit_which_proxies_do_not() {
        let slots = Slots::new(9, 2);
        // One network, so one address.
        let (first, second) = (
            take(&slots, origin("2001:db8::1")).await,
            take(&slots, origin("2001:db8::2")).await,
        );
        let third = take(&slots, origin("2001:db8::3")).await;
        assert!(is_closed(&first).await && !is_closed(&second).await);
        second.work();
        third.work();
        let refused = at_once(slots.take(origin("2001:db8::4"))).await;
        assert!(refused.expect("at once").is_none());
        drop((first, second, third));

        let neighbour = take(&slots, origin("2001:db8:0:1::1")).await;
        let mut proxied = Vec::new();
        for _ in 0..8 {
            proxied.push(take(&slots, proxy("10.0.0.1")).await);
        }
        // The neighbour holds one, the proxy eight: and yet.
        let newcomer = makes_room(&slots, origin("192.0.2.2"), neighbour).await;
        for slot in proxied.iter().chain([&newcomer]) {
            assert!(!is_closed(slot).await);
        }
    }
}
