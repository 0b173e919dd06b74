//! The sealed ring: the records of the last 1,440 windows, each written once.
//!
//! The number of its window gives the slot of a record. Each field is one word with the lap of that
//! number around the ring, and goes from the value of an earlier lap to its own by one
//! compare-and-swap. The first writer of a field wins. All processes that seal may write at once, and
//! one that dies or stops in the middle holds up no other. A record is complete once
//! `Header::sealed_through` has reached its window.

use crate::sync::{AtomicU64, Ordering};

/// Records in the ring: a day of minutes.
pub const RECORDS: usize = 1_440;

/// Low bits of a field, for the lap. With windows of one second, half of the laps that they tell apart
/// are decades.
const LAP_BITS: u32 = 22;
/// All ones in the place of the lap.
const LAP_MASK: u64 = (1 << LAP_BITS) - 1;
/// Largest value of a field. A value is stored plus one: a word of 0 was never written.
const LARGEST: u64 = (1 << (64 - LAP_BITS)) - 2;

/// The fields of a sealed window's record. Counts are those of this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordFields {
    /// Distinct ids: exact.
    pub unique: u64,
    /// Accepted ids, duplicates included.
    pub requests: u64,
    /// Late ids: those that came for the window before and met its freeze.
    pub late: u64,
    /// Rejected requests since the segment was made, when the window was sealed.
    pub rejected_before: u64,
    /// Time at which the window was sealed: milliseconds since the epoch by the segment's clock.
    pub sealed_at: u64,
    /// Whether no process counted in the window: none ran, or the clock was set forward.
    pub gap: bool,
}

/// The slot of one record in the ring.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct RecordSlot {
    /// Number of the window, only rising.
    window: AtomicU64,
    /// `unique` times two, plus one for a gap; then the other values. Each plus one, with its lap.
    fields: [AtomicU64; 7],
}

impl RecordSlot {
    /// Writes the record of `window`. Fields that were written before stay.
    pub fn write(&self, window: u64, figures: &RecordFields) {
        let values = [
            figures.unique << 1 | u64::from(figures.gap),
            figures.requests,
            figures.late,
            figures.rejected_before,
            figures.sealed_at,
        ];
        // AcqRel and Acquire in this file pair with each other: a thread that reads a field of a lap also
        // sees that the number of the window has reached that lap.
        self.window.fetch_max(window, Ordering::AcqRel);
        let lap = lap(window);
        for (field, value) in self.fields.iter().zip(values) {
            let found = field.load(Ordering::Acquire);
            // A writer that was stopped for a lap must not set a field back.
            if found == 0 || is_later(lap, found & LAP_MASK) {
                let word = (value.min(LARGEST) + 1) << LAP_BITS | lap;
                // A failure means that another thread wrote the field.
                let _ = field.compare_exchange(found, word, Ordering::AcqRel, Ordering::Acquire);
            }
        }
    }

    /// Number of the newest window whose record was written, or begun.
    #[must_use]
    pub fn window(&self) -> Option<u64> {
        // Acquire: pairs with the AcqRel in `write`.
        Some(self.window.load(Ordering::Acquire)).filter(|&window| window != 0)
    }

    /// The record of `window`, if it is complete and not yet replaced.
    #[must_use]
    pub fn read(&self, window: u64) -> Option<RecordFields> {
        let mut values = [0; 5];
        for (value, field) in values.iter_mut().zip(&self.fields) {
            let word = field.load(Ordering::Acquire);
            if word == 0 || word & LAP_MASK != lap(window) {
                return None;
            }
            *value = (word >> LAP_BITS) - 1;
        }
        if self.window.load(Ordering::Acquire) != window {
            return None;
        }
        Some(RecordFields {
            unique: values[0] >> 1,
            gap: values[0] & 1 == 1,
            requests: values[1],
            late: values[2],
            rejected_before: values[3],
            sealed_at: values[4],
        })
    }
}

fn lap(window: u64) -> u64 {
    (window / RECORDS as u64) & LAP_MASK
}

/// Whether `lap` comes after `than`, on a circle: by less than half of it.
fn is_later(lap: u64, than: u64) -> bool {
    let ahead = lap.wrapping_sub(than) & LAP_MASK;
    ahead != 0 && ahead <= LAP_MASK / 2
}

/// The slot of `window`.
#[must_use]
pub fn slot(ring: &[RecordSlot], window: u64) -> &RecordSlot {
    &ring[(window % RECORDS as u64) as usize]
}

#[cfg(test)]
mod tests {
    use super::{LAP_MASK, RECORDS, RecordFields, RecordSlot, is_later, slot};
    use crate::sync::AtomicU64;

    const LAP: u64 = RECORDS as u64;

    fn record() -> RecordSlot {
        RecordSlot { window: AtomicU64::new(0), fields: Default::default() }
    }

    fn figures(number: u64) -> RecordFields {
        RecordFields {
            unique: number,
            requests: number + 1,
            late: number + 2,
            rejected_before: number + 3,
            sealed_at: 1_795_000_000_000 + number,
            gap: number % 2 == 1,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let ring: Vec<RecordSlot> = (0..RECORDS).map(|_| record()).collect();
        assert_eq!(slot(&ring, 5).read(5), None);
        assert_eq!(slot(&ring, 5).window(), None);
        for window in 1..3 * LAP {
            slot(&ring, window).write(window, &figures(window));
        }
        for window in 1..3 * LAP {
            let kept = (window >= 2 * LAP).then(|| figures(window));
            assert_eq!(slot(&ring, window).read(window), kept);
        }
        assert_eq!(slot(&ring, 2 * LAP + 7).window(), Some(2 * LAP + 7));
    }

    #[test]
    fn the_first_writer_wins_and_a_late_one_changes_nothing() {
        let record = record();
        record.write(LAP + 1, &figures(1));
        record.write(LAP + 1, &figures(2));
        assert_eq!(record.read(LAP + 1), Some(figures(1)));
        record.write(1, &figures(3));
        assert_eq!(record.read(LAP + 1), Some(figures(1)));
        assert_eq!(record.read(1), None);
        assert_eq!(record.window(), Some(LAP + 1));
    }

    #[test]
    fn large_figures_are_kept() {
        let record = record();
        let large = RecordFields { unique: 1 << 35, requests: 1 << 41, ..figures(0) };
        record.write(9, &large);
        assert_eq!(record.read(9), Some(large));
        let larger = RecordFields { requests: u64::MAX, ..large };
        record.write(LAP + 9, &larger);
        let found = record.read(LAP + 9).expect("a record");
        assert!(found.requests > 1 << 41 && found.unique == 1 << 35);
    }

    #[test]
    fn laps_go_round() {
        assert!(is_later(1, 0) && !is_later(0, 1) && !is_later(5, 5));
        assert!(is_later(0, LAP_MASK) && !is_later(LAP_MASK, 0));
        let record = record();
        for window in [LAP * (LAP_MASK - 1) + 3, LAP * LAP_MASK + 3, LAP * (LAP_MASK + 1) + 3] {
            record.write(window, &figures(window % 100));
            assert_eq!(record.read(window), Some(figures(window % 100)));
        }
    }

    #[test]
    fn several_write_and_others_read() {
        let record = record();
        std::thread::scope(|scope| {
            for writer in 0..3 {
                let record = &record;
                scope.spawn(move || {
                    for lap in 1..4_000 {
                        // All agree on the unique ids; the rest is that of one of them.
                        let its = RecordFields { unique: lap * 10, gap: false, ..figures(writer) };
                        record.write(lap * LAP + 3, &its);
                        let own = record.read(lap * LAP + 3);
                        assert!(own.is_none_or(|found| found.unique == lap * 10));
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..4_000 {
                    let Some(window) = record.window() else { continue };
                    if let Some(found) = record.read(window) {
                        assert_eq!(found.unique, window / LAP * 10);
                        assert!(found.requests <= 3 && found.late <= 4);
                    }
                }
            });
        });
        assert_eq!(record.read(3_999 * LAP + 3).expect("a record").unique, 39_990);
    }
}
