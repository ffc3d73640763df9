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
            let is_one = is_one && has_port_or_none(host);
            (!is_one).then_some("The Host header is not a host, with or without a port")
        }
    }
}

/// True if digits, 65535 at most, or nothing at all follows the colon behind the host.
fn has_port_or_none(host: &[u8]) -> bool {
    // The colons of an IPv6 address are within brackets.
    let behind = host.iter().rposition(|&byte| byte == b']').unwrap_or(0);
    let Some(colon) = host[behind..].iter().position(|&byte| byte == b':') else {
        return true;
    };
    let port = &host[behind + colon + 1..];
    port.iter().all(u8::is_ascii_digit)
        && (port.is_empty()
            || std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok()))
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
                "a:",
                "a:0",
                "a:65535",
                "[::1]",
                "[::1]:",
                "127.0.0.1",
                "[::1]:8080",
                "xn--e1afmkfd.example",
            ] {
                check(version, &[host], "");
            }
            for host in [
                "a b",
                "http://a",
                "ada@a.example",
                "a/b",
                "[::1",
                "a:x",
                "a:+1",
                "a:65536",
                "a:99999x",
                "[::1]:65536",
            ] {
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
