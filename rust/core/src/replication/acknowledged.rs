//! The number of ids that a store has acknowledged, per arena.
//!
//! A process counts an acknowledged id once, if that process found it new. So the sum over all
//! slots never exceeds the distinct ids of the window, and equals them only when each id was
//! acknowledged. The count of a dead process stays in its slot, and the next owner adds to it. Ids
//! that the dead process had not counted stay uncounted.

use crate::error::Error;
use crate::replication::handle::Replication;
use crate::sync::Ordering;

impl Replication<'_> {
    /// Counts `count` ids as acknowledged by a store, which [`Replication::take`] returned for the
    /// window that starts at `window_start`. Returns false, and counts nothing, if its arena is
    /// gone.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own.
    pub fn acknowledge(self, window_start: u64, count: u64) -> Result<bool, Error> {
        let participant = self.counter.participant()?;
        let slot = &self.counter.front().participants[participant.slot];
        // The pin keeps the arena from being given to another window.
        let Some(entered) = self.counter.enter_kept(participant, window_start) else {
            return Ok(false);
        };
        // Release: pairs with the Acquire in `acknowledged`; the ids were counted before.
        slot.counts[entered.word.arena()].acknowledged.fetch_add(count, Ordering::Release);
        Ok(true)
    }

    /// Ids of the window that starts at `window_start` that a store has acknowledged, over all
    /// processes, dead ones included. `None` if its arena is gone. If this equals the count of the
    /// sealed window, each of its ids was acknowledged.
    ///
    /// # Errors
    /// As for [`Replication::acknowledge`].
    pub fn acknowledged(self, window_start: u64) -> Result<Option<u64>, Error> {
        let participant = self.counter.participant()?;
        let Some(entered) = self.counter.enter_kept(participant, window_start) else {
            return Ok(None);
        };
        let slots = &self.counter.front().participants;
        let arena = entered.word.arena();
        // Acquire: pairs with the Release in `acknowledge`. A count of ids that is read after this
        // is no smaller.
        let sum =
            slots.iter().map(|slot| slot.counts[arena].acknowledged.load(Ordering::Acquire)).sum();
        Ok(Some(sum))
    }
}
