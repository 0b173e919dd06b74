//! The size of a segment, for those who plan one.

use crate::platform;
use crate::segment::attachment::MOST_IDS;
use crate::segment::creation::{FIRST_BUCKETS, first_step};
use crate::segment::layout::{self, ARENAS_AT, FRONT};
use crate::table::{Bucket, SLOTS_PER_BUCKET};
use crate::window::word::buckets_of_step;

/// Bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSize {
    /// Length of the file, most of which has no storage. Each process maps all of it.
    pub file: u64,
    /// The front, which has storage from the start.
    pub front: u64,
    /// The part before the arenas: the front, and the callback cells, which get storage as they are
    /// used.
    pub fixed: u64,
    /// Length of an arena.
    pub arena: u64,
    /// What a window takes of its arena at its begin, after windows like it.
    pub table: u64,
}

/// The size of a segment that is made for `max_ids` ids, when windows have `ids` ids. `None` if
/// there can be no such segment.
#[must_use]
pub fn segment_size(max_ids: u64, ids: u64) -> Option<SegmentSize> {
    if !(1..=MOST_IDS).contains(&max_ids) || ids > max_ids {
        return None;
    }
    let arena = arena_bytes(max_ids);
    let buckets = buckets_of_step(step_after(arena, ids)) as u64;
    let table = (buckets * size_of::<Bucket>() as u64).min(arena);
    Some(SegmentSize { file: layout::length(arena)?, front: FRONT, fixed: ARENAS_AT, arena, table })
}

/// Bytes of an arena whose table must be able to hold `max_ids` ids.
pub(crate) fn arena_bytes(max_ids: u64) -> u64 {
    // 3.5 slots per id: a first extent of up to 2.8 slots per id and another one behind it. Or extents
    // that double from the smallest, of which the last whole one and the rest have at least 1.75.
    let buckets = (max_ids * 7 / 2).div_ceil(8).max(8);
    (buckets * size_of::<Bucket>() as u64).next_multiple_of(platform::page_size())
}

/// The size step of the first extent after windows of `recent` ids: room for twice as many.
pub(crate) fn step_after(arena_bytes: u64, recent: u64) -> u8 {
    let buckets = (2 * recent).div_ceil(SLOTS_PER_BUCKET as u64) as usize;
    first_step(arena_bytes, buckets.max(FIRST_BUCKETS))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn an_arena_has_three_and_a_half_slots_per_id() {
        for ids in [1_000, 999_999, 50_000_000] {
            let slots = arena_bytes(ids) / 8;
            let page = platform::page_size() / 8;
            assert!((ids * 7 / 2..=ids * 7 / 2 + 8 + page).contains(&slots), "{ids}: {slots}");
        }
        assert_eq!(arena_bytes(0), 8 * 64_u64.next_multiple_of(platform::page_size() / 8));
    }
}
