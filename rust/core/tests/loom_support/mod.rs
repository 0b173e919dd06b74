//! What the models have in common: arenas in memory, and running a model with a site weakened.
#![allow(dead_code, reason = "each test file uses its part")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64 as StdAtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use loom::sync::Arc;
use verve_core::sync::{AtomicU64, Ordering, Site, weaken};
use verve_core::table::{ArenaHeader, Bucket, Insert, Shortage, Storage, Table};
use verve_core::window::pins::Pins;
use verve_core::window::rollover::Rollover;
use verve_core::window::word::{ARENAS, ArenaState, CurrentWord};

/// What is weakened holds for the whole process, so one model runs at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A model: the threads that it races, of which the one of the given number goes first.
///
/// Loom remembers only the last access to a word. It then takes a thread that has only read a word
/// before another one reads and changes it to be independent of the change. So every model is run
/// with each of its threads as the first.
pub type Model = fn(usize);

/// Threads of a model, each with what it comes to.
pub type Threads<T> = Vec<Box<dyn FnOnce() -> T>>;

/// Runs the threads at once, number `first` as the one that loom begins with: what they come to.
pub fn race<T: 'static>(first: usize, threads: Threads<T>) -> Vec<T> {
    let mut mine = None;
    let others: Vec<_> = threads
        .into_iter()
        .enumerate()
        .filter_map(|(number, thread)| {
            if number == first {
                mine = Some(thread);
                return None;
            }
            Some(loom::thread::spawn(thread))
        })
        .collect();
    let mine = mine.expect("a thread of that number")();
    let mut results: Vec<T> =
        others.into_iter().map(|other| other.join().expect("no panic")).collect();
    results.insert(first, mine);
    results
}

/// A thread of a model, with the segment.
pub fn with<T: 'static>(segment: &Arc<Segment>, act: fn(&Segment) -> T) -> Box<dyn FnOnce() -> T> {
    let segment = Arc::clone(segment);
    Box::new(move || act(&segment))
}

/// Schedules that were run through.
fn check(site: Option<Site>, preemptions: Option<usize>, first: usize, model: Model) -> u64 {
    static RUNS: StdAtomicU64 = StdAtomicU64::new(0);
    let mut builder = loom::model::Builder::new();
    // The environment (LOOM_MAX_PREEMPTIONS) may ask for more, or for less.
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.max_branches = 20_000;
    weaken(site);
    RUNS.store(0, Ordering::Relaxed);
    builder.check(move || {
        RUNS.fetch_add(1, Ordering::Relaxed);
        model(first);
    });
    RUNS.load(Ordering::Relaxed)
}

/// Runs through the schedules of a model of `threads` threads with at most so many preemptions;
/// `None`: with any.
pub fn holds(threads: usize, preemptions: Option<usize>, model: Model) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    let runs: Vec<u64> = (0..threads).map(|first| check(None, preemptions, first, model)).collect();
    println!("{runs:?} schedules in {:.1?}", begun.elapsed());
    assert!(runs.iter().sum::<u64>() > 2 * threads as u64, "the threads have nothing in common");
}

/// The model of `threads` threads must find a fault when `site` is weakened.
pub fn fails_without(site: Site, threads: usize, preemptions: Option<usize>, model: Model) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // Loom's coroutines end by a panic that a hook of theirs keeps quiet, put in place by the first model
    // of the process. Without it each end of a thread is reported, millions of them.
    loom::model(|| {});
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = (0..threads).any(|first| {
        catch_unwind(AssertUnwindSafe(|| check(Some(site), preemptions, first, model))).is_err()
    });
    std::panic::set_hook(hook);
    weaken(None);
    assert!(found, "the model finds nothing wrong without {site:?}");
}

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

/// The words that the ids of a table stand in, sorted.
pub fn words(table: &Table<'_, &Extents>) -> Vec<u64> {
    let mut words = Vec::new();
    table.visit_from(0, usize::MAX, |word| words.push(word));
    words.sort_unstable();
    words
}

/// A segment of a few arenas of one extent each, and three writers.
#[derive(Debug)]
pub struct Segment {
    pub current: AtomicU64,
    pub arenas: Vec<ArenaHeader>,
    pub extents: Vec<Extents>,
    pub writers: [Pins; 3],
}

impl Segment {
    /// Arena 0 is that of window 1, the current one.
    pub fn new(arenas: usize) -> Self {
        assert!(arenas <= ARENAS);
        let segment = Self {
            current: AtomicU64::new(CurrentWord::new(1, 0, 0).0),
            arenas: (0..arenas).map(|_| ArenaHeader::default()).collect(),
            extents: (0..arenas).map(|_| Extents::new(&[1])).collect(),
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
        Table::new(&self.arenas[arena], &self.extents[arena], 1)
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
            loom::thread::yield_now();
            current = rollover.current();
        }
    }

    /// Clears `arena` if it may be, as maintenance does.
    pub fn clear(&self, writer: usize, arena: usize, published: u64) {
        let others = || (0..3).any(|it| it != writer && self.writers[it].count(arena) != 0);
        self.rollover().clear(&self.writers[writer], arena, published, others, |_| {
            for bucket in &self.extents[arena].buckets[0] {
                bucket.zero();
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
