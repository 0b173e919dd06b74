//! Whether there is another attempt, and when.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::failure::Failure;
use crate::report::Figure;
use crate::transport::End;

/// Pauses before the second attempt, the third, and so on: about three quarters of a minute in all.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(6),
    Duration::from_secs(14),
    Duration::from_secs(25),
];
/// No attempt begins later than this after the request was accepted, but for the first.
pub const LIFE: Duration = Duration::from_secs(60);

/// What an attempt means for its callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has ended so.
    Ended(Figure),
    /// Another attempt, after at least the pause that the receiver asked for.
    Again(Option<Duration>),
}

/// Judges the end of an attempt.
#[must_use]
pub fn judge(end: End) -> Verdict {
    match end {
        End::Answered { status: 200..=299, .. } => Verdict::Ended(Figure::Delivered),
        End::Answered { status: 410, .. } => Verdict::Ended(Figure::Gone),
        End::Answered { status: 408 | 429 | 500..=599, pause } => Verdict::Again(pause),
        End::Answered { .. } => Verdict::Ended(Figure::Rejected),
        End::Failed(Failure::Refused) => Verdict::Ended(Figure::Refused),
        End::Failed(_) | End::Untunneled { .. } => Verdict::Again(None),
    }
}

/// Whether the destination itself is in trouble.
#[must_use]
pub fn is_trouble(end: End) -> bool {
    match end {
        End::Answered { status, .. } => status >= 500,
        End::Failed(failure) => !matches!(failure, Failure::Refused | Failure::Crowded),
        End::Untunneled { .. } => true,
    }
}

/// The pause after `attempts` attempts; `None` if they were all.
#[must_use]
pub fn pause(attempts: u64) -> Option<Duration> {
    let pause = *PAUSES.get(usize::try_from(attempts).ok()?.checked_sub(1)?)?;
    // A quarter more or less, so that callbacks that failed together do not come back together.
    Some(pause.mul_f64(0.75 + random() / 2.0))
}

/// From 0 to 1.
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::{LIFE, PAUSES, Verdict, judge, pause};
    use crate::failure::Failure;
    use crate::report::Figure;
    use crate::transport::End;
    use std::time::Duration;

    #[test]
    fn only_2xx_is_success() {
        let answered = |status| judge(End::Answered { status, pause: None });
        for (status, expected) in [
            (200, Verdict::Ended(Figure::Delivered)),
            (204, Verdict::Ended(Figure::Delivered)),
            (301, Verdict::Ended(Figure::Rejected)),
            (400, Verdict::Ended(Figure::Rejected)),
            (404, Verdict::Ended(Figure::Rejected)),
            (408, Verdict::Again(None)),
            (410, Verdict::Ended(Figure::Gone)),
            (429, Verdict::Again(None)),
            (500, Verdict::Again(None)),
            (503, Verdict::Again(None)),
        ] {
            assert_eq!(answered(status), expected, "{status}");
        }
        assert_eq!(judge(End::Failed(Failure::Refused)), Verdict::Ended(Figure::Refused));
        assert_eq!(judge(End::Failed(Failure::Deadline)), Verdict::Again(None));
    }

    #[test]
    fn pauses_differ_and_end_inside_a_minute() {
        let all: Duration = PAUSES.iter().sum();
        assert!(all.mul_f64(1.25) < LIFE);
        assert_eq!(pause(PAUSES.len() as u64 + 1), None);
        assert_eq!(pause(0), None);
        let first: Vec<_> = (0..20).filter_map(|_| pause(1)).collect();
        assert_eq!(first.len(), 20);
        assert!(first.iter().all(|&one| one >= PAUSES[0].mul_f64(0.75)));
        assert!(first.iter().all(|&one| one <= PAUSES[0].mul_f64(1.25)));
        assert!(first.iter().any(|&one| one != first[0]));
    }
}
