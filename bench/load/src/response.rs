//! Reads one HTTP/1.1 answer: what a counting service may send, and an error for anything else.

/// Whether the id was new in the window, according to the answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    New,
    Duplicate,
}

/// The head of an answer and where its body ends.
#[derive(Debug, PartialEq)]
pub struct Head {
    pub status: u16,
    /// Bytes up to the empty line, included.
    pub body_start: usize,
    pub length: usize,
    /// The server closes the connection after this answer.
    pub close: bool,
    pub seen: Option<Seen>,
    pub window: Option<i64>,
}

/// Why bytes cannot be checked as an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Malformed {
    /// Not HTTP/1.1, a header that cannot be read, or one that must not repeat.
    Syntax,
    /// No `content-length`, so the body has no checked end.
    Length,
}

/// Parses the head at the start of `bytes`; `None` while its empty line has not arrived.
pub fn parse(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let mut lines = Lines { bytes, at: 0 };
    let Some(first) = lines.next_line()? else {
        return Ok(None);
    };
    let mut head = Head {
        status: status_of(first)?,
        body_start: 0,
        length: 0,
        close: false,
        seen: None,
        window: None,
    };
    let mut length = None;
    loop {
        let Some(line) = lines.next_line()? else {
            return Ok(None);
        };
        if line.is_empty() {
            break;
        }
        let colon = memchr::memchr(b':', line).ok_or(Malformed::Syntax)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if is(name, b"content-length") {
            once(&mut length, number(value)?)?;
        } else if is(name, b"verve-window") {
            once(&mut head.window, number(value)?)?;
        } else if is(name, b"verve-seen") {
            let seen = match value {
                b"new" => Seen::New,
                b"duplicate" => Seen::Duplicate,
                _ => return Err(Malformed::Syntax),
            };
            once(&mut head.seen, seen)?;
        } else if is(name, b"connection") {
            head.close = value.eq_ignore_ascii_case(b"close");
        } else if is(name, b"transfer-encoding") {
            return Err(Malformed::Length);
        }
    }
    head.body_start = lines.at;
    head.length = length.ok_or(Malformed::Length)? as usize;
    Ok(Some(head))
}

struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let rest = &self.bytes[self.at..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            return Ok(None);
        };
        self.at += end + 1;
        let line = rest[..end].strip_suffix(b"\r").ok_or(Malformed::Syntax)?;
        Ok(Some(line))
    }
}

fn status_of(line: &[u8]) -> Result<u16, Malformed> {
    let code =
        line.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)).ok_or(Malformed::Syntax)?;
    let status = number(code)? as u16;
    // 1xx, 204 and 304 have no body and are no answer of this service.
    if (200..600).contains(&status) { Ok(status) } else { Err(Malformed::Syntax) }
}

fn is(name: &[u8], wanted: &[u8]) -> bool {
    name.len() == wanted.len() && name.eq_ignore_ascii_case(wanted)
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed::Syntax),
    }
}

fn number(digits: &[u8]) -> Result<i64, Malformed> {
    if digits.is_empty() || digits.len() > 15 {
        return Err(Malformed::Syntax);
    }
    digits.iter().try_fold(0, |sum, digit| match digit {
        b'0'..=b'9' => Ok(sum * 10 + i64::from(digit - b'0')),
        _ => Err(Malformed::Syntax),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nverve-seen: new\r\n\
        Verve-Window:  1700000040 \r\ndate: x\r\n\r\nok";

    #[test]
    fn a_whole_answer() {
        let head = parse(ANSWER).unwrap().unwrap();
        assert_eq!(&ANSWER[head.body_start..], b"ok");
        assert_eq!((head.status, head.length, head.close), (200, 2, false));
        assert_eq!(head.seen, Some(Seen::New));
        assert_eq!(head.window, Some(1_700_000_040));
    }

    #[test]
    fn any_part_of_a_head_is_not_yet_one() {
        for end in 0..ANSWER.len() - 2 {
            assert_eq!(parse(&ANSWER[..end]), Ok(None), "{end} bytes");
        }
    }

    #[test]
    fn close_and_other_statuses() {
        let answer =
            b"HTTP/1.1 503 Service Unavailable\r\nconnection: Close\r\ncontent-length: 6\r\n\r\n";
        let head = parse(answer).unwrap().unwrap();
        assert_eq!((head.status, head.close), (503, true));
    }

    #[test]
    fn an_answer_that_cannot_be_checked_is_an_error() {
        let cases: [(&[u8], Malformed); 9] = [
            (b"HTTP/1.1 200 OK\r\n\r\n", Malformed::Length),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Malformed::Length),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n",
                Malformed::Syntax,
            ),
            (b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n", Malformed::Syntax),
            (b"HTTP/1.1 200 OK\ncontent-length: 2\r\n\r\n", Malformed::Syntax),
            (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n", Malformed::Syntax),
            (b"HTTP/1.1 100 Continue\r\n\r\n", Malformed::Syntax),
            (b"HTTP/1.1 200 OK\r\nverve-seen: maybe\r\n\r\n", Malformed::Syntax),
            (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Malformed::Syntax),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(parse(bytes), Err(wanted), "{}", bytes.escape_ascii());
        }
    }
}
