//! The machine's clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Where Linux names the boot that the machine runs since.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The clock of the uptime: one that goes on while the machine sleeps, where there is one.
#[cfg(target_os = "linux")]
const UPTIME: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const UPTIME: ClockId = ClockId::Monotonic;

/// The wall time.
pub(crate) fn wall() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the one reader of what ships")]
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// For how long the machine has run, in microseconds.
pub(super) fn uptime_micros() -> i64 {
    let time = clock_gettime(UPTIME);
    time.tv_sec
        .saturating_mul(1_000_000)
        .saturating_add(time.tv_nsec / 1_000)
}

/// A name of the boot, which no other has; empty where the system tells none.
pub(super) fn boot() -> String {
    std::fs::read_to_string(BOOT_ID)
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}
