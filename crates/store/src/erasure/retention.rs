//! How long writes and attempts are kept.
//!
//! Guarantee: only what belongs to writes that have ended is removed, a bounded number of rows in each transaction; a write's row stays, with ids, status,
//! outcome, number of attempts and times.

use model::Clock;

use crate::{Error, Store};

/// Writes whose attempts, or whose contents, one transaction removes: some milliseconds of the writing thread, for which accepts wait.
pub const SWEEP_MAX_WRITES: u32 = 200;

/// Transactions of each kind in one round: with a round a minute, a hundred and sixty writes a second, more than a day's average of ten million.
pub const ROUND_MAX_SWEEPS: u32 = 50;

const DAY_MS: i64 = 24 * 3_600_000;

/// How long things are kept after their write has ended; `None` for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// What a write says of a person: its body, its request and its errors.
    pub writes_days: Option<u32>,
    /// A write's attempts, with what the vendor answered.
    pub attempts_days: Option<u32>,
}

impl Retention {
    /// Removes what was kept for long enough by the settled time, up to a round's bound. Returns of how
    /// many writes something was removed.
    ///
    /// # Errors
    /// As the store's.
    pub async fn sweep(&self, store: &Store, clock: &dyn Clock) -> Result<u64, Error> {
        let (now, settled) = (clock.now(), clock.settled());
        let before = |days: u32| settled.plus_millis(-i64::from(days) * DAY_MS);
        let mut swept = 0;
        if let Some(days) = self.attempts_days {
            for _ in 0..ROUND_MAX_SWEEPS {
                let some = store.attempts_sweep(before(days), SWEEP_MAX_WRITES).await?;
                swept += some;
                if some < u64::from(SWEEP_MAX_WRITES) {
                    break;
                }
            }
        }
        if let Some(days) = self.writes_days {
            for _ in 0..ROUND_MAX_SWEEPS {
                let some = store
                    .writes_sweep(before(days), SWEEP_MAX_WRITES, now)
                    .await?;
                swept += some;
                if some < u64::from(SWEEP_MAX_WRITES) {
                    break;
                }
            }
        }
        Ok(swept)
    }
}
