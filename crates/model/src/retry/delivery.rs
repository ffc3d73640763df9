//! When a delivery is tried again: a pure function of how often it was tried, what the receiver asked, and a seed.
//!
//! Guarantee: never sooner than the receiver asked for; what failed together does not come back together.

/// The wait before each try, from the failure of the one before: some three days in all. A receiver that was restarted is met within seconds, one that is mended after
/// a night, or a weekend, still gets everything.
pub const DELAYS_MS: [u64; 10] = [
    0,
    5_000,
    5 * 60_000,
    30 * 60_000,
    2 * 3_600_000,
    5 * 3_600_000,
    10 * 3_600_000,
    14 * 3_600_000,
    20 * 3_600_000,
    24 * 3_600_000,
];

/// The part of a wait that is drawn on top of it at most: a fifth.
const JITTER: u64 = 5;

/// The longest that a receiver's `Retry-After` is honoured: a day. Beyond it lies a mistake.
pub const RETRY_AFTER_MAX_MS: u64 = 24 * 3_600_000;

/// Milliseconds to wait after try number `tries` (1, 2, ...) failed; `None` when that was the last.
pub fn delay_ms(tries: u32, retry_after_ms: Option<u64>, seed: u64) -> Option<u64> {
    let own = *DELAYS_MS.get(usize::try_from(tries).unwrap_or(usize::MAX))?;
    let jitter = seed % (own / JITTER + 1);
    let asked = retry_after_ms.map_or(0, |asked| asked.min(RETRY_AFTER_MAX_MS));
    Some(own.max(asked) + jitter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_is_about_what_the_schedule_says_and_never_less_than_was_asked(tries in 1..10_u32, asked in proptest::option::of(0..RETRY_AFTER_MAX_MS), seed: u64) {
            let own = DELAYS_MS[tries as usize];
            let delay = delay_ms(tries, asked, seed).unwrap_or_default();
            prop_assert!(delay >= own.max(asked.unwrap_or(0)));
            prop_assert!(delay <= own.max(asked.unwrap_or(0)) + own / JITTER);
            prop_assert_eq!(delay_ms(tries, asked, seed), Some(delay));
        }

        #[test]
        fn after_the_last_try_there_is_none(tries in 10..u32::MAX, seed: u64) {
            prop_assert_eq!(delay_ms(tries, Some(1), seed), None);
        }

        #[test]
        fn what_is_asked_is_bounded(asked: u64, seed: u64) {
            prop_assert!(delay_ms(1, Some(asked), seed).is_some_and(|delay| delay <= RETRY_AFTER_MAX_MS + 1_000));
        }
    }
}
