//! What was wrong with a body, in the shape of the Zod validator's issues.
//!
//! Guarantee: an issue names the place (`path`), the kind (`code`) and, in words, what to do. What the
//! caller sent is repeated only where Zod does so, and cut to a bound.
//! Source: the public contract, section 1, "Error body".

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// Characters of a received value that an issue repeats; a longer value is cut. Keeps error answers small.
pub const RECEIVED_MAX_CHARS: usize = 64;

/// A step on the way to the value that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Step {
    /// A member of an object.
    Key(String),
    /// An index of an array, from 0.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

/// One problem of a request. It has the further members that Zod gives an issue of its code, such as
/// `expected`, `minimum` or `keys`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Issue {
    /// The kind, one of Zod's codes: `invalid_type`, `too_small`, `custom`, ... The list is open.
    #[schema(value_type = String)]
    pub code: &'static str,
    /// Where: member names and array indexes from the body's root. Empty for the body itself.
    #[schema(inline)]
    pub path: Vec<Step>,
    /// What was wrong and what to do, for a person.
    pub message: String,
    /// Members that this code has besides: `expected`, `minimum`, `keys`, ...
    #[serde(flatten)]
    #[schema(ignore)]
    pub more: Map<String, Value>,
}

impl Issue {
    /// An issue with the further members of `more`, which must be a JSON object (anything else is left out).
    pub fn new(
        code: &'static str,
        path: Vec<Step>,
        message: impl Into<String>,
        more: Value,
    ) -> Self {
        let more = match more {
            Value::Object(more) => more,
            _ => Map::new(),
        };
        Self {
            code,
            path,
            message: message.into(),
            more,
        }
    }

    /// A rule that no type can say, on one top-level field.
    pub fn custom(field: &str, message: impl Into<String>) -> Self {
        Self::new("custom", vec![field.into()], message, Value::Null)
    }

    /// A string that is not a valid `validation` (`email`, `phone`, `date`, ...).
    pub fn invalid_string(field: &str, validation: &str, message: impl Into<String>) -> Self {
        Self::new(
            "invalid_string",
            vec![field.into()],
            message,
            json!({ "validation": validation }),
        )
    }

    /// The top-level field that the issue is about, when it is about one.
    pub fn field(&self) -> Option<&str> {
        match self.path.first() {
            Some(Step::Key(key)) => Some(key),
            _ => None,
        }
    }
}

/// Cuts what the caller sent to [`RECEIVED_MAX_CHARS`], so that an error never grows with the body.
pub fn cut(received: &str) -> String {
    match received.char_indices().nth(RECEIVED_MAX_CHARS) {
        None => received.to_owned(),
        Some((end, _)) => format!("{}...", &received[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_has_zods_members() {
        let issue = Issue::invalid_string("email_1", "email", "Invalid email");
        assert_eq!(
            serde_json::to_value(&issue).unwrap(),
            json!({"code": "invalid_string", "path": ["email_1"], "message": "Invalid email", "validation": "email"})
        );
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(80)), format!("{}...", "é".repeat(64)));
    }
}
