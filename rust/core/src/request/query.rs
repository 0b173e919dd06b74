//! The grammar of `GET /api/verve/accept?...`: what a query asks for, or why it is refused.
//!
//! A query is split at `&` alone (`;` is part of a value), a pair at its first `=`. Names and
//! values are percent-decoded once, as bytes; `+` stands for itself. Unknown names are ignored,
//! whatever they hold, and so is an empty `endpoint=`.

use crate::request::endpoint;
use crate::request::id;
use crate::request::rejection::Rejection;
use url::Host;

/// What a valid query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The id to count.
    pub id: i64,
    /// Whether the answer is to say if the id was new, and in which window it was counted.
    pub verdict: bool,
    /// Where to POST the count to: validated, in its normal form.
    pub endpoint: Option<String>,
}

/// Reads the query (without its `?`) of an accept.
///
/// Linear in the length of the query; allocates for an endpoint only. With several faults, those of
/// `id` come first, and a repeated name comes before the faults of its values: the answer does not
/// depend on the order of the pairs.
pub fn parse_accept(query: &[u8]) -> Result<Accept, Rejection> {
    parse_accept_with(query, |_| false)
}

/// As [`parse_accept`]; `opened` says which hosts of the inside an endpoint may have all the same.
#[inline]
pub fn parse_accept_with(
    query: &[u8],
    opened: impl Fn(&Host<&str>) -> bool,
) -> Result<Accept, Rejection> {
    // Nearly every query is a plain `id=7`. Whatever is not is read again below, which also finds
    // the rejection.
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

/// Checks the query of a batch: its ids come in the body, so it must not name `id` or `endpoint`.
pub fn check_batch(query: &[u8]) -> Result<(), Rejection> {
    if pairs(query).any(|(name, _)| matches!(name, Name::Id | Name::Endpoint)) {
        return Err(Rejection::QueryInBatch);
    }
    Ok(())
}

/// A name that means something.
enum Name {
    Id,
    Endpoint,
    Verdict,
}

/// The pairs that mean something, their values still encoded.
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

/// A value that may be given once.
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
    // A stray `%` would else mean the same as `%25`: one endpoint meant, another one taken.
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

/// The percent-decoded bytes of a name or value. A malformed escape stands for itself, and since no
/// name, id or verdict holds a `%`, it makes them something else.
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
