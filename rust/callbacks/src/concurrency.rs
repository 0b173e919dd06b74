//! The number of posts that one destination may have in flight.

/// Posts in flight to a destination at first, and after failures.
const SMALLEST: usize = 16;
/// Posts in flight to a destination at most.
pub const LARGEST: usize = 256;
/// Below this the limit grows with each answer, above it with each round of answers: more
/// connections help a receiver that is far away, and burden one that is busy.
const EAGER: usize = 64;

/// Whether more posts would have been in flight if the limit were higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Yes: callbacks waited.
    AtLimit,
    /// No.
    BelowLimit,
}

/// The adaptive limit of posts in flight to one destination.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    posts: usize,
    /// Answers at the limit since it last grew.
    answers: usize,
}

impl Default for ConcurrencyLimit {
    fn default() -> Self {
        Self { posts: SMALLEST, answers: 0 }
    }
}

impl ConcurrencyLimit {
    /// Posts that may be in flight.
    #[must_use]
    pub fn posts(&self) -> usize {
        self.posts
    }

    /// Raises the limit, if the load calls for it: the destination answered.
    pub fn answered(&mut self, load: Load) {
        self.answers += usize::from(load == Load::AtLimit);
        if self.answers > 0 && (self.posts < EAGER || self.answers >= self.posts) {
            self.posts = (self.posts + 1).min(LARGEST);
            self.answers = 0;
        }
    }

    /// Halves the limit: the destination failed.
    pub fn failed(&mut self) {
        self.posts = (self.posts / 2).max(SMALLEST);
    }
}

#[cfg(test)]
mod tests {
    use super::{ConcurrencyLimit, EAGER, LARGEST, Load, SMALLEST};

    #[test]
    fn the_limit_grows_with_answers_and_halves_with_failures() {
        let mut limit = ConcurrencyLimit::default();
        for _ in 0..1_000 {
            limit.answered(Load::BelowLimit);
        }
        assert_eq!(limit.posts(), SMALLEST);
        for _ in SMALLEST..EAGER {
            limit.answered(Load::AtLimit);
        }
        assert_eq!(limit.posts(), EAGER);
        for _ in 0..EAGER {
            limit.answered(Load::AtLimit);
        }
        assert_eq!(limit.posts(), EAGER + 1);
        for _ in 0..100_000 {
            limit.answered(Load::AtLimit);
        }
        assert_eq!(limit.posts(), LARGEST);
        limit.failed();
        assert_eq!(limit.posts(), LARGEST / 2);
        for _ in 0..10 {
            limit.failed();
        }
        assert_eq!(limit.posts(), SMALLEST);
    }
}
