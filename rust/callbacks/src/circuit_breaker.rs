//! The circuit breakers: a destination that fails gets no new callbacks for a while.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row that open a circuit.
const FAILURES: u32 = 10;
/// How long a circuit is open after its first trip; each further trip doubles it.
const FIRST_OPEN: Duration = Duration::from_secs(2);
/// How long a circuit is open at most.
const LONGEST_OPEN: Duration = Duration::from_secs(30);
/// Interval of the trial callbacks that an open circuit lets through.
const TRIAL: Duration = Duration::from_secs(2);

/// The open circuits of a process: the threads that accept requests read them, the sender writes
/// them.
#[derive(Debug, Default)]
pub struct CircuitBreakers {
    count: AtomicUsize,
    open: Mutex<HashMap<u64, Instant>>,
}

impl CircuitBreakers {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a callback to `destination` may be accepted.
    #[must_use]
    pub fn admits(&self, destination: u64) -> bool {
        // Relaxed: a stale count delays the circuit breaker by a moment, which is harmless.
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

/// The circuit breaker of one destination.
#[derive(Debug, Default)]
pub struct CircuitBreaker {
    /// Failures in a row.
    failures: u32,
    trips: u32,
    open_until: Option<Instant>,
}

impl CircuitBreaker {
    /// The end of the open period: no second attempts before it.
    #[must_use]
    pub fn open_until(&self) -> Option<Instant> {
        self.open_until
    }

    /// Closes the circuit: the destination answered, whatever the status.
    pub fn answered(&mut self, destination: u64, breakers: &CircuitBreakers) {
        self.failures = 0;
        if self.open_until.take().is_some() {
            self.trips = 0;
            breakers.set(destination, None);
        }
    }

    /// Counts a failure; opens the circuit if there were too many in a row.
    pub fn failed(&mut self, destination: u64, breakers: &CircuitBreakers, now: Instant) {
        self.failures += 1;
        let is_open = self.open_until.is_some_and(|until| now < until);
        if self.failures >= FAILURES && !is_open {
            let length = (FIRST_OPEN * 2_u32.saturating_pow(self.trips)).min(LONGEST_OPEN);
            self.trips = (self.trips + 1).min(8);
            self.open_until = Some(now + length);
            breakers.set(destination, self.open_until);
        }
    }

    /// Closes the circuit of a destination that the sender forgets.
    pub fn forget(&mut self, destination: u64, breakers: &CircuitBreakers) {
        if self.open_until.take().is_some() {
            breakers.set(destination, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CircuitBreaker, CircuitBreakers, FAILURES, FIRST_OPEN};
    use std::time::{Duration, Instant};

    #[test]
    fn a_circuit_opens_after_failures_in_a_row_and_closes_with_an_answer() {
        let (mut breaker, breakers, now) =
            (CircuitBreaker::default(), CircuitBreakers::default(), Instant::now());
        for _ in 1..FAILURES {
            breaker.failed(7, &breakers, now);
        }
        breaker.answered(7, &breakers);
        for _ in 1..FAILURES {
            breaker.failed(7, &breakers, now);
        }
        assert!(breakers.admits(7));
        breaker.failed(7, &breakers, now);
        assert_eq!(breaker.open_until(), Some(now + FIRST_OPEN));
        assert!(!breakers.admits(7));
        assert!(breakers.admits(8));
        // Posts that were in flight fail too, and do not prolong the open period.
        breaker.failed(7, &breakers, now + Duration::from_millis(1));
        assert_eq!(breaker.open_until(), Some(now + FIRST_OPEN));
        breaker.failed(7, &breakers, now + FIRST_OPEN);
        assert_eq!(breaker.open_until(), Some(now + FIRST_OPEN + FIRST_OPEN * 2));
        breaker.answered(7, &breakers);
        assert!(breakers.admits(7));
        assert_eq!(breaker.open_until(), None);
    }

    #[test]
    fn an_open_circuit_lets_trials_through() {
        let breakers = CircuitBreakers::default();
        breakers.set(7, Some(Instant::now()));
        assert!(breakers.admits(7));
        assert!(!breakers.admits(7));
    }
}
