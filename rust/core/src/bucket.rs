//! A bucket: eight slots in one cache line, filled from the front.
//!
//! A slot is [`EMPTY`], holds the mixed word of one id, or is [`SEALED`]. Freezing puts [`SEALED`]
//! into the first empty slot: since a bucket is filled from the front, it cannot change after that.

use crate::line::Line;
use crate::primitive::{AtomicU64, Ordering, Site, strong};

/// A slot that no id has taken.
pub const EMPTY: u64 = 0;
/// The slot that closes a bucket of a frozen table.
pub const SEALED: u64 = u64::MAX;
/// Slots of a bucket: one cache line.
pub const SLOTS: usize = if cfg!(loom) { 2 } else { 8 };

/// What became of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insert {
    /// The id was not there, and is now.
    New,
    /// The id was there.
    Present,
    /// The table is being frozen and the id was not there: it belongs to the next window.
    Sealed,
}

/// Eight slots in one cache line.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Bucket {
    /// Filled from the front; an occupied slot never changes inside a window.
    slots: [AtomicU64; SLOTS],
}

impl Default for Bucket {
    fn default() -> Self {
        Self { slots: core::array::from_fn(|_| AtomicU64::new(EMPTY)) }
    }
}

impl Bucket {
    /// The slots, for those that look at all of them.
    #[inline]
    pub(crate) fn slots(&self) -> &[AtomicU64; SLOTS] {
        &self.slots
    }

    /// `None` when the bucket is full of other ids.
    #[inline]
    pub(crate) fn insert(&self, word: u64) -> Option<Insert> {
        loop {
            let line = Line::read(&self.slots);
            if line.contains(word) {
                return Some(Insert::Present);
            }
            // What is in front of the first empty slot never changes: the word is not there, and
            // the empty slot is the place for it, as long as nobody else takes it. What is behind
            // says nothing: it may have been read later than that slot was filled.
            let occupied = line.occupied();
            if self.is_sealed(occupied) {
                return Some(Insert::Sealed);
            }
            if occupied == SLOTS {
                return None;
            }
            if claim(&self.slots[occupied], word, Site::ClaimSlot).is_ok() {
                return Some(Insert::New);
            }
        }
    }

    /// Whether the last of `occupied` slots closes the bucket.
    #[inline]
    fn is_sealed(&self, occupied: usize) -> bool {
        // Relaxed: a slot holds all there is to know, no other memory hangs on it.
        occupied > 0 && self.slots[occupied - 1].load(Ordering::Relaxed) == SEALED
    }

    /// Closes the bucket and returns how many ids are in it.
    #[inline]
    pub(crate) fn freeze(&self) -> u64 {
        loop {
            let occupied = Line::read(&self.slots).occupied();
            if self.is_sealed(occupied) {
                return occupied as u64 - 1;
            }
            if occupied == SLOTS || claim(&self.slots[occupied], SEALED, Site::FreezeSlot).is_ok() {
                return occupied as u64;
            }
        }
    }

    /// Empties the bucket; what [`crate::mapping::Mapping::zero`] does where there is a mapping.
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
                EMPTY | SEALED => break,
                word => visit(word),
            }
        }
    }
}

/// Puts `word` into an empty slot, or says what is there.
#[inline]
fn claim(slot: &AtomicU64, word: u64, site: Site) -> Result<(), u64> {
    // Relaxed: a slot holds the whole id, no other memory hangs on it, and the order of changes to
    // one slot is the same for everyone.
    if strong(site) {
        slot.compare_exchange(EMPTY, word, Ordering::Relaxed, Ordering::Relaxed).map(drop)
    } else {
        // What the models must find to be wrong.
        slot.store(word, Ordering::Relaxed);
        Ok(())
    }
}
