//! Characters that steer what shows a text instead of standing in it.
//!
//! Guarantee: a cleaned text has none of them but, where it may have several lines, line feeds,
//! tabs and marks; a shown text cannot move the cursor, change the direction of what stands beside
//! it, or begin a line that looks like ours.

use std::borrow::Cow;

/// Free text of a write that is one line.
const ONE_LINE: [&str; 8] = [
    "first_name",
    "last_name",
    "address_1",
    "city",
    "state",
    "zip",
    "email_subject",
    "title",
];

/// Free text of a write that may have several lines.
const LINES: [&str; 2] = ["notes", "email_body"];

/// Whether a character is a control character (C0, DEL, C1), separates lines, or overrides the
/// direction of text.
pub fn is_control(one: char) -> bool {
    one.is_control()
        || matches!(one, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character is a mark that nobody sees: of direction, of a place where a line may break,
/// of the order of bytes, or a tag. Two names that differ in these alone look the same. Joiners
/// (U+200C, U+200D) are none: they are part of words and of emoji.
pub const fn is_mark(one: char) -> bool {
    matches!(
        one,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// The text without such marks.
pub fn without_marks(text: &str) -> Cow<'_, str> {
    if text.contains(is_mark) {
        text.replace(is_mark, "").into()
    } else {
        text.into()
    }
}

/// A text as given, trimmed; nothing when it is blank.
pub fn trimmed(given: Option<&str>) -> Option<String> {
    given
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// Whether a character ends a line.
const fn ends_line(one: char) -> bool {
    matches!(
        one,
        '\n' | '\u{b}' | '\u{c}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// The text of the member `name` of a write without control characters, and where it is one line
/// without marks that nobody sees; `None` when it has none, or is no free text: of an id, a date or
/// a contact, the rules have their say.
pub fn cleaned(name: &str, text: &str) -> Option<String> {
    if !text.contains(|one| is_control(one) || is_mark(one)) {
        return None;
    }
    if ONE_LINE.contains(&name) {
        Some(one_line(&without_marks(text)))
    } else if LINES.contains(&name) {
        Some(lines(text)).filter(|cleaned| cleaned != text)
    } else {
        None
    }
}

/// On one line: where a line ended or a tab stood is a blank, so that words stay apart, but for the
/// two ends.
fn one_line(text: &str) -> String {
    let parts = text.split(|one| ends_line(one) || one == '\t');
    let parts: Vec<String> = parts
        .map(|part| part.chars().filter(|one| !is_control(*one)).collect())
        .filter(|part: &String| !part.is_empty())
        .collect();
    parts.join(" ")
}

/// In lines that end with a line feed.
fn lines(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut before = None;
    for one in text.chars() {
        match one {
            // The second half of an end that has two.
            '\n' if before == Some('\r') => {}
            '\t' => cleaned.push('\t'),
            one if ends_line(one) => cleaned.push('\n'),
            one if is_control(one) => {}
            one => cleaned.push(one),
        }
        before = Some(one);
    }
    cleaned
}

/// The text as it is shown on one line: control characters are written as JSON escapes them.
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, is_control)
}

/// As [`shown`], but for line feeds and tabs.
pub fn shown_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |one| is_control(one) && one != '\n' && one != '\t')
}

/// As [`shown_lines`], of what somebody else sent: its lines end as they do there.
pub fn shown_as_sent(text: &str) -> Cow<'_, str> {
    escaped(text, |one| {
        is_control(one) && !matches!(one, '\n' | '\r' | '\t')
    })
}

/// The text with what `is_hidden` finds written as JSON escapes it.
pub fn escaped(text: &str, is_hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for one in text.chars() {
        match one {
            one if !is_hidden(one) => shown.push(one),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            one => shown.push_str(&format!("\\u{:04x}", u32::from(one))),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_text_is_cleaned_and_nothing_else() {
        for (name, text, expected) in [
            ("first_name", "Ada", None),
            ("first_name", "A\u{0}d\u{7}a\u{1b}[2J", Some("Ada[2J")),
            ("last_name", "\u{202e}norB\u{202c}", Some("norB")),
            ("last_name", "\u{2066}B\u{2069}\u{85}", Some("B")),
            ("city", "Port\tAngeles\r\n", Some("Port Angeles")),
            ("city", "New\u{2028}\u{2029}York", Some("New York")),
            ("zip", "\u{7f}98101\u{9b}", Some("98101")),
            ("email_subject", "a\nBcc: b", Some("a Bcc: b")),
            ("title", "\u{0}", Some("")),
            // Joiners are how some languages and emoji are written.
            ("first_name", "\u{5d0}\u{200c}\u{200d}", None),
            (
                "first_name",
                "\u{200f}\u{5d0}\u{200d}",
                Some("\u{5d0}\u{200d}"),
            ),
            (
                "last_name",
                "\u{feff}B\u{200b}\u{200e}\u{61c}\u{e0041}",
                Some("B"),
            ),
            ("city", "New\u{200b}\nYork", Some("New York")),
            ("title", "\u{200b}", Some("")),
            ("notes", "\u{200f}\u{5d0}\u{200b}", None),
            ("email_1", "\u{200b}ada@example.com", None),
            ("notes", "one\n\ttwo", None),
            (
                "notes",
                "one\r\ntwo\rthree\n\rfour",
                Some("one\ntwo\nthree\n\nfour"),
            ),
            ("notes", "a\u{0}\u{202e}b\u{2028}c\u{b}d", Some("ab\nc\nd")),
            ("email_body", "\u{1b}]0;x\u{7}", Some("]0;x")),
            ("email_1", "ada\u{0}@example.com", None),
            ("phone_1", "206\t5550155", None),
            ("community_id", "com_1\n", None),
        ] {
            assert_eq!(cleaned(name, text).as_deref(), expected, "{name} {text:?}");
        }
    }

    #[test]
    fn a_shown_text_steers_nothing() {
        for (text, line, lines) in [
            ("plain \u{e4} \\n", "plain \u{e4} \\n", "plain \u{e4} \\n"),
            ("a\nb\tc\r", "a\\nb\\tc\\r", "a\nb\tc\\r"),
            ("\u{1b}[2J\u{9b}", "\\u001b[2J\\u009b", "\\u001b[2J\\u009b"),
            ("\u{202e}\u{2028}", "\\u202e\\u2028", "\\u202e\\u2028"),
        ] {
            assert_eq!(shown(text), line);
            assert_eq!(shown_lines(text), lines);
            let as_sent = lines.replace("\\r", "\r");
            assert_eq!(shown_as_sent(text), as_sent);
        }
    }
}
