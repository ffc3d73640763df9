//! Memory for bodies under way.
//!
//! Guarantee: all bodies together take at most [`BODIES_MAX_KIB`]; neither an address nor a key can
//! keep the others out, and large bodies leave memory to small ones.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::KeyId;
use tokio::sync::Notify;

use crate::limits::{rates, tally::Tally};

/// KiB of bodies that may be under way at once, over all callers: who finds no room within the time hears 503.
pub const BODIES_MAX_KIB: usize = 32 * 1_024;

/// KiB of a body that is small, as nearly all are that one thing is written with.
pub const SMALL_MAX_KIB: usize = 16;

/// Of all KiB, those that bodies which are not small may take: the rest is for small ones, which
/// are not kept out by uploads.
pub const LARGE_MAX_KIB: usize = BODIES_MAX_KIB / 8 * 7;

/// Memory for bodies under way.
///
/// An address has half of it at most. A key has a quarter, and gets more only as long as it holds
/// no more than is left, of all and of its address's half: the more keys come, the less each of
/// them gets, and something is left for the next. Several keys come from one address through a
/// proxy that is not trusted to name its callers.
#[derive(Default)]
pub struct Bodies {
    held: Mutex<Held>,
    freed: Notify,
}

/// KiB that are held.
#[derive(Default)]
struct Held {
    all: usize,
    by_key: Tally<Option<KeyId>>,
    by_address: Tally<IpAddr>,
}

impl Held {
    /// Whether a key at an address may have so many KiB more, of `most` that there are for such
    /// bodies.
    fn leaves(&self, most: usize, key: Option<KeyId>, address: IpAddr, kib: usize) -> bool {
        let of_key = self.by_key.of(&key) + kib;
        let of_address = self.by_address.of(&address) + kib;
        of_key <= most / 4 && of_address + of_key <= most / 2 && self.all + kib + of_key <= most
    }
}

/// What one body holds; given back when dropped.
pub(crate) struct Memory<'a> {
    bodies: &'a Bodies,
    key: Option<KeyId>,
    address: IpAddr,
    kib: usize,
    /// True if its caller has not announced more than a small body.
    may_be_small: bool,
}

impl Bodies {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory for a body of a caller, none so far.
    pub(crate) fn of(&self, key: Option<KeyId>, address: IpAddr) -> Memory<'_> {
        Memory {
            bodies: self,
            key,
            address: rates::whole(address),
            kib: 0,
            may_be_small: true,
        }
    }
}

impl Memory<'_> {
    /// Notes how many bytes the caller has announced, if it has.
    pub(crate) fn announce(&mut self, bytes: Option<usize>) {
        self.may_be_small = bytes.is_none_or(|bytes| bytes <= SMALL_MAX_KIB * 1_024);
    }

    /// The KiB that it holds.
    pub(crate) const fn kib(&self) -> usize {
        self.kib
    }

    /// Takes so many KiB more, if they are left of all shares.
    fn take(&mut self, kib: usize) -> bool {
        let mut held = self.bodies.lock();
        // One KiB more than the bytes need is always held.
        let is_small = self.may_be_small && self.kib + kib <= SMALL_MAX_KIB + 1;
        let most = if is_small {
            BODIES_MAX_KIB
        } else {
            LARGE_MAX_KIB
        };
        let is_left = held.leaves(most, self.key, self.address, kib);
        if is_left {
            held.all += kib;
            held.by_key.add(self.key, kib);
            held.by_address.add(self.address, kib);
            self.kib += kib;
        }
        is_left
    }

    /// The same, and waits until they are left.
    pub(crate) async fn grow(&mut self, kib: usize) {
        let bodies = self.bodies;
        loop {
            let mut freed = std::pin::pin!(bodies.freed.notified());
            // Subscribed before looking: what is freed in between is not missed.
            freed.as_mut().enable();
            if self.take(kib) {
                return;
            }
            freed.await;
        }
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        let Self {
            bodies,
            key,
            address,
            kib,
            may_be_small: _,
        } = *self;
        if kib == 0 {
            return;
        }
        let mut held = bodies.lock();
        held.all -= kib;
        held.by_key.take_back(&key, kib);
        held.by_address.take_back(&address, kib);
        drop(held);
        bodies.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixture;

    fn key(n: u8) -> Option<KeyId> {
        Some(fixture::key(n))
    }

    fn at(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    /// Takes a KiB after the other until no more is left, and says how many that were.
    fn fill(memory: &mut Memory<'_>) -> usize {
        while memory.take(1) {}
        memory.kib
    }

    fn large(room: &Bodies, n: u8, address: u8) -> Memory<'_> {
        Memory {
            may_be_small: false,
            ..room.of(key(n), at(address))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_for_bodies_is_shared_by_keys_and_addresses() {
        const MIB: usize = 1_024;
        let room = Bodies::default();
        let mut first = large(&room, 1, 1);
        assert_eq!(fill(&mut first), 7 * MIB, "a quarter, alone");
        let mut same = large(&room, 1, 2);
        assert_eq!(fill(&mut same), 0, "its key has no more");
        let mut second = large(&room, 2, 1);
        assert_eq!(fill(&mut second), 7 * MIB / 2, "half of what is left");
        let mut third = large(&room, 3, 1);
        assert_eq!(fill(&mut third), 7 * MIB / 4, "and so on");
        let mut other = large(&room, 4, 2);
        assert_eq!(fill(&mut other), 7 * MIB, "another address has its own");

        // Who waits has it as soon as it is free, and what nobody holds is not remembered.
        let grown = async { tokio::time::timeout(Duration::from_secs(9), third.grow(MIB)).await };
        let (grown, ()) = tokio::join!(grown, async { drop(first) });
        assert!(grown.is_ok());
        drop((same, second, third, other));
        let held = room.lock();
        assert!(held.all == 0 && held.by_key.is_empty() && held.by_address.is_empty());
    }

    #[test]
    fn however_many_keys_upload_a_small_body_finds_memory() {
        for addresses in [1, 4, 60] {
            let room = Bodies::default();
            let mut held: Vec<Memory<'_>> = Vec::new();
            // Each takes all that it gets, as one body and as small ones.
            for n in 1..=60 {
                let mut whole = large(&room, n, n % addresses);
                fill(&mut whole);
                held.push(whole);
            }
            let large_kib = room.lock().all;
            assert!(large_kib <= LARGE_MAX_KIB, "{large_kib}");
            for (n, address) in [(100, 1), (101, 200)] {
                let mut small = room.of(key(n), at(address));
                assert!(small.take(SMALL_MAX_KIB + 1), "{n} of {addresses}");
            }
            for n in 1..=10 {
                let address = n % addresses;
                loop {
                    let mut small = room.of(key(n), at(address));
                    if !small.take(SMALL_MAX_KIB) {
                        break;
                    }
                    held.push(small);
                }
            }
            for (n, address) in [(100, 1), (101, 200)] {
                let mut small = room.of(key(n), at(address));
                assert!(small.take(SMALL_MAX_KIB + 1), "{n} of {addresses}");
            }
        }
    }

    #[test]
    fn a_body_that_is_announced_as_large_takes_nothing_of_small_ones() {
        let room = Bodies::default();
        let mut large = large(&room, 1, 1);
        fill(&mut large);
        let mut grows = room.of(key(1), at(1));
        assert!(grows.take(SMALL_MAX_KIB + 1), "it may be small so far");
        assert!(!grows.take(1), "it is not");
    }
}
