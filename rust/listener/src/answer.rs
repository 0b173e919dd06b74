//! The answer to an accept as HTTP, for both lanes and for the binding.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};
use verve_core::{Answer, Rejection};

/// Header fields as they stand in an answer, in order.
pub type Fields = Vec<(&'static str, Cow<'static, str>)>;

/// The header fields that every answer begins with.
#[must_use]
pub fn common_fields(content_type: &'static str) -> Fields {
    vec![
        ("content-type", content_type.into()),
        ("cache-control", "no-store".into()),
        ("x-content-type-options", "nosniff".into()),
    ]
}

/// Status, header fields and body of the answer to an accept.
#[must_use]
pub fn fields_of(answer: &Answer) -> (u16, Fields, &'static str) {
    let mut fields = common_fields("text/plain");
    match answer {
        Answer::Ok => (200, fields, "ok"),
        Answer::Verdict(placement) => {
            let seen = if placement.new { "new" } else { "duplicate" };
            fields.push(("verve-seen", seen.into()));
            fields.push(("verve-window", placement.window_start.to_string().into()));
            (200, fields, "ok")
        }
        Answer::Failed(rejection) => {
            fields.push(("verve-error", rejection.name().into()));
            // Most first endpoints are on the user's own machine.
            if matches!(rejection, Rejection::EndpointAddress | Rejection::EndpointNotListed) {
                let hint = "VERVE_CALLBACK_ALLOW opens internal destinations";
                fields.push(("verve-hint", hint.into()));
            }
            (rejection.status(), fields, "failed")
        }
    }
}

/// The answer for hyper, which adds length and date.
pub(crate) fn response(answer: &Answer) -> Response<Bytes> {
    let (status, fields, body) = fields_of(answer);
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(http::header::SERVER, SERVER);
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// The value of the header `server`.
pub(crate) const SERVER: HeaderValue = HeaderValue::from_static("verve");

/// Writes the answer with its head, and with `connection: close` if the connection ends with it.
pub(crate) fn write(out: &mut Vec<u8>, answer: &Answer, close: bool) {
    if matches!(answer, Answer::Ok) {
        out.extend_from_slice(
            b"HTTP/1.1 200 OK\r\nserver: verve\r\ncontent-type: text/plain\r\n\
              cache-control: no-store\r\nx-content-type-options: nosniff\r\n",
        );
        end_head(out, 2, close);
        out.extend_from_slice(b"ok");
        return;
    }
    let (status, fields, body) = fields_of(answer);
    let reason = StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
    // Writing into memory does not fail.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\nserver: verve\r\n", reason.unwrap_or_default());
    for (name, value) in fields {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    end_head(out, body.len(), close);
    out.extend_from_slice(body.as_bytes());
}

fn end_head(out: &mut Vec<u8>, length: usize, close: bool) {
    if close {
        out.extend_from_slice(b"connection: close\r\n");
    }
    let _ = write!(out, "content-length: {length}\r\ndate: ");
    DATE.with_borrow_mut(|date| out.extend_from_slice(date.now()));
    out.extend_from_slice(b"\r\n\r\n");
}

thread_local! {
    static DATE: RefCell<Date> = const { RefCell::new(Date { second: 0, text: [0; 29] }) };
}

/// The date of an answer, formatted once per second.
struct Date {
    second: u64,
    text: [u8; 29],
}

impl Date {
    fn now(&mut self) -> &[u8] {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != self.second {
            let text = httpdate::fmt_http_date(now);
            if text.len() == self.text.len() {
                self.text.copy_from_slice(text.as_bytes());
                self.second = second;
            }
        }
        &self.text
    }
}
