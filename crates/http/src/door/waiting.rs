//! Waits for the end of a write.
//!
//! Guarantee: a wait ends in time, when the server stops, and when the caller's key is revoked.

use axum::http::HeaderMap;
use model::{
    JobId, Scope,
    write::{Write, WriteStatus},
};
use tokio::time::{Duration, Instant, timeout_at};

use crate::{
    door::preferences::wait_s,
    error::Error,
    limits::waits::{END_WAITS_MAX, Wait},
    state::App,
};

/// How often a wait looks at the store, as a net under the signal. The end of a write at another
/// node is signalled too; where a signal may be lost, all waits are told to look.
const END_POLL: Duration = Duration::from_secs(15);

/// A wait for the end of a write, among those that the caller's key may have.
pub struct EndWait {
    /// How long it takes at most, in seconds.
    pub seconds: u64,
    _waits: Option<Wait>,
}

impl EndWait {
    /// The wait that the head asks for. `None` when it asks for none, or the key has as many as it
    /// may have: then the request is answered at once, as without the header.
    pub fn of(app: &App, scope: &Scope, headers: &HeaderMap) -> Option<Self> {
        let seconds = wait_s(headers)?;
        let waits = (seconds > 0).then(|| app.limits.end_waits.begin(scope.key(), END_WAITS_MAX));
        match waits {
            Some(None) => None,
            waits => Some(Self {
                seconds,
                _waits: waits.flatten(),
            }),
        }
    }
}

/// The write once it has ended, or as it stands when the wait is over or the server is told to
/// stop; `None` when there is none that the caller may see.
///
/// # Errors
/// 401 as soon as the caller's key is in force no more, and as the store's.
pub async fn await_end(
    app: &App,
    scope: &Scope,
    job_id: JobId,
    wait: Option<EndWait>,
) -> Result<Option<Write>, Error> {
    let seconds = wait.as_ref().map_or(0, |wait| wait.seconds);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let watch = app.store.signals().watch_end(job_id);
    let mut ousted = std::pin::pin!(app.ousted(scope));
    loop {
        let mut ended = std::pin::pin!(watch.ended());
        // Subscribed before looking: an end in between is not missed.
        ended.as_mut().enable();
        let write = app.store.write_find(scope, job_id).await?;
        app.admit(scope)?;
        let is_over = write
            .as_ref()
            .is_none_or(|write| write.status != WriteStatus::Pending);
        if is_over || app.stopping.is_told() || Instant::now() >= deadline {
            return Ok(write);
        }
        let again_at = deadline.min(Instant::now() + END_POLL);
        tokio::select! {
            _ = timeout_at(again_at, ended) => {}
            () = app.stopping.told() => {}
            () = &mut ousted => return Err(Error::unauthorized()),
        }
    }
}
