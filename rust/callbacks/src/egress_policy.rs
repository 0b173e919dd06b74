//! The egress policy: the hosts and addresses that callbacks may be sent to.
//!
//! Internal hosts and internal addresses are refused, except for those that the allow list names:
//! networks, hosts, and the hosts below a suffix. The entry of a host permits private and loopback
//! addresses, but never link-local addresses or metadata services: those need an entry of their
//! network. The policy judges the URL when a request is accepted, and every address before a
//! connection is made.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Host;
use verve_core::Rejection;
use verve_core::request::address::is_forbidden;

/// The destinations that are permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Public addresses and listed destinations.
    Public,
    /// Listed destinations only.
    Listed,
    /// None.
    Off,
}

/// The allow list.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    networks: Vec<Network>,
    hosts: HashSet<String>,
    /// Each with a leading dot.
    suffixes: Vec<String>,
}

/// A network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(32 - self.prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    fn parse(text: &str) -> Option<Result<Self, String>> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address = match literal(address) {
            Some(address) => address,
            None if prefix.is_some() => return Some(Err("is not a network".into())),
            None => return None,
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        // `parse` takes a sign.
        let prefix = prefix.map(|text| if text.starts_with('+') { "" } else { text });
        let prefix = match prefix.map(str::parse) {
            None => bits,
            Some(Ok(prefix)) if prefix <= bits => prefix,
            Some(_) => return Some(Err(format!("has no prefix of 0 to {bits} bits"))),
        };
        let host_bits = match address {
            IpAddr::V4(address) => {
                u128::from(address.to_bits()).checked_shl(96 + prefix).unwrap_or(0)
            }
            IpAddr::V6(address) => address.to_bits().checked_shl(prefix).unwrap_or(0),
        };
        if host_bits != 0 {
            return Some(Err("has bits after its prefix".into()));
        }
        Some(Ok(Self { address, prefix }))
    }
}

impl AllowList {
    /// Reads entries: `10.0.0.0/8`, `127.0.0.1`, `[::1]`, `hooks.example`, `*.example`.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut allow_list = Self::default();
        for entry in entries {
            let wrong = |what: &str| {
                format!(
                    "an entry of the allow list {what}: `{entry}`; hint: list networks \
                     (`10.0.0.0/8`), hosts (`hooks.internal`) and suffixes (`*.internal`), without \
                     scheme and port"
                )
            };
            if let Some(network) = Network::parse(entry) {
                allow_list.networks.push(network.map_err(|what| wrong(&what))?);
            } else if let Some(suffix) = entry.strip_prefix("*.") {
                let name = host_name(suffix).ok_or_else(|| wrong("is not a suffix of hosts"))?;
                allow_list.suffixes.push(format!(".{name}"));
            } else {
                allow_list.hosts.insert(host_name(entry).ok_or_else(|| wrong("is not a host"))?);
            }
        }
        Ok(allow_list)
    }

    fn has_address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    fn has_name(&self, name: &str) -> bool {
        self.hosts.contains(name)
            || self
                .suffixes
                .iter()
                .any(|suffix| name.len() > suffix.len() && name.ends_with(suffix.as_str()))
    }
}

/// Parses an address, with the brackets of a URL around an IPv6 one or without them.
fn literal(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

/// A name in the normal form of endpoints.
fn host_name(text: &str) -> Option<String> {
    match Host::parse(text) {
        Ok(Host::Domain(name)) if !name.ends_with('.') && !name.contains('*') => Some(name),
        _ => None,
    }
}

/// Judges hosts and addresses of callbacks.
#[derive(Clone, Debug)]
pub struct EgressPolicy {
    /// The destinations that are permitted.
    pub mode: Mode,
    /// The allow list.
    pub allow_list: AllowList,
    /// Whether an egress proxy resolves the names, so that only their entries can be judged.
    pub proxied: bool,
}

impl EgressPolicy {
    /// Whether the allow list names an internal host: a refused address or a name of the loopback.
    #[must_use]
    pub fn opens(&self, host: &Host<&str>) -> bool {
        match *host {
            Host::Domain(name) => self.allow_list.has_name(name),
            Host::Ipv4(address) => self.allow_list.has_address(address.into()),
            Host::Ipv6(address) => self.allow_list.has_address(address.into()),
        }
    }

    /// Whether a callback to this host may be accepted. The form of the host was checked before.
    pub fn admit(&self, host: &Host<&str>) -> Result<(), Rejection> {
        match (self.mode, host) {
            (Mode::Off, _) => Err(Rejection::CallbacksUnavailable),
            (Mode::Public, _) => Ok(()),
            // The name may have an address in a listed network, which its resolution will show.
            (Mode::Listed, Host::Domain(_))
                if !self.proxied && !self.allow_list.networks.is_empty() =>
            {
                Ok(())
            }
            (Mode::Listed, host) if self.opens(host) => Ok(()),
            (Mode::Listed, _) => Err(Rejection::EndpointNotListed),
        }
    }

    /// Whether a connection to `address` may be made, for a URL with this host.
    #[must_use]
    pub fn permits(&self, host: &Host<&str>, address: IpAddr) -> bool {
        if self.mode == Mode::Off {
            return false;
        }
        if self.allow_list.has_address(address) {
            return true;
        }
        let listed = matches!(host, Host::Domain(name) if self.allow_list.has_name(name));
        if is_forbidden(address) {
            listed && is_openable_by_name(address)
        } else {
            listed || self.mode == Mode::Public
        }
    }
}

/// Refused addresses that the entry of a host permits: loopback, private, carrier-grade NAT and
/// unique local ones, except for metadata services among them.
fn is_openable_by_name(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let shared = Network { address: Ipv4Addr::new(100, 64, 0, 0).into(), prefix: 10 };
            let is_metadata = address == Ipv4Addr::new(100, 100, 100, 200);
            address.is_loopback()
                || address.is_private()
                || shared.contains(address.into()) && !is_metadata
        }
        IpAddr::V6(address) => {
            let metadata = [
                Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254),
                Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254),
            ];
            address == Ipv6Addr::LOCALHOST
                || address.is_unique_local() && !metadata.contains(&address)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AllowList, EgressPolicy, Mode};
    use std::net::IpAddr;
    use url::Host;

    fn policy(mode: Mode, entries: &[&str]) -> EgressPolicy {
        EgressPolicy {
            mode,
            allow_list: AllowList::parse(entries.iter().copied()).unwrap(),
            proxied: false,
        }
    }

    fn permits(policy: &EgressPolicy, host: &str, address: &str) -> bool {
        let host = Host::parse(host).unwrap();
        let host = match &host {
            Host::Domain(name) => Host::Domain(name.as_str()),
            Host::Ipv4(address) => Host::Ipv4(*address),
            Host::Ipv6(address) => Host::Ipv6(*address),
        };
        policy.permits(&host, address.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn without_an_allow_list_only_public_addresses() {
        let policy = policy(Mode::Public, &[]);
        assert!(permits(&policy, "x.example", "8.8.8.8"));
        assert!(permits(&policy, "8.8.8.8", "8.8.8.8"));
        assert!(permits(&policy, "x.example", "2606:4700::1111"));
        for address in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:8.8.8.8"] {
            assert!(!permits(&policy, "x.example", address), "{address}");
        }
    }

    #[test]
    fn the_allow_list_permits_exactly_its_entries() {
        let entries =
            ["10.1.0.0/16", "192.168.7.9", "hooks.internal", "*.svc.example", "fd12::/16"];
        let policy = policy(Mode::Public, &entries);
        for (host, address, expected) in [
            ("x.example", "10.1.255.255", true),
            ("x.example", "10.2.0.0", false),
            ("x.example", "192.168.7.9", true),
            ("x.example", "192.168.7.8", false),
            ("x.example", "fd12::1", true),
            ("x.example", "fd13::1", false),
            ("x.example", "::ffff:10.1.0.1", false),
            ("hooks.internal", "10.9.9.9", true),
            ("hooks.internal", "127.0.0.1", true),
            ("hooks.internal", "100.64.0.1", true),
            ("hooks.internal", "fd00::1", true),
            ("hooks.internal", "169.254.169.254", false),
            ("hooks.internal", "100.100.100.200", false),
            ("hooks.internal", "168.63.129.16", false),
            ("hooks.internal", "192.0.0.192", false),
            ("hooks.internal", "fd00:ec2::254", false),
            ("hooks.internal", "fe80::1", false),
            ("hooks.internal", "0.0.0.0", false),
            ("hooks.internal", "::ffff:10.0.0.1", false),
            ("hooks.internal", "224.0.0.1", false),
            ("a.hooks.internal", "10.9.9.9", false),
            ("hooks.internal.example", "10.9.9.9", false),
            ("a.svc.example", "10.9.9.9", true),
            ("a.b.svc.example", "10.9.9.9", true),
            ("svc.example", "10.9.9.9", false),
            ("asvc.example", "10.9.9.9", false),
        ] {
            assert_eq!(permits(&policy, host, address), expected, "{host} {address}");
        }
    }

    #[test]
    fn a_network_opens_link_local_addresses() {
        let policy = policy(Mode::Public, &["169.254.169.254"]);
        assert!(permits(&policy, "x.example", "169.254.169.254"));
        assert!(!permits(&policy, "x.example", "169.254.169.253"));
    }

    #[test]
    fn in_listed_mode_public_addresses_need_an_entry() {
        let policy = policy(Mode::Listed, &["x.example", "9.9.9.0/24"]);
        assert!(permits(&policy, "x.example", "8.8.8.8"));
        assert!(permits(&policy, "y.example", "9.9.9.9"));
        assert!(!permits(&policy, "y.example", "8.8.8.8"));
        let none = policy_of_one_host();
        assert!(none.admit(&Host::Domain("y.example")).is_err());
    }

    #[test]
    fn a_name_behind_a_proxy_needs_its_own_entry() {
        let mut policy = policy(Mode::Listed, &["x.example", "9.9.9.0/24"]);
        assert!(policy.admit(&Host::Domain("y.example")).is_ok());
        policy.proxied = true;
        assert!(policy.admit(&Host::Domain("y.example")).is_err());
        assert!(policy.admit(&Host::Domain("x.example")).is_ok());
        assert!(policy.admit(&Host::Ipv4([9, 9, 9, 9].into())).is_ok());
    }

    fn policy_of_one_host() -> EgressPolicy {
        policy(Mode::Listed, &["x.example"])
    }

    #[test]
    fn invalid_entries_are_refused() {
        for entry in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "[10.0.0.0]/8",
            "[[::1]",
            "]10.0.0.1[",
            "[fd00::/16",
            "fd00::/129",
            "fd00::1/64",
            "x.example:80",
            "http://x.example",
            "*",
            "*.",
            "x.*.example",
            "x.example.",
            "",
            "1.2.3",
        ] {
            assert!(AllowList::parse([entry]).is_err(), "{entry:?}");
        }
        for entry in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "[::1]", "BÜCHER.example", "localhost"] {
            assert!(AllowList::parse([entry]).is_ok(), "{entry:?}");
        }
    }
}
