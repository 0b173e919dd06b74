//! The extents of a table: allocations of buckets, each twice as long as the one before.

use crate::table::bucket::{Bucket, BucketInsert};
use crate::table::simd;

/// Buckets of an extent that a probe looks at. Sixteen are all full for the first time at a load of
/// 0.6 to 0.7, eight at 0.55.
pub const PROBE_LENGTH: usize = if cfg!(any(loom, shuttle)) { 2 } else { 16 };
/// Extents that a table may have. The last ones would be larger than any memory.
pub const EXTENTS: usize = if cfg!(any(loom, shuttle)) { 4 } else { 32 };

/// Set in the arena's word of extents, and in its flags, once the table is being frozen.
pub(crate) const FROZEN_BIT: u64 = 1 << 63;

/// The word of a table's extents in use: the oldest in bits 8 to 15, the newest in bits 0 to 7, and
/// `FROZEN_BIT`, after which none may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents(u64);

impl Extents {
    /// The extents that `word` names.
    #[inline]
    pub(crate) fn of(word: u64) -> Self {
        Self(word)
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    /// The first extent in which an id is looked for: those before it were left.
    #[inline]
    #[must_use]
    pub fn oldest(self) -> usize {
        usize::from((self.0 >> 8) as u8)
    }

    /// The last open extent.
    #[inline]
    #[must_use]
    pub fn newest(self) -> usize {
        usize::from(self.0 as u8)
    }

    /// Whether an id may be in one of several extents.
    #[inline]
    pub(crate) fn are_several(self) -> bool {
        self.oldest() != self.newest()
    }

    /// Whether the table is being frozen.
    #[inline]
    #[must_use]
    pub fn are_frozen(self) -> bool {
        self.0 & FROZEN_BIT != 0
    }

    /// The extents after one more is opened.
    pub(crate) fn opened(self) -> Self {
        Self(self.0 + 1)
    }

    /// The extents after the oldest is left.
    pub(crate) fn left(self) -> Self {
        Self(self.0 + (1 << 8))
    }
}

/// One extent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent<'a> {
    pub(crate) buckets: &'a [Bucket],
    /// Whether the extent has all of its buckets, because the end of the arena does not cut it off.
    pub(crate) is_whole: bool,
}

impl<'a> Extent<'a> {
    /// The bucket at which the probe for `word` begins: the high half of a product, so that an
    /// extent may have any number of buckets (Lemire, "Fast random integer generation in an
    /// interval").
    ///
    /// So the ids of a bucket move to two neighbouring buckets of the next extent. An extent that
    /// is cut off uses other bits first, so that ids that crowd in one extent are spread in the
    /// next.
    #[inline]
    fn position(self, word: u64) -> usize {
        let word = if self.is_whole { word } else { word.rotate_left(23) };
        ((u128::from(word) * self.buckets.len() as u128) >> 64) as usize
    }

    /// Inserts `word` into the first bucket of its probe that is not full.
    #[inline]
    pub(crate) fn insert(self, word: u64) -> BucketInsert {
        for bucket in self.probe(word) {
            match bucket.insert(word) {
                BucketInsert::Full => {}
                answer => return answer,
            }
        }
        BucketInsert::Full
    }

    /// The buckets that the probe for `word` looks at, in order.
    #[inline]
    pub(crate) fn probe(self, word: u64) -> impl Iterator<Item = &'a Bucket> {
        let mut at = self.position(word);
        (0..PROBE_LENGTH.min(self.buckets.len())).map(move |_| {
            let bucket = &self.buckets[at];
            at += 1;
            if at == self.buckets.len() {
                at = 0;
            }
            bucket
        })
    }

    /// Prefetches the first bucket of the probe for `word`.
    #[inline]
    pub(crate) fn prefetch(self, word: u64) {
        if let Some(bucket) = self.buckets.get(self.position(word)) {
            simd::prefetch(bucket.slots());
        }
    }
}
