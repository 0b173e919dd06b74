//! The header of a segment, as its file has it.

use verve_core::segment::layout::MAGIC;
use verve_core::segment::stored_header::StoredHeader;

/// Bytes of a header: what is before the words that processes share, filled up to pages.
const LENGTH: usize = size_of::<verve_core::segment::layout::Header>();

/// The target. The bytes stand over those of a header of zeros.
pub fn check(bytes: &[u8]) {
    let mut whole = vec![0; LENGTH];
    let length = bytes.len().min(LENGTH);
    whole[..length].copy_from_slice(&bytes[..length]);
    assert!(StoredHeader::parse(&whole[..LENGTH - 1]).is_none(), "less than a header");
    compare(&whole);
    // With the right first word the rest is read, whatever it is.
    whole[..8].copy_from_slice(b"VERVESEG");
    assert_eq!(MAGIC.to_ne_bytes(), *b"VERVESEG");
    compare(&whole);
}

fn compare(bytes: &[u8]) {
    let Some(header) = StoredHeader::parse(bytes) else {
        assert_ne!(&bytes[..8], b"VERVESEG");
        return;
    };
    assert_eq!(&bytes[..8], b"VERVESEG");
    // The places of the fields, counted by hand in `layout.rs`.
    assert_eq!(header.format, number(&bytes[8..12]) as u32);
    assert_eq!(header.window_seconds, number(&bytes[12..16]) as u32);
    assert_eq!(header.identity, number(&bytes[16..24]));
    assert_eq!(header.arena_bytes, number(&bytes[48..56]));
    assert_eq!(header.cluster, name(&bytes[64..576]));
    assert_eq!(header.state_directory, name(&bytes[576..1088]));
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A length of two bytes, then text; a length that is too large means all of it.
fn name(bytes: &[u8]) -> String {
    let length = number(&bytes[..2]).min(bytes.len() as u64 - 2) as usize;
    String::from_utf8_lossy(&bytes[2..2 + length]).into_owned()
}
