//! Time and randomness that a test decides.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use delivery::Timer;
use model::{Clock, Entropy, Timestamp};
use store::clock::Dial;
use tokio::sync::Notify;

/// Where every test's time begins: 2026-01-15, noon UTC.
const BEGIN_MICROS: i64 = 1_768_478_400_000_000;

/// A clock that stands still until it is moved, and that can be set as a machine's clock is.
pub struct MockClock {
    hands: Mutex<Hands>,
    moved: Notify,
}

struct Hands {
    steady: Timestamp,
    /// Wall time less steady time, in milliseconds.
    apart_ms: i64,
    dial: Dial,
}

impl Hands {
    fn wall(&self) -> Timestamp {
        self.steady.plus_millis(self.apart_ms)
    }
}

impl Default for MockClock {
    fn default() -> Self {
        Self {
            hands: Mutex::new(Hands {
                steady: Timestamp::from_micros(BEGIN_MICROS),
                apart_ms: 0,
                dial: Dial::default(),
            }),
            moved: Notify::new(),
        }
    }
}

impl MockClock {
    fn lock(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves it forward and wakes who waited for that.
    pub fn advance_ms(&self, millis: i64) {
        {
            let mut hands = self.lock();
            hands.steady = hands.steady.plus_millis(millis);
        }
        self.moved.notify_waiters();
    }

    /// Sets it by so much, ahead or back, and notices that as a server does.
    pub fn set_by_ms(&self, millis: i64) {
        let mut hands = self.lock();
        hands.apart_ms += millis;
        if let Some(jumped) = hands.dial.judged(hands.wall(), hands.steady) {
            hands.dial = jumped;
        }
    }

    /// Confirms that it was rightly set ahead.
    pub fn accept(&self) {
        let mut hands = self.lock();
        (hands.dial.ahead_micros, hands.dial.ahead_until) = (0, Timestamp::ZERO);
    }
}

impl Clock for MockClock {
    fn now(&self) -> Timestamp {
        self.lock().wall()
    }

    fn steady(&self) -> Timestamp {
        self.lock().steady
    }

    fn settled(&self) -> Timestamp {
        let hands = self.lock();
        hands.dial.settled(hands.wall(), hands.steady)
    }
}

#[async_trait]
impl Timer for MockClock {
    async fn sleep_until(&self, at: Timestamp) {
        loop {
            // Subscribed before looking, so that a move between the two is not missed.
            let moved = self.moved.notified();
            if self.steady() >= at {
                return;
            }
            moved.await;
        }
    }
}

/// The same ids and jitter at every run.
#[derive(Default)]
pub struct Seeded(AtomicU64);

impl Entropy for Seeded {
    fn bytes(&self) -> [u8; 16] {
        // Two odd multipliers spread a counter over all bits; nothing here is secret.
        let count = u128::from(self.0.fetch_add(1, Ordering::Relaxed) + 1);
        count
            .wrapping_mul(0x2545_f491_4f6c_dd1d_9e37_79b9_7f4a_7c15)
            .rotate_left(57)
            .wrapping_mul(0xda94_2042_e4dd_58b5_d1b5_4a32_d192_ed03)
            .to_be_bytes()
    }
}
