//! The counts that callbacks report.

use std::sync::Arc;

use verve_core::{Counter, Unsealed};

use crate::cells::Content;

/// Nanoseconds for which a count is reused, for callbacks accepted before it was read.
const FRESH: u64 = 1_000_000;
/// Nanoseconds after a request at which its window, if it is being sealed, is sealed here.
const SEAL_AFTER: u64 = 500_000_000;

/// Reads the counts of windows, and reuses the last one for a moment.
#[derive(Debug)]
pub struct Counts {
    counter: Arc<Counter>,
    window_start: u64,
    read_at: u64,
    count: u64,
}

impl Counts {
    /// The counts of the windows of `counter`.
    #[must_use]
    pub fn new(counter: Arc<Counter>) -> Self {
        Self { counter, window_start: 0, read_at: 0, count: 0 }
    }

    /// The distinct ids of the callback's window; `None` while it is being sealed.
    pub fn of(&mut self, content: &Content, now: u64) -> Option<u64> {
        if self.window_start == content.window_start
            && self.read_at > content.accepted
            && now - self.read_at < FRESH
        {
            return Some(self.count);
        }
        let waited = now.saturating_sub(content.accepted);
        let unsealed = if waited > SEAL_AFTER { Unsealed::Seal } else { Unsealed::Skip };
        let cells = self.counter.callback_cells();
        let count = cells.distinct(content.window_start, unsealed).ok()??;
        (self.window_start, self.read_at, self.count) = (content.window_start, now, count);
        Some(count)
    }
}
