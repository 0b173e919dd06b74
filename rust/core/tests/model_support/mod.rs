//! Arenas in memory, and a segment of them, for the models of loom and shuttle.
#![allow(dead_code, reason = "each test file uses its part")]

#[cfg(loom)]
use loom::thread::yield_now;
#[cfg(shuttle)]
use shuttle::thread::yield_now;

use verve_core::sync::{AtomicU64, Ordering};
use verve_core::table::{ArenaHeader, Bucket, Insert, Shortage, Storage, Table};
use verve_core::window::pins::Pins;
use verve_core::window::rollover::Rollover;
use verve_core::window::word::{ARENAS, ArenaState, CurrentWord};

/// Threads of a model that pin arenas, a process each. Loom cannot finish with more.
pub const WRITERS: usize = if cfg!(loom) { 3 } else { 8 };

/// Extents of the given numbers of buckets.
#[derive(Debug)]
pub struct Extents {
    buckets: Vec<Vec<Bucket>>,
    /// The newest extent with storage behind it: as in a mapping, none other may be touched.
    reserved: AtomicU64,
}

impl Extents {
    pub fn new(buckets: &[usize]) -> Self {
        let extent = |&count: &usize| (0..count).map(|_| Bucket::default()).collect();
        Self { buckets: buckets.iter().map(extent).collect(), reserved: AtomicU64::new(0) }
    }
}

impl Storage for &Extents {
    fn extent(&self, _first: usize, index: usize) -> &[Bucket] {
        // Relaxed: the table itself has to see to it that this is seen.
        if index > 0 {
            assert!(self.reserved.load(Ordering::Relaxed) >= index as u64, "no storage there");
        }
        self.buckets.get(index).map_or(&[], Vec::as_slice)
    }

    fn reserve(&self, _first: usize, index: usize) -> Result<(), Shortage> {
        if index >= self.buckets.len() {
            return Err(Shortage::Full);
        }
        self.reserved.fetch_max(index as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// One table.
#[derive(Debug)]
pub struct Arena {
    pub header: ArenaHeader,
    pub extents: Extents,
}

impl Arena {
    pub fn new(buckets: &[usize]) -> Self {
        Self { header: ArenaHeader::default(), extents: Extents::new(buckets) }
    }

    pub fn table(&self) -> Table<'_, &Extents> {
        Table::new(&self.header, &self.extents, self.extents.buckets[0].len())
    }

    /// Holds `present` in its first extent, whose ids are about to move to the second.
    pub fn growing(buckets: &[usize], present: &[u64]) -> Self {
        let arena = Self::new(buckets);
        for &word in present {
            assert_eq!(arena.table().insert(word), Ok(Insert::New));
        }
        assert_eq!(arena.table().extents().newest(), 0, "`present` is too much");
        (&arena.extents).reserve(buckets[0], 1).expect("a second extent");
        arena.header.extents.store(1, Ordering::Relaxed);
        arena
    }
}

/// The words of a table that hold its ids, sorted.
pub fn words(table: &Table<'_, &Extents>) -> Vec<u64> {
    let mut words = Vec::new();
    table.visit_from(0, usize::MAX, |word| words.push(word));
    words.sort_unstable();
    words
}

/// A segment of a few arenas of equal extents, and the pins of its writers.
#[derive(Debug)]
pub struct Segment {
    pub current: AtomicU64,
    pub arenas: Vec<ArenaHeader>,
    pub extents: Vec<Extents>,
    pub writers: [Pins; WRITERS],
}

impl Segment {
    /// As [`Self::growing`], with one bucket in each arena.
    pub fn new(arenas: usize) -> Self {
        Self::growing(arenas, &[1])
    }

    /// Extents of so many buckets in each arena. Arena 0 is that of window 1, the current one.
    pub fn growing(arenas: usize, buckets: &[usize]) -> Self {
        assert!(arenas <= ARENAS);
        let segment = Self {
            current: AtomicU64::new(CurrentWord::new(1, 0, 0).0),
            arenas: (0..arenas).map(|_| ArenaHeader::default()).collect(),
            extents: (0..arenas).map(|_| Extents::new(buckets)).collect(),
            writers: Default::default(),
        };
        segment.set(0, ArenaState::Claimed { window: 1 });
        segment
    }

    /// Sets the state that a model starts with.
    pub fn set(&self, arena: usize, state: ArenaState) {
        self.arenas[arena].state.store(state.pack(), Ordering::Relaxed);
    }

    pub fn rollover(&self) -> Rollover<'_> {
        Rollover { current: &self.current, arenas: &self.arenas }
    }

    pub fn table(&self, arena: usize) -> Table<'_, &Extents> {
        let extents = &self.extents[arena];
        Table::new(&self.arenas[arena], extents, extents.buckets[0].len())
    }

    /// Opens `window`, if there is an arena for it.
    pub fn open(&self, writer: usize, window: u64) -> bool {
        let opened: Result<bool, ()> =
            self.rollover().open(&self.writers[writer], window, |_, _| Ok(0));
        opened.expect("nothing to go wrong")
    }

    /// Counts `word` in the current window: what became of it, and in which.
    pub fn add(&self, writer: usize, word: u64) -> (Insert, u64) {
        let own = &self.writers[writer];
        let rollover = self.rollover();
        let mut current = rollover.current();
        loop {
            let entered = match rollover.enter(own, current) {
                Ok(entered) => entered,
                Err(now) => {
                    current = now;
                    continue;
                }
            };
            let insert = self.table(current.arena()).insert(word).expect("room");
            drop(entered);
            if insert != Insert::Frozen {
                return (insert, current.window());
            }
            yield_now();
            current = rollover.current();
        }
    }

    /// Clears `arena` if it may be, as maintenance does.
    pub fn clear(&self, writer: usize, arena: usize, published: u64) {
        self.clear_without(writer, arena, published, None);
    }

    /// As [`Self::clear`], without the pins of the writer `dead`.
    pub fn clear_without(&self, writer: usize, arena: usize, published: u64, dead: Option<usize>) {
        let others = || {
            (0..WRITERS)
                .any(|it| it != writer && Some(it) != dead && self.writers[it].count(arena) != 0)
        };
        self.rollover().clear(&self.writers[writer], arena, published, others, |_| {
            let extents = &self.extents[arena];
            extents.buckets.iter().flatten().for_each(Bucket::zero);
            for moved in self.arenas[arena].moved.iter().take(extents.buckets.len() - 1) {
                moved.store(0, Ordering::Relaxed);
            }
            self.arenas[arena].extents.store(0, Ordering::Release);
            self.arenas[arena].flags.store(0, Ordering::Release);
            true
        });
    }

    pub fn states(&self) -> Vec<ArenaState> {
        self.rollover().states().map(|(_, state)| state).collect()
    }
}
