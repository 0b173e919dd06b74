//! Verve's table by itself: the same buckets and the same probe, in private memory of one process.
//!
//! It has no windows, no pins, no counts of requests and no clock, and nothing of it outlives its
//! process. What `Counter` takes longer is the price of all these.

use verve_core::table::mix::Mix;
use verve_core::table::{
    ArenaHeader, Bucket, Insert, SLOTS_PER_BUCKET, Shortage, Storage, Table as Arena,
};

use crate::tables::Table;

/// Slots for each id, as in a window that is sized by the one before.
const ROOM: usize = 2;
const KEY: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// A table of one extent.
pub struct Bare {
    header: ArenaHeader,
    buckets: Vec<Bucket>,
    mix: Mix,
}

struct Buckets<'a>(&'a [Bucket]);

impl Storage for Buckets<'_> {
    #[inline]
    fn extent(&self, _first: usize, _index: usize) -> &[Bucket] {
        self.0
    }

    fn reserve(&self, _first: usize, _index: usize) -> Result<(), Shortage> {
        Err(Shortage::Full)
    }
}

impl Bare {
    #[inline]
    fn insert(&self, id: i64) -> bool {
        let arena = Arena::new(&self.header, Buckets(&self.buckets), self.buckets.len());
        arena.insert(self.mix.forward(id)).expect("room in the table") == Insert::New
    }
}

impl Table for Bare {
    /// It cannot grow, so it needs a capacity.
    fn make(capacity: Option<usize>) -> Self {
        let ids = capacity.expect("a capacity");
        let buckets = (ROOM * ids).div_ceil(SLOTS_PER_BUCKET).next_power_of_two();
        Self {
            header: ArenaHeader::default(),
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
            mix: Mix::new(KEY),
        }
    }

    #[inline]
    fn add(&self, id: i64) -> bool {
        self.insert(id)
    }

    fn count(&self) -> u64 {
        let arena = Arena::new(&self.header, Buckets(&self.buckets), self.buckets.len());
        arena.count()
    }

    fn empty(&mut self) {
        self.buckets.fill_with(Bucket::default);
        // Two ids have no slot of their own, but a bit here.
        self.header = ArenaHeader::default();
    }
}
