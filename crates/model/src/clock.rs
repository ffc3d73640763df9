//! Time and randomness as parameters.
//!
//! Guarantee: nothing below the composition root reads a clock or a random source of its own, so a
//! test decides what time it is and which ids are drawn.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An instant: microseconds since 1970-01-01T00:00:00Z. Written to JSON as RFC 3339 in UTC.
///
/// Bounds: whatever `jiff` can print (years -9999 to 9999); a value outside prints as the nearest bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The epoch.
    pub const ZERO: Self = Self(0);

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch; negative instants read as 0 (UUIDs cannot hold them).
    pub const fn as_millis(self) -> u64 {
        if self.0 < 0 {
            0
        } else {
            (self.0 / 1_000) as u64
        }
    }

    /// This instant moved by `millis`, which may be negative. Saturates at the type's bounds.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1_000)))
    }

    /// Milliseconds from `earlier` to this instant; 0 when `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        let gap = self.0.saturating_sub(earlier.0);
        if gap < 0 { 0 } else { (gap / 1_000) as u64 }
    }

    /// Parses RFC 3339, for example `2026-11-24T09:00:00Z`.
    ///
    /// # Errors
    /// When the text is not an instant (no offset, or not a real date).
    pub fn parse(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<jiff::Timestamp>()
            .map(|t| Self(t.as_microsecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (
            jiff::Timestamp::MIN.as_microsecond(),
            jiff::Timestamp::MAX.as_microsecond(),
        );
        let instant = jiff::Timestamp::from_microsecond(self.0.clamp(least, most))
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{instant:.6}")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// Where time comes from.
///
/// One clock tells three times, which are the same until somebody sets the machine's clock. An
/// implementation that nobody sets needs only [`Clock::now`].
pub trait Clock: Send + Sync + 'static {
    /// Wall time: for stamps and for what people read. It jumps when the clock is set.
    fn now(&self) -> Timestamp;

    /// Steady time: it goes on at the same pace whatever happens to the wall time, also over a
    /// restart. Due times, leases, paces and pauses are instants of it, so that no wait is longer
    /// or shorter than the delay that was drawn.
    fn steady(&self) -> Timestamp {
        self.now()
    }

    /// Wall time without the jumps ahead that nobody has confirmed. Whatever cannot be undone
    /// because something is old enough (give up, purge, disable, expire) is decided by it.
    fn settled(&self) -> Timestamp {
        self.now()
    }
}

/// Where randomness comes from: ids, tokens and jitter.
pub trait Entropy: Send + Sync + 'static {
    /// Sixteen random bytes. Must be unpredictable in production: API tokens are made from them.
    fn bytes(&self) -> [u8; 16];

    /// A random number, such as a seed of jitter.
    fn number(&self) -> u64 {
        let bytes = self.bytes();
        bytes
            .iter()
            .take(8)
            .fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }
}
