//! Growing: ids move to the next extent while others insert, read and freeze.
#![cfg(loom)]

mod loom_support;

use loom::sync::Arc;

use loom_support::{Arena, Threads, fails_without, holds, race, words};
use verve_core::sync::{Ordering, Site};
use verve_core::table::Insert;

/// A word whose probe begins in the last bucket.
const LAST: u64 = u64::MAX - 1;
/// What a sealer sets first, in the word of extents.
const FROZEN_BIT: u64 = 1 << 63;

/// Each thread inserts its ids in turn into `arena`, which holds `present`: each new one is new once,
/// the others never.
fn insert(first: usize, arena: Arena, present: &[u64], by_thread: &[&'static [u64]]) {
    let arena = Arc::new(arena);
    let threads: Threads<Vec<(u64, Insert)>> = by_thread
        .iter()
        .map(|&mine| {
            let arena = Arc::clone(&arena);
            let insert = move |&word| (word, arena.table().insert(word).expect("room"));
            Box::new(move || mine.iter().map(insert).collect()) as Box<_>
        })
        .collect();
    let outcomes = race(first, threads).concat();

    let mut expected = [present, &by_thread.concat()].concat();
    expected.sort_unstable();
    expected.dedup();
    for &word in &expected {
        let new = outcomes.iter().filter(|&&outcome| outcome == (word, Insert::New)).count();
        assert_eq!(new, usize::from(!present.contains(&word)), "how often {word} was new");
    }
    assert!(outcomes.iter().all(|&(_, insert)| insert != Insert::Frozen));
    assert_eq!(words(&arena.table()), expected, "each id once");
    assert_eq!(arena.table().count(), expected.len() as u64);
    assert_eq!(arena.table().freeze(), expected.len() as u64);
    assert_eq!(words(&arena.table()), expected, "each id once, frozen");
}

fn the_same_id(first: usize) {
    insert(first, Arena::growing(&[1, 2], &[1]), &[1], &[&[7], &[7]]);
}

fn an_id_that_moves(first: usize) {
    insert(first, Arena::growing(&[1, 2], &[1, 2]), &[1, 2], &[&[1, 2], &[2, 1]]);
}

fn ids_of_two_buckets(first: usize) {
    insert(first, Arena::growing(&[2, 4], &[1, LAST]), &[1, LAST], &[&[7, LAST], &[7]]);
}

fn from_a_full_extent(first: usize) {
    insert(first, Arena::new(&[1, 2]), &[], &[&[1, 2, 7], &[7]]);
}

fn through_two_extents(first: usize) {
    let arena = Arena::growing(&[1, 2, 4], &[1, 2]);
    insert(first, arena, &[1, 2], &[&[3, 4, 5], &[5]]);
}

/// The last extent is cut off, and takes over nothing.
fn past_the_arenas_end(first: usize) {
    let arena = Arena::growing(&[1, 2, 3], &[1, 2]);
    insert(first, arena, &[1, 2], &[&[3, 4, 5], &[5]]);
}

/// Somebody took the only bucket to move, and died: his chunk is moved again, by one or by several.
fn after_a_death(first: usize) {
    let arena = Arena::growing(&[1, 2], &[1]);
    arena.header.moved[0].store(1, Ordering::Relaxed);
    insert(first, arena, &[1], &[&[7, 1], &[7]]);
}

/// As before, and maintenance moves it again.
fn maintenance_after_a_death(first: usize) {
    let arena = Arc::new(Arena::growing(&[1, 2], &[1]));
    arena.header.moved[0].store(1, Ordering::Relaxed);
    assert_eq!(arena.table().stalled_extent(), Some(0));
    let (writing, tending) = (Arc::clone(&arena), Arc::clone(&arena));
    let threads: Threads<()> = vec![
        Box::new(move || {
            for (word, wanted) in [(7, Insert::New), (1, Insert::Present), (7, Insert::Present)] {
                assert_eq!(writing.table().insert(word), Ok(wanted));
            }
        }),
        Box::new(move || assert_eq!(tending.table().move_again(0, 0, 9), 1)),
    ];
    race(first, threads);
    assert_eq!(arena.table().extents().oldest(), 1);
    assert_eq!(arena.table().stalled_extent(), None);
    assert_eq!(words(&arena.table()), [1, 7]);
    assert_eq!(arena.table().freeze(), 2);
}

/// As before, while the table is sealed.
fn maintenance_and_a_freeze(first: usize) {
    let arena = Arc::new(Arena::growing(&[1, 2], &[1, 2]));
    arena.header.moved[0].store(1, Ordering::Relaxed);
    let (writing, tending, sealing) = (Arc::clone(&arena), Arc::clone(&arena), Arc::clone(&arena));
    let threads: Threads<u64> = vec![
        Box::new(move || u64::from(writing.table().insert(7) == Ok(Insert::New))),
        Box::new(move || {
            let _ = tending.table().move_again(0, 0, 9);
            0
        }),
        Box::new(move || sealing.table().freeze()),
    ];
    let [new, _, count] = race(first, threads)[..] else { panic!("three threads") };
    assert_eq!(count, 2 + new);
    assert_eq!(words(&arena.table()).len() as u64, count);
    assert_eq!(arena.table().freeze(), count);
}

/// One who looked at the table before it grew, and before it had grown, inserts into it after.
fn an_old_view(first: usize) {
    let arena = Arc::new(Arena::growing(&[1, 2, 4], &[1]));
    let (holding, moving) = (Arc::clone(&arena), Arc::clone(&arena));
    let threads: Threads<bool> = vec![
        Box::new(move || {
            let table = holding.table();
            let mut view = table.view();
            [7, 8].map(|word| view.insert(word) == Ok(Insert::New)) == [true, true]
        }),
        Box::new(move || {
            [9, 1].map(|word| moving.table().insert(word)) == [Ok(Insert::New), Ok(Insert::Present)]
        }),
    ];
    assert_eq!(race(first, threads), [true, true]);
    assert_eq!(words(&arena.table()), [1, 7, 8, 9]);
    assert_eq!(arena.table().freeze(), 4);
}

/// What is there is seen by everyone who looks, wherever it moves.
fn a_reader(first: usize) {
    let arena = Arc::new(Arena::growing(&[1, 2], &[1]));
    let (moving, reading) = (Arc::clone(&arena), Arc::clone(&arena));
    let threads: Threads<bool> = vec![
        Box::new(move || moving.table().insert(7) == Ok(Insert::New)),
        Box::new(move || reading.table().words().is_ok_and(|words| words.contains(&1))),
    ];
    assert_eq!(race(first, threads), [true, true]);
}

/// What `read` finds in a table whose ids move, and how many ids came in, while a sealer is killed, or
/// stopped, right behind his first step.
fn read_behind_a_dead_sealer(first: usize, read: fn(&Arena) -> Vec<u64>) -> (Vec<u64>, u64) {
    let arena = Arc::new(Arena::growing(&[1, 2], &[1]));
    let (moving, sealing, reading) = (Arc::clone(&arena), Arc::clone(&arena), Arc::clone(&arena));
    let threads: Threads<Vec<u64>> = vec![
        Box::new(move || vec![u64::from(moving.table().insert(7) == Ok(Insert::New))]),
        Box::new(move || vec![sealing.header.extents.fetch_or(FROZEN_BIT, Ordering::AcqRel)]),
        Box::new(move || read(&reading)),
    ];
    let mut found = race(first, threads);
    let (read, new) = (found.remove(2), found[0][0]);
    assert_eq!(arena.table().freeze(), 1 + new);
    (read, new)
}

fn a_reader_behind_a_dead_sealer(first: usize) {
    let (mut words, new) =
        read_behind_a_dead_sealer(first, |arena| arena.table().words().expect("room"));
    words.sort_unstable();
    assert!(words == [1] || new == 1 && words == [1, 7], "{words:?}");
}

fn a_count_behind_a_dead_sealer(first: usize) {
    let (count, new) = read_behind_a_dead_sealer(first, |arena| vec![arena.table().count()]);
    assert!(count == [1] || count == [1 + new], "{count:?}");
}

/// A writer who inserts `late` into a table that is growing, and sealers.
fn freeze(first: usize, arena: Arena, present: usize, late: &'static [u64], sealers: usize) {
    let arena = Arc::new(arena);
    let writing = Arc::clone(&arena);
    let mut threads: Threads<u64> = vec![Box::new(move || {
        let insert = |&word: &u64| writing.table().insert(word).expect("room");
        late.iter().filter(|word| insert(word) == Insert::New).count() as u64
    })];
    for _ in 0..sealers {
        let arena = Arc::clone(&arena);
        threads.push(Box::new(move || arena.table().freeze()));
    }
    let counts = race(first, threads);
    let acknowledged = present as u64 + counts[0];
    let counts = &counts[1..];
    assert!(counts.iter().all(|&count| count == acknowledged), "{counts:?}, not {acknowledged}");
    assert_eq!(words(&arena.table()).len() as u64, acknowledged);
    assert_eq!(arena.table().insert(99), Ok(Insert::Frozen));
    assert_eq!(arena.table().freeze(), acknowledged);
}

fn a_sealer(first: usize) {
    freeze(first, Arena::growing(&[1, 2], &[1]), 1, &[7], 1);
}

fn a_sealer_of_a_full_extent(first: usize) {
    freeze(first, Arena::new(&[1, 2]), 0, &[1, 2, 3], 1);
}

fn two_sealers(first: usize) {
    freeze(first, Arena::growing(&[1, 2], &[1]), 1, &[7], 2);
}

fn a_sealer_of_two_buckets(first: usize) {
    freeze(first, Arena::growing(&[2, 4], &[1, LAST]), 2, &[7, 8], 1);
}

#[test]
fn an_id_is_new_once_while_others_move() {
    holds(2, None, the_same_id);
    holds(2, Some(3), an_id_that_moves);
    holds(2, Some(2), ids_of_two_buckets);
    holds(2, Some(2), from_a_full_extent);
    holds(2, Some(2), through_two_extents);
    holds(2, Some(1), past_the_arenas_end);
    holds(2, Some(3), an_old_view);
}

#[test]
fn what_a_dead_process_was_to_move_is_looked_for_where_it_stands() {
    holds(2, None, after_a_death);
    holds(2, None, maintenance_after_a_death);
    holds(3, Some(2), maintenance_and_a_freeze);
}

#[test]
fn a_reader_sees_what_was_there() {
    holds(2, None, a_reader);
}

#[test]
fn a_reader_sees_each_id_once_while_the_table_is_sealed() {
    holds(3, Some(2), a_reader_behind_a_dead_sealer);
    holds(3, Some(1), a_count_behind_a_dead_sealer);
}

#[test]
fn sealers_count_each_id_once_while_it_moves() {
    holds(2, Some(3), a_sealer);
    holds(2, Some(2), a_sealer_of_a_full_extent);
    holds(2, Some(2), a_sealer_of_two_buckets);
    holds(3, Some(2), two_sealers);
}

#[test]
fn a_bucket_must_be_closed_before_its_ids_are_copied() {
    fails_without(Site::CloseBeforeCopy, 2, None, the_same_id);
}

#[test]
fn an_extent_must_be_left_behind_the_copies() {
    fails_without(Site::LeaveExtent, 2, None, a_reader);
}

#[test]
fn a_freeze_must_be_finished_before_ids_are_read() {
    fails_without(Site::FreezeBeforeRead, 3, Some(2), a_reader_behind_a_dead_sealer);
}
