//! A bucket: eight slots in one cache line, filled from the front.
//!
//! A slot is [`EMPTY`], holds the mixed word of one id, or is [`CLOSED`]. Closing puts [`CLOSED`]
//! into the first empty slot. Since a bucket is filled from the front, it cannot change after that.

use crate::sync::{AtomicU64, Ordering, Site, ordering, replace};
use crate::table::simd::Line;

/// A slot that no id has taken.
pub const EMPTY: u64 = 0;
/// A slot that closes its bucket: the table is being frozen, or the ids move to the next extent.
pub const CLOSED: u64 = u64::MAX;
/// Slots of a bucket: one cache line.
pub const SLOTS_PER_BUCKET: usize = if cfg!(any(loom, shuttle)) { 2 } else { 8 };

/// Outcome of an insert into one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BucketInsert {
    /// The id was absent and is now present.
    New,
    /// The id was present already.
    Present,
    /// The bucket has no room and never will.
    Full,
    /// The bucket was closed while it had room.
    Closed,
}

/// Outcome of a look for a word in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// The word is there.
    Present,
    /// The word is not there. This is the first empty slot.
    Room(usize),
    /// Other words fill the bucket.
    Full,
    /// The word is not there, and was not inserted here or further on in this extent before the
    /// bucket was closed.
    Closed,
}

/// Outcome of an insert into a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insert {
    /// The id was absent and is now present.
    New,
    /// The id was present already.
    Present,
    /// The table is being frozen and the id was absent. The id belongs to the next window.
    Frozen,
}

/// Eight slots in one cache line.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Bucket {
    /// Filled from the front. An occupied slot never changes within a window.
    slots: [AtomicU64; SLOTS_PER_BUCKET],
}

impl Default for Bucket {
    fn default() -> Self {
        Self { slots: core::array::from_fn(|_| AtomicU64::new(EMPTY)) }
    }
}

impl Bucket {
    /// All slots.
    #[inline]
    pub(crate) fn slots(&self) -> &[AtomicU64; SLOTS_PER_BUCKET] {
        &self.slots
    }

    /// Inserts `word` if it is not there and the bucket has room.
    #[inline]
    pub(crate) fn insert(&self, word: u64) -> BucketInsert {
        loop {
            match self.find(word) {
                Lookup::Present => return BucketInsert::Present,
                Lookup::Closed => return BucketInsert::Closed,
                Lookup::Full => return BucketInsert::Full,
                Lookup::Room(slot) => {
                    // Relaxed: a slot holds the whole id, no other memory depends on it, and all
                    // threads see the changes to one slot in one order.
                    let slot = &self.slots[slot];
                    if replace(Site::ClaimSlot, slot, EMPTY, word, Ordering::Relaxed) {
                        return BucketInsert::New;
                    }
                }
            }
        }
    }

    /// Looks for `word`.
    #[inline]
    pub(crate) fn find(&self, word: u64) -> Lookup {
        let line = Line::read(&self.slots);
        if line.contains(word) {
            return Lookup::Present;
        }
        // Slots before the first empty one never change: the word is not there. Slots after it
        // prove nothing: they may have been read after that slot was filled.
        let occupied = line.occupied();
        if self.is_closed(occupied) {
            Lookup::Closed
        } else if occupied == SLOTS_PER_BUCKET {
            Lookup::Full
        } else {
            Lookup::Room(occupied)
        }
    }

    /// Whether the last of `occupied` slots closes the bucket.
    #[inline]
    fn is_closed(&self, occupied: usize) -> bool {
        // Relaxed: no other memory depends on a slot.
        occupied > 0 && self.slots[occupied - 1].load(Ordering::Relaxed) == CLOSED
    }

    /// Closes the bucket. Returns the number of ids in it.
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

    /// Empties the bucket, as [`crate::segment::mapping::Mapping::zero`] does in a mapping.
    #[cfg(any(loom, shuttle))]
    pub fn zero(&self) {
        for slot in &self.slots {
            slot.store(EMPTY, Ordering::Relaxed);
        }
    }

    /// Visits the words that are present.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(u64)) {
        for slot in &self.slots {
            match slot.load(Ordering::Relaxed) {
                EMPTY | CLOSED => break,
                word => visit(word),
            }
        }
    }
}
