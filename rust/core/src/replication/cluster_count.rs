//! The counts of the whole cluster in the newest windows.
//!
//! Each word is changed as a whole. It holds, from the top, a part of the window's number, whether
//! the count is final, and the count plus one. A word of 0 was never written.

use crate::replication::handle::Replication;
use crate::segment::layout::CLUSTER_COUNTS;
use crate::sync::{AtomicU64, Ordering};

/// Bits of a count, which is kept plus one.
const COUNT_BITS: u32 = 44;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
/// Set when the count is final.
const FINAL: u64 = 1 << COUNT_BITS;
/// Lowest bit of the lap, which is the window's number divided by the number of words. Half of all
/// laps is 8 years of minutes.
const LAP_AT: u32 = COUNT_BITS + 1;
const LAP_MASK: u64 = u64::MAX >> LAP_AT;

/// Whether a noted count may still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// The window has no committed record: the count only rises.
    SoFar,
    /// The cluster committed the record. A later final count replaces this one if it is larger.
    Final,
}

fn lap(window: u64) -> u64 {
    (window / CLUSTER_COUNTS as u64) & LAP_MASK
}

/// The word for `window` after `before`; `None` if nothing changes.
fn noted(before: u64, window: u64, count: u64, how: Noted) -> Option<u64> {
    let lap = lap(window);
    let count = count.saturating_add(1).min(COUNT_MASK);
    let mark = if how == Noted::Final { FINAL } else { 0 };
    let word = lap << LAP_AT | mark | count;
    // Laps are numbers on a circle: a later one is ahead by less than half of it.
    let ahead = lap.wrapping_sub(before >> LAP_AT) & LAP_MASK;
    if before == 0 || (ahead != 0 && ahead <= LAP_MASK / 2) {
        return Some(word);
    }
    let rises = count > before & COUNT_MASK;
    let settles = before & FINAL == 0 && mark != 0;
    let open = before & FINAL == 0 || mark != 0;
    (ahead == 0 && (settles || (open && rises))).then_some(word)
}

impl<'a> Replication<'a> {
    fn cluster_word(self, window_start: u64) -> (u64, &'a AtomicU64) {
        let window = window_start / u64::from(self.counter.window_seconds());
        (
            window,
            &self.counter.front().header.cluster_counts.0
                [(window % CLUSTER_COUNTS as u64) as usize],
        )
    }

    /// Notes that the cluster counted `count` distinct ids in the window that starts at
    /// `window_start`. The newest 16 windows are kept; a window that is older than the one in its
    /// word is ignored.
    pub fn note_cluster_count(self, window_start: u64, count: u64, how: Noted) {
        let (window, word) = self.cluster_word(window_start);
        // Relaxed throughout: no other memory depends on the word.
        let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            noted(before, window, count, how)
        });
    }

    /// The distinct ids of a window in the whole cluster, if they were noted.
    #[must_use]
    pub fn cluster_count(self, window_start: u64) -> Option<u64> {
        let (window, word) = self.cluster_word(window_start);
        let word = word.load(Ordering::Relaxed);
        (word != 0 && word >> LAP_AT == lap(window)).then(|| (word & COUNT_MASK) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{COUNT_MASK, LAP_AT, LAP_MASK, Noted, noted};

    const WINDOW: u64 = 29_916_667;

    fn count(word: u64) -> u64 {
        (word & COUNT_MASK) - 1
    }

    #[test]
    fn a_count_rises_until_it_is_final() {
        let word = noted(0, WINDOW, 0, Noted::SoFar).expect("the first");
        assert_eq!(count(word), 0);
        let word = noted(word, WINDOW, 7, Noted::SoFar).expect("more");
        assert_eq!(noted(word, WINDOW, 7, Noted::SoFar), None);
        assert_eq!(noted(word, WINDOW, 6, Noted::SoFar), None);
        let word = noted(word, WINDOW, 6, Noted::Final).expect("the final count");
        assert_eq!(count(word), 6);
        assert_eq!(noted(word, WINDOW, 9, Noted::SoFar), None);
        assert_eq!(noted(word, WINDOW, 5, Noted::Final), None, "a revision lowers no count");
        let word = noted(word, WINDOW, 8, Noted::Final).expect("a revision");
        assert_eq!(count(word), 8);
    }

    #[test]
    fn a_newer_window_takes_the_place_of_an_older_one() {
        for window in [WINDOW, 3, 16 * LAP_MASK + 3, 16 * (LAP_MASK - 1) + 3] {
            let word = noted(0, window, 9, Noted::Final).expect("the first");
            let next = noted(word, window + 16, 1, Noted::SoFar).expect("the newer");
            assert_eq!(count(next), 1);
            assert_eq!(noted(next, window, 10, Noted::Final), None, "the older");
        }
    }

    #[test]
    fn huge_counts_are_cut_off() {
        let word = noted(0, WINDOW, u64::MAX, Noted::SoFar).expect("the first");
        assert_eq!(count(word), COUNT_MASK - 1);
        assert_eq!(word >> LAP_AT, (WINDOW / 16) & LAP_MASK);
    }
}
