//! When a write is tried again: a pure function of how often, why, and a seed.
//!
//! Full jitter (a uniform draw from zero to an exponentially growing bound) keeps writes that failed together from coming back together.
//! Guarantee: never sooner than the vendor asked for, never later than the cap.

use crate::write::Class;

/// A class's growth.
struct Growth {
    base_ms: u64,
    cap_ms: u64,
}

const fn growth(class: Class) -> Growth {
    match class {
        // The answer may be had at once: the first repeats come fast.
        Class::Unknown => Growth {
            base_ms: 500,
            cap_ms: 30 * 60_000,
        },
        // Somebody has to replace a credential; asking often only locks accounts.
        Class::Unauthorized => Growth {
            base_ms: 30_000,
            cap_ms: 60 * 60_000,
        },
        Class::Retry | Class::Delivered | Class::Rejected => Growth {
            base_ms: 1_000,
            cap_ms: 60 * 60_000,
        },
    }
}

/// The longest that a vendor's `Retry-After` is honoured: a day. Beyond it lies a mistake.
pub const RETRY_AFTER_MAX_MS: u64 = 24 * 3_600_000;

/// Milliseconds to wait after failure number `failures` (1, 2, ...) that ended in `class`. `seed` is any random number; the same three give the same.
pub fn delay_ms(failures: u32, class: Class, seed: u64) -> u64 {
    let Growth { base_ms, cap_ms } = growth(class);
    let doublings = failures.saturating_sub(1).min(40);
    let bound = base_ms.saturating_mul(1 << doublings).min(cap_ms);
    // A draw from 0..=bound; the bias of the remainder is far below a millisecond.
    seed % (bound + 1)
}

/// As [`delay_ms`], but not before the vendor's `Retry-After`.
pub fn delay_asked_ms(failures: u32, class: Class, seed: u64, retry_after_ms: Option<u64>) -> u64 {
    let own = delay_ms(failures, class, seed);
    match retry_after_ms {
        None => own,
        // On top of what was asked, so that those told the same time do not return at the same time.
        Some(asked) => asked.min(RETRY_AFTER_MAX_MS).saturating_add(own.min(1_000)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class() -> impl Strategy<Value = Class> {
        prop_oneof![
            Just(Class::Unknown),
            Just(Class::Retry),
            Just(Class::Unauthorized)
        ]
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_its_bound(attempt in 0..u32::MAX, class in class(), seed: u64) {
            let Growth { base_ms, cap_ms } = growth(class);
            let delay = delay_ms(attempt, class, seed);
            prop_assert!(delay <= cap_ms);
            if attempt <= 1 {
                prop_assert!(delay <= base_ms);
            }
            prop_assert_eq!(delay, delay_ms(attempt, class, seed));
        }

        #[test]
        fn a_vendor_is_left_alone_as_long_as_it_asked(attempt in 0..100_u32, class in class(), seed: u64, asked in 0..RETRY_AFTER_MAX_MS) {
            prop_assert!(delay_asked_ms(attempt, class, seed, Some(asked)) >= asked);
        }

        #[test]
        fn what_is_asked_is_bounded(asked: u64, seed: u64) {
            prop_assert!(delay_asked_ms(1, Class::Retry, seed, Some(asked)) <= RETRY_AFTER_MAX_MS + 1_000);
        }
    }

    #[test]
    fn the_bound_doubles() {
        let bounds: Vec<u64> = (1..6)
            .map(|attempt| {
                (0..200_000_u64)
                    .map(|seed| delay_ms(attempt, Class::Retry, seed))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        assert_eq!(bounds, [1_000, 2_000, 4_000, 8_000, 16_000]);
    }
}
