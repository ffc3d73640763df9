//! The name of a CRM that Portico writes to.
//!
//! Guarantee: any name is kept, also one that no connector of this build has: a database of another
//! build is read, and says whose an integration is. Which vendors there are, `connectors` says.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Characters of a name at most.
const NAME_MAX_CHARS: usize = 23;

/// The name of a vendor: capital letters, digits and underscores, 1 to 23 of them,
/// a letter first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vendor {
    /// The name, and zeros behind it.
    bytes: [u8; NAME_MAX_CHARS],
    length: u8,
}

impl Vendor {
    /// The vendor of this name, which is written in the code.
    ///
    /// # Panics
    /// When it is no name: while compiling, where it is a constant.
    #[expect(
        clippy::panic,
        reason = "a wrong name in the code is to fail where it stands"
    )]
    pub const fn named(name: &'static str) -> Self {
        match Self::of(name) {
            Some(vendor) => vendor,
            None => panic!("a vendor's name is 1 to 23 capital letters, digits and underscores"),
        }
    }

    const fn of(name: &str) -> Option<Self> {
        let from = name.as_bytes();
        if from.is_empty() || from.len() > NAME_MAX_CHARS || !from[0].is_ascii_uppercase() {
            return None;
        }
        let mut bytes = [0; NAME_MAX_CHARS];
        let mut place = 0;
        while place < from.len() {
            match from[place] {
                byte @ (b'A'..=b'Z' | b'0'..=b'9' | b'_') => bytes[place] = byte,
                _ => return None,
            }
            place += 1;
        }
        Some(Self {
            bytes,
            length: from.len() as u8,
        })
    }

    /// Its name in bodies and answers: `KNOCK`.
    pub fn name(&self) -> &str {
        let bytes = &self.bytes[..usize::from(self.length)];
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Its name in paths, in the ids of operations and on the command line: `knock`.
    pub fn slug(&self) -> String {
        self.name().to_ascii_lowercase()
    }

    /// Its name at the end of the names of schemas: `Knock`, as in `ProspectCreateKnock`.
    pub fn suffix(&self) -> String {
        let (first, rest) = self.name().split_at(1);
        format!("{first}{}", rest.to_ascii_lowercase())
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Vendor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::of(text).ok_or_else(|| {
            format!(
                "A vendor's name is 1 to {NAME_MAX_CHARS} capital letters, digits and underscores"
            )
        })
    }
}

impl Serialize for Vendor {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Vendor {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_capital_letters_digits_and_underscores() {
        for name in ["A", "FUNNEL", "YARDI_ILS", "ABCDEFGHIJKLMNOPQRSTUVW"] {
            assert_eq!(
                name.parse::<Vendor>().map(|one| one.to_string()),
                Ok(name.into())
            );
        }
        for name in [
            "",
            "knock",
            "1A",
            "_A",
            "A B",
            "É",
            "ABCDEFGHIJKLMNOPQRSTUVWX",
        ] {
            assert!(name.parse::<Vendor>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_has_a_form_for_each_place() {
        let vendor = Vendor::named("YARDI_ILS");
        let forms = (vendor.name(), vendor.slug(), vendor.suffix());
        assert_eq!(forms, ("YARDI_ILS", "yardi_ils".into(), "Yardi_ils".into()));
        let json = serde_json::to_string(&vendor).unwrap();
        assert_eq!(json, r#""YARDI_ILS""#);
        assert_eq!(serde_json::from_str::<Vendor>(&json).unwrap(), vendor);
        assert!(Vendor::named("A") < Vendor::named("AB"));
    }
}
