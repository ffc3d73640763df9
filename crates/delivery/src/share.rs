//! How connection slots for outgoing calls are shared between destinations.
//!
//! Guarantee: a destination that holds more slots than another gets none while the other waits; one
//! that holds none gets one even if hung calls of others have taken all of them.

use std::{cmp::Reverse, collections::BinaryHeap};

use model::Timestamp;

/// Slots that may be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// For anybody.
    pub free: usize,
    /// Beyond those, for destinations that hold none: one each.
    pub kept: usize,
}

impl Slots {
    /// The slots left of `all`, and of `kept` beyond them, when `held` are in use.
    pub const fn left(all: usize, kept: usize, held: usize) -> Self {
        let left = all.saturating_add(kept).saturating_sub(held);
        Self {
            free: all.saturating_sub(held),
            kept: if left < kept { left } else { kept },
        }
    }
}

/// A destination that has something due.
#[derive(Clone, Copy, Debug)]
pub struct Want<K> {
    /// The destination.
    pub key: K,
    /// Slots that it holds.
    pub held: u32,
    /// When it was given slots last: of those that hold the same, the longest ago comes first.
    pub served_at: Timestamp,
    /// Further slots that it can use.
    pub limit: u32,
}

/// Deals `slots` out one by one, each to the destination that holds fewest by then. Gives what each
/// destination got, without those that got nothing.
pub fn deal<K>(wants: Vec<Want<K>>, mut slots: Slots) -> Vec<(K, u32)> {
    let mut given = vec![0_u32; wants.len()];
    let in_turn = |place: usize, want: &Want<K>, given: u32| {
        Reverse((want.held.saturating_add(given), want.served_at, place))
    };
    let mut waiting: BinaryHeap<_> = wants
        .iter()
        .enumerate()
        .filter(|(_, want)| want.limit > 0)
        .map(|(place, want)| in_turn(place, want, 0))
        .collect();
    while let Some(Reverse((held, _, place))) = waiting.pop() {
        if slots.free > 0 {
            slots.free -= 1;
        } else if held == 0 && slots.kept > 0 {
            slots.kept -= 1;
        } else {
            break;
        }
        if let (Some(want), Some(count)) = (wants.get(place), given.get_mut(place)) {
            *count += 1;
            if *count < want.limit {
                waiting.push(in_turn(place, want, *count));
            }
        }
    }
    wants
        .into_iter()
        .zip(given)
        .filter(|(_, count)| *count > 0)
        .map(|(want, count)| (want.key, count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deals to destinations given as (slots held, when served last), of which each wants `limit`.
    fn check(wants: &[(u32, i64)], limit: u32, slots: Slots, expected: &[u32]) {
        let all = wants.iter().enumerate().map(|(key, (held, at))| Want {
            key,
            held: *held,
            served_at: Timestamp::from_micros(*at),
            limit,
        });
        let mut given = vec![0; wants.len()];
        for (key, count) in deal(all.collect(), slots) {
            given[key] = count;
        }
        assert_eq!(given, expected, "{wants:?} {limit} {slots:?}");
    }

    const fn free(free: usize) -> Slots {
        Slots { free, kept: 0 }
    }

    #[test]
    fn slots_go_to_whoever_holds_fewest() {
        check(&[(0, 1), (0, 2)], 8, free(512), &[8, 8]);
        check(&[(0, 1), (0, 2)], 8, free(10), &[5, 5]);
        check(&[(2, 1), (0, 9), (1, 1)], 8, free(2), &[0, 1, 1]);
        check(&[(0, 7), (0, 5), (0, 6)], 8, free(1), &[0, 1, 0]);
        check(&[(20, 1), (0, 2)], 10, free(10), &[0, 10]);
        check(&[(20, 1), (0, 2), (4, 3)], 99, free(20), &[0, 12, 8]);
        check(&[(0, 1)], 8, free(0), &[0]);
        check(&[(0, 1), (0, 1)], 0, free(9), &[0, 0]);
        check(&[], 8, free(4), &[]);
    }

    #[test]
    fn whoever_holds_none_gets_one_of_those_that_are_kept() {
        let full = |kept| Slots { free: 0, kept };
        check(&[(9, 1), (0, 2), (1, 3), (0, 4)], 8, full(9), &[0, 1, 0, 1]);
        check(&[(0, 2), (0, 1), (0, 3)], 8, full(2), &[1, 1, 0]);
        let one_free = Slots { free: 1, kept: 9 };
        check(&[(0, 1), (0, 2), (3, 1)], 8, one_free, &[1, 1, 0]);
    }

    #[test]
    fn slots_left_are_never_more_than_there_are() {
        for (held, free, kept) in [
            (0, 64, 9),
            (60, 4, 9),
            (64, 0, 9),
            (70, 0, 3),
            (73, 0, 0),
            (99, 0, 0),
        ] {
            assert_eq!(Slots::left(64, 9, held), Slots { free, kept }, "{held}");
        }
        assert!(Slots::left(64, usize::MAX, 999).kept > 1_000_000);
    }

    #[test]
    fn with_one_slot_each_destination_has_its_turn() {
        let mut served = [(0, 0); 5];
        let mut turns = [0; 5];
        for at in 1..=50 {
            let wants = served.iter().enumerate().map(|(key, (held, at))| Want {
                key,
                held: *held,
                served_at: Timestamp::from_micros(*at),
                limit: 8,
            });
            let given = deal(wants.collect(), free(1));
            assert_eq!(given.len(), 1);
            let (place, _) = given[0];
            turns[place] += 1;
            served[place].1 = at;
        }
        assert_eq!(turns, [10; 5]);
    }
}
