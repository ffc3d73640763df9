//! Keeps web pages away from a sandbox on the machine of who looks at them.
//!
//! Guarantee: a page in a browser changes and learns nothing here, whatever it was loaded from. It can
//! send neither a request without the headers that tell of it, nor JSON, nor, under a name of its own
//! that leads to this machine, a `Host` that is taken.

use std::net::IpAddr;

use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, StatusCode};

/// Endings of names that nobody on the internet can have, so that no page is loaded from there.
const INTERNAL: [&str; 4] = [".localhost", ".local", ".internal", ".test"];

/// Why a request is not answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) StatusCode, pub(super) &'static str);

/// Why a request is not answered, if it is not. `has_body` is whether there is anything in its body.
pub(super) fn refusal(parts: &Parts, has_body: bool) -> Option<Refused> {
    let headers = &parts.headers;
    if !has_internal_host(headers) {
        return Some(Refused(
            StatusCode::MISDIRECTED_REQUEST,
            "the Host is not an address or a name of this machine or network: the sandbox is for developers alone",
        ));
    }
    if headers.contains_key(ORIGIN) || comes_from_page(headers) {
        return Some(Refused(
            StatusCode::FORBIDDEN,
            "the request comes from a web page, and the sandbox answers none",
        ));
    }
    if has_body && !is_json(headers) {
        return Some(Refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the Content-Type must be application/json",
        ));
    }
    None
}

/// Whether every `Host` is one that no page has. A browser always sends one.
fn has_internal_host(headers: &HeaderMap) -> bool {
    headers.get_all(HOST).iter().all(|host| {
        let Ok(host) = Authority::try_from(host.as_bytes()) else {
            return false;
        };
        let host = host.host();
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        literal.parse::<IpAddr>().is_ok()
            || !name.contains('.')
            || INTERNAL.iter().any(|ending| name.ends_with(ending))
    })
}

/// Whether a browser says that a page made the request, rather than the person in front of it.
fn comes_from_page(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "none")
}

fn is_json(headers: &HeaderMap) -> bool {
    let said = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = said.and_then(|said| said.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(headers: &[(&str, &str)], has_body: bool, expected: Option<StatusCode>) {
        let mut request = Request::post("/_sandbox/reset");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let found = refusal(&parts, has_body).map(|refused| refused.0);
        assert_eq!(found, expected, "{headers:?}");
    }

    #[test]
    fn only_hosts_that_no_page_has_are_answered() {
        for host in [
            "127.0.0.1:8089",
            "[::1]:8089",
            "10.0.0.7",
            "localhost:8089",
            "LOCALHOST",
            "localhost.",
            "sandbox:8089",
            "sandbox.default.svc.cluster.local:8089",
            "sandbox.internal",
        ] {
            check(&[("host", host)], false, None);
        }
        check(&[], false, None);
        let misdirected = Some(StatusCode::MISDIRECTED_REQUEST);
        for host in [
            "evil.example:8089",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil.example.",
            "local.evil",
            "",
            "a b",
        ] {
            check(&[("host", host)], false, misdirected);
        }
        check(
            &[("host", "localhost"), ("host", "evil.example")],
            false,
            misdirected,
        );
    }

    #[test]
    fn no_page_is_answered_and_bodies_are_json() {
        let json = ("content-type", "application/json; charset=utf-8");
        check(&[json], true, None);
        check(&[json, ("sec-fetch-site", "none")], true, None);
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "http://localhost:8089"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-origin"),
        ] {
            check(&[json, (name, value)], true, Some(StatusCode::FORBIDDEN));
            check(&[(name, value)], false, Some(StatusCode::FORBIDDEN));
        }
        let unsupported = Some(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        check(&[], true, unsupported);
        for form in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "text/plain; application/json",
        ] {
            check(&[("content-type", form)], true, unsupported);
        }
    }
}
