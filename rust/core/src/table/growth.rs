//! How a table grows: its ids move to an extent of twice the size.
//!
//! An extent that is whole, so not cut off by the end of the arena, takes over from the one before.
//! Meanwhile each insert first moves some buckets: it closes each, and inserts its ids into the
//! next extent. The ids stay where they are as well. An id is looked for in the old extent first,
//! so it makes no difference whether it was copied. When all are copied, the old extent is left.
//!
//! A thread that dies or stops in the middle leaves some ids in both extents, or in the old one
//! alone. Then both are probed and counted, until maintenance copies all ids again, which changes
//! nothing else. Freezing closes all buckets before it counts: an id that has not been copied by
//! then never will be.

use crate::sync::{Ordering, Site, ordering, perform};
use crate::table::bucket::Insert;
use crate::table::{Extents, Storage, Table};

/// Buckets that are moved together.
const CHUNK: usize = if cfg!(any(loom, shuttle)) { 1 } else { 16 };
/// One moved chunk in a word of [`crate::table::ArenaHeader::moved`]: the high half counts the
/// chunks that were moved, the low half those that a thread took.
const DONE: u64 = 1 << 32;

impl<S: Storage> Table<'_, S> {
    /// Whether the ids of the oldest of `extents` move to the next. Those of a later extent do not
    /// before it is the oldest.
    #[inline]
    pub(crate) fn is_moving(&self, extents: Extents) -> bool {
        extents.are_several() && self.extent(extents.oldest() + 1).is_whole
    }

    /// The oldest extent, if threads took all of its chunks and have not moved all of them: a
    /// thread may be about to, or may be dead.
    #[must_use]
    pub fn stalled_extent(&self) -> Option<usize> {
        let extents = self.extents();
        let oldest = extents.oldest();
        (self.is_moving(extents) && self.taken(oldest) >= self.chunks(oldest)).then_some(oldest)
    }

    /// Moves the next chunk of the oldest of `extents`, which is moving, if one is left.
    #[cold]
    pub(crate) fn move_some(&self, extents: Extents) {
        let oldest = extents.oldest();
        if !extents.are_frozen()
            && let Some(chunk) = self.take(oldest)
            && self.move_chunk(oldest, chunk)
        {
            // AcqRel: the thread that counts the last chunk has seen the copies of all.
            let before = self.header.moved[oldest]
                .fetch_add(DONE, ordering(Site::LeaveExtent, Ordering::AcqRel));
            if (before / DONE) as usize + 1 == self.chunks(oldest) {
                self.leave(oldest);
            }
        }
    }

    /// Moves up to `most` chunks of `oldest` from chunk `from` on, whether threads took them or
    /// not, and leaves the extent after its last chunk. Only for a caller that began with chunk 0.
    /// Returns the chunk to continue with, or `usize::MAX` if an id found no slot.
    #[must_use]
    pub fn move_again(&self, oldest: usize, from: usize, most: usize) -> usize {
        let chunks = self.chunks(oldest);
        let end = chunks.min(from.saturating_add(most));
        if from >= chunks || self.extents().are_frozen() {
            return from;
        }
        if !(from..end).all(|chunk| self.move_chunk(oldest, chunk)) {
            return usize::MAX;
        }
        if end == chunks {
            self.leave(oldest);
        }
        end
    }

    fn chunks(&self, index: usize) -> usize {
        self.extent(index).buckets.len().div_ceil(CHUNK)
    }

    /// Takes a chunk of extent `index`.
    fn take(&self, index: usize) -> Option<usize> {
        let chunks = self.chunks(index);
        // Read first, so that late threads do not count without end.
        if self.taken(index) >= chunks {
            return None;
        }
        // Relaxed, here and below: the word only shares out the work.
        let chunk = self.header.moved[index].fetch_add(1, Ordering::Relaxed) as u32 as usize;
        (chunk < chunks).then_some(chunk)
    }

    fn taken(&self, index: usize) -> usize {
        self.header.moved[index].load(Ordering::Relaxed) as u32 as usize
    }

    /// Copies the ids of a chunk of extent `index` to the next. Returns false if an id finds no
    /// slot there, or the table is being frozen.
    fn move_chunk(&self, index: usize, chunk: usize) -> bool {
        let buckets = self.extent(index).buckets;
        let end = buckets.len().min((chunk + 1) * CHUNK);
        buckets[chunk * CHUNK..end].iter().all(|bucket| {
            perform(Site::CloseBeforeCopy, || bucket.close());
            let mut are_copied = true;
            bucket.for_each(|word| {
                let copied = self.insert_from(index + 1, word);
                are_copied &= matches!(copied, Ok(Insert::New | Insert::Present));
            });
            are_copied
        })
    }

    /// Leaves extent `oldest`, all of whose ids are in later extents.
    fn leave(&self, oldest: usize) {
        let mut extents = self.extents();
        while extents.oldest() == oldest {
            // Release: pairs with the Acquire in `extents`. A thread that sees this sees the
            // copies.
            let release = ordering(Site::LeaveExtent, Ordering::AcqRel);
            let left = extents.left().word();
            match self.header.extents.compare_exchange(
                extents.word(),
                left,
                release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(_) => extents = self.extents(),
            }
        }
    }
}
