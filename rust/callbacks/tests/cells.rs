//! Cells of callbacks: shares, content, and the cells of dead owners.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use verve_callbacks::cells::Cells;
use verve_core::segment::layout::CALLBACK_CELLS;
use verve_core::{Clock, Counter, Rejection, SegmentConfig};

const URL: &str = "http://x.example/hook";

fn in_memory() -> Arc<Counter> {
    Arc::new(Counter::in_memory(&SegmentConfig::default(), Clock::System).unwrap())
}

/// A segment that goes away with the test.
struct Segment(PathBuf);

impl Segment {
    fn new(name: &str) -> Self {
        let file = format!("verve-cells-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(file))
    }

    fn open(&self) -> Arc<Counter> {
        Arc::new(Counter::open(&self.0, &SegmentConfig::default(), Clock::System).unwrap())
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        for suffix in ["", ".lock"] {
            let mut name = self.0.clone().into_os_string();
            name.push(suffix);
            let _ = std::fs::remove_file(name);
        }
    }
}

#[test]
fn a_destination_has_an_eighth_and_leaves_room_for_others() {
    let cells = Cells::new(in_memory()).unwrap();
    let mut taken = HashSet::new();
    for _ in 0..CALLBACK_CELLS / 8 {
        assert!(taken.insert(cells.reserve(1, URL).unwrap().commit(60)));
    }
    assert_eq!(cells.reserve(1, URL).unwrap_err(), Rejection::CallbacksFull);
    // Others lose an eighth of theirs to it.
    for destination in 2..6 {
        for _ in 0..CALLBACK_CELLS / 16 {
            assert!(taken.insert(cells.reserve(destination, URL).unwrap().commit(60)));
        }
    }
    for &cell in &taken {
        cells.finish(cell);
    }
    assert!(taken.contains(&cells.reserve(1, URL).unwrap().commit(60)));
}

#[test]
fn a_cell_holds_what_was_written_whatever_was_there_before() {
    let cells = Cells::new(in_memory()).unwrap();
    for length in [2_048, 21, 22, 23, 24, 25, 1_999] {
        let url = format!("http://x.example/{}", "a".repeat(length - 17));
        for _ in 0..3 {
            let index = cells.reserve(7, &url).unwrap().commit(120);
            let content = cells.read(index);
            assert_eq!(content.url, url);
            assert_eq!((content.window_start, content.count, content.attempts), (120, None, 0));
            cells.begin(index, 0);
            cells.wait(index);
            cells.begin(index, 0);
            let content = cells.read(index);
            assert_eq!((content.count, content.attempts), (Some(0), 2));
            cells.finish(index);
        }
    }
}

#[test]
fn a_reservation_that_is_dropped_leaves_an_empty_cell() {
    let counter = in_memory();
    let cells = Cells::new(counter.clone()).unwrap();
    drop(cells.reserve(7, URL).unwrap());
    assert_eq!(Cells::used(&counter), 0);
    let _index = cells.reserve(7, URL).unwrap().commit(60);
    assert_eq!(Cells::used(&counter), 1);
}

#[test]
fn the_cells_of_those_who_left_are_taken_over_once() {
    let segment = Segment::new("left");
    let left = segment.open();
    let cells = Cells::new(left.clone()).unwrap();
    let ready = cells.reserve(1, URL).unwrap().commit(60);
    let sending = cells.reserve(2, URL).unwrap().commit(60);
    cells.begin(sending, 41);
    std::mem::forget(cells.reserve(3, URL).unwrap());
    let sequence = cells.read(sending).sequence;

    let (first, second) = (segment.open(), segment.open());
    let heirs = [Cells::new(first.clone()).unwrap(), Cells::new(second).unwrap()];
    assert!(heirs.iter().all(|heir| heir.take_over().is_empty()));
    assert_eq!(Cells::used(&first), 3);
    drop(cells);
    drop(left);

    let mut taken = heirs[0].take_over();
    taken.sort_unstable();
    let mut expected = vec![ready, sending];
    expected.sort_unstable();
    assert_eq!(taken, expected);
    assert!(heirs[1].take_over().is_empty());
    assert_eq!(Cells::used(&first), 2);
    let content = heirs[0].read(sending);
    assert_eq!((content.count, content.attempts), (Some(41), 1));
    assert_eq!(content.sequence, sequence);
    for index in taken {
        heirs[0].begin(index, 41);
        heirs[0].finish(index);
    }
    assert_eq!(Cells::used(&first), 0);
}

#[test]
fn whoever_has_the_slot_of_the_dead_is_another_owner() {
    let segment = Segment::new("slot");
    let keeper = segment.open();
    let left = segment.open();
    let cells = Cells::new(left.clone()).unwrap();
    let owner = left.callback_cells().owner().unwrap();
    let index = cells.reserve(1, URL).unwrap().commit(60);
    drop(cells);
    drop(left);
    let heir = segment.open();
    assert_eq!(heir.callback_cells().owner().unwrap().slot, owner.slot);
    assert!(!keeper.callback_cells().is_alive(owner));
    assert!(keeper.callback_cells().is_alive(heir.callback_cells().owner().unwrap()));
    assert_eq!(Cells::new(heir).unwrap().take_over(), [index]);
}

#[test]
fn what_a_sender_before_has_left_is_taken_at_the_start() {
    let counter = in_memory();
    let index = Cells::new(counter.clone()).unwrap().reserve(1, URL).unwrap().commit(60);
    let cells = Cells::new(counter).unwrap();
    assert!(cells.take_over().is_empty());
    assert_eq!(cells.take_over_at_start(), [index]);
}
