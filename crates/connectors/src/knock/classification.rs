//! What Knock's answers, and their absence, mean.
//!
//! Guarantee: only an answer that says so in Knock's own shape counts as delivered, and only a refusal that a repeat cannot mend as rejected;
//! whenever Knock may hold the card and has not said so, the outcome is unknown.

use model::write::{Class, Reply};
use serde_json::Value;

use crate::{
    Answer,
    vendor_client::{Failure, Got},
};

/// Characters of Knock's words that are passed on.
const WORDS_MAX_CHARS: usize = 500;

/// The class of what came back.
pub fn classify(outcome: Result<Got, Failure>) -> Answer {
    let got = match outcome {
        Ok(got) => got,
        Err(Failure::NotSent(why)) => {
            return answer(
                Class::Retry,
                None,
                Some(format!("Knock could not be reached: {why}")),
                None,
                Reply::default(),
            );
        }
        Err(Failure::Lost(why)) => {
            return answer(
                Class::Unknown,
                None,
                Some(format!(
                    "The connection to Knock ended without an answer: {why}"
                )),
                None,
                Reply::default(),
            );
        }
    };
    let reply = got.reply();
    let retry_after_ms = got
        .retry_after_s
        .map(|seconds| seconds.saturating_mul(1_000));
    let body: Option<Value> = got
        .is_whole
        .then(|| serde_json::from_slice(&got.body).ok())
        .flatten();
    let words = body.as_ref().and_then(words);
    let said = |default: &str| {
        Some(match &words {
            Some(words) => format!("Knock answered {}: {words}", got.status),
            None => format!("Knock answered {}: {default}", got.status),
        })
    };
    let (class, error) = match got.status {
        200..=299 => match body.as_ref().and_then(prospect_id) {
            Some(x_id) => return answer(Class::Delivered, Some(x_id), None, None, reply),
            // It may have stored the card and failed to say so.
            None => (Class::Unknown, said("the answer names no prospect id")),
        },
        // Not taken; a redirect points at a wrong base url, which an operator can mend.
        300..=399 => (
            Class::Retry,
            said("a redirect, which is not followed; check the integration's base url"),
        ),
        401 | 403 => (Class::Unauthorized, said("the credential was not accepted")),
        408 | 425 | 429 | 503 => (Class::Retry, said("not now")),
        400..=499 => (Class::Rejected, said("no reason given")),
        _ => (Class::Unknown, said("no reason given")),
    };
    answer(class, None, error, retry_after_ms, reply)
}

fn answer(
    class: Class,
    x_id: Option<String>,
    error: Option<String>,
    retry_after_ms: Option<u64>,
    reply: Reply,
) -> Answer {
    Answer {
        class,
        x_id,
        error,
        retry_after_ms,
        reply,
    }
}

/// The prospect id: a string of digits. A bare number is taken too, since JSON libraries change their minds.
fn prospect_id(body: &Value) -> Option<String> {
    if body
        .get("errorMessage")
        .is_some_and(|words| !words.is_null())
    {
        return None;
    }
    let id = match body.get("id")? {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.as_u64()?.to_string(),
        _ => return None,
    };
    let digits = !id.is_empty() && id.len() <= 40 && id.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some(id)
}

fn words(body: &Value) -> Option<String> {
    let words = body
        .get("errorMessage")
        .or_else(|| body.get("message"))?
        .as_str()?
        .trim();
    (!words.is_empty()).then(|| words.chars().take(WORDS_MAX_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn got(status: u16, body: &str) -> Result<Got, Failure> {
        Ok(Got {
            status,
            body: body.as_bytes().to_vec(),
            is_whole: true,
            retry_after_s: None,
        })
    }

    fn check(outcome: Result<Got, Failure>, class: Class, error: &str) {
        let answer = classify(outcome);
        assert_eq!(
            (answer.class, answer.error.unwrap_or_default().as_str()),
            (class, error)
        );
    }

    #[test]
    fn every_kind_of_answer_has_its_class() {
        check(got(200, r#"{"id":"123"}"#), Class::Delivered, "");
        check(got(200, r#"{"id":123}"#), Class::Delivered, "");
        check(
            got(200, r#"{"id":"12a"}"#),
            Class::Unknown,
            "Knock answered 200: the answer names no prospect id",
        );
        check(
            got(200, ""),
            Class::Unknown,
            "Knock answered 200: the answer names no prospect id",
        );
        check(
            got(200, "{\"id\":"),
            Class::Unknown,
            "Knock answered 200: the answer names no prospect id",
        );
        check(
            got(200, r#"{"errorMessage":"oops"}"#),
            Class::Unknown,
            "Knock answered 200: oops",
        );
        check(
            got(200, r#"{"id":"1","errorMessage":"oops"}"#),
            Class::Unknown,
            "Knock answered 200: oops",
        );
        check(
            got(400, r#"{"errorMessage":"Unknown source"}"#),
            Class::Rejected,
            "Knock answered 400: Unknown source",
        );
        check(
            got(404, "<html>"),
            Class::Rejected,
            "Knock answered 404: no reason given",
        );
        check(
            got(403, r#"{"message":"Forbidden"}"#),
            Class::Unauthorized,
            "Knock answered 403: Forbidden",
        );
        check(
            got(302, ""),
            Class::Retry,
            "Knock answered 302: a redirect, which is not followed; check the integration's base url",
        );
        check(got(429, ""), Class::Retry, "Knock answered 429: not now");
        check(got(503, ""), Class::Retry, "Knock answered 503: not now");
        check(
            got(500, ""),
            Class::Unknown,
            "Knock answered 500: no reason given",
        );
        check(
            got(502, ""),
            Class::Unknown,
            "Knock answered 502: no reason given",
        );
        check(
            Err(Failure::NotSent("refused".to_owned())),
            Class::Retry,
            "Knock could not be reached: refused",
        );
        check(
            Err(Failure::Lost("reset".to_owned())),
            Class::Unknown,
            "The connection to Knock ended without an answer: reset",
        );
    }

    #[test]
    fn a_cut_answer_is_unknown_even_if_it_reads_well() {
        let cut = Got {
            status: 200,
            body: br#"{"id":"123"}"#.to_vec(),
            is_whole: false,
            retry_after_s: None,
        };
        assert_eq!(classify(Ok(cut)).class, Class::Unknown);
    }

    #[test]
    fn a_retry_after_is_kept() {
        let slow = Got {
            status: 429,
            body: Vec::new(),
            is_whole: true,
            retry_after_s: Some(7),
        };
        assert_eq!(classify(Ok(slow)).retry_after_ms, Some(7_000));
    }
}
