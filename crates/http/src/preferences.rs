//! What a caller asks for in headers and query: waiting, idempotency, leniency.

use axum::http::{HeaderMap, Uri};
use model::{
    Clock, JobId, Scope,
    write::{Write, WriteStatus},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::Once;
use tokio::time::{Duration, Instant, timeout_at};

use crate::{App, error::Error};

/// The longest that `Prefer: wait` holds an answer, in seconds: below the idle limits of usual proxies.
pub const WAIT_MAX_S: u64 = 55;

/// Characters of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_MAX_CHARS: usize = 255;

/// How long an idempotency key is kept: twice the promised day.
const IDEMPOTENCY_KEPT_MS: i64 = 48 * 3_600_000;

/// How often a wait looks at the store, as a net under the signal.
pub(crate) const WAIT_POLL: Duration = Duration::from_secs(1);

/// The seconds of `Prefer: wait=<seconds>` (RFC 7240), at most [`WAIT_MAX_S`]. What is not understood is ignored, as the RFC asks.
pub fn wait_s(headers: &HeaderMap) -> Option<u64> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| {
            let (name, seconds) = preference.split_once('=')?;
            let is_wait = name.trim().eq_ignore_ascii_case("wait");
            is_wait.then(|| seconds.trim().trim_matches('"').parse::<u64>().ok())?
        })
        .map(|seconds| seconds.min(WAIT_MAX_S))
}

/// The write once it has ended, or as it stands when the time is over; `None` when there is none that the caller may see.
///
/// # Errors
/// As the store's.
pub async fn await_end(
    app: &App,
    scope: &Scope,
    job_id: JobId,
    wait_s: u64,
) -> Result<Option<Write>, Error> {
    let deadline = Instant::now() + Duration::from_secs(wait_s);
    let watch = app.store.signals().watch_end(job_id);
    loop {
        let mut ended = std::pin::pin!(watch.ended());
        // Subscribed before looking: an end in between is not missed.
        ended.as_mut().enable();
        let write = app.store.write_find(scope, job_id).await?;
        let is_over = write
            .as_ref()
            .is_none_or(|write| write.status != WriteStatus::Pending);
        if is_over || Instant::now() >= deadline {
            return Ok(write);
        }
        let _ = timeout_at(deadline.min(Instant::now() + WAIT_POLL), ended).await;
    }
}

/// The `Idempotency-Key` of a request, bound to its key, its operation and its body.
///
/// # Errors
/// When the header is empty, too long or not plain text.
pub fn once(
    headers: &HeaderMap,
    scope: &Scope,
    operation: &str,
    body: &Value,
    clock: &dyn Clock,
) -> Result<Option<Once>, Error> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let is_key = |key: &&str| {
        (1..=IDEMPOTENCY_KEY_MAX_CHARS).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let key = value.to_str().ok().filter(is_key).ok_or_else(|| {
        let takes = format!("Idempotency-Key takes 1 to {IDEMPOTENCY_KEY_MAX_CHARS} visible ASCII characters, such as a UUID");
        Error::invalid_parameter("Idempotency-Key", takes)
    })?;
    let owner = scope.key().map(|id| id.to_string()).unwrap_or_default();
    let key_hash = Sha256::new()
        .chain_update(owner)
        .chain_update([0])
        .chain_update(key)
        .finalize()
        .into();
    // The parsed body in serde_json's sorted order: white space and the order of members make no difference.
    let fingerprint = Sha256::new()
        .chain_update(operation)
        .chain_update([0])
        .chain_update(body.to_string())
        .finalize()
        .into();
    Ok(Some(Once {
        key_hash,
        fingerprint,
        // A jump of the clock that nobody confirmed makes no key old.
        used_at: clock.settled(),
        expires_at: clock.now().plus_millis(IDEMPOTENCY_KEPT_MS),
    }))
}

/// Whether `?ignore_unknown_fields=true` stands in the query.
///
/// # Errors
/// When it has another value than `true` or `false`.
pub fn ignores_unknown_fields(uri: &Uri) -> Result<bool, Error> {
    let mut ignores = false;
    for pair in uri.query().unwrap_or_default().split('&') {
        if let Some(value) = pair.strip_prefix("ignore_unknown_fields=") {
            ignores = match value {
                "true" => true,
                "false" => false,
                _ => {
                    return Err(Error::invalid_parameter(
                        "ignore_unknown_fields",
                        "ignore_unknown_fields is `true` or `false`",
                    ));
                }
            };
        }
    }
    Ok(ignores)
}
