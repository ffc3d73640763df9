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
            is_wait.then(|| seconds.trim().trim_matches('"').parse::<u64>().ok())?
        })
        .map(|seconds| seconds.min(WAIT_MAX_S))
}

/// Whether `?ignore_unknown_fields=true` stands in the query.
///
/// # Errors
/// When it has another value than `true` or `false`.
pub fn ignores_unknown_fields(uri: &Uri) -> Result<bool, Error> {
    let mut ignores = false;
    let query = uri.query().unwrap_or_default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == "ignore_unknown_fields" {
            ignores = match &*value {
                "true" => true,
                "false" => false,
                _ => {
                    return Err(Error::invalid_parameter(
                        "ignore_unknown_fields",
                        "ignore_unknown_fields is `true` or `false`",
                    ));
                }
            };
        }
    }
    Ok(ignores)
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
        let uri = "/x?ignore_unknown_fields=yes".parse().expect("a uri");
        assert!(ignores_unknown_fields(&uri).is_err());
    }
}
