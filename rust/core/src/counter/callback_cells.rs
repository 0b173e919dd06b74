//! What the sender of callbacks needs of a segment: the cells, and who owns them.
//!
//! How a cell changes hands stands in the crate that sends them, `verve-callbacks`.

use crate::counter::handle::Counter;
use crate::error::Error;
use crate::platform;
use crate::segment::layout::{CALLBACK_CELL, CALLBACK_CELLS, CallbackCell, CallbackFront, FRONT};
use crate::sync::Ordering;

/// One attachment of one process, told from those that had its writer slot before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Index of the writer slot.
    pub slot: usize,
    /// Which owner of the slot it is, modulo 2^20.
    pub generation: u32,
}

const GENERATIONS: u64 = 1 << 20;

impl Counter {
    /// This process as an owner of cells; a forked child is another one than its parent.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own.
    pub fn owner(&self) -> Result<Owner, Error> {
        let seat = self.seat()?;
        Ok(Owner { slot: seat.slot, generation: (seat.generation % GENERATIONS) as u32 })
    }

    /// Whether an owner lives. One that has left is dead as well.
    #[must_use]
    pub fn is_alive(&self, owner: Owner) -> bool {
        let Some(slot) = self.front().participants.get(owner.slot) else { return false };
        // Relaxed: whoever counted it up had the lock of the slot, so the owner before is dead.
        slot.generation.load(Ordering::Relaxed) % GENERATIONS == u64::from(owner.generation)
            && self.seat().is_ok_and(|seat| seat.is_alive(owner.slot))
    }

    /// What all processes share of callbacks.
    #[inline]
    #[must_use]
    pub fn callbacks(&self) -> &CallbackFront {
        &self.front().callbacks
    }

    /// The cells that have storage behind them.
    #[inline]
    #[must_use]
    pub fn callback_cells(&self) -> &[CallbackCell] {
        // Acquire: pairs with the Release in `reserve_callback_cells`.
        let reserved = self.callbacks().reserved.0.load(Ordering::Acquire);
        self.segment().mapping.callback_cells(reserved as usize)
    }

    /// Puts storage behind the first `count` cells.
    ///
    /// # Errors
    /// [`Error::Space`], when there is no room.
    pub fn reserve_callback_cells(&self, count: usize) -> Result<(), Error> {
        let count = count.min(CALLBACK_CELLS);
        let segment = self.segment();
        if segment.is_short() {
            return Err(Error::Space(segment.shortage()));
        }
        let bytes = (count * CALLBACK_CELL) as u64;
        if let Err(error) = platform::reserve(&segment.file, FRONT, bytes) {
            let number = error.raw_os_error().unwrap_or(libc::ENOSPC);
            segment.note_shortage(number);
            return Err(Error::Space(number));
        }
        // Release: the storage is there before the mark says so.
        self.callbacks().reserved.0.fetch_max(count as u64, Ordering::Release);
        Ok(())
    }

    /// A secret of the segment, which is told to nobody: whoever knew it could choose what is hashed
    /// with it.
    #[must_use]
    pub fn secret(&self) -> u64 {
        let key = &self.front().header.key;
        // The mix's words are not shown either; this is none of them.
        key[0].rotate_left(17) ^ key[1].rotate_left(43) ^ key[2]
    }

    /// The segment's random identity; it is no secret.
    #[must_use]
    pub fn identity(&self) -> u64 {
        self.front().header.identity
    }
}
