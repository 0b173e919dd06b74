//! The bodies of batches: examples, and random bodies against naive readings of them.

use proptest::prelude::*;
use verve_core::request::batch::{BatchError, BatchFormat, parse};
use verve_core::request::rejection::Rejection;

fn refused(position: usize, reason: Rejection) -> Result<Vec<i64>, BatchError> {
    Err(BatchError { position, reason })
}

#[test]
fn binary_is_int64s_and_nothing_more() {
    assert_eq!(parse(BatchFormat::Binary, b""), Ok(vec![]));
    let ids = vec![0, -1, i64::MIN, i64::MAX, 7];
    let mut body: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    assert_eq!(parse(BatchFormat::Binary, &body), Ok(ids));
    for _ in 0..7 {
        body.push(0);
        assert_eq!(parse(BatchFormat::Binary, &body), refused(5, Rejection::BodyInvalid));
    }
    assert_eq!(parse(BatchFormat::Binary, b"7"), refused(0, Rejection::BodyInvalid));
}

#[test]
fn text_is_an_id_a_line() {
    for (body, ids) in [
        ("", vec![]),
        ("7", vec![7]),
        ("7\n", vec![7]),
        ("7\r\n", vec![7]),
        ("7\n8\r\n-9", vec![7, 8, -9]),
        ("007\n-0\n", vec![7, 0]),
    ] {
        assert_eq!(parse(BatchFormat::Text, body.as_bytes()), Ok(ids), "{body:?}");
    }
    for (body, position, reason) in [
        ("\n", 0, Rejection::IdInvalid),
        ("\r\n", 0, Rejection::IdInvalid),
        ("7\n\n", 1, Rejection::IdInvalid),
        ("7\n\n8", 1, Rejection::IdInvalid),
        ("7\n8\r", 1, Rejection::IdInvalid),
        ("7\r8", 0, Rejection::IdInvalid),
        ("7\r\r\n", 0, Rejection::IdInvalid),
        ("7\n 8", 1, Rejection::IdInvalid),
        ("7,8", 0, Rejection::IdInvalid),
        ("\u{feff}7", 0, Rejection::IdInvalid),
        ("7\n%38", 1, Rejection::IdInvalid),
        ("7\n9223372036854775808\nx", 1, Rejection::IdOutOfRange),
    ] {
        assert_eq!(
            parse(BatchFormat::Text, body.as_bytes()),
            refused(position, reason),
            "{body:?}"
        );
    }
}

#[test]
fn json_is_an_array_of_integers() {
    for (body, ids) in [
        ("[]", vec![]),
        (" \t\r\n[ \t\r\n] \t\r\n", vec![]),
        ("[7]", vec![7]),
        ("[ 7 , -8\n,\t0 , -0 ]\n", vec![7, -8, 0, 0]),
        ("[9223372036854775807,-9223372036854775808]", vec![i64::MAX, i64::MIN]),
        ("[7.0,-7.00,0.0,-0.0,7e0,70e-1,1E+2,1.50e1]", vec![7, -7, 0, 0, 7, 7, 100, 15]),
        ("[0e999999999999999999999,0.0e-9]", vec![0, 0]),
        ("[9223372036854775807.0,-9.223372036854775808e18]", vec![i64::MAX, i64::MIN]),
        ("[9007199254740993.0,90071992547409930e-1]", vec![9_007_199_254_740_993; 2]),
    ] {
        assert_eq!(parse(BatchFormat::Json, body.as_bytes()), Ok(ids), "{body:?}");
    }
    for (body, position, reason) in [
        ("", 0, Rejection::BodyInvalid),
        (" ", 0, Rejection::BodyInvalid),
        ("7", 0, Rejection::BodyInvalid),
        ("null", 0, Rejection::BodyInvalid),
        ("{\"ids\":[7]}", 0, Rejection::BodyInvalid),
        ("\u{feff}[7]", 0, Rejection::BodyInvalid),
        ("[7", 1, Rejection::BodyInvalid),
        ("[7,8]]", 2, Rejection::BodyInvalid),
        ("[7 8]", 1, Rejection::BodyInvalid),
        ("[]7", 0, Rejection::BodyInvalid),
        ("[7]\0", 1, Rejection::BodyInvalid),
        ("[", 0, Rejection::IdInvalid),
        ("[,7]", 0, Rejection::IdInvalid),
        ("[7,]", 1, Rejection::IdInvalid),
        ("[7,,8]", 1, Rejection::IdInvalid),
        ("[7,", 1, Rejection::IdInvalid),
        ("[7,08]", 1, Rejection::IdInvalid),
        ("[-00]", 0, Rejection::IdInvalid),
        ("[-]", 0, Rejection::IdInvalid),
        ("[- 7]", 0, Rejection::IdInvalid),
        ("[+7]", 0, Rejection::IdInvalid),
        ("[7.5]", 0, Rejection::IdInvalid),
        ("[7,1e-3]", 1, Rejection::IdInvalid),
        ("[7,1e-99999999999999999999]", 1, Rejection::IdInvalid),
        ("[7.]", 0, Rejection::IdInvalid),
        ("[.7]", 0, Rejection::IdInvalid),
        ("[-.0]", 0, Rejection::IdInvalid),
        ("[7.0.0]", 0, Rejection::IdInvalid),
        ("[7e]", 0, Rejection::IdInvalid),
        ("[7e+]", 0, Rejection::IdInvalid),
        ("[7e+-1]", 0, Rejection::IdInvalid),
        ("[7e1.0]", 0, Rejection::IdInvalid),
        ("[7e1x]", 0, Rejection::IdInvalid),
        ("[00.0]", 0, Rejection::IdInvalid),
        ("[+7.0]", 0, Rejection::IdInvalid),
        ("[9223372036854775808.0]", 0, Rejection::IdOutOfRange),
        ("[7,-1e19]", 1, Rejection::IdOutOfRange),
        ("[7,1e99999999999999999999]", 1, Rejection::IdOutOfRange),
        ("[\"7\"]", 0, Rejection::IdInvalid),
        ("[7,[8]]", 1, Rejection::IdInvalid),
        ("[null]", 0, Rejection::IdInvalid),
        ("[7,true]", 1, Rejection::IdInvalid),
        ("[NaN]", 0, Rejection::IdInvalid),
        ("[7,\u{c}8]", 1, Rejection::IdInvalid),
        ("[٧]", 0, Rejection::IdInvalid),
        ("[7,9223372036854775808]", 1, Rejection::IdOutOfRange),
    ] {
        assert_eq!(
            parse(BatchFormat::Json, body.as_bytes()),
            refused(position, reason),
            "{body:?}"
        );
    }
}

#[test]
fn large_hostile_bodies_are_read_in_one_pass() {
    let size = 8 << 20;
    let zeros = "0".repeat(size);
    assert_eq!(parse(BatchFormat::Text, zeros.as_bytes()), Ok(vec![0]));
    assert_eq!(
        parse(BatchFormat::Json, format!("[{zeros}]").as_bytes()),
        refused(0, Rejection::IdInvalid)
    );
    assert_eq!(
        parse(BatchFormat::Json, "[".repeat(size).as_bytes()),
        refused(0, Rejection::IdInvalid)
    );
    assert_eq!(
        parse(BatchFormat::Json, " ".repeat(size).as_bytes()),
        refused(0, Rejection::BodyInvalid)
    );
    assert_eq!(
        parse(BatchFormat::Json, format!("[7{}", " ".repeat(size)).as_bytes()),
        refused(1, Rejection::BodyInvalid)
    );
    assert_eq!(
        parse(BatchFormat::Text, "\n".repeat(size).as_bytes()),
        refused(0, Rejection::IdInvalid)
    );
}

#[test]
fn an_error_names_the_position() {
    let error = parse(BatchFormat::Json, b"[7,x]").unwrap_err();
    assert_eq!(error.to_string(), "id invalid at position `1`");
}

/// Items of an array that are no ids, and why.
fn bad_items() -> impl Strategy<Value = (String, Rejection)> {
    prop_oneof![
        4 => "[^]\\[, \t\r\n0-9-]{1,3}|0[0-9]+|-|[1-9][.][1-9]|[1-9][eE]-[0-9]{0,2}[1-9]|[1-9][.eE]|"
            .prop_map(|bad| (bad, Rejection::IdInvalid)),
        1 => "-?[1-9][0-9]{19,30}".prop_map(|bad| (bad, Rejection::IdOutOfRange)),
    ]
}

/// Any byte, but more often one that means something in a body.
fn bytes() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), prop::sample::select(b"[],-0123456789 \r\n".to_vec())]
}

proptest! {
    #[test]
    fn ids_come_back_from_every_form(
        ids in prop::collection::vec(any::<i64>(), 0..50),
        gap in "[ \t\r\n]{0,3}",
    ) {
        let binary: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let lines: Vec<String> = ids.iter().map(|id| format!("{id}\n")).collect();
        let numbers: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let array = format!("{gap}[{gap}{}{gap}]{gap}", numbers.join(&format!("{gap},{gap}")));
        prop_assert_eq!(parse(BatchFormat::Binary, &binary), Ok(ids.clone()));
        prop_assert_eq!(parse(BatchFormat::Text, lines.concat().as_bytes()), Ok(ids.clone()));
        prop_assert_eq!(parse(BatchFormat::Json, array.as_bytes()), Ok(ids));
    }

    #[test]
    fn a_number_is_read_however_it_is_written(id in any::<i64>(), shift in 0_usize..40, zeros in 0_usize..5) {
        let sign = if id < 0 { "-" } else { "" };
        let digits = id.unsigned_abs().to_string();
        let more = "0".repeat(zeros);
        // As 0.000<digits>e<n>, <digits>.000 and <digits>000e-3.
        let point = format!("{}{digits}", "0".repeat(shift));
        for item in [
            format!("{sign}0.{point}{more}e{}", point.len()),
            format!("{sign}{digits}.0{more}"),
            format!("{sign}{digits}{more}E-{zeros}"),
        ] {
            prop_assert_eq!(parse(BatchFormat::Json, format!("[{item}]").as_bytes()), Ok(vec![id]), "{}", item);
        }
    }

    #[test]
    fn the_first_bad_line_is_named(
        lines in prop::collection::vec("-?[0-9]{1,20}|[-0-9 x\r]{0,4}", 1..20),
    ) {
        let body: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
        let lines = lines.iter().map(|line| line.strip_suffix('\r').unwrap_or(line));
        let read = |line: &str| {
            let digits = line.strip_prefix('-').unwrap_or(line);
            let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if !valid {
                return Err(Rejection::IdInvalid);
            }
            line.parse().map_err(|_| Rejection::IdOutOfRange)
        };
        let expected: Result<Vec<i64>, _> = lines
            .enumerate()
            .map(|(position, line)| read(line).map_err(|reason| BatchError { position, reason }))
            .collect();
        prop_assert_eq!(parse(BatchFormat::Text, body.concat().as_bytes()), expected);
    }

    #[test]
    fn one_bad_item_is_named(
        ids in prop::collection::vec(any::<i64>(), 2..20),
        at in any::<prop::sample::Index>(),
        (bad, reason) in bad_items(),
    ) {
        let position = at.index(ids.len());
        let mut items: Vec<String> = ids.iter().map(ToString::to_string).collect();
        items[position].clone_from(&bad);
        let array = format!("[{}]", items.join(","));
        prop_assert_eq!(parse(BatchFormat::Json, array.as_bytes()), refused(position, reason));
    }

    #[test]
    fn nothing_panics(body in prop::collection::vec(bytes(), 0..60)) {
        for format in [BatchFormat::Binary, BatchFormat::Json, BatchFormat::Text] {
            let _ = parse(format, &body);
        }
    }
}
