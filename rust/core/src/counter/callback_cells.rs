//! The callback cells of a segment, and the processes that own them.
//!
//! The crate `verve-callbacks` defines how a cell passes from one owner to another.

use crate::counter::handle::Counter;
use crate::counter::reading::Unsealed;
use crate::error::Error;
use crate::platform;
use crate::segment::layout::{CALLBACK_CELL, CALLBACK_CELLS, CallbackCell, CallbackFront, FRONT};
use crate::sync::Ordering;

/// One attachment of one process. Other owners of the same writer slot have another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Index of the writer slot.
    pub slot: usize,
    /// Number of this owner among all owners of the slot, modulo 2^20.
    pub generation: u32,
}

const GENERATIONS: u64 = 1 << 20;

/// The cells of callbacks in a counter's segment; see [`Counter::callback_cells`].
#[derive(Clone, Copy, Debug)]
pub struct CallbackCells<'a> {
    counter: &'a Counter,
}

impl Counter {
    /// The cells in which callbacks wait, and the other data that their sender needs.
    #[inline]
    #[must_use]
    pub fn callback_cells(&self) -> CallbackCells<'_> {
        CallbackCells { counter: self }
    }
}

impl<'a> CallbackCells<'a> {
    /// This process as an owner of cells. A forked child is another owner than its parent.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own.
    pub fn owner(self) -> Result<Owner, Error> {
        let participant = self.counter.participant()?;
        Ok(Owner {
            slot: participant.slot,
            generation: (participant.generation % GENERATIONS) as u32,
        })
    }

    /// Whether an owner is alive. An owner that has left the segment is dead.
    #[must_use]
    pub fn is_alive(self, owner: Owner) -> bool {
        let Some(slot) = self.counter.front().participants.get(owner.slot) else { return false };
        // Relaxed: the process that incremented it had the lock of the slot, so the previous owner
        // is dead.
        slot.generation.load(Ordering::Relaxed) % GENERATIONS == u64::from(owner.generation)
            && self.counter.participant().is_ok_and(|participant| participant.is_alive(owner.slot))
    }

    /// The words, figures and rates of callbacks, which all processes share.
    #[inline]
    #[must_use]
    pub fn front(self) -> &'a CallbackFront {
        &self.counter.front().callbacks
    }

    /// The cells that have storage behind them.
    #[inline]
    #[must_use]
    pub fn reserved(self) -> &'a [CallbackCell] {
        // Acquire: pairs with the Release in `reserve`.
        let reserved = self.front().reserved.0.load(Ordering::Acquire);
        self.counter.segment().mapping.callback_cells(reserved as usize)
    }

    /// Reserves storage for the first `count` cells.
    ///
    /// # Errors
    /// [`Error::Space`], when there is no room.
    pub fn reserve(self, count: usize) -> Result<(), Error> {
        let count = count.min(CALLBACK_CELLS);
        let segment = self.counter.segment();
        if segment.is_short() {
            return Err(Error::Space(segment.shortage()));
        }
        let bytes = (count * CALLBACK_CELL) as u64;
        if let Err(error) = platform::reserve(&segment.file, FRONT, bytes) {
            let number = error.raw_os_error().unwrap_or(libc::ENOSPC);
            segment.note_shortage(number);
            return Err(Error::Space(number));
        }
        // Release: pairs with the Acquire in `reserved`; the storage exists before the mark names
        // it.
        self.front().reserved.0.fetch_max(count as u64, Ordering::Release);
        Ok(())
    }

    /// Distinct ids of the window that starts at `window_start`: the count so far while it is open,
    /// the final count once it is sealed, or the count of the whole cluster if that was noted and
    /// is larger. `None` for a window that is no longer kept, and for one that is not sealed yet
    /// unless `unsealed` says to seal it.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own.
    pub fn distinct(self, window_start: u64, unsealed: Unsealed) -> Result<Option<u64>, Error> {
        self.counter.distinct(window_start, unsealed)
    }

    /// A secret of the segment, which must not be shown: a client that knew it could choose inputs
    /// with the same hash.
    #[must_use]
    pub fn secret(self) -> u64 {
        let key = &self.counter.front().header.key;
        // The words of the mix are secret too; this is none of them.
        key[0].rotate_left(17) ^ key[1].rotate_left(43) ^ key[2]
    }

    /// The segment's random identity; it is no secret.
    #[must_use]
    pub fn identity(self) -> u64 {
        self.counter.front().header.identity
    }
}
