//! The table against `HashSet`: whatever ids come, one at a time or in batches, each window has each
//! of them once.

mod support;

use std::collections::HashSet;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use proptest::prelude::*;
use support::{EPOCH, Path, SECOND, in_memory, sorted};
use verve_core::table::mix::Mix;
use verve_core::{Counter, ManualClock};

#[derive(Clone, Debug)]
enum Action {
    One(i64),
    Many(Vec<i64>),
    NextWindow,
}

fn ids(length: usize) -> impl Strategy<Value = Vec<i64>> {
    let range = (any::<i64>(), 0..length).prop_map(|(first, length)| {
        (0..length as i64).map(|step| first.wrapping_add(step)).collect()
    });
    prop_oneof![
        prop::collection::vec(-20_i64..20, 0..length),
        prop::collection::vec(any::<i64>(), 0..length),
        range,
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => prop_oneof![-20_i64..20, any::<i64>(), Just(i64::MIN), Just(i64::MAX)]
            .prop_map(Action::One),
        3 => ids(3_000).prop_map(Action::Many),
        1 => Just(Action::NextWindow),
    ]
}

/// Compares the whole of the current window, then closes it and compares the record.
fn open_next(counter: &Counter, clock: &ManualClock, set: &mut HashSet<i64>, requests: &mut u64) {
    assert_eq!(counter.count().expect("a count"), set.len() as u64);
    let listed = counter.ids(None).expect("ids");
    assert_eq!(listed.len(), set.len());
    assert_eq!(&listed.into_iter().collect::<HashSet<_>>(), set);
    clock.advance(60 * SECOND);
    let record = counter.closed(1).expect("records")[0];
    assert_eq!((record.unique, record.requests), (set.len() as u64, *requests));
    set.clear();
    *requests = 0;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_window_is_a_set(
        max_ids in prop_oneof![Just(20_000_u64), Just(2_000_000)],
        actions in prop::collection::vec(action(), 1..40),
    ) {
        let (counter, clock) = in_memory(60, max_ids);
        let (mut set, mut requests) = (HashSet::new(), 0);
        for action in actions {
            match action {
                Action::One(id) => {
                    let placement = counter.add(id).expect("room");
                    prop_assert_eq!(placement.new, set.insert(id));
                    requests += 1;
                }
                Action::Many(ids) => {
                    let batch = counter.add_many(&ids).expect("a participant");
                    prop_assert!(batch.stopped.is_none() && batch.recorded == ids.len());
                    let before = set.len();
                    set.extend(&ids);
                    let new: u64 = batch.shares.iter().map(|share| share.new).sum();
                    prop_assert_eq!(new, (set.len() - before) as u64);
                    requests += ids.len() as u64;
                }
                Action::NextWindow => open_next(&counter, &clock, &mut set, &mut requests),
            }
        }
        open_next(&counter, &clock, &mut set, &mut requests);
    }
}

#[test]
fn a_table_grows_through_its_extents() {
    // 8,192 buckets at first, as many again, 32,768, and what is left of the arena.
    let (counter, clock) = in_memory(60, 400_000);
    let (mut set, mut requests) = (HashSet::new(), 0);
    for window in 0..3 {
        let all: Vec<i64> = (0..350_000).map(|step| (window << 40) + step * 7).collect();
        let batch = counter.add_many(&all).expect("a participant");
        assert_eq!(batch.shares[0].new, 350_000);
        assert_eq!(counter.add_many(&all).expect("a participant").shares[0].new, 0);
        for &id in all.iter().step_by(97) {
            assert!(!counter.add(id).expect("room").new);
        }
        requests += 700_000 + 350_000_u64.div_ceil(97);
        set.extend(&all);
        open_next(&counter, &clock, &mut set, &mut requests);
        counter.maintenance().run().expect("maintenance");
    }
}

#[test]
fn an_empty_window_has_no_ids() {
    let (counter, clock) = in_memory(60, 1_000);
    assert_eq!(counter.add_many(&[]).expect("a participant").shares, []);
    open_next(&counter, &clock, &mut HashSet::new(), &mut 0);
}

/// The mix of the segment in a file: its key is behind magic, format, length of a window, identity.
fn mix_of(path: &Path) -> Mix {
    let mut bytes = [0; 24];
    let file = std::fs::File::open(&path.0).expect("the segment");
    file.read_exact_at(&mut bytes, 24).expect("its header");
    let words: Vec<u64> = bytes
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .collect();
    Mix::new([words[0], words[1], words[2]])
}

#[test]
fn the_two_ids_that_cannot_stand_in_a_slot_are_counted_too() {
    let path = Path::new();
    let clock = Arc::new(ManualClock::new(EPOCH * SECOND));
    let counter = path.open(60, &clock);
    let mix = mix_of(&path);
    let (empty, sealed) = (mix.backward(0), mix.backward(u64::MAX));
    assert_eq!((mix.forward(empty), mix.forward(sealed)), (0, u64::MAX));
    for window in 0..3 {
        assert!(counter.add(empty).expect("room").new);
        assert!(!counter.add(empty).expect("room").new);
        let batch = counter.add_many(&[7, empty, sealed, sealed]).expect("a participant");
        assert_eq!(batch.shares[0].new, 2);
        assert!(!counter.add(sealed).expect("room").new);
        assert_eq!(sorted(counter.ids(None).expect("ids")), sorted(vec![7, empty, sealed]));
        assert_eq!(counter.count().expect("a count"), 3);
        let start = counter.hold().expect("a window");
        assert_eq!(counter.seal().expect("a record").unique, 3, "window {window}");
        assert_eq!(sorted(counter.ids(Some(start)).expect("held")), sorted(vec![7, empty, sealed]));
        let piece = counter.retention().read_ids(start, 0, 1).expect("held");
        let found = piece.groups.into_iter().flat_map(|group| group.ids).collect::<Vec<_>>();
        assert!(found.contains(&empty) && found.contains(&sealed) && piece.next == Some(1));
        counter.release(start).expect("held");
        counter.maintenance().run().expect("maintenance");
    }
}
