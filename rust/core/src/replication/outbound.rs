//! Taking the ids that this process found to be new, to send them to a store.

use crate::error::Error;
use crate::replication::handle::Replication;
use crate::shard::{Group, IdsByShard};

impl Replication<'_> {
    /// Keeps the ids that this process finds new from now on, `limit` at the most, for
    /// [`Replication::take`]; 0 ends that, and what waits can still be taken. Ids past the limit are
    /// left out.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own.
    pub fn queue(self, limit: u64) -> Result<(), Error> {
        self.counter.seat()?.outgoing.set_limit(limit);
        Ok(())
    }

    /// Takes the ids that have waited longest, `most` at the most, grouped by window and shard.
    /// Nobody else gets them.
    ///
    /// # Errors
    /// As for [`Replication::queue`].
    pub fn take(self, most: usize) -> Result<Vec<Group>, Error> {
        let outgoing = &self.counter.seat()?.outgoing;
        // Mostly one window; two around a boundary.
        let mut windows: Vec<IdsByShard> = Vec::new();
        let mut left = most;
        while left > 0
            && let Some(piece) = outgoing.take(left)
        {
            left -= piece.ids.len();
            let start = self.counter.start_of(piece.window);
            let at = windows.iter().position(|its| its.window_start() == start);
            let at = at.unwrap_or_else(|| {
                windows.push(IdsByShard::new(start));
                windows.len() - 1
            });
            piece.ids.into_iter().for_each(|id| windows[at].push(id));
        }
        Ok(windows.into_iter().flat_map(IdsByShard::groups).collect())
    }

    /// Ids that wait to be taken.
    ///
    /// # Errors
    /// As for [`Replication::queue`].
    pub fn queued(self) -> Result<u64, Error> {
        Ok(self.counter.seat()?.outgoing.waiting())
    }

    /// Ids that were left out, since more than the limit would have waited.
    ///
    /// # Errors
    /// As for [`Replication::queue`].
    pub fn left_out(self) -> Result<u64, Error> {
        Ok(self.counter.seat()?.outgoing.left_out())
    }
}
