//! The bodies of `POST /api/verve/accept`: many ids at once, in one of three forms.

use crate::request::id;
use crate::request::rejection::Rejection;
use std::fmt;

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchFormat {
    /// Little-endian int64s, one after the other (`application/octet-stream`).
    Binary,
    /// A JSON array of integers (`application/json`). `7.0` and `70e-1` are the integer 7, as JSON Schema
    /// has it; the value is taken from the decimal digits, exactly.
    Json,
    /// One id per line, written as in a query (`text/plain`). Lines end with `\n` or `\r\n`; the last
    /// one may end without.
    Text,
}

/// Why a body is rejected: its first fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchError {
    /// Index of the invalid id from 0. If the fault is not in an id, the number of ids before it.
    pub position: usize,
    /// [`Rejection::IdInvalid`] or [`Rejection::IdOutOfRange`] for an id, [`Rejection::BodyInvalid`] for
    /// the text around the ids, [`Rejection::NoSpace`], at position 0, if there is no memory for them.
    pub reason: Rejection,
}

/// The digits of the longest id.
const MOST_DIGITS: usize = 19;
const NO_MEMORY: BatchError = BatchError { position: 0, reason: Rejection::NoSpace };

impl fmt::Display for BatchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at position `{}`", self.reason, self.position)
    }
}

impl std::error::Error for BatchError {}

/// Reads all ids of a body in order, or rejects the whole body. An empty body has no ids, except as JSON,
/// where it is invalid. The time is linear in the length.
pub fn parse(format: BatchFormat, body: &[u8]) -> Result<Vec<i64>, BatchError> {
    match format {
        BatchFormat::Binary => binary(body),
        BatchFormat::Json => json(body),
        BatchFormat::Text => text(body),
    }
}

fn binary(body: &[u8]) -> Result<Vec<i64>, BatchError> {
    let words = body.chunks_exact(size_of::<i64>());
    if !words.remainder().is_empty() {
        return Err(BatchError { position: words.len(), reason: Rejection::BodyInvalid });
    }
    // A copy, even of aligned bytes: it costs a fraction of counting them, and a view would need
    // `unsafe`.
    let mut ids = Vec::new();
    ids.try_reserve_exact(words.len()).map_err(|_| NO_MEMORY)?;
    ids.extend(words.map(|word| i64::from_le_bytes(word.try_into().unwrap_or_default())));
    Ok(ids)
}

fn text(body: &[u8]) -> Result<Vec<i64>, BatchError> {
    let mut ids = Vec::new();
    // Text after the last newline is a line, unless it is empty.
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        let ([line @ .., b'\r', b'\n'] | [line @ .., b'\n'] | line) = line;
        push(&mut ids, id::parse(line.iter().copied()))?;
    }
    Ok(ids)
}

/// Reads `[`, integers with commas between them, `]`, with JSON's white space around each.
fn json(body: &[u8]) -> Result<Vec<i64>, BatchError> {
    let mut ids = Vec::new();
    let malformed = |position| Err(BatchError { position, reason: Rejection::BodyInvalid });
    let Some(mut rest) = skip_blanks(body).strip_prefix(b"[").map(skip_blanks) else {
        return malformed(0);
    };
    if let Some(end) = rest.strip_prefix(b"]") {
        return if skip_blanks(end).is_empty() { Ok(ids) } else { malformed(0) };
    }
    loop {
        let length = rest
            .iter()
            .position(|&byte| is_blank(byte) || byte == b',' || byte == b']')
            .unwrap_or(rest.len());
        let (token, after) = rest.split_at(length);
        push(&mut ids, json_integer(token))?;
        match skip_blanks(after) {
            [b',', after @ ..] => rest = skip_blanks(after),
            [b']', end @ ..] if skip_blanks(end).is_empty() => return Ok(ids),
            _ => return malformed(ids.len()),
        }
    }
}

/// Reads a number of JSON whose value is an integer. It has no leading zeros.
fn json_integer(token: &[u8]) -> Result<i64, Rejection> {
    match token.strip_prefix(b"-").unwrap_or(token) {
        [b'0', b'0'..=b'9', ..] => Err(Rejection::IdInvalid),
        _ => match id::parse(token.iter().copied()) {
            Err(Rejection::IdInvalid) => json_decimal(token).unwrap_or(Err(Rejection::IdInvalid)),
            read => read,
        },
    }
}

/// Reads a number with a fraction or an exponent, whose first digits are in order. `None` if it is no
/// number. It is never a float, so it stands for one id.
fn json_decimal(token: &[u8]) -> Option<Result<i64, Rejection>> {
    let (sign, rest) = token.split_at(token.starts_with(b"-").into());
    let (whole, mut rest) = digits(rest);
    let mut fraction: &[u8] = &[];
    if let Some(after) = rest.strip_prefix(b".") {
        (fraction, rest) = digits(after);
        if fraction.is_empty() {
            return None;
        }
    }
    let exponent = match rest {
        [] => 0,
        [b'e' | b'E', after @ ..] => exponent(after)?,
        _ => return None,
    };
    if whole.is_empty() {
        return None;
    }
    // The value is the significant digits times ten to the power of `zeros`.
    let all = || whole.iter().chain(fraction).copied();
    let trailing = all().rev().take_while(|&digit| digit == b'0').count();
    let kept = whole.len() + fraction.len() - trailing;
    if kept == 0 {
        return Some(Ok(0));
    }
    let length = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let zeros = exponent.saturating_add(length(trailing)).saturating_sub(length(fraction.len()));
    let Ok(zeros) = usize::try_from(zeros) else {
        return Some(Err(Rejection::IdInvalid));
    };
    // With more zeros, any digit before them is out of range.
    let zeros = std::iter::repeat_n(b'0', zeros.min(MOST_DIGITS));
    Some(id::parse(sign.iter().copied().chain(all().take(kept)).chain(zeros)))
}

/// Splits off the digits at the begin of a text.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

/// Reads the exponent of a number, saturating. `None` if it is none.
fn exponent(text: &[u8]) -> Option<i64> {
    let (sign, magnitude) = match text {
        [b'-', magnitude @ ..] => (-1, magnitude),
        [b'+', magnitude @ ..] | magnitude => (1, magnitude),
    };
    let (digits, []) = digits(magnitude) else { return None };
    let read =
        |value: i64, digit: &u8| value.saturating_mul(10).saturating_add((digit - b'0').into());
    (!digits.is_empty()).then(|| sign * digits.iter().fold(0, read))
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    &text[text.iter().position(|&byte| !is_blank(byte)).unwrap_or(text.len())..]
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn push(ids: &mut Vec<i64>, id: Result<i64, Rejection>) -> Result<(), BatchError> {
    let id = id.map_err(|reason| BatchError { position: ids.len(), reason })?;
    if ids.len() == ids.capacity() {
        ids.try_reserve(1).map_err(|_| NO_MEMORY)?;
    }
    ids.push(id);
    Ok(())
}
