//! The wishes of a caller in headers and query: waiting, leniency.

use axum::http::{HeaderMap, Uri};

use crate::error::Error;

/// The longest that `Prefer: wait` holds an answer, in seconds: below the idle limits of usual proxies.
pub const WAIT_MAX_S: u64 = 55;

/// The seconds of `Prefer: wait=<seconds>` (RFC 7240), at most [`WAIT_MAX_S`]. What is not understood is ignored, as the RFC asks.
pub fn wait_s(headers: &HeaderMap) -> Option<u64> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| {
            let (name, seconds) = preference.split_once('=')?;
            let is_wait = name.trim().eq_ignore_ascii_case("wait");
            let seconds = is_wait.then(|| seconds.trim().trim_matches('"'))?;
            let is_number = !seconds.is_empty() && seconds.bytes().all(|one| one.is_ascii_digit());
            // More digits than a number has are a long wait too.
            is_number.then(|| seconds.parse().unwrap_or(WAIT_MAX_S))
        })
        .map(|seconds: u64| seconds.min(WAIT_MAX_S))
}

/// Whether `?ignore_unknown_fields=true` stands in the query.
///
/// # Errors
/// When it has another value than `true` or `false`.
pub fn ignores_unknown_fields(uri: &Uri) -> Result<bool, Error> {
    let query = uri.query().unwrap_or_default();
    let mut values = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "ignore_unknown_fields")
        .map(|(_, value)| value);
    let refused = |why| Err(Error::invalid_parameter("ignore_unknown_fields", why));
    match (values.next().as_deref(), values.next()) {
        (_, Some(_)) => refused("Give this parameter once"),
        (None | Some("false"), None) => Ok(false),
        (Some("true"), None) => Ok(true),
        (Some(_), None) => refused("ignore_unknown_fields is `true` or `false`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_parameter_is_decoded() {
        for (query, expected) in [
            ("ignore_unknown_fields=true", true),
            ("ignore%5Funknown%5ffields=%74rue", true),
            ("a=b&ignore_unknown_fields=false", false),
            ("ignore_unknown_field=true", false),
        ] {
            let uri = format!("/x?{query}").parse().expect("a uri");
            assert_eq!(ignores_unknown_fields(&uri).ok(), Some(expected), "{query}");
        }
        for query in ["yes", "", "true&ignore_unknown_fields=true"] {
            let uri = format!("/x?ignore_unknown_fields={query}")
                .parse()
                .expect("a uri");
            assert!(ignores_unknown_fields(&uri).is_err(), "{query}");
        }
    }

    #[test]
    fn a_wait_is_a_number_of_seconds_and_cut_to_the_longest() {
        for (preference, expected) in [
            ("wait=10", Some(10)),
            ("respond-async, WAIT=\"7\"", Some(7)),
            ("wait=1000", Some(WAIT_MAX_S)),
            ("wait=99999999999999999999", Some(WAIT_MAX_S)),
            ("wait=", None),
            ("wait=-1", None),
            ("wait=soon", None),
            ("return=minimal", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", preference.parse().expect("a value"));
            assert_eq!(wait_s(&headers), expected, "{preference}");
        }
    }
}
