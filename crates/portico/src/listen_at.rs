//! Where to listen, as people write it.
//!
//! Guarantee: a port without a host is on this machine alone; the network is listened on only when
//! an address of it is named.

use std::{
    fmt,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Deserializer, de};
use tokio::net::TcpListener;

/// The port of the server unless another is named.
const PORT: u16 = 8080;

/// How a place is written.
const FORMS: &str = "write a host and a port, such as 127.0.0.1:8080, [::1]:8080 or localhost:8080, or a port alone for this machine only";

/// A host, by address or by name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenAt {
    Address(SocketAddr),
    Name(String, u16),
}

impl Default for ListenAt {
    fn default() -> Self {
        Self::Address(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT))
    }
}

impl FromStr for ListenAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if text.contains("://") {
            return Err(format!("a URL is no place to listen; {FORMS}"));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            let shown = SocketAddr::new(address, PORT);
            return Err(format!("the port is missing, as in {shown}"));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        if !text.contains(':') && is_name(text) && text.parse::<u64>().is_err() {
            return Err(format!("the port is missing, as in {text}:{PORT}"));
        }
        if port.is_empty() || !port.bytes().all(|one| one.is_ascii_digit()) {
            return Err(FORMS.to_owned());
        }
        let Ok(port) = port.parse() else {
            return Err("a port is a number from 0 to 65535".to_owned());
        };
        match host {
            "" => Ok(Self::Address((Ipv4Addr::LOCALHOST, port).into())),
            "*" => Err(format!(
                "for all addresses of this machine write {}, or {} for IPv4 alone",
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
            )),
            _ if is_name(host) => Ok(Self::Name(host.to_owned(), port)),
            _ => Err(FORMS.to_owned()),
        }
    }
}

/// True if it may be a host's name, and is no slip of an address.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label
                .chars()
                .all(|one| one.is_alphanumeric() || matches!(one, '-' | '_'))
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_number = |label: &str| label.bytes().all(|one| one.is_ascii_digit());
    host.split('.').all(is_label) && !host.split('.').next_back().is_some_and(is_number)
}

impl fmt::Display for ListenAt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Name(host, port) => write!(formatter, "{host}:{port}"),
        }
    }
}

/// In a file a port may be a number too.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a host and a port, such as '127.0.0.1:8080'"
)]
enum Written {
    Port(i64),
    Text(String),
}

impl<'de> Deserialize<'de> for ListenAt {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = match Written::deserialize(from)? {
            Written::Port(port) => port.to_string(),
            Written::Text(text) => text,
        };
        // A slip is not told more closely: errors about files do not repeat them.
        text.parse().map_err(|_| de::Error::custom(FORMS))
    }
}

impl ListenAt {
    /// Listens there: on the first address of a name that can be listened on, IPv4 before IPv6.
    /// `setting` is how the place was given.
    ///
    /// # Errors
    /// In words, when it cannot be listened on.
    pub(crate) async fn listen(&self, setting: &str) -> anyhow::Result<TcpListener> {
        let addresses = self
            .addresses()
            .await
            .with_context(|| format!("{self} ({setting}) cannot be listened on"))?;
        let mut first = None;
        for address in addresses {
            match listener::serve::listen(address) {
                Ok(listener) => return Ok(listener),
                Err(why) => _ = first.get_or_insert(why),
            }
        }
        let Some(why) = first else {
            return Err(anyhow!("{self} ({setting}) has no address"));
        };
        let mend = match why.kind() {
            ErrorKind::AddrInUse => {
                "; another process listens there: stop it, or name another port"
            }
            ErrorKind::AddrNotAvailable => "; name an address that this machine has",
            ErrorKind::PermissionDenied => {
                "; a port below 1024 takes the capability CAP_NET_BIND_SERVICE"
            }
            _ => "",
        };
        Err(anyhow!(
            "{self} ({setting}) cannot be listened on: {why}{mend}"
        ))
    }

    async fn addresses(&self) -> anyhow::Result<Vec<SocketAddr>> {
        match self {
            Self::Address(address) => Ok(vec![*address]),
            Self::Name(host, port) => {
                let found = tokio::net::lookup_host((host.as_str(), *port)).await;
                let found = found.with_context(|| format!("the name {host} is not known"))?;
                let mut found: Vec<SocketAddr> = found.collect();
                found.sort_by_key(SocketAddr::is_ipv6);
                Ok(found)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_listen_is_understood_as_people_write_it() {
        for (text, expected) in [
            ("127.0.0.1:8080", Ok("127.0.0.1:8080")),
            (" 127.0.0.1:8080 ", Ok("127.0.0.1:8080")),
            ("0.0.0.0:80", Ok("0.0.0.0:80")),
            ("[::1]:8080", Ok("[::1]:8080")),
            ("[::]:0", Ok("[::]:0")),
            ("8080", Ok("127.0.0.1:8080")),
            (":8080", Ok("127.0.0.1:8080")),
            ("0", Ok("127.0.0.1:0")),
            ("localhost:8080", Ok("localhost:8080")),
            ("db-1.internal.:443", Ok("db-1.internal.:443")),
            ("127.0.0.1", Err("as in 127.0.0.1:8080")),
            ("::1", Err("as in [::1]:8080")),
            ("localhost", Err("as in localhost:8080")),
            ("nowhere", Err("as in nowhere:8080")),
            ("localhost:", Err("write a host and a port")),
            ("localhost:http", Err("write a host and a port")),
            ("::1:80801", Err("from 0 to 65535")),
            ("1.2.3:80", Err("write a host and a port")),
            ("256.1.1.1:80", Err("write a host and a port")),
            ("a b:80", Err("write a host and a port")),
            ("", Err("write a host and a port")),
            (":", Err("write a host and a port")),
            ("-1", Err("write a host and a port")),
            ("65536", Err("from 0 to 65535")),
            ("localhost:99999", Err("from 0 to 65535")),
            ("99999999999999999999", Err("from 0 to 65535")),
            ("http://localhost:8080", Err("a URL is no place to listen")),
            ("*:8080", Err("write [::]:8080, or 0.0.0.0:8080")),
        ] {
            match (text.parse::<ListenAt>(), expected) {
                (Ok(at), Ok(shown)) => assert_eq!(at.to_string(), shown, "{text}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
