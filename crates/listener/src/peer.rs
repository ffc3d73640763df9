//! Who is at the other end of a request, also behind a proxy.
//!
//! Guarantee: a caller cannot choose what counts as its address. `X-Forwarded-For` is read only where the connection comes from a proxy that the operator
//! named, from its right end, which that proxy wrote, and no further than proxies that were named vouch for it.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use axum::{
    extract::FromRequestParts,
    http::{Extensions, HeaderMap, request::Parts},
};
use model::network::Network;

/// The header in which proxies tell for whom they ask: each adds the address that it was asked from on the right.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address that a request comes from. The accept loop puts it into the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// What stands for the address of a request that came over no connection, as in a test that calls the router.
    pub const NONE: Self = Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    /// The address in a request's extensions.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::NONE)
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// The proxies whose word is taken on whom they ask for.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Vec<Network>);

impl TrustedProxies {
    /// Whether `address` is one of theirs.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The address of the caller, when `peer` is at the other end of the connection: the right-most of the forwarding headers that is not itself
    /// a trusted proxy. What cannot be read ends the walk, and the last good hop counts.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let mut hop = peer.to_canonical();
        if !self.contains(hop) {
            return ClientAddress(hop);
        }
        // Several lines are one list, in order.
        let lines = headers.get_all(FORWARDED_FOR).iter();
        let entries = lines
            .rev()
            .flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
        for entry in entries {
            let Some(address) = address(entry) else { break };
            hop = address;
            if !self.contains(hop) {
                break;
            }
        }
        ClientAddress(hop)
    }
}

/// An entry of the header: an address, with or without brackets and a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(entry);
    let address = bare
        .parse()
        .or_else(|_| entry.parse::<SocketAddr>().map(|at| at.ip()));
    Some(address.ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_address_is_what_trusted_proxies_vouch_for() {
        // Trusted, the peer, the lines of the header, the address that counts.
        let cases: &[(&str, &str, &[&str], &str)] = &[
            // Nobody is trusted: the header is the caller's own words.
            ("", "192.0.2.7", &[], "192.0.2.7"),
            ("", "192.0.2.7", &["203.0.113.9"], "192.0.2.7"),
            // A peer that is no proxy of ours, though another is.
            ("10.0.0.0/8", "192.0.2.7", &["203.0.113.9"], "192.0.2.7"),
            // A proxy of ours, and what it says.
            ("10.0.0.0/8", "10.1.2.3", &["203.0.113.9"], "203.0.113.9"),
            ("10.1.2.3", "10.1.2.3", &["203.0.113.9"], "203.0.113.9"),
            ("10.1.2.4", "10.1.2.3", &["203.0.113.9"], "10.1.2.3"),
            ("10.0.0.0/8", "10.1.2.3", &[], "10.1.2.3"),
            // What the caller wrote itself stands on the left.
            (
                "10.0.0.0/8",
                "10.1.2.3",
                &["127.0.0.1, 198.51.100.1, 203.0.113.9"],
                "203.0.113.9",
            ),
            // Two proxies of ours, of different kinds.
            (
                "10.0.0.0/8,fd00::/8",
                "fd00::1",
                &["198.51.100.1, 203.0.113.9, 10.9.9.9"],
                "203.0.113.9",
            ),
            // Nobody but proxies of ours: the farthest.
            ("10.0.0.0/8", "10.1.2.3", &["10.4.4.4,10.5.5.5"], "10.4.4.4"),
            // Several lines are one list.
            (
                "10.0.0.0/8",
                "10.1.2.3",
                &["198.51.100.1", "203.0.113.9, 10.9.9.9"],
                "203.0.113.9",
            ),
            (
                "10.0.0.0/8",
                "10.1.2.3",
                &["198.51.100.1, 203.0.113.9", "10.9.9.9"],
                "203.0.113.9",
            ),
            // Rubbish ends the walk; the last good hop counts.
            (
                "10.0.0.0/8",
                "10.1.2.3",
                &["203.0.113.9, unknown, 10.9.9.9"],
                "10.9.9.9",
            ),
            ("10.0.0.0/8", "10.1.2.3", &["203.0.113.9,"], "10.1.2.3"),
            ("10.0.0.0/8", "10.1.2.3", &[""], "10.1.2.3"),
            (
                "10.0.0.0/8",
                "10.1.2.3",
                &["203.0.113.9", "203.0.113.256"],
                "10.1.2.3",
            ),
            ("10.0.0.0/8", "10.1.2.3", &["2031:db8:::9"], "10.1.2.3"),
            ("10.0.0.0/8", "10.1.2.3", &["203.0.113.9\u{e9}"], "10.1.2.3"),
            // Ports, brackets.
            (
                "10.0.0.0/8",
                "10.1.2.3",
                &["203.0.113.9:567"],
                "203.0.113.9",
            ),
            (
                "10.0.0.0/8",
                "10.1.2.3",
                &["[2001:db8::9]:567"],
                "2001:db8::9",
            ),
            ("10.0.0.0/8", "10.1.2.3", &["[2001:db8::9]"], "2001:db8::9"),
            ("10.0.0.0/8", "10.1.2.3", &["2001:db8::9"], "2001:db8::9"),
            ("10.0.0.0/8", "10.1.2.3", &["203.0.113.9:99999"], "10.1.2.3"),
            ("10.0.0.0/8", "10.1.2.3", &["[2001:db8::9"], "10.1.2.3"),
            // An IPv4 address that came over an IPv6 socket is an IPv4 address, on either side.
            (
                "10.0.0.0/8",
                "::ffff:10.1.2.3",
                &["::ffff:203.0.113.9"],
                "203.0.113.9",
            ),
            ("", "::ffff:192.0.2.7", &[], "192.0.2.7"),
        ];
        for (trusted, peer, lines, expected) in cases {
            let networks = trusted.split(',').filter(|one| !one.is_empty());
            let proxies = TrustedProxies(
                networks
                    .map(|one| one.parse().expect("a network"))
                    .collect(),
            );
            let mut headers = HeaderMap::new();
            for line in *lines {
                let value = axum::http::HeaderValue::from_bytes(line.as_bytes()).expect("a value");
                headers.append(FORWARDED_FOR, value);
            }
            let client = proxies.client(peer.parse().expect("an address"), &headers);
            assert_eq!(
                client.0.to_string(),
                *expected,
                "{trusted:?} {peer} {lines:?}"
            );
        }
    }

    #[test]
    fn a_network_is_read_or_told_what_it_should_be() {
        for good in [
            "10.0.0.0/8",
            "10.1.2.3/8",
            " 192.0.2.1 ",
            "fd00::/8",
            "::1",
            "0.0.0.0/0",
        ] {
            assert!(good.parse::<Network>().is_ok(), "{good}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0", "proxy.internal", "10.0.0.0/-1"] {
            let why = bad.parse::<Network>().expect_err("no network");
            assert!(why.contains("10.0.0.0/8"), "{why}");
            assert!(!why.contains("proxy"), "{why}");
        }
    }
}
