//! The checks of a callback's endpoint that its URL alone allows.
//!
//! When the callback is sent, its name is resolved and [`is_forbidden`] judges the addresses. Here a URL is
//! rejected if it could never be sent to, or if two parsers would read its host differently: the parser
//! that judges it might not be the one that connects.

use crate::request::address::is_forbidden;
use crate::request::rejection::Rejection;
use url::{Host, Url, quirks};

/// Largest number of bytes of an endpoint, as given and in its normal form.
pub const LIMIT: usize = 2_048;

/// Checks an endpoint. Returns it in the normal form that is stored and sent to.
///
/// It must be an absolute http or https URL of at most [`LIMIT`] bytes, without userinfo, blanks, control
/// characters and backslashes. Its host must be in the canonical spelling, and neither a forbidden address
/// nor a name of the loopback. The normal form is that of the WHATWG URL standard: scheme and host in
/// lower case, IDNA, escapes where they are needed.
pub fn normal_form(text: &str) -> Result<String, Rejection> {
    normal_form_with(text, |_| false)
}

/// As [`normal_form`], with hosts that are forbidden addresses or names of the loopback for which `opened`
/// returns true.
pub fn normal_form_with(
    text: &str,
    opened: impl Fn(&Host<&str>) -> bool,
) -> Result<String, Rejection> {
    if text.len() > LIMIT {
        return Err(Rejection::EndpointTooLong);
    }
    // The parser drops tabs and newlines, trims blanks and takes `\` for `/`; other parsers do not.
    if text.contains(|char: char| char == '\\' || char.is_whitespace() || char.is_control()) {
        return Err(Rejection::EndpointInvalid);
    }
    let authority = authority(text).ok_or(Rejection::EndpointInvalid)?;
    if authority.contains('@') {
        return Err(Rejection::EndpointUserinfo);
    }
    // The parser decodes Punycode in quadratic time before it looks at lengths. No label of a name
    // has more than 63 characters, of four bytes each.
    if authority.split('.').any(|label| label.len() > 4 * 63) {
        return Err(Rejection::EndpointInvalid);
    }
    let url = Url::parse(text).map_err(|_| Rejection::EndpointInvalid)?;
    check_host(&url, authority, opened)?;
    if url.port().is_some_and(|port| FORBIDDEN_PORTS.binary_search(&port).is_ok()) {
        return Err(Rejection::EndpointPort);
    }
    if url.as_str().len() > LIMIT {
        return Err(Rejection::EndpointTooLong);
    }
    Ok(url.into())
}

/// The text between `http://` or `https://` and the path. `None` if the text begins otherwise, or if it is
/// empty.
fn authority(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty())
}

fn check_host(
    url: &Url,
    authority: &str,
    opened: impl Fn(&Host<&str>) -> bool,
) -> Result<(), Rejection> {
    // Right for names and IPv4. The text of IPv6 is not needed: parsers agree on it.
    let written = authority.split(':').next().unwrap_or_default();
    let host = url.host().ok_or(Rejection::EndpointInvalid)?;
    let (inside, odd) = match host {
        // 0x7f.1, 2130706433, 010.8.8.8 or 8.8.8.8.: only the canonical spelling means the same to every
        // parser.
        Host::Ipv4(address) if address.to_string() != written => {
            return Err(Rejection::EndpointAddress);
        }
        Host::Ipv4(address) => (is_forbidden(address.into()), false),
        Host::Ipv6(address) => (is_forbidden(address.into()), false),
        Host::Domain(name) => (is_loopback(name), !is_host_name(name) || !spells(written, name)),
    };
    // A name with both faults is rejected for its meaning.
    if inside && (odd || !opened(&host)) {
        return Err(Rejection::EndpointAddress);
    }
    if odd { Err(Rejection::EndpointInvalid) } else { Ok(()) }
}

/// Whether the name is one of the loopback by RFC 6761 or by common hosts files. Any other name is judged
/// by its addresses.
fn is_loopback(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let hosts_file = [
        "localhost",
        "localhost.localdomain",
        "localhost6",
        "localhost6.localdomain6",
        "ip6-localhost",
        "ip6-loopback",
    ];
    hosts_file.contains(&name) || name.ends_with(".localhost")
}

/// Whether a name could have an address. The parser allows any punctuation, and with a trailing dot one host
/// would have two names.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Whether a host was written as the name to which it is normalised, in ASCII or in Unicode, in any case.
///
/// Full-width letters and digits, other Unicode dots, invisible characters and percent escapes are not.
fn spells(written: &str, name: &str) -> bool {
    written.eq_ignore_ascii_case(name) || written.to_lowercase() == quirks::domain_to_unicode(name)
}

/// The ports that browsers block (Fetch standard, "port blocking"), sorted. They belong to other protocols,
/// whose servers could take the lines of an HTTP request for commands.
const FORBIDDEN_PORTS: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
    102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427,
    465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990,
    993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667,
    6668, 6669, 6679, 6697, 10080,
];

#[cfg(test)]
mod tests {
    use super::{FORBIDDEN_PORTS, LIMIT, normal_form};
    use crate::request::rejection::Rejection;

    fn all(endpoints: &[&str], expected: Rejection) {
        for endpoint in endpoints {
            assert_eq!(normal_form(endpoint), Err(expected), "{endpoint:?}");
        }
    }

    #[test]
    fn public_endpoints_are_taken_in_their_normal_form() {
        for (endpoint, expected) in [
            ("https://x.example/hook", "https://x.example/hook"),
            ("http://x.example", "http://x.example/"),
            ("HTTPS://X.Example:443/Hook?A=b#c", "https://x.example/Hook?A=b#c"),
            ("http://x.example:8080/", "http://x.example:8080/"),
            ("http://x.example:/", "http://x.example/"),
            ("http://8.8.8.8/", "http://8.8.8.8/"),
            ("http://[2606:4700:0:0::1111]:8443/", "http://[2606:4700::1111]:8443/"),
            ("http://bücher.example/ä", "http://xn--bcher-kva.example/%C3%A4"),
            ("http://BÜCHER.example/", "http://xn--bcher-kva.example/"),
            ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
            ("http://x.example/a@b:c", "http://x.example/a@b:c"),
            ("http://x.example?a=http://127.0.0.1/", "http://x.example/?a=http://127.0.0.1/"),
            ("http://intranet/", "http://intranet/"),
            ("http://a_b-c.x.example/", "http://a_b-c.x.example/"),
            ("http://notlocalhost/", "http://notlocalhost/"),
            ("http://localhost.example/", "http://localhost.example/"),
            ("http://127.0.0.1.example/", "http://127.0.0.1.example/"),
        ] {
            assert_eq!(normal_form(endpoint).as_deref(), Ok(expected), "{endpoint:?}");
        }
    }

    #[test]
    fn what_is_no_absolute_http_url_is_refused() {
        all(
            &[
                "",
                "x",
                "/hook",
                "//x.example/",
                "x.example/hook",
                "ftp://x.example/",
                "file:///etc/passwd",
                "javascript:alert(1)",
                "http:x.example",
                "http:/x.example/",
                "http:///x.example/",
                "http://",
                "http://?x",
                "http://#x",
                "http://:80/",
                " http://x.example/",
                "http://x.example/ ",
                "http://x.example/a b",
                "ht\ttp://x.example/",
                "http://x.exa\nmple/",
                "http://x.example/\0",
                "http://x.example/\u{7f}",
                "http://x.example/\u{85}",
                "http://x.example\\@127.0.0.1/",
                "http:\\\\x.example/",
                "http://x.example:65536/",
                "http://x.example:-1/",
                "http://x.example:8o/",
                "http://x.example:80:80/",
                "http://[::1",
                "http://::1/",
                "http://[localhost]/",
                "http://[127.0.0.1]/",
                "http://[fe80::1%25eth0]/",
                "http://[fe80::1%eth0]/",
                "http://256.256.256.256/",
                "http://1.2.3.4.5/",
                "http://x.1/",
                "http://a<b/",
                "http://xn--a/",
                "http://x.example;id=7/",
                "http://a*b/",
                "http://.x.example/",
                "http://x..example/",
                "http://./",
                "http://-\u{e9}\u{301}.$/",
            ],
            Rejection::EndpointInvalid,
        );
    }

    #[test]
    fn hosts_that_parsers_read_differently_are_refused() {
        all(
            &[
                "http://x.example./",
                "http://x。example/",
                "http://x．example/",
                "http://ｘ.example/",
                "http://x1\u{ad}.example/",
                "http://ex%61mple.example/",
                "http://x.example%2f/",
                "http://①.example/",
                "http://x\u{200b}.example/",
            ],
            Rejection::EndpointInvalid,
        );
        all(
            &[
                "http://010.8.8.8/",
                "http://134744072/",
                "http://0x8.8.8.8/",
                "http://8.8.2056/",
                "http://8.8.8.8./",
                "http://８.8.8.8/",
                "http://8。8。8。8/",
            ],
            Rejection::EndpointAddress,
        );
    }

    #[test]
    fn userinfo_is_refused() {
        all(
            &[
                "http://user@x.example/",
                "http://u:p@x.example/",
                "http://@x.example/",
                "http://:@x.example/",
                "http://8.8.8.8@127.0.0.1/",
                "http://a@b@x.example/",
            ],
            Rejection::EndpointUserinfo,
        );
    }

    #[test]
    fn addresses_and_names_of_the_inside_are_refused() {
        all(
            &[
                "http://127.0.0.1/",
                "https://127.0.0.1:8443/",
                "http://127.1/",
                "http://0x7f.1/",
                "http://2130706433/",
                "http://017700000001/",
                "http://0/",
                "http://127.0.0.1./",
                "http://%31%32%37.0.0.1/",
                "http://127。0。0。1/",
                "http://１２７.0.0.1/",
                "http://169.254.169.254/",
                "http://10.0.0.1/",
                "http://[::1]/",
                "http://[::]/",
                "http://[0:0:0:0:0:0:0:1]/",
                "http://[::ffff:127.0.0.1]/",
                "http://[::FFFF:7f00:1]/",
                "http://[64:ff9b::7f00:1]/",
                "http://[2002:7f00:1::]/",
                "http://[fe80::1]/",
                "http://[fd00::1]/",
                "http://localhost/",
                "http://LOCALHOST:9000/",
                "http://localhost./",
                "http://a.localhost/",
                "http://a.localhost./",
                "http://ｌｏｃａｌｈｏｓｔ/",
                "http://ip6-localhost/",
            ],
            Rejection::EndpointAddress,
        );
    }

    #[test]
    fn refused_ports_are_refused_in_any_spelling() {
        assert!(FORBIDDEN_PORTS.is_sorted());
        for port in FORBIDDEN_PORTS {
            all(
                &[&format!("https://x.example:{port}/"), &format!("http://x.example:00{port}")],
                Rejection::EndpointPort,
            );
        }
        for port in [80, 443, 8000, 8080, 9000, 65535] {
            assert!(normal_form(&format!("http://x.example:{port}/")).is_ok(), "{port}");
        }
    }

    #[test]
    fn names_longer_than_dns_has_them_are_refused() {
        let label = "a".repeat(63);
        let name = [label.as_str(); 4].join(".");
        assert!(normal_form(&format!("http://{}/", &name[..253])).is_ok());
        all(
            &[&format!("http://{}/", &name[..254]), &format!("http://{label}a.example/")],
            Rejection::EndpointInvalid,
        );
    }

    #[test]
    fn the_limit_holds_for_the_text_and_for_the_normal_form() {
        let at_limit = format!("http://x.example/{}", "a".repeat(LIMIT - 17));
        assert_eq!(normal_form(&at_limit), Ok(at_limit.clone()));
        assert_eq!(normal_form(&format!("{at_limit}a")), Err(Rejection::EndpointTooLong));
        let longer_when_escaped = format!("http://x.example/{}", "ä".repeat(400));
        assert_eq!(normal_form(&longer_when_escaped), Err(Rejection::EndpointTooLong));
    }
}
