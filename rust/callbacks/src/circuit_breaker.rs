//! Posts to one destination: how many at once, and when to leave it alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row that open a circuit.
const FAILURES: u32 = 10;
/// How long it is open at first, and at the most.
const OPEN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// While it is open, one request in so long is let through to see.
const TRIAL: Duration = Duration::from_secs(2);

/// The open circuits of a process: who accepts requests reads them, who sends writes them.
#[derive(Debug, Default)]
pub struct CircuitBreakers {
    count: AtomicUsize,
    open: Mutex<HashMap<u64, Instant>>,
}

impl CircuitBreakers {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a callback to `destination` may be taken.
    #[must_use]
    pub fn admits(&self, destination: u64) -> bool {
        // Relaxed: a moment late is no harm.
        if self.count.load(Ordering::Relaxed) == 0 {
            return true;
        }
        let mut open = self.open();
        let Some(until) = open.get_mut(&destination) else { return true };
        let now = Instant::now();
        let admits = now >= *until;
        if admits {
            *until = now + TRIAL;
        }
        admits
    }

    fn set(&self, destination: u64, until: Option<Instant>) {
        let mut open = self.open();
        match until {
            Some(until) => open.insert(destination, until),
            None => open.remove(&destination),
        };
        self.count.store(open.len(), Ordering::Relaxed);
    }
}

/// Posts to one destination that are under way at once: at first, and at the most.
pub const WINDOW: (usize, usize) = (16, 256);
/// Up to here the window grows with each answer, beyond with each round of answers: more connections
/// help a receiver that is far away, and burden one that is busy.
const EAGER: usize = 64;

/// How many posts one destination may have under way, and since when it fails.
#[derive(Debug)]
pub struct Pace {
    window: usize,
    /// Answers since the window last grew.
    answers: usize,
    failures: u32,
    trips: u32,
    open_until: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { window: WINDOW.0, answers: 0, failures: 0, trips: 0, open_until: None }
    }
}

impl Pace {
    /// Posts that may be under way.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// Until when the circuit is open: no second attempts before that.
    #[must_use]
    pub fn open_until(&self) -> Option<Instant> {
        self.open_until
    }

    /// The destination answered: it works, whatever it thinks of the callback. `limited`: more would
    /// have been under way, were the window larger.
    pub fn answered(&mut self, destination: u64, circuits: &CircuitBreakers, limited: bool) {
        self.failures = 0;
        self.answers += usize::from(limited);
        if self.answers > 0 && (self.window < EAGER || self.answers >= self.window) {
            self.window = (self.window + 1).min(WINDOW.1);
            self.answers = 0;
        }
        if self.open_until.take().is_some() {
            self.trips = 0;
            circuits.set(destination, None);
        }
    }

    /// It failed.
    pub fn failed(&mut self, destination: u64, circuits: &CircuitBreakers, now: Instant) {
        self.failures += 1;
        self.window = (self.window / 2).max(WINDOW.0);
        let is_open = self.open_until.is_some_and(|until| now < until);
        if self.failures >= FAILURES && !is_open {
            let length = (OPEN.0 * 2_u32.saturating_pow(self.trips)).min(OPEN.1);
            self.trips = (self.trips + 1).min(8);
            self.open_until = Some(now + length);
            circuits.set(destination, self.open_until);
        }
    }

    /// Nothing is known of the destination any more.
    pub fn forget(&mut self, destination: u64, circuits: &CircuitBreakers) {
        if self.open_until.take().is_some() {
            circuits.set(destination, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CircuitBreakers, EAGER, FAILURES, OPEN, Pace, WINDOW};
    use std::time::{Duration, Instant};

    #[test]
    fn a_circuit_opens_after_failures_in_a_row_and_closes_with_an_answer() {
        let (mut pace, circuits, now) =
            (Pace::default(), CircuitBreakers::default(), Instant::now());
        for _ in 1..FAILURES {
            pace.failed(7, &circuits, now);
        }
        pace.answered(7, &circuits, true);
        for _ in 1..FAILURES {
            pace.failed(7, &circuits, now);
        }
        assert!(circuits.admits(7));
        pace.failed(7, &circuits, now);
        assert_eq!(pace.open_until(), Some(now + OPEN.0));
        assert!(!circuits.admits(7));
        assert!(circuits.admits(8));
        // What was under way fails too, and does not prolong it.
        pace.failed(7, &circuits, now + Duration::from_millis(1));
        assert_eq!(pace.open_until(), Some(now + OPEN.0));
        pace.failed(7, &circuits, now + OPEN.0);
        assert_eq!(pace.open_until(), Some(now + OPEN.0 + OPEN.0 * 2));
        pace.answered(7, &circuits, true);
        assert!(circuits.admits(7));
        assert_eq!(pace.open_until(), None);
    }

    #[test]
    fn one_request_in_a_while_tries_an_open_circuit() {
        let circuits = CircuitBreakers::default();
        circuits.set(7, Some(Instant::now()));
        assert!(circuits.admits(7));
        assert!(!circuits.admits(7));
    }

    #[test]
    fn the_window_grows_with_answers_and_halves_with_failures() {
        let (mut pace, circuits) = (Pace::default(), CircuitBreakers::default());
        for _ in 0..1_000 {
            pace.answered(7, &circuits, false);
        }
        assert_eq!(pace.window(), WINDOW.0);
        for _ in WINDOW.0..EAGER {
            pace.answered(7, &circuits, true);
        }
        assert_eq!(pace.window(), EAGER);
        for _ in 0..EAGER {
            pace.answered(7, &circuits, true);
        }
        assert_eq!(pace.window(), EAGER + 1);
        for _ in 0..100_000 {
            pace.answered(7, &circuits, true);
        }
        assert_eq!(pace.window(), WINDOW.1);
        pace.failed(7, &circuits, Instant::now());
        assert_eq!(pace.window(), WINDOW.1 / 2);
        for _ in 0..10 {
            pace.failed(7, &circuits, Instant::now());
        }
        assert_eq!(pace.window(), WINDOW.0);
    }
}
