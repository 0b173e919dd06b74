//! The table of one arena: extents of buckets, each bucket one cache line.
//!
//! A bucket has eight slots and is filled from the front. A slot is [`EMPTY`], holds the mixed word
//! of one id, or is [`CLOSED`]. An insert probes up to [`PROBE_LENGTH`] buckets of an extent and
//! takes the first empty slot. If all are full, or one is closed, it continues in the next extent.
//! No slot is freed within a window. So a full probe stays full, every thread probes the same
//! buckets, and two threads with the same id meet in the same slot.
//!
//! A full table opens an extent of twice the size, to which its ids move: see
//! [`crate::table::growth`]. Freezing closes all buckets: see [`crate::table::freezing`].

use std::collections::TryReserveError;

use crate::sync::{AtomicU64, Ordering, Site, fence, ordering};
use crate::table::bucket::{Bucket, BucketInsert, CLOSED, EMPTY, Insert};
use crate::table::extent::{EXTENTS, Extents};
use crate::table::extent::{Extent, FROZEN_BIT};

/// Set in [`ArenaHeader::flags`] when the id whose mixed word is `EMPTY` is present.
pub(crate) const HAS_EMPTY: u64 = 1;
/// Set in [`ArenaHeader::flags`] when the id whose mixed word is [`CLOSED`] is present.
pub(crate) const HAS_CLOSED: u64 = 2;
/// Set in [`ArenaHeader::flags`] when a process died inside: its counts may lack ids of the table.
pub const UNCERTAIN: u64 = 4;

/// The words that belong to one arena.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct ArenaHeader {
    /// The use of the arena; see [`crate::window::word::ArenaState`].
    pub state: AtomicU64,
    /// Which extents are in use; see [`Extents`].
    pub extents: AtomicU64,
    /// The two ids that cannot be in a slot, `FROZEN_BIT`, after which they cannot be inserted,
    /// and [`UNCERTAIN`].
    pub flags: AtomicU64,
    /// Bytes from the arena's start that have storage behind them. Raised by a thread that has
    /// pinned the arena, lowered only by one that is alone in it.
    pub reserved: AtomicU64,
    spare: [u64; 12],
    /// How far the ids of each extent have moved to the next; see `table::growth`.
    pub moved: [AtomicU64; EXTENTS],
}

impl Default for ArenaHeader {
    fn default() -> Self {
        Self {
            state: AtomicU64::new(0),
            extents: AtomicU64::new(0),
            flags: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            spare: [0; 12],
            moved: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// The memory of an arena's buckets.
pub trait Storage {
    /// The buckets of extent `index` of a table whose first extent has `first` buckets. There are
    /// `first << index` of them, or fewer if the arena ends before. The extent must be open.
    fn extent(&self, first: usize, index: usize) -> &[Bucket];
    /// Puts storage behind extent `index`, without opening it.
    ///
    /// # Errors
    /// [`Shortage`], if the arena ends before the extent or no storage is left.
    fn reserve(&self, first: usize, index: usize) -> Result<(), Shortage>;
}

/// Why a table cannot take another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The arena's last extent is full.
    Full,
    /// The system refused storage, with this error number.
    Space(i32),
}

/// One arena's table: header, storage and the number of buckets of its first extent.
#[derive(Debug)]
pub struct Table<'a, S: Storage> {
    pub(crate) header: &'a ArenaHeader,
    storage: S,
    first: usize,
}

impl<'a, S: Storage> Table<'a, S> {
    /// The table over `storage` whose first extent has `first` buckets.
    pub fn new(header: &'a ArenaHeader, storage: S, first: usize) -> Self {
        Self { header, storage, first }
    }

    /// A view of the table as it is now, to insert into.
    #[inline]
    #[must_use]
    pub fn view(&self) -> View<'_, 'a, S> {
        let extents = self.extents();
        // Never cut off: the first extent is made so, and no other would have taken over.
        let buckets = self.storage.extent(self.first, extents.oldest());
        let oldest = Extent { buckets, is_whole: true };
        View { table: self, extents, oldest, is_moving: self.is_moving(extents) }
    }

    /// Inserts one mixed word; see [`View::insert`].
    ///
    /// # Errors
    /// As for [`View::insert`].
    #[inline]
    pub fn insert(&self, word: u64) -> Result<Insert, Shortage> {
        self.view().insert(word)
    }

    /// Inserts a word that is in no extent before `index`, and cannot be inserted into one.
    #[inline(never)]
    pub(crate) fn insert_from(&self, mut index: usize, word: u64) -> Result<Insert, Shortage> {
        loop {
            match self.extent(index).insert(word) {
                BucketInsert::New => return Ok(Insert::New),
                BucketInsert::Present => return Ok(Insert::Present),
                // Acquire: pairs with the Release of the thread that closed the bucket. The word
                // that is read next includes what that thread had seen or done.
                BucketInsert::Closed => fence(Ordering::Acquire),
                BucketInsert::Full => {}
            }
            let extents = self.extents();
            if index < extents.newest() {
                index += 1;
            } else if extents.are_frozen() {
                return Ok(Insert::Frozen);
            } else {
                self.open_behind(extents)?;
            }
        }
    }

    /// Opens the extent after the newest of `extents`, unless the word has changed.
    fn open_behind(&self, extents: Extents) -> Result<(), Shortage> {
        let index = extents.newest() + 1;
        if index == EXTENTS {
            return Err(Shortage::Full);
        }
        self.storage.reserve(self.first, index)?;
        // Release: pairs with the Acquire in `extents`. After a failure the caller reads the word
        // again.
        let release = ordering(Site::OpenExtent, Ordering::Release);
        let _ = self.header.extents.compare_exchange(
            extents.word(),
            extents.opened().word(),
            release,
            Ordering::Relaxed,
        );
        Ok(())
    }

    fn insert_flag(&self, flag: u64) -> Insert {
        // Relaxed throughout: no other memory depends on the word.
        let mut flags = self.header.flags.load(Ordering::Relaxed);
        loop {
            if flags & flag != 0 {
                return Insert::Present;
            }
            if flags & FROZEN_BIT != 0 {
                return Insert::Frozen;
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

    /// The number of words that are present: a snapshot while others insert.
    #[must_use]
    pub fn count(&self) -> u64 {
        let mut count = 0;
        if self.visit_once(|_| count += 1) {
            return count;
        }
        // Without memory, words that moved meanwhile are counted twice.
        self.words().map_or(count, |words| words.len() as u64)
    }

    /// The mixed words that are present, in no order: a snapshot while others insert.
    ///
    /// # Errors
    /// [`TryReserveError`], if there is no memory for them.
    pub fn words(&self) -> Result<Vec<u64>, TryReserveError> {
        let mut words = Vec::new();
        let mut reserved = Ok(());
        let is_once = self.visit_once(|word| {
            if words.len() == words.capacity() && reserved.is_ok() {
                reserved = words.try_reserve(1);
            }
            if reserved.is_ok() {
                words.push(word);
            }
        });
        reserved?;
        if !is_once {
            words.sort_unstable();
            words.dedup();
        }
        Ok(words)
    }

    /// Visits the words that are present. Returns whether each was visited once: one that moves
    /// meanwhile may be visited twice.
    fn visit_once(&self, visit: impl FnMut(u64)) -> bool {
        let before = self.extents();
        self.visit_from(0, usize::MAX, visit);
        before.are_frozen() || self.census(before).moving().is_none() && self.extents() == before
    }

    /// Visits the mixed words that are present, from bucket `position` of all extents on, until the
    /// bucket with which `most` words were read. Returns the position to continue at, or `None` at
    /// the end.
    ///
    /// Each word is visited once if the table was being frozen at position 0. While others insert,
    /// a word that moves may be visited twice.
    pub fn visit_from(
        &self,
        position: u64,
        most: usize,
        mut visit: impl FnMut(u64),
    ) -> Option<u64> {
        let extents = self.extents();
        let census = self.census(extents);
        if position == 0 && extents.are_frozen() && census.moving().is_some() {
            self.finish_freezing();
        }
        let flags = self.header.flags.load(Ordering::Relaxed);
        let mut visited = 0;
        for (flag, word) in [(HAS_EMPTY, EMPTY), (HAS_CLOSED, CLOSED)] {
            if position == 0 && flags & flag != 0 {
                visited += 1;
                visit(word);
            }
        }
        let mut passed = 0;
        for index in 0..=extents.newest() {
            let buckets = self.extent(index).buckets;
            let first = if census.extents().contains(&index) { position } else { u64::MAX };
            let from = first.saturating_sub(passed).min(buckets.len() as u64);
            for (at, bucket) in (passed + from..).zip(&buckets[from as usize..]) {
                bucket.for_each(|word| {
                    visited += 1;
                    // Upwards, as words move: a word that is left out here is visited in a later
                    // extent.
                    if census.counts(index, word) {
                        visit(word);
                    }
                });
                if visited >= most {
                    return Some(at + 1);
                }
            }
            passed += buckets.len() as u64;
        }
        None
    }

    /// The extents that are in use now.
    #[inline]
    #[must_use]
    pub fn extents(&self) -> Extents {
        // Acquire: pairs with the Release in `open_behind`, after which an extent has storage, and
        // with that in `leave`, after which the ids of an extent are in later ones.
        Extents::of(self.header.extents.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn extent(&self, index: usize) -> Extent<'_> {
        let buckets = self.storage.extent(self.first, index);
        Extent { buckets, is_whole: buckets.len() == self.first << index }
    }
}

/// A table as it was at some time: where an insert begins. It stays valid when the table grows: the
/// buckets of an extent that was left are full or closed, and keep their ids.
#[derive(Debug)]
pub struct View<'t, 'a, S: Storage> {
    table: &'t Table<'a, S>,
    extents: Extents,
    oldest: Extent<'t>,
    is_moving: bool,
}

impl<S: Storage> View<'_, '_, S> {
    /// Inserts a mixed word, and moves some others on if the table is growing.
    ///
    /// # Errors
    /// [`Shortage`], if there is no free slot and no further extent. Then the word is not inserted.
    #[inline]
    pub fn insert(&mut self, word: u64) -> Result<Insert, Shortage> {
        if word == EMPTY || word == CLOSED {
            let flag = if word == EMPTY { HAS_EMPTY } else { HAS_CLOSED };
            return Ok(self.table.insert_flag(flag));
        }
        if self.is_moving {
            self.table.move_some(self.extents);
            *self = self.table.view();
        }
        match self.oldest.insert(word) {
            BucketInsert::New => Ok(Insert::New),
            BucketInsert::Present => Ok(Insert::Present),
            BucketInsert::Full | BucketInsert::Closed => {
                let inserted = self.table.insert_from(self.extents.oldest(), word);
                *self = self.table.view();
                inserted
            }
        }
    }

    /// Prefetches the first bucket of the probe for `word`.
    #[inline]
    pub fn prefetch(&self, word: u64) {
        self.oldest.prefetch(word);
        if self.extents.are_several() {
            self.table.extent(self.extents.newest()).prefetch(word);
        }
    }
}
