//! How much waits: the depths of the queue of writes and of deliveries, for whoever looks at metrics.
//!
//! Guarantee: the numbers are kept. However many ask, and whether or not they stay for the answer, one
//! look at the store is under way at a time, and looks take a small part of one connection's time:
//! a twentieth, or more where a store is so large or slow that numbers would be older than five
//! seconds.

use std::{sync::Arc, time::Duration};

use store::{Depth, Store};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// How long a look may take.
const WITHIN: Duration = Duration::from_secs(3);

/// How long numbers are kept at least.
const KEPT_MIN: Duration = Duration::from_millis(100);

/// How much longer they are kept than the look took: counting a million rows takes tens of
/// milliseconds, and the disk is for writes.
const KEPT_TIMES: u32 = 20;

/// How long numbers are kept at most: also that the store did not tell, which raises alarms.
const KEPT_MAX: Duration = Duration::from_secs(5);

/// The depth of writes and of deliveries.
type Both = (Depth, Depth);

/// What was seen last.
#[derive(Default)]
struct Seen {
    depths: Option<Both>,
    until: Option<Instant>,
}

/// The numbers that are kept.
#[derive(Clone)]
pub struct Depths {
    seen: Arc<Mutex<Seen>>,
    kept_min: Duration,
}

impl Default for Depths {
    fn default() -> Self {
        Self::kept(KEPT_MIN)
    }
}

impl Depths {
    /// Numbers that are kept for `min` at least.
    pub fn kept(min: Duration) -> Self {
        Self {
            seen: Arc::default(),
            kept_min: min,
        }
    }

    /// The depths in `store` of a moment ago; `None` while it does not tell.
    pub async fn get(&self, store: &Arc<Store>) -> Option<Both> {
        let store = store.clone();
        self.seen_by(async move {
            let writes = store.queue_depth().await?;
            Ok((writes, store.deliveries_depth().await?))
        })
        .await
    }

    async fn seen_by(
        &self,
        look: impl Future<Output = Result<Both, store::Error>> + Send + 'static,
    ) -> Option<Both> {
        let (seen, kept_min) = (self.seen.clone(), self.kept_min);
        // A task of its own: who goes away does not have the next one begin another look.
        let looked = tokio::spawn(async move {
            let mut seen = seen.lock().await;
            let begun = Instant::now();
            if seen.until.is_some_and(|until| begun < until) {
                return seen.depths;
            }
            let found = timeout(WITHIN, look).await;
            let found = found.unwrap_or(Err(store::Error::Busy));
            seen.depths = found
                .map_err(|why| why.tell("the depths could not be read for the metrics"))
                .ok();
            let kept = (begun.elapsed() * KEPT_TIMES).min(KEPT_MAX).max(kept_min);
            seen.until = Some(Instant::now() + kept);
            seen.depths
        });
        looked.await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_and_go_away_are_one_look() {
        let depths = Depths::default();
        let looks = Arc::new(AtomicU32::new(0));
        let ask = |took: Duration| {
            let (depths, looks) = (depths.clone(), looks.clone());
            async move {
                let look = async move {
                    looks.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(took).await;
                    Ok((Depth::default(), Depth::default()))
                };
                depths.seen_by(look).await
            }
        };
        let slow = Duration::from_millis(200);
        for _ in 0..50 {
            // Gone before the answer.
            let gone = timeout(Duration::from_millis(1), ask(slow)).await;
            assert!(gone.is_err());
        }
        let all = futures(50, || ask(slow)).await;
        assert!(all.iter().all(Option::is_some));
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        // It took 200 ms, so the numbers are kept for 4 s.
        tokio::time::sleep(Duration::from_millis(3_900)).await;
        assert!(ask(slow).await.is_some());
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(ask(Duration::ZERO).await.is_some());
        assert_eq!(looks.load(Ordering::SeqCst), 2);
        // One that hangs is given up, and told of as such for a while.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(ask(Duration::from_secs(3_600)).await.is_none());
        tokio::time::sleep(KEPT_MAX.mul_f32(0.9)).await;
        assert!(ask(Duration::ZERO).await.is_none());
        assert_eq!(looks.load(Ordering::SeqCst), 3);
        tokio::time::sleep(KEPT_MAX.mul_f32(0.2)).await;
        assert!(ask(Duration::ZERO).await.is_some());
        assert_eq!(looks.load(Ordering::SeqCst), 4);
    }

    async fn futures<F: Future<Output = Option<Both>> + Send + 'static>(
        count: usize,
        make: impl Fn() -> F,
    ) -> Vec<Option<Both>> {
        let all: Vec<_> = (0..count).map(|_| tokio::spawn(make())).collect();
        let mut found = Vec::new();
        for one in all {
            found.push(one.await.unwrap());
        }
        found
    }
}
