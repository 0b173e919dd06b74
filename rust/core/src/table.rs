//! The table of one arena: buckets of one cache line, walked in order, never moved.
//!
//! A bucket has eight slots and is filled from the front. A slot is [`EMPTY`], holds the mixed
//! word of one id, or is [`SEALED`]. An id walks up to [`WALK`] buckets of the first extent and takes
//! the first empty slot; if all are full it goes on in the next extent. A slot is never freed inside
//! a window, so "this walk is full" stays true, every thread walks the same path, and two threads
//! with the same id meet on the same slot.
//!
//! Freezing puts [`SEALED`] into the first empty slot of each bucket: since a bucket is filled
//! from the front, it cannot change after that.

pub use crate::bucket::{Bucket, EMPTY, Insert, SEALED, SLOTS};
use crate::line;
use crate::primitive::{AtomicU64, Ordering, Site, ordering, strong};

/// Buckets that an id may walk in the first extent. Of eight, none goes on at a load of 0.55; of
/// four, one in 30,000 does, and opens the next extent for everybody.
pub const WALK: usize = if cfg!(loom) { 2 } else { 8 };
/// Buckets that an id may walk in each extent behind the first: looking through the full ones is
/// what a growing table is slow for.
pub const WALK_BEYOND: usize = if cfg!(loom) { 2 } else { 4 };
/// Each extent behind the second has this many times the buckets of the one before. The second is
/// as large as the first.
pub const GROWTH: usize = 4;
/// Extents that a table may have; the last ones would be larger than any memory.
pub const EXTENTS: usize = 16;

/// Buckets between the one that is being frozen and the one that is asked for.
const FREEZE_AHEAD: usize = 32;

/// Set in [`ArenaHeader::extents`] and [`ArenaHeader::flags`] once the table is being frozen.
const SEALED_BIT: u64 = 1 << 63;
/// Set in [`ArenaHeader::flags`] when the id whose mixed word is `EMPTY` is present.
const HAS_EMPTY: u64 = 1;
/// Set in [`ArenaHeader::flags`] when the id whose mixed word is [`SEALED`] is present.
const HAS_SEALED: u64 = 2;
/// Set in [`ArenaHeader::flags`] when a process died inside: its counts may be behind the table.
pub const UNCERTAIN: u64 = 4;

/// The words that belong to one arena.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct ArenaHeader {
    /// What the arena is used for; see [`crate::window::State`].
    pub state: AtomicU64,
    /// Extents opened beyond the first, and the bit that says that no more may be.
    pub extents: AtomicU64,
    /// The two ids that cannot stand in a slot, the bit that says that they may not come any more,
    /// and [`UNCERTAIN`].
    pub flags: AtomicU64,
    /// Bytes from the arena's start that have storage behind them. Raised by whoever announces
    /// the arena, lowered only by whoever has it alone.
    pub reserved: AtomicU64,
    spare: [u64; 12],
}

impl Default for ArenaHeader {
    fn default() -> Self {
        Self {
            state: AtomicU64::new(0),
            extents: AtomicU64::new(0),
            flags: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            spare: [0; 12],
        }
    }
}

/// Where the buckets of an arena come from.
pub trait Storage {
    /// The buckets of extent `index` of a table whose first extent has `first` buckets; empty
    /// where the arena ends. Only an open extent may be asked for.
    fn extent(&self, first: usize, index: usize) -> &[Bucket];
    /// Makes sure that extent `index` has storage behind it, without opening it.
    ///
    /// # Errors
    /// [`Shortage`], when the arena ends before the extent or no storage is left.
    fn reserve(&self, first: usize, index: usize) -> Result<(), Shortage>;
}

/// Why a table cannot take one more id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The arena's last extent is full.
    Full,
    /// The file system or the memory has no room.
    Space,
}

/// One arena's table: header, storage and the number of buckets of its first extent.
#[derive(Debug)]
pub struct Table<'a, S: Storage> {
    header: &'a ArenaHeader,
    storage: S,
    first: usize,
}

/// Outcome of one walk.
enum Walk {
    Done(Insert),
    Full,
}

impl<'a, S: Storage> Table<'a, S> {
    /// The table over `storage` whose first extent has `first` buckets.
    pub fn new(header: &'a ArenaHeader, storage: S, first: usize) -> Self {
        Self { header, storage, first }
    }

    /// Inserts a mixed word.
    ///
    /// # Errors
    /// [`Shortage`] when no slot and no further extent is to be had; nothing has changed then.
    #[inline]
    pub fn insert(&self, word: u64) -> Result<Insert, Shortage> {
        if word == EMPTY || word == SEALED {
            return Ok(self.insert_flag(if word == EMPTY { HAS_EMPTY } else { HAS_SEALED }));
        }
        match walk(self.storage.extent(self.first, 0), word, 0) {
            Walk::Done(insert) => Ok(insert),
            Walk::Full => self.insert_beyond(word),
        }
    }

    #[inline(never)]
    fn insert_beyond(&self, word: u64) -> Result<Insert, Shortage> {
        self.prefetch(word, self.extents());
        let mut index = 1;
        loop {
            // Acquire: pairs with the Release in `open`, behind which the extent has storage.
            let opened = self.header.extents.load(Ordering::Acquire);
            if index as u64 > opened & !SEALED_BIT {
                if opened & SEALED_BIT != 0 {
                    return Ok(Insert::Sealed);
                }
                self.open(opened, index)?;
                continue;
            }
            match walk(self.storage.extent(self.first, index), word, index) {
                Walk::Done(insert) => return Ok(insert),
                Walk::Full => index += 1,
            }
        }
    }

    /// Opens extent `index`, unless someone else did or the table is being frozen.
    fn open(&self, opened: u64, index: usize) -> Result<(), Shortage> {
        self.storage.reserve(self.first, index)?;
        // Release: pairs with the Acquire loads of `extents`. A failure is read again by the caller.
        let release = ordering(Site::OpenExtent, Ordering::Release);
        let _ =
            self.header.extents.compare_exchange(opened, opened + 1, release, Ordering::Relaxed);
        Ok(())
    }

    fn insert_flag(&self, flag: u64) -> Insert {
        // Relaxed throughout: the word is all there is, no other memory hangs on it.
        let mut flags = self.header.flags.load(Ordering::Relaxed);
        loop {
            if flags & flag != 0 {
                return Insert::Present;
            }
            if flags & SEALED_BIT != 0 {
                return Insert::Sealed;
            }
            match self.header.flags.compare_exchange_weak(
                flags,
                flags | flag,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Insert::New,
                Err(now) => flags = now,
            }
        }
    }

    /// Freezes the table and counts its ids. Any number of threads may do so at once, while
    /// others insert: all of them get the same count, and no id comes in behind it.
    pub fn freeze(&self) -> u64 {
        // AcqRel: Acquire pairs with the Release in `open`, so that every extent that was opened
        // before is passed over; after this no further one can be opened.
        let opened = if strong(Site::FreezeExtents) {
            self.header.extents.fetch_or(SEALED_BIT, Ordering::AcqRel)
        } else {
            self.header.extents.load(Ordering::Acquire)
        };
        let flags = self.header.flags.fetch_or(SEALED_BIT, Ordering::Relaxed);
        let mut count = u64::from((flags & (HAS_EMPTY | HAS_SEALED)).count_ones());
        for index in 0..=extents_beyond(opened) {
            let buckets = self.storage.extent(self.first, index);
            for (at, bucket) in buckets.iter().enumerate() {
                // The processor's own look-ahead ends with each page.
                if let Some(ahead) = buckets.get(at + FREEZE_AHEAD) {
                    line::prefetch(ahead.slots());
                }
                count += bucket.freeze();
            }
        }
        if !strong(Site::FreezeExtents) {
            self.header.extents.fetch_or(SEALED_BIT, Ordering::AcqRel);
        }
        count
    }

    /// Passes over the mixed words that are present, in no order: a snapshot while others insert,
    /// exact in a frozen table.
    pub fn for_each(&self, visit: impl FnMut(u64)) {
        self.visit_from(0, usize::MAX, visit);
    }

    /// As [`Table::for_each`], from bucket `position` of all extents on, up to the bucket with which
    /// it has been `most` words: where to go on, or `None` at the end.
    pub fn visit_from(
        &self,
        position: u64,
        most: usize,
        mut visit: impl FnMut(u64),
    ) -> Option<u64> {
        // Acquire: as in `insert_beyond`.
        let opened = self.header.extents.load(Ordering::Acquire);
        let flags = self.header.flags.load(Ordering::Relaxed);
        let mut visited = 0;
        for (flag, word) in [(HAS_EMPTY, EMPTY), (HAS_SEALED, SEALED)] {
            if position == 0 && flags & flag != 0 {
                visited += 1;
                visit(word);
            }
        }
        let mut passed = 0;
        for index in 0..=extents_beyond(opened) {
            let buckets = self.storage.extent(self.first, index);
            let from = position.saturating_sub(passed).min(buckets.len() as u64);
            for (at, bucket) in (passed + from..).zip(&buckets[from as usize..]) {
                bucket.for_each(|word| {
                    visited += 1;
                    visit(word);
                });
                if visited >= most {
                    return Some(at + 1);
                }
            }
            passed += buckets.len() as u64;
        }
        None
    }

    /// Brings the walk of `word` nearer in the first `extents` extents: the first line in the last of
    /// them, all lines in those before, which are mostly full.
    #[inline]
    pub fn prefetch(&self, word: u64, extents: usize) {
        for index in 0..extents - 1 {
            self.prefetch_walk(word, index);
        }
        let buckets = self.storage.extent(self.first, extents - 1);
        if let Some(bucket) = buckets.get(position(buckets.len(), word, extents - 1)) {
            line::prefetch(bucket.slots());
        }
    }

    #[inline(never)]
    fn prefetch_walk(&self, word: u64, index: usize) {
        for bucket in path(self.storage.extent(self.first, index), word, index) {
            line::prefetch(bucket.slots());
        }
    }

    /// Extents that are open now.
    #[inline]
    #[must_use]
    pub fn extents(&self) -> usize {
        // Acquire: as in `insert_beyond`.
        1 + extents_beyond(self.header.extents.load(Ordering::Acquire))
    }
}

fn extents_beyond(opened: u64) -> usize {
    (opened & !SEALED_BIT) as usize
}

/// The bucket at which the walk of `word` begins: the high half of a product, so that an extent
/// may have any number of buckets (Lemire, "Fast random integer generation in an interval").
/// Each extent looks at other bits first, so that a crowd in one is no crowd in the next.
#[inline]
fn position(buckets: usize, word: u64, extent: usize) -> usize {
    let word = word.rotate_left(23 * extent as u32);
    ((u128::from(word) * buckets as u128) >> 64) as usize
}

#[inline]
fn walk_length(extent: usize) -> usize {
    if extent == 0 { WALK } else { WALK_BEYOND }
}

/// The buckets of an extent that the walk of `word` passes, in order.
#[inline]
fn path(buckets: &[Bucket], word: u64, extent: usize) -> impl Iterator<Item = &Bucket> {
    let mut at = position(buckets.len(), word, extent);
    (0..walk_length(extent).min(buckets.len())).map(move |_| {
        let bucket = &buckets[at];
        at += 1;
        if at == buckets.len() {
            at = 0;
        }
        bucket
    })
}

#[inline]
fn walk(buckets: &[Bucket], word: u64, extent: usize) -> Walk {
    if buckets.is_empty() {
        return Walk::Full;
    }
    let mut at = position(buckets.len(), word, extent);
    for _ in 0..walk_length(extent).min(buckets.len()) {
        if let Some(insert) = buckets[at].insert(word) {
            return Walk::Done(insert);
        }
        at += 1;
        if at == buckets.len() {
            at = 0;
        }
    }
    Walk::Full
}
