//! Recording what became of a call, though the store is in trouble.
//!
//! Guarantee: it is offered again and again for some time, more and more seldom, so that neither an outage loses it nor what fails for good fills a log.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use store::Error;

/// How long to wait before asking a store again that failed.
pub const STORE_TROUBLE_WAIT: Duration = Duration::from_millis(200);

/// How long an outcome is offered to a failing store: several times what it takes until a database's standby is its primary. Its lease may lapse meanwhile, and then it
/// still counts, if it is a confirmation; left to lapse, the call is repeated. What waits is bounded by what may be in flight.
const RECORD_MAX: Duration = Duration::from_secs(120);

/// How long is waited at most before it is offered once more.
const RECORD_WAIT_MAX: Duration = Duration::from_secs(5);

/// Offers an outcome until it is recorded; `trouble` is told each time that it is not.
///
/// # Errors
/// As the store's, when it is closed or would not have it for two minutes.
pub async fn until_recorded<T, F: Future<Output = Result<T, Error>>>(
    trouble: &str,
    offer: impl Fn() -> F,
) -> Result<T, Error> {
    let begun = Instant::now();
    let mut wait = STORE_TROUBLE_WAIT;
    loop {
        match offer().await {
            Err(why) if !matches!(why, Error::Closed) && begun.elapsed() < RECORD_MAX => {
                why.tell(trouble);
                tokio::time::sleep(wait).await;
                wait = RECORD_WAIT_MAX.min(wait * 2);
            }
            over => return over,
        }
    }
}
