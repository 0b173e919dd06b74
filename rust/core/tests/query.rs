//! The grammar of accept queries: examples, and random queries against a naive reading of them.

use proptest::prelude::*;
use verve_core::request::query::{Accept, check_batch, parse_accept};
use verve_core::request::rejection::Rejection;

fn plain(id: i64) -> Accept {
    Accept { id, verdict: false, endpoint: None }
}

#[test]
fn ids_are_compared_as_integers() {
    for (query, id) in [
        ("id=7", 7),
        ("id=007", 7),
        ("id=-0", 0),
        ("id=-7", -7),
        ("id=9223372036854775807", i64::MAX),
        ("id=-9223372036854775808", i64::MIN),
        ("id=%37", 7),
        ("%69%64=%2D%37", -7),
        ("&id=7&", 7),
        ("x&=&id=7&&y=%zz&%zz", 7),
        ("ID=8&id=7", 7),
        ("id=7&endpoint=", 7),
        ("id=7&endpoint=&endpoint", 7),
        ("id=7&verdict=0&verdict=&verdict=01&verdict=1%00", 7),
    ] {
        assert_eq!(parse_accept(query.as_bytes()), Ok(plain(id)), "{query}");
    }
}

#[test]
fn a_verdict_is_asked_for_by_1() {
    for query in [
        "id=7&verdict=1",
        "verdict=1&id=7",
        "id=7&verdict=%31",
        "id=7&verdict=1&verdict=1",
        "id=7&verdict=0&verdict=1",
        "id=7&verdict=1&verdict=0",
    ] {
        assert_eq!(
            parse_accept(query.as_bytes()),
            Ok(Accept { id: 7, verdict: true, endpoint: None }),
            "{query}"
        );
    }
}

#[test]
fn an_endpoint_is_decoded_once_and_normalised() {
    for (query, endpoint) in [
        ("id=7&endpoint=https%3A%2F%2Fx.example%2Fhook", "https://x.example/hook"),
        ("endpoint=https://x.example/hook?a=b&id=7", "https://x.example/hook?a=b"),
        ("id=7&endpoint=http://x.example/a+b%2520c", "http://x.example/a+b%20c"),
        ("id=7&endpoint=&endpoint=http://x.example/;id=8", "http://x.example/;id=8"),
    ] {
        let expected = Accept { id: 7, verdict: false, endpoint: Some(endpoint.into()) };
        assert_eq!(parse_accept(query.as_bytes()), Ok(expected), "{query}");
    }
}

#[test]
fn rejections_are_named() {
    let digits = "9".repeat(400);
    for (query, rejection) in [
        ("", Rejection::IdMissing),
        ("verdict=1", Rejection::IdMissing),
        ("?id=7", Rejection::IdMissing),
        ("ID=7", Rejection::IdMissing),
        ("id%=7", Rejection::IdMissing),
        ("id[]=7", Rejection::IdMissing),
        ("x=1;id=7", Rejection::IdMissing),
        ("id%3D7", Rejection::IdMissing),
        ("id", Rejection::IdInvalid),
        ("id=", Rejection::IdInvalid),
        ("id=+7", Rejection::IdInvalid),
        ("id=%2B7", Rejection::IdInvalid),
        ("id=7+", Rejection::IdInvalid),
        ("id=7;", Rejection::IdInvalid),
        ("id=7;id=8", Rejection::IdInvalid),
        ("id=7=", Rejection::IdInvalid),
        ("id=7%", Rejection::IdInvalid),
        ("id=7%3", Rejection::IdInvalid),
        ("id=%zz", Rejection::IdInvalid),
        ("id=%2537", Rejection::IdInvalid),
        ("id=7%00", Rejection::IdInvalid),
        ("id=%D9%A7", Rejection::IdInvalid),
        ("id=9223372036854775808", Rejection::IdOutOfRange),
        (&format!("id={digits}"), Rejection::IdOutOfRange),
        (&format!("id=-{digits}&x"), Rejection::IdOutOfRange),
        ("id=7&id=7", Rejection::IdRepeated),
        ("id&id=7", Rejection::IdRepeated),
        ("id=x&%69d=7&endpoint=x", Rejection::IdRepeated),
        ("endpoint=x", Rejection::IdMissing),
        ("id=x&endpoint=x", Rejection::IdInvalid),
        ("id=7&endpoint=x&endpoint=y", Rejection::EndpointRepeated),
        ("id=7&endpoint=x", Rejection::EndpointInvalid),
        ("id=7&endpoint=http://x.example;verdict=1", Rejection::EndpointInvalid),
        ("id=7&endpoint=http://x.example/%", Rejection::EndpointInvalid),
        ("id=7&endpoint=http://x.example/%a", Rejection::EndpointInvalid),
        ("id=7&endpoint=http://x.example/%%41", Rejection::EndpointInvalid),
        ("id=7&endpoint=http://x.example/%ff", Rejection::EndpointInvalid),
        ("id=7&endpoint=http://x.example/%00", Rejection::EndpointInvalid),
        ("id=7&endpoint=https%253A%252F%252Fx.example", Rejection::EndpointInvalid),
        ("id=7&endpoint=http://127.0.0.1/", Rejection::EndpointAddress),
        ("id=7&endpoint=http://u@x.example/", Rejection::EndpointUserinfo),
        ("id=7&endpoint=http://x.example:25/", Rejection::EndpointPort),
        (
            &format!(
                "id=7&endpoint=http://x.example/{digits}{digits}{digits}{digits}{digits}{digits}"
            ),
            Rejection::EndpointTooLong,
        ),
    ] {
        assert_eq!(parse_accept(query.as_bytes()), Err(rejection), "{query}");
    }
}

#[test]
fn a_batch_names_neither_id_nor_endpoint() {
    for query in ["", "x=1", "verdict=1", "endpoint=", "ID=7", "x=1;id=7"] {
        assert_eq!(check_batch(query.as_bytes()), Ok(()), "{query}");
    }
    for query in ["id=7", "id", "x&%69d=", "endpoint=x", "endpoint=https://x.example/"] {
        assert_eq!(check_batch(query.as_bytes()), Err(Rejection::QueryInBatch), "{query}");
    }
}

/// Percent-decoding by a buffer and indexes.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut index = 0;
    while index < text.len() {
        let code = text.get(index + 1..index + 3).and_then(|code| std::str::from_utf8(code).ok());
        // `from_str_radix` takes a sign, an escape does not.
        let code = code
            .filter(|code| !code.starts_with('+'))
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            Some(code) if text[index] == b'%' => {
                decoded.push(code);
                index += 3;
            }
            _ => {
                decoded.push(text[index]);
                index += 1;
            }
        }
    }
    decoded
}

/// The grammar of an id over big text: digits first, then the range by the standard library on what
/// leading zeros leave.
fn read_id(text: &[u8]) -> Result<i64, Rejection> {
    let text = std::str::from_utf8(text).map_err(|_| Rejection::IdInvalid)?;
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    if digits.is_empty() || !digits.chars().all(|char| char.is_ascii_digit()) {
        return Err(Rejection::IdInvalid);
    }
    format!("{sign}0{}", digits.trim_start_matches('0'))
        .parse()
        .map_err(|_| Rejection::IdOutOfRange)
}

/// The grammar without endpoints, read by splitting and collecting.
fn model(query: &[u8]) -> Result<(i64, bool), Rejection> {
    let pairs: Vec<_> = query
        .split(|&byte| byte == b'&')
        .map(|pair| pair.splitn(2, |&byte| byte == b'=').map(decode).collect::<Vec<_>>())
        .collect();
    let values = |name: &[u8]| -> Vec<Vec<u8>> {
        pairs
            .iter()
            .filter(|pair| pair[0] == name)
            .map(|pair| pair.get(1).cloned().unwrap_or_default())
            .collect()
    };
    let id = match values(b"id").as_slice() {
        [] => Err(Rejection::IdMissing),
        [id] => read_id(id),
        _ => Err(Rejection::IdRepeated),
    }?;
    Ok((id, values(b"verdict").iter().any(|value| value == b"1")))
}

/// Queries of pieces that mean something, glued so that most come out nearly right.
fn queries() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just("id=".to_string()),
        2 => Just("verdict=".to_string()),
        1 => Just("%69d=".to_string()),
        4 => Just("&".to_string()),
        1 => "[-+]{0,2}[0-9]{0,21}",
        2 => any::<i64>().prop_map(|id| id.to_string()),
        1 => any::<i128>().prop_map(|id| id.to_string()),
        1 => any::<u8>().prop_map(|byte| format!("%{byte:02X}")),
        1 => "%3[0-9]|%2[dD]|%[0-9a-zA-Z]{0,2}",
        1 => "[=&;+% ?#1]",
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn queries_are_read_as_the_model_reads_them(query in queries()) {
        let read = parse_accept(&query).map(|accept| (accept.id, accept.verdict));
        prop_assert_eq!(read, model(&query));
    }

    #[test]
    fn bytes_are_read_as_the_model_reads_them(
        query in prop::collection::vec(any::<u8>(), 0..40),
        id in any::<i64>(),
    ) {
        let query = [format!("id={id}&").as_bytes(), &query].concat();
        let read = parse_accept(&query).map(|accept| (accept.id, accept.verdict));
        prop_assert_eq!(read, model(&query));
    }

    #[test]
    fn every_int64_is_an_id(id in any::<i64>(), zeros in 0..40_usize) {
        let sign = if id < 0 { "-" } else { "" };
        let query = format!("id={sign}{}{}", "0".repeat(zeros), id.unsigned_abs());
        prop_assert_eq!(parse_accept(query.as_bytes()), Ok(plain(id)));
    }

    #[test]
    fn no_other_integer_is(id in any::<i128>()) {
        let expected = i64::try_from(id).map(plain).map_err(|_| Rejection::IdOutOfRange);
        prop_assert_eq!(parse_accept(format!("id={id}").as_bytes()), expected);
    }
}
