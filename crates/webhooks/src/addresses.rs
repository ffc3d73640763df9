//! What an IP address is: somewhere on the internet, inside of a network of its owner's, or nowhere that a receiver can be.
//!
//! Guarantee: whatever IANA's special-purpose registries for IPv4 and IPv6 name has a word here, and nothing of it is [`Standing::Public`]; of IPv6
//! only what IANA has given out (`2000::/3`) is. The longest network that holds an address decides.
//!
//! An address that stands for another (mapped, translated, NAT64, 6to4, Teredo) is never unwrapped and judged by what is inside: it is refused as a
//! whole, for everything that can be reached through one has an address of its own. What cannot be told from the number alone stays with the operator:
//! a NAT64 under a prefix of a network's own looks like any public address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What an address is. The words go behind "is".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Somewhere on the internet.
    Public,
    /// Inside of a machine or a network of the operator's: a receiver can be there, if the operator says so.
    Private(&'static str),
    /// Nowhere that a receiver can be, or where one must not be looked for, whatever the operator says.
    Never(&'static str),
}

use Standing::{Never, Private, Public};

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(groups: [u16; 8], length: u8) -> IpNet {
    let [a, b, c, d, e, f, g, h] = groups;
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::new(a, b, c, d, e, f, g, h),
        length,
    ))
}

/// The word for where clouds hand out the credentials of a machine to whoever asks from it.
const METADATA: &str = "a cloud's metadata service";

/// Each network with what its addresses are. IANA's registries are at <https://www.iana.org/assignments/iana-ipv4-special-registry> and
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>; the metadata services are those that their clouds document.
const NETWORKS: &[(IpNet, Standing)] = &[
    (v4(0, 0, 0, 0, 0), Public),
    (
        v4(0, 0, 0, 0, 8),
        Never("an unspecified address (0.0.0.0/8)"),
    ),
    (v4(10, 0, 0, 0, 8), Private("a private address")),
    (
        v4(100, 64, 0, 0, 10),
        Private("an address that carriers and clouds share (100.64.0.0/10)"),
    ),
    // Alibaba Cloud.
    (v4(100, 100, 100, 200, 32), Never(METADATA)),
    (v4(127, 0, 0, 0, 8), Private("a loopback address")),
    // Azure: the machine's agent, and its name server.
    (v4(168, 63, 129, 16, 32), Never(METADATA)),
    // Most clouds' metadata is at 169.254.169.254.
    (
        v4(169, 254, 0, 0, 16),
        Never("a link-local address, where clouds have their metadata service"),
    ),
    (v4(172, 16, 0, 0, 12), Private("a private address")),
    // Metadata of Oracle's older machines is in it, at 192.0.0.192.
    (
        v4(192, 0, 0, 0, 24),
        Never("set aside for protocols (192.0.0.0/24)"),
    ),
    (v4(192, 0, 2, 0, 24), Never("set aside for examples")),
    (
        v4(192, 31, 196, 0, 24),
        Never("set aside for name servers that know nothing (AS112)"),
    ),
    (
        v4(192, 52, 193, 0, 24),
        Never("set aside for multicast relays"),
    ),
    (v4(192, 88, 99, 0, 24), Never("set aside for 6to4 relays")),
    (v4(192, 168, 0, 0, 16), Private("a private address")),
    (
        v4(192, 175, 48, 0, 24),
        Never("set aside for name servers that know nothing (AS112)"),
    ),
    (v4(198, 18, 0, 0, 15), Never("set aside for benchmarks")),
    (v4(198, 51, 100, 0, 24), Never("set aside for examples")),
    (v4(203, 0, 113, 0, 24), Never("set aside for examples")),
    (v4(224, 0, 0, 0, 4), Never("a multicast address")),
    (v4(240, 0, 0, 0, 4), Never("reserved (240.0.0.0/4)")),
    (
        v4(255, 255, 255, 255, 32),
        Never("the address of everybody near (broadcast)"),
    ),
    (
        v6([0, 0, 0, 0, 0, 0, 0, 0], 0),
        Never("not one that IANA has given out"),
    ),
    (
        v6([0, 0, 0, 0, 0, 0, 0, 0], 96),
        Never("an IPv4 address inside of an IPv6 one (IPv4-compatible)"),
    ),
    (
        v6([0, 0, 0, 0, 0, 0, 0, 0], 128),
        Never("the unspecified address"),
    ),
    (
        v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
        Private("a loopback address"),
    ),
    (
        v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96),
        Never("an IPv4 address inside of an IPv6 one (IPv4-mapped)"),
    ),
    (
        v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96),
        Never("an IPv4 address inside of an IPv6 one (IPv4-translated)"),
    ),
    (
        v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96),
        Never("an IPv4 address inside of an IPv6 one (NAT64)"),
    ),
    (
        v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
        Never("an IPv4 address inside of an IPv6 one (NAT64)"),
    ),
    (
        v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
        Never("where packets are thrown away (100::/64)"),
    ),
    (
        v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64),
        Never("a stand-in for an address (100:0:0:1::/64)"),
    ),
    (v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3), Public),
    // All of it, also the few that can be reached: anycast of protocols, no place for a receiver.
    (
        v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
        Never("set aside for protocols (2001::/23)"),
    ),
    (
        v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),
        Never("an IPv4 address inside of an IPv6 one (Teredo)"),
    ),
    (
        v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48),
        Never("set aside for benchmarks"),
    ),
    (
        v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
        Never("set aside for examples"),
    ),
    (
        v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
        Never("an IPv4 address inside of an IPv6 one (6to4)"),
    ),
    (
        v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48),
        Never("set aside for name servers that know nothing (AS112)"),
    ),
    (
        v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
        Never("set aside for examples"),
    ),
    (
        v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
        Never("set aside for routing by segments (5f00::/16)"),
    ),
    (
        v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
        Private("a private address"),
    ),
    // Scaleway.
    (
        v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128),
        Never(METADATA),
    ),
    // Oracle Cloud.
    (
        v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128),
        Never(METADATA),
    ),
    // Alibaba Cloud.
    (
        v6([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200], 128),
        Never(METADATA),
    ),
    // Amazon: metadata at fd00:ec2::254, credentials of containers at fd00:ec2::23, and what else is its own.
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32), Never(METADATA)),
    // Linode.
    (
        v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1], 128),
        Never(METADATA),
    ),
    // Google Cloud.
    (
        v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
        Never(METADATA),
    ),
    (
        v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
        Never("a link-local address, where clouds have their metadata service"),
    ),
    // Given up in 2004 for fc00::/7: who still has some can tell what they are for no better than we can.
    (
        v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
        Never("a site-local address, which there are no more (fec0::/10)"),
    ),
    (
        v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
        Never("a multicast address"),
    ),
];

/// What `address` is.
pub fn standing(address: IpAddr) -> Standing {
    NETWORKS
        .iter()
        .filter(|(network, _)| network.contains(&address))
        .max_by_key(|(network, _)| network.prefix_len())
        // The table begins with networks that hold everything.
        .map_or(Never("of no kind"), |&(_, standing)| standing)
}

/// Why no address of `network` can ever be sent to, if that is so.
pub fn never(network: IpNet) -> Option<&'static str> {
    let network = network.trunc();
    let is_mixed = NETWORKS
        .iter()
        .any(|(part, _)| *part != network && network.contains(part));
    if !is_mixed {
        return match standing(network.addr()) {
            Never(why) => Some(why),
            Private(_) | Public => None,
        };
    }
    // Only a network that holds another one whole is halved, so this ends at the table's longest prefix.
    let mut halves = network.subnets(network.prefix_len() + 1).ok()?.map(never);
    let first = halves.next()??;
    halves.all(|half| half.is_some()).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letters of a standing: `+` public, `o` private, `-` never.
    fn letter(address: &str) -> char {
        match standing(address.parse().expect("an address")) {
            Public => '+',
            Private(_) => 'o',
            Never(_) => '-',
        }
    }

    /// Each special range: the address before it, its first, its last, the address after it, and what the four are. `none` where there is none.
    #[rustfmt::skip]
    const RANGES: &[(&str, &str, &str, &str, &str, &str)] = &[
        ("this network", "none", "0.0.0.0", "0.255.255.255", "1.0.0.0", " --+"),
        ("private 10/8", "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0", "+oo+"),
        ("shared 100.64/10", "100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0", "+oo+"),
        ("metadata of Alibaba", "100.100.100.199", "100.100.100.200", "100.100.100.200", "100.100.100.201", "o--o"),
        ("loopback", "126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0", "+oo+"),
        ("metadata of Azure", "168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17", "+--+"),
        ("link-local", "169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0", "+--+"),
        ("metadata", "169.254.169.253", "169.254.169.254", "169.254.169.254", "169.254.169.255", "----"),
        ("private 172.16/12", "172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0", "+oo+"),
        ("protocols", "191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0", "+--+"),
        ("service continuity", "191.255.255.255", "192.0.0.0", "192.0.0.7", "192.0.0.8", "+---"),
        ("dummy", "192.0.0.7", "192.0.0.8", "192.0.0.8", "192.0.0.9", "----"),
        ("anycast of PCP and TURN", "192.0.0.8", "192.0.0.9", "192.0.0.10", "192.0.0.11", "----"),
        ("finding NAT64", "192.0.0.169", "192.0.0.170", "192.0.0.171", "192.0.0.172", "----"),
        ("metadata of Oracle", "192.0.0.191", "192.0.0.192", "192.0.0.192", "192.0.0.193", "----"),
        ("examples 1", "192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0", "+--+"),
        ("AS112", "192.31.195.255", "192.31.196.0", "192.31.196.255", "192.31.197.0", "+--+"),
        ("AMT", "192.52.192.255", "192.52.193.0", "192.52.193.255", "192.52.194.0", "+--+"),
        ("6to4 relays", "192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0", "+--+"),
        ("private 192.168/16", "192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0", "+oo+"),
        ("AS112, delegated", "192.175.47.255", "192.175.48.0", "192.175.48.255", "192.175.49.0", "+--+"),
        ("benchmarks", "198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0", "+--+"),
        ("examples 2", "198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0", "+--+"),
        ("examples 3", "203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0", "+--+"),
        ("multicast", "223.255.255.255", "224.0.0.0", "239.255.255.255", "240.0.0.0", "+---"),
        ("reserved", "239.255.255.255", "240.0.0.0", "255.255.255.254", "255.255.255.255", "----"),
        ("broadcast", "255.255.255.254", "255.255.255.255", "255.255.255.255", "none", "--- "),
        ("unspecified", "none", "::", "::", "::1", " --o"),
        ("loopback", "::", "::1", "::1", "::2", "-oo-"),
        ("IPv4-compatible", "::1", "::2", "::ffff:ffff", "::1:0:0", "o---"),
        ("IPv4-mapped", "::fffe:ffff:ffff", "::ffff:0:0", "::ffff:ffff:ffff", "::1:0:0:0", "----"),
        ("IPv4-translated", "::fffe:ffff:ffff:ffff", "::ffff:0:0:0", "::ffff:0:ffff:ffff", "::ffff:1:0:0", "----"),
        ("NAT64", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "64:ff9b::", "64:ff9b::ffff:ffff", "64:ff9b::1:0:0", "----"),
        ("NAT64 of one's own", "64:ff9b:0:ffff:ffff:ffff:ffff:ffff", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "64:ff9b:2::", "----"),
        ("discard", "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "100::", "100::ffff:ffff:ffff:ffff", "100:0:0:1::", "----"),
        ("dummy", "100::ffff:ffff:ffff:ffff", "100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", "100:0:0:2::", "----"),
        ("given out", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "-++-"),
        ("protocols", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::", "+--+"),
        ("Teredo", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "2001:1::", "+---"),
        ("anycast of PCP, TURN and SRP", "2001:1::", "2001:1::1", "2001:1::3", "2001:1::4", "----"),
        ("benchmarks", "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", "2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", "2001:2:1::", "----"),
        ("AMT", "2001:2:ffff:ffff:ffff:ffff:ffff:ffff", "2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff", "2001:4::", "----"),
        ("AS112", "2001:4:111:ffff:ffff:ffff:ffff:ffff", "2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff", "2001:4:113::", "----"),
        ("ORCHID, the first", "2001:f:ffff:ffff:ffff:ffff:ffff:ffff", "2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", "2001:20::", "----"),
        ("ORCHID", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", "2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", "2001:30::", "----"),
        ("drones", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", "2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", "2001:40::", "----"),
        ("examples", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "+--+"),
        ("6to4", "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::", "+--+"),
        ("AS112, delegated", "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", "2620:4f:8001::", "+--+"),
        ("examples", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::", "+--+"),
        ("segments", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5f01::", "----"),
        ("private", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::", "-oo-"),
        ("metadata of Scaleway", "fd00:42::41", "fd00:42::42", "fd00:42::42", "fd00:42::43", "o--o"),
        ("metadata of Oracle", "fd00:c1::a9fe:a9fd", "fd00:c1::a9fe:a9fe", "fd00:c1::a9fe:a9fe", "fd00:c1::a9fe:a9ff", "o--o"),
        ("metadata of Alibaba", "fd00:100::100:1ff", "fd00:100::100:200", "fd00:100::100:200", "fd00:100::100:201", "o--o"),
        ("metadata of Amazon", "fd00:ec1:ffff:ffff:ffff:ffff:ffff:ffff", "fd00:ec2::", "fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff", "fd00:ec3::", "o--o"),
        ("metadata of Linode", "fd00:a9fe:a9fe::", "fd00:a9fe:a9fe::1", "fd00:a9fe:a9fe::1", "fd00:a9fe:a9fe::2", "o--o"),
        ("metadata of Google", "fd20:ce::253", "fd20:ce::254", "fd20:ce::254", "fd20:ce::255", "o--o"),
        ("link-local", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::", "----"),
        ("site-local", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ff00::", "----"),
        ("multicast", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "none", "--- "),
    ];

    #[test]
    fn every_special_range_is_what_it_is_from_its_first_to_its_last_address() {
        for (name, before, first, last, after, expected) in RANGES {
            let found: String = [before, first, last, after]
                .into_iter()
                .map(|one| if *one == "none" { ' ' } else { letter(one) })
                .collect();
            assert_eq!(
                found, *expected,
                "{name}: {before} [{first} {last}] {after}"
            );
        }
    }

    /// The edges above are those of the table: none was forgotten here, and none has an edge that no line looks at.
    #[test]
    fn every_network_of_the_table_is_tried_at_its_edges() {
        let mut missing = Vec::new();
        for (network, standing) in NETWORKS {
            // What is not a range but the rest.
            if network.prefix_len() == 0 || *standing == Public {
                continue;
            }
            let edges = (
                network.network().to_string(),
                network.broadcast().to_string(),
            );
            // The rest of two ranges that begin with single addresses.
            let is_tried = RANGES.iter().any(|(_, _, first, last, _, _)| {
                let is = |text: &str, edge: &str| text.parse::<IpAddr>() == edge.parse();
                is(first, &edges.0) && is(last, &edges.1)
            });
            if !is_tried {
                missing.push(network.to_string());
            }
        }
        // These two lose an edge to a single address within them, each of which has a line.
        assert_eq!(missing, ["240.0.0.0/4", "::/96"]);
    }

    #[test]
    fn places_that_people_send_webhooks_to_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "52.0.0.1",
            "185.199.108.153",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "2600:1f18::1",
        ] {
            assert_eq!(letter(address), '+', "{address}");
        }
    }

    #[test]
    fn an_address_in_another_is_not_judged_by_what_is_inside() {
        for inside in ["8.8.8.8", "127.0.0.1", "10.0.0.1", "169.254.169.254"] {
            for outside in ["::", "::ffff:", "::ffff:0:", "64:ff9b::", "64:ff9b:1::"] {
                let address = format!("{outside}{inside}");
                assert_eq!(letter(&address), '-', "{address}");
            }
        }
        // 6to4 and Teredo of 127.0.0.1 and of 8.8.8.8.
        for address in [
            "2002:7f00:1::1",
            "2002:808:808::1",
            "2001:0:7f00:1::1",
            "2001::f7f7:f7f7",
        ] {
            assert_eq!(letter(address), '-', "{address}");
        }
    }

    #[test]
    fn a_network_in_which_nothing_can_be_allowed_is_known() {
        let is_never = |text: &str| never(text.parse().expect("a network")).is_some();
        for network in [
            "169.254.0.0/16",
            "169.254.169.254/32",
            "169.254.169.254/20",
            "224.0.0.0/3",
            "240.0.0.0/4",
            "255.255.255.255/32",
            "100.100.100.200/32",
            "fd00:ec2::/32",
            "fd00:ec2::254/128",
            "fe80::/10",
            "fe80::/9",
            "::ffff:0:0/96",
            "::ffff:10.0.0.0/104",
            "::/128",
            "8000::/2",
            "ff02::/16",
        ] {
            assert!(is_never(network), "{network}");
        }
        for network in [
            "0.0.0.0/0",
            "::/0",
            "::/96",
            "10.0.0.0/8",
            "127.0.0.1/32",
            "100.100.100.0/24",
            "fd00::/8",
            "fd00:ec0::/30",
            "fc00::/6",
            "192.0.0.0/16",
            "8.8.8.8/32",
        ] {
            assert!(!is_never(network), "{network}");
        }
    }
}
