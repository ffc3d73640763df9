//! Which answers are a vendor's own refusals, and words for those of something in between.
//!
//! A proxy, a firewall or a load balancer answers in the vendor's place while the vendor is away, with
//! its own 400, 404, 405 or 410. Such an answer says nothing of the write. So a connector names the
//! answers by which its vendor refuses, and all others are tried again.

use serde_json::Value;

use crate::vendor_client::Got;

/// Characters of a foreign answer that are passed on: enough to recognise who sent it.
pub const FOREIGN_MAX_CHARS: usize = 200;

/// Characters of a content type that are passed on: real ones are shorter.
const CONTENT_TYPE_MAX_CHARS: usize = 100;

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A JSON object, by its content type too, in which this member holds words: text that is
    /// neither blank nor markup.
    Words(&'static str),
    /// No body.
    Empty,
}

impl Form {
    /// True if an answer has it. `body` is the answer's JSON, if it is whole and is JSON.
    pub fn is_of(self, got: &Got, body: Option<&Value>) -> bool {
        match self {
            Self::Words(name) => {
                let words = body.and_then(|body| body.get(name)?.as_str());
                let is_json = got.content_type.as_deref().is_some_and(is_json);
                is_json
                    && words.is_some_and(|words| {
                        let words = words.trim();
                        !words.is_empty() && !words.starts_with('<')
                    })
            }
            Self::Empty => got.is_whole && got.body.is_empty(),
        }
    }
}

/// True for `application/json` and what ends with `+json`, whatever parameters follow.
fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    kind == "application/json" || (kind.contains('/') && kind.ends_with("+json"))
}

/// Answers by which a vendor refuses a call for good.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Their statuses.
    pub statuses: &'static [u16],
    /// The form of their bodies.
    pub form: Form,
}

impl Refusal {
    /// True if an answer is one of these.
    pub fn is(&self, got: &Got, body: Option<&Value>) -> bool {
        self.statuses.contains(&got.status) && self.form.is_of(got, body)
    }
}

/// The content type and the beginning of an answer that is not the vendor's, for the operator to
/// recognise who sent it.
pub fn excerpt(got: &Got) -> String {
    let content_type = match &got.content_type {
        None => "no content type".to_owned(),
        Some(told) => plain(told, CONTENT_TYPE_MAX_CHARS),
    };
    if got.body.is_empty() {
        return format!("{content_type}, no body");
    }
    // A character has at most four bytes.
    let head = &got.body[..got.body.len().min(4 * FOREIGN_MAX_CHARS)];
    let text = plain(&String::from_utf8_lossy(head), FOREIGN_MAX_CHARS);
    format!("{content_type}: {text}")
}

/// The first `most` characters, with a blank for each control character: a foreign page must not
/// steer the terminal that shows it.
fn plain(text: &str, most: usize) -> String {
    let shown = |one: char| if one.is_control() { ' ' } else { one };
    text.chars().take(most).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn got(status: u16, content_type: Option<&str>, body: &str) -> Got {
        Got {
            status,
            body: body.as_bytes().to_vec(),
            is_whole: true,
            retry_after_s: None,
            content_type: content_type.map(str::to_owned),
        }
    }

    fn check(refusal: &Refusal, status: u16, body: &str, is_whole: bool, expected: bool) {
        let got = Got {
            is_whole,
            ..got(status, Some("application/json"), body)
        };
        let json = is_whole.then(|| serde_json::from_str(body).ok()).flatten();
        assert_eq!(
            refusal.is(&got, json.as_ref()),
            expected,
            "{refusal:?} {status} {body}"
        );
    }

    #[test]
    fn a_refusal_has_the_vendors_status_and_form() {
        let named = Refusal {
            statuses: &[400, 499],
            form: Form::Words("errorMessage"),
        };
        check(&named, 400, r#"{"errorMessage":"no"}"#, true, true);
        check(&named, 499, r#"{"errorMessage":"no"}"#, true, true);
        check(&named, 450, r#"{"errorMessage":"no"}"#, true, false);
        for words in [
            "[\"no\"]",
            "[]",
            "{}",
            "7",
            "true",
            "\"\"",
            "\"  \"",
            "\" <html>\"",
        ] {
            let body = format!("{{\"errorMessage\":{words}}}");
            check(&named, 400, &body, true, false);
        }
        check(&named, 400, r#"{"errorMessage":"no"}"#, false, false);
        check(&named, 400, r#"{"errorMessage":null}"#, true, false);
        check(&named, 400, r#"{"message":"no"}"#, true, false);
        check(&named, 400, r#"["errorMessage"]"#, true, false);
        check(&named, 400, "errorMessage", true, false);
        check(&named, 500, r#"{"errorMessage":"no"}"#, true, false);
        let empty = Refusal {
            statuses: &[404],
            form: Form::Empty,
        };
        check(&empty, 404, "", true, true);
        check(&empty, 404, "", false, false);
        check(&empty, 404, "<html>", true, false);
        check(&empty, 410, "", true, false);
    }

    #[test]
    fn a_form_with_words_is_json_by_its_content_type() {
        let form = Form::Words("errorMessage");
        let body = r#"{"errorMessage":"no"}"#;
        let json = serde_json::from_str(body).ok();
        for (content_type, expected) in [
            (Some("application/json"), true),
            (Some("Application/JSON ; charset=utf-8"), true),
            (Some("application/problem+json"), true),
            (Some("application/jsonp"), false),
            (Some("+json"), false),
            (Some("text/html"), false),
            (Some("text/html; a=application/json"), false),
            (Some(""), false),
            (None, false),
        ] {
            let is_of = form.is_of(&got(400, content_type, body), json.as_ref());
            assert_eq!(is_of, expected, "{content_type:?}");
        }
    }

    #[test]
    fn an_excerpt_is_bounded_and_harmless() {
        let check = |content_type, body: &str, expected: &str| {
            assert_eq!(excerpt(&got(404, content_type, body)), expected);
        };
        check(Some("text/html"), "<h1>404</h1>", "text/html: <h1>404</h1>");
        check(None, "", "no content type, no body");
        check(None, "\u{1b}[2Ja\r\nb\0", "no content type:  [2Ja  b ");
        let long = "é".repeat(5_000);
        let told = excerpt(&got(404, Some(&long), &long));
        assert_eq!(told.chars().count(), 100 + 2 + FOREIGN_MAX_CHARS);
        let cut = Got {
            body: vec![0xff; 9_000],
            ..got(404, None, "")
        };
        assert!(excerpt(&cut).chars().count() < 300);
    }
}
