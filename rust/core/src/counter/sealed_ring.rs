//! How far the windows of a segment are sealed, and how far each sink has taken them.

use crate::counter::handle::Counter;
use crate::segment::layout::SINKS;
use crate::sync::Ordering;

/// Progress through the records of sealed windows; see [`Counter::ring`].
#[derive(Clone, Copy, Debug)]
pub struct Ring<'a> {
    counter: &'a Counter,
}

impl Counter {
    /// How far windows are sealed, and how far each sink has taken their records.
    #[must_use]
    pub fn ring(&self) -> Ring<'_> {
        Ring { counter: self }
    }
}

impl Ring<'_> {
    /// Start of the newest window up to which all are sealed, in seconds since the epoch.
    #[must_use]
    pub fn newest(self) -> u64 {
        self.counter.start_of(self.counter.sealed_through())
    }

    /// Start of the newest window that sink `sink` has taken, in seconds since the epoch; 0 if
    /// there is none.
    ///
    /// # Panics
    /// If `sink` is not below 8.
    #[must_use]
    pub fn cursor(self, sink: usize) -> u64 {
        assert!(sink < SINKS, "sinks have numbers 0 to 7: `{sink}`");
        self.counter.front().header.cursors.0[sink].load(Ordering::Acquire)
    }

    /// Notes that sink `sink` has taken all windows up to the one that starts at `window_start`.
    /// Returns false, and notes nothing, if `term` is no longer the term of the lease.
    ///
    /// # Panics
    /// If `sink` is not below 8.
    #[must_use]
    pub fn advance_cursor(self, sink: usize, window_start: u64, term: u32) -> bool {
        assert!(sink < SINKS, "sinks have numbers 0 to 7: `{sink}`");
        let ours = self.counter.lease().is_current(term);
        if ours {
            // AcqRel: pairs with the Acquire in `cursor`.
            self.counter.front().header.cursors.0[sink].fetch_max(window_start, Ordering::AcqRel);
        }
        ours
    }
}
