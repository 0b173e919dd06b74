//! The drain of a service: it counts on, and asks for no more requests.
//!
//! An operator drains one start of the service. Each worker notes in its slot which start it is of, so
//! that a later start does not drain, and a worker that takes a dead one's place does, without anyone who
//! clears a word. In a segment of an earlier build the words are zero: no start is there, and none drains.
//!
//! Several services may share a segment, as when a new one takes over from an old one. The number of a
//! later start is larger, so the newest is that of the live workers, whichever wrote last.

use crate::counter::handle::Counter;
use crate::counter::worker_figures::{self, WorkerFigures};
use crate::segment::layout::ParticipantSlot;
use crate::sync::Ordering;

/// What the live workers of one start of the service do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceFigures {
    /// Accepted ids in their slots. It changes with each accept, and may fall when a worker ends.
    pub accepts: u64,
    /// The sums of the figures that they report.
    pub workers: WorkerFigures,
}

/// Which start of the service drains; see [`Counter::drain`]. A start is a number other than 0.
#[derive(Clone, Copy, Debug)]
pub struct Drain<'a> {
    counter: &'a Counter,
}

impl Counter {
    /// Which start of the service drains, for all processes of the segment.
    #[must_use]
    pub fn drain(&self) -> Drain<'_> {
        Drain { counter: self }
    }
}

// Relaxed, but in `leave`: each word says all by itself, and no other memory is read because of it.
impl<'a> Drain<'a> {
    /// Notes that this process is a worker of `start`.
    pub fn announce(self, start: u64) {
        if let Ok(participant) = self.counter.participant() {
            self.counter.front().participants[participant.slot]
                .service_start
                .store(start, Ordering::Relaxed);
        }
    }

    /// Notes that this process is a worker no more. The last worker of a start ends its drain.
    pub fn leave(self) {
        let Ok(participant) = self.counter.participant() else { return };
        // SeqCst, as the loads in `slots`: of two workers that leave at once, one sees the other gone.
        let start = self.counter.front().participants[participant.slot]
            .service_start
            .swap(0, Ordering::SeqCst);
        if start != 0 && self.slots(|its| its == start).next().is_none() {
            let drained = &self.counter.front().header.drained_start;
            // Another start may drain by now.
            let _ = drained.compare_exchange(start, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The newest start with a live worker; 0: none.
    #[must_use]
    pub fn newest(self) -> u64 {
        let starts = self.slots(|start| start != 0);
        starts.map(|slot| slot.service_start.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// What the live workers of `start` do.
    #[must_use]
    pub fn figures(self, start: u64) -> ServiceFigures {
        let mut found = ServiceFigures::default();
        for slot in self.slots(|its| its == start) {
            found.accepts += slot.requests_before.load(Ordering::Relaxed);
            for counts in &slot.counts {
                found.accepts += counts.requests.load(Ordering::Relaxed);
            }
            worker_figures::add_up(slot, true, &mut found.workers);
        }
        found
    }

    /// The slots of live processes that are workers of a start that is `wanted`.
    fn slots(self, wanted: impl Fn(u64) -> bool) -> impl Iterator<Item = &'a ParticipantSlot> {
        let own = self.counter.participant().ok();
        self.counter.front().participants.iter().enumerate().filter_map(move |(index, slot)| {
            let is_wanted = wanted(slot.service_start.load(Ordering::SeqCst));
            let is_alive = || own.as_ref().is_some_and(|own| own.is_alive(index));
            (is_wanted && is_alive()).then_some(slot)
        })
    }

    /// Has `start` drain. False if it drains already.
    #[must_use]
    pub fn begin(self, start: u64) -> bool {
        self.counter.front().header.drained_start.swap(start, Ordering::Relaxed) != start
    }

    /// Has no start drain. False if none did.
    #[must_use]
    pub fn end(self) -> bool {
        self.counter.front().header.drained_start.swap(0, Ordering::Relaxed) != 0
    }

    /// The start that drains; 0: none.
    #[must_use]
    pub fn drained(self) -> u64 {
        self.counter.front().header.drained_start.load(Ordering::Relaxed)
    }
}
