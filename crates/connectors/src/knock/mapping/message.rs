//! The message of a body: Knock has no member for the extension of a number.

use model::text::trimmed;

use crate::knock::bodies::prospect_create::NOTES_MAX_CHARS;

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
