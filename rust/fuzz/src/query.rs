//! Queries of `GET /api/verve/accept`, and of batches.

use verve_core::Rejection;
use verve_core::request::endpoint::normal_form;
use verve_core::request::query::{Accept, check_batch, parse_accept};

use crate::id;

/// The target.
pub fn check(bytes: &[u8]) {
    let expected = read(bytes);
    assert_eq!(parse_accept(bytes), expected);
    let names = pairs(bytes).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let has = |name: &[u8]| names.iter().any(|one| one == name);
    let has_endpoint =
        pairs(bytes).iter().any(|(name, value)| name == b"endpoint" && !value.is_empty());
    assert_eq!(check_batch(bytes).is_err(), has(b"id") || has_endpoint);
    // The order of the pairs changes nothing.
    let mut reversed: Vec<_> = bytes.split(|&byte| byte == b'&').collect();
    reversed.reverse();
    assert_eq!(parse_accept(&reversed.join(&b'&')), expected);
}

/// The decoded names, with the values as they are written.
fn pairs(query: &[u8]) -> Vec<(Vec<u8>, &[u8])> {
    query
        .split(|&byte| byte == b'&')
        .map(|pair| {
            let mut parts = pair.splitn(2, |&byte| byte == b'=');
            (decoded(parts.next().unwrap_or_default()), parts.next().unwrap_or_default())
        })
        .collect()
}

/// Decodes `%xx` once; anything else stands for itself.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    let mut place = 0;
    while place < text.len() {
        let escaped = escape(&text[place..]);
        found.push(escaped.unwrap_or(text[place]));
        place += if escaped.is_some() { 3 } else { 1 };
    }
    found
}

fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digits = [*high, *low];
    // Not `from_str_radix` alone: it takes a sign.
    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
}

fn read(query: &[u8]) -> Result<Accept, Rejection> {
    let all = pairs(query);
    let values = |name: &[u8]| -> Vec<&[u8]> {
        all.iter().filter(|(one, _)| one == name).map(|&(_, value)| value).collect()
    };
    let id = match *values(b"id") {
        [] => return Err(Rejection::IdMissing),
        [value] => id::read(&decoded(value))?,
        _ => return Err(Rejection::IdRepeated),
    };
    let verdict = values(b"verdict").into_iter().any(|value| decoded(value) == b"1");
    let endpoints = values(b"endpoint").into_iter().filter(|value| !value.is_empty());
    let endpoint = match *endpoints.collect::<Vec<_>>() {
        [] => None,
        [value] => Some(read_endpoint(value)?),
        _ => return Err(Rejection::EndpointRepeated),
    };
    Ok(Accept { id, verdict, endpoint })
}

fn read_endpoint(value: &[u8]) -> Result<String, Rejection> {
    for place in (0..value.len()).filter(|&place| value[place] == b'%') {
        escape(&value[place..]).ok_or(Rejection::EndpointInvalid)?;
    }
    let text = String::from_utf8(decoded(value)).map_err(|_| Rejection::EndpointInvalid)?;
    normal_form(&text)
}
