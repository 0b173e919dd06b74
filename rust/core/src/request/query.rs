//! The grammar of the query of `GET /api/verve/accept`.
//!
//! A query is split at `&` only (`;` is part of a value), a pair at its first `=`. Names and values are
//! percent-decoded once, as bytes; `+` stands for itself. Unknown names and an empty `endpoint=` are
//! ignored.

use crate::request::endpoint;
use crate::request::id;
use crate::request::rejection::Rejection;
use url::Host;

/// The content of a valid query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The id to count.
    pub id: i64,
    /// Whether the answer shall say if the id was new, and in which window it was counted.
    pub verdict: bool,
    /// The endpoint of the callback, validated and in its normal form.
    pub endpoint: Option<String>,
}

/// Reads the query (without its `?`) of an accept.
///
/// The time is linear in the length of the query; memory is allocated only for an endpoint. Of several
/// faults, those of `id` are reported first, and a repeated name before the faults of its values. So the
/// answer does not depend on the order of the pairs.
pub fn parse_accept(query: &[u8]) -> Result<Accept, Rejection> {
    parse_accept_with(query, |_| false)
}

/// As [`parse_accept`], with endpoints of forbidden hosts for which `opened` returns true.
#[inline]
pub fn parse_accept_with(
    query: &[u8],
    opened: impl Fn(&Host<&str>) -> bool,
) -> Result<Accept, Rejection> {
    // Nearly every query is a plain `id=7`. Any other is read again below, which also finds the
    // rejection.
    if let Some(Ok(id)) = query.strip_prefix(b"id=").map(plain_id) {
        return Ok(Accept { id, verdict: false, endpoint: None });
    }
    parse_pairs(query, opened)
}

fn parse_pairs(query: &[u8], opened: impl Fn(&Host<&str>) -> bool) -> Result<Accept, Rejection> {
    let mut ids = Once::default();
    let mut endpoints = Once::default();
    let mut verdict = false;
    for (name, value) in pairs(query) {
        match name {
            Name::Id => ids.see(value),
            Name::Endpoint => endpoints.see(value),
            Name::Verdict => verdict |= Decoded(value).eq(*b"1"),
        }
    }
    if ids.repeated {
        return Err(Rejection::IdRepeated);
    }
    let id = id::parse(Decoded(ids.value.ok_or(Rejection::IdMissing)?))?;
    if endpoints.repeated {
        return Err(Rejection::EndpointRepeated);
    }
    let endpoint = endpoints.value.map(|value| decode_endpoint(value, opened)).transpose()?;
    Ok(Accept { id, verdict, endpoint })
}

/// Checks the query of a batch, which must not name `id` or `endpoint`: the ids are in the body.
pub fn check_batch(query: &[u8]) -> Result<(), Rejection> {
    if pairs(query).any(|(name, _)| matches!(name, Name::Id | Name::Endpoint)) {
        return Err(Rejection::QueryInBatch);
    }
    Ok(())
}

/// A known name.
enum Name {
    Id,
    Endpoint,
    Verdict,
}

/// The pairs with known names, with encoded values.
fn pairs(query: &[u8]) -> impl Iterator<Item = (Name, &[u8])> {
    query.split(|&byte| byte == b'&').filter_map(|pair| {
        let end = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        let (name, value) = (&pair[..end], pair.get(end + 1..).unwrap_or_default());
        if Decoded(name).eq(*b"id") {
            Some((Name::Id, value))
        } else if Decoded(name).eq(*b"verdict") {
            Some((Name::Verdict, value))
        } else if Decoded(name).eq(*b"endpoint") && !value.is_empty() {
            Some((Name::Endpoint, value))
        } else {
            None
        }
    })
}

/// A value that may occur once.
#[derive(Default)]
struct Once<'a> {
    value: Option<&'a [u8]>,
    repeated: bool,
}

impl<'a> Once<'a> {
    fn see(&mut self, value: &'a [u8]) {
        self.repeated |= self.value.replace(value).is_some();
    }
}

fn plain_id(value: &[u8]) -> Result<i64, Rejection> {
    id::parse(value.iter().copied())
}

fn decode_endpoint(
    value: &[u8],
    opened: impl Fn(&Host<&str>) -> bool,
) -> Result<String, Rejection> {
    // Otherwise a stray `%` would mean the same as `%25`, and the endpoint would not be the one meant.
    let escapes = value.split(|&byte| byte == b'%').skip(1);
    for after in escapes {
        if escaped(after).is_none() {
            return Err(Rejection::EndpointInvalid);
        }
    }
    let text =
        String::from_utf8(Decoded(value).collect()).map_err(|_| Rejection::EndpointInvalid)?;
    endpoint::normal_form_with(&text, opened)
}

/// The percent-decoded bytes of a name or value. A malformed escape stands for itself. No known name, id or
/// verdict contains a `%`, so none of them can be written with one.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        if byte == b'%'
            && let Some(decoded) = escaped(rest)
        {
            self.0 = &rest[2..];
            return Some(decoded);
        }
        Some(byte)
    }
}

/// The byte that the two hexadecimal digits after a `%` stand for.
fn escaped(after: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*after.get(index)?).to_digit(16);
    Some((digit(0)? << 4 | digit(1)?) as u8)
}
