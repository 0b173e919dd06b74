//! What the models of loom have in common: running a model, and running it with a site weakened.
#![allow(dead_code, reason = "each test file uses its part")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64 as StdAtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use loom::sync::Arc;
use verve_core::sync::{Ordering, Site, weaken};

#[path = "../model_support/mod.rs"]
mod model_support;

#[allow(unused_imports, reason = "each test file uses its part")]
pub use model_support::{Arena, Segment, words};

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
