//! Ids that a store has acknowledged, counted in the arena that they stand in.
//!
//! A process counts an id once, if it was the one that found it new: the sum over all slots never
//! exceeds the distinct ids of the window, and reaches them only when each was acknowledged. What a
//! process had counted when it died stays in its slot, where the next owner goes on; what it had
//! not is missing for good.

use crate::error::Error;
use crate::replication::handle::Replication;
use crate::sync::Ordering;

impl Replication<'_> {
    /// Counts that a store has acknowledged `count` ids which [`Replication::take`] gave for the window
    /// that starts at `window_start`; false, and nothing counted, when its arena is gone.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own.
    pub fn acknowledge(self, window_start: u64, count: u64) -> Result<bool, Error> {
        let participant = self.counter.participant()?;
        let slot = &self.counter.front().participants[participant.slot];
        // Inside, so that the arena is not given to another window meanwhile.
        let Some(entered) = self.counter.enter_kept(participant, window_start) else {
            return Ok(false);
        };
        // Release: pairs with the Acquire in `acknowledged`; the ids were counted before.
        slot.counts[entered.word.arena()].acknowledged.fetch_add(count, Ordering::Release);
        Ok(true)
    }

    /// Ids of the window that starts at `window_start` which a store has acknowledged, over all
    /// processes, dead ones included; `None` when its arena is gone. If this is the count of the
    /// sealed window, then each of its ids was acknowledged.
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
