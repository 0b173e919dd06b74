//! The running count of a window in which a process died: how often its table is counted.
//!
//! If a process dies between an insert and the update of its figures, the sums lack the id.
//! Counting the table takes tens of milliseconds for ten million ids. So at most a hundredth of the
//! time is spent on it, and in between the sums are returned, plus the number of ids that they
//! lacked at the last scan.

use std::time::{Duration, Instant};

use crate::window::word::CurrentWord;

/// Pause after a scan, in multiples of its duration...
const REST: u32 = 99;
/// ... and at least this long.
const LEAST_REST: Duration = Duration::from_millis(100);

/// The running count of one window, as this process last saw it.
#[derive(Debug, Default)]
pub(crate) struct Scans {
    word: Option<CurrentWord>,
    /// No scan before this time; `None` during a scan.
    next: Option<Instant>,
    /// Minimum number of ids that the sums lack.
    lacking: u64,
    /// The largest count that was returned or found: never more than the ids of the table.
    given: u64,
    /// Number of scans begun, of this window and of earlier ones.
    begun: u64,
}

impl Scans {
    /// Whether the caller shall count the table of `word` and then call [`Scans::end`].
    pub(crate) fn begin(&mut self, word: CurrentWord, now: Instant) -> bool {
        if self.word.is_none_or(|before| before.0 < word.0) {
            *self =
                Self { word: Some(word), next: Some(now), begun: self.begun, ..Self::default() };
        }
        let begins = self.word == Some(word) && self.next.is_some_and(|next| next <= now);
        if begins {
            self.next = None;
            self.begun += 1;
        }
        begins
    }

    /// Notes that `found` ids were counted, which took `elapsed`, and the sums if no thread
    /// inserted meanwhile.
    pub(crate) fn end(
        &mut self,
        word: CurrentWord,
        elapsed: Duration,
        found: u64,
        at_rest: Option<u64>,
    ) {
        if self.word == Some(word) {
            self.next = Some(Instant::now() + (elapsed * REST).max(LEAST_REST));
            self.given = self.given.max(found);
            // The ids that dead processes did not count stay uncounted: their number only grows.
            let lacking = at_rest.map_or(0, |sum| found.saturating_sub(sum));
            self.lacking = self.lacking.max(lacking);
        }
    }

    /// The count to return if the sums are `sum`. It never decreases within a window.
    pub(crate) fn give(&mut self, word: CurrentWord, sum: u64) -> u64 {
        if self.word != Some(word) {
            return sum;
        }
        self.given = self.given.max(sum + self.lacking);
        self.given
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use super::LEAST_REST;
    use crate::Clock;
    use crate::ManualClock;
    use crate::counter::handle::Counter;
    use crate::segment::attachment::SegmentConfig;
    use crate::table::UNCERTAIN;

    fn counter() -> Counter {
        let clock = Clock::Manual(ManualClock::new(1_795_000_020_000_000_000).into());
        Counter::in_memory(&SegmentConfig { max_ids: 1_000_000, ..SegmentConfig::default() }, clock)
            .expect("a counter in memory")
    }

    fn scanned(counter: &Counter) -> u64 {
        counter.participant().expect("a participant").scans.lock().expect("no panic").begun
    }

    /// Leaves `id` as a process does that is killed before it has counted the id, and is reaped.
    fn die_inside(counter: &Counter, id: i64) {
        let word = counter.rollover().current();
        let table = counter.table(word.arena(), word.size_step());
        table.insert(counter.mix().forward(id)).expect("room");
        counter.front().arenas[word.arena()].flags.fetch_or(UNCERTAIN, Ordering::Relaxed);
    }

    #[test]
    fn a_death_inside_costs_a_few_scans_and_no_id() {
        let counter = counter();
        counter.add_many(&(0..1_000).collect::<Vec<_>>()).expect("a participant");
        assert_eq!(counter.count().expect("a count"), 1_000);
        assert_eq!(scanned(&counter), 0);
        die_inside(&counter, -1);
        let begun = Instant::now();
        for calls in 0..100 {
            assert_eq!(counter.count().expect("a count"), 1_001 + calls);
            counter.add(1_000 + calls as i64).expect("room");
        }
        let most = 1 + (begun.elapsed().as_millis() / LEAST_REST.as_millis()) as u64;
        let scans = scanned(&counter);
        assert!((1..=most).contains(&scans), "{scans} scans, not {most}");
        assert_eq!(counter.seal().expect("a record").unique, 1_101);
        // The next window is certain again.
        counter.add(1).expect("room");
        assert_eq!(counter.count().expect("a count"), 1);
        assert_eq!(scanned(&counter), scans);
    }

    #[test]
    fn the_count_never_goes_down_nor_beyond_what_is_there() {
        let counter = counter();
        counter.add(0).expect("room");
        let over = AtomicBool::new(false);
        let inserts = |first: i64| {
            for id in (first..40_000).step_by(2) {
                counter.add(id).expect("room");
                if id == 9_001 {
                    die_inside(&counter, -1);
                }
            }
        };
        let counts = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut counts = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    counts.push(counter.count().expect("a count"));
                }
                counts
            });
            let writers = [(1, &inserts), (2, &inserts)]
                .map(|(first, inserts)| scope.spawn(move || inserts(first)));
            for writer in writers {
                writer.join().expect("no panic");
            }
            over.store(true, Ordering::Relaxed);
            reader.join().expect("no panic")
        });
        assert!(counts.is_sorted(), "a count went down");
        let unique = counter.seal().expect("a record").unique;
        assert_eq!(unique, 40_001);
        assert!(counts.last().is_some_and(|&last| last <= unique));
    }
}
