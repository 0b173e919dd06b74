//! Writes requests: everything except the ids is written once, before the first is sent.

use crate::options::Options;

/// The encoding of the ids in the body of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Encoding {
    Binary,
    Json,
    Text,
}

impl Encoding {
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Binary => "application/octet-stream",
            Self::Json => "application/json",
            Self::Text => "text/plain",
        }
    }
}

/// The parts of a request that stay the same.
pub struct Template {
    before: Vec<u8>,
    after: Vec<u8>,
    batch: Option<Encoding>,
}

impl Template {
    pub fn new(options: &Options) -> Self {
        let mut fields = format!("host: {}\r\nuser-agent: verve-load\r\n", options.target);
        for header in &options.headers {
            fields.push_str(header);
            fields.push_str("\r\n");
        }
        if let Some(batch) = &options.batch {
            let kind = batch.encoding.media_type();
            let before = format!(
                "POST {} HTTP/1.1\r\n{fields}content-type: {kind}\r\ncontent-length: ",
                options.path
            );
            return Self {
                before: before.into_bytes(),
                after: b"\r\n\r\n".to_vec(),
                batch: Some(batch.encoding),
            };
        }
        let (query_before, query_after) = options.query.split_once("{id}").unwrap_or_default();
        let verdict = if options.verdict { "&verdict=1" } else { "" };
        let endpoint = options
            .endpoint
            .as_deref()
            .map_or_else(String::new, |url| format!("&endpoint={}", percent_encode(url)));
        Self {
            before: format!("GET {}?{query_before}", options.path).into_bytes(),
            after: format!("{query_after}{verdict}{endpoint} HTTP/1.1\r\n{fields}\r\n")
                .into_bytes(),
            batch: None,
        }
    }

    /// Appends the request for `ids` (one id, unless it is a batch) to `out`.
    pub fn write(&self, ids: &[i64], out: &mut Vec<u8>, body: &mut Vec<u8>) {
        out.extend_from_slice(&self.before);
        let mut digits = itoa::Buffer::new();
        if let Some(encoding) = self.batch {
            body.clear();
            write_body(encoding, ids, body);
            out.extend_from_slice(digits.format(body.len()).as_bytes());
            out.extend_from_slice(&self.after);
            out.extend_from_slice(body);
        } else {
            out.extend_from_slice(digits.format(ids[0]).as_bytes());
            out.extend_from_slice(&self.after);
        }
    }
}

fn write_body(encoding: Encoding, ids: &[i64], body: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    match encoding {
        Encoding::Binary => body.extend(ids.iter().flat_map(|id| id.to_le_bytes())),
        Encoding::Text => {
            for id in ids {
                body.extend_from_slice(digits.format(*id).as_bytes());
                body.push(b'\n');
            }
        }
        Encoding::Json => {
            for (index, id) in ids.iter().enumerate() {
                body.push(if index == 0 { b'[' } else { b',' });
                body.extend_from_slice(digits.format(*id).as_bytes());
            }
            body.push(b']');
        }
    }
}

/// Everything but RFC 3986's unreserved characters as `%XX`.
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(b"0123456789ABCDEF"[digit as usize] as char);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(arguments: &[&str], ids: &[i64]) -> String {
        let options = Options::parse(arguments).unwrap();
        let mut out = Vec::new();
        Template::new(&options).write(ids, &mut out, &mut Vec::new());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_accept() {
        assert_eq!(
            written(&["127.0.0.1:80", "--requests", "1"], &[-7]),
            "GET /api/verve/accept?id=-7 HTTP/1.1\r\nhost: 127.0.0.1:80\r\n\
             user-agent: verve-load\r\n\r\n"
        );
    }

    #[test]
    fn an_accept_with_everything() {
        let arguments = [
            "127.0.0.1:80",
            "--requests",
            "1",
            "--path",
            "/x",
            "--query",
            "a=1&key={id}&b=2",
            "--verdict",
            "--endpoint",
            "https://x.example/a b?c=é",
            "--header",
            "x: y",
        ];
        assert_eq!(
            written(&arguments, &[i64::MIN]),
            "GET /x?a=1&key=-9223372036854775808&b=2&verdict=1\
             &endpoint=https%3A%2F%2Fx.example%2Fa%20b%3Fc%3D%C3%A9 HTTP/1.1\r\n\
             host: 127.0.0.1:80\r\nuser-agent: verve-load\r\nx: y\r\n\r\n"
        );
    }

    #[test]
    fn batches() {
        let with = |kind| ["127.0.0.1:80", "--requests", "1", "--batch", kind, "--batch-size", "2"];
        assert!(written(&with("json"), &[1, -2]).ends_with("content-length: 6\r\n\r\n[1,-2]"));
        assert!(written(&with("text"), &[1, -2]).ends_with("content-length: 5\r\n\r\n1\n-2\n"));
        let binary = written(&with("binary"), &[1, 2]);
        assert!(
            binary.contains("content-type: application/octet-stream\r\ncontent-length: 16\r\n\r\n")
        );
        assert!(binary.ends_with("\u{1}\0\0\0\0\0\0\0\u{2}\0\0\0\0\0\0\0"));
    }
}
