//! A table that is stopped at each stage of growing and freezing, against a set: each id is new
//! once, is found, visited and counted once.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use verve_core::table::freezing::Freezing;
use verve_core::table::{ArenaHeader, Bucket, Insert, SLOTS_PER_BUCKET, Shortage, Storage, Table};

/// Buckets that are moved together.
const CHUNK: u64 = 16;

/// Extents that double, up to a number of buckets for all of them.
struct Extents(Vec<Vec<Bucket>>);

impl Extents {
    fn new(first: usize, mut left: usize) -> Self {
        let mut extents = Vec::new();
        while left > 0 {
            let length = left.min(first << extents.len());
            extents.push((0..length).map(|_| Bucket::default()).collect());
            left -= length;
        }
        Self(extents)
    }
}

impl Storage for &Extents {
    fn extent(&self, _first: usize, index: usize) -> &[Bucket] {
        &self.0[index]
    }

    fn reserve(&self, _first: usize, index: usize) -> Result<(), Shortage> {
        if index < self.0.len() { Ok(()) } else { Err(Shortage::Full) }
    }
}

/// Different words that look random (the finalizer of `SplitMix64`).
fn word(number: u64) -> u64 {
    let mut word = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

fn holds(table: &Table<'_, &Extents>, set: &HashSet<u64>) {
    assert_eq!(table.count(), set.len() as u64);
    let words = table.words().expect("memory");
    assert_eq!(words.len(), set.len());
    assert_eq!(&words.into_iter().collect::<HashSet<_>>(), set);
}

/// Freezes the table in steps of `most` buckets, and looks at it once more.
fn freeze(table: &Table<'_, &Extents>, set: &HashSet<u64>, most: usize) {
    let (mut freezing, mut before) = (Freezing::default(), Freezing::default());
    assert!(!freezing.is_beyond(&before));
    let count = loop {
        let mut left = most;
        if let Some(count) = table.freeze_some(&mut freezing, &mut left) {
            break count;
        }
        assert_eq!(left, 0, "it ends early only when all is done");
        assert!(freezing.is_beyond(&before) && !before.is_beyond(&freezing));
        // Another one begins where this one is.
        before = Freezing::default();
        let mut steps = most;
        assert_eq!(table.freeze_some(&mut before, &mut steps), None);
        assert!(most > 1 || !before.is_beyond(&freezing));
        before = freezing;
    };
    assert_eq!(count, set.len() as u64);
    assert!(table.extents().are_frozen());
    assert_eq!(table.freeze(), count);
    holds(table, set);
    for &word in set.iter().take(50) {
        assert_eq!(table.insert(word), Ok(Insert::Present));
    }
    assert_eq!(table.insert(word(1 << 40)), Ok(Insert::Frozen));
    for special in [0, u64::MAX] {
        let there = if set.contains(&special) { Insert::Present } else { Insert::Frozen };
        assert_eq!(table.insert(special), Ok(there));
    }
    // In pieces, too, each is visited once.
    let (mut position, mut visited) = (Some(0), Vec::new());
    while let Some(at) = position {
        let before = visited.len();
        position = table.visit_from(at, 3, |word| visited.push(word));
        assert!(visited.len() - before < 3 + SLOTS_PER_BUCKET, "a piece ends with its bucket");
    }
    assert_eq!(visited.len(), set.len());
    assert_eq!(&visited.into_iter().collect::<HashSet<_>>(), set);
}

/// Inserts ids until `is_enough` of the table's extents says so, or it is full.
fn fill(
    table: &Table<'_, &Extents>,
    set: &mut HashSet<u64>,
    mut is_enough: impl FnMut(&HashSet<u64>) -> bool,
) {
    let mut number = set.len() as u64;
    while !is_enough(set) {
        match table.insert(word(number)) {
            Ok(insert) => assert_eq!(insert, Insert::New),
            Err(shortage) => return assert_eq!(shortage, Shortage::Full),
        }
        assert_eq!(table.insert(word(number)), Ok(Insert::Present));
        set.insert(word(number));
        number += 1;
    }
}

/// Looks for all ids by inserting them again, which moves some on.
fn finds(table: &Table<'_, &Extents>, set: &HashSet<u64>) {
    for &word in set {
        assert_eq!(table.insert(word), Ok(Insert::Present));
    }
}

#[test]
fn it_grows_and_is_frozen_at_any_size() {
    let mut growing = 0;
    for (size, most) in (1..4_000).step_by(61).zip([1, 2, 7, 100, usize::MAX].iter().cycle()) {
        let (header, extents) = (ArenaHeader::default(), Extents::new(64, 4_000));
        let table = Table::new(&header, &extents, 64);
        let mut set = HashSet::new();
        // The two words that cannot stand in a slot.
        let specials: &[u64] = [&[0][..], &[], &[u64::MAX], &[0, u64::MAX]][size % 4];
        for &special in specials {
            assert_eq!(table.insert(special), Ok(Insert::New));
            assert_eq!(table.insert(special), Ok(Insert::Present));
            set.insert(special);
        }
        let is_moving = || table.extents().oldest() != table.extents().newest();
        // One in three is frozen while its ids move.
        fill(&table, &mut set, |set| set.len() >= size && (size % 3 > 0 || is_moving()));
        holds(&table, &set);
        assert_eq!(table.stalled_extent(), None);
        growing += usize::from(is_moving());
        if size % 5 == 0 {
            finds(&table, &set);
        }
        freeze(&table, &set, *most);
    }
    assert!(growing > 10);
}

#[test]
fn its_ids_move_while_others_come() {
    let (header, extents) = (ArenaHeader::default(), Extents::new(64, 1 << 12));
    let table = Table::new(&header, &extents, 64);
    let mut set = HashSet::new();
    let mut stages = HashSet::new();
    fill(&table, &mut set, |set| {
        let now = table.extents();
        if stages.insert((now.oldest(), now.newest())) {
            holds(&table, set);
        }
        set.len() >= 10_000
    });
    for oldest in 0..4 {
        assert!(stages.contains(&(oldest, oldest)), "{stages:?}");
        assert!(stages.contains(&(oldest, oldest + 1)), "{stages:?}");
    }
    freeze(&table, &set, 5);
}

/// The end of the arena cuts the last extent off, which takes over nothing.
#[test]
fn it_is_filled_to_the_end() {
    let (header, extents) = (ArenaHeader::default(), Extents::new(16, 16 + 32 + 20));
    let table = Table::new(&header, &extents, 16);
    let mut set = HashSet::new();
    fill(&table, &mut set, |_| false);
    finds(&table, &set);
    assert!(set.len() > (32 + 20) * SLOTS_PER_BUCKET / 2);
    assert_eq!((table.extents().oldest(), table.extents().newest()), (1, 2));
    assert_eq!(table.stalled_extent(), None);
    holds(&table, &set);
    freeze(&table, &set, 4);
}

/// A table whose ids are about to move, of which a thread took all chunks, and died.
fn stalled(test: impl FnOnce(&Table<'_, &Extents>, HashSet<u64>, usize)) {
    let first = 5 * CHUNK as usize + 3;
    let (header, extents) = (ArenaHeader::default(), Extents::new(first, 7 * first));
    let table = Table::new(&header, &extents, first);
    let mut set = HashSet::new();
    fill(&table, &mut set, |_| table.extents().newest() == 1);
    assert!(set.len() > first * SLOTS_PER_BUCKET / 2, "probes find the room that is there");
    let chunks = 6;
    for taken in 0..chunks {
        header.moved[0].store(taken, Ordering::Relaxed);
        assert_eq!(table.stalled_extent(), None, "{taken} of {chunks} are taken");
    }
    header.moved[0].store(chunks, Ordering::Relaxed);
    assert_eq!(table.stalled_extent(), Some(0));
    holds(&table, &set);
    test(&table, set, chunks as usize);
}

#[test]
fn what_a_dead_thread_took_is_moved_again() {
    stalled(|table, mut set, chunks| {
        let more = set.len() + 50;
        fill(table, &mut set, |set| set.len() >= more);
        finds(table, &set);
        assert_eq!(table.extents().oldest(), 0);
        holds(table, &set);
        assert_eq!(table.move_again(0, 0, 4), 4);
        assert_eq!(table.extents().oldest(), 0);
        holds(table, &set);
        assert_eq!(table.move_again(0, 4, 4), chunks);
        assert_eq!(table.extents().oldest(), 1);
        assert_eq!(table.stalled_extent(), None);
        holds(table, &set);
        finds(table, &set);
        // Late, and once more: nothing changes.
        assert_eq!(table.move_again(0, chunks, 4), chunks);
        assert_eq!(table.move_again(0, 0, usize::MAX), chunks);
        assert_eq!(table.extents().oldest(), 1);
        holds(table, &set);
        freeze(table, &set, 3);
        assert_eq!(table.move_again(1, 0, 4), 0, "a frozen table is left as it is");
    });
}

#[test]
fn what_was_not_moved_counts_in_a_frozen_table() {
    stalled(|table, mut set, _| {
        let more = set.len() + 50;
        fill(table, &mut set, |set| set.len() >= more);
        assert_eq!(table.move_again(0, 0, 2), 2);
        freeze(table, &set, 1);
        assert_eq!(table.extents().oldest(), 0);
    });
}
