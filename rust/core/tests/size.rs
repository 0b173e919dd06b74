//! The size that is told before a segment is made is the size of the segment.

use verve_core::{Clock, Counter, SegmentConfig, segment_size};

#[test]
fn the_file_has_the_length_that_was_told() {
    let folder = std::env::temp_dir().join(format!("verve-size-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for max_ids in [1, 4_097, 1_000_000, 123_456_789] {
        let path = folder.join(max_ids.to_string());
        let config = SegmentConfig { max_ids, ..SegmentConfig::default() };
        let counter = Counter::open(&path, &config, Clock::System).unwrap();
        let told = segment_size(max_ids, max_ids).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), told.file);
        assert_eq!(told.file, told.fixed + 16 * told.arena);
        assert!(told.table <= told.arena);
        drop(counter);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_table_has_two_to_two_and_a_half_slots_per_id() {
    for ids in [100_000, 1_000_000, 77_777_777] {
        let told = segment_size(2 * ids, ids).unwrap();
        assert!((16 * ids..=20 * ids + 64).contains(&told.table), "{ids}: {told:?}");
    }
}

#[test]
fn what_no_segment_holds_has_no_size() {
    assert_eq!(segment_size(0, 0), None);
    assert_eq!(segment_size(u64::MAX, 1), None);
    assert_eq!(segment_size(10, 11), None);
}
