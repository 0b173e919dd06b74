//! Endpoints: random ones against what the standard library knows of addresses, and properties of
//! every normal form.

use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use verve_core::request::address::is_forbidden;
use verve_core::request::endpoint::{LIMIT, normal_form};
use verve_core::request::rejection::Rejection;

/// Texts that look like endpoints, with what makes parsers disagree strewn in.
fn endpoints() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec![
            "http://", "https://", "HTTP://", "http:", "//", "/", "?", "#", "@", ":", "[", "]",
            "\\", ".", "%2e", "%00",
        ]),
        2 => prop::sample::select(vec![
            "x.example", "localhost", "127.0.0.1", "0x7f.1", "::1", "::ffff:7f00:1", "8.8.8.8",
            "。", "７", "xn--", "ß", " ", "\t", "25", "443",
        ]),
    ];
    let pieces = prop::collection::vec(
        prop_oneof![4 => piece.prop_map(String::from), 1 => any::<char>().prop_map(String::from)],
        0..8,
    );
    (prop_oneof![Just(""), Just("http://"), Just("https://x.example")], pieces)
        .prop_map(|(start, pieces)| start.to_string() + &pieces.concat())
}

proptest! {
    #[test]
    fn a_normal_form_is_its_own_and_keeps_the_rules(text in endpoints()) {
        if let Ok(normal) = normal_form(&text) {
            prop_assert_eq!(normal_form(&normal), Ok(normal.clone()));
            prop_assert!(normal.len() <= LIMIT && normal.is_ascii());
            prop_assert!(normal.bytes().all(|byte| byte > b' ' && byte != 0x7f && byte != b'\\'));
            let (scheme, rest) = normal.split_once("://").unwrap();
            prop_assert!(scheme == "http" || scheme == "https");
            let authority = rest.split(['/', '?', '#']).next().unwrap();
            prop_assert!(!authority.is_empty() && !authority.contains(['@', '%']));
            let host = authority
                .rsplit_once(':')
                .filter(|(_, port)| port.parse::<u16>().is_ok())
                .map_or(authority, |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            prop_assert!(!host.parse::<IpAddr>().is_ok_and(is_forbidden), "{}", normal);
            prop_assert!(host != "localhost" && !host.ends_with(".localhost"), "{}", normal);
            prop_assert!(!host.ends_with('.'), "{}", normal);
        }
    }

    #[test]
    fn an_address_is_taken_if_it_is_not_refused(
        bits in any::<u32>(),
        wide in any::<u128>(),
        port in 1024..1700_u16,
    ) {
        let expected = |address: IpAddr, text: String| {
            if is_forbidden(address) { Err(Rejection::EndpointAddress) } else { Ok(text) }
        };
        let v4 = Ipv4Addr::from_bits(bits);
        let text = format!("http://{v4}:{port}/a");
        prop_assert_eq!(normal_form(&text), expected(v4.into(), text));
        for v6 in [Ipv6Addr::from_bits(wide), Ipv6Addr::from_bits(wide >> 3 | 1 << 125)] {
            let text = format!("https://[{v6}]:{port}/a");
            // The normal form may spell the address in another way than the standard library.
            prop_assert_eq!(normal_form(&text).map(|_| text.clone()), expected(v6.into(), text));
        }
    }

    #[test]
    fn other_spellings_of_v4_are_refused_whatever_the_address(bits in any::<u32>()) {
        let [a, b, c, d] = Ipv4Addr::from_bits(bits).octets();
        let low = bits & 0xffff;
        for host in [
            format!("{bits}"),
            format!("0x{bits:x}"),
            format!("0{bits:o}"),
            format!("{a}.{b}.{low}"),
            format!("{a}.{b}.{c}.{d}."),
            format!("0x{a:x}.{b}.{c}.{d}"),
            format!("{a}.{b}.{c}.0{d:o}"),
            format!("{a}。{b}.{c}.{d}"),
            format!("%3{}.{b}.{c}.{d}", a % 10),
        ] {
            let endpoint = format!("http://{host}/");
            prop_assert_eq!(normal_form(&endpoint), Err(Rejection::EndpointAddress), "{}", host);
        }
    }

    #[test]
    fn what_the_standard_library_calls_special_is_refused(
        bits in any::<u32>(),
        wide in any::<u128>(),
    ) {
        let v4 = Ipv4Addr::from_bits(bits);
        let special = v4.is_private()
            || v4.is_loopback()
            || v4.is_link_local()
            || v4.is_multicast()
            || v4.is_broadcast()
            || v4.is_documentation()
            || v4.is_unspecified();
        prop_assert!(!special || is_forbidden(v4.into()), "{}", v4);
        let v6 = Ipv6Addr::from_bits(wide);
        let special = v6.is_loopback()
            || v6.is_multicast()
            || v6.is_unspecified()
            || v6.is_unique_local()
            || v6.is_unicast_link_local()
            || v6.to_ipv4().is_some();
        prop_assert!(!special || is_forbidden(v6.into()), "{}", v6);
    }

    #[test]
    fn no_v6_form_carries_a_v4(bits in any::<u32>(), other in any::<u64>()) {
        let v4 = u128::from(bits);
        let other = u128::from(other);
        for wide in [
            v4,
            0xffff << 32 | v4,
            0xffff << 48 | v4,
            0x0064_ff9b << 96 | v4,
            0x0064_ff9b_0001 << 80 | (other << 16 | v4),
            0x2002 << 112 | v4 << 80 | other,
            0x2001_0000 << 96 | other << 32 | v4,
        ] {
            prop_assert!(is_forbidden(Ipv6Addr::from_bits(wide).into()));
        }
    }
}
