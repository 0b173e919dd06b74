//! The slab: callbacks wait in cells of the segment, so that they outlive the process that took them.
//!
//! A destination may use one cell of each eight, picked by a keyed hash of both: at most an eighth of
//! all cells, without a count that a dead process could leave wrong. Two destinations share an eighth
//! of their cells on average; where one is full, the other finds room in the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use verve_core::segment::layout::{CALLBACK_CELLS, CallbackCell};
use verve_core::{Counter, Error, Owner, Rejection};

use crate::cell::{Cell, CellState};

/// Cells of which a destination may use one.
const GROUP: usize = 8;
/// Cells that get storage at once.
const STEP: usize = 2_048;

/// The cells of a segment in the hands of one process.
#[derive(Debug)]
pub struct Cells {
    counter: Arc<Counter>,
    owner: Owner,
    /// The group that the next search begins with.
    cursor: AtomicUsize,
}

/// What a cell holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// When it was accepted, nanoseconds since the epoch by the segment's clock.
    pub accepted: u64,
    /// Start of its window.
    pub window_start: u64,
    /// The count that it reports; `None` before the first attempt.
    pub count: Option<u64>,
    /// Attempts that were begun.
    pub attempts: u64,
    /// Where it goes.
    pub url: String,
    /// Which use of the cell it is.
    pub sequence: u32,
}

/// A cell that is being written; dropped, it is empty again.
#[derive(Debug)]
pub struct Reservation<'a> {
    cells: &'a Cells,
    index: usize,
    word: Cell,
}

impl Reservation<'_> {
    /// The id was counted in the window that starts at `window_start`: the callback is ready, and its
    /// request may be answered. Gives the cell's index.
    #[must_use]
    pub fn commit(self, window_start: u64) -> u32 {
        let cell = self.cells.cell(self.index);
        // Relaxed: the swap below orders it.
        cell.window_start.store(window_start, Ordering::Relaxed);
        // Read after the id was counted: a count taken later has the id in it, but for one that a
        // batch has added and not yet counted (it is behind by some tens of ids at the most).
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

    /// Whether this is the process that the slab was made in, and not a forked child of it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.counter.callback_cells().owner().is_ok_and(|owner| owner == self.owner)
    }

    /// A cell for a callback to `url`, a destination of the hash `destination`.
    pub fn reserve(&self, destination: u64, url: &str) -> Result<Reservation<'_>, Rejection> {
        let mut searched = 0;
        loop {
            let groups = self.counter.callback_cells().reserved().len() / GROUP;
            // Relaxed: where to look first is a hint.
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
            // What was searched in vain is left out in the next round.
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
        // Acquire: pairs with the Release in `swap` that emptied it; its reader is done.
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

    /// What the cell of a callback of ours holds.
    #[must_use]
    pub fn read(&self, index: u32) -> Content {
        let cell = self.cell(index as usize);
        // Relaxed throughout: written by this process, or before its word was taken over.
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

    /// Notes that an attempt begins, which reports `count`.
    pub fn begin(&self, index: u32, count: u64) {
        let cell = self.cell(index as usize);
        cell.count.store(count.saturating_add(1), Ordering::Relaxed);
        cell.attempts.fetch_add(1, Ordering::Relaxed);
        self.change(index, CellState::Sending);
    }

    /// Notes that the attempt failed and another is to come.
    pub fn wait(&self, index: u32) {
        self.change(index, CellState::Ready);
    }

    /// Gives the cell back.
    pub fn finish(&self, index: u32) {
        self.change(index, CellState::Empty);
    }

    fn change(&self, index: u32, state: CellState) {
        let word = self.word(index);
        self.swap(index as usize, word, word.with(state));
    }

    fn word(&self, index: u32) -> Cell {
        // Relaxed: a cell of ours, which nobody else changes.
        Cell::unpack(
            self.counter.callback_cells().front().words[index as usize].load(Ordering::Relaxed),
        )
    }

    /// Changes the word of a cell of ours.
    fn swap(&self, index: usize, from: Cell, to: Cell) {
        debug_assert_eq!(from.owner, self.owner);
        // Release: pairs with the Acquire of whoever reserves the cell or takes it over. A failure
        // means that it is not ours any more, which happens to the dead only.
        let _ = self.counter.callback_cells().front().words[index].compare_exchange(
            from.pack(),
            to.pack(),
            Ordering::Release,
            Ordering::Relaxed,
        );
    }

    /// Takes over the cells of dead owners, and with `own` those that this process has left from
    /// before (to be asked once, before it takes anything new): the callbacks that are now to be sent
    /// from here.
    #[must_use]
    pub fn take_over(&self, own: bool) -> Vec<u32> {
        let mut judged: Vec<(Owner, bool)> = vec![(self.owner, !own)];
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
            let heired = found.inherited(self.owner);
            // AcqRel: pairs with the Release in `swap`, whose writes the heir reads, and with the
            // Acquire of who reserves the cell next.
            let swapped = word.compare_exchange(
                found.pack(),
                heired.pack(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if swapped.is_ok() && heired.state == CellState::Ready {
                taken.push(index as u32);
            }
        }
        taken
    }

    /// Cells that are not empty, over all processes.
    #[must_use]
    pub fn taken(counter: &Counter) -> usize {
        let words = &counter.callback_cells().front().words;
        // Relaxed: a figure.
        let state = |bits| Cell::unpack(bits).state;
        words.iter().filter(|word| state(word.load(Ordering::Relaxed)) != CellState::Empty).count()
    }

    fn cell(&self, index: usize) -> &CallbackCell {
        &self.counter.callback_cells().reserved()[index]
    }
}

/// Which cell of a group a destination may use.
fn place(destination: u64, group: usize) -> usize {
    // The finalizer of SplitMix64 (Steele, Lea, Flood 2014): each group is another draw.
    let mut mixed = destination ^ (group as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 61) as usize
}
