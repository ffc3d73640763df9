//! Where vendors may be: the addresses that the operator allows an integration's `base_url` to have.
//!
//! Guarantee: whoever may administer integrations can send a credential, and have an answer read, only where the operator said. It is checked when a
//! `base_url` is stored and again at each call, so that what an operator takes back is not called any more.

use http::Uri;

/// Characters of a base url at most.
const URL_MAX_CHARS: usize = 500;

/// One allowed place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    /// `None`: any.
    port: Option<u16>,
}

/// The allowed places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach(Vec<Origin>);

fn port_of(scheme: &str, given: Option<u16>) -> u16 {
    given.unwrap_or(if scheme == "https" { 443 } else { 80 })
}

/// An address taken apart: scheme, host, port and path.
fn parts(text: &str) -> Result<(String, String, u16, String), String> {
    let wrong = |why: &str| Err(format!("{why}. An address is like https://crm.example.com"));
    if text.len() > URL_MAX_CHARS {
        return wrong("The address is too long");
    }
    if text.contains(['#', '?', '@', '\\', '%']) {
        return wrong(
            "The address has a user, a query, a fragment, an escape or a backslash in it, which it cannot have",
        );
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return wrong("This is not an address");
    };
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return wrong("The address lacks https:// or a host");
    };
    let named_port = uri
        .authority()
        .and_then(|all| all.as_str().strip_prefix(host)?.strip_prefix(':'));
    let is_port = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|n| n > 0)
    };
    if uri.authority().is_some_and(|all| all.as_str() != host) && !named_port.is_some_and(is_port) {
        return wrong("The address has a port that there is not");
    }
    let scheme = scheme.to_ascii_lowercase();
    if !["http", "https"].contains(&scheme.as_str()) {
        return wrong("The address begins neither with https:// nor with http://");
    }
    let path = uri.path().trim_end_matches('/');
    if path.split('/').any(|step| step == "." || step == "..") {
        return wrong("The address has a path that leads elsewhere");
    }
    let port = port_of(&scheme, uri.port_u16());
    Ok((scheme, host.to_ascii_lowercase(), port, path.to_owned()))
}

impl Reach {
    /// The places of `origins`: each a scheme and a host, and a port if it is not the usual one; `*` for any port.
    ///
    /// # Errors
    /// In words, when one is not like that. They name its place and do not repeat it: a password may be in it.
    pub fn new<S: AsRef<str>>(origins: impl IntoIterator<Item = S>) -> Result<Self, String> {
        let mut all = Vec::new();
        for (place, origin) in origins.into_iter().enumerate() {
            let cannot = |why: &str| format!("address {} cannot be allowed: {why}", place + 1);
            let text = origin.as_ref().trim().trim_end_matches('/');
            let (plain, is_any) = match text.strip_suffix(":*") {
                Some(plain) => (plain, true),
                None => (text, false),
            };
            let (scheme, host, port, path) = parts(plain).map_err(|why| cannot(&why))?;
            if !path.is_empty() {
                return Err(cannot("give a scheme and a host, without a path"));
            }
            all.push(Origin {
                scheme,
                host,
                port: (!is_any).then_some(port),
            });
        }
        Ok(Self(all))
    }

    /// These places and those of `more`.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// `base_url` as it is stored: without a trailing slash.
    ///
    /// # Errors
    /// In words, when it is not an address, or is not where the operator allows.
    pub fn allow(&self, base_url: &str) -> Result<String, String> {
        let (scheme, host, port, path) = parts(base_url.trim())?;
        let is_allowed = self.0.iter().any(|one| {
            one.scheme == scheme && one.host == host && one.port.is_none_or(|own| own == port)
        });
        if !is_allowed {
            return Err(format!(
                "{scheme}://{host}:{port} is not where the operator allows vendors to be. It can be allowed with --vendor-url or PORTICO_VENDOR_URLS"
            ));
        }
        let usual = port == port_of(&scheme, None);
        Ok(if usual {
            format!("{scheme}://{host}{path}")
        } else {
            format!("{scheme}://{host}:{port}{path}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(base_url: &str, expected: Option<&str>) {
        let reach = Reach::new([
            "https://crm.example.com",
            "http://127.0.0.1:*",
            "https://[2001:db8::1]:8443",
        ])
        .unwrap();
        let found = reach.allow(base_url);
        assert_eq!(found.as_deref().ok(), expected, "{base_url}: {found:?}");
    }

    #[test]
    fn only_what_the_operator_allows_is_allowed() {
        check("https://crm.example.com", Some("https://crm.example.com"));
        check(
            "https://CRM.example.com:443/",
            Some("https://crm.example.com"),
        );
        check(
            "https://crm.example.com/v2/",
            Some("https://crm.example.com/v2"),
        );
        check("http://127.0.0.1:8089", Some("http://127.0.0.1:8089"));
        check(
            "https://[2001:db8::1]:8443",
            Some("https://[2001:db8::1]:8443"),
        );
        for refused in [
            "http://crm.example.com",
            "https://crm.example.com:8443",
            "https://crm.example.com.evil.example",
            "https://evil.example/crm.example.com",
            "https://crm.example.com@evil.example",
            "https://evil.example#crm.example.com",
            "https://evil.example?crm.example.com",
            "https://crm.example.com\\@evil.example",
            "https://crm.example.com/../x",
            "https://crm.example.com/%2e%2e/x",
            "http://127.0.0.2:8089",
            "http://localhost:8089",
            "http://169.254.169.254",
            "http://127.0.0.1:181011",
            "http://127.0.0.1:99999",
            "http://127.0.0.1:0",
            "http://127.0.0.1:+80",
            "http://127.0.0.1:",
            "http://127.0.0.1:80.evil.example",
            "file:///etc/passwd",
            "crm.example.com",
            "//crm.example.com",
            "",
            "https://",
        ] {
            check(refused, None);
        }
    }

    #[test]
    fn what_can_be_allowed_is_an_origin() {
        for wrong in [
            "crm.example.com",
            "https://crm.example.com/v2",
            "ftp://crm.example.com",
            "*",
        ] {
            assert!(Reach::new([wrong]).is_err(), "{wrong}");
        }
    }
}
