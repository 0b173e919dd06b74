//! A process's part in a segment: its slot, and the lock that shows that the process is alive.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard};

use crate::counter::outbound_queue::OutboundQueue;
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
pub(crate) struct Participant {
    /// Index of the slot.
    pub(crate) slot: usize,
    /// Number of this owner among all owners of the slot.
    pub(crate) generation: u64,
    pub(crate) locks: Locks,
    /// Bytes of each arena that this process has faulted in.
    pub(crate) populated: [AtomicU64; ARENAS],
    /// Set while a thread of this process does maintenance: the threads of a process share one lock
    /// file, so byte locks do not exclude each other.
    maintenance: AtomicBool,
    /// Windows that are held for a reader, with their arenas.
    pub(crate) held: Mutex<Vec<(u64, usize)>>,
    /// Set while maintenance that writers of this process have begun is not finished. Writers do
    /// it only while the host has no leader.
    pub(crate) due: AtomicBool,
    progress: Mutex<Progress>,
    /// Progress of moving chunks again that a dead or stopped process left.
    pub(crate) growth: Mutex<Growth>,
    /// Scans by this process of tables whose sums cannot be relied upon.
    pub(crate) scans: Mutex<crate::counter::scan_limit::Scans>,
    /// The lease as this process last saw it.
    pub(crate) lease: Mutex<crate::counter::lease::View>,
    /// New ids that this process has to send. A forked child has its own participant and queue.
    pub(crate) outbound: OutboundQueue,
}

/// The extent of a table that waits for a taken chunk, and the next chunk to move again.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    pub(crate) at: Option<(CurrentWord, usize)>,
    pub(crate) chunk: usize,
}

/// Progress of this process in work that is done in pieces. Each piece of work belongs to an arena in one
/// state. A state names a window, so it never recurs.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    freezing: Option<((usize, ArenaState), Freezing)>,
    zeroing: Option<((usize, ArenaState), usize)>,
}

impl Progress {
    /// The kept progress of freezing the table of `arena`, or a new start.
    pub(crate) fn take_freezing(&mut self, arena: (usize, ArenaState)) -> Freezing {
        self.freezing.take_if(|kept| kept.0 == arena).map(|kept| kept.1).unwrap_or_default()
    }

    /// Keeps the caller's progress, unless another thread is further.
    pub(crate) fn keep_freezing(&mut self, arena: (usize, ArenaState), freezing: Freezing) {
        let further = |kept: &Freezing| kept.is_beyond(&freezing);
        if !self.freezing.as_ref().is_some_and(|(of, kept)| *of == arena && further(kept)) {
            self.freezing = Some((arena, freezing));
        }
    }

    /// Number of bytes of `arena` that are zeroed.
    pub(crate) fn zeroed(&self, arena: (usize, ArenaState)) -> usize {
        self.zeroing.filter(|kept| kept.0 == arena).map_or(0, |kept| kept.1)
    }

    pub(crate) fn keep_zeroed(&mut self, arena: (usize, ArenaState), bytes: usize) {
        self.zeroing = Some((arena, bytes));
    }
}

/// The right to do maintenance, for one thread of the process.
#[derive(Debug)]
pub(crate) struct MaintenanceGuard<'a>(&'a AtomicBool);

impl Drop for MaintenanceGuard<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `try_maintenance`.
        self.0.store(false, Ordering::Release);
    }
}

impl Participant {
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
        // Relaxed: only the holder of the slot's lock writes it, and readers only compare it.
        let generation = front.participants[slot].generation.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Self {
            slot,
            generation,
            locks,
            populated: Default::default(),
            maintenance: AtomicBool::new(false),
            held: Mutex::default(),
            due: AtomicBool::new(false),
            progress: Mutex::default(),
            growth: Mutex::default(),
            scans: Mutex::default(),
            lease: Mutex::default(),
            outbound: OutboundQueue::new(),
        })
    }

    /// The right to do maintenance, unless another thread of this process has it.
    pub(crate) fn try_maintenance(&self) -> Option<MaintenanceGuard<'_>> {
        // Acquire: pairs with the Release in the drop.
        let taken = self.maintenance.swap(true, Ordering::Acquire);
        (!taken).then(|| MaintenanceGuard(&self.maintenance))
    }

    /// The progress of this process.
    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no panic while progress is looked at")
    }

    /// Whether a live process owns `slot`. The own slot counts as alive.
    pub(crate) fn is_alive(&self, slot: usize) -> bool {
        slot == self.slot || self.locks.is_taken(slot)
    }

    /// Clears the pins that a dead owner of `slot` left. False if the owner is alive.
    pub(crate) fn reap(
        &self,
        _guard: &MaintenanceGuard<'_>,
        segment: &Segment,
        slot: usize,
    ) -> bool {
        if slot == self.slot || !self.locks.try_lock(slot).unwrap_or(false) {
            return false;
        }
        let front = segment.mapping.front();
        reap(&front.participants[slot], &front.arenas);
        self.locks.unlock(slot);
        true
    }

    /// Leaves the slot, unless this is a forked child's copy of its parent's participant.
    pub(crate) fn vacate(&self, segment: &Segment) {
        if self.locks.are_ours() {
            let slot = &segment.mapping.front().participants[self.slot];
            slot.pins.reap();
            slot.process.store(0, Ordering::Relaxed);
        }
    }
}

/// Takes the lock of the first slot without a live owner.
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

/// Clears a slot. The caller holds the slot's lock.
fn reap(slot: &ParticipantSlot, arenas: &[ArenaHeader]) {
    for (arena, header) in arenas.iter().enumerate() {
        if slot.pins.count(arena) != 0 {
            // Relaxed: the Release in `Pins::reap` orders it before the pins are gone.
            header.flags.fetch_or(UNCERTAIN, Ordering::Relaxed);
        }
    }
    slot.pins.reap();
    worker_figures::forget(slot);
    // Relaxed: the next owner of the lock reads it, if any.
    slot.service_start.store(0, Ordering::Relaxed);
    slot.process.store(0, Ordering::Relaxed);
}
