//! Closed windows become records of the ring, in their order, by whoever comes along.

use crate::counter::handle::Counter;
use crate::counter::participant::Seat;
use crate::segment::clock::SECOND;
use crate::sync::Ordering;
use crate::window::ring::{self, RecordFields};
use crate::window::rollover::SealOutcome;
use crate::window::word::ArenaState;

/// Windows that are published of those that were skipped before one that was not, at the most.
const GAPS: u64 = 60;

impl Counter {
    /// Freezes and publishes all windows before the current one, in their order.
    pub(crate) fn publish(&self, seat: &Seat) {
        while !self.publish_some(seat, &mut { usize::MAX }) {}
    }

    /// As `publish`, passing over `most` buckets at the most, which are counted down: whether all are
    /// published. Goes on where this process stopped.
    pub(crate) fn publish_some(&self, seat: &Seat, most: &mut usize) -> bool {
        let published = &self.front().header.sealed_through.0;
        loop {
            // Acquire: pairs with the AcqRel below; what was published before is complete.
            let before = published.load(Ordering::Acquire);
            let current = self.rollover().current().window();
            let Some(window) = self.next_to_publish(before, current) else { return true };
            match self.seal_window(seat, window, most) {
                SealOutcome::StateChanged => {}
                SealOutcome::Unfinished => return false,
                SealOutcome::Sealed | SealOutcome::NoArena => {
                    // AcqRel: Release pairs with the Acquire of every reader of the ring. A failure
                    // means that somebody else published the window.
                    let _ = published.compare_exchange(
                        before,
                        window,
                        Ordering::AcqRel,
                        Ordering::Relaxed,
                    );
                }
            }
        }
    }

    /// The window to record after `published`, if it is before `current`; see [`next_in_order`].
    ///
    /// It depends on `published` and on which windows had an arena, not on the time. So a process that
    /// was stopped between two steps does nothing that the others do not.
    fn next_to_publish(&self, published: u64, current: u64) -> Option<u64> {
        let next = self
            .rollover()
            .states()
            .filter_map(|(_, state)| match state {
                ArenaState::Confirmed { window, .. } | ArenaState::Sealed { window, .. } => {
                    Some(window)
                }
                _ => None,
            })
            .filter(|&window| window > published && window < current)
            .min()
            .unwrap_or(current);
        Some(next_in_order(published, next)).filter(|&window| window < current)
    }

    /// Writes the record of `window`, once all of its ids are counted.
    fn seal_window(&self, seat: &Seat, window: u64, most: &mut usize) -> SealOutcome {
        let front = self.front();
        let place = ring::slot(&front.ring, window);
        let figures = RecordFields {
            rejected_before: self.http().rejections().iter().sum(),
            sealed_at: self.now() / (SECOND / 1_000),
            ..RecordFields::default()
        };
        let sealing = self.rollover().seal(
            &front.participants[seat.slot].pins,
            window,
            |arena, size_step| {
                let closed = (arena, ArenaState::Confirmed { window, size_step });
                let mut freezing = seat.progress().take_freezing(closed);
                let Some(unique) = self.table(arena, size_step).freeze_some(&mut freezing, most)
                else {
                    seat.progress().keep_freezing(closed, freezing);
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
            // Nobody can publish a window, free its arena and leave no record: it is complete by
            // then, and this write changes nothing.
            place.write(window, &RecordFields { gap: true, ..figures });
        }
        sealing
    }

    /// Number of the newest window up to which all are in the ring.
    pub(crate) fn published(&self) -> u64 {
        // Acquire: pairs with the AcqRel in `publish`.
        self.front().header.sealed_through.0.load(Ordering::Acquire)
    }
}

/// The window to record after `published`, where `next` is the next window that had an arena, or else
/// the current one. Of the windows before `next`, which were skipped, the newest [`GAPS`] are recorded.
///
/// Example: all up to window 100 are recorded, window 200 had an arena, and window 300 is current.
///
/// | `published` | `next` | result | |
/// |---|---|---|---|
/// | 100 | 200 | 140 | a gap; 101 to 139 get no record |
/// | 140 | 200 | 141 | a gap, and so are all up to 199 |
/// | 199 | 200 | 200 | the count of the arena |
/// | 200 | 300 | 240 | a gap; 201 to 239 get no record |
/// | 299 | 300 | 300 | the current window, which is not recorded yet |
fn next_in_order(published: u64, next: u64) -> u64 {
    next.min((published + 1).max(next.saturating_sub(GAPS)))
}

#[cfg(test)]
mod tests {
    use super::next_in_order;

    #[test]
    fn the_example_is_right() {
        let steps = [(100, 200), (140, 200), (199, 200), (200, 300), (299, 300)];
        let found = steps.map(|(published, next)| next_in_order(published, next));
        assert_eq!(found, [140, 141, 200, 240, 300]);
    }
}
