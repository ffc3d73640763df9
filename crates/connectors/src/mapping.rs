//! What mappings of all vendors are made with: bodies, words, paths, order keys.
//!
//! Guarantee: a field that the caller left out is left out.

use model::{CommunityId, IntegrationId, Issue, vocabulary::Vocabulary};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// What stands for itself in a path's segment (RFC 3986, unreserved).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Members so far.
#[derive(Default)]
pub struct Body(Map<String, Value>);

impl Body {
    /// Adds a member, if there is a value.
    pub fn put(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    /// The members as a JSON object.
    pub fn finish(self) -> Value {
        Value::Object(self.0)
    }
}

/// Each value once, in the order of their first.
pub fn without_repeats<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

/// An id as a segment of a path, whatever is in it.
pub fn segment(id: &str) -> String {
    utf8_percent_encode(id, UNRESERVED).to_string()
}

/// A vendor's words for ours, and what it has no word for.
pub struct Words<'a> {
    title: &'static str,
    vocabulary: &'a Vocabulary,
    issues: Vec<Issue>,
}

impl<'a> Words<'a> {
    /// Those of a vendor, whose name people write so.
    pub fn of(title: &'static str, vocabulary: &'a Vocabulary) -> Self {
        Self {
            title,
            vocabulary,
            issues: Vec::new(),
        }
    }

    /// Its word for a value of a field.
    pub fn one(&mut self, field: &str, ours: Option<&str>) -> Option<String> {
        let ours = ours?;
        let literal = self.vocabulary.literal(field, ours).map(str::to_owned);
        if literal.is_none() {
            let ours = model::issue::cut(ours);
            let why = format!("{} has no word for {ours}", self.title);
            self.issues.push(Issue::custom(field, why));
        }
        literal
    }

    /// Its words for the values of a field, without repeats.
    pub fn list(&mut self, field: &str, ours: Option<&[String]>) -> Option<Vec<String>> {
        let words = ours?.iter().filter_map(|one| self.one(field, Some(one)));
        Some(without_repeats(words))
    }

    /// Nothing was without a word.
    ///
    /// # Errors
    /// What was.
    pub fn finish(self) -> Result<(), Vec<Issue>> {
        if self.issues.is_empty() {
            Ok(())
        } else {
            Err(self.issues)
        }
    }
}

/// Where order keys hold: writes that share one are delivered in the order accepted.
#[derive(Clone, Copy)]
pub struct Order {
    integration: IntegrationId,
    community: CommunityId,
}

impl Order {
    /// Within a community of an integration.
    pub const fn within(integration: IntegrationId, community: CommunityId) -> Self {
        Self {
            integration,
            community,
        }
    }

    /// The key of a thing of a kind.
    pub fn key(&self, kind: &str, what: &str) -> i64 {
        let mut hash = Sha256::new();
        for part in [
            &*self.integration.to_string(),
            &*self.community.to_string(),
            kind,
            what,
        ] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let (head, _) = digest.split_at(8);
        head.iter()
            .fold(0_i64, |number, byte| (number << 8) | i64::from(*byte))
    }
}
