//! Addresses of other machines: which networks they are in, and how near that is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// A network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// Bits that all its addresses share.
    prefix: u32,
}

/// The text is not a network in a known form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address nor a network, such as 203.0.113.7, 10.0.0.0/8 or 2001:db8::/32")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let error = || NetworkError(text.to_owned());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let bits = width(address);
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(error)?,
        };
        Ok(Self { address, prefix })
    }
}

impl Network {
    /// Whether the network contains an address. An IPv4 address mapped into IPv6 counts as the IPv4 address.
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        width(address) == width(self.address) && prefix(address, self.prefix) == prefix(self.address, self.prefix)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The first bits of an address.
fn prefix(address: IpAddr, bits: u32) -> u128 {
    let (number, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    number.checked_shr(width - bits).unwrap_or(0)
}

/// Several networks. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Arc<[Network]>);

impl Networks {
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether one of them has every address of its kind.
    pub fn are_all(&self) -> bool {
        self.0.iter().any(|network| network.prefix == 0)
    }
}

impl FromStr for Networks {
    type Err = NetworkError;

    /// Networks separated by commas or spaces. `loopback` and `private` mean the networks of that name; `none` means none.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let mut networks = Vec::new();
        for part in text.split([',', ' ', '\n', '\t']).filter(|part| !part.is_empty()) {
            match part {
                "none" => {}
                "loopback" => networks.extend(LOOPBACK),
                "private" => networks.extend(LOOPBACK.into_iter().chain(PRIVATE)),
                text => networks.push(text.parse()?),
            }
        }
        Ok(Self(networks.into()))
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u32) -> Network {
    Network { address: IpAddr::V4(std::net::Ipv4Addr::new(a, b, c, d)), prefix }
}

const fn v6(first: u16, last: u16, prefix: u32) -> Network {
    Network { address: IpAddr::V6(std::net::Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last)), prefix }
}

/// This machine's own addresses.
const LOOPBACK: [Network; 2] = [v4(127, 0, 0, 0, 8), v6(0, 1, 128)];

/// RFC 1918, link-local, the address space that carriers and clouds share (RFC 6598), and unique local addresses (RFC
/// 4193).
const PRIVATE: [Network; 7] = [
    v4(10, 0, 0, 0, 8),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
    v4(169, 254, 0, 0, 16),
    v4(100, 64, 0, 0, 10),
    v6(0xfc00, 0, 7),
    v6(0xfe80, 0, 10),
];

/// How far away a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    Loopback,
    /// In a private network: traffic to it crosses only the owner's lines, or so the owner says.
    Private,
    Public,
}

impl Distance {
    pub fn to(address: IpAddr) -> Self {
        let within = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        match () {
            () if within(&LOOPBACK) => Self::Loopback,
            () if within(&PRIVATE) => Self::Private,
            () => Self::Public,
        }
    }

    /// By name, without a look-up: an address as text, or a name that no public registry gives out. Names without a dot
    /// belong to a container network or the local search domain.
    pub fn to_host(host: &str) -> Self {
        const PRIVATE_ENDINGS: [&str; 6] = [".local", ".internal", ".lan", ".home.arpa", ".svc", ".cluster.local"];
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        if let Ok(address) = host.parse() {
            return Self::to(address);
        }
        if host == "localhost" || host.ends_with(".localhost") {
            return Self::Loopback;
        }
        if !host.contains('.') || PRIVATE_ENDINGS.iter().any(|ending| host.ends_with(ending)) {
            return Self::Private;
        }
        Self::Public
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        let cases = [
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ];
        for (network, address, is_in) in cases {
            let networks: Networks = network.parse().unwrap();
            assert_eq!(networks.contain(address.parse().unwrap()), is_in, "{network} {address}");
        }
        for text in ["10.0.0.0/33", "::/129", "10.0.0", "example.com", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(text.parse::<Networks>().is_err(), "{text}");
        }
        let several: Networks = "loopback, 203.0.113.7\n198.51.100.0/24".parse().unwrap();
        for (address, is_in) in [("127.9.9.9", true), ("::1", true), ("198.51.100.3", true), ("10.0.0.1", false)] {
            assert_eq!(several.contain(address.parse().unwrap()), is_in, "{address}");
        }
        assert_eq!("none".parse::<Networks>(), Ok(Networks::default()));
    }

    #[test]
    fn a_host_is_as_far_as_its_name_says() {
        let cases = [
            ("localhost", Distance::Loopback),
            ("db.localhost", Distance::Loopback),
            ("127.0.0.53", Distance::Loopback),
            ("[::1]", Distance::Loopback),
            ("postgres", Distance::Private),
            ("db.internal", Distance::Private),
            ("colonies.gateway.svc.cluster.local", Distance::Private),
            ("192.168.1.9", Distance::Private),
            ("100.100.0.1", Distance::Private),
            ("[fd00::7]", Distance::Private),
            ("db.example.com", Distance::Public),
            ("8.8.8.8", Distance::Public),
            ("172.32.0.1", Distance::Public),
            ("localhost.example.com", Distance::Public),
            ("0.0.0.0", Distance::Public),
        ];
        for (host, distance) in cases {
            assert_eq!(Distance::to_host(host), distance, "{host}");
        }
    }
}
