//! The buckets of an arena of a segment, and the storage behind them.

use crate::counter::handle::Counter;
use crate::counter::participant::Participant;
use crate::platform;
use crate::segment::attachment::Segment;
use crate::segment::layout::ARENAS_AT;
use crate::sync::Ordering;
use crate::table::{Bucket, EXTENTS, Shortage, Storage, Table};
use crate::window::word::buckets_of_step;

/// The buckets of one arena of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arena<'a> {
    segment: &'a Segment,
    arena: usize,
}

/// Bytes of storage that one call reserves: about a millisecond.
const PIECE: u64 = 2 << 20;

/// First bucket and number of buckets of extent `index`, if the first extent has `first` buckets.
/// The extents follow each other, so a table always uses the same pages from the arena's start.
#[inline]
fn extent_range(first: usize, index: usize) -> (usize, usize) {
    // Nearly all inserts: a twenty-fifth of the time of one in a small table.
    if index == 0 {
        return (0, first);
    }
    let times = 1 << index.min(EXTENTS);
    (first.saturating_mul(times - 1), first.saturating_mul(times))
}

impl Storage for Arena<'_> {
    #[inline]
    fn extent(&self, first: usize, index: usize) -> &[Bucket] {
        let (at, count) = extent_range(first, index);
        self.segment.mapping.buckets(self.arena, at, count)
    }

    fn reserve(&self, first: usize, index: usize) -> Result<(), Shortage> {
        self.reserve_some(first, index, u64::MAX).map(drop)
    }
}

impl Arena<'_> {
    /// As `reserve`, for about `most` bytes. Returns whether the whole extent is reserved.
    pub(crate) fn reserve_some(
        &self,
        first: usize,
        index: usize,
        most: u64,
    ) -> Result<bool, Shortage> {
        let front = self.segment.mapping.front();
        let header = &front.arenas[self.arena];
        let (at, count) = extent_range(first, index);
        let whole = front.header.arena_bytes;
        let begin = at.saturating_mul(size_of::<Bucket>()) as u64;
        if begin >= whole {
            return Err(Shortage::Full);
        }
        let end = at.saturating_add(count).saturating_mul(size_of::<Bucket>()) as u64;
        let end = end.min(whole).next_multiple_of(platform::page_size()).min(whole);
        // Acquire and AcqRel: a thread that sees the mark may use the bytes that it covers.
        let mut reserved = header.reserved.load(Ordering::Acquire);
        if reserved >= end {
            return Ok(true);
        }
        // A request to a full file system costs more than an insert, and every id without room
        // would make one.
        let grows = index > 0;
        if grows && self.segment.is_short() {
            return Err(Shortage::Space(self.segment.shortage()));
        }
        // In pieces, since each signal undoes the call that it interrupts. In one call if there may
        // not be room for all: a call that fails takes nothing from others.
        let fits =
            platform::free_storage(&self.segment.file).is_none_or(|free| free > end - reserved);
        let (piece, most) =
            if fits { (PIECE, most.max(PIECE) / PIECE * PIECE) } else { (end, end) };
        let target = end.min(reserved.saturating_add(most));
        // Several threads may reserve the same range at once. A call that fails takes back nothing
        // that another one was promised: tmpfs settles pages that are requested twice.
        let offset = ARENAS_AT + self.arena as u64 * whole;
        while reserved < target {
            let next = target.min(reserved.saturating_add(piece));
            platform::reserve(&self.segment.file, offset + reserved, next - reserved).map_err(
                |error| {
                    let number = error.raw_os_error().unwrap_or(libc::ENOSPC);
                    if grows {
                        self.segment.note_shortage(number);
                    }
                    Shortage::Space(number)
                },
            )?;
            header.reserved.fetch_max(next, Ordering::AcqRel);
            reserved = next;
        }
        Ok(target == end)
    }
}

impl Counter {
    #[inline]
    pub(crate) fn table(&self, arena: usize, size_step: u8) -> Table<'_, Arena<'_>> {
        Table::new(&self.front().arenas[arena], self.storage(arena), buckets_of_step(size_step))
    }

    #[inline]
    pub(crate) fn storage(&self, arena: usize) -> Arena<'_> {
        Arena { segment: self.segment(), arena }
    }

    /// Bytes of `arena` that have storage behind them.
    pub(crate) fn reserved(&self, arena: usize) -> u64 {
        // Relaxed: for figures and plans; `Arena::reserve` decides.
        self.front().arenas[arena].reserved.load(Ordering::Relaxed)
    }

    /// Bytes of the extents of the table in `arena`, those that it has left included.
    pub(crate) fn used_bytes(&self, arena: usize, size_step: u8) -> u64 {
        self.bytes_up_to(size_step, self.table(arena, size_step).extents().newest() + 1)
    }

    /// Slots of the extents in use of the table in `arena`.
    pub(crate) fn slots(&self, arena: usize, size_step: u8) -> u64 {
        let extents = self.table(arena, size_step).extents();
        let used = self.bytes_up_to(size_step, extents.newest() + 1);
        (used - self.bytes_up_to(size_step, extents.oldest())) / size_of::<u64>() as u64
    }

    /// Bytes of the first `extents` extents.
    fn bytes_up_to(&self, size_step: u8, extents: usize) -> u64 {
        let (at, _) = extent_range(buckets_of_step(size_step), extents);
        (at.saturating_mul(size_of::<Bucket>()) as u64).min(self.front().header.arena_bytes)
    }

    /// Zeroes `arena`, for a caller that is alone in it: at most `most` buckets, which are counted
    /// down. Returns false if the caller has to call again, to continue or to retry.
    ///
    /// If the process is killed in between, the next one begins anew: the extents to zero are not
    /// forgotten before they are zero.
    pub(crate) fn zero(
        &self,
        participant: &Participant,
        arena: usize,
        size_step: u8,
        wanted: u64,
        most: &mut usize,
    ) -> bool {
        if *most == 0 {
            return false;
        }
        let front = self.front();
        let header = &front.arenas[arena];
        let file = &self.segment().file;
        let page = platform::page_size();
        let at = ARENAS_AT + arena as u64 * front.header.arena_bytes;
        let used = self.used_bytes(arena, size_step);
        // Relaxed: the caller is alone; the step to `Free` releases all of this.
        let reserved = header.reserved.load(Ordering::Relaxed);
        let mut kept = reserved.min(wanted.max(1).next_multiple_of(page));
        // More bytes may be used than marked, if a process was killed right below.
        let end = reserved.max(used.next_multiple_of(page)).min(front.header.arena_bytes);
        if end > kept {
            // The mark comes first: no thread may rely on storage that is gone.
            header.reserved.store(kept, Ordering::Relaxed);
            if platform::punch_hole(file, at + kept, end - kept).is_err() {
                if platform::reserve(file, at + kept, end - kept).is_err() {
                    return false;
                }
                header.reserved.store(end, Ordering::Relaxed);
                kept = end;
            }
        }
        // No process pins the arena in this state, which names its window, so zeroed bytes stay
        // zero.
        let clearing = (arena, self.rollover().state(arena));
        let all = used.min(kept) as usize;
        let from = participant.progress().zeroed(clearing).min(all);
        let to = all.min(from.saturating_add(most.saturating_mul(size_of::<Bucket>())));
        self.segment().mapping.zero(arena, from, to);
        *most -= (to - from).div_ceil(size_of::<Bucket>()).min(*most);
        participant.progress().keep_zeroed(clearing, to);
        if to < all {
            return false;
        }
        for slot in &front.participants {
            let counts = &slot.counts[arena];
            for (count, before) in [
                (&counts.requests, &slot.requests_before),
                (&counts.new, &slot.new_before),
                (&counts.late, &slot.late_before),
            ] {
                before.fetch_add(count.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            }
            counts.acknowledged.store(0, Ordering::Relaxed);
        }
        for moved in &header.moved {
            moved.store(0, Ordering::Relaxed);
        }
        // Release: stays after the zeroing. The extents must not be forgotten before they are zero.
        header.extents.store(0, Ordering::Release);
        header.flags.store(0, Ordering::Release);
        true
    }
}
