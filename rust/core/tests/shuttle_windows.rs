//! Several windows at once, in random schedules: what is too large for loom. Writers, two sealers, a
//! grower and a reader use three arenas over two rollovers, while one of them may be killed.
//!
//! Shuttle takes each operation to be sequentially consistent: that the orderings are strong enough is
//! for the models of loom to show.
#![cfg(shuttle)]

mod model_support;
mod shuttle_support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64 as StdAtomicU64, Ordering as StdOrdering};
use std::sync::{Arc, Mutex};

use model_support::{Segment, words};
use shuttle_support::{Fate, Thread, fails_without, holds, race};
use verve_core::sync::Site;
use verve_core::table::Insert;
use verve_core::table::freezing::Freezing;
use verve_core::window::rollover::SealOutcome;
use verve_core::window::word::ArenaState;

/// The threads: writers first, then a sealer in pieces, one at once, a grower and a reader.
const THREADS: usize = 7;
const WRITERS: usize = 3;
/// The one that looks at the end.
const JUDGE: usize = 7;

/// An answer to a writer.
#[derive(Clone, Copy, Debug)]
struct Answer {
    word: u64,
    window: u64,
    is_new: bool,
}

/// The ids in a window, and their count right after.
type Glimpse = (Vec<u64>, u64);

/// All that the threads share. What is not part of the segment adds no step to a schedule.
struct Service {
    segment: Segment,
    fate: Arc<Fate>,
    sealed_through: StdAtomicU64,
    answers: Mutex<Vec<Answer>>,
    /// The word that each writer inserts now.
    in_flight: Mutex<[Option<u64>; WRITERS]>,
    /// The counts of sealed windows.
    counts: Mutex<Vec<(u64, u64)>>,
    /// The ids of sealed windows.
    lists: Mutex<Vec<(u64, Vec<u64>)>>,
    /// What was seen in a window that may have been in use.
    glimpses: Mutex<Vec<(u64, Glimpse)>>,
}

/// What is noted of `window`.
fn of<T: Clone>(window: u64, notes: &Mutex<Vec<(u64, T)>>) -> Vec<T> {
    let notes = notes.lock().unwrap();
    notes.iter().filter(|it| it.0 == window).map(|it| it.1.clone()).collect()
}

/// Words whose probes begin in different buckets.
fn word(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Service {
    fn answered(&self, window: u64) -> BTreeSet<u64> {
        let answers = self.answers.lock().unwrap();
        answers.iter().filter(|it| it.window == window).map(|it| it.word).collect()
    }

    /// Inserts four words, and moves on to the next windows before some of them.
    fn write_and_open(&self, writer: usize) {
        let windows = [1, 1, 2, 2, 3, 3];
        for turn in 0..4 {
            self.segment.open(writer, windows[turn + writer]);
            self.write(writer, 1 + (2 * writer + turn) as u64 % 6);
        }
    }

    /// Inserts words until the table has grown three times. The first writer moves on before that.
    fn write_and_grow(&self, writer: usize) {
        for turn in 0..9 {
            self.write(writer, 1 + (3 * writer as u64 + turn) % 9);
            if writer == 0 && turn == 6 {
                self.segment.open(writer, 2);
            }
        }
    }

    fn write(&self, writer: usize, number: u64) {
        let word = word(number);
        self.in_flight.lock().unwrap()[writer] = Some(word);
        let (insert, window) = self.segment.add(writer, word);
        let is_new = insert == Insert::New;
        self.answers.lock().unwrap().push(Answer { word, window, is_new });
        self.in_flight.lock().unwrap()[writer] = None;
    }

    /// Goes on to seal the first window that is not sealed, if it has ended: for at most so many buckets.
    fn seal(&self, sealer: usize, progress: &mut (u64, Freezing), mut most: usize) -> bool {
        let window = self.sealed_through.load(StdOrdering::Relaxed) + 1;
        if window >= self.segment.rollover().current().window() {
            return false;
        }
        if progress.0 != window {
            *progress = (window, Freezing::default());
        }
        let pins = &self.segment.writers[sealer];
        let outcome = self.segment.rollover().seal(pins, window, |arena, _| {
            let count = self.segment.table(arena).freeze_some(&mut progress.1, &mut most);
            self.counts.lock().unwrap().extend(count.map(|count| (window, count)));
            count.is_some()
        });
        if matches!(outcome, SealOutcome::Sealed | SealOutcome::NoArena) {
            self.sealed_through.fetch_max(window, StdOrdering::Relaxed);
        }
        true
    }

    fn clear(&self, sealer: usize) {
        for arena in 0..self.segment.arenas.len() {
            let sealed_through = self.sealed_through.load(StdOrdering::Relaxed);
            self.segment.clear_without(sealer, arena, sealed_through, self.fate.dead());
        }
    }

    /// Moves the ids that nobody moves.
    fn grow(&self, grower: usize) {
        let rollover = self.segment.rollover();
        let current = rollover.current();
        if let Ok(_entered) = rollover.enter(&self.segment.writers[grower], current) {
            let table = self.segment.table(current.arena());
            if let Some(oldest) = table.stalled_extent() {
                let _ = table.move_again(oldest, 0, 9);
            }
        }
    }

    /// Lists the ids of the sealed windows, and of the current one.
    fn read(&self, reader: usize) {
        let rollover = self.segment.rollover();
        let pins = &self.segment.writers[reader];
        for (arena, state) in rollover.states() {
            if let ArenaState::Sealed { window, .. } = state
                && let Some(_pinned) = rollover.enter_in(pins, arena, state)
            {
                let list = words(&self.segment.table(arena));
                self.lists.lock().unwrap().push((window, list));
            }
        }
        let current = rollover.current();
        let before = self.answered(current.window());
        if let Ok(_entered) = rollover.enter(pins, current) {
            let table = self.segment.table(current.arena());
            let seen = table.words().expect("memory");
            let count = table.count();
            assert!(before.iter().all(|it| seen.contains(it)), "{before:?} in {seen:?}");
            assert!(count >= before.len() as u64, "{count} of {before:?}");
            self.glimpses.lock().unwrap().push((current.window(), (seen, count)));
        }
    }

    /// Compares everything that was said with the answers.
    fn judge(&self) {
        while self.seal(JUDGE, &mut (0, Freezing::default()), usize::MAX) {}
        let current = self.segment.rollover().current();
        let unanswered = self.fate.dead().filter(|&dead| dead < WRITERS);
        let unanswered = unanswered.and_then(|dead| self.in_flight.lock().unwrap()[dead]);
        for window in 1..=current.window() {
            let mut counts = of(window, &self.counts);
            if window == current.window() {
                counts.push(words(&self.segment.table(current.arena())).len() as u64);
            }
            let lists = of(window, &self.lists);
            counts.extend(lists.iter().map(|list| list.len() as u64));

            let answered = self.answered(window);
            let mut most = answered.clone();
            most.extend(unanswered);
            let glimpses = of(window, &self.glimpses);
            for (seen, count) in &glimpses {
                assert_eq!(BTreeSet::from_iter(seen).len(), seen.len(), "each once: {seen:?}");
                assert!(*count <= most.len() as u64, "{count} seen of {most:?}");
            }
            let seen = glimpses.iter().map(|(seen, _)| seen).chain(&lists).flatten();
            let least: BTreeSet<u64> = seen.copied().chain(answered).collect();
            assert!(least.is_subset(&most), "window {window}: {least:?} in {most:?}");
            let holds = |&count: &u64| (least.len()..=most.len()).contains(&(count as usize));
            assert!(counts.iter().all(holds), "window {window}: {counts:?} of {least:?}");
            assert!(counts.iter().all(|it| *it == counts[0]), "window {window}: {counts:?}");
            assert!(!counts.is_empty() || least.is_empty(), "window {window} has no count");
            self.judge_news(window, unanswered);
        }
    }

    /// Each id is new once in a window.
    fn judge_news(&self, window: u64, unanswered: Option<u64>) {
        for word in self.answered(window) {
            let answers = self.answers.lock().unwrap();
            let its = answers.iter().filter(|it| (it.window, it.word) == (window, word));
            let news = its.filter(|it| it.is_new).count();
            let may_be_none = Some(word) == unanswered;
            assert!(
                news == 1 || may_be_none && news == 0,
                "{word} was new {news} times in window {window}"
            );
        }
    }
}

/// Everything at once, with such writers.
fn race_with(fate: &Arc<Fate>, write: fn(&Service, usize)) {
    let service = Arc::new(Service {
        segment: Segment::growing(3, &[1, 2, 4, 8]),
        fate: Arc::clone(fate),
        sealed_through: StdAtomicU64::new(0),
        answers: Mutex::default(),
        in_flight: Mutex::default(),
        counts: Mutex::default(),
        lists: Mutex::default(),
        glimpses: Mutex::default(),
    });
    let acts: [fn(&Service, usize); THREADS] = [
        write,
        write,
        write,
        |it, sealer| {
            let mut progress = (0, Freezing::default());
            for _ in 0..12 {
                it.seal(sealer, &mut progress, 1);
            }
            it.clear(sealer);
        },
        |it, sealer| {
            for _ in 0..4 {
                it.seal(sealer, &mut (0, Freezing::default()), usize::MAX);
                it.clear(sealer);
            }
        },
        |it, grower| (0..3).for_each(|_| it.grow(grower)),
        |it, reader| (0..2).for_each(|_| it.read(reader)),
    ];
    let thread = |(number, act): (usize, fn(&Service, usize))| -> Thread {
        let service = Arc::clone(&service);
        Box::new(move || act(&service, number))
    };
    race(fate, acts.into_iter().enumerate().map(thread).collect(), || service.judge());
}

fn two_rollovers(fate: &Arc<Fate>) {
    race_with(fate, Service::write_and_open);
}

fn a_growing_table(fate: &Arc<Fate>) {
    race_with(fate, Service::write_and_grow);
}

#[test]
fn each_window_has_its_ids_whoever_is_killed() {
    holds(THREADS, two_rollovers);
}

#[test]
fn a_table_that_grows_has_its_ids_whoever_is_killed() {
    holds(THREADS, a_growing_table);
}

#[test]
fn each_step_that_a_proof_depends_on_is_needed() {
    for (site, model) in [
        (Site::ClaimSlot, a_growing_table as fn(&Arc<Fate>)),
        (Site::CloseBucket, two_rollovers),
        (Site::CloseBeforeCopy, a_growing_table),
        (Site::FreezeExtents, two_rollovers),
        (Site::FreezeBeforeRead, two_rollovers),
        (Site::EnterRecheck, two_rollovers),
        (Site::ReuseRecheck, two_rollovers),
        (Site::ClearBeforeZero, two_rollovers),
        (Site::ConfirmBeforeMove, two_rollovers),
    ] {
        fails_without(site, THREADS, model);
    }
}
