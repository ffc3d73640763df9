//! The ids of everything that the sandbox keeps: cards, appointments, activities and listings.
//!
//! Guarantee: ids are digits, rise, and are never given twice, whatever they were given to: a reset and a
//! restart go on from where they were.

use std::fmt;

use model::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// 2026-01-01T00:00:00Z in microseconds. Ids start from the time since then, which keeps them short.
const ID_EPOCH_MICROS: i64 = 1_767_225_600_000_000;

/// A number inside, digits in a text outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(pub(super) u64);

impl Id {
    /// Half of what the number could hold, so that an id from a journal never leaves none to count on with.
    const MOST: u64 = u64::MAX / 2;

    /// Reads digits; none when the text is anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = text.parse().ok()?;
        (number <= Self::MOST).then_some(Self(number))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("an id must be digits"))
    }
}

/// Gives ids.
pub(super) struct Ids {
    next: u64,
}

impl Ids {
    /// Ids start from the time since 2026 in microseconds. A sandbox that started earlier cannot have got
    /// this far, as it would have had to keep a million things a second ever since.
    pub(super) fn new(now: Timestamp) -> Self {
        let since = now.as_micros().saturating_sub(ID_EPOCH_MICROS);
        Self {
            next: u64::try_from(since).unwrap_or(0).max(1),
        }
    }

    /// An id that was not given before.
    pub(super) fn give(&mut self) -> Id {
        let id = Id(self.next);
        self.next += 1;
        id
    }

    /// The id that would be given next.
    pub(super) fn next(&self) -> Id {
        Id(self.next)
    }

    /// Makes the next id at least this one.
    pub(super) fn raise_to(&mut self, least: Id) {
        self.next = self.next.max(least.0);
    }

    /// Notes an id that was given before a restart.
    pub(super) fn given(&mut self, id: Id) {
        self.raise_to(Id(id.0.saturating_add(1)));
    }
}
