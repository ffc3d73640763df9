//! The real clock and the real randomness: for the records that the benchmark stores itself, and
//! for the server of a compared store.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use model::{Clock, Entropy, Timestamp};
use store::{Error, Sealer};

/// The machine's clock. Nobody sets it while a benchmark runs, so it tells steady time too. What is
/// accepted by it into a database whose clock is behind becomes due later by as much.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(
            clippy::disallowed_methods,
            reason = "a benchmark has no other clock than the machine's"
        )]
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

#[async_trait]
impl delivery::Timer for SystemClock {
    async fn sleep_until(&self, at: Timestamp) {
        let micros = at.as_micros().saturating_sub(self.now().as_micros());
        let left = u64::try_from(micros).unwrap_or(0);
        tokio::time::sleep(Duration::from_micros(left)).await;
    }
}

/// The system's randomness.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        #[expect(
            clippy::disallowed_methods,
            reason = "a benchmark has no other randomness than the system's"
        )]
        if getrandom::fill(&mut bytes).is_err() {
            // Ids would repeat, and the store would refuse them.
            std::process::abort();
        }
        bytes
    }
}

/// Seals with `master_key`, as the servers on the same store do.
///
/// # Errors
/// When it is no master key.
pub(crate) fn sealer(master_key: &model::Secret) -> Result<Sealer, Error> {
    Sealer::new(master_key, Arc::new(SystemEntropy))
}
