//! Keeping the arenas of sealed windows until a store has all of their ids.
//!
//! A shared word says up to which window arenas may be cleared, besides that it must be published;
//! at 0 nothing else is asked. While the rule holds, an arena that was cleared is one of a window
//! that is settled.

use crate::counter::handle::Counter;
use crate::error::Error;
use crate::shard::{Group, IdsByShard};
use crate::sync::{Ordering, fence};
use crate::window::word::ArenaState;

/// Whether arenas of published windows wait for [`Counter::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// They are cleared when nobody is inside.
    Off,
    /// They are kept until their windows are settled.
    On,
}

/// Some ids of a window, read from the table of its arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The ids by shard.
    pub groups: Vec<Group>,
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
}

/// With this in the word nothing is settled: no window that anybody counts in has so low a number.
const NONE: u64 = 1;

impl Counter {
    /// Switches on or off, for all processes of the segment, that arenas wait for
    /// [`Counter::settle`]. What was published when it was switched on counts as settled; switching on
    /// what is on changes nothing.
    pub fn retain(&self, retention: Retention) {
        let settled = &self.front().header.settled.0;
        if retention == Retention::Off {
            // Release, here and below: pairs with the Acquire in `settled_window`.
            settled.store(0, Ordering::Release);
            return;
        }
        let _ = settled.compare_exchange(0, NONE, Ordering::Release, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `clearable`. Whoever still clears by the rule before has
        // read a published window that is seen here, and so counts as settled.
        fence(Ordering::SeqCst);
        let _ = settled.compare_exchange(
            NONE,
            self.published().max(NONE),
            Ordering::Release,
            Ordering::Relaxed,
        );
    }

    /// Says that a store has all ids of the windows up to the one that starts at `window_start`, so
    /// that their arenas may be cleared. Never goes back; a window that is not published yet cannot be
    /// settled, and nothing can while arenas are not kept.
    pub fn settle(&self, window_start: u64) {
        let window = (window_start / u64::from(self.window_seconds())).min(self.published());
        let _ = self.front().header.settled.0.fetch_update(
            Ordering::Release,
            Ordering::Relaxed,
            |settled| (settled != 0 && settled < window).then_some(window),
        );
    }

    /// Start of the window up to which all are settled, seconds since the epoch; 0: arenas are not
    /// kept.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.start_of(self.settled_window())
    }

    fn settled_window(&self) -> u64 {
        // Acquire: pairs with the Releases above; what was done before a window was settled is seen.
        self.front().header.settled.0.load(Ordering::Acquire)
    }

    /// Number of the window up to which arenas may be cleared.
    pub(crate) fn clearable(&self) -> u64 {
        let published = self.published();
        // SeqCst: pairs with the fence in `retain`.
        fence(Ordering::SeqCst);
        match self.settled_window() {
            0 => published,
            settled => published.min(settled),
        }
    }

    /// Starts of the published windows whose arenas are there still, oldest first; without those
    /// that are settled and about to be cleared.
    #[must_use]
    pub fn kept(&self) -> Vec<u64> {
        let (published, settled) = (self.published(), self.settled_window());
        let mut starts: Vec<_> = self
            .rollover()
            .states()
            .filter_map(|(_, state)| match state {
                ArenaState::Sealed { window, .. } if window > settled && window <= published => {
                    Some(self.start_of(window))
                }
                _ => None,
            })
            .collect();
        starts.sort_unstable();
        starts
    }

    /// Reads about `most` ids of the window that starts at `window_start`, from `position` on: 0 at
    /// first, then what [`Piece::next`] says. Passes over all ids once if the window is published, or
    /// was being sealed at the first call; over those of an open one that were there before that, some of
    /// them twice if the table grows meanwhile.
    ///
    /// # Errors
    /// [`Error::Window`], when the ids of that window are not kept.
    pub fn read_ids(&self, window_start: u64, position: u64, most: usize) -> Result<Piece, Error> {
        let seat = self.seat()?;
        let (arena, size_step) =
            self.enter_kept(seat, window_start).ok_or(Error::Window { start: window_start })?;
        let _inside = self.front().participants[seat.slot].pins.inside(arena);
        let mut sorted = IdsByShard::new(window_start);
        let next = self.table(arena, size_step).visit_from(position, most, |word| {
            sorted.push(self.mix().backward(word));
        });
        Ok(Piece { groups: sorted.groups().collect(), next })
    }
}
