//! The addresses that a callback must not reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a callback must not be sent to this address.
///
/// Forbidden are all addresses that are not global unicast, the ranges for documentation and benchmarks,
/// and every form of IPv6 that contains an IPv4 address, whichever it is: a literal, or an answer of the
/// resolver, that has 127.0.0.1 in its 128 bits reaches the loopback.
///
/// Sources: the IANA registries of special-purpose addresses for IPv4 and IPv6 (RFC 6890 and its
/// updates).
#[must_use]
pub fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => FORBIDDEN_V4
            .iter()
            .any(|&(network, length)| within(address.to_bits(), network.to_bits(), 32 - length)),
        IpAddr::V6(address) => {
            let inside = |&(network, length): &(Ipv6Addr, u32)| {
                within(address.to_bits(), network.to_bits(), 128 - length)
            };
            !inside(&GLOBAL_UNICAST_V6) || FORBIDDEN_V6.iter().any(inside)
        }
    }
}

/// Whether two addresses are equal except for the last `host_bits` bits.
fn within<Bits>(address: Bits, network: Bits, host_bits: u32) -> bool
where
    Bits: std::ops::BitXor<Output = Bits> + std::ops::Shr<u32, Output = Bits> + Default + PartialEq,
{
    (address ^ network) >> host_bits == Bits::default()
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u32) -> (Ipv4Addr, u32) {
    (Ipv4Addr::new(a, b, c, d), length)
}

/// Networks and the lengths of their prefixes.
const FORBIDDEN_V4: [(Ipv4Addr, u32); 16] = [
    v4(0, 0, 0, 0, 8),        // "this network"; 0.0.0.0 connects to the loopback
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // carrier-grade NAT, and a cloud's metadata (100.100.100.200)
    v4(127, 0, 0, 0, 8),      // loopback
    v4(168, 63, 129, 16, 32), // the platform of Azure: its machines' metadata, by a public address
    v4(169, 254, 0, 0, 16),   // link-local, and the metadata of most clouds (169.254.169.254)
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments, and a cloud's metadata (192.0.0.192)
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 88, 99, 0, 24),   // the relays of 6to4, deprecated
    v4(192, 168, 0, 0, 16),   // private
    v4(198, 18, 0, 0, 15),    // benchmarking
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 4),      // multicast
    v4(240, 0, 0, 0, 4),      // reserved, and broadcast
];

/// All global unicast addresses assigned so far. Outside of this range: `::`, `::1`, IPv4-compatible
/// (`::/96`), mapped (`::ffff:0:0/96`) and translated (`::ffff:0:0:0/96`) addresses, NAT64
/// (`64:ff9b::/96`, `64:ff9b:1::/48`), discard (`100::/64`), segment routing (`5f00::/16`), unique
/// local (`fc00::/7`), link-local (`fe80::/10`), site-local (`fec0::/10`) and multicast
/// (`ff00::/8`).
const GLOBAL_UNICAST_V6: (Ipv6Addr, u32) = v6(0x2000, 0, 3);

const fn v6(first: u16, second: u16, length: u32) -> (Ipv6Addr, u32) {
    (Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), length)
}

/// The forbidden networks inside of [`GLOBAL_UNICAST_V6`].
const FORBIDDEN_V6: [(Ipv6Addr, u32); 4] = [
    v6(0x2001, 0, 23), // protocol assignments: Teredo (carries IPv4), benchmarking, ORCHID
    v6(0x2001, 0x0db8, 32), // documentation
    v6(0x2002, 0, 16), // 6to4, carries IPv4
    v6(0x3fff, 0, 20), // documentation
];

#[cfg(test)]
mod tests {
    use super::is_forbidden;

    fn all(addresses: &[&str], expected: bool) {
        for address in addresses {
            assert_eq!(is_forbidden(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn special_v4_ranges_are_forbidden_to_their_last_address() {
        all(
            &[
                "0.0.0.0",
                "0.255.255.255",
                "10.0.0.0",
                "10.255.255.255",
                "100.64.0.0",
                "100.127.255.255",
                "127.0.0.0",
                "127.255.255.255",
                "168.63.129.16",
                "169.254.0.0",
                "169.254.169.254",
                "169.254.255.255",
                "172.16.0.0",
                "172.31.255.255",
                "192.0.0.0",
                "192.0.0.255",
                "192.0.2.0",
                "192.0.2.255",
                "192.88.99.0",
                "192.168.0.0",
                "192.168.255.255",
                "198.18.0.0",
                "198.19.255.255",
                "198.51.100.0",
                "198.51.100.255",
                "203.0.113.0",
                "203.0.113.255",
                "224.0.0.0",
                "239.255.255.255",
                "240.0.0.0",
                "255.255.255.254",
                "255.255.255.255",
            ],
            true,
        );
    }

    #[test]
    fn neighbours_of_special_v4_ranges_are_not() {
        all(
            &[
                "1.0.0.0",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "168.63.129.15",
                "168.63.129.17",
                "169.253.255.255",
                "169.255.0.0",
                "172.15.255.255",
                "172.32.0.0",
                "191.255.255.255",
                "192.0.1.255",
                "192.0.3.0",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "198.51.99.255",
                "198.51.101.0",
                "203.0.112.255",
                "203.0.114.0",
                "223.255.255.255",
                "8.8.8.8",
            ],
            false,
        );
    }

    #[test]
    fn special_v6_ranges_are_forbidden() {
        all(
            &[
                "::",
                "::1",
                "::2",
                "100::1",
                "5f00::1",
                "1fff:ffff::1",
                "2001:2::1",
                "2001:10::1",
                "2001:20::1",
                "2001:1ff::1",
                "2001:db8::1",
                "2001:db8:ffff:ffff::1",
                "3fff::1",
                "3fff:fff::1",
                "4000::1",
                "fc00::1",
                "fd00:ec2::254",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "feff::1",
                "ff02::1",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ],
            true,
        );
    }

    #[test]
    fn v6_that_contains_v4_is_forbidden_even_if_the_v4_is_public() {
        all(
            &[
                "::ffff:127.0.0.1",
                "::ffff:8.8.8.8",
                "::ffff:0:127.0.0.1",
                "::ffff:0:8.8.8.8",
                "::127.0.0.1",
                "::8.8.8.8",
                "64:ff9b::127.0.0.1",
                "64:ff9b::8.8.8.8",
                "64:ff9b:1::127.0.0.1",
                "2002:7f00:1::",
                "2002:808:808::1",
                "2001::1",
                "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            ],
            true,
        );
    }

    #[test]
    fn global_v6_is_not() {
        all(
            &[
                "2000::1",
                "2001:200::1",
                "2001:4860:4860::8888",
                "2001:db7:ffff::1",
                "2001:db9::1",
                "2003::1",
                "2606:4700::1111",
                "2a00::1",
                "3ffe:ffff::1",
                "3fff:1000::1",
            ],
            false,
        );
    }
}
