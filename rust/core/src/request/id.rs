//! The grammar of an id in text: `-?[0-9]+`, an int64.

use crate::request::rejection::Rejection;

/// Reads an id: ASCII digits after at most one `-`, with any number of leading zeros, within int64.
///
/// Takes the bytes from an iterator, so that percent-decoding needs no buffer, in one pass without
/// allocating. Distinguishes a number of any length that is out of range from text that is no number.
#[inline]
pub(crate) fn parse(bytes: impl IntoIterator<Item = u8>) -> Result<i64, Rejection> {
    let mut bytes = bytes.into_iter();
    let mut next = bytes.next();
    let negative = next == Some(b'-');
    if negative {
        next = bytes.next();
    }
    if next.is_none() {
        return Err(Rejection::IdInvalid);
    }
    // Saturation keeps a number that is out of range there, however many digits follow.
    let mut magnitude = 0_u64;
    while let Some(byte) = next {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Rejection::IdInvalid);
        }
        magnitude = magnitude.saturating_mul(10).saturating_add(digit.into());
        next = bytes.next();
    }
    let signed = if negative {
        0_i64.checked_sub_unsigned(magnitude)
    } else {
        0_i64.checked_add_unsigned(magnitude)
    };
    signed.ok_or(Rejection::IdOutOfRange)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::request::rejection::Rejection;

    fn read(text: &str) -> Result<i64, Rejection> {
        parse(text.bytes())
    }

    #[test]
    fn integers_are_read() {
        assert_eq!(read("0"), Ok(0));
        assert_eq!(read("-0"), Ok(0));
        assert_eq!(read("007"), Ok(7));
        assert_eq!(read("-007"), Ok(-7));
        assert_eq!(read("9223372036854775807"), Ok(i64::MAX));
        assert_eq!(read("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(read(&format!("{}7", "0".repeat(10_000))), Ok(7));
    }

    #[test]
    fn numbers_out_of_range_are_told_from_other_text() {
        let digits = "9".repeat(400);
        for text in [
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            &digits,
            &format!("-{digits}"),
        ] {
            assert_eq!(read(text), Err(Rejection::IdOutOfRange), "{text}");
        }
        for text in [
            "",
            "-",
            "--7",
            "+7",
            " 7",
            "7 ",
            "7.0",
            "7e3",
            ":",
            "/",
            "0x7",
            "1_000",
            "7-",
            "٧",
            "７",
            "7\0",
            &format!("{digits}x"),
        ] {
            assert_eq!(read(text), Err(Rejection::IdInvalid), "{text}");
        }
    }
}
