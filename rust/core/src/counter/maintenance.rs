//! Maintenance: rolls the window over, seals, reaps, frees arenas, and reserves storage ahead.
//!
//! Any number of processes may do each step at the same time, and may be killed anywhere in it.

use crate::counter::arena::Arena;
use crate::counter::handle::Counter;
use crate::counter::participant::{Growth, MaintenanceGuard, Participant};
use crate::error::Error;
use crate::segment::creation::SMALLEST;
use crate::segment::layout::PARTICIPANTS;
use crate::segment::size::step_after;
use crate::sync::Ordering;
use crate::table::{Bucket, Storage};
use crate::window::ring;
use crate::window::word::{ARENAS, ArenaState, CurrentWord, buckets_of_step};

/// Number of records from which the size of a new table is derived.
const RECENT: u64 = 4;
/// A freed arena keeps at most this multiple of the storage that the next window needs.
const KEPT: u64 = 4;
/// A table that is this many times smaller than intended was made while storage was short.
const SHORT: usize = 4;
/// Maximum number of bytes that one call of `populate` faults in: some milliseconds.
const POPULATED_AT_ONCE: u64 = 16 << 20;
/// Bytes that it faults in before a thread that accepts may have the core: a tenth of a millisecond.
const POPULATED_PIECE: u64 = 256 << 10;
/// Maximum number of buckets per round of the leader that are frozen, zeroed or reserved: some tens
/// of milliseconds, so that the lease is renewed in time.
const OF_LEADER: usize = 1 << 21;
/// The same for a writer, whose caller waits: about a millisecond.
const OF_WRITER: usize = 1 << 15;
/// Nanoseconds between two rounds by the writers of a process.
const PAUSE: u64 = 2_000_000;
/// Maximum number of chunks of 16 buckets that one round moves again: some milliseconds.
const MOVED_AT_ONCE: usize = 1_024;

/// Work that any process does for all of them; see [`Counter::maintenance`].
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
        let participant = self.counter.participant()?;
        self.counter.discipline();
        self.counter.maintain_some(participant, OF_LEADER).map(drop)
    }

    /// Faults in pages that this process will soon write to, a bounded number per call: a fresh
    /// page costs a request many times what an insert does. Each worker calls it every 100 ms.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own.
    pub fn populate(self) -> Result<(), Error> {
        let participant = self.counter.participant()?;
        let rollover = self.counter.rollover();
        let word = rollover.current();
        let current = (word.arena(), self.counter.reserved(word.arena()));
        let next = rollover.next_free().map(|arena| {
            let start = buckets_of_step(self.counter.next_step(word)) * size_of::<Bucket>();
            (arena, self.counter.reserved(arena).min(start as u64))
        });
        for (arena, wanted) in [current].into_iter().chain(next) {
            let have = &participant.populated[arena];
            // Relaxed: a note of this process to itself; pages given back are faulted on use.
            let from = have.load(Ordering::Relaxed).min(self.counter.reserved(arena));
            let end = from + wanted.saturating_sub(from).min(POPULATED_AT_ONCE);
            let mut at = from;
            while at < end {
                let bytes = POPULATED_PIECE.min(end - at);
                self.counter.segment().mapping.populate(arena, at as usize, bytes as usize);
                at += bytes;
                // In one piece, a full core would answer nobody meanwhile.
                std::thread::yield_now();
            }
            have.store(end, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Counter {
    /// Work that any process does for all of them; mostly the leader does it.
    #[must_use]
    pub fn maintenance(&self) -> Maintenance<'_> {
        Maintenance { counter: self }
    }

    /// Runs a round by a writer, while there is no leader.
    pub(crate) fn maintain_as_writer(&self, participant: &Participant) -> Result<(), Error> {
        self.discipline();
        self.continue_as_writer(participant)
    }

    /// Does what is left of such a round. The clock is followed once per rollover, not whenever some work
    /// happens to be left: which window an id gets does not depend on that.
    pub(crate) fn continue_as_writer(&self, participant: &Participant) -> Result<(), Error> {
        let is_done = self.maintain_some(participant, OF_WRITER)?;
        // Relaxed: a note of this process to itself.
        participant.due.store(!is_done, Ordering::Relaxed);
        if !is_done {
            self.cached_window().expire_within(PAUSE);
        }
        Ok(())
    }

    fn discipline(&self) {
        // Relaxed: as in `follow_reference`.
        if !self.by_reference().load(Ordering::Relaxed) {
            self.clock().discipline(&self.front().header.clock.0);
        }
    }

    /// Runs a round over at most `most` buckets. Returns whether no work is left.
    fn maintain_some(&self, participant: &Participant, mut most: usize) -> Result<bool, Error> {
        let turned = self.roll_over_to(participant, self.now_window());
        let mut is_done = self.seal_some(participant, &mut most);
        if let Some(maintenance) = participant.try_maintenance() {
            for slot in 0..PARTICIPANTS {
                if self.front().participants[slot].process.load(Ordering::Relaxed) != 0
                    && !participant.is_alive(slot)
                {
                    participant.reap(&maintenance, self.segment(), slot);
                }
            }
            is_done &= self.free(participant, &maintenance, &mut most);
            self.grow_on(participant);
        }
        is_done &= self.reserve_ahead(participant, most);
        turned.map(|()| is_done)
    }

    /// Rolls over to `window`, unless the current word is already there or later.
    #[cold]
    pub(crate) fn roll_over_to(&self, participant: &Participant, window: u64) -> Result<(), Error> {
        let rollover = self.rollover();
        let pins = &self.front().participants[participant.slot].pins;
        let reserve =
            |arena, word: CurrentWord| reserve_start(self.storage(arena), self.next_step(word));
        if rollover.open(pins, window, reserve)? {
            return Ok(());
        }
        self.seal_ended(participant);
        if let Some(maintenance) = participant.try_maintenance() {
            self.free(participant, &maintenance, &mut { usize::MAX });
        }
        if rollover.open(pins, window, reserve)? { Ok(()) } else { Err(Error::NoArena) }
    }

    /// The size step for the window after that of `word`: room for twice the ids of recent windows.
    fn next_step(&self, word: CurrentWord) -> u8 {
        let front = self.front();
        let sealed_through = self.sealed_through();
        let recent = (sealed_through.saturating_sub(RECENT - 1)..=sealed_through)
            .filter_map(|window| ring::slot(&front.ring, window).read(window))
            .map(|figures| figures.unique)
            .chain([self.counted(word.arena()).new])
            .max()
            .unwrap_or(0);
        step_after(front.header.arena_bytes, recent)
    }

    /// Zeroes and frees the arenas of sealed windows that no process has pinned and that retention
    /// does not keep. Zeroes at most `most` buckets and counts them down. Returns whether that was
    /// all.
    fn free(
        &self,
        participant: &Participant,
        maintenance: &MaintenanceGuard<'_>,
        most: &mut usize,
    ) -> bool {
        let mut is_done = true;
        let front = self.front();
        let rollover = self.rollover();
        let clearable = self.retention().clearable();
        // Each process begins at another arena: two that try the same one exclude each other.
        for arena in (0..ARENAS).map(|step| (participant.slot + step) % ARENAS) {
            let others = || {
                (0..PARTICIPANTS).any(|slot| {
                    slot != participant.slot
                        && front.participants[slot].pins.count(arena) != 0
                        && !participant.reap(maintenance, self.segment(), slot)
                })
            };
            let zero = |size_step| {
                let is_zero = self.zero(participant, arena, size_step, self.bytes_to_keep(), most);
                is_done &= is_zero;
                is_zero
            };
            rollover.clear(
                &front.participants[participant.slot].pins,
                arena,
                clearable,
                others,
                zero,
            );
        }
        is_done
    }

    /// Maximum number of bytes of storage that a freed arena keeps.
    fn bytes_to_keep(&self) -> u64 {
        let word = self.rollover().current();
        if self.is_short(word) {
            return 0;
        }
        (buckets_of_step(self.next_step(word)) * size_of::<Bucket>()) as u64 * KEPT
    }

    /// Whether storage was short when the window of `word` was opened. That window then needs free
    /// storage more than the next one.
    fn is_short(&self, word: CurrentWord) -> bool {
        buckets_of_step(word.size_step()) * SHORT <= buckets_of_step(self.next_step(word))
    }

    /// Moves ids of the current table again if the process that took a chunk has died or stopped: all chunks
    /// are taken, and were so in the round before. Moves a bounded number per call.
    fn grow_on(&self, participant: &Participant) {
        let rollover = self.rollover();
        let word = rollover.current();
        let pins = &self.front().participants[participant.slot].pins;
        if let Ok(_entered) = rollover.enter(pins, word) {
            let table = self.table(word.arena(), word.size_step());
            if let Some(extent) = table.stalled_extent() {
                let mut growth = participant.growth.lock().expect("no panic while ids move");
                if growth.at == Some((word, extent)) {
                    growth.chunk = table.move_again(extent, growth.chunk, MOVED_AT_ONCE);
                } else {
                    *growth = Growth { at: Some((word, extent)), chunk: 0 };
                }
            }
        }
    }

    /// Reserves the next extent of a table that is nearly full, and the first extent of the next window:
    /// storage for at most `most` buckets of the latter. Returns whether that was all.
    fn reserve_ahead(&self, participant: &Participant, most: usize) -> bool {
        let mut is_done = true;
        let rollover = self.rollover();
        let word = rollover.current();
        let pins = &self.front().participants[participant.slot].pins;
        if let Ok(_entered) = rollover.enter(pins, word) {
            let table = self.table(word.arena(), word.size_step());
            // Fuller than intended, and before it grows.
            if self.counted(word.arena()).new * 16 > self.slots(word.arena(), word.size_step()) * 9
            {
                let next = table.extents().newest() + 1;
                // A shortage is reported by the insert that meets it.
                let _ = self.storage(word.arena()).reserve(buckets_of_step(word.size_step()), next);
            }
        }
        if !self.is_short(word)
            && let Some(arena) = rollover.next_free()
            && let Some(_pinned) = rollover.enter_in(pins, arena, ArenaState::Free)
        {
            let start = buckets_of_step(self.next_step(word));
            let bytes = (most * size_of::<Bucket>()) as u64;
            // If storage is short, the first extent is made smaller.
            match self.storage(arena).reserve_some(start, 0, bytes) {
                Ok(is_all) => is_done = is_all,
                Err(_) => drop(reserve_start(self.storage(arena), self.next_step(word))),
            }
        }
        is_done
    }
}

/// Reserves storage for the first extent of a table in `arena`: of size step `step`, or smaller if that
/// does not fit. Returns the step.
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
