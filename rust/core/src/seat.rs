//! A process's seat in a segment: its writer slot, and the lock that says that it lives.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use crate::error::Error;
use crate::layout::{SLOTS, WriterSlot};
use crate::locks::Locks;
use crate::outgoing::Outgoing;
use crate::primitive::{AtomicU64, Ordering};
use crate::segment::Segment;
use crate::table::{ArenaHeader, UNCERTAIN};
use crate::window::{ARENAS, Word};
use crate::worker;

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
    /// How far upkeep has moved again what somebody left.
    pub(crate) growth: Mutex<Growth>,
    /// What this process knows of a count whose sums are not to be relied upon.
    pub(crate) scans: Mutex<crate::scans::Scans>,
    /// What this process knows of the lease.
    pub(crate) lease: Mutex<crate::lease::View>,
    /// New ids that this process is to send; a forked child has a seat, and so a queue, of its own.
    pub(crate) outgoing: Outgoing,
}

/// A table's extent that waits for somebody who took a chunk of it, and the chunk that upkeep has come to.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    pub(crate) at: Option<(Word, usize)>,
    pub(crate) chunk: usize,
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
        let slot = free_slot(&locks)?
            .ok_or_else(|| Error::no_slot("all writer slots of the segment are taken", SLOTS))?;
        bury(&front.slots[slot], &front.arenas);
        front.slots[slot].process.store(u64::from(std::process::id()), Ordering::Relaxed);
        // Relaxed: only the holder of the lock writes it, and who finds it moved on needs no more.
        let generation = front.slots[slot].generation.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Self {
            slot,
            generation,
            locks,
            populated: Default::default(),
            upkeep: AtomicBool::new(false),
            held: Mutex::default(),
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

    /// Whether a live process has `slot`; one's own is alive.
    pub(crate) fn is_alive(&self, slot: usize) -> bool {
        slot == self.slot || self.locks.is_taken(slot)
    }

    /// Clears what a dead owner of `slot` left announced; false if the owner lives.
    pub(crate) fn bury(&self, _upkeep: &Upkeep<'_>, segment: &Segment, slot: usize) -> bool {
        if slot == self.slot || !self.locks.try_lock(slot).unwrap_or(false) {
            return false;
        }
        let front = segment.mapping.front();
        bury(&front.slots[slot], &front.arenas);
        self.locks.unlock(slot);
        true
    }

    /// Leaves the slot, unless this is a forked child's copy of its parent's seat.
    pub(crate) fn vacate(&self, segment: &Segment) {
        if self.locks.are_ours() {
            let slot = &segment.mapping.front().slots[self.slot];
            slot.announced.bury();
            slot.process.store(0, Ordering::Relaxed);
        }
    }
}

/// Takes the lock of the first slot that no live process has.
fn free_slot(locks: &Locks) -> Result<Option<usize>, Error> {
    for slot in 0..SLOTS {
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
fn bury(slot: &WriterSlot, arenas: &[ArenaHeader]) {
    for (arena, header) in arenas.iter().enumerate() {
        if slot.announced.count(arena) != 0 {
            // Relaxed: the Release below orders it before the announcement is gone.
            header.flags.fetch_or(UNCERTAIN, Ordering::Relaxed);
        }
    }
    slot.announced.bury();
    worker::forget(slot);
    slot.process.store(0, Ordering::Relaxed);
}
