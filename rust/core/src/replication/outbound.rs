//! Takes ids from the outbound queue of this process, to send them to a store.

use crate::error::Error;
use crate::replication::handle::Replication;
use crate::shard::{Group, IdsByShard};

impl Replication<'_> {
    /// Queues the ids that this process finds new from now on for [`Replication::take`], at most
    /// `limit`. With 0 no more are queued, and those in the queue can still be taken. Ids beyond
    /// the limit are left out.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own.
    pub fn queue(self, limit: u64) -> Result<(), Error> {
        self.counter.participant()?.outbound.set_limit(limit);
        Ok(())
    }

    /// Takes the oldest ids of the queue, at most `most`, grouped by window and shard. Each is
    /// taken once.
    ///
    /// # Errors
    /// As for [`Replication::queue`].
    pub fn take(self, most: usize) -> Result<Vec<Group>, Error> {
        let outbound = &self.counter.participant()?.outbound;
        // Mostly one window; two around a boundary.
        let mut windows: Vec<IdsByShard> = Vec::new();
        let mut left = most;
        while left > 0
            && let Some(piece) = outbound.take(left)
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

    /// Ids in the queue.
    ///
    /// # Errors
    /// As for [`Replication::queue`].
    pub fn queued(self) -> Result<u64, Error> {
        Ok(self.counter.participant()?.outbound.waiting())
    }

    /// Ids that were left out because the queue was full.
    ///
    /// # Errors
    /// As for [`Replication::queue`].
    pub fn left_out(self) -> Result<u64, Error> {
        Ok(self.counter.participant()?.outbound.left_out())
    }
}
