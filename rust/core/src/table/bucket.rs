//! A bucket: eight slots in one cache line, filled from the front.
//!
//! A slot is [`EMPTY`], holds the mixed word of one id, or is [`CLOSED`]. Closing puts [`CLOSED`]
//! into the first empty slot: since a bucket is filled from the front, it cannot change after that.

use crate::sync::{AtomicU64, Ordering, Site, ordering, replace};
use crate::table::simd::Line;

/// A slot that no id has taken.
pub const EMPTY: u64 = 0;
/// The slot that closes a bucket: its table is being frozen, or its ids move to the next extent.
pub const CLOSED: u64 = u64::MAX;
/// Slots of a bucket: one cache line.
pub const SLOTS_PER_BUCKET: usize = if cfg!(loom) { 2 } else { 8 };

/// What a bucket says to an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The id was not there, and is now.
    New,
    /// The id was there.
    Present,
    /// There is no room, and will be none.
    Full,
    /// There was room left when the bucket was closed.
    Closed,
}

/// What is found in a bucket by one who looks for a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The word.
    Word,
    /// Not the word, and room for it: the first empty slot.
    Room(usize),
    /// Other words only, and no room.
    Others,
    /// Not the word, which did not come here, or further in this extent, before the bucket was closed.
    Closed,
}

/// What became of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insert {
    /// The id was not there, and is now.
    New,
    /// The id was there.
    Present,
    /// The table is being frozen and the id was not there: it belongs to the next window.
    Frozen,
}

/// Eight slots in one cache line.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Bucket {
    /// Filled from the front; an occupied slot never changes inside a window.
    slots: [AtomicU64; SLOTS_PER_BUCKET],
}

impl Default for Bucket {
    fn default() -> Self {
        Self { slots: core::array::from_fn(|_| AtomicU64::new(EMPTY)) }
    }
}

impl Bucket {
    /// The slots, for those that look at all of them.
    #[inline]
    pub(crate) fn slots(&self) -> &[AtomicU64; SLOTS_PER_BUCKET] {
        &self.slots
    }

    /// Inserts `word`, if it is not there and there is room.
    #[inline]
    pub(crate) fn insert(&self, word: u64) -> Answer {
        loop {
            match self.find(word) {
                Found::Word => return Answer::Present,
                Found::Closed => return Answer::Closed,
                Found::Others => return Answer::Full,
                // The place for the word, as long as nobody else takes it.
                Found::Room(slot) => {
                    // Relaxed: a slot holds the whole id, no other memory depends on it, and all
                    // threads see the changes to one slot in one order.
                    let slot = &self.slots[slot];
                    if replace(Site::ClaimSlot, slot, EMPTY, word, Ordering::Relaxed) {
                        return Answer::New;
                    }
                }
            }
        }
    }

    /// Looks for `word`.
    #[inline]
    pub(crate) fn find(&self, word: u64) -> Found {
        let line = Line::read(&self.slots);
        if line.contains(word) {
            return Found::Word;
        }
        // What is in front of the first empty slot never changes: the word is not there. What is behind
        // says nothing: it may have been read later than that slot was filled.
        let occupied = line.occupied();
        if self.is_closed(occupied) {
            Found::Closed
        } else if occupied == SLOTS_PER_BUCKET {
            Found::Others
        } else {
            Found::Room(occupied)
        }
    }

    /// Whether the last of `occupied` slots closes the bucket.
    #[inline]
    fn is_closed(&self, occupied: usize) -> bool {
        // Relaxed: a slot holds all there is to know, no other memory hangs on it.
        occupied > 0 && self.slots[occupied - 1].load(Ordering::Relaxed) == CLOSED
    }

    /// Closes the bucket and returns how many ids are in it.
    #[inline]
    pub(crate) fn close(&self) -> u64 {
        loop {
            let occupied = Line::read(&self.slots).occupied();
            if self.is_closed(occupied) {
                return occupied as u64 - 1;
            }
            // Release: pairs with the fence in `Table::insert_from`. Behind it the table is being
            // frozen, or the next extent is open.
            let release = ordering(Site::MeetClosed, Ordering::Release);
            if occupied == SLOTS_PER_BUCKET
                || replace(Site::CloseBucket, &self.slots[occupied], EMPTY, CLOSED, release)
            {
                return occupied as u64;
            }
        }
    }

    /// Empties the bucket; what [`crate::segment::mapping::Mapping::zero`] does where there is a mapping.
    #[cfg(loom)]
    pub fn zero(&self) {
        for slot in &self.slots {
            slot.store(EMPTY, Ordering::Relaxed);
        }
    }

    /// Passes over the words that are present.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(u64)) {
        for slot in &self.slots {
            match slot.load(Ordering::Relaxed) {
                EMPTY | CLOSED => break,
                word => visit(word),
            }
        }
    }
}
