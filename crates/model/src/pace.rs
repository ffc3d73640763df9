//! How many calls an integration may begin in a time.
//!
//! A bucket that fills evenly and holds a second's worth (at least one). Guarantee: over any time no more than the limit and one bucket.

use crate::Timestamp;

const SECOND_MICROS: i64 = 1_000_000;

/// The pace of one integration, in the manner of the generic cell rate algorithm: all that there is to know is when the bucket is full again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    full_at_micros: i64,
}

impl Pace {
    /// The pace whose bucket is full at `at`, as [`Pace::full_at`] told.
    pub const fn new(at: Timestamp) -> Self {
        Self {
            full_at_micros: at.as_micros(),
        }
    }

    /// When the bucket is full again.
    pub const fn full_at(&self) -> Timestamp {
        Timestamp::from_micros(self.full_at_micros)
    }

    /// How many calls may begin at `now`, at most `wanted`; and when the next may, if it is none. `gap_micros` is from one call to the next.
    pub fn room(
        &self,
        now: Timestamp,
        gap_micros: Option<i64>,
        wanted: u32,
    ) -> Result<u32, Timestamp> {
        let Some(gap) = gap_micros else {
            return Ok(wanted);
        };
        let bucket = (SECOND_MICROS / gap).max(1) * gap;
        let spent = (self.full_at_micros - now.as_micros()).max(0);
        let room = (bucket - spent) / gap;
        if room > 0 {
            Ok(u32::try_from(room).unwrap_or(u32::MAX).min(wanted))
        } else {
            Err(Timestamp::from_micros(self.full_at_micros - bucket + gap))
        }
    }

    /// `count` calls began at `now`.
    pub fn began(&mut self, now: Timestamp, gap_micros: Option<i64>, count: u32) {
        if let Some(gap) = gap_micros {
            self.full_at_micros = self.full_at_micros.max(now.as_micros()) + gap * i64::from(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE_MICROS: i64 = 60 * SECOND_MICROS;

    proptest! {
        #[test]
        fn a_minute_holds_the_limit_and_one_bucket(per_minute in 1..10_000_u32, wanted in 1..100_u32) {
            let mut pace = Pace::default();
            let gap = Some((MINUTE_MICROS as u64).div_ceil(u64::from(per_minute)) as i64);
            let (mut now, mut begun) = (Timestamp::from_micros(1), 0_u64);
            while now.as_micros() < MINUTE_MICROS {
                match pace.room(now, gap, wanted) {
                    Ok(room) => {
                        pace.began(now, gap, room);
                        begun += u64::from(room);
                    }
                    Err(next) => {
                        prop_assert!(next > now);
                        now = next;
                    }
                }
            }
            prop_assert!(begun <= u64::from(per_minute) + u64::from((per_minute / 60).max(1)) + 1);
            prop_assert!(begun + 1 >= u64::from(per_minute));
        }
    }

    #[test]
    fn a_few_calls_a_day_are_spread_over_it() {
        let (mut pace, gap) = (Pace::default(), 8_640 * SECOND_MICROS);
        assert_eq!(pace.room(Timestamp::ZERO, Some(gap), 7), Ok(1));
        pace.began(Timestamp::ZERO, Some(gap), 1);
        assert_eq!(
            pace.room(Timestamp::ZERO, Some(gap), 7),
            Err(Timestamp::from_micros(gap))
        );
    }

    #[test]
    fn without_a_limit_there_is_room() {
        assert_eq!(Pace::default().room(Timestamp::ZERO, None, 7), Ok(7));
    }
}
