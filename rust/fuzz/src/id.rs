//! A naive reader of ids: `-?[0-9]+`, an int64.

use verve_core::Rejection;

/// Reads an id by comparing digits as text.
pub fn read(text: &[u8]) -> Result<i64, Rejection> {
    let (sign, digits) = match text.strip_prefix(b"-") {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Rejection::IdInvalid);
    }
    let digits = String::from_utf8_lossy(digits);
    let significant = digits.trim_start_matches('0');
    if significant.len() > 19 {
        return Err(Rejection::IdOutOfRange);
    }
    let value: i128 = format!("{sign}0{significant}").parse().expect("at most 20 digits");
    i64::try_from(value).map_err(|_| Rejection::IdOutOfRange)
}
