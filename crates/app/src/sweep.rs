//! Removes what has expired, again and again.

use std::{sync::Arc, time::Duration};

use delivery::Timer;
use store::{Store, retention::Retention};

/// How often what has expired is removed, and how many rows of each kind at once.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const SWEEP_ROWS: u32 = 5_000;

/// How long diffs of records, runs of synchronisation and events are kept: 30 days, as the contract
/// has it (section 5).
const HISTORY_KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// Goes on until the store is closed.
pub(crate) async fn run(store: Arc<Store>, timer: Arc<dyn Timer>, retention: Retention) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let settled = timer.settled();
        let swept = async {
            store.idempotency_sweep(settled, SWEEP_ROWS).await?;
            let before = settled.plus_millis(-HISTORY_KEPT_MS);
            // As often as it takes: at full speed there is more in a minute than is removed at once.
            while store.history_sweep(before, SWEEP_ROWS).await? > 0 {}
            while store.events_sweep(before, SWEEP_ROWS).await? > 0 {}
            retention.sweep(&store, &*timer).await
        };
        match swept.await {
            Ok(_) => {}
            Err(store::Error::Closed) => return,
            Err(why) => tracing::error!(%why, "what has expired could not be removed"),
        }
    }
}
