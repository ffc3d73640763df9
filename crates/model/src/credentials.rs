//! What a vendor lets itself be called with.
//!
//! Guarantee: no member is shown by `Debug`, and none leaves but by name. Kept, they are one secret,
//! which the store seals: of a vendor with one member that member itself, of others a JSON object.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer};

use crate::secret::Secret;

/// The credentials of an integration, by the names of their members.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, Secret>);

impl Credentials {
    /// Those that are kept as `stored`, of a vendor whose credentials have these members.
    pub fn of_stored(stored: &Secret, members: &[&str]) -> Self {
        match members {
            _ if stored.expose().is_empty() => Self::default(),
            [only] => Self([((*only).to_owned(), stored.clone())].into()),
            _ => serde_json::from_str(stored.expose()).unwrap_or_default(),
        }
    }

    /// Them as they are kept.
    pub fn stored(&self, members: &[&str]) -> Secret {
        match members {
            [only] => self
                .0
                .get(*only)
                .cloned()
                .unwrap_or_else(|| Secret::new("")),
            _ => {
                let plain: BTreeMap<&str, &str> = self
                    .0
                    .iter()
                    .map(|(name, secret)| (name.as_str(), secret.expose()))
                    .collect();
                Secret::new(serde_json::to_string(&plain).unwrap_or_default())
            }
        }
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// Every member that is not empty.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.0.values().filter(|one| !one.expose().is_empty())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for Credentials {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let plain = BTreeMap::<String, String>::deserialize(from)?;
        let sealed = plain
            .into_iter()
            .map(|(name, text)| (name, Secret::new(text)));
        Ok(Self(sealed.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_is_kept_as_it_is_and_several_as_an_object() {
        let read = |json: &str| serde_json::from_str::<Credentials>(json).unwrap();
        for (json, members, kept) in [
            (r#"{"apiKey":"k"}"#, &["apiKey"][..], "k"),
            (r#"{"apiKey":"{\"a\":1}"}"#, &["apiKey"], r#"{"a":1}"#),
            (
                r#"{"user":"u","token":"t"}"#,
                &["user", "token"],
                r#"{"token":"t","user":"u"}"#,
            ),
        ] {
            let stored = read(json).stored(members);
            assert_eq!(stored.expose(), kept);
            let back = Credentials::of_stored(&stored, members);
            for member in members {
                let expected = read(json);
                let expected = expected.get(member).map(Secret::expose);
                assert_eq!(back.get(member).map(Secret::expose), expected, "{member}");
            }
        }
        let gone = Credentials::of_stored(&Secret::new(""), &["apiKey"]);
        assert_eq!(gone.secrets().count(), 0);
    }

    #[test]
    fn a_member_is_not_shown() {
        let shown = format!(
            "{:?}",
            serde_json::from_str::<Credentials>(r#"{"a":"b"}"#).unwrap()
        );
        assert_eq!(shown, r#"{"a"}"#);
    }
}
