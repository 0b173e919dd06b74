//! What all builds of one `FORMAT` share of callbacks: the words and the content of their cells, and the
//! order of what is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use verve_callbacks::cell::{Cell, CellState};
use verve_callbacks::cells::Cells;
use verve_callbacks::report::Outcome;
use verve_core::segment::layout::FORMAT;
use verve_core::{Clock, Counter, ManualClock, Owner, SegmentConfig};

/// The digest of what builds of this format share, as in the core's `tests/format.rs`.
const PINNED: (u32, u64) = (4, 0x9ca6_c292_5d38_9533);
/// Figures that are pinned. One that is added at the end disagrees with no other build.
const FIGURES: usize = 8;

#[test]
fn what_builds_of_one_format_share_of_callbacks_does_not_change() {
    let clock = Clock::Manual(Arc::new(ManualClock::new(1_795_000_020_000_000_000)));
    let counter =
        Arc::new(Counter::in_memory(&SegmentConfig::default(), clock).expect("a counter"));
    let cells = Cells::new(Arc::clone(&counter)).expect("a cells");
    let mut index = 0;
    for url in ["http://x.example/hook", "https://y.example/a/longer/path?and=a&query"] {
        index = cells.reserve(7, url).expect("room").commit(1_795_000_020);
    }
    cells.begin(index, 12_345);

    let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
    let words = counter.callback_cells().front().words.iter().map(load);
    let contents = counter.callback_cells().reserved().iter().take(64).flat_map(|cell| {
        [&cell.accepted, &cell.window_start, &cell.count, &cell.attempts, &cell.length]
            .into_iter()
            .chain(&cell.url)
            .map(load)
    });
    let states =
        [CellState::Empty, CellState::Writing, CellState::Ready, CellState::Sending].map(|state| {
            Cell { state, owner: Owner { slot: 200, generation: 77_777 }, sequence: 99 }.pack()
        });
    let figures = Outcome::ALL.iter().take(FIGURES).flat_map(|outcome| outcome.name().bytes());
    // FNV-1a over words.
    let all = words.chain(contents).chain(states).chain(figures.map(u64::from));
    let digest = all.fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| {
        (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
    });
    assert_eq!(
        (FORMAT, format!("{digest:#x}")),
        (PINNED.0, format!("{:#x}", PINNED.1)),
        "what builds share of callbacks has changed; hint: raise `FORMAT` in the core's layout.rs, then pin \
         it here and in the core's tests/format.rs with the new digests"
    );
}
