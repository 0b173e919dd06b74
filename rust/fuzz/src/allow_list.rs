//! The allow list of the egress policy: its entries, and what they permit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Host;
use verve_callbacks::egress_policy::{AllowList, EgressPolicy, Mode};

use crate::special::{is_forbidden, is_in};

/// The target. The bytes are a mode, an address of 16 bytes, then lines: a host, and entries.
pub fn check(bytes: &[u8]) {
    let Some((&[mode, octets @ ..], text)) = bytes.split_first_chunk::<17>() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let mut lines = text.split('\n');
    let host = lines.next().unwrap_or_default();
    let entries: Vec<&str> = lines.collect();
    let expected: Option<Vec<Entry>> = entries.iter().map(|entry| read(entry)).collect();
    let found = AllowList::parse(entries.iter().copied());
    assert_eq!(found.is_ok(), expected.is_some(), "{entries:?}: {found:?}");
    let (Ok(allow_list), Some(entries)) = (found, expected) else { return };
    let address: IpAddr = if mode & 4 == 0 {
        Ipv4Addr::from(*octets.first_chunk().expect("16 bytes")).into()
    } else {
        Ipv6Addr::from(octets).into()
    };
    let mode = [Mode::Public, Mode::Listed, Mode::Off][usize::from(mode & 3) % 3];
    let policy = EgressPolicy { mode, allow_list, proxied: false };
    let Ok(host) = Host::parse(host) else { return };
    let host = match &host {
        Host::Domain(name) => Host::Domain(name.as_str()),
        Host::Ipv4(address) => Host::Ipv4(*address),
        Host::Ipv6(address) => Host::Ipv6(*address),
    };
    assert_eq!(
        policy.permits(&host, address),
        permits(mode, &entries, &host, address),
        "{host} {address}"
    );
}

enum Entry {
    Network(String),
    Host(String),
    Suffix(String),
}

/// Reads an entry as the documentation of `VERVE_CALLBACK_ALLOW` describes it.
fn read(text: &str) -> Option<Entry> {
    if let Some((address, prefix)) = text.split_once('/') {
        let address = address_of(address)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let is_number = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: usize = prefix.parse().ok().filter(|&prefix| is_number && prefix <= bits)?;
        let has_host_bits = crate::special::bits(address)[prefix..].contains('1');
        return (!has_host_bits).then(|| Entry::Network(format!("{address}/{prefix}")));
    }
    if let Some(address) = address_of(text) {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        return Some(Entry::Network(format!("{address}/{bits}")));
    }
    match text.strip_prefix("*.") {
        Some(suffix) => name_of(suffix).map(Entry::Suffix),
        None => name_of(text).map(Entry::Host),
    }
}

fn address_of(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

fn name_of(text: &str) -> Option<String> {
    let Ok(Host::Domain(name)) = Host::parse(text) else { return None };
    (!name.ends_with('.') && !name.contains('*')).then_some(name)
}

fn permits(mode: Mode, entries: &[Entry], host: &Host<&str>, address: IpAddr) -> bool {
    let in_network =
        entries.iter().any(|entry| matches!(entry, Entry::Network(one) if is_in(address, one)));
    let listed = entries.iter().any(|entry| match (entry, host) {
        (Entry::Host(name), Host::Domain(host)) => name == host,
        (Entry::Suffix(name), Host::Domain(host)) => host
            .strip_suffix(name.as_str())
            .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        _ => false,
    });
    let inside = ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"];
    let inside_v6 = ["::1/128", "fc00::/7"];
    let metadata = ["100.100.100.200/32", "fd00:ec2::254/128", "fd20:ce::254/128"];
    let one_of = |networks: &[&str]| networks.iter().any(|network| is_in(address, network));
    let by_name = (one_of(&inside) || one_of(&inside_v6)) && !one_of(&metadata);
    match mode {
        Mode::Off => false,
        _ if in_network => true,
        _ if is_forbidden(address) => listed && by_name,
        Mode::Listed => listed,
        Mode::Public => true,
    }
}
