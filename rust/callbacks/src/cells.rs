//! Callbacks wait in cells of the segment, so that they outlive the process that accepted them.
//!
//! A destination may use one cell of each group of eight, chosen by a keyed hash: at most an eighth
//! of all cells, without a count that a dead process could leave wrong. Two destinations share an
//! eighth of their cells on average; if one is full, the other finds room in the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use verve_core::segment::layout::{CALLBACK_CELLS, CallbackCell};
use verve_core::{Counter, Error, Owner, Rejection};

use crate::cell::{Cell, CellState};

/// Cells of a group; a destination may use one of them.
const GROUP: usize = 8;
/// Number of cells that get storage at a time.
const STEP: usize = 2_048;

/// The cells of a segment, as one process uses them.
#[derive(Debug)]
pub struct Cells {
    counter: Arc<Counter>,
    owner: Owner,
    /// The group that the next search begins with.
    cursor: AtomicUsize,
}

/// The content of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// When the request was accepted: nanoseconds since the epoch by the segment's clock.
    pub accepted: u64,
    /// Start of its window.
    pub window_start: u64,
    /// The reported count; `None` before the first attempt.
    pub count: Option<u64>,
    /// Number of attempts so far.
    pub attempts: u64,
    /// The endpoint.
    pub url: String,
    /// The number of this use of the cell.
    pub sequence: u32,
}

/// A cell that is being written. If it is dropped, the cell becomes empty again.
#[derive(Debug)]
pub struct Reservation<'a> {
    cells: &'a Cells,
    index: usize,
    word: Cell,
}

impl Reservation<'_> {
    /// Makes the callback ready: its id was counted in the window that starts at `window_start`,
    /// and its request may be answered. Returns the index of the cell.
    #[must_use]
    pub fn commit(self, window_start: u64) -> u32 {
        let cell = self.cells.cell(self.index);
        // Relaxed: the swap below orders it.
        cell.window_start.store(window_start, Ordering::Relaxed);
        // Read after the id was counted: any later count includes the id, except for ids that a
        // batch has inserted and not counted yet (some tens at most).
        cell.accepted.store(self.cells.counter.now(), Ordering::Relaxed);
        self.cells.swap(self.index, self.word, self.word.with(CellState::Ready));
        let index = self.index as u32;
        std::mem::forget(self);
        index
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.cells.swap(self.index, self.word, self.word.with(CellState::Empty));
    }
}

impl Cells {
    /// The cells of `counter`'s segment.
    pub fn new(counter: Arc<Counter>) -> Result<Self, Error> {
        let owner = counter.callback_cells().owner()?;
        Ok(Self { counter, owner, cursor: AtomicUsize::new(0) })
    }

    /// The counter whose segment holds the cells.
    #[must_use]
    pub fn counter(&self) -> &Arc<Counter> {
        &self.counter
    }

    /// Whether this process created it, and not a parent before a fork.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.counter.callback_cells().owner().is_ok_and(|owner| owner == self.owner)
    }

    /// Reserves a cell for a callback to `url`, whose destination has the hash `destination`.
    pub fn reserve(&self, destination: u64, url: &str) -> Result<Reservation<'_>, Rejection> {
        let mut searched = 0;
        loop {
            let groups = self.counter.callback_cells().reserved().len() / GROUP;
            // Relaxed: the first group of a search is only a hint.
            let first = self.cursor.fetch_add(1, Ordering::Relaxed);
            let found = (0..groups - searched)
                .map(|step| searched + (first + step) % (groups - searched))
                .find_map(|group| self.try_reserve(group * GROUP + place(destination, group)));
            if let Some((index, word)) = found {
                self.write(index, url);
                return Ok(Reservation { cells: self, index, word });
            }
            if groups * GROUP >= CALLBACK_CELLS {
                return Err(Rejection::CallbacksFull);
            }
            // The next round skips the groups that this one searched.
            searched = groups;
            self.counter
                .callback_cells()
                .reserve(groups * GROUP + STEP)
                .map_err(|_| Rejection::NoSpace)?;
        }
    }

    fn try_reserve(&self, index: usize) -> Option<(usize, Cell)> {
        let word = &self.counter.callback_cells().front().words[index];
        let empty = Cell::unpack(word.load(Ordering::Relaxed));
        if empty.state != CellState::Empty {
            return None;
        }
        let ours = empty.reserved(self.owner);
        // Acquire: pairs with the Release in `swap` that emptied the cell; its reader is done.
        word.compare_exchange(empty.pack(), ours.pack(), Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            .then_some((index, ours))
    }

    fn write(&self, index: usize, url: &str) {
        let cell = self.cell(index);
        // Relaxed throughout: the swap in `commit` orders it.
        for (word, bytes) in cell.url.iter().zip(url.as_bytes().chunks(8)) {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(eight), Ordering::Relaxed);
        }
        cell.length.store(url.len() as u64, Ordering::Relaxed);
        cell.count.store(0, Ordering::Relaxed);
        cell.attempts.store(0, Ordering::Relaxed);
    }

    /// The content of a cell that this process owns.
    #[must_use]
    pub fn read(&self, index: u32) -> Content {
        let cell = self.cell(index as usize);
        // Relaxed throughout: written by this process, or before it took the cell over.
        let length = (cell.length.load(Ordering::Relaxed) as usize).min(cell.url.len() * 8);
        let mut bytes: Vec<u8> = cell.url[..length.div_ceil(8)]
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .collect();
        bytes.truncate(length);
        Content {
            accepted: cell.accepted.load(Ordering::Relaxed),
            window_start: cell.window_start.load(Ordering::Relaxed),
            count: cell.count.load(Ordering::Relaxed).checked_sub(1),
            attempts: cell.attempts.load(Ordering::Relaxed),
            url: String::from_utf8_lossy(&bytes).into_owned(),
            sequence: self.word(index).sequence,
        }
    }

    /// Notes that an attempt begins, with the count that it reports.
    pub fn begin(&self, index: u32, count: u64) {
        let cell = self.cell(index as usize);
        cell.count.store(count.saturating_add(1), Ordering::Relaxed);
        cell.attempts.fetch_add(1, Ordering::Relaxed);
        self.change(index, CellState::Sending);
    }

    /// Notes that the attempt failed and a retry follows.
    pub fn wait(&self, index: u32) {
        self.change(index, CellState::Ready);
    }

    /// Empties the cell.
    pub fn finish(&self, index: u32) {
        self.change(index, CellState::Empty);
    }

    fn change(&self, index: u32, state: CellState) {
        let word = self.word(index);
        self.swap(index as usize, word, word.with(state));
    }

    fn word(&self, index: u32) -> Cell {
        // Relaxed: no other process changes a cell of this one.
        Cell::unpack(
            self.counter.callback_cells().front().words[index as usize].load(Ordering::Relaxed),
        )
    }

    /// Changes the state of a cell that this process owns.
    fn swap(&self, index: usize, from: Cell, to: Cell) {
        debug_assert_eq!(from.owner, self.owner);
        // Release: pairs with the Acquire of `try_reserve` and of `take_over`. It fails only if
        // another process took the cell over, which happens to dead owners only.
        let _ = self.counter.callback_cells().front().words[index].compare_exchange(
            from.pack(),
            to.pack(),
            Ordering::Release,
            Ordering::Relaxed,
        );
    }

    /// Takes over the cells of dead owners. Returns the callbacks to send.
    #[must_use]
    pub fn take_over(&self) -> Vec<u32> {
        self.take_over_unless(vec![(self.owner, true)])
    }

    /// As [`Cells::take_over`], including cells that an earlier sender of this process left. Call
    /// it once, before this process reserves a cell.
    #[must_use]
    pub fn take_over_at_start(&self) -> Vec<u32> {
        self.take_over_unless(vec![(self.owner, false)])
    }

    /// `judged`: owners that are known to be alive, or not.
    fn take_over_unless(&self, mut judged: Vec<(Owner, bool)>) -> Vec<u32> {
        let mut is_alive = |owner| {
            let known = judged.iter().find(|(one, _)| *one == owner).map(|&(_, alive)| alive);
            known.unwrap_or_else(|| {
                let alive = self.counter.callback_cells().is_alive(owner);
                judged.push((owner, alive));
                alive
            })
        };
        let words = &self.counter.callback_cells().front().words
            [..self.counter.callback_cells().reserved().len()];
        let mut taken = Vec::new();
        for (index, word) in words.iter().enumerate() {
            let found = Cell::unpack(word.load(Ordering::Relaxed));
            if found.state == CellState::Empty || is_alive(found.owner) {
                continue;
            }
            let inherited = found.inherited(self.owner);
            // AcqRel: pairs with the Release in `swap`, whose writes this process reads, and with
            // the Acquire of the next `try_reserve`.
            let swapped = word.compare_exchange(
                found.pack(),
                inherited.pack(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if swapped.is_ok() && inherited.state == CellState::Ready {
                taken.push(index as u32);
            }
        }
        taken
    }

    /// The header `webhook-id`: one use of a cell of a segment, whichever process sends it.
    #[must_use]
    pub fn webhook_id(counter: &Counter, index: u32, content: &Content) -> String {
        let identity = counter.callback_cells().identity();
        format!("msg_{identity:016x}{index:04x}{:08x}", content.sequence)
    }

    /// The number of cells that are not empty, over all processes.
    #[must_use]
    pub fn used(counter: &Counter) -> usize {
        let words = &counter.callback_cells().front().words;
        // Relaxed: a figure.
        let state = |bits| Cell::unpack(bits).state;
        words.iter().filter(|word| state(word.load(Ordering::Relaxed)) != CellState::Empty).count()
    }

    fn cell(&self, index: usize) -> &CallbackCell {
        &self.counter.callback_cells().reserved()[index]
    }
}

/// The cell of a group that a destination may use.
fn place(destination: u64, group: usize) -> usize {
    // The finalizer of SplitMix64 (Steele, Lea, Flood 2014): an independent choice per group.
    let mut mixed = destination ^ (group as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 61) as usize
}
