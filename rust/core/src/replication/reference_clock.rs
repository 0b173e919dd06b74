//! A clock that many hosts share, in place of the wall clock: the caller observes it, the segment's
//! clock follows by the same rules.

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
    /// From now on this process does not look at the wall clock, and leaves the segment's clock to
    /// [`ReferenceClock::steer`]. So do the children that it forks.
    pub fn follow(self) {
        // Relaxed: a thread that sees it later has looked at the wall clock once more.
        self.counter.by_reference().store(true, Ordering::Relaxed);
    }

    /// Follows a reference that is `offset` nanoseconds ahead of [`ReferenceClock::boot`], as the wall clock
    /// is followed: a difference of 5 s at once, a larger one forward once it has lasted 10 s, one
    /// backward never. To be called about as often as [`Maintenance::run`](crate::Maintenance::run), from whoever leads.
    pub fn steer(self, offset: i64) {
        let words = &self.counter.front().header.clock.0;
        if self.counter.clock().follow(words, offset) {
            // Release: pairs with the Acquire in `was_followed`; the offset is there before.
            words.reference.store(1, Ordering::Release);
        }
    }

    /// Whether the segment's clock has ever followed a reference, or was made with one.
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
