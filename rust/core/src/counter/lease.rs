//! The lease of a segment: the process that holds it is the leader, and keeps it by a heartbeat.
//!
//! The holder increments the heartbeat; the other processes time it by their own monotonic clocks.
//! Another process can take the lease at once if the holder is dead, and after [`SILENCE`] without
//! a heartbeat.

use std::time::{Duration, Instant};

use crate::counter::handle::Counter;
use crate::error::Error;
use crate::sync::Ordering;

/// Time without a heartbeat after which a live holder loses the lease.
const SILENCE: Duration = Duration::from_secs(1);

/// The lease as one process last saw it.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The term for which this process holds the lease; 0 while it does not.
    term: u32,
    /// The last values of lease and heartbeat, and when they changed.
    seen: Option<(u64, u64, Instant)>,
}

/// The process that holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The number of the term; each change of leader adds one.
    pub term: u32,
    /// The leader's writer slot.
    pub slot: usize,
    /// Its process id.
    pub process: u32,
    /// Whether the process is alive; a stopped process is alive.
    pub alive: bool,
}

fn pack(term: u32, slot: usize) -> u64 {
    u64::from(term) << 32 | (slot as u64 + 1)
}

/// The lease of a counter's segment; see [`Counter::lease`].
#[derive(Clone, Copy, Debug)]
pub struct Lease<'a> {
    counter: &'a Counter,
}

impl Counter {
    /// The lease, which makes at most one process of the segment the leader.
    #[must_use]
    pub fn lease(&self) -> Lease<'_> {
        Lease { counter: self }
    }
}

impl Lease<'_> {
    /// Takes or renews the lease. Returns the term if this process is the leader. A leader calls it
    /// about ten times per second.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own.
    pub fn acquire(self) -> Result<Option<u32>, Error> {
        let participant = self.counter.participant()?;
        let header = &self.counter.front().header;
        let mut view = participant.lease.lock().expect("no panic while the lease is looked at");
        // Acquire: pairs with the AcqRel below; a new leader sees what the old one wrote.
        let lease = header.lease.0.load(Ordering::Acquire);
        if view.term != 0 && lease == pack(view.term, participant.slot) {
            // Relaxed: only the change matters.
            header.heartbeat.0.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(view.term));
        }
        view.term = 0;
        let beat = header.heartbeat.0.load(Ordering::Relaxed);
        let now = Instant::now();
        let since = match view.seen {
            Some((seen_lease, seen_beat, since)) if (seen_lease, seen_beat) == (lease, beat) => {
                since
            }
            _ => {
                view.seen = Some((lease, beat, now));
                now
            }
        };
        // A lease that names this slot with another term belonged to a dead owner of the slot.
        let holder = (lease & 0xffff_ffff) as usize;
        let free =
            holder == 0 || holder - 1 == participant.slot || !participant.is_alive(holder - 1);
        if !free && now - since < SILENCE {
            return Ok(None);
        }
        let term = ((lease >> 32) as u32).wrapping_add(1).max(1);
        if header
            .lease
            .0
            .compare_exchange(
                lease,
                pack(term, participant.slot),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .is_err()
        {
            return Ok(None);
        }
        header.heartbeat.0.fetch_add(1, Ordering::Relaxed);
        view.term = term;
        Ok(Some(term))
    }

    /// Releases the lease, if this process holds it.
    pub fn release(self) {
        let Ok(participant) = self.counter.participant() else { return };
        let mut view = participant.lease.lock().expect("no panic while the lease is looked at");
        if view.term != 0 {
            let header = &self.counter.front().header;
            let ours = pack(view.term, participant.slot);
            let none = u64::from(view.term) << 32;
            // A failure means that another process has the lease by now.
            let _ =
                header.lease.0.compare_exchange(ours, none, Ordering::AcqRel, Ordering::Relaxed);
            view.term = 0;
        }
    }

    /// The leader; `None` while no process holds the lease.
    #[must_use]
    pub fn holder(self) -> Option<Leader> {
        let lease = self.counter.front().header.lease.0.load(Ordering::Acquire);
        let slot = ((lease & 0xffff_ffff) as usize).checked_sub(1)?;
        let process =
            self.counter.front().participants[slot].process.load(Ordering::Relaxed) as u32;
        let alive = self.counter.participant().is_ok_and(|participant| participant.is_alive(slot));
        Some(Leader { term: (lease >> 32) as u32, slot, process, alive })
    }

    /// Whether `term` is the term of the lease.
    #[must_use]
    pub fn is_current(self, term: u32) -> bool {
        let lease = self.counter.front().header.lease.0.load(Ordering::Acquire);
        lease & 0xffff_ffff != 0 && (lease >> 32) as u32 == term
    }
}
