//! When something that failed is tried again: pure functions of how often, why, and a seed.

pub mod delivery;
pub mod write;

/// Attempts in a row that may be cut off by Portico's own end without being counted as a failure:
/// deploys and crashes are not the destination's fault. What is cut off more often may be the cause
/// of the crash, and then has to wait.
pub const CUT_OFFS_EXCUSED: u32 = 2;

/// A seed for something that was cut off, made of its place and the time: all that was cut off
/// together gets seeds that differ.
pub fn cut_off_seed(place: i64, now: crate::Timestamp) -> u64 {
    let mixed = place.unsigned_abs().wrapping_add(1);
    // The constant of Fibonacci hashing spreads neighbours over the whole range.
    let mixed = (mixed ^ now.as_micros().unsigned_abs()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_off_together_comes_back_apart() {
        let now = crate::Timestamp::from_micros(1_790_000_000_000_000);
        let mut delays: Vec<u64> = (0..100)
            .map(|place| write::delay_ms(6, crate::write::Class::Unknown, cut_off_seed(place, now)))
            .collect();
        delays.sort_unstable();
        delays.dedup();
        assert!(delays.len() > 90, "{delays:?}");
    }
}
