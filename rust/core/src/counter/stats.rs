//! The figures of a segment, for operators.

use crate::counter::handle::Counter;
use crate::counter::worker_figures::{self, ListenerFigures, WorkerFigures};
use crate::sync::Ordering;
use crate::window::word::{ARENAS, ArenaState};

/// The state of a segment and all of its counts, over all processes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Accepted ids, duplicates included. Like the next two, this never decreases.
    pub requests: u64,
    /// New ids.
    pub new: u64,
    /// Late ids: those whose window was frozen before they were inserted.
    pub late: u64,
    /// Batches, counted in pieces of 4,096 ids.
    pub batches: u64,
    /// Free, open and sealed arenas.
    pub arenas: [usize; 3],
    /// Bytes of storage that the arenas have.
    pub arena_bytes: u64,
    /// Slots of the current table's extents in use.
    pub slots: u64,
    /// Process ids of the live processes.
    pub processes: Vec<u32>,
    /// Term of the lease.
    pub term: u32,
    /// Nanoseconds by which the segment's clock is ahead of boot time.
    pub clock_offset: i64,
    /// Nanoseconds by which the wall clock was ahead of the segment's clock when it was last read.
    pub skew: i64,
    /// Whether the wall clock is distrusted.
    pub distrusted: bool,
    /// Ids per window for which the segment was created.
    pub max_ids: u64,
    /// The segment's random identity.
    pub identity: u64,
    /// The figures that workers of the service report, by [`crate::WorkerFigure`].
    pub workers: WorkerFigures,
    /// What the native listeners of each worker that serves have served, by its process id.
    pub listeners: Vec<(u32, ListenerFigures)>,
}

impl Counter {
    /// All figures of the segment; reading them takes some tens of microseconds.
    ///
    /// # Errors
    /// [`crate::Error::Segment`], when a forked child finds no slot of its own.
    pub fn stats(&self) -> Result<Stats, crate::Error> {
        let participant = self.participant()?;
        let front = self.front();
        let header = &front.header;
        let clock = &header.clock.0;
        let word = self.rollover().current();
        let mut stats = Stats {
            term: (header.lease.0.load(Ordering::Relaxed) >> 32) as u32,
            clock_offset: clock.offset.load(Ordering::Relaxed),
            skew: clock.skew.load(Ordering::Relaxed),
            distrusted: clock.distrusted.load(Ordering::Relaxed) != 0,
            max_ids: header.max_ids,
            identity: header.identity,
            slots: self.slots(word.arena(), word.size_step()),
            ..Stats::default()
        };
        for (arena, its) in front.arenas.iter().enumerate() {
            let kind = match self.rollover().state(arena) {
                ArenaState::Free => 0,
                ArenaState::Claimed { .. } | ArenaState::Confirmed { .. } => 1,
                ArenaState::Sealed { .. } | ArenaState::Clearing { .. } => 2,
            };
            stats.arenas[kind] += 1;
            stats.arena_bytes += its.reserved.load(Ordering::Relaxed);
        }
        for (index, slot) in front.participants.iter().enumerate() {
            stats.requests += slot.requests_before.load(Ordering::Relaxed);
            stats.new += slot.new_before.load(Ordering::Relaxed);
            stats.late += slot.late_before.load(Ordering::Relaxed);
            stats.batches += slot.batches.load(Ordering::Relaxed);
            for counts in &slot.counts {
                stats.requests += counts.requests.load(Ordering::Relaxed);
                stats.new += counts.new.load(Ordering::Relaxed);
                stats.late += counts.late.load(Ordering::Relaxed);
            }
            let process = slot.process.load(Ordering::Relaxed) as u32;
            let alive = process != 0 && participant.is_alive(index);
            if alive {
                stats.processes.push(process);
                let listeners = worker_figures::of_listeners(slot);
                stats.listeners.extend(listeners.map(|figures| (process, figures)));
            }
            worker_figures::add_up(slot, alive, &mut stats.workers);
        }
        // Counts that move from an arena to the totals are in neither for a moment.
        let sums = [&mut stats.requests, &mut stats.new, &mut stats.late];
        for (sum, total) in sums.into_iter().zip(&header.totals) {
            // Relaxed: a figure; the largest wins, whichever process writes it.
            *sum = (*sum).max(total.fetch_max(*sum, Ordering::Relaxed));
        }
        debug_assert_eq!(stats.arenas.iter().sum::<usize>(), ARENAS);
        Ok(stats)
    }
}
