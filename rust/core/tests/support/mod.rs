//! Counters on a clock that the test moves.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use verve_core::{Clock, Counter, ManualClock, SegmentConfig};

pub const SECOND: u64 = 1_000_000_000;
/// A minute's boundary in November 2026, in seconds since the epoch.
pub const EPOCH: u64 = 1_795_000_020;

pub fn config(window_seconds: u32, max_ids: u64) -> SegmentConfig {
    SegmentConfig { window_seconds: Some(window_seconds), max_ids, ..SegmentConfig::default() }
}

/// A counter in memory whose clock stands at [`EPOCH`].
pub fn in_memory(window_seconds: u32, max_ids: u64) -> (Counter, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(EPOCH * SECOND));
    let counter =
        Counter::in_memory(&config(window_seconds, max_ids), Clock::Manual(Arc::clone(&clock)));
    (counter.expect("a counter in memory"), clock)
}

/// A path that no other test has; what is there, and its lock, go with it.
pub struct Path(pub PathBuf);

impl Path {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("verve-core-test-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub fn open(&self, window_seconds: u32, clock: &Arc<ManualClock>) -> Counter {
        let clock = Clock::Manual(Arc::clone(clock));
        Counter::open(&self.0, &config(window_seconds, 100_000), clock).expect("a segment")
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        // The name has no other dot.
        let _ = std::fs::remove_file(self.0.with_extension("lock"));
    }
}

pub fn sorted(mut ids: Vec<i64>) -> Vec<i64> {
    ids.sort_unstable();
    ids
}
