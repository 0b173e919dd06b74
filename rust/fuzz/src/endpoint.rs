//! Endpoints: what is stored must mean the same to the parser that judges and to the one that
//! connects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Url;
use verve_core::request::address;
use verve_core::request::endpoint::{LIMIT, normal_form, normal_form_with};

use crate::special;

/// The target.
pub fn check(bytes: &[u8]) {
    if let Some(octets) = bytes.first_chunk::<16>() {
        let (v4, v6): (IpAddr, IpAddr) = (
            Ipv4Addr::from(*bytes.first_chunk().expect("16")).into(),
            Ipv6Addr::from(*octets).into(),
        );
        for one in [v4, v6] {
            assert_eq!(address::is_forbidden(one), special::is_forbidden(one), "{one}");
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(stored) = normal_form(text) else { return };
    assert!(text.len() <= LIMIT && stored.len() <= LIMIT);
    assert!(stored.bytes().all(|byte| byte.is_ascii_graphic()), "{stored}");
    assert_eq!(normal_form(&stored).as_ref(), Ok(&stored), "the normal form has another one");
    // What may be opened includes what is open.
    assert_eq!(normal_form_with(text, |_| true).as_ref(), Ok(&stored));
    let written = text.split_once("://").expect("a scheme").1;
    assert!(!written.split(['/', '?', '#']).next().expect("one").contains('@'), "{text}");
    check_host(&stored);
}

/// Reads the stored text as a client of HTTP does, and by splitting it.
fn check_host(stored: &str) {
    let judged = Url::parse(stored).expect("it is stored");
    // Fragments are not sent, and `Uri` drops them.
    let sent: http::Uri = stored.parse().unwrap_or_else(|error| panic!("{error}: {stored}"));
    let (scheme, rest) = stored.split_once("://").expect("a scheme");
    assert!(scheme == "http" || scheme == "https", "{stored}");
    let authority = rest.split(['/', '?', '#']).next().expect("one");
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    assert_eq!(sent.scheme_str(), Some(scheme));
    assert_eq!(sent.host(), Some(host), "{stored}");
    assert_eq!(judged.host_str(), Some(host), "{stored}");
    assert_eq!(sent.port_u16(), port.map(|port| port.parse().expect("a port")), "{stored}");
    assert_eq!(sent.port_u16(), judged.port());
    assert_eq!(sent.path(), judged.path());
    assert_eq!(sent.query(), judged.query());
    let literal: Option<IpAddr> = match host.strip_prefix('[') {
        Some(rest) => Some(rest.strip_suffix(']').expect("a bracket").parse().expect("an address")),
        None => host.parse().ok(),
    };
    if let Some(address) = literal {
        assert!(!special::is_forbidden(address), "{stored}");
        return;
    }
    assert!(host != "localhost" && !host.ends_with(".localhost"), "{stored}");
    // The last label of a name has a letter, or a resolver may take it for a number.
    let last = host.rsplit('.').next().expect("one");
    assert!(!last.bytes().all(|byte| byte.is_ascii_digit()), "{stored}");
    assert!(host.split('.').all(|label| !label.is_empty() && label.len() <= 63), "{stored}");
    assert!(host.len() <= 253, "{stored}");
}
