//! A process's seat in a segment: its writer slot, and the lock that says that it lives.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard};

use crate::counter::outbound_queue::Outgoing;
use crate::counter::worker_figures;
use crate::error::Error;
use crate::segment::attachment::Segment;
use crate::segment::layout::{PARTICIPANTS, ParticipantSlot};
use crate::segment::locks::Locks;
use crate::sync::{AtomicU64, Ordering};
use crate::table::freezing::Freezing;
use crate::table::{ArenaHeader, UNCERTAIN};
use crate::window::word::{ARENAS, ArenaState, CurrentWord};

/// One attachment of one process.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Index of the writer slot.
    pub(crate) slot: usize,
    /// Which owner of the slot this is.
    pub(crate) generation: u64,
    pub(crate) locks: Locks,
    /// Bytes of each arena that this process has faulted in.
    pub(crate) populated: [AtomicU64; ARENAS],
    /// Set while a thread of this process buries, frees or zeroes: two threads share one lock file,
    /// so its byte locks do not keep them apart.
    upkeep: AtomicBool,
    /// Windows whose ids are kept for a reader, with their arenas.
    pub(crate) held: Mutex<Vec<(u64, usize)>>,
    /// Upkeep is due that this process's writers have begun, since nobody leads.
    pub(crate) due: AtomicBool,
    progress: Mutex<Progress>,
    /// How far upkeep has moved again what somebody left.
    pub(crate) growth: Mutex<Growth>,
    /// What this process knows of a count whose sums are not to be relied upon.
    pub(crate) scans: Mutex<crate::counter::scan_limit::Scans>,
    /// What this process knows of the lease.
    pub(crate) lease: Mutex<crate::counter::lease::View>,
    /// New ids that this process is to send; a forked child has a seat, and so a queue, of its own.
    pub(crate) outgoing: Outgoing,
}

/// A table's extent that waits for somebody who took a chunk of it, and the chunk that upkeep has come to.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    pub(crate) at: Option<(CurrentWord, usize)>,
    pub(crate) chunk: usize,
}

/// How far this process has come with what is done in pieces: each in an arena as long as that is in one
/// state, which names a window and so never comes again.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    freezing: Option<((usize, ArenaState), Freezing)>,
    zeroing: Option<((usize, ArenaState), usize)>,
}

impl Progress {
    /// What was kept of freezing the table of `arena`, or a beginning.
    pub(crate) fn take_freezing(&mut self, arena: (usize, ArenaState)) -> Freezing {
        self.freezing.take_if(|kept| kept.0 == arena).map(|kept| kept.1).unwrap_or_default()
    }

    /// Keeps how far the caller came, unless another thread came further.
    pub(crate) fn keep_freezing(&mut self, arena: (usize, ArenaState), freezing: Freezing) {
        let further = |kept: &Freezing| kept.is_beyond(&freezing);
        if !self.freezing.as_ref().is_some_and(|(of, kept)| *of == arena && further(kept)) {
            self.freezing = Some((arena, freezing));
        }
    }

    /// Bytes of `arena` that were zeroed.
    pub(crate) fn zeroed(&self, arena: (usize, ArenaState)) -> usize {
        self.zeroing.filter(|kept| kept.0 == arena).map_or(0, |kept| kept.1)
    }

    pub(crate) fn keep_zeroed(&mut self, arena: (usize, ArenaState), bytes: usize) {
        self.zeroing = Some((arena, bytes));
    }
}

/// The right to do upkeep, for one thread of the process.
#[derive(Debug)]
pub(crate) struct Upkeep<'a>(&'a AtomicBool);

impl Drop for Upkeep<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `try_upkeep`.
        self.0.store(false, Ordering::Release);
    }
}

impl Seat {
    /// Claims a slot of `segment` for this process.
    pub(crate) fn claim(segment: &Segment) -> Result<Self, Error> {
        let locks = Locks::new(segment)
            .map_err(|error| Error::io("the locks cannot be opened", "segment", &error))?;
        let front = segment.mapping.front();
        let slot = free_slot(&locks)?.ok_or_else(|| {
            Error::no_slot("all writer slots of the segment are taken", PARTICIPANTS)
        })?;
        reap(&front.participants[slot], &front.arenas);
        front.participants[slot].process.store(u64::from(std::process::id()), Ordering::Relaxed);
        // Relaxed: only the holder of the lock writes it, and who finds it moved on needs no more.
        let generation = front.participants[slot].generation.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Self {
            slot,
            generation,
            locks,
            populated: Default::default(),
            upkeep: AtomicBool::new(false),
            held: Mutex::default(),
            due: AtomicBool::new(false),
            progress: Mutex::default(),
            growth: Mutex::default(),
            scans: Mutex::default(),
            lease: Mutex::default(),
            outgoing: Outgoing::new(),
        })
    }

    /// The right to do upkeep, unless another thread of this process has it.
    pub(crate) fn try_upkeep(&self) -> Option<Upkeep<'_>> {
        // Acquire: pairs with the Release in the drop.
        let taken = self.upkeep.swap(true, Ordering::Acquire);
        (!taken).then(|| Upkeep(&self.upkeep))
    }

    /// How far this process has come.
    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no panic while progress is looked at")
    }

    /// Whether a live process has `slot`; one's own is alive.
    pub(crate) fn is_alive(&self, slot: usize) -> bool {
        slot == self.slot || self.locks.is_taken(slot)
    }

    /// Clears the pins that a dead owner of `slot` left; false if the owner lives.
    pub(crate) fn reap(&self, _upkeep: &Upkeep<'_>, segment: &Segment, slot: usize) -> bool {
        if slot == self.slot || !self.locks.try_lock(slot).unwrap_or(false) {
            return false;
        }
        let front = segment.mapping.front();
        reap(&front.participants[slot], &front.arenas);
        self.locks.unlock(slot);
        true
    }

    /// Leaves the slot, unless this is a forked child's copy of its parent's seat.
    pub(crate) fn vacate(&self, segment: &Segment) {
        if self.locks.are_ours() {
            let slot = &segment.mapping.front().participants[self.slot];
            slot.pins.reap();
            slot.process.store(0, Ordering::Relaxed);
        }
    }
}

/// Takes the lock of the first slot that no live process has.
fn free_slot(locks: &Locks) -> Result<Option<usize>, Error> {
    for slot in 0..PARTICIPANTS {
        match locks.try_lock(slot) {
            Ok(true) => return Ok(Some(slot)),
            Ok(false) => {}
            Err(error) => {
                let what = "the file system of the segment does not lock bytes";
                return Err(Error::io(what, "segment", &error));
            }
        }
    }
    Ok(None)
}

/// Called with the lock of the slot.
fn reap(slot: &ParticipantSlot, arenas: &[ArenaHeader]) {
    for (arena, header) in arenas.iter().enumerate() {
        if slot.pins.count(arena) != 0 {
            // Relaxed: the Release below orders it before the announcement is gone.
            header.flags.fetch_or(UNCERTAIN, Ordering::Relaxed);
        }
    }
    slot.pins.reap();
    worker_figures::forget(slot);
    slot.process.store(0, Ordering::Relaxed);
}
