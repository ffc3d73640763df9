//! How people write phone numbers: with blanks, brackets and dashes of many kinds, labels,
//! extensions.
//!
//! Guarantee: what cannot be part of a phone number is refused in words; nothing is guessed.

use super::super::invisible::is_invisible;

/// Characters that a phone number may take with label, formatting and extension.
const MAX_CHARS: usize = 250;

/// Digits of an extension at most, as in libphonenumber.
const EXTENSION_MAX_DIGITS: usize = 20;

/// Digits of an extension that is only marked by a `#` behind it: `206-555-0155 503#`.
const UNMARKED_MAX_DIGITS: usize = 6;

/// Characters between digits that say nothing, besides brackets.
const SEPARATORS: &str = " -./_";

/// Labels of an extension, in lower case.
const EXTENSION_LABELS: [&str; 17] = [
    "x",
    "ext",
    "extn",
    "ex",
    "xt",
    "xtn",
    "extension",
    "extensión",
    "extensio\u{301}n",
    "int",
    "anexo",
    "доб",
    "#",
    "~",
    "ext#",
    "x#",
    "",
];

/// Words behind a number that say its kind, in lower case.
const KINDS: [&str; 8] = [
    "cell", "mobile", "mob", "home", "work", "office", "direct", "main",
];

/// Words before a number, in lower case.
const NUMBER_LABELS: [&str; 7] = ["telephone", "tel", "phone", "ph", "mobile", "mob", "cell"];

/// The zeros of scripts whose ten digits follow one another.
const ZEROS: [char; 19] = [
    '\u{660}', '\u{6f0}', '\u{7c0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}',
    '\u{be6}', '\u{c66}', '\u{ce6}', '\u{d66}', '\u{e50}', '\u{ed0}', '\u{f20}', '\u{1040}',
    '\u{17e0}', '\u{1810}', '\u{ff10}',
];

/// A number taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// The digits of the number, without the extension.
    pub(super) digits: String,
    /// True when it has a plus in front.
    pub(super) is_international: bool,
    /// The place among the digits of the first zero that stands alone in brackets.
    pub(super) zero_at: Option<usize>,
    /// The digits of its extension.
    pub(super) extension: Option<String>,
}

impl Written {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// In words, when it is not written as a number is.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.chars().count() > MAX_CHARS {
            return Err(format!("it has more than {MAX_CHARS} characters"));
        }
        let plain: String = text.chars().filter_map(plain).collect();
        let (number, context) = Uri::read(without_label(plain.trim()))?;
        let Uri { number, extension } = number;
        let begin = number.find(|c: char| c.is_ascii_digit());
        let Some(begin) = begin else {
            return Err(if number.trim().is_empty() {
                "it is empty".to_owned()
            } else {
                "it has no digits".to_owned()
            });
        };
        let end = number[begin..]
            .find(|c| !is_of_number(c))
            .map_or(number.len(), |end| begin + end);
        let (mut head, tail) = number.split_at(end);
        let mut written = Self {
            extension,
            ..Self::default()
        };
        if tail == "#" {
            let (before, last) = unmarked(head).ok_or_else(|| not_understood('#'))?;
            head = before;
            written.extension = Some(last.to_owned());
        } else if !tail.is_empty() {
            written.extension = one_of(extension_of(tail)?, written.extension)?;
        }
        let whole = format!("{}{head}", context.as_deref().unwrap_or_default());
        written.take_digits(&whole)?;
        Ok(written)
    }

    fn take_digits(&mut self, number: &str) -> Result<(), String> {
        let mut chars = number.chars();
        while let Some(c) = chars.next() {
            match c {
                '0'..='9' => self.digits.push(c),
                '+' if self.digits.is_empty() => self.is_international = true,
                '+' => return Err("a + may stand only in front".to_owned()),
                '(' if self.zero_at.is_none() && is_lone_zero(chars.as_str()) => {
                    self.zero_at = Some(self.digits.len());
                }
                c if is_of_number(c) => {}
                c => return Err(not_understood(c)),
            }
        }
        Ok(())
    }
}

/// An extension that is given by itself: its digits, with or without a label. `None` when blank.
///
/// # Errors
/// In words, when it is none.
pub(super) fn extension(text: &str) -> Result<Option<String>, String> {
    if text.chars().count() > MAX_CHARS {
        return Err(format!("it has more than {MAX_CHARS} characters"));
    }
    let plain: String = text.chars().filter_map(plain).collect();
    extension_of(&format!(",{plain}"))
}

/// The extension that is given in one of two places, or in both alike.
///
/// # Errors
/// In words, when they differ.
fn one_of(first: Option<String>, second: Option<String>) -> Result<Option<String>, String> {
    match (&first, &second) {
        (Some(one), Some(other)) if one != other => Err("it has two extensions".to_owned()),
        _ => Ok(first.or(second)),
    }
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || "()+".contains(c) || SEPARATORS.contains(c)
}

fn not_understood(c: char) -> String {
    if c.is_alphabetic() {
        "letters may stand in it only before an extension, as in 206-555-0155 ext. 136".to_owned()
    } else {
        format!("{c:?} does not belong in a phone number")
    }
}

/// True when this goes on as `0)`.
fn is_lone_zero(behind: &str) -> bool {
    let zero = behind.trim_start().strip_prefix('0');
    zero.is_some_and(|rest| rest.trim_start().starts_with(')'))
}

/// A character in its plainest form; `None` when it shows nothing.
fn plain(c: char) -> Option<char> {
    if c.is_ascii() && !c.is_ascii_whitespace() {
        return Some(match c {
            '[' | '{' => '(',
            ']' | '}' => ')',
            // Quotes come from spreadsheets; Swiss people put an apostrophe between digits.
            '\'' | '"' | '`' => ' ',
            c => c.to_ascii_lowercase(),
        });
    }
    if is_invisible(c) {
        return None;
    }
    let of_script = ZEROS.iter().find_map(|zero| {
        let digit = u32::from(c).checked_sub(u32::from(*zero))?;
        char::from_digit(digit, 10)
    });
    if of_script.is_some() {
        return of_script;
    }
    match c {
        // The full-width twins of ASCII.
        '\u{ff01}'..='\u{ff5e}' => {
            let twin = char::from_u32(u32::from(c) - 0xfee0)?;
            plain(twin)
        }
        '\u{207a}' | '\u{fb29}' => Some('+'),
        '\u{2010}'..='\u{2015}'
        | '\u{2043}'
        | '\u{207b}'
        | '\u{2212}'
        | '\u{fe58}'
        | '\u{fe63}' => Some('-'),
        '\u{2053}' | '\u{223c}' | '\u{301c}' | '\u{30fc}' | '\u{ff70}' => Some('-'),
        '\u{b7}' | '\u{2022}' | '\u{2024}' | '\u{2027}' | '\u{2219}' | '\u{22c5}' | '\u{30fb}' => {
            Some('.')
        }
        '\u{2044}' | '\u{2215}' => Some('/'),
        '\u{b4}' | '\u{2018}'..='\u{201f}' | '\u{2032}' => Some(' '),
        '\u{3010}' | '\u{3014}' => Some('('),
        '\u{3011}' | '\u{3015}' => Some(')'),
        // The blank letters of Hangul and Braille are for the eye what a blank is.
        '\u{2800}' | '\u{3164}' | '\u{ffa0}' => Some(' '),
        c if c.is_whitespace() => Some(' '),
        c => c.to_lowercase().next(),
    }
}

/// A number without the word for one in front of it: `tel:`, `Phone: `, `(cell)`.
fn without_label(text: &str) -> &str {
    const BETWEEN: [char; 4] = [' ', ':', '.', '-'];
    let number = |rest: &str| {
        rest.trim_start_matches(BETWEEN)
            .starts_with(|c: char| c.is_ascii_digit() || "+(".contains(c))
    };
    let plain = NUMBER_LABELS
        .iter()
        .filter_map(|label| text.strip_prefix(label))
        .find(|rest| number(rest));
    let in_brackets = || {
        let inside = text.strip_prefix('(')?.trim_start();
        NUMBER_LABELS
            .iter()
            .chain(&KINDS)
            .filter_map(|label| inside.strip_prefix(label))
            .filter_map(|rest| rest.trim_start_matches(BETWEEN).strip_prefix(')'))
            .find(|rest| number(rest))
    };
    plain
        .or_else(in_brackets)
        .map_or(text, |rest| rest.trim_start_matches(BETWEEN))
}

/// A number without the parameters that a `tel:` address may have (RFC 3966).
struct Uri {
    number: String,
    extension: Option<String>,
}

impl Uri {
    /// Takes the parameters off, and returns the digits that `phone-context` puts in front as well.
    fn read(text: &str) -> Result<(Self, Option<String>), String> {
        let mut parts = text.split(';');
        let mut uri = Self {
            number: parts.next().unwrap_or_default().to_owned(),
            extension: None,
        };
        let mut context = None;
        for part in parts {
            match part.split_once('=') {
                Some(("ext", digits)) => {
                    let given = extension_of(&format!(",{digits}"))?;
                    uri.extension = one_of(given, uri.extension)?;
                }
                // A domain says which network's numbers these are, and nothing about the digits.
                Some(("phone-context", of)) => {
                    context = of.starts_with('+').then(|| of.to_owned());
                }
                Some(("isub", _)) => {}
                // A pause, behind which some phones dial what follows.
                _ => {
                    uri.number.push(',');
                    uri.number.push_str(part);
                }
            }
        }
        Ok((uri, context))
    }
}

/// The digits of the extension behind a number; `None` when only its label is there.
fn extension_of(tail: &str) -> Result<Option<String>, String> {
    let edge = |c: char| " ,.-:()".contains(c);
    let is_marked = tail.starts_with(',');
    let begin = tail.trim_start_matches(edge);
    let label_end = begin
        .find(|c: char| !(c.is_alphabetic() || "#~\u{301}".contains(c)))
        .unwrap_or(begin.len());
    let (label, rest) = begin.split_at(label_end);
    let rest = rest.trim_start_matches(|c| edge(c) || c == '#' || c == '=');
    let digits = rest.trim_end_matches(|c| edge(c) || c == '#');
    let is_label = EXTENSION_LABELS.contains(&label) && (!label.is_empty() || is_marked);
    let first = tail.chars().next().unwrap_or_default();
    if KINDS.contains(&label) && digits.is_empty() {
        return Ok(None);
    }
    if !is_label {
        // Without a label, the character between the digits is the wrong one.
        let wrong = label.chars().next().unwrap_or(first);
        return Err(not_understood(wrong));
    }
    if digits.is_empty() {
        return Ok(None);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("an extension is made of digits, as in 206-555-0155 ext. 136".to_owned());
    }
    if digits.len() > EXTENSION_MAX_DIGITS {
        return Err(format!(
            "an extension has at most {EXTENSION_MAX_DIGITS} digits"
        ));
    }
    Ok(Some(digits.to_owned()))
}

/// A number and its extension that only a `#` behind it tells: `206-555-0155 - 503#`.
fn unmarked(head: &str) -> Option<(&str, &str)> {
    let at = head.rfind([' ', '-'])?;
    let (before, last) = (&head[..at], &head[at + 1..]);
    let is_one = (1..=UNMARKED_MAX_DIGITS).contains(&last.len())
        && last.bytes().all(|byte| byte.is_ascii_digit());
    is_one.then_some((before, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let got = Written::read(text).map(|written| {
            let plus = if written.is_international { "+" } else { "" };
            let zero = written.zero_at.map(|at| format!(" zero at {at}"));
            let extension = written.extension.map(|digits| format!(" ext {digits}"));
            format!(
                "{plus}{}{}{}",
                written.digits,
                zero.unwrap_or_default(),
                extension.unwrap_or_default()
            )
        });
        assert_eq!(got.as_deref().unwrap_or("refused"), expect, "{text:?}");
    }

    #[test]
    fn numbers_are_taken_apart() {
        check(" (206) 555-0155 ", "2065550155");
        check("+44 (0)20 7946 0958", "+4402079460958 zero at 2");
        check("+44 [ 0 ] 20 7946 0958", "+4402079460958 zero at 2");
        check("+44 (020) 7946 0958", "+4402079460958");
        check("206+7119384", "refused");
        check("'206-555-0155", "2065550155");
        check("\"206-555-0155\"", "2065550155");
        check("044'123'45'67", "0441234567");
        check("044\u{2019}123 45 67", "0441234567");
        check("call me", "refused");
        check("", "refused");
        check("()", "refused");
        check(&"2".repeat(MAX_CHARS + 1), "refused");
        check("206?5550155", "refused");
        check("1-800-FLOWERS", "refused");
    }

    #[test]
    fn extensions_are_taken_off() {
        for tail in [
            "x136",
            " X 136",
            "x.136",
            " ext 136",
            " Ext. 136",
            " ext: 136",
            "ext136",
            " extn 136",
            " extension 136",
            " Extension: 136",
            " extensi\u{f3}n 136",
            ";ext=136",
            "; ext. 136",
            "#136",
            " #136",
            " # 136",
            ",136",
            ",,136",
            ", x136",
            ", ext. 136",
            " (ext. 136)",
            " [x136]",
            ";136",
            " x136#",
            " 136#",
            " - 136#",
            " ext #136",
            " \u{ff58}\u{ff11}\u{ff13}6",
            " доб. 136",
            " ДОБ 136",
            " anexo 136",
            " int. 136",
            "~136",
            "\u{200b}x\u{200b}136",
            " ext\u{a0}136",
            " ext-136",
            " x=136",
        ] {
            check(&format!("206-555-0155{tail}"), "2065550155 ext 136");
        }
        check("206-555-0155 x", "2065550155");
        check("206-555-0155 ext.", "2065550155");
        check("206-555-0155 (cell)", "2065550155");
        check("206-555-0155 Mobile", "2065550155");
        check("206-555-0155 cell 2", "refused");
        check("206-555-0155 ext. 1a", "refused");
        check("206-555-0155 y136", "refused");
        check("206-555-0155 x136 x137", "refused");
        check("206-555-0155;ext=5;ext=6", "refused");
        check("206-555-0155 x5;ext=6", "refused");
        check("206-555-0155;ext=5;6", "refused");
        check("206-555-0155;ext=5;ext=5", "2065550155 ext 5");
        check(
            &format!("206-555-0155 x{}", "1".repeat(20)),
            &format!("2065550155 ext {}", "1".repeat(20)),
        );
        check(&format!("206-555-0155 x{}", "1".repeat(21)), "refused");
    }

    #[test]
    fn an_extension_may_stand_alone() {
        let check = |text: &str, expect: Option<Option<&str>>| {
            let got = extension(text).ok();
            assert_eq!(got.as_ref().map(Option::as_deref), expect, "{text:?}");
        };
        check("136", Some(Some("136")));
        check(" x136 ", Some(Some("136")));
        check("ext. 0136", Some(Some("0136")));
        check("#6", Some(Some("6")));
        check("  ", Some(None));
        check("front desk", None);
        check("13a", None);
    }

    #[test]
    fn a_tel_address_is_a_number() {
        check("tel:+1-206-555-0155", "+12065550155");
        check("TEL: 206-555-0155", "2065550155");
        check("tel:+12065550155;ext=136", "+12065550155 ext 136");
        check("tel:206-555-0155;phone-context=+1", "+12065550155");
        check("tel:2065550155;phone-context=example.com", "2065550155");
        check("tel:+12065550155;isub=12;ext=136", "+12065550155 ext 136");
        check("Phone: 206-555-0155", "2065550155");
        check("tel: call me", "refused");
        check("(cell) 206-555-0155", "2065550155");
        check("( Mobile: ) (206) 555-0155", "2065550155");
        check("[home] +1 206 555 0155", "+12065550155");
        check("(cell 206-555-0155", "refused");
        check("(desk) 206-555-0155", "refused");
    }
}
