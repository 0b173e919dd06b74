//! Retries: whether another attempt follows a failed one, and when.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::failure::Failure;
use crate::report::Outcome;
use crate::transport::AttemptResult;

/// Pauses before the second attempt, the third, and so on: about 48 seconds in all.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(6),
    Duration::from_secs(14),
    Duration::from_secs(25),
];
/// No retry begins later than this after the request was accepted.
pub const RETRY_PERIOD: Duration = Duration::from_secs(60);

/// The consequence of an attempt for its callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The callback has ended with this outcome.
    Ended(Outcome),
    /// Retry, after at least the pause that the receiver asked for.
    Retry(Option<Duration>),
}

/// Judges the result of an attempt.
#[must_use]
pub fn judge(result: AttemptResult) -> Verdict {
    match result {
        AttemptResult::Answered { status: 200..=299, .. } => Verdict::Ended(Outcome::Delivered),
        AttemptResult::Answered { status: 410, .. } => Verdict::Ended(Outcome::Gone),
        AttemptResult::Answered { status: 408 | 429 | 500..=599, pause } => Verdict::Retry(pause),
        AttemptResult::Answered { .. } => Verdict::Ended(Outcome::Rejected),
        AttemptResult::Failed(Failure::Refused) => Verdict::Ended(Outcome::Refused),
        AttemptResult::Failed(_) | AttemptResult::Untunneled { .. } => Verdict::Retry(None),
    }
}

/// Whether the attempt counts as a failure of the destination, for its circuit breaker.
#[must_use]
pub fn is_destination_failure(result: AttemptResult) -> bool {
    match result {
        AttemptResult::Answered { status, .. } => status >= 500,
        AttemptResult::Failed(failure) => !matches!(failure, Failure::Refused | Failure::Crowded),
        AttemptResult::Untunneled { .. } => true,
    }
}

/// The pause after `attempts` attempts; `None` after the last one.
#[must_use]
pub fn pause(attempts: u64) -> Option<Duration> {
    let pause = *PAUSES.get(usize::try_from(attempts).ok()?.checked_sub(1)?)?;
    // Jitter of a quarter, so that callbacks that failed together are not retried together.
    Some(pause.mul_f64(0.75 + random() / 2.0))
}

/// A random number from 0 to 1.
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::{PAUSES, RETRY_PERIOD, Verdict, judge, pause};
    use crate::failure::Failure;
    use crate::report::Outcome;
    use crate::transport::AttemptResult;
    use std::time::Duration;

    #[test]
    fn only_2xx_is_success() {
        let answered = |status| judge(AttemptResult::Answered { status, pause: None });
        for (status, expected) in [
            (200, Verdict::Ended(Outcome::Delivered)),
            (204, Verdict::Ended(Outcome::Delivered)),
            (301, Verdict::Ended(Outcome::Rejected)),
            (400, Verdict::Ended(Outcome::Rejected)),
            (404, Verdict::Ended(Outcome::Rejected)),
            (408, Verdict::Retry(None)),
            (410, Verdict::Ended(Outcome::Gone)),
            (429, Verdict::Retry(None)),
            (500, Verdict::Retry(None)),
            (503, Verdict::Retry(None)),
        ] {
            assert_eq!(answered(status), expected, "{status}");
        }
        assert_eq!(
            judge(AttemptResult::Failed(Failure::Refused)),
            Verdict::Ended(Outcome::Refused)
        );
        assert_eq!(judge(AttemptResult::Failed(Failure::Deadline)), Verdict::Retry(None));
    }

    #[test]
    fn pauses_differ_and_end_inside_a_minute() {
        let all: Duration = PAUSES.iter().sum();
        assert!(all.mul_f64(1.25) < RETRY_PERIOD);
        assert_eq!(pause(PAUSES.len() as u64 + 1), None);
        assert_eq!(pause(0), None);
        let first: Vec<_> = (0..20).filter_map(|_| pause(1)).collect();
        assert_eq!(first.len(), 20);
        assert!(first.iter().all(|&one| one >= PAUSES[0].mul_f64(0.75)));
        assert!(first.iter().all(|&one| one <= PAUSES[0].mul_f64(1.25)));
        assert!(first.iter().any(|&one| one != first[0]));
    }
}
