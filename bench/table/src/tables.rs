//! The tables that are measured, each as its users would tune it.
//!
//! All tables except Verve's use foldhash, a fast hasher; Verve's mixes ids with a key of its own.
//! Where a table has a cheaper way for many ids at once (one lock, one guard), `add_many` takes it.

use std::sync::Mutex;

use dashmap::DashSet;
use foldhash::fast::RandomState;
use verve_core::{Clock, Counter, SegmentConfig};

/// A concurrent set of ids.
pub trait Table: Sync {
    /// The number of times to fill and empty it until all of its memory was used before.
    const FILLS: usize = 1;

    /// Makes an empty table, with room for `capacity` ids if that is known.
    fn make(capacity: Option<usize>) -> Self;
    /// Adds `id` and returns whether it was new.
    fn add(&self, id: i64) -> bool;
    /// Adds `ids` and returns how many were new.
    fn add_many(&self, ids: &[i64]) -> u64 {
        ids.iter().map(|&id| u64::from(self.add(id))).sum()
    }
    /// The number of distinct ids.
    fn count(&self) -> u64;
    /// Forgets all ids and keeps the memory, as far as the table can.
    fn empty(&mut self);
}

impl Table for DashSet<i64, RandomState> {
    fn make(capacity: Option<usize>) -> Self {
        Self::with_capacity_and_hasher(capacity.unwrap_or(0), RandomState::default())
    }

    fn add(&self, id: i64) -> bool {
        self.insert(id)
    }

    fn count(&self) -> u64 {
        self.len() as u64
    }

    fn empty(&mut self) {
        self.clear();
    }
}

pub type Papaya = papaya::HashSet<i64, RandomState>;

impl Table for Papaya {
    fn make(capacity: Option<usize>) -> Self {
        Self::with_capacity_and_hasher(capacity.unwrap_or(0), RandomState::default())
    }

    fn add(&self, id: i64) -> bool {
        self.pin().insert(id)
    }

    fn add_many(&self, ids: &[i64]) -> u64 {
        let set = self.pin();
        ids.iter().map(|&id| u64::from(set.insert(id))).sum()
    }

    fn count(&self) -> u64 {
        self.len() as u64
    }

    fn empty(&mut self) {
        self.pin().clear();
    }
}

pub type Scc = scc::HashSet<i64, RandomState>;

impl Table for Scc {
    fn make(capacity: Option<usize>) -> Self {
        Self::with_capacity_and_hasher(capacity.unwrap_or(0), RandomState::default())
    }

    fn add(&self, id: i64) -> bool {
        self.insert_sync(id).is_ok()
    }

    fn count(&self) -> u64 {
        self.len() as u64
    }

    fn empty(&mut self) {
        self.clear_sync();
    }
}

pub type Locked = Mutex<hashbrown::HashSet<i64, RandomState>>;

impl Table for Locked {
    fn make(capacity: Option<usize>) -> Self {
        let set = hashbrown::HashSet::with_capacity_and_hasher(
            capacity.unwrap_or(0),
            RandomState::default(),
        );
        Self::new(set)
    }

    fn add(&self, id: i64) -> bool {
        self.lock().expect("no panic under the lock").insert(id)
    }

    fn add_many(&self, ids: &[i64]) -> u64 {
        let mut set = self.lock().expect("no panic under the lock");
        ids.iter().map(|&id| u64::from(set.insert(id))).sum()
    }

    fn count(&self) -> u64 {
        self.lock().expect("no panic under the lock").len() as u64
    }

    fn empty(&mut self) {
        self.get_mut().expect("no panic under the lock").clear();
    }
}

/// A window that does not end by itself while a benchmark runs.
pub fn identity() -> SegmentConfig {
    SegmentConfig { window_seconds: Some(86_400), ..SegmentConfig::default() }
}

impl Table for Counter {
    // Windows take turns in a few arenas, and each sizes the next.
    const FILLS: usize = 3;

    /// It takes no capacity: it sizes a window by the ones before.
    fn make(_capacity: Option<usize>) -> Self {
        Counter::in_memory(&identity(), Clock::System).expect("memory for a segment")
    }

    #[inline]
    fn add(&self, id: i64) -> bool {
        Counter::add(self, id).expect("room in the table").new
    }

    fn add_many(&self, ids: &[i64]) -> u64 {
        let batch = Counter::add_many(self, ids).expect("a seat in the segment");
        assert!(batch.stopped.is_none(), "the table is full: {:?}", batch.stopped);
        batch.shares.iter().map(|share| share.new).sum()
    }

    fn count(&self) -> u64 {
        Counter::count(self).expect("a current window")
    }

    /// Rolls over to the next window, with the maintenance that the service does all the time.
    fn empty(&mut self) {
        self.seal().expect("an arena for the next window");
        keep_up(self);
    }
}

/// The maintenance of some seconds of the service: frees arenas, reserves and faults in ahead.
pub fn keep_up(counter: &Counter) {
    counter.maintenance().run().expect("upkeep");
    for _ in 0..64 {
        counter.maintenance().populate().expect("a seat in the segment");
    }
}
