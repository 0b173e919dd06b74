//! Tables that are full: what is refused is not present, what was present stays, and the next window
//! has room again.

mod support;

use std::collections::HashSet;

use proptest::prelude::*;
use support::{SECOND, in_memory};
use verve_core::{Clock, Counter, Error};

/// Adds ids until there is no room: those that were present.
fn fill(counter: &Counter, first: i64) -> HashSet<i64> {
    let mut present = HashSet::new();
    let mut refused = 0;
    for id in first.. {
        match counter.add(id) {
            Ok(placement) => {
                assert!(placement.new && present.insert(id));
                refused = 0;
            }
            Err(Error::Full) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        if refused == 50 {
            break;
        }
    }
    present
}

fn check(counter: &Counter, present: &HashSet<i64>) {
    assert_eq!(counter.count().expect("a count"), present.len() as u64);
    assert_eq!(&counter.ids(None).expect("ids").into_iter().collect::<HashSet<_>>(), present);
    assert_eq!(counter.current().expect("figures").requests, present.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_table_takes_what_it_is_made_for_and_then_refuses(
        max_ids in prop_oneof![Just(1_u64), Just(2), Just(157), Just(158), 3_u64..3_000],
        first: i32,
    ) {
        let (counter, clock) = in_memory(60, max_ids);
        for _ in 0..3 {
            let present = fill(&counter, first.into());
            prop_assert!(present.len() as u64 >= max_ids);
            check(&counter, &present);
            for &id in present.iter().take(100) {
                prop_assert!(!counter.add(id).expect("it is there").new);
            }
            clock.advance(60 * SECOND);
            counter.maintenance().run().expect("maintenance");
            let record = counter.closed(1).expect("records")[0];
            prop_assert_eq!(record.unique, present.len() as u64);
            prop_assert_eq!(record.requests, (present.len() + present.len().min(100)) as u64);
        }
    }
}

#[test]
fn a_batch_says_how_far_it_came() {
    let (counter, clock) = in_memory(60, 10);
    let ids: Vec<i64> = (0..20_000).collect();
    let batch = counter.add_many(&ids).expect("a participant");
    assert!(matches!(batch.stopped, Some(Error::Full)));
    assert!(batch.recorded >= 10 && batch.recorded < ids.len());
    assert_eq!(batch.shares[0].new, batch.recorded as u64);
    check(&counter, &ids[..batch.recorded].iter().copied().collect());
    // What is there already needs no room.
    let again = counter.add_many(&ids[..batch.recorded]).expect("a participant");
    assert!(again.stopped.is_none());
    assert_eq!((again.recorded, again.shares[0].new), (batch.recorded, 0));
    clock.advance(60 * SECOND);
    assert!(counter.add(ids[batch.recorded]).expect("room again").new);
}

#[test]
fn settings_out_of_range_are_refused() {
    for (window_seconds, max_ids) in [(0, 10), (86_401, 10), (60, 0), (60, (1 << 31) + 1)] {
        let config = support::config(window_seconds, max_ids);
        let made = Counter::in_memory(&config, Clock::System);
        assert!(matches!(made, Err(Error::Setting { .. })), "{window_seconds} {max_ids}");
    }
    for (window_seconds, max_ids) in [(1, 1), (86_400, 1 << 31)] {
        let config = support::config(window_seconds, max_ids);
        let counter = Counter::in_memory(&config, Clock::System).expect("a counter");
        assert!(counter.add(1).expect("room").new);
        assert_eq!(counter.seal().expect("a record").unique, 1);
    }
}
