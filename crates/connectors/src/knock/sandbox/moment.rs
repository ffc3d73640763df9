//! How instants are written: those that Knock makes up itself, and those that somebody told it.
//!
//! Guarantee: a time that was told keeps the text it was told in, and that text always has an offset.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use model::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An instant of Knock's own: microseconds and an offset in digits instead of `Z`.
#[derive(Clone, Copy)]
pub(super) struct Moment(pub(super) Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.to_string();
        let local = text.strip_suffix('Z').unwrap_or(&text);
        serializer.collect_str(&format_args!("{local}+00:00"))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Timestamp::deserialize(deserializer).map(Self)
    }
}

/// An instant and the ISO 8601 text that tells it.
pub(super) struct ToldTime {
    pub(super) at: jiff::Timestamp,
    pub(super) text: Box<str>,
}

impl ToldTime {
    /// Reads `YYYY-MM-DDTHH:MM`, perhaps seconds, and an offset.
    pub(super) fn parse(text: Box<str>) -> Option<Self> {
        // The shape is looked at first, because the parser also takes other separators and zone names.
        let bytes = text.as_bytes();
        let has_shape = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':')]
            .iter()
            .all(|&(place, byte)| bytes.get(place) == Some(&byte));
        if !has_shape || !ends_in_offset(bytes) {
            return None;
        }
        let at = text.parse().ok()?;
        Some(Self { at, text })
    }

    /// The text that the clocks of a zone tell at that instant.
    pub(super) fn in_zone(at: jiff::Timestamp, zone: &TimeZone) -> Self {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = write!(text, "{}", at.display_with_offset(zone.to_offset(at)));
        Self {
            at,
            text: text.into_boxed_str(),
        }
    }
}

/// `Z`, or a sign, two digits, a colon and two digits.
fn ends_in_offset(bytes: &[u8]) -> bool {
    match bytes {
        [.., b'Z'] => true,
        [.., b'+' | b'-', h1, h2, b':', m1, m2] => {
            [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit())
        }
        _ => false,
    }
}

impl Serialize for ToldTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ToldTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::deserialize(deserializer)?;
        Self::parse(text).ok_or_else(|| D::Error::custom("a time must be ISO 8601 with an offset"))
    }
}

/// The instant as the library of the zones knows it; its nearest bound when it is beyond.
pub(super) fn instant(time: Timestamp) -> jiff::Timestamp {
    let bound = if time < Timestamp::ZERO {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    };
    jiff::Timestamp::from_microsecond(time.as_micros()).unwrap_or(bound)
}
