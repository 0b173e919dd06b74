//! The mapped file: the only place where addresses become references.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "a shared mapping, which begins at a page, is reached through raw addresses"
)]

use std::fs::File;
use std::io;

use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::segment::layout::{self, ARENAS_AT, CALLBACK_CELLS, CallbackCell, FRONT, Front};
use crate::table::Bucket;

/// A whole segment, mapped shared and writable. No core dump contains it.
#[derive(Debug)]
pub struct Mapping {
    /// `ARENAS_AT + ARENAS * arena_bytes` bytes.
    map: MmapRaw,
    /// Bytes of one arena, a multiple of 4,096.
    arena_bytes: usize,
}

impl Mapping {
    /// Maps a segment whose arenas have `arena_bytes` bytes.
    ///
    /// The front must have storage behind it. Its header must be whole, or be written by the caller
    /// through [`Self::front_mut`].
    pub fn new(file: &File, arena_bytes: u64) -> io::Result<Self> {
        let length = layout::length(arena_bytes).ok_or(io::ErrorKind::InvalidData)?;
        if file.metadata()?.len() < length {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let map = MmapOptions::new().len(length as usize).no_reserve_swap().map_raw(file)?;
        #[cfg(target_os = "linux")]
        map.advise(Advice::DontDump)?;
        Ok(Self { map, arena_bytes: arena_bytes as usize })
    }

    /// The front: identity, shared words, arenas' words, slots, ring.
    #[inline]
    #[must_use]
    pub fn front(&self) -> &Front {
        // SAFETY: the mapping is page-aligned, longer than `Front`, and lives as long as `self`.
        // What changes in `Front` is atomic; the rest was written before the file had its name.
        unsafe { &*self.map.as_ptr().cast::<Front>() }
    }

    /// The front of a segment that is being made. No other process may know the file yet.
    pub(crate) fn front_mut(&mut self) -> &mut Front {
        // SAFETY: as in `front`; any bytes are a `Front` of integers and atomics. `self` is borrowed
        // exclusively, and its creator is the only process that has the file.
        unsafe { &mut *self.map.as_mut_ptr().cast::<Front>() }
    }

    /// `count` buckets of `arena` from bucket `first` on; cut off where the arena ends.
    ///
    /// Touching a bucket without storage behind it may end the process by a signal: only what
    /// [`crate::table::ArenaHeader::reserved`] covers may be read or written.
    #[inline]
    #[must_use]
    pub fn buckets(&self, arena: usize, first: usize, count: usize) -> &[Bucket] {
        let whole = self.arena_bytes / size_of::<Bucket>();
        let first = first.min(whole);
        let count = count.min(whole - first);
        let offset = self.arena_offset(arena) + first * size_of::<Bucket>();
        // SAFETY: inside the mapping by the two `min` and the assertion in `arena_offset`; aligned
        // to 64, since arenas begin at multiples of 4,096; any bytes are a `Bucket` of atomics, and
        // only atomics touch them, but for `zero`.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(offset).cast(), count) }
    }

    /// The first `count` cells of the callback slab. Only those that have storage behind them may be
    /// read or written, as with buckets.
    #[inline]
    #[must_use]
    pub fn callback_cells(&self, count: usize) -> &[CallbackCell] {
        let count = count.min(CALLBACK_CELLS);
        // SAFETY: the cells lie between the front and the arenas, so inside the mapping; aligned,
        // since the front is a multiple of 4,096 bytes; any bytes are a cell of atomics, and only
        // atomics touch them.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(FRONT as usize).cast(), count) }
    }

    /// Zeroes the bytes of `arena` from `first` up to `end`. Only for whoever has the arena alone.
    pub fn zero(&self, arena: usize, first: usize, end: usize) {
        let first = first.min(self.arena_bytes);
        let bytes = end.min(self.arena_bytes).saturating_sub(first);
        let offset = self.arena_offset(arena) + first;
        // SAFETY: inside the mapping, and nobody else reads or writes there: the arena's state is
        // `Clearing`, the caller announces it, and no other thread or live process does. Whoever
        // comes now sees the state, or the current word that has moved on, before he touches a
        // bucket; see `Rollover::clear`.
        unsafe { std::ptr::write_bytes(self.map.as_mut_ptr().add(offset), 0, bytes) };
    }

    /// Faults in `bytes` of `arena` from `first` on, for this process, if the system can do so ahead of
    /// use.
    pub fn populate(&self, arena: usize, first: usize, bytes: usize) {
        let first = first.min(self.arena_bytes);
        let bytes = bytes.min(self.arena_bytes - first);
        // A failure leaves the pages to be faulted one by one.
        #[cfg(target_os = "linux")]
        let _ =
            self.map.advise_range(Advice::PopulateWrite, self.arena_offset(arena) + first, bytes);
        #[cfg(not(target_os = "linux"))]
        let _ = (arena, bytes);
    }

    fn arena_offset(&self, arena: usize) -> usize {
        let offset = ARENAS_AT as usize + arena * self.arena_bytes;
        assert!(offset + self.arena_bytes <= self.map.len(), "arena `{arena}` is out of range");
        offset
    }
}
