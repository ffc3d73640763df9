//! A body put together member by member.
//!
//! Guarantee: what is absent, or blank, has no member.

use model::{Issue, vocabulary::Vocabulary};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

/// What stands for itself in a path's segment (RFC 3986, unreserved).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Members so far.
#[derive(Default)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// Adds a member, if there is a value.
    pub(super) fn put(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    pub(super) fn finish(self) -> Value {
        Value::Object(self.0)
    }
}

/// A text as given, trimmed; nothing when blank.
pub(super) fn text(given: Option<&str>) -> Option<String> {
    given
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// Each value once, in the order of their first.
pub(crate) fn without_repeats<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

/// An id as a segment of a path, whatever is in it.
pub(crate) fn segment(id: &str) -> String {
    utf8_percent_encode(id, UNRESERVED).to_string()
}

/// Knock's words for ours, and what there is no word for.
pub(super) struct Words<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) issues: Vec<Issue>,
}

impl<'a> Words<'a> {
    pub(super) fn of(vocabulary: &'a Vocabulary) -> Self {
        Self {
            vocabulary,
            issues: Vec::new(),
        }
    }

    pub(super) fn one(&mut self, field: &str, ours: Option<&str>) -> Option<String> {
        let ours = ours?;
        let literal = self.vocabulary.literal(field, ours).map(str::to_owned);
        if literal.is_none() {
            let ours = model::issue::cut(ours);
            let why = format!("Knock has no word for {ours}");
            self.issues.push(Issue::custom(field, why));
        }
        literal
    }

    pub(super) fn list(&mut self, field: &str, ours: Option<&[String]>) -> Option<Vec<String>> {
        let words = ours?.iter().filter_map(|one| self.one(field, Some(one)));
        Some(without_repeats(words))
    }

    pub(super) fn finish(self) -> Result<(), Vec<Issue>> {
        if self.issues.is_empty() {
            Ok(())
        } else {
            Err(self.issues)
        }
    }
}

/// A record without what is absent or blank: that needs no place in the store, it reads back as null.
pub(super) fn stated(record: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(record) {
        Ok(Value::Object(all)) => all
            .into_iter()
            .filter(|(_, value)| !value.is_null() && value.as_str() != Some(""))
            .collect(),
        _ => Map::new(),
    }
}
