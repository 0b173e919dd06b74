//! Reads the head of a request in the accept lane.
//!
//! The lane takes a head only if hyper, which parses with the same library, would read the same
//! request from it. Everything that is unusual in any way is [`Head::Other`], and hyper decides.

use httparse::{EMPTY_HEADER, Header, Request, Status};

/// The path that the lane answers.
pub(crate) const ACCEPT: &str = "/api/verve/accept";

/// Heads with more fields are hyper's to judge.
const FIELDS: usize = 32;

/// What the bytes at the front of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// `GET /api/verve/accept` without a body.
    Accept {
        /// The query, still encoded; empty without one.
        query: &'a [u8],
        /// Bytes of the head.
        length: usize,
        /// The caller wants the connection closed after the answer.
        close: bool,
    },
    /// The head is not complete; so far it may become an accept.
    Partial,
    /// Anything else: hyper reads it.
    Other,
}

/// Parses the head at the front of `bytes`.
#[must_use]
pub fn parse(bytes: &[u8]) -> Head<'_> {
    let mut fields = [EMPTY_HEADER; FIELDS];
    let mut request = Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Head::Partial,
        Err(_) => return Head::Other,
    };
    if request.method != Some("GET") || request.version != Some(1) {
        return Head::Other;
    }
    let Some(query) = request.path.and_then(query_of) else { return Head::Other };
    match wish(request.headers) {
        Some(close) => Head::Accept { query, length, close },
        None => Head::Other,
    }
}

/// The query of a target whose path is exactly [`ACCEPT`].
fn query_of(target: &str) -> Option<&[u8]> {
    match target.strip_prefix(ACCEPT)?.as_bytes() {
        [] => Some(b""),
        [b'?', query @ ..] if query.iter().copied().all(is_plain) => Some(query),
        _ => None,
    }
}

/// Bytes of a query that no parser of URLs reads differently. Not `#`, and nothing beyond ASCII.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%=&+:/?@!$'()*,;[]".contains(&byte)
}

/// Whether the connection is to be closed; `None` if a field asks for more than a plain answer.
fn wish(fields: &[Header<'_>]) -> Option<bool> {
    let mut close = false;
    for field in fields {
        match field.name.len() {
            // All names of these lengths below are compared; others cannot matter.
            6 if is(field, "expect") => return None,
            7 if is(field, "upgrade") => return None,
            10 if is(field, "connection") => {
                if field.value.eq_ignore_ascii_case(b"close") {
                    close = true;
                } else if !field.value.eq_ignore_ascii_case(b"keep-alive") {
                    return None;
                }
            }
            14 if is(field, "content-length") => return None,
            17 if is(field, "transfer-encoding") => return None,
            _ => {}
        }
    }
    Some(close)
}

fn is(field: &Header<'_>, name: &str) -> bool {
    field.name.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::{Head, parse};

    fn head(text: &str) -> Head<'_> {
        parse(text.as_bytes())
    }

    #[test]
    fn accepts_are_read() {
        let text = "GET /api/verve/accept?id=7 HTTP/1.1\r\nhost: x\r\n\r\nGET";
        let expected = Head::Accept { query: b"id=7", length: text.len() - 3, close: false };
        assert_eq!(head(text), expected);
        let text = "GET /api/verve/accept HTTP/1.1\r\nConnection: Close\r\n\r\n";
        assert_eq!(head(text), Head::Accept { query: b"", length: text.len(), close: true });
    }

    #[test]
    fn what_may_become_an_accept_is_partial_at_every_byte() {
        let text = "GET /api/verve/accept?id=7 HTTP/1.1\r\nhost: x\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(head(&text[..end]), Head::Partial, "{end}");
        }
    }

    #[test]
    fn everything_else_goes_to_hyper() {
        for line in [
            "POST /api/verve/accept?id=7 HTTP/1.1",
            "get /api/verve/accept?id=7 HTTP/1.1",
            "HEAD /api/verve/accept?id=7 HTTP/1.1",
            "GET /api/verve/accept?id=7 HTTP/1.0",
            "GET /api/verve/accept/?id=7 HTTP/1.1",
            "GET /api/verve/accept%3Fid=7 HTTP/1.1",
            "GET /api/verve/acc%65pt?id=7 HTTP/1.1",
            "GET http://x/api/verve/accept?id=7 HTTP/1.1",
            "GET /api/verve/accept?id=7#8 HTTP/1.1",
            "GET /api/verve/accept?id=\u{e9} HTTP/1.1",
            "GET /livez HTTP/1.1",
            "GET  /api/verve/accept?id=7 HTTP/1.1",
            "\u{1}",
        ] {
            assert_eq!(head(&format!("{line}\r\nhost: x\r\n\r\n")), Head::Other, "{line}");
        }
        for field in [
            "content-length: 0",
            "Content-Length: 5",
            "transfer-encoding: chunked",
            "Expect: 100-continue",
            "upgrade: h2c",
            "connection: upgrade",
            "connection: keep-alive, close",
            "bad name: x",
            " folded: x",
        ] {
            let text = format!("GET /api/verve/accept?id=7 HTTP/1.1\r\n{field}\r\n\r\n");
            assert_eq!(head(&text), Head::Other, "{field}");
        }
        let many = "x: y\r\n".repeat(33);
        assert_eq!(head(&format!("GET /api/verve/accept HTTP/1.1\r\n{many}\r\n")), Head::Other);
    }
}
