//! Freezing a table: all buckets are closed, and the ids in them are counted.
//!
//! Any number of processes may freeze one table at once, while others insert. All of them get the
//! same count, and no id is inserted after it. A process may freeze in pieces, since a closed
//! bucket never changes.

use core::ops::Range;

use crate::sync::{Ordering, Site, choose, perform};
use crate::table::bucket::Bucket;
use crate::table::extent::{Extents, FROZEN_BIT};
use crate::table::simd;
use crate::table::{HAS_CLOSED, HAS_EMPTY, Storage, Table};

/// Buckets between the one that is being closed and the one that is prefetched.
const CLOSE_AHEAD: usize = 32;

/// How far one process has frozen a table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Freezing {
    /// The extents in use when the frozen bit was set; `None` before that.
    extents: Option<Extents>,
    /// The extent to close next. One past the newest while ids that did not move are counted.
    index: usize,
    /// The bucket to close or count next.
    at: usize,
    count: u64,
}

impl Freezing {
    /// Whether this is further than `other`, for the same table.
    #[must_use]
    pub fn is_beyond(&self, other: &Self) -> bool {
        let place = |it: &Self| (it.extents.is_some(), it.index, it.at);
        place(self) > place(other)
    }

    /// The next of `buckets`, at most `most`. Counts `most` down.
    fn next(&mut self, buckets: &[Bucket], most: &mut usize) -> Range<usize> {
        let from = self.at;
        self.at = buckets.len().min(from.saturating_add(*most));
        *most -= self.at - from;
        from..self.at
    }
}

impl<S: Storage> Table<'_, S> {
    /// Freezes the table. Returns the number of its ids.
    pub fn freeze(&self) -> u64 {
        let mut freezing = Freezing::default();
        loop {
            if let Some(count) = self.freeze_some(&mut freezing, &mut { usize::MAX }) {
                return count;
            }
        }
    }

    /// Continues to freeze the table, for at most `most` buckets, which are counted down. Returns
    /// the number of its ids once all buckets are closed. The table must not have been cleared
    /// since `freezing` began.
    pub fn freeze_some(&self, freezing: &mut Freezing, most: &mut usize) -> Option<u64> {
        let extents = freezing.extents.unwrap_or_else(|| self.begin_to_freeze(freezing));
        let census = self.census(extents);
        while freezing.index <= extents.newest() {
            let buckets = self.extent(freezing.index).buckets;
            let closed = close(buckets, freezing.next(buckets, most));
            if census.moving() != Some(freezing.index) {
                freezing.count += closed;
            }
            if freezing.at < buckets.len() {
                return None;
            }
            (freezing.index, freezing.at) = (freezing.index + 1, 0);
        }
        if let Some(moving) = census.moving() {
            // After all buckets are closed: an id that has not been copied by now never will be.
            let buckets = self.extent(moving).buckets;
            freezing.count += census.count(moving, &buckets[freezing.next(buckets, most)]);
            if freezing.at < buckets.len() {
                return None;
            }
        }
        #[cfg(any(loom, shuttle))]
        crate::sync::make_up_for(Site::FreezeExtents, || {
            self.header.extents.fetch_or(FROZEN_BIT, Ordering::AcqRel);
        });
        Some(freezing.count)
    }

    fn begin_to_freeze(&self, freezing: &mut Freezing) -> Extents {
        // AcqRel: Acquire pairs with the Release in `open_behind`, so that every extent that was
        // opened before is closed. After this none can be opened.
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

    /// Closes all buckets, since another thread has begun to. Until the last bucket is closed, an
    /// id may be copied to a bucket that a reader has passed.
    pub(crate) fn finish_freezing(&self) {
        perform(Site::FreezeBeforeRead, || self.freeze());
    }
}

/// Closes some buckets of an extent. Returns the number of ids in them.
fn close(buckets: &[Bucket], range: Range<usize>) -> u64 {
    let mut count = 0;
    for at in range {
        // The processor's own prefetcher stops at the end of each page.
        if let Some(ahead) = buckets.get(at + CLOSE_AHEAD) {
            simd::prefetch(ahead.slots());
        }
        count += buckets[at].close();
    }
    count
}
