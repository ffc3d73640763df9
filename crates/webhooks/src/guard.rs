//! Where webhooks may go.
//!
//! Guarantee: whoever may administer subscriptions can have something sent only to the internet, and to those networks that the operator listed; never
//! to link-local addresses or a cloud's metadata service, whatever is listed. A url is checked here as a text; the addresses that its host has when it is
//! sent to are checked by [`crate::resolver`], with the same rule.
//!
//! Errors name what is wrong and what to do. They name the host of a url, never its path or query: receivers keep secrets there.

use std::{net::IpAddr, str::FromStr};

use model::network::Network;
use serde::Deserialize;
use url::{Host, Url};

use crate::addresses::{self, Standing};

/// Characters of a url at most: what receivers, proxies and their logs commonly take.
pub const URL_MAX_CHARS: usize = 2_000;

/// The ports of https and of http.
const HTTPS: u16 = 443;
const HTTP: u16 = 80;

/// Ports that webhooks may be sent to besides the usual ones: `8443`, or `8000-8999`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenPorts")]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// Every port.
    pub const ANY: Self = Self {
        first: 1,
        last: u16::MAX,
    };

    const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse().ok().filter(|port| *port > 0);
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(
                "neither a port from 1 to 65535, as 8443 is, nor a range of ports, as 8000-8999 is"
                    .to_owned(),
            ),
        }
    }
}

/// In a file a port may be a number too.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a port, such as 8443 or '8000-8999'")]
enum WrittenPorts {
    One(i64),
    Text(String),
}

impl TryFrom<WrittenPorts> for Ports {
    type Error = String;

    fn try_from(written: WrittenPorts) -> Result<Self, String> {
        match written {
            WrittenPorts::One(port) => port.to_string().parse(),
            WrittenPorts::Text(text) => text.parse(),
        }
    }
}

/// What the operator allows.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allows_http: bool,
    networks: Vec<Network>,
    ports: Vec<Ports>,
    is_off: bool,
}

impl Guard {
    /// A guard that lets webhooks go to public addresses and into `networks`; over https only, unless `allows_http`; to the ports of these, and to `ports`.
    ///
    /// # Errors
    /// In words, when there is a network in which nothing can be allowed.
    pub fn new(
        allows_http: bool,
        networks: impl IntoIterator<Item = Network>,
        ports: impl IntoIterator<Item = Ports>,
    ) -> Result<Self, String> {
        let networks: Vec<_> = networks.into_iter().collect();
        for network in networks.iter().map(Network::addresses) {
            if let Some(why) = addresses::never(network) {
                return Err(format!(
                    "{network} cannot be allowed as a network of webhooks: {} is {why}, and those are never sent to. Take it out of --webhook-network or PORTICO_WEBHOOK_NETWORKS",
                    network.addr()
                ));
            }
        }
        Ok(Self {
            allows_http,
            networks,
            ports: ports.into_iter().collect(),
            is_off: false,
        })
    }

    /// A guard that lets everything through. For [`crate::client::Client::anywhere`] only, where it is said why that is safe.
    pub(crate) fn off() -> Self {
        Self {
            allows_http: true,
            networks: Vec::new(),
            ports: vec![Ports::ANY],
            is_off: true,
        }
    }

    /// The url in `text`, if a subscription may have it. Nothing is asked of the network: whether the host's addresses are allowed is another question.
    ///
    /// # Errors
    /// In words, when it is not a url, or not one that the operator allows.
    pub fn url(&self, text: &str) -> Result<Url, String> {
        if text.chars().count() > URL_MAX_CHARS {
            return Err(format!(
                "The url is longer than {URL_MAX_CHARS} characters. Give a shorter one"
            ));
        }
        let url = Url::parse(text).map_err(|why| {
            format!("This is not a url ({why}). One is like https://example.com/webhooks")
        })?;
        self.check(&url)?;
        // Parsed, it may have become longer: what is not ASCII is escaped.
        if url.as_str().len() > URL_MAX_CHARS {
            return Err(format!(
                "The url is longer than {URL_MAX_CHARS} characters once it is escaped. Give a shorter one"
            ));
        }
        Ok(url)
    }

    /// Whether `url` may be sent to, as far as it can be told without asking for its host's addresses.
    ///
    /// # Errors
    /// In words, when it may not.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        match url.scheme() {
            "https" => {}
            "http" if self.allows_http => {}
            "http" => {
                return Err("The url begins with http://, over which everybody on the way can read. Give one that begins with https://; the operator can allow the other with --webhook-allow-http or PORTICO_WEBHOOK_ALLOW_HTTP".to_owned());
            }
            _ => return Err("The url begins neither with https:// nor with http://".to_owned()),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("The url has a user or a password in it, which it cannot have. Give them as a header of the webhook".to_owned());
        }
        if url.fragment().is_some() {
            return Err(
                "The url has a fragment (#) in it, which is never sent. Leave it out".to_owned(),
            );
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let is_usual = port == HTTPS || (self.allows_http && port == HTTP);
        if !is_usual && !self.ports.iter().any(|one| one.contains(port)) {
            let usual = if self.allows_http { "443 or 80" } else { "443" };
            return Err(format!(
                "The url has the port {port}, to which webhooks are not sent. Give one with the port {usual}; the operator can allow others with --webhook-port or PORTICO_WEBHOOK_PORTS"
            ));
        }
        match url.host() {
            None => Err("The url lacks a host".to_owned()),
            Some(Host::Domain(_)) => Ok(()),
            Some(Host::Ipv4(address)) => self.address(address.into()),
            Some(Host::Ipv6(address)) => self.address(address.into()),
        }
    }

    /// Whether `address` may be sent to.
    ///
    /// # Errors
    /// In words, when it may not.
    pub fn address(&self, address: IpAddr) -> Result<(), String> {
        if self.is_off {
            return Ok(());
        }
        match addresses::standing(address) {
            Standing::Public => Ok(()),
            Standing::Private(_) if self.networks.iter().any(|one| one.contains(address)) => Ok(()),
            Standing::Private(why) => Err(format!(
                "{address} is {why}, to which webhooks are not sent. The operator can allow its network with --webhook-network or PORTICO_WEBHOOK_NETWORKS"
            )),
            Standing::Never(why) => Err(format!(
                "{address} is {why}, to which webhooks are never sent. Give a url whose host has another address"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allows_http: bool, networks: &[&str]) -> Guard {
        let networks = networks.iter().map(|one| one.parse().expect("a network"));
        Guard::new(allows_http, networks, []).expect("a guard")
    }

    #[test]
    fn only_the_usual_ports_are_sent_to_unless_the_operator_names_others() {
        let ports = ["8443", "9000-9001"].map(|one| one.parse().expect("ports"));
        let more = Guard::new(true, [], ports).expect("a guard");
        for (guard, url, is_allowed) in [
            (&guard(false, &[]), "https://example.com/", true),
            (&guard(false, &[]), "https://example.com:443/", true),
            (&guard(false, &[]), "https://example.com:80/", false),
            (&guard(false, &[]), "https://example.com:22/", false),
            (&guard(false, &[]), "https://example.com:8443/", false),
            (&guard(false, &[]), "https://example.com:0/", false),
            (&guard(true, &[]), "http://example.com/", true),
            (&guard(true, &[]), "http://example.com:443/", true),
            (&guard(true, &[]), "http://example.com:6379/", false),
            (&more, "https://example.com/", true),
            (&more, "http://example.com/", true),
            (&more, "https://example.com:8443/", true),
            (&more, "https://example.com:9001/", true),
            (&more, "https://example.com:9002/", false),
        ] {
            let found = guard.url(url);
            assert_eq!(found.is_ok(), is_allowed, "{url}: {found:?}");
            if let Err(why) = found {
                assert!(why.contains("--webhook-port"), "{why}");
            }
        }
        for text in ["", "0", "65536", "-1", "9-8", "80,443", "https", "1-"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }

    #[track_caller]
    fn check(guard: &Guard, text: &str, expected: Result<&str, &str>) {
        let found = guard.url(text);
        match (&found, expected) {
            (Ok(url), Ok(expected)) => assert_eq!(url.as_str(), expected),
            (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
            _ => panic!("{text}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_url_of_a_subscription_is_https_and_names_a_place_on_the_internet() {
        let strict = guard(false, &[]);
        for (text, parsed) in [
            (
                "https://example.com/hooks?k=1",
                "https://example.com/hooks?k=1",
            ),
            ("HTTPS://EXAMPLE.com:443", "https://example.com/"),
            (" https://example.com:443/x ", "https://example.com/x"),
            ("https://ex\u{e4}mple.com/", "https://xn--exmple-cua.com/"),
            ("https://8.8.8.8/", "https://8.8.8.8/"),
            ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
            // A name: what it resolves to is looked at when it is saved and when it is sent to.
            ("https://localhost/", "https://localhost/"),
        ] {
            check(&strict, text, Ok(parsed));
        }
        for (text, part) in [
            ("http://example.com/", "--webhook-allow-http"),
            ("http://example.com/", "PORTICO_WEBHOOK_ALLOW_HTTP"),
            ("ftp://example.com/", "neither"),
            ("file:///etc/passwd", "neither"),
            ("javascript:alert(1)", "neither"),
            ("unix:/run/docker.sock", "neither"),
            ("example.com/hooks", "not a url"),
            ("", "not a url"),
            ("https://", "not a url"),
            ("https://:443/", "not a url"),
            ("https://example.com:99999/", "not a url"),
            ("https://exa mple.com/", "not a url"),
            ("https://%00.example.com/", "not a url"),
            ("https://user@example.com/", "a user"),
            ("https://user:pass@example.com/", "a user"),
            ("https://:pass@example.com/", "a user"),
            ("https://8.8.8.8@127.0.0.1/", "a user"),
            ("https://example.com/#x", "fragment"),
        ] {
            check(&strict, text, Err(part));
        }
        check(
            &guard(true, &[]),
            "http://example.com/",
            Ok("http://example.com/"),
        );
    }

    #[test]
    fn a_literal_address_is_checked_in_every_way_to_write_it() {
        let strict = guard(true, &[]);
        for host in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0x7F.0X0.0x0.0x1",
            "017700000001",
            "0177.0.0.1",
            "0177.1",
            "127.0x1",
            "%31%32%37.0.0.1",
            "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
            "127\u{3002}0\u{3002}0\u{3002}1",
            "\u{2460}\u{2461}\u{2466}.0.0.1",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[0000::0001]",
        ] {
            check(
                &strict,
                &format!("http://{host}/"),
                Err("a loopback address"),
            );
        }
        for (host, part) in [
            ("0", "unspecified"),
            ("0.0.0.0", "unspecified"),
            ("[::]", "unspecified"),
            ("10.0.0.1", "private"),
            ("192.168.1.1", "private"),
            ("3232235777", "private"),
            ("169.254.169.254", "metadata"),
            ("2852039166", "metadata"),
            ("0xa9fea9fe", "metadata"),
            ("0251.0376.0251.0376", "metadata"),
            ("169.254.43518", "metadata"),
            ("100.100.100.200", "metadata"),
            ("168.63.129.16", "metadata"),
            ("[fd00:ec2::254]", "metadata"),
            ("[fe80::1]", "link-local"),
            ("[fd12::1]", "private"),
            ("[::ffff:127.0.0.1]", "IPv4-mapped"),
            ("[::ffff:7f00:1]", "IPv4-mapped"),
            ("[::ffff:8.8.8.8]", "IPv4-mapped"),
            ("[::127.0.0.1]", "IPv4-compatible"),
            ("[64:ff9b::a9fe:a9fe]", "NAT64"),
            ("[2002:7f00:1::]", "6to4"),
            ("255.255.255.255", "broadcast"),
            ("224.0.0.1", "multicast"),
            ("198.18.0.1", "benchmarks"),
            ("203.0.113.1", "examples"),
        ] {
            check(&strict, &format!("http://{host}/"), Err(part));
        }
        // What is no address that exists is no url either, not a name.
        for host in [
            "256.0.0.1",
            "1.2.3.4.5",
            "4294967296",
            "0x1ffffffff",
            "[fe80::1%25eth0]",
            "[::1",
        ] {
            check(&strict, &format!("http://{host}/"), Err("not a url"));
        }
    }

    #[test]
    fn an_operator_can_allow_private_networks_and_no_others() {
        let lax = guard(false, &["10.1.0.0/16", "127.0.0.1", " fd12:3456::/32 "]);
        for allowed in ["10.1.2.3", "127.0.0.1", "fd12:3456:7::1", "8.8.8.8"] {
            assert_eq!(lax.address(allowed.parse().expect("an address")), Ok(()));
        }
        for refused in [
            "10.2.0.1",
            "127.0.0.2",
            "::1",
            "fd12:3457::1",
            "192.168.0.1",
        ] {
            let why = lax
                .address(refused.parse().expect("an address"))
                .expect_err("refused");
            for part in [refused, "--webhook-network", "PORTICO_WEBHOOK_NETWORKS"] {
                assert!(why.contains(part), "{why}");
            }
        }
        // However much is listed.
        let laxest = guard(true, &["0.0.0.0/0", "::/0"]);
        for allowed in ["127.0.0.1", "10.0.0.1", "::1", "fd00::1", "100.64.0.1"] {
            assert_eq!(laxest.address(allowed.parse().expect("an address")), Ok(()));
        }
        for refused in [
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "fe80::1",
            "0.0.0.0",
            "::",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            let why = laxest
                .address(refused.parse().expect("an address"))
                .expect_err("refused");
            assert!(why.contains("never") && !why.contains("--webhook"), "{why}");
        }
    }

    #[test]
    fn a_network_in_which_nothing_can_be_allowed_is_refused() {
        for network in [
            "169.254.0.0/16",
            "169.254.169.254",
            "fe80::/10",
            "::ffff:0:0/96",
            "224.0.0.0/3",
        ] {
            let one = network.parse().expect("a network");
            let why = Guard::new(false, [one], []).expect_err("refused");
            assert!(
                why.contains("never") && why.contains("PORTICO_WEBHOOK_NETWORKS"),
                "{why}"
            );
        }
        for bad in ["", "10.0.0.0/33", "10.0.0", "receiver.internal"] {
            let why = bad.parse::<Network>().expect_err("no network");
            assert!(why.contains("10.0.0.0/8"), "{why}");
        }
        let of_json = |text| serde_json::from_str::<Network>(text);
        assert_eq!(
            of_json(r#""10.1.2.3/8""#).expect("a network"),
            "10.0.0.0/8".parse().expect("a network")
        );
        assert!(of_json(r#""ten""#).is_err());
    }

    #[test]
    fn nothing_of_a_urls_path_or_query_is_repeated() {
        let strict = guard(false, &[]);
        for text in [
            "http://example.com/s3cret?s3cret",
            "https://127.0.0.1/s3cret?s3cret",
            "https://169.254.169.254/s3cret?s3cret",
            "https://s3cret:s3cret@example.com/s3cret",
            "https://example.com/s3cret#s3cret",
            "gopher://example.com/s3cret",
            "s3cret",
            "https://exa mple.com/s3cret",
        ] {
            let why = strict.url(text).expect_err("refused");
            assert!(!why.contains("s3cret"), "{why}");
        }
        let long = |length: usize| format!("https://example.com/{}", "s".repeat(length - 20));
        check(&strict, &long(URL_MAX_CHARS), Ok(&long(URL_MAX_CHARS)));
        check(&strict, &long(URL_MAX_CHARS + 1), Err("longer"));
        // Six times as long once it is escaped.
        let escaped = format!("https://example.com/{}", "\u{e4}".repeat(1_000));
        check(&strict, &escaped, Err("once it is escaped"));
    }
}
