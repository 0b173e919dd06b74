//! The drain of a service: it counts on, and asks for no more requests.
//!
//! An operator drains one start of the service, which its workers announce. So a later start does not
//! drain, and a worker that takes a dead one's place does, without anyone who clears a word. A segment of
//! an earlier build has zeros in both words: no start has announced itself, and none drains.

use crate::counter::handle::Counter;
use crate::sync::Ordering;

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

// Relaxed throughout: each word says all by itself, and no other memory is read because of it.
impl Drain<'_> {
    /// Notes `start` as the newest start of the service.
    pub fn announce(self, start: u64) {
        self.counter.front().header.service_start.store(start, Ordering::Relaxed);
    }

    /// The newest start of the service; 0: none has announced itself.
    #[must_use]
    pub fn newest(self) -> u64 {
        self.counter.front().header.service_start.load(Ordering::Relaxed)
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
