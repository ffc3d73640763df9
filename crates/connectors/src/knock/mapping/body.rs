//! A body put together member by member.
//!
//! Guarantee: what is absent, or blank, has no member.

use model::{Issue, text::trimmed, vocabulary::Vocabulary};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::knock::bodies::prospect_create::NOTES_MAX_CHARS;

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

/// Characters of a message that is sent to Knock: as many as notes may have.
const MESSAGE_MAX_CHARS: usize = NOTES_MAX_CHARS as usize;

/// The notes as a message, with the number's extension in a line of its own: Knock has no member
/// for it. The line is never cut. Where there is no room for both, the notes end earlier.
pub(super) fn message(notes: Option<&str>, extension: Option<&str>) -> Option<String> {
    const CUT: &str = "...";
    let notes = trimmed(notes);
    let Some(extension) = extension else {
        return notes;
    };
    let line = format!("Phone extension: {extension}");
    let Some(notes) = notes else {
        return Some(line);
    };
    let room = MESSAGE_MAX_CHARS.saturating_sub(line.chars().count() + 1);
    if notes.chars().count() <= room {
        return Some(format!("{notes}\n{line}"));
    }
    let kept: String = notes.chars().take(room.saturating_sub(CUT.len())).collect();
    Some(format!("{}{CUT}\n{line}", kept.trim_end()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_stands_in_the_last_line_of_a_message() {
        let check = |notes: Option<&str>, extension: Option<&str>, expect: Option<&str>| {
            assert_eq!(message(notes, extension).as_deref(), expect);
        };
        check(None, None, None);
        check(Some(" "), None, None);
        check(Some(" Hello "), None, Some("Hello"));
        check(None, Some("136"), Some("Phone extension: 136"));
        check(Some(" "), Some("136"), Some("Phone extension: 136"));
        check(
            Some("Hello\n"),
            Some("0136"),
            Some("Hello\nPhone extension: 0136"),
        );
    }

    #[test]
    fn the_line_of_an_extension_is_never_cut_and_never_too_much() {
        let line = format!("\nPhone extension: {}", "7".repeat(20));
        let room = MESSAGE_MAX_CHARS - line.len();
        for (length, is_cut) in [
            (room - 1, false),
            (room, false),
            (room + 1, true),
            (MESSAGE_MAX_CHARS, true),
        ] {
            let notes = "é".repeat(length);
            let message = message(Some(&notes), Some(&"7".repeat(20))).unwrap();
            assert!(message.ends_with(&line), "{length}");
            assert!(message.chars().count() <= MESSAGE_MAX_CHARS, "{length}");
            assert_eq!(message.contains("..."), is_cut, "{length}");
            assert!(message.starts_with(&"é".repeat(room - 3)), "{length}");
        }
    }
}
