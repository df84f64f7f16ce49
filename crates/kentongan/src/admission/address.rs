//! Whose request it is: the peer, or the client that a trusted proxy names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// The part of an address that one customer of a network usually has: /24 of IPv4, /64 of IPv6. Whoever has a prefix
/// has all of its addresses, so what is counted is counted for the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Prefix(IpAddr);

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & V4_MASK)),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & V6_MASK)),
        })
    }
}

/// The client's address: the peer's, unless the peer is a trusted proxy; then the right-most address of
/// `X-Forwarded-For` that is not one, since everything to the left of it is what the client claims.
///
/// An entry that is no address ends the search, and the hop that wrote it is taken.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|range| range.contains(address));
    let mut client = peer.to_canonical();
    let hops = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        if !is_trusted(&client) {
            break;
        }
        let Some(address) = std::str::from_utf8(hop).ok().and_then(parse) else {
            break;
        };
        client = address;
    }
    client
}

/// An address, with or without a port: proxies write both.
fn parse(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(hop);
    bare.parse::<IpAddr>()
        .ok()
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .map(|address| address.to_canonical())
}

const FORWARDED_FOR: &str = "x-forwarded-for";
const V4_MASK: u32 = u32::MAX << 8;
const V6_MASK: u128 = u128::MAX << 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, chain: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in chain {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|range| range.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn proxy_chains() {
        let ours: &[&str] = &["10.0.0.0/8", "fd00::/8"];
        for (case, peer, chain, trusted, expected) in [
            (
                "no proxy",
                "203.0.113.7",
                &["1.2.3.4"][..],
                &[][..],
                "203.0.113.7",
            ),
            (
                "a peer that is no proxy",
                "203.0.113.7",
                &["1.2.3.4"],
                ours,
                "203.0.113.7",
            ),
            (
                "one proxy",
                "10.0.0.1",
                &["203.0.113.7"],
                ours,
                "203.0.113.7",
            ),
            (
                "forged by the client",
                "10.0.0.1",
                &["1.2.3.4, 203.0.113.7"],
                ours,
                "203.0.113.7",
            ),
            (
                "two proxies",
                "10.0.0.1",
                &["1.2.3.4, 203.0.113.7, 10.9.9.9"],
                ours,
                "203.0.113.7",
            ),
            (
                "several headers",
                "10.0.0.1",
                &["1.2.3.4", "203.0.113.7", "10.9.9.9"],
                ours,
                "203.0.113.7",
            ),
            ("no header", "10.0.0.1", &[], ours, "10.0.0.1"),
            (
                "only proxies",
                "10.0.0.1",
                &["10.0.0.3, 10.0.0.2"],
                ours,
                "10.0.0.3",
            ),
            (
                "rubbish",
                "10.0.0.1",
                &["1.2.3.4, unknown"],
                ours,
                "10.0.0.1",
            ),
            (
                "rubbish behind a proxy",
                "10.0.0.1",
                &["1.2.3.4, ;, 10.0.0.2"],
                ours,
                "10.0.0.2",
            ),
            ("empty", "10.0.0.1", &[""], ours, "10.0.0.1"),
            (
                "port",
                "10.0.0.1",
                &["203.0.113.7:4711"],
                ours,
                "203.0.113.7",
            ),
            ("IPv6", "fd00::1", &["2001:db8::7"], ours, "2001:db8::7"),
            (
                "IPv6 in brackets",
                "fd00::1",
                &["[2001:db8::7]"],
                ours,
                "2001:db8::7",
            ),
            (
                "IPv6 with a port",
                "fd00::1",
                &["[2001:db8::7]:80"],
                ours,
                "2001:db8::7",
            ),
            (
                "mapped peer",
                "::ffff:10.0.0.1",
                &["203.0.113.7"],
                ours,
                "203.0.113.7",
            ),
            (
                "mapped hop",
                "10.0.0.1",
                &["::ffff:203.0.113.7"],
                ours,
                "203.0.113.7",
            ),
        ] {
            assert_eq!(client(peer, chain, trusted), expected, "{case}");
        }
    }

    #[test]
    fn prefixes() {
        let prefix = |text: &str| Prefix::from(text.parse::<IpAddr>().unwrap());
        for (one, other, same) in [
            ("203.0.113.7", "203.0.113.250", true),
            ("203.0.113.7", "203.0.114.7", false),
            ("203.0.113.7", "::ffff:203.0.113.8", true),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ] {
            assert_eq!(prefix(one) == prefix(other), same, "{one} {other}");
        }
    }
}
