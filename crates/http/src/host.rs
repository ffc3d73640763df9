//! Whom a request is for.
//!
//! Guarantee: a request that a proxy and this server could take to be for different hosts is
//! refused (RFC 9112, section 3.2).

use axum::http::{HeaderMap, Version, header, uri::Authority};

/// The fault of a request's `Host`, in words; `None` when there is none.
pub(crate) fn problem(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    let mut all = headers.get_all(header::HOST).iter();
    match (all.next(), all.next()) {
        (Some(_), Some(_)) => Some("The request has more than one Host header. Send it once"),
        // HTTP/1.0 came before it. A target that names the host itself does not replace it.
        (None, _) if version >= Version::HTTP_11 => {
            Some("The request has no Host header, which HTTP/1.1 requires. Send it once")
        }
        (None, _) => None,
        (Some(host), None) => {
            let host = host.as_bytes();
            let is_one =
                host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok());
            (!is_one).then_some("The Host header is not a host, with or without a port")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: Version, hosts: &[&str], expected: &str) {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().expect("a value"));
        }
        let told = problem(version, &headers).unwrap_or_default();
        let fits = told.contains(expected) && told.is_empty() == expected.is_empty();
        assert!(fits, "{version:?} {hosts:?}: {told}");
    }

    #[test]
    fn a_request_names_one_host() {
        for version in [Version::HTTP_10, Version::HTTP_11] {
            for host in [
                "",
                "a",
                "a.example:8080",
                "127.0.0.1",
                "[::1]:8080",
                "xn--e1afmkfd.example",
            ] {
                check(version, &[host], "");
            }
            for host in ["a b", "http://a", "ada@a.example", "a/b", "[::1"] {
                check(version, &[host], "is not a host");
            }
            check(version, &["a", "a"], "more than one");
            check(version, &["a", "b"], "more than one");
            check(version, &["", ""], "more than one");
        }
        check(Version::HTTP_11, &[], "no Host header");
        check(Version::HTTP_10, &[], "");
    }
}
