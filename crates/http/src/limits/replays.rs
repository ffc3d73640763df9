//! Replays of many deliveries: how many run at once, and how fast.
//!
//! Guarantee: a key has one at a time, and all together take at most a part of the writer's time.

use std::{sync::Arc, time::Duration};

use model::KeyId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    error::Error,
    limits::waits::{Wait, Waits},
};

/// Replays that run at once, over all keys.
pub const REPLAYS_MAX: usize = 4;

/// Deliveries that one transaction of a replay makes due: so many take a millisecond or two, and
/// what comes in meanwhile waits no longer.
pub(crate) const PIECE_ROWS: u32 = 100;

/// What runs.
pub struct Replays {
    /// One of each key.
    of_key: Waits,
    slots: Arc<Semaphore>,
    /// Held while a piece runs and rests, so that no other piece runs.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Default for Replays {
    fn default() -> Self {
        Self {
            of_key: Waits::default(),
            slots: Arc::new(Semaphore::new(REPLAYS_MAX)),
            turn: Arc::default(),
        }
    }
}

/// One of them. It ends when dropped, as when its caller has gone.
pub(crate) struct Running {
    turn: Arc<tokio::sync::Mutex<()>>,
    _of_key: Wait,
    _slot: OwnedSemaphorePermit,
}

impl Replays {
    /// Begins one.
    ///
    /// # Errors
    /// 429 when the key has one, or too many run.
    pub(crate) fn begin(&self, key: Option<KeyId>) -> Result<Running, Error> {
        let slot = self.slots.clone().try_acquire_owned().map_err(|_| {
            Error::too_many_under_way(format!(
                "{REPLAYS_MAX} replays run already, which is as many as there can be. Nothing was changed; send the same request again when one has ended"
            ))
        })?;
        let of_key = self.of_key.begin(key, 1).ok_or_else(|| {
            Error::too_many_under_way(
                "This API key has a replay under way. Nothing was changed; send the same request again when that one is answered",
            )
        })?;
        Ok(Running {
            turn: self.turn.clone(),
            _of_key: of_key,
            _slot: slot,
        })
    }
}

impl Running {
    /// Runs a piece when it is its turn, and rests for as long as that took: pieces take at most
    /// half of the writer's time, and less of a writer that others keep busy.
    pub(crate) async fn piece<T>(&self, piece: impl Future<Output = T>) -> T {
        let _turn = self.turn.lock().await;
        let begun = tokio::time::Instant::now();
        let done = piece.await;
        tokio::time::sleep(begun.elapsed().max(Duration::from_millis(1))).await;
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn key(number: u8) -> Option<KeyId> {
        Some(fixture::key(number))
    }

    #[test]
    fn a_key_has_one_replay_and_all_have_a_few() {
        let replays = Replays::default();
        let mut running = vec![replays.begin(key(1)).ok()];
        assert!(replays.begin(key(1)).is_err_and(|why| {
            why.told(true).contains("This API key has a replay") && why.retry_after_s.is_some()
        }));
        running.extend((2..=4).map(|n| replays.begin(key(n)).ok()));
        assert!(running.iter().all(Option::is_some));
        assert!(replays.begin(key(5)).is_err());
        running.remove(0);
        assert!(replays.begin(key(5)).is_ok());
        assert!(
            replays.begin(key(1)).is_ok(),
            "one that ended is not counted"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_rests_as_long_as_it_took_and_no_other_runs_meanwhile() {
        let replays = Replays::default();
        let took = Duration::from_millis(300);
        let begun = tokio::time::Instant::now();
        let one = async |n| {
            let running = replays.begin(key(n)).ok()?;
            running
                .piece(async { tokio::time::sleep(took).await })
                .await;
            Some(begun.elapsed())
        };
        let (first, second) = tokio::join!(one(1), one(2));
        // Timers go by the millisecond.
        let about = |at: Option<Duration>| at.map(|at| at.as_millis() / 100);
        assert_eq!((about(first), about(second)), (Some(6), Some(12)));
    }
}
