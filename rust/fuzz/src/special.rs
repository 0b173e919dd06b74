//! A naive judge of addresses: networks as texts of bits.

use std::net::IpAddr;

const FORBIDDEN_V4: [&str; 16] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];
const FORBIDDEN_V6: [&str; 4] = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];

/// Whether a callback must not be sent to this address, as `docs` and the IANA registries say.
#[must_use]
pub fn is_forbidden(address: IpAddr) -> bool {
    let inside = |networks: &[&str]| networks.iter().any(|network| is_in(address, network));
    match address {
        IpAddr::V4(_) => inside(&FORBIDDEN_V4),
        IpAddr::V6(_) => !inside(&["2000::/3"]) || inside(&FORBIDDEN_V6),
    }
}

/// Whether `address` is in `network`, given as `address/length`.
#[must_use]
pub fn is_in(address: IpAddr, network: &str) -> bool {
    let (first, length) = network.split_once('/').expect("a network");
    let (first, length) = (first.parse().expect("an address"), length.parse().expect("a length"));
    let (first, address): (String, String) = (bits(first), bits(address));
    first.len() == address.len() && address.starts_with(&first[..length])
}

/// The bits of an address, as text.
#[must_use]
pub fn bits(address: IpAddr) -> String {
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let bit = |byte: u8, place: u8| if byte & (1 << place) == 0 { '0' } else { '1' };
    bytes.into_iter().flat_map(|byte| (0..8).rev().map(move |place| bit(byte, place))).collect()
}
