//! Keeps deliveries away from this host and private networks.
//!
//! A name is checked when it is resolved for a connection, and exactly the
//! checked addresses are connected to, so a name that changes its address in
//! between (DNS rebinding) gains nothing. Addresses written out in the URL are
//! never resolved; they are checked when the client is made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Which addresses an endpoint may be at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Public ones only.
    Public,
    /// Any: the configuration allows private ones.
    Any,
    /// This very host only, for plain HTTP.
    Loopback,
}

impl Reach {
    /// What the address and the configuration allow.
    pub fn of(url: &Url, allow_private: bool) -> Reach {
        match (url.scheme(), allow_private) {
            ("http", true) => Reach::Loopback,
            (_, true) => Reach::Any,
            (_, false) => Reach::Public,
        }
    }

    /// Whether an endpoint may be at this address.
    pub fn allows(self, address: IpAddr) -> bool {
        match self {
            Reach::Public => !is_private(address),
            Reach::Any => true,
            Reach::Loopback => address.to_canonical().is_loopback(),
        }
    }

    /// Checks an address that is written out in the URL.
    ///
    /// # Errors
    /// In words, when it is not allowed.
    pub fn check(self, url: &Url) -> Result<(), String> {
        match literal(url) {
            Some(address) if !self.allows(address) => Err(refused(&address.to_string())),
            _ => Ok(()),
        }
    }
}

/// Whether a URL names a private address, or this host, outright.
pub fn names_a_private_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        _ => literal(url).is_some_and(is_private),
    }
}

/// Whether an address is not one of the public internet.
///
/// Source: the IANA registries of special-purpose addresses (RFC 6890), and
/// for IPv6 addresses that carry an IPv4 one, that one.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => match carried_v4(address) {
            Some(inner) => is_private_v4(inner),
            None => is_private_v6(address),
        },
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        // This network, private use, loopback.
        (0 | 10 | 127, _, _) => true,
        // Shared by carriers (RFC 6598).
        (100, 64..=127, _) => true,
        // Link-local, where clouds keep their metadata services.
        (169, 254, _) => true,
        (172, 16..=31, _) | (192, 168, _) => true,
        // Protocol assignments, documentation, the old 6to4 relays.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113) => true,
        // Benchmarks (RFC 2544).
        (198, 18..=19, _) => true,
        // Multicast, reserved, broadcast.
        (224..=255, _, _) => true,
        _ => false,
    }
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Unspecified, loopback, and all else that is no global address: only
        // 2000::/3 is (this refuses fc00::/7, fe80::/10 and ff00::/8).
        [first, ..] if first & 0xe000 != 0x2000 => true,
        // Documentation (RFC 3849, RFC 9637).
        [0x2001, 0x0db8, ..] => true,
        [0x3fff, second, ..] if second & 0xf000 == 0 => true,
        // Protocol assignments, with Teredo and ORCHID.
        [0x2001, second, ..] if second < 0x0200 => true,
        _ => false,
    }
}

/// The IPv4 address within a mapped, compatible, NAT64 or 6to4 address.
fn carried_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(v4(high, low)),
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

fn refused(what: &str) -> String {
    format!(
        "{what} is this host or in a private network; set allow_private = true if this is meant"
    )
}

/// Resolves names by the system, and leaves out what is not allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolver(pub(super) Reach);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            allowed(reach, name.as_str(), found)
        })
    }
}

fn allowed(
    reach: Reach,
    name: &str,
    mut found: Vec<SocketAddr>,
) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
    let refusal = found.first().map(|address| refused(&format!("{name} at {}", address.ip())));
    found.retain(|address| reach.allows(address.ip()));
    match refusal {
        Some(refusal) if found.is_empty() => Err(refusal.into()),
        _ => Ok(Box::new(found.into_iter())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w8_private_addresses_are_told_from_public_ones() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "100::1",
        ] {
            assert!(is_private(address.parse().unwrap()), "{address}");
        }
        for address in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "::ffff:1.1.1.1"] {
            assert!(!is_private(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn w8_addresses_in_disguise_are_seen_through() {
        for url in [
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::ffff:127.0.0.1]/",
            "https://127.1/",
            "https://LOCALHOST./",
            "https://x.localhost/",
        ] {
            assert!(names_a_private_host(&Url::parse(url).unwrap()), "{url}");
        }
        assert!(!names_a_private_host(&Url::parse("https://hooks.example.org/").unwrap()));
    }

    #[tokio::test]
    async fn w8_a_name_that_leads_home_is_refused_when_resolved() {
        let resolve = |reach| Resolver(reach).resolve("localhost".parse().unwrap());
        let error = resolve(Reach::Public).await.err().unwrap().to_string();
        assert!(error.contains("allow_private"), "{error}");
        assert!(resolve(Reach::Loopback).await.is_ok_and(|mut found| found.next().is_some()));
        let mixed = vec!["10.0.0.1:0".parse().unwrap(), "1.1.1.1:0".parse().unwrap()];
        let left: Vec<_> = allowed(Reach::Public, "x", mixed).unwrap().collect();
        assert_eq!(left, ["1.1.1.1:0".parse().unwrap()]);
    }
}
