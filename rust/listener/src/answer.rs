//! The answer to an accept as HTTP, for both lanes and for the binding.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
/// `now` is a reading of the clock that is a few milliseconds old at most.
pub(crate) fn write(out: &mut Vec<u8>, answer: &Answer, close: bool, now: Instant) {
    if matches!(answer, Answer::Ok) {
        out.extend_from_slice(
            b"HTTP/1.1 200 OK\r\nserver: verve\r\ncontent-type: text/plain\r\n\
              cache-control: no-store\r\nx-content-type-options: nosniff\r\n",
        );
        end_head(out, 2, close, now);
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
    end_head(out, body.len(), close, now);
    out.extend_from_slice(body.as_bytes());
}

fn end_head(out: &mut Vec<u8>, length: usize, close: bool, now: Instant) {
    if close {
        out.extend_from_slice(b"connection: close\r\n");
    }
    let _ = write!(out, "content-length: {length}\r\ndate: ");
    DATE.with_borrow_mut(|date| out.extend_from_slice(date.at(now)));
    out.extend_from_slice(b"\r\n\r\n");
}

thread_local! {
    static DATE: RefCell<Date> = const { RefCell::new(Date { until: None, text: [0; 29] }) };
}

/// The date of an answer, formatted once per second.
struct Date {
    /// The end of the second of `text`.
    until: Option<Instant>,
    text: [u8; 29],
}

impl Date {
    fn at(&mut self, now: Instant) -> &[u8] {
        if self.until.is_none_or(|until| now >= until) {
            let wall = SystemTime::now();
            let text = httpdate::fmt_http_date(wall);
            if text.len() == self.text.len() {
                self.text.copy_from_slice(text.as_bytes());
                let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
                let left = 1_000_000_000 - since.subsec_nanos();
                self.until = Some(now + Duration::from_nanos(left.into()));
            }
        }
        &self.text
    }
}
