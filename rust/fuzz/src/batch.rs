//! The three forms of the body of a batch.

use verve_core::Rejection;
use verve_core::request::batch::{BatchError, BatchFormat, parse};

use crate::id;

/// The target of `application/octet-stream`.
pub fn check_binary(body: &[u8]) {
    let mut ids = Vec::new();
    let mut rest = body;
    while rest.len() >= 8 {
        // The bytes from the last to the first are the digits of a number to the base 256.
        let value = rest[..8].iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        ids.push(value.cast_signed());
        rest = &rest[8..];
    }
    let fault = BatchError { position: ids.len(), reason: Rejection::BodyInvalid };
    let expected = if rest.is_empty() { Ok(ids) } else { Err(fault) };
    assert_eq!(parse(BatchFormat::Binary, body), expected);
}

/// The target of `text/plain`.
pub fn check_text(body: &[u8]) {
    let mut lines: Vec<&[u8]> = body.split(|&byte| byte == b'\n').collect();
    let last = lines.pop().unwrap_or_default();
    let mut lines: Vec<_> =
        lines.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    if !last.is_empty() {
        lines.push(last);
    }
    let expected: Result<Vec<_>, _> = lines
        .iter()
        .enumerate()
        .map(|(position, line)| id::read(line).map_err(|reason| BatchError { position, reason }))
        .collect();
    assert_eq!(parse(BatchFormat::Text, body), expected);
}

/// The target of `application/json`.
pub fn check_json(body: &[u8]) {
    let items = items(body);
    let found = parse(BatchFormat::Json, body);
    let values = items
        .as_ref()
        .and_then(|items| items.iter().map(|item| number(item).ok()).collect::<Option<Vec<_>>>());
    match found {
        Ok(ids) => assert_eq!(Some(ids), values),
        Err(BatchError { position, reason }) => {
            assert_eq!(values, None);
            let Some(items) = items else { return };
            // It is the text of an array, so an item is at fault: the first that is no id.
            let first = items.iter().position(|item| number(item).is_err()).expect("one is no id");
            let cut =
                items[first].contains(&b']') || items[first].iter().any(|&byte| is_blank(byte));
            if !cut {
                assert_eq!((position, Err(reason)), (first, number(items[first])));
            }
        }
    }
}

/// The texts between the commas of `[...]`. None of them can contain a comma.
fn items(body: &[u8]) -> Option<Vec<&[u8]>> {
    let inside = trimmed(trimmed(body).strip_prefix(b"[")?.strip_suffix(b"]")?);
    if inside.is_empty() {
        return Some(Vec::new());
    }
    Some(inside.split(|&byte| byte == b',').map(trimmed).collect())
}

fn is_blank(byte: u8) -> bool {
    b" \t\r\n".contains(&byte)
}

fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_blank(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_blank(*last)
    {
        text = rest;
    }
    text
}

/// The value of a number of JSON, by moving its point.
fn number(text: &[u8]) -> Result<i64, Rejection> {
    let text = std::str::from_utf8(text).map_err(|_| Rejection::IdInvalid)?;
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let magnitude = exponent.map(|text| text.strip_prefix(['+', '-']).unwrap_or(text));
    if !is_digits(whole)
        || whole.len() > 1 && whole.starts_with('0')
        || !fraction.is_none_or(is_digits)
        || !magnitude.is_none_or(is_digits)
    {
        return Err(Rejection::IdInvalid);
    }
    let fraction = fraction.unwrap_or_default();
    let mut digits = format!("{whole}{fraction}");
    if digits.bytes().all(|digit| digit == b'0') {
        return Ok(0);
    }
    let magnitude = magnitude.unwrap_or("0").trim_start_matches('0');
    let magnitude: i128 = if magnitude.len() > 18 {
        i128::from(i64::MAX)
    } else {
        format!("0{magnitude}").parse().expect("at most 18 digits")
    };
    let is_negative = exponent.is_some_and(|text| text.starts_with('-'));
    let right = if is_negative { -magnitude } else { magnitude } - fraction.len() as i128;
    if right >= 0 {
        // Any digit but zero is out of range there; trailing zeros make no difference.
        digits.push_str(&"0".repeat(usize::try_from(right.min(40)).expect("at most 40")));
    } else {
        for _ in right..0 {
            match digits.pop() {
                Some('0') => {}
                _ => return Err(Rejection::IdInvalid),
            }
        }
    }
    id::read(format!("{sign}{digits}").as_bytes())
}
