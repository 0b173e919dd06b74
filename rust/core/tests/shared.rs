//! Several counters on one file, as processes have them: one count, one clock, one ring. Threads of
//! this process stand for the processes; those that are killed and stopped are in the tests in Python.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use support::{EPOCH, Path, SECOND, config, in_memory, sorted};
use verve_core::segment::layout::Header;
use verve_core::{Clock, Counter, Error, ManualClock, SegmentConfig, Unusable, describe};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(EPOCH * SECOND))
}

#[test]
fn counters_on_one_file_count_together() {
    let (path, clock) = (Path::new(), clock());
    let (one, other) = (path.open(60, &clock), path.open(60, &clock));
    assert!(one.add(7).expect("room").new);
    assert!(!other.add(7).expect("room").new);
    assert!(other.add(8).expect("room").new);
    assert_eq!((one.count().expect("a count"), other.count().expect("a count")), (2, 2));
    assert_eq!(sorted(one.ids(None).expect("ids")), [7, 8]);
    clock.advance(60 * SECOND);
    assert!(other.add(7).expect("room").new);
    assert_eq!(one.closed(9).expect("records"), other.closed(9).expect("records"));
    assert_eq!(one.closed(9).expect("records")[0].unique, 2);
    assert_eq!(one.stats().expect("figures").processes.len(), 2);
    drop(other);
    assert_eq!(one.stats().expect("figures").processes.len(), 1);
    assert_eq!(one.count().expect("a count"), 1);
}

#[test]
fn a_segment_is_continued() {
    let (path, clock) = (Path::new(), clock());
    let first = path.open(60, &clock);
    assert!(first.add(7).expect("room").new);
    drop(first);
    assert!(!describe(&path.0).expect("a segment").alive);
    clock.advance(10 * SECOND);
    let second = path.open(60, &clock);
    assert!(describe(&path.0).expect("a segment").alive);
    assert!(!second.add(7).expect("room").new, "the same minute");
    drop(second);
    clock.advance(180 * SECOND);
    let third = path.open(60, &clock);
    assert!(third.add(7).expect("room").new);
    let records = third.closed(9).expect("records");
    let found: Vec<_> = records.iter().map(|record| (record.unique, record.gap)).collect();
    assert_eq!(found, [(1, false), (0, true), (0, true)]);
}

#[test]
fn a_window_that_one_holds_is_not_cleared_by_another() {
    let (path, clock) = (Path::new(), clock());
    let (one, other) = (path.open(60, &clock), path.open(60, &clock));
    let start = one.hold().expect("a window");
    other.add_many(&(0..500).collect::<Vec<_>>()).expect("a participant");
    for _ in 0..40 {
        clock.advance(60 * SECOND);
        other.add(1).expect("room");
        other.maintenance().run().expect("maintenance");
    }
    assert_eq!(sorted(one.ids(Some(start)).expect("held")), (0..500).collect::<Vec<_>>());
    assert_eq!(sorted(other.ids(Some(start)).expect("held")), (0..500).collect::<Vec<_>>());
    // A participant that is given up lets go of what it held.
    drop(one);
    other.maintenance().run().expect("maintenance");
    assert!(matches!(other.ids(Some(start)), Err(Error::Window { .. })));
}

#[test]
fn the_lease_passes_on_when_its_holder_is_gone() {
    let (path, clock) = (Path::new(), clock());
    let (one, other) = (path.open(60, &clock), path.open(60, &clock));
    let term = one.lease().acquire().expect("a participant").expect("nobody leads yet");
    assert_eq!(other.lease().acquire().expect("a participant"), None);
    assert_eq!(one.lease().acquire().expect("a participant"), Some(term));
    assert!(one.lease().is_current(term) && other.lease().holder().expect("a leader").alive);
    assert!(one.ring().advance_cursor(0, EPOCH, term));
    drop(one);
    assert!(!other.lease().is_current(term));
    assert!(!other.ring().advance_cursor(0, EPOCH + 60, term));
    assert_eq!(other.ring().cursor(0), EPOCH);
    let next = other.lease().acquire().expect("a participant").expect("nobody leads any more");
    assert!(next > term && other.lease().is_current(next));
}

#[test]
fn the_lease_passes_on_when_its_holder_is_silent() {
    let (path, clock) = (Path::new(), clock());
    let (one, other) = (path.open(60, &clock), path.open(60, &clock));
    let term = one.lease().acquire().expect("a participant").expect("nobody leads yet");
    let mut taken = None;
    for _ in 0..40 {
        taken = other.lease().acquire().expect("a participant");
        if taken.is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert!(taken.is_some_and(|next| next > term), "after a second without a beat");
    assert_eq!(one.lease().acquire().expect("a participant"), None, "deposed");
}

/// All clear, open, seal and read at once, over many boundaries: an arena that
/// is in use again must never be cleared by one who has looked too early.
#[test]
fn maintenance_by_all_at_once_loses_nothing() {
    let (path, clock) = (Path::new(), clock());
    let counters: Vec<Counter> = (0..4).map(|_| path.open(1, &clock)).collect();
    let over = AtomicBool::new(false);
    let mut counted: BTreeMap<u64, BTreeSet<i64>> = BTreeMap::new();
    thread::scope(|scope| {
        let handles: Vec<_> = counters
            .iter()
            .map(|counter| {
                let over = &over;
                scope.spawn(move || {
                    let mut counted: BTreeMap<u64, BTreeSet<i64>> = BTreeMap::new();
                    let mut id = 0;
                    while !over.load(Ordering::Relaxed) {
                        id = (id + 1) % 200;
                        let placement = counter.add(id).expect("room");
                        counted.entry(placement.window_start).or_default().insert(id);
                        if id % 16 == 0 {
                            counter.maintenance().run().expect("maintenance");
                        }
                    }
                    counted
                })
            })
            .collect();
        for _ in 0..600 {
            thread::sleep(Duration::from_micros(700));
            clock.advance(SECOND);
        }
        over.store(true, Ordering::Relaxed);
        for handle in handles {
            for (start, ids) in handle.join().expect("no panic") {
                counted.entry(start).or_default().extend(ids);
            }
        }
    });
    counters[0].seal().expect("the last record");
    let records = counters[1].closed(usize::MAX).expect("records");
    // Who gets no time for long enough finds more windows skipped than are published.
    let published: BTreeSet<u64> = records.iter().map(|record| record.window_start).collect();
    assert!(published.len() > 100 && counted.keys().all(|start| published.contains(start)));
    for record in &records {
        let ids = counted.get(&record.window_start).map_or(0, BTreeSet::len);
        assert_eq!(record.unique, ids as u64, "window {}", record.window_start);
    }
}

fn refused(path: &std::path::Path, config: &SegmentConfig) -> Unusable {
    match Counter::open(path, config, Clock::System) {
        Err(Error::Segment { reason, message, .. }) => {
            assert!(message.contains('`'), "{message}");
            reason
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was attached"),
    }
}

#[test]
fn other_settings_are_refused() {
    let (path, clock) = (Path::new(), clock());
    let counter = path.open(60, &clock);
    let mut other = config(60, 100_000);
    other.cluster = "elsewhere".to_owned();
    assert_eq!(refused(&path.0, &other), Unusable::Mismatch);
    assert_eq!(refused(&path.0, &config(2, 100_000)), Unusable::Mismatch);
    // The bound is what it was made with; no length asked for is any length.
    let any = SegmentConfig { window_seconds: None, ..config(60, 5) };
    let attached = Counter::open(&path.0, &any, Clock::System).expect("the segment");
    assert_eq!(attached.window_seconds(), 60);
    assert_eq!(attached.stats().expect("figures").max_ids, 100_000);
    drop(counter);
}

#[test]
fn a_segment_with_a_damaged_word_is_refused() {
    let (path, clock) = (Path::new(), clock());
    drop(path.open(60, &clock));
    let file = std::fs::File::options().read(true).write(true).open(&path.0).expect("a segment");
    let current = offset_of!(Header, current) as u64;
    let mut sound = [0; 8];
    file.read_exact_at(&mut sound, current).expect("a word");
    for damaged in [[0; 8], [0xff; 8], [0xff, sound[1], sound[2], sound[3], 0, 0, 0, 0]] {
        file.write_all_at(&damaged, current).expect("a segment");
        assert_eq!(refused(&path.0, &config(60, 100_000)), Unusable::Format);
    }
    file.write_all_at(&sound, current).expect("a segment");
    assert!(path.open(60, &clock).add(7).expect("room").new);
}

#[test]
fn what_is_no_segment_of_ours_is_refused() {
    let path = Path::new();
    let open = |mode: u32, bytes: &[u8]| {
        std::fs::write(&path.0, bytes).expect("a file");
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path.0, permissions).expect("a mode");
        refused(&path.0, &config(60, 1_000))
    };
    assert_eq!(open(0o600, b""), Unusable::Format);
    assert_eq!(open(0o600, &[7; 10_000]), Unusable::Format);
    assert_eq!(open(0o644, b""), Unusable::Mode);
    std::fs::remove_file(&path.0).expect("the file");
    symlink("/dev/null", &path.0).expect("a link");
    assert_eq!(refused(&path.0, &config(60, 1_000)), Unusable::Kind);
    std::fs::remove_file(&path.0).expect("the link");

    drop(path.open(60, &clock()));
    let file = std::fs::File::options().write(true).open(&path.0).expect("the segment");
    let change = |offset: u64, bytes: &[u8]| file.write_all_at(bytes, offset).expect("a change");
    change(8, &99_u32.to_le_bytes());
    assert_eq!(refused(&path.0, &config(60, 100_000)), Unusable::Format);
    assert_eq!(describe(&path.0).expect("a header").format, 99);
    change(8, &verve_core::segment::layout::FORMAT.to_le_bytes());
    change(12, &0_u32.to_le_bytes());
    assert_eq!(refused(&path.0, &config(60, 100_000)), Unusable::Format);
    change(12, &60_u32.to_le_bytes());
    drop(path.open(60, &clock()));
    file.set_len(1 << 20).expect("a shorter file");
    assert_eq!(refused(&path.0, &config(60, 100_000)), Unusable::Format);
}

#[test]
fn many_attach_at_once() {
    let (path, clock) = (Path::new(), clock());
    thread::scope(|scope| {
        for id in 0..24 {
            let (path, clock) = (&path, &clock);
            scope.spawn(move || {
                let counter = path.open(60, clock);
                assert!(counter.add(id).expect("room").new);
            });
        }
    });
    assert_eq!(path.open(60, &clock).count().expect("a count"), 24);
}

#[test]
fn a_segment_has_a_seat_for_so_many_and_no_more() {
    let (path, clock) = (Path::new(), clock());
    let mut attached: Vec<Counter> = (0..256).map(|_| path.open(60, &clock)).collect();
    assert_eq!(refused(&path.0, &config(60, 100_000)), Unusable::NoSlot);
    attached.truncate(255);
    attached.push(path.open(60, &clock));
    assert!(attached[255].add(1).expect("room").new);
    assert!(!attached[0].add(1).expect("room").new);
}

#[test]
fn counters_in_memory_are_apart() {
    let ((one, _), (other, _)) = (in_memory(60, 1_000), in_memory(60, 1_000));
    assert!(one.add(7).expect("room").new);
    assert!(other.add(7).expect("room").new);
}
