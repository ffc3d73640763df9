//! Secrets that an answer repeats are masked before anybody reads the answer.
//!
//! Guarantee: a secret of [`MASKED_MIN_BYTES`] or more is found as it is, and with any of its characters
//! escaped as JSON, a URL or HTML escapes them; also the beginning of one where the answer was cut.
//! A secret that was turned into something else (upper case, base64, one encoding within another) is not
//! recognised.

use model::Secret;

/// Bytes of a secret from which on it is looked for: shorter ones stand in any text.
const MASKED_MIN_BYTES: usize = 4;

/// What stands for a secret.
const MASK: &[u8] = b"***";

/// Masks `secret` wherever `text` repeats it. A text that is not whole may end within the secret.
pub(crate) fn mask(text: &mut Vec<u8>, secret: &Secret, is_whole: bool) {
    if secret.expose().len() < MASKED_MIN_BYTES {
        return;
    }
    let encodings = [raw_forms, json_forms, url_forms, html_forms];
    let spellings = encodings.map(|forms| secret.expose().chars().map(forms).collect::<Vec<_>>());
    let mut masked: Vec<u8> = Vec::with_capacity(text.len());
    let mut from = 0;
    while from < text.len() {
        let rest = &text[from..];
        let mut lengths = spellings
            .iter()
            .filter_map(|one| match_length(rest, one, is_whole));
        if let Some(length) = lengths.next() {
            masked.extend_from_slice(MASK);
            from += length;
        } else {
            masked.push(text[from]);
            from += 1;
        }
    }
    *text = masked;
}

/// How an encoding may write a character. No form begins another one of the same encoding.
type Forms = Vec<Vec<u8>>;

fn raw_forms(character: char) -> Forms {
    vec![character.to_string().into_bytes()]
}

/// RFC 8259, section 7.
fn json_forms(character: char) -> Forms {
    let unit = |unit: u16| format!("\\u{unit:04x}");
    let units = character
        .encode_utf16(&mut [0; 2])
        .iter()
        .copied()
        .map(unit)
        .collect();
    let mut forms: Vec<String> = vec![units];
    match character {
        '"' | '\\' => forms.push(format!("\\{character}")),
        '/' => forms.extend(["\\/".to_owned(), character.to_string()]),
        _ => forms.push(character.to_string()),
    }
    forms.into_iter().map(String::into_bytes).collect()
}

/// RFC 3986, section 2.1, and forms, in which a blank is a plus.
fn url_forms(character: char) -> Forms {
    let raw = character.to_string().into_bytes();
    let mut forms = vec![
        raw.iter()
            .flat_map(|byte| format!("%{byte:02x}").into_bytes())
            .collect(),
    ];
    match character {
        '%' | '+' => {}
        ' ' => forms.push(b"+".to_vec()),
        _ => forms.push(raw),
    }
    forms
}

fn html_forms(character: char) -> Forms {
    let code = u32::from(character);
    let named = match character {
        '"' => "&quot;",
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '\'' => "&apos;",
        _ => "",
    };
    let mut forms = vec![format!("&#{code};"), format!("&#x{code:x};")];
    forms.extend((!named.is_empty()).then(|| named.to_owned()));
    forms.extend((character != '&').then(|| character.to_string()));
    forms.into_iter().map(String::into_bytes).collect()
}

/// How much of `text` the secret takes that it begins with.
fn match_length(text: &[u8], secret: &[Forms], is_whole: bool) -> Option<usize> {
    let mut length = 0;
    for forms in secret {
        let rest = &text[length..];
        let is_cut_here = |form: &Vec<u8>| !is_whole && begins(form, rest);
        if let Some(form) = forms.iter().find(|form| begins(rest, form)) {
            length += form.len();
        } else if text.len() >= MASKED_MIN_BYTES && forms.iter().any(is_cut_here) {
            return Some(text.len());
        } else {
            return None;
        }
    }
    Some(length)
}

/// Whether a text begins so. The digits of an escape may be of either case.
fn begins(text: &[u8], with: &[u8]) -> bool {
    let is_escape = with.len() > 1 && matches!(with[0], b'\\' | b'%' | b'&');
    text.get(..with.len()).is_some_and(|head| match is_escape {
        true => head.eq_ignore_ascii_case(with),
        false => head == with,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(text: &str, secret: &str, is_whole: bool) -> String {
        let mut bytes = text.as_bytes().to_vec();
        mask(&mut bytes, &Secret::new(secret), is_whole);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_secret_is_masked_wherever_an_answer_repeats_it() {
        let check = |text: &str, secret: &str, expected: &str| {
            assert_eq!(masked(text, secret, true), expected, "{text}");
        };
        check("key abcdef is bad", "abcdef", "key *** is bad");
        check("abcdefabcdef", "abcdef", "******");
        check("abcdeabcdef", "abcdef", "abcde***");
        check("abc", "abc", "abc");
        check("nothing", "abcdef", "nothing");
        check("", "abcdef", "");
        check("abcde", "abcdef", "abcde");
    }

    #[test]
    fn a_secret_is_masked_in_every_escaped_form() {
        let secret = "Zü\"<\\/& 7";
        for text in [
            "Zü\"<\\/& 7",
            r#"Z\u00fc\"<\\/& 7"#,
            r#"Z\u00FC\u0022\u003c\u005c\/\u0026\u00207"#,
            "Z%c3%bc%22%3C%5c%2F%26+7",
            "Zü&quot;&lt;\\/&amp; 7",
            "Z&#252;&#x22;&#60;&#x5C;&#47;&#38;&#32;7",
        ] {
            assert_eq!(
                masked(&format!("({text})"), secret, true),
                "(***)",
                "{text}"
            );
        }
        assert_eq!(masked(r#""\ud83d\uDE00key""#, "😀key", true), r#""***""#);
    }

    #[test]
    fn the_beginning_of_a_secret_is_masked_where_the_answer_was_cut() {
        let check = |text: &str, expected: &str| {
            assert_eq!(masked(text, "ab-ü-cdef", false), expected, "{text}");
        };
        check("x ab-ü-cd", "x ***");
        check(r"x ab-\u00", "x ***");
        check("x ab-%c3%", "x ***");
        // Too little to be told from any other text.
        check("x ab", "x ab");
        check("x ab-", "x ab-");
        check("ab-ü-cdef and more", "*** and more");
    }

    #[test]
    fn a_secret_of_backslashes_is_found_in_backslashes() {
        let secret = "\\".repeat(200);
        let text = format!("{}x", "\\".repeat(60_000));
        assert_eq!(masked(&text, &format!("{secret}y"), true), text);
        assert_eq!(
            masked(&text, &secret, true),
            format!("{}x", "***".repeat(300))
        );
    }

    proptest! {
        #[test]
        fn no_json_of_a_secret_shows_it(secret in "\\PC{4,20}", before in "[a-z ]{0,9}") {
            let json = serde_json::json!({ "problem": format!("{before}{secret}") }).to_string();
            let shown = masked(&json, &secret, true);
            let value: serde_json::Value = serde_json::from_str(&shown).unwrap_or_default();
            prop_assert!(!value["problem"].as_str().unwrap_or_default().contains(&secret));
            prop_assert!(!shown.contains(&secret));
        }
    }
}
