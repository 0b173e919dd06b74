//! Which ids of which extents count: one definition for freezing, visiting and counting.
//!
//! While the ids of the oldest extent move, an id may be in that extent and in a later one. It
//! counts once: in the last extent that holds it. All buckets of a frozen table are closed, so that
//! no id moves any more, and every process that counts gets the same ids.

use core::ops::RangeInclusive;

use crate::table::bucket::{Bucket, Lookup};
use crate::table::{Extents, Storage, Table};

/// The extents of a table in use, and which ids of them count.
#[derive(Debug)]
pub(crate) struct Census<'t, 'a, S: Storage> {
    table: &'t Table<'a, S>,
    extents: Extents,
    /// The extent whose ids may be in a later extent as well.
    moving: Option<usize>,
}

impl<'a, S: Storage> Table<'a, S> {
    /// The ids that count if `extents` are in use.
    pub(crate) fn census(&self, extents: Extents) -> Census<'_, 'a, S> {
        let moving = self.is_moving(extents).then_some(extents.oldest());
        Census { table: self, extents, moving }
    }
}

impl<S: Storage> Census<'_, '_, S> {
    /// The extents with ids that count: those before the oldest were left.
    pub(crate) fn extents(&self) -> RangeInclusive<usize> {
        self.extents.oldest()..=self.extents.newest()
    }

    /// The extent whose ids count only if they are in no later extent.
    pub(crate) fn moving(&self) -> Option<usize> {
        self.moving
    }

    /// Whether `word`, which is in extent `index`, counts there.
    #[inline]
    pub(crate) fn counts(&self, index: usize, word: u64) -> bool {
        self.moving != Some(index) || !self.is_in_later(index, word)
    }

    /// The number of ids of `buckets`, which belong to extent `index`, that count there.
    pub(crate) fn count(&self, index: usize, buckets: &[Bucket]) -> u64 {
        let mut count = 0;
        for bucket in buckets {
            bucket.for_each(|word| count += u64::from(self.counts(index, word)));
        }
        count
    }

    fn is_in_later(&self, index: usize, word: u64) -> bool {
        for later in index + 1..=self.extents.newest() {
            for bucket in self.table.extent(later).probe(word) {
                match bucket.find(word) {
                    Lookup::Present => return true,
                    Lookup::Room(_) => return false,
                    Lookup::Closed => break,
                    Lookup::Full => {}
                }
            }
        }
        false
    }
}
