//! Freezing a table: all buckets are closed, and the ids in them are counted.
//!
//! Any number of processes may freeze one table at once, while others insert: all of them get the same
//! count, and no id comes in behind it. One may do so in pieces, since a bucket that is closed stays as it is.

use core::ops::Range;

use crate::sync::{Ordering, Site, choose, perform};
use crate::table::bucket::Bucket;
use crate::table::extent::{Extents, FROZEN_BIT};
use crate::table::simd;
use crate::table::{HAS_CLOSED, HAS_EMPTY, Storage, Table};

/// Buckets between the one that is being closed and the one that is asked for.
const CLOSE_AHEAD: usize = 32;

/// How far a sealer has come with a table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Freezing {
    /// Those in use when the sealed bit was set; `None` before that.
    extents: Option<Extents>,
    /// The extent that the sealer is at; the one behind the newest when he counts what did not move.
    index: usize,
    /// The bucket that he is at.
    at: usize,
    count: u64,
}

impl Freezing {
    /// Whether it has come further than another one with the same table.
    #[must_use]
    pub fn is_beyond(&self, other: &Self) -> bool {
        let place = |it: &Self| (it.extents.is_some(), it.index, it.at);
        place(self) > place(other)
    }

    /// The next buckets of `buckets`, at most `most`, which are counted down.
    fn next(&mut self, buckets: &[Bucket], most: &mut usize) -> Range<usize> {
        let from = self.at;
        self.at = buckets.len().min(from.saturating_add(*most));
        *most -= self.at - from;
        from..self.at
    }
}

impl<S: Storage> Table<'_, S> {
    /// Freezes the table and counts its ids.
    pub fn freeze(&self) -> u64 {
        let mut freezing = Freezing::default();
        loop {
            if let Some(count) = self.freeze_some(&mut freezing, &mut { usize::MAX }) {
                return count;
            }
        }
    }

    /// Goes on with freezing the table for `most` buckets, which are counted down: the number of its ids
    /// once all are closed. The table must not have been cleared since `freezing` was begun.
    pub fn freeze_some(&self, freezing: &mut Freezing, most: &mut usize) -> Option<u64> {
        let extents = freezing.extents.unwrap_or_else(|| self.begin_to_freeze(freezing));
        let is_moving = self.is_moving(extents);
        while freezing.index <= extents.newest() {
            let buckets = self.extent(freezing.index).buckets;
            let closed = close(buckets, freezing.next(buckets, most));
            let moves = is_moving && freezing.index == extents.oldest();
            freezing.count += if moves { 0 } else { closed };
            if freezing.at < buckets.len() {
                return None;
            }
            (freezing.index, freezing.at) = (freezing.index + 1, 0);
        }
        if is_moving {
            // Behind the closing of all: what has not been copied by now never will be.
            let buckets = self.extent(extents.oldest()).buckets;
            freezing.count += self.count_left(extents, &buckets[freezing.next(buckets, most)]);
            if freezing.at < buckets.len() {
                return None;
            }
        }
        #[cfg(loom)]
        crate::sync::make_up_for(Site::FreezeExtents, || {
            self.header.extents.fetch_or(FROZEN_BIT, Ordering::AcqRel);
        });
        Some(freezing.count)
    }

    fn begin_to_freeze(&self, freezing: &mut Freezing) -> Extents {
        // AcqRel: Acquire pairs with the Release in `open_behind`, so that every extent that was opened
        // before is passed over; after this no further one can be opened.
        let bit = choose(Site::FreezeExtents, FROZEN_BIT, 0);
        let extents = Extents::of(self.header.extents.fetch_or(bit, Ordering::AcqRel));
        let flags = self.header.flags.fetch_or(FROZEN_BIT, Ordering::Relaxed);
        *freezing = Freezing {
            extents: Some(extents),
            index: extents.oldest(),
            at: 0,
            count: u64::from((flags & (HAS_EMPTY | HAS_CLOSED)).count_ones()),
        };
        extents
    }

    /// Closes all buckets, since somebody has begun to: the sealed bit is set first, and until the last
    /// bucket is closed a mover may copy an id behind a reader.
    pub(crate) fn finish_freezing(&self) {
        perform(Site::FreezeBeforeRead, || self.freeze());
    }
}

/// Closes some buckets of an extent: the ids in them.
fn close(buckets: &[Bucket], range: Range<usize>) -> u64 {
    let mut count = 0;
    for at in range {
        // The processor's own look-ahead ends with each page.
        if let Some(ahead) = buckets.get(at + CLOSE_AHEAD) {
            simd::prefetch(ahead.slots());
        }
        count += buckets[at].close();
    }
    count
}
