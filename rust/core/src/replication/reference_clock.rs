//! A clock that many hosts share. The caller observes it, and the segment's clock follows it by the
//! rules for the wall clock.

use crate::counter::handle::Counter;
use crate::sync::Ordering;

/// A clock that many hosts share; see [`Counter::reference_clock`].
#[derive(Clone, Copy, Debug)]
pub struct ReferenceClock<'a> {
    counter: &'a Counter,
}

impl Counter {
    /// The clock that the segment's clock follows in place of the wall clock.
    #[must_use]
    pub fn reference_clock(&self) -> ReferenceClock<'_> {
        ReferenceClock { counter: self }
    }
}

impl ReferenceClock<'_> {
    /// From now on this process does not read the wall clock, and leaves the segment's clock to
    /// [`ReferenceClock::steer`]. The children that it forks do the same.
    pub fn follow(self) {
        // Relaxed: a thread that sees it later has read the wall clock once more.
        self.counter.by_reference().store(true, Ordering::Relaxed);
    }

    /// Follows a reference that is `offset` nanoseconds ahead of [`ReferenceClock::boot`], by the
    /// rules for the wall clock: a difference of at most 5 s at once, a larger one forward once it
    /// has lasted 10 s, a larger one backward never. The leader calls this about as often as
    /// [`Maintenance::run`](crate::Maintenance::run).
    pub fn steer(self, offset: i64) {
        let words = &self.counter.front().header.clock.0;
        if self.counter.clock().follow(words, offset) {
            // Release: pairs with the Acquire in `was_followed`; the offset is written before.
            words.reference.store(1, Ordering::Release);
        }
    }

    /// Whether the segment's clock has ever followed a reference, or was created with one.
    #[must_use]
    pub fn was_followed(self) -> bool {
        // Acquire: pairs with the Release in `steer`.
        self.counter.front().header.clock.0.reference.load(Ordering::Acquire) != 0
    }

    /// Nanoseconds since the boot by the counter's clock, suspensions included.
    #[must_use]
    pub fn boot(self) -> u64 {
        self.counter.clock().boot()
    }
}
