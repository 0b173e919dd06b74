//! The mapped file: the only place where addresses become references.

#![expect(unsafe_code, reason = "a shared mapping is reached through raw addresses")]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use crate::platform;
use crate::segment::layout::{ARENAS_AT, CALLBACK_CELLS, CallbackCell, FRONT, Front};
use crate::table::Bucket;

/// A whole segment, mapped shared and writable; no core dump contains it.
#[derive(Debug)]
pub struct Mapping {
    /// Page-aligned start of `length` mapped bytes; mapped until the drop.
    base: NonNull<u8>,
    length: usize,
    /// Bytes of one arena, a multiple of 4,096: `ARENAS_AT + ARENAS * arena_bytes == length`.
    arena_bytes: usize,
}

// SAFETY: the mapping is reached through shared references to atomics, and its address is the same
// for all threads.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a segment whose arenas have `arena_bytes` bytes.
    ///
    /// The front must have storage behind it, and its header must be whole.
    pub fn new(file: &File, arena_bytes: u64) -> io::Result<Self> {
        let length =
            crate::segment::layout::length(arena_bytes).ok_or(io::ErrorKind::InvalidData)?;
        if file.metadata()?.len() < length {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: a fresh mapping of an open file; the kernel chooses the address.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                file.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(address.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Self { base, length: length as usize, arena_bytes: arena_bytes as usize };
        // SAFETY: mapped above.
        unsafe { platform::exclude_from_dumps(base.as_ptr(), mapping.length)? };
        Ok(mapping)
    }

    /// The front: identity, shared words, arenas' words, slots, ring.
    #[inline]
    #[must_use]
    pub fn front(&self) -> &Front {
        // SAFETY: the mapping is page-aligned, longer than `Front`, and lives as long as `self`.
        // What changes in `Front` is atomic; the rest was written before the file had its name.
        unsafe { self.base.cast::<Front>().as_ref() }
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
        unsafe {
            std::slice::from_raw_parts(self.base.add(offset).cast::<Bucket>().as_ptr(), count)
        }
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
        unsafe {
            let first = self.base.add(FRONT as usize).cast::<CallbackCell>();
            std::slice::from_raw_parts(first.as_ptr(), count)
        }
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
        unsafe {
            std::ptr::write_bytes(self.base.add(offset).as_ptr(), 0, bytes);
        }
    }

    /// Faults in `bytes` of `arena` from `first` on, for this process.
    pub fn populate(&self, arena: usize, first: usize, bytes: usize) {
        let page = platform::page_size() as usize;
        let first = first.min(self.arena_bytes) / page * page;
        let bytes = bytes.min(self.arena_bytes - first);
        // SAFETY: inside the mapping, by the two `min`.
        unsafe {
            platform::populate(self.base.add(self.arena_offset(arena) + first).as_ptr(), bytes);
        }
    }

    fn arena_offset(&self, arena: usize) -> usize {
        let offset = ARENAS_AT as usize + arena * self.arena_bytes;
        assert!(offset + self.arena_bytes <= self.length, "arena `{arena}` is out of range");
        offset
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and all references into it borrow from `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// Reads a header that was never mapped, from the start of a file.
pub fn header_of(bytes: &[u8]) -> Option<crate::segment::layout::Header> {
    if bytes.len() < size_of::<crate::segment::layout::Header>() {
        return None;
    }
    // SAFETY: long enough, read unaligned, and every bit pattern is a `Header` of integers.
    Some(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) })
}

/// The bytes of a new front.
pub fn bytes_of(front: &Front) -> &[u8] {
    // SAFETY: `Front` was zeroed whole, padding included, by `zeroed_front`; what was filled in since
    // are single fields without padding. Nobody else has it yet, so no atomic changes.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(front).cast(), size_of::<Front>()) }
}

/// A front of zeroes.
pub fn zeroed_front() -> Box<Front> {
    let layout = Layout::new::<Front>();
    // SAFETY: the layout has a size.
    let address = unsafe { alloc_zeroed(layout) };
    if address.is_null() {
        handle_alloc_error(layout);
    }
    // SAFETY: allocated with the layout of `Front`, whose fields are integers and atomics, for which
    // zero is a value.
    unsafe { Box::from_raw(address.cast()) }
}
