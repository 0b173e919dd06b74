//! What somebody has to do once in a while: turn the window, publish, free arenas, think ahead.
//!
//! Every step may be done by any number of processes at once and be cut off anywhere.

use crate::counter::arena::Arena;
use crate::counter::handle::Counter;
use crate::counter::participant::{Growth, Seat, Upkeep};
use crate::error::Error;
use crate::segment::creation::{FIRST_BUCKETS, SMALLEST, first_step};
use crate::segment::layout::PARTICIPANTS;
use crate::sync::Ordering;
use crate::table::{Bucket, SLOTS_PER_BUCKET, Storage};
use crate::window::ring;
use crate::window::word::{ARENAS, ArenaState, CurrentWord, buckets_of_step};

/// Records that the size of a new table is taken from.
const RECENT: u64 = 4;
/// A freed arena keeps up to this many times what the next window needs.
const KEPT: u64 = 4;
/// A table this many times smaller than it should be was made when storage was short.
const SHORT: usize = 4;
/// Bytes that one call of `populate` faults in at the most: some milliseconds.
const POPULATED_AT_ONCE: u64 = 16 << 20;
/// Buckets that a round of the leader closes, zeroes or puts storage behind at the most: some tens of
/// milliseconds, so that its heart goes on beating.
const OF_LEADER: usize = 1 << 21;
/// Those of a writer, who has a caller waiting: about a millisecond.
const OF_WRITER: usize = 1 << 15;
/// Nanoseconds between two rounds of the writers of a process.
const PAUSE: u64 = 2_000_000;
/// Chunks of 16 buckets that one round of upkeep moves at the most: some milliseconds.
const MOVED_AT_ONCE: usize = 1_024;

/// What any process does for the others; see [`Counter::maintenance`].
#[derive(Clone, Copy, Debug)]
pub struct Maintenance<'a> {
    counter: &'a Counter,
}

impl Maintenance<'_> {
    /// Runs one round: disciplines the clock, rolls the window over, seals, reaps the dead, frees
    /// arenas, and reserves storage ahead of need. The leader calls it about twenty times per
    /// second. A round is bounded: large tables are sealed and zeroed in several.
    ///
    /// # Errors
    /// As for [`Counter::add`], when the window could not be rolled over; the rest was done.
    pub fn run(self) -> Result<(), Error> {
        self.counter.tend_some(self.counter.seat()?, OF_LEADER).map(drop)
    }

    /// Faults in pages that this process will soon write to, a bounded number per call: a fresh
    /// page costs a request many times what an insert does. Each worker calls it every 100 ms.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own.
    pub fn populate(self) -> Result<(), Error> {
        let seat = self.counter.seat()?;
        let rollover = self.counter.rollover();
        let word = rollover.current();
        let current = (word.arena(), self.counter.reserved(word.arena()));
        let next = rollover.next_free().map(|arena| {
            let start = buckets_of_step(self.counter.next_step(word)) * size_of::<Bucket>();
            (arena, self.counter.reserved(arena).min(start as u64))
        });
        for (arena, wanted) in [current].into_iter().chain(next) {
            let have = &seat.populated[arena];
            // Relaxed: a note of this process to itself; pages given back are faulted on use.
            let from = have.load(Ordering::Relaxed).min(self.counter.reserved(arena));
            let bytes = wanted.saturating_sub(from).min(POPULATED_AT_ONCE);
            if bytes > 0 {
                self.counter.segment().mapping.populate(arena, from as usize, bytes as usize);
            }
            have.store(from + bytes, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Counter {
    /// What any process does for the others, mostly the leader.
    #[must_use]
    pub fn maintenance(&self) -> Maintenance<'_> {
        Maintenance { counter: self }
    }

    /// A round of a writer while nobody leads. Some later call goes on if anything is left to do.
    pub(crate) fn tend_as_writer(&self, seat: &Seat) -> Result<(), Error> {
        let is_done = self.tend_some(seat, OF_WRITER)?;
        // Relaxed: a note of this process to itself.
        seat.due.store(!is_done, Ordering::Relaxed);
        if !is_done {
            self.cached_window().expire_within(PAUSE);
        }
        Ok(())
    }

    /// A round that passes over `most` buckets at the most: whether nothing is left to do.
    fn tend_some(&self, seat: &Seat, mut most: usize) -> Result<bool, Error> {
        // Relaxed: as in `follow_reference`.
        if !self.by_reference().load(Ordering::Relaxed) {
            self.clock().discipline(&self.front().header.clock.0);
        }
        let turned = self.roll_over_to(seat, self.now_window());
        let mut is_done = self.publish_some(seat, &mut most);
        if let Some(upkeep) = seat.try_upkeep() {
            for slot in 0..PARTICIPANTS {
                if self.front().participants[slot].process.load(Ordering::Relaxed) != 0
                    && !seat.is_alive(slot)
                {
                    seat.reap(&upkeep, self.segment(), slot);
                }
            }
            is_done &= self.free(seat, &upkeep, &mut most);
            self.grow_on(seat);
        }
        is_done &= self.reserve_ahead(seat, most);
        turned.map(|()| is_done)
    }

    /// Moves the current word to `window`, unless it is there or beyond.
    #[cold]
    pub(crate) fn roll_over_to(&self, seat: &Seat, window: u64) -> Result<(), Error> {
        let rollover = self.rollover();
        let pins = &self.front().participants[seat.slot].pins;
        let reserve =
            |arena, word: CurrentWord| reserve_start(self.storage(arena), self.next_step(word));
        if rollover.open(pins, window, reserve)? {
            return Ok(());
        }
        self.publish(seat);
        if let Some(upkeep) = seat.try_upkeep() {
            self.free(seat, &upkeep, &mut { usize::MAX });
        }
        if rollover.open(pins, window, reserve)? { Ok(()) } else { Err(Error::NoArena) }
    }

    /// The size step for the window after `word`'s: twice the ids of the recent windows.
    fn next_step(&self, word: CurrentWord) -> u8 {
        let front = self.front();
        let published = self.published();
        let recent = (published.saturating_sub(RECENT - 1)..=published)
            .filter_map(|window| ring::slot(&front.ring, window).read(window))
            .map(|figures| figures.unique)
            .chain([self.counted(word.arena()).new])
            .max()
            .unwrap_or(0);
        let buckets = (2 * recent).div_ceil(SLOTS_PER_BUCKET as u64) as usize;
        first_step(front.header.arena_bytes, buckets.max(FIRST_BUCKETS))
    }

    /// Zeroes and frees the arenas of published windows that nobody is inside of, and that need not
    /// be kept for a store. Zeroes `most` buckets at the most, which are counted down: whether that was all.
    fn free(&self, seat: &Seat, upkeep: &Upkeep<'_>, most: &mut usize) -> bool {
        let mut is_done = true;
        let front = self.front();
        let rollover = self.rollover();
        let clearable = self.retention().clearable();
        // Each process begins elsewhere: two that look at one arena at once keep each other out.
        for arena in (0..ARENAS).map(|step| (seat.slot + step) % ARENAS) {
            let others = || {
                (0..PARTICIPANTS).any(|slot| {
                    slot != seat.slot
                        && front.participants[slot].pins.count(arena) != 0
                        && !seat.reap(upkeep, self.segment(), slot)
                })
            };
            let zero = |size_step| {
                let is_zero = self.zero(seat, arena, size_step, self.bytes_to_keep(), most);
                is_done &= is_zero;
                is_zero
            };
            rollover.clear(&front.participants[seat.slot].pins, arena, clearable, others, zero);
        }
        is_done
    }

    /// Bytes of storage that a freed arena keeps at the most.
    fn bytes_to_keep(&self) -> u64 {
        let word = self.rollover().current();
        if self.is_short(word) {
            return 0;
        }
        (buckets_of_step(self.next_step(word)) * size_of::<Bucket>()) as u64 * KEPT
    }

    /// Whether storage was short when the window of `word` was opened: it needs what there is now
    /// more than the next one.
    fn is_short(&self, word: CurrentWord) -> bool {
        buckets_of_step(word.size_step()) * SHORT <= buckets_of_step(self.next_step(word))
    }

    /// Moves the ids of the current table again, where somebody died or stopped who had begun to: for all
    /// chunks are taken, and have been since the round before. A bounded number at a call.
    fn grow_on(&self, seat: &Seat) {
        let rollover = self.rollover();
        let word = rollover.current();
        let pins = &self.front().participants[seat.slot].pins;
        if let Ok(_entered) = rollover.enter(pins, word) {
            let table = self.table(word.arena(), word.size_step());
            if let Some(extent) = table.stalled_extent() {
                let mut growth = seat.growth.lock().expect("no panic while ids move");
                if growth.at == Some((word, extent)) {
                    growth.chunk = table.move_again(extent, growth.chunk, MOVED_AT_ONCE);
                } else {
                    *growth = Growth { at: Some((word, extent)), chunk: 0 };
                }
            }
        }
    }

    /// Reserves the next extent of a table that is nearly full, and the start of the next window's: storage
    /// for `most` buckets at the most for the latter. Whether that was all.
    fn reserve_ahead(&self, seat: &Seat, most: usize) -> bool {
        let mut is_done = true;
        let rollover = self.rollover();
        let word = rollover.current();
        let pins = &self.front().participants[seat.slot].pins;
        if let Ok(_entered) = rollover.enter(pins, word) {
            let table = self.table(word.arena(), word.size_step());
            // Beyond what a table is made for, and before it grows.
            if self.counted(word.arena()).new * 16 > self.slots(word.arena(), word.size_step()) * 9
            {
                let next = table.extents().newest() + 1;
                // A shortage is told to the writer who meets it.
                let _ = self.storage(word.arena()).reserve(buckets_of_step(word.size_step()), next);
            }
        }
        if !self.is_short(word)
            && let Some(arena) = rollover.next_free()
            && let Some(_pinned) = rollover.enter_in(pins, arena, ArenaState::Free)
        {
            let start = buckets_of_step(self.next_step(word));
            let bytes = (most * size_of::<Bucket>()) as u64;
            // Of what does not fit there is less, and the window's start is made smaller.
            match self.storage(arena).reserve_some(start, 0, bytes) {
                Ok(is_all) => is_done = is_all,
                Err(_) => drop(reserve_start(self.storage(arena), self.next_step(word))),
            }
        }
        is_done
    }
}

/// Puts storage behind the first extent of a table in `arena`: of step `step`, or smaller where
/// that does not fit.
fn reserve_start(arena: Arena<'_>, step: u8) -> Result<u8, Error> {
    let smallest = step.min(SMALLEST);
    let mut at = step;
    loop {
        match arena.reserve(buckets_of_step(at), 0) {
            Ok(()) => return Ok(at),
            Err(shortage) if at <= smallest => return Err(shortage.into()),
            Err(_) => at = at.saturating_sub(4).max(smallest),
        }
    }
}
