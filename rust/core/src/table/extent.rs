//! The extents of a table: stretches of buckets, each twice as long as the one before.

use crate::table::bucket::{Answer, Bucket};
use crate::table::simd;

/// Buckets that an id may walk in an extent. Of sixteen, all are full for the first time at a load
/// of 0.6 to 0.7; of eight at 0.55.
pub const PROBE_LENGTH: usize = if cfg!(loom) { 2 } else { 16 };
/// Extents that a table may have; the last ones would be larger than any memory. Each has twice the
/// buckets of the one before.
pub const EXTENTS: usize = if cfg!(loom) { 4 } else { 32 };

/// Set in the arena's word of extents, and in its flags, once the table is being frozen.
pub(crate) const FROZEN_BIT: u64 = 1 << 63;

/// Which extents of a table are in use: the oldest in bits 8 to 15, the newest in bits 0 to 7, and a
/// bit that says that no more may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents(u64);

impl Extents {
    /// As the word says.
    #[inline]
    pub(crate) fn of(word: u64) -> Self {
        Self(word)
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    /// The first extent that an id is looked for in: those before were left.
    #[inline]
    #[must_use]
    pub fn oldest(self) -> usize {
        usize::from((self.0 >> 8) as u8)
    }

    /// The last extent that is open.
    #[inline]
    #[must_use]
    pub fn newest(self) -> usize {
        usize::from(self.0 as u8)
    }

    /// Whether an id may be in one or another.
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

    /// As they are once one more is open.
    pub(crate) fn opened(self) -> Self {
        Self(self.0 + 1)
    }

    /// As they are once the oldest is left.
    pub(crate) fn left(self) -> Self {
        Self(self.0 + (1 << 8))
    }
}

/// One extent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent<'a> {
    pub(crate) buckets: &'a [Bucket],
    /// Not cut off by the arena's end.
    pub(crate) whole: bool,
}

impl<'a> Extent<'a> {
    /// The bucket at which the walk of `word` begins: the high half of a product, so that an extent
    /// may have any number of buckets (Lemire, "Fast random integer generation in an interval").
    ///
    /// So the ids of a bucket move to two that lie side by side. What goes on to an extent that is cut
    /// off stays there: it looks at other bits first, so that a crowd in one is no crowd in the next.
    #[inline]
    fn position(self, word: u64) -> usize {
        let word = if self.whole { word } else { word.rotate_left(23) };
        ((u128::from(word) * self.buckets.len() as u128) >> 64) as usize
    }

    /// Inserts `word` into the first bucket of its walk that is not full.
    #[inline]
    pub(crate) fn insert(self, word: u64) -> Answer {
        for bucket in self.path(word) {
            match bucket.insert(word) {
                Answer::Full => {}
                answer => return answer,
            }
        }
        Answer::Full
    }

    /// The buckets that the walk of `word` passes, in order.
    #[inline]
    pub(crate) fn path(self, word: u64) -> impl Iterator<Item = &'a Bucket> {
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

    /// Brings the walk of `word` nearer: its first line.
    #[inline]
    pub(crate) fn prefetch(self, word: u64) {
        if let Some(bucket) = self.buckets.get(self.position(word)) {
            simd::prefetch(bucket.slots());
        }
    }
}
