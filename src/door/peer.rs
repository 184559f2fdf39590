//! Who is on the other side: the address that connected, or the one that a trusted proxy names.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName};

use crate::domain::network::Networks;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    address: IpAddr,
    /// Whether it is a trusted proxy that names no sender. It may act for all senders, so no share limits it.
    is_proxy: bool,
}

/// The key under which one sender's use is counted: an IPv4 address, or an IPv6 network of the size that a provider gives
/// each customer at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PeerKey(IpAddr);

impl Peer {
    /// The sender that connected from `address`.
    pub fn connected(address: IpAddr, proxies: &Networks) -> Self {
        let address = address.to_canonical();
        Self { address, is_proxy: proxies.contain(address) }
    }

    /// The sender of a request. The last entry of `X-Forwarded-For` is what a trusted proxy added. Entries before it are
    /// claims of others, which count as far as these are trusted too.
    pub(super) fn of_request(self, headers: &HeaderMap, proxies: &Networks) -> Self {
        if !self.is_proxy {
            return self;
        }
        let mut named = self;
        for value in headers.get_all(&FORWARDED_FOR).iter().rev() {
            for text in value.to_str().unwrap_or_default().rsplit(',') {
                let Some(address) = address(text.trim()) else { return named };
                named = Self::connected(address, proxies);
                if !named.is_proxy {
                    return named;
                }
            }
        }
        named
    }

    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The address that stands for all that one customer of a provider has: an IPv4 address, or that of an IPv6 network.
    pub fn network(self) -> IpAddr {
        /// Bits of an IPv6 address that name a network.
        const NETWORK_BITS: u32 = 64;
        match self.address {
            IpAddr::V4(_) => self.address,
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> NETWORK_BITS << NETWORK_BITS)),
        }
    }

    /// The key under which its use is counted; `None` for a sender that acts for many.
    pub(super) fn key(self) -> Option<PeerKey> {
        (!self.is_proxy).then(|| PeerKey(self.network()))
    }
}

/// An address as proxies write it: some add the port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(connected: &str, forwarded: &[&str]) -> (String, bool) {
        let proxies = "10.0.0.0/8".parse().unwrap();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR.clone(), value.parse().unwrap());
        }
        let peer = Peer::connected(connected.parse().unwrap(), &proxies).of_request(&headers, &proxies);
        (peer.address().to_string(), peer.key().is_some())
    }

    #[test]
    fn only_a_trusted_proxy_names_the_sender_and_only_from_the_last_on() {
        let cases: [(&str, &[&str], &str, bool); 8] = [
            ("203.0.113.7", &["198.51.100.1"], "203.0.113.7", true),
            ("10.1.1.1", &["198.51.100.1"], "198.51.100.1", true),
            ("::ffff:10.1.1.1", &["198.51.100.1:4711"], "198.51.100.1", true),
            ("10.1.1.1", &["192.0.2.9, 198.51.100.1, 10.2.2.2"], "198.51.100.1", true),
            ("10.1.1.1", &["192.0.2.9", "[2001:db8::5]"], "2001:db8::5", true),
            ("10.1.1.1", &["198.51.100.1, unknown"], "10.1.1.1", false),
            ("10.1.1.1", &["198.51.100.1, garbage, 10.2.2.2"], "10.2.2.2", false),
            ("10.1.1.1", &[], "10.1.1.1", false),
        ];
        for (connected, forwarded, address, counted) in cases {
            assert_eq!(named(connected, forwarded), (address.to_owned(), counted), "{connected} {forwarded:?}");
        }
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_sender() {
        let key = |text: &str| Peer::connected(text.parse().unwrap(), &Networks::default()).key();
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
