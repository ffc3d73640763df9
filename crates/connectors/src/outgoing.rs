//! What calls to vendors and to receivers of webhooks read of an answer, or of its absence.

use model::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Characters of a reason at most.
const REASON_MAX_CHARS: usize = 200;

/// The wait that `Retry-After` asks for, in seconds: a number of them, or a date (RFC 9110, section
/// 10.2.3). A date says nothing where it is not known when the answer was given.
pub fn retry_after_s(headers: &HeaderMap, answered_at: Option<Timestamp>) -> Option<u64> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has are a long wait too.
        return Some(value.parse().unwrap_or(u64::MAX));
    }
    let until = date(value)?;
    Some(until.millis_since(answered_at?).div_ceil(1_000))
}

/// The instant of a date in a header.
pub fn date(value: &str) -> Option<Timestamp> {
    let date = jiff::fmt::rfc2822::parse(value).ok()?;
    Some(Timestamp::from_micros(date.timestamp().as_microsecond()))
}

/// The innermost reason of a failure, without the URL, in which secrets may be.
pub fn reason(why: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = why;
    while let Some(inner) = deepest.source() {
        deepest = inner;
    }
    deepest.to_string().chars().take(REASON_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    /// 2026-11-24T17:30:05.25Z
    const NOW: Timestamp = Timestamp::from_micros(1_795_541_405_250_000);

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let read = |value: &'static str, answered_at| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            retry_after_s(&headers, answered_at)
        };
        for (value, expected) in [
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("99999999999", Some(99_999_999_999)),
            ("Tue, 24 Nov 2026 17:30:06 GMT", Some(1)),
            ("Tue, 24 Nov 2026 18:30:05 GMT", Some(3_600)),
            ("Tue, 24 Nov 2026 17:00:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("99999999999999999999", Some(u64::MAX)),
            ("", None),
            ("tomorrow", None),
            ("2026-11-24", None),
        ] {
            assert_eq!(read(value, Some(NOW)), expected, "{value:?}");
        }
        assert_eq!(read("7", None), Some(7));
        assert_eq!(read("Tue, 24 Nov 2026 18:30:05 GMT", None), None);
        assert_eq!(retry_after_s(&HeaderMap::new(), Some(NOW)), None);
    }

    #[test]
    fn the_date_of_an_answer_is_read() {
        let read = |value| date(value).map(|at| at.to_string());
        assert_eq!(
            read("Tue, 24 Nov 2026 17:30:05 GMT").as_deref(),
            Some("2026-11-24T17:30:05.000000Z")
        );
        for value in ["", "now", "2026-11-24"] {
            assert_eq!(read(value), None);
        }
    }
}
