//! Typed ids: a UUID of version 7 behind a prefix, printed short.
//!
//! Guarantee: two kinds of id cannot be mistaken for one another, ids of one kind sort by the time they
//! were made, and a text that is not an id of the right kind does not parse.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::clock::{Entropy, Timestamp};

/// Crockford's alphabet in lower case: no i, l, o or u, so an id read aloud comes back right.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Base-32 digits that 128 bits take.
const DIGITS: usize = 26;

/// A text that is not an id of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this kind")]
pub struct NotAnId;

/// Version 7 of RFC 9562: 48 bits of milliseconds, then random bits around version and variant.
fn uuid_v7(now: Timestamp, entropy: &dyn Entropy) -> u128 {
    let random = u128::from_be_bytes(entropy.bytes());
    let millis = u128::from(now.as_millis()) & 0xffff_ffff_ffff;
    let tail = random & 0x0fff_3fff_ffff_ffff_ffff;
    (millis << 80) | (0x7 << 76) | (0x2 << 62) | tail
}

fn print(prefix: &str, value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = [0_u8; DIGITS];
    let mut rest = value;
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
    f.write_str(prefix)?;
    f.write_str("_")?;
    f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
}

/// A new id behind a prefix, made at `now`, as text.
pub(crate) fn made(prefix: &str, now: Timestamp, entropy: &dyn Entropy) -> String {
    Printed(prefix, uuid_v7(now, entropy)).to_string()
}

/// An id behind its prefix.
struct Printed<'a>(&'a str, u128);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(self.0, self.1, f)
    }
}

fn parse(prefix: &str, text: &str) -> Result<u128, NotAnId> {
    let digits = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .filter(|digits| digits.len() == DIGITS)
        .ok_or(NotAnId)?;
    let mut value: u128 = 0;
    for (place, byte) in digits.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|&c| c == byte).ok_or(NotAnId)? as u128;
        // 26 digits hold 130 bits: the first may use only three of its five.
        if place == 0 && digit > 7 {
            return Err(NotAnId);
        }
        value = (value << 5) | digit;
    }
    Ok(value)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// What every id of this kind begins with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// An id that nothing has: made at no time and of nothing.
            pub const NOBODY: Self = Self(0);

            /// A new id, made at `now`.
            pub fn new(now: Timestamp, entropy: &dyn Entropy) -> Self {
                Self(uuid_v7(now, entropy))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                print($prefix, self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                parse($prefix, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )+};
}

ids! {
    /// One accepted write, from accept to outcome.
    JobId = "job";
    /// A vendor account of one customer.
    IntegrationId = "int";
    /// An apartment community of an integration.
    CommunityId = "com";
    /// A lead source of an integration.
    AttributionId = "att";
    /// A leasing agent of an integration.
    AgentId = "agt";
    /// A prospect that the vendor has confirmed.
    ProspectId = "pro";
    /// An API key.
    KeyId = "key";
    /// Something that happened and is to be announced.
    EventId = "evt";
    /// A subscription to events.
    WebhookId = "whk";
    /// One trigger of a subscription.
    TriggerId = "trg";
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed([u8; 16]);
    impl Entropy for Fixed {
        fn bytes(&self) -> [u8; 16] {
            self.0
        }
    }

    #[test]
    fn an_id_prints_and_parses_back() {
        for bytes in [[0; 16], [0xff; 16], [0x5a; 16]] {
            let id = JobId::new(Timestamp::from_micros(1_790_000_000_000_000), &Fixed(bytes));
            let text = id.to_string();
            assert_eq!(text.len(), "job_".len() + DIGITS);
            assert_eq!(text.parse(), Ok(id));
            assert_eq!(text.parse::<IntegrationId>(), Err(NotAnId));
        }
    }

    #[test]
    fn ids_carry_version_and_variant_and_sort_by_time() {
        let early = JobId::new(Timestamp::from_micros(1_000_000), &Fixed([0xff; 16]));
        let late = JobId::new(Timestamp::from_micros(2_000_000), &Fixed([0; 16]));
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!((early.0 >> 76) & 0xf, 7);
        assert_eq!((early.0 >> 62) & 0x3, 2);
    }

    #[test]
    fn what_is_not_an_id_does_not_parse() {
        for text in [
            "",
            "job_",
            "job_0",
            "job-00000000000000000000000000",
            "job_80000000000000000000000000",
            "job_0000000000000000000000000u",
            "job_0000000000000000000000000é",
            "JOB_00000000000000000000000000",
        ] {
            assert_eq!(text.parse::<JobId>(), Err(NotAnId), "{text}");
        }
    }
}
