//! How a table grows: its ids move to an extent of twice the size.
//!
//! An extent that is not cut off by the arena's end takes over from the one before. Whoever inserts
//! meanwhile first moves some buckets: he closes each, and inserts its ids as new ones of the next
//! extent; they stay where they are as well. An id is looked for in the old extent first, so it makes
//! no difference whether it was copied. When all are, the old extent is left.
//!
//! Who dies or stops in the middle leaves some ids in both extents, or in the old one alone: then both
//! are looked at, and counted, until upkeep copies all of them again, which changes nothing else. A
//! sealer closes all buckets before it counts: what has not been copied by then never will be.

use crate::sync::{Ordering, Site, ordering, perform};
use crate::table::bucket::{Bucket, Found, Insert};
use crate::table::{Extents, Storage, Table};

/// Buckets that are moved together.
const CHUNK: usize = if cfg!(loom) { 1 } else { 16 };
/// A chunk that was moved, in a word of [`crate::table::ArenaHeader::moved`]: those are counted in its
/// high half, those that somebody took in the low one.
const DONE: u64 = 1 << 32;

impl<S: Storage> Table<'_, S> {
    /// Whether the ids of the oldest of `extents` move to the next: those of one after it do not before
    /// it is the oldest.
    #[inline]
    pub(crate) fn is_moving(&self, extents: Extents) -> bool {
        extents.are_several() && self.extent(extents.oldest() + 1).whole
    }

    /// The oldest extent, when every chunk of it was taken, some by somebody who has not moved it yet, or
    /// never will.
    #[must_use]
    pub fn stalled_extent(&self) -> Option<usize> {
        let extents = self.extents();
        let oldest = extents.oldest();
        (self.is_moving(extents) && self.taken(oldest) >= self.chunks(oldest)).then_some(oldest)
    }

    /// Moves the next chunk of the oldest of `extents`, which is moving, if one is left to be taken.
    #[cold]
    pub(crate) fn move_some(&self, extents: Extents) {
        let oldest = extents.oldest();
        if !extents.are_frozen()
            && let Some(chunk) = self.take(oldest)
            && self.move_chunk(oldest, chunk)
        {
            // AcqRel: who counts the last one has seen the copies of all.
            let before = self.header.moved[oldest]
                .fetch_add(DONE, ordering(Site::LeaveExtent, Ordering::AcqRel));
            if (before / DONE) as usize + 1 == self.chunks(oldest) {
                self.leave(oldest);
            }
        }
    }

    /// Moves up to `most` chunks of `oldest` from chunk `from` on, whoever has taken them, and leaves the
    /// extent behind its last one: only for one who began with chunk 0. Returns where to go on;
    /// `usize::MAX`, so nowhere, if an id found no place.
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

    /// A chunk of extent `index` that nobody has taken.
    fn take(&self, index: usize) -> Option<usize> {
        let chunks = self.chunks(index);
        // Looked at first, so that those who come too late do not count on for ever.
        if self.taken(index) >= chunks {
            return None;
        }
        // Relaxed, here and below: it only shares out the work.
        let chunk = self.header.moved[index].fetch_add(1, Ordering::Relaxed) as u32 as usize;
        (chunk < chunks).then_some(chunk)
    }

    fn taken(&self, index: usize) -> usize {
        self.header.moved[index].load(Ordering::Relaxed) as u32 as usize
    }

    /// Copies the ids of a chunk of extent `index` to the next; false if one finds no place there, or
    /// the table is being frozen.
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

    /// Leaves extent `oldest`, all of whose ids stand in those after it.
    fn leave(&self, oldest: usize) {
        let mut extents = self.extents();
        while extents.oldest() == oldest {
            // Release: pairs with the Acquire in `extents`. The copies are seen by whoever sees this.
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

    /// Ids of `buckets` of the oldest of `extents` that are in none after it, once all are closed.
    pub(crate) fn count_left(&self, extents: Extents, buckets: &[Bucket]) -> u64 {
        let mut count = 0;
        for bucket in buckets {
            bucket.for_each(|word| count += u64::from(!self.is_beyond(extents, word)));
        }
        count
    }

    /// Whether `word` stands in an extent after the oldest of `extents`.
    pub(crate) fn is_beyond(&self, extents: Extents, word: u64) -> bool {
        for beyond in extents.oldest() + 1..=extents.newest() {
            for bucket in self.extent(beyond).path(word) {
                match bucket.find(word) {
                    Found::Word => return true,
                    Found::Room(_) => return false,
                    Found::Closed => break,
                    Found::Others => {}
                }
            }
        }
        false
    }
}
