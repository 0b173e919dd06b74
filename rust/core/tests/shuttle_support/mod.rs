//! Random schedules, in which one thread may be killed at any of its steps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use shuttle::scheduler::{RandomScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, Runner};
use verve_core::sync::{Site, weaken};

/// What is weakened holds for the whole process, so one model runs at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Steps of a thread before which it may be killed. Many take fewer, and end.
const STEPS: u64 = 300;

/// What becomes of the threads of a schedule.
#[derive(Debug, Default)]
pub struct Fate {
    /// The number of the thread to be killed.
    victim: AtomicUsize,
    is_dead: AtomicBool,
    /// Schedules in which it was.
    deaths: AtomicUsize,
}

impl Fate {
    /// The number of the thread that is dead.
    pub fn dead(&self) -> Option<usize> {
        self.is_dead.load(Ordering::Relaxed).then(|| self.victim.load(Ordering::Relaxed))
    }

    fn is_held(&self, task: TaskId) -> bool {
        self.dead().is_some_and(|dead| TaskId::from(dead + 1) == task)
    }
}

/// Takes any thread that can run as the next one, with more or less favour for the running one.
#[derive(Debug)]
struct Killing {
    random: RandomScheduler,
    fate: Arc<Fate>,
    threads: usize,
    /// Steps that are left to the victim.
    left: u64,
    /// In how many of 16 steps the running thread goes on.
    favour: u64,
}

impl Scheduler for Killing {
    fn new_execution(&mut self) -> Option<Schedule> {
        let schedule = self.random.new_execution();
        let mut draw = |below: u64| self.random.next_u64() % below;
        self.favour = [0, 8, 15][draw(3) as usize];
        self.left = draw(STEPS);
        self.fate.victim.store(draw(self.threads as u64) as usize, Ordering::Relaxed);
        self.fate.is_dead.store(false, Ordering::Relaxed);
        schedule
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        loop {
            let ready: Vec<TaskId> =
                runnable.iter().map(|it| it.id()).filter(|&it| !self.fate.is_held(it)).collect();
            let goes_on = !is_yielding && self.next_u64() % 16 < self.favour;
            let chosen = match current.filter(|it| goes_on && ready.contains(it)) {
                Some(current) => current,
                None if ready.is_empty() => return None,
                None => ready[self.next_u64() as usize % ready.len()],
            };
            let victim = TaskId::from(self.fate.victim.load(Ordering::Relaxed) + 1);
            if chosen != victim || self.fate.dead().is_some() {
                return Some(chosen);
            }
            if self.left > 0 {
                self.left -= 1;
                return Some(chosen);
            }
            self.fate.is_dead.store(true, Ordering::Relaxed);
            self.fate.deaths.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.random.next_u64()
    }
}

/// A thread of a model.
pub type Thread = Box<dyn FnOnce() + Send>;

/// Runs the threads at once, then `judge`. One that is killed stays where it is.
pub fn race(fate: &Arc<Fate>, threads: Vec<Thread>, judge: impl FnOnce()) {
    let victim = fate.victim.load(Ordering::Relaxed);
    let has_ended = Arc::new(AtomicBool::new(false));
    // Tasks, since they end with the schedule if nobody joins them.
    let mut tasks: Vec<_> = threads
        .into_iter()
        .enumerate()
        .map(|(number, thread)| {
            let has_ended = Arc::clone(&has_ended);
            shuttle::future::spawn(async move {
                thread();
                if number == victim {
                    has_ended.store(true, Ordering::Relaxed);
                }
            })
        })
        .collect();
    drop(tasks.remove(victim));
    for task in tasks {
        shuttle::future::block_on(task).expect("no panic");
    }
    while !has_ended.load(Ordering::Relaxed) && fate.dead().is_none() {
        shuttle::thread::yield_now();
    }
    judge();
}

/// Schedules to run: `VERVE_SCHEDULES`, or a few.
fn schedules() -> usize {
    std::env::var("VERVE_SCHEDULES").map_or(1_000, |number| number.parse().expect("a number"))
}

/// Runs so many schedules. Returns in how many a thread was killed.
fn check(most: usize, threads: usize, model: fn(&Arc<Fate>)) -> usize {
    let fate = Arc::new(Fate::default());
    let random = RandomScheduler::new(most);
    let killing = Killing { random, fate: Arc::clone(&fate), threads, left: 0, favour: 0 };
    let mut config = Config::new();
    // The seed, which is printed, is enough to run a schedule again.
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    let its = Arc::clone(&fate);
    Runner::new(killing, config).run(move || model(&its));
    fate.deaths.load(Ordering::Relaxed)
}

/// Runs a model of `threads` threads in random schedules.
pub fn holds(threads: usize, model: fn(&Arc<Fate>)) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    weaken(None);
    let deaths = check(schedules(), threads, model);
    println!("{} schedules in {:.1?}, {deaths} with a death", schedules(), begun.elapsed());
    assert!(deaths > schedules() / 10, "threads are killed in {deaths} schedules only");
}

/// The model must find a fault when `site` is weakened.
pub fn fails_without(site: Site, threads: usize, model: fn(&Arc<Fate>)) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    weaken(Some(site));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = catch_unwind(AssertUnwindSafe(|| check(100_000, threads, model))).is_err();
    std::panic::set_hook(hook);
    weaken(None);
    println!("{site:?}: found in {:.1?}", begun.elapsed());
    assert!(found, "the model finds nothing wrong without {site:?}");
}
