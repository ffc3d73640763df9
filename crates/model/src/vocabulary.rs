//! Our words for a vendor's words: enum members as data.
//!
//! Guarantee: a value that is not in the table is refused at the door, and the OpenAPI document shows the table in force.
//! Source: the public contract, section 3.1: the published page does not show the members, so they are data, not code.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Entries that an override file may hold for one field: far more than any vendor has, so that a wrong file is noticed.
pub const ENTRIES_MAX: usize = 200;

/// One vendor's table: field, our value, the vendor's literal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vocabulary {
    fields: BTreeMap<String, Vec<(String, String)>>,
}

/// What a vocabulary file says of one value.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "the vendor's word in quotes, or false to offer the value no longer"
)]
enum Entry {
    /// The vendor's literal for it.
    Literal(String),
    /// `false`: this value is not offered.
    Offered(bool),
}

/// Changes to a table, as an operator writes them: per field, per value of ours.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Overrides(BTreeMap<String, BTreeMap<String, Entry>>);

impl Vocabulary {
    /// A table from fixed data, in the order in which the values are shown.
    pub fn new(table: &[(&str, &[(&str, &str)])]) -> Self {
        let fields = table
            .iter()
            .map(|(field, entries)| {
                let entries = entries
                    .iter()
                    .map(|(ours, theirs)| ((*ours).to_owned(), (*theirs).to_owned()));
                ((*field).to_owned(), entries.collect())
            })
            .collect();
        Self { fields }
    }

    /// This table with `overrides` laid over it.
    ///
    /// # Errors
    /// In words that name no value of `overrides`, when a field is not one of this table's, a literal is empty, a field is left without values or has more than [`ENTRIES_MAX`].
    pub fn with(mut self, overrides: Overrides) -> Result<Self, String> {
        let known = self.fields.keys().cloned().collect::<Vec<_>>().join(", ");
        for (field, changes) in overrides.0 {
            let entries = self.fields.get_mut(&field).ok_or_else(|| {
                format!("vocabulary: a field that there is not; the fields are {known}")
            })?;
            for (ours, change) in changes {
                entries.retain(|(value, _)| *value != ours);
                match change {
                    Entry::Literal(theirs) if theirs.is_empty() || ours.is_empty() => {
                        return Err(format!(
                            "vocabulary: an entry of `{field}` needs a value and a literal that are not empty"
                        ));
                    }
                    Entry::Literal(theirs) => entries.push((ours, theirs)),
                    Entry::Offered(false) => {}
                    Entry::Offered(true) => {
                        return Err(format!(
                            "vocabulary: an entry of `{field}` is `true`; give the vendor's literal, or `false` to drop the value"
                        ));
                    }
                }
            }
            if entries.is_empty() || entries.len() > ENTRIES_MAX {
                return Err(format!(
                    "vocabulary: `{field}` must keep 1 to {ENTRIES_MAX} values"
                ));
            }
        }
        Ok(self)
    }

    /// Our values for `field`, in order; none when the table has no such field.
    pub fn values(&self, field: &str) -> impl Iterator<Item = &str> {
        self.entries(field).iter().map(|(ours, _)| ours.as_str())
    }

    /// The vendor's literal for our value.
    pub fn literal(&self, field: &str, ours: &str) -> Option<&str> {
        self.entries(field)
            .iter()
            .find(|(value, _)| value == ours)
            .map(|(_, theirs)| theirs.as_str())
    }

    /// Our value for the vendor's literal.
    pub fn ours(&self, field: &str, literal: &str) -> Option<&str> {
        self.entries(field)
            .iter()
            .find(|(_, theirs)| theirs == literal)
            .map(|(ours, _)| ours.as_str())
    }

    /// The fields that have a table.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    fn entries(&self, field: &str) -> &[(String, String)] {
        self.fields.get(field).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vocabulary {
        Vocabulary::new(&[("pets", &[("CAT", "CAT"), ("SMALL_DOG", "SMALL_DOG")])])
    }

    fn overrides(json: &str) -> Overrides {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_override_adds_changes_and_drops() {
        let table = table()
            .with(overrides(
                r#"{"pets":{"CAT":"cat","BIRD":"bird","SMALL_DOG":false}}"#,
            ))
            .unwrap();
        assert_eq!(table.values("pets").collect::<Vec<_>>(), ["BIRD", "CAT"]);
        assert_eq!(table.literal("pets", "CAT"), Some("cat"));
        assert_eq!(table.literal("pets", "SMALL_DOG"), None);
        assert_eq!(table.literal("colour", "CAT"), None);
        assert_eq!(table.ours("pets", "cat"), Some("CAT"));
        assert_eq!(table.ours("pets", "SMALL_DOG"), None);
    }

    #[test]
    fn a_wrong_override_is_refused_in_words() {
        for (json, words) in [
            (
                r#"{"pet":{"CAT":"cat"}}"#,
                "a field that there is not; the fields are pets",
            ),
            (r#"{"pets":{"CAT":""}}"#, "not empty"),
            (r#"{"pets":{"CAT":true}}"#, "or `false` to drop"),
            (r#"{"pets":{"CAT":false,"SMALL_DOG":false}}"#, "must keep 1"),
        ] {
            let error = table().with(overrides(json)).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
