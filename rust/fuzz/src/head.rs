//! Heads of requests in the accept lane of the native listener.

use verve_listener::head::{Head, parse};

/// The target.
pub fn check(bytes: &[u8]) {
    let found = parse(bytes);
    match found {
        Head::Accept { query, length, close } => {
            check_accept(&bytes[..length], query, close);
            // It is found once it is whole, and does not depend on what follows.
            assert_eq!(parse(&bytes[..length]), found);
            assert_eq!(parse(&bytes[..length - 1]), Head::Partial);
        }
        // What follows makes no accept of it.
        Head::Other => {
            for more in ["\r\n", "\r\n\r\n", " HTTP/1.1\r\n\r\n"] {
                let longer = [bytes, more.as_bytes()].concat();
                assert_eq!(parse(&longer), Head::Other);
            }
        }
        Head::Partial => {}
    }
}

/// Reads a head line by line, by RFC 9112.
fn check_accept(head: &[u8], query: &[u8], close: bool) {
    // Empty lines before the request line are to be ignored.
    let text = std::str::from_utf8(head).map_or_else(|_| latin(head), str::to_owned);
    let mut lines = text.trim_start_matches(['\r', '\n']).split('\n').map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        assert!(!line.contains(['\r', '\0']), "{line:?}");
        line.to_owned()
    });
    let request = lines.next().expect("a request line");
    let query = std::str::from_utf8(query).expect("ASCII");
    let target = request.strip_prefix("GET ").and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
    let target = target.unwrap_or_else(|| panic!("{request:?}"));
    assert!(
        target == format!("/api/verve/accept?{query}")
            || target == "/api/verve/accept" && query.is_empty(),
        "{request:?}"
    );
    assert!(query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{query:?}");
    let mut closes = false;
    let mut fields = 0;
    let rest: Vec<String> = lines.collect();
    let [between @ .., empty, after] = rest.as_slice() else { panic!("{text:?}") };
    assert!(empty.is_empty() && after.is_empty(), "{text:?}");
    for line in between {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line:?}"));
        assert!(!name.is_empty() && name.bytes().all(is_token), "{line:?}");
        let name = name.to_ascii_lowercase();
        for hinders in ["content-length", "transfer-encoding", "upgrade", "expect"] {
            assert_ne!(name, hinders);
        }
        if name == "connection" {
            let value = value.trim_matches([' ', '\t']).to_ascii_lowercase();
            assert!(value == "close" || value == "keep-alive", "{line:?}");
            closes |= value == "close";
        }
        fields += 1;
    }
    assert!(fields <= 32);
    assert_eq!(close, closes);
}

/// The bytes as characters, so that they can be split as text.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
