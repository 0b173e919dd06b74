//! The rate of posts to one destination, which all processes of a host share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A rate that all processes share, in one word: the generic cell rate algorithm (ATM Forum, 1996).
///
/// The word is the time at which the next post is due if posts are spaced evenly. It stays right
/// when a process dies.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    interval: u64,
    burst: u64,
}

impl RateLimit {
    /// At most `per_second` posts per second.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let interval = 1_000_000_000 / u64::from(per_second.max(1));
        // A burst of 20 ms, since timers are exact to a millisecond or two.
        Self { interval, burst: interval.max(20_000_000) }
    }

    /// Takes one post at `now` (nanoseconds), or returns how long to wait.
    pub fn take(self, word: &AtomicU64, now: u64) -> Result<(), Duration> {
        // Relaxed: no other memory depends on the word.
        let mut due = word.load(Ordering::Relaxed);
        loop {
            let ahead = match due.saturating_sub(now) {
                // A value from before a reboot: no post is due that far ahead.
                ahead if ahead > self.burst + self.interval => 0,
                ahead => ahead,
            };
            if ahead > self.burst {
                return Err(Duration::from_nanos(ahead - self.burst));
            }
            let next = now + ahead + self.interval;
            match word.compare_exchange_weak(due, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(changed) => due = changed,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RateLimit;
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    #[test]
    fn a_rate_holds_for_any_spacing_of_requests() {
        for step in [1_000, 70_000, 900_000, 3_000_000] {
            let (rate, word) = (RateLimit::new(1_000), AtomicU64::new(0));
            let begin = 5_000_000_000_000;
            let asked = (0..10_000_000_000 / step).map(|index| begin + index * step);
            let passed = asked.filter(|&now| rate.take(&word, now).is_ok()).count() as u64;
            let most = 10_000 + 22;
            assert!(passed <= most, "{passed} of a step of {step}");
            assert!(passed >= (10_000_000_000 / step).min(9_990), "{passed} of a step of {step}");
        }
    }

    #[test]
    fn a_rate_returns_how_long_to_wait_and_survives_a_reboot() {
        let (rate, word) = (RateLimit::new(10), AtomicU64::new(0));
        let now = 1_000_000_000_000;
        assert_eq!(rate.take(&word, now), Ok(()));
        assert_eq!(rate.take(&word, now), Ok(()));
        let wait = rate.take(&word, now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(rate.take(&word, now + 100_000_000), Ok(()));
        assert_eq!(rate.take(&word, 1_000_000_000), Ok(()));
    }
}
