//! Sealing: ended windows become records of the ring, in order. Any process may do it.

use crate::counter::handle::Counter;
use crate::counter::participant::Participant;
use crate::segment::clock::SECOND;
use crate::sync::Ordering;
use crate::window::ring::{self, RecordFields};
use crate::window::rollover::SealOutcome;
use crate::window::word::ArenaState;

/// Maximum number of skipped windows before a counted one that get a record.
const GAPS: u64 = 60;

impl Counter {
    /// Seals all windows before the current one, in order.
    pub(crate) fn seal_ended(&self, participant: &Participant) {
        while !self.seal_some(participant, &mut { usize::MAX }) {}
    }

    /// As `seal_ended`, over at most `most` buckets, which are counted down. Returns whether all are sealed.
    /// Continues where this process stopped.
    pub(crate) fn seal_some(&self, participant: &Participant, most: &mut usize) -> bool {
        let sealed_through = &self.front().header.sealed_through.0;
        loop {
            // Acquire: pairs with the AcqRel below; what was sealed before is complete.
            let before = sealed_through.load(Ordering::Acquire);
            let current = self.rollover().current().window();
            let Some(window) = self.next_to_seal(before, current) else { return true };
            match self.seal_window(participant, window, most) {
                SealOutcome::StateChanged => {}
                SealOutcome::Unfinished => return false,
                SealOutcome::Sealed | SealOutcome::NoArena => {
                    // AcqRel: Release pairs with the Acquire of every reader of the ring. A failure
                    // means that another process sealed the window.
                    let _ = sealed_through.compare_exchange(
                        before,
                        window,
                        Ordering::AcqRel,
                        Ordering::Relaxed,
                    );
                }
            }
        }
    }

    /// The window to record after `sealed_through`, if it is before `current`; see [`next_in_order`].
    ///
    /// The result depends on `sealed_through` and on the states of the arenas, not on the time. So a process
    /// that was stopped between two steps does nothing that others would not do.
    fn next_to_seal(&self, sealed_through: u64, current: u64) -> Option<u64> {
        let next = self
            .rollover()
            .states()
            .filter_map(|(_, state)| match state {
                ArenaState::Confirmed { window, .. } | ArenaState::Sealed { window, .. } => {
                    Some(window)
                }
                _ => None,
            })
            .filter(|&window| window > sealed_through && window < current)
            .min()
            .unwrap_or(current);
        Some(next_in_order(sealed_through, next)).filter(|&window| window < current)
    }

    /// Freezes `window` and writes its record once all of its ids are counted.
    fn seal_window(&self, participant: &Participant, window: u64, most: &mut usize) -> SealOutcome {
        let front = self.front();
        let place = ring::slot(&front.ring, window);
        let figures = RecordFields {
            rejected_before: self.http().rejections().iter().sum(),
            sealed_at: self.now() / (SECOND / 1_000),
            ..RecordFields::default()
        };
        let sealing = self.rollover().seal(
            &front.participants[participant.slot].pins,
            window,
            |arena, size_step| {
                let closed = (arena, ArenaState::Confirmed { window, size_step });
                let mut freezing = participant.progress().take_freezing(closed);
                let Some(unique) = self.table(arena, size_step).freeze_some(&mut freezing, most)
                else {
                    participant.progress().keep_freezing(closed, freezing);
                    return false;
                };
                let counts = self.counted(arena);
                let requests = counts.requests.max(unique);
                place.write(
                    window,
                    &RecordFields { unique, requests, late: counts.late, ..figures },
                );
                true
            },
        );
        if sealing == SealOutcome::NoArena {
            // If another process sealed the window and freed its arena, the record is complete, and
            // this write changes nothing.
            place.write(window, &RecordFields { gap: true, ..figures });
        }
        sealing
    }

    /// Number of the newest window up to which all windows are in the ring.
    pub(crate) fn sealed_through(&self) -> u64 {
        // Acquire: pairs with the AcqRel in `seal_ended`.
        self.front().header.sealed_through.0.load(Ordering::Acquire)
    }
}

/// The window to record after `sealed_through`, where `next` is the next window that had an arena, or else
/// the current one. Of the windows before `next`, which were skipped, the newest [`GAPS`] are recorded.
///
/// Example: all up to window 100 are recorded, window 200 had an arena, and window 300 is current.
///
/// | `sealed_through` | `next` | result | |
/// |---|---|---|---|
/// | 100 | 200 | 140 | a gap; 101 to 139 get no record |
/// | 140 | 200 | 141 | a gap, and so are all up to 199 |
/// | 199 | 200 | 200 | the count of the arena |
/// | 200 | 300 | 240 | a gap; 201 to 239 get no record |
/// | 299 | 300 | 300 | the current window, which is not recorded yet |
fn next_in_order(sealed_through: u64, next: u64) -> u64 {
    next.min((sealed_through + 1).max(next.saturating_sub(GAPS)))
}

#[cfg(test)]
mod tests {
    use super::next_in_order;

    #[test]
    fn the_example_is_right() {
        let steps = [(100, 200), (140, 200), (199, 200), (200, 300), (299, 300)];
        let found = steps.map(|(sealed_through, next)| next_in_order(sealed_through, next));
        assert_eq!(found, [140, 141, 200, 240, 300]);
    }
}
