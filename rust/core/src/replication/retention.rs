//! Keeps the arenas of sealed windows until a store has all of their ids.
//!
//! A shared word names the window up to which arenas of sealed windows may be cleared; 0 permits
//! all of them. While the word is not 0, only arenas of settled windows are cleared.

use crate::counter::handle::Counter;
use crate::error::Error;
use crate::shard::{Group, IdsByShard};
use crate::sync::{Ordering, fence};
use crate::window::word::ArenaState;

/// Some ids of a window, read from the table of its arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The ids by shard.
    pub groups: Vec<Group>,
    /// The position to continue at; `None` at the end.
    pub next: Option<u64>,
}

/// The word while no window is settled: no window with ids has so low a number.
const NONE: u64 = 1;

/// The arenas of sealed windows that wait for a store; see [`Counter::retention`].
#[derive(Clone, Copy, Debug)]
pub struct Retention<'a> {
    counter: &'a Counter,
}

impl Counter {
    /// Whether arenas of sealed windows are kept until a store has their ids, and which are.
    #[must_use]
    pub fn retention(&self) -> Retention<'_> {
        Retention { counter: self }
    }
}

impl Retention<'_> {
    /// Clears arenas of sealed windows without waiting for [`Retention::settle`], in all processes
    /// of the segment.
    pub fn disable(self) {
        // Release, here and below: pairs with the Acquire in `settled_window`.
        self.counter.front().header.settled.0.store(0, Ordering::Release);
    }

    /// Keeps arenas of sealed windows until [`Retention::settle`], in all processes of the segment.
    /// Windows that were sealed before count as settled; a second call changes nothing.
    pub fn enable(self) {
        let settled = &self.counter.front().header.settled.0;
        let _ = settled.compare_exchange(0, NONE, Ordering::Release, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `clearable`. A thread that still clears by the previous
        // rule has read a sealed window that is seen here, and that window counts as settled.
        fence(Ordering::SeqCst);
        let _ = settled.compare_exchange(
            NONE,
            self.counter.sealed_through().max(NONE),
            Ordering::Release,
            Ordering::Relaxed,
        );
    }

    /// Notes that a store has all ids of the windows up to the one that starts at `window_start`,
    /// so that their arenas may be cleared. The mark never goes back. A window that is not sealed
    /// yet cannot be settled, and no window can while arenas are not kept.
    pub fn settle(self, window_start: u64) {
        let window = (window_start / u64::from(self.counter.window_seconds()))
            .min(self.counter.sealed_through());
        let _ = self.counter.front().header.settled.0.fetch_update(
            Ordering::Release,
            Ordering::Relaxed,
            |settled| (settled != 0 && settled < window).then_some(window),
        );
    }

    /// Start of the window up to which all are settled, in seconds since the epoch; 0 while arenas
    /// are not kept.
    #[must_use]
    pub fn settled(self) -> u64 {
        self.counter.start_of(self.settled_window())
    }

    fn settled_window(self) -> u64 {
        // Acquire: pairs with the Releases above; writes from before a window was settled are seen.
        self.counter.front().header.settled.0.load(Ordering::Acquire)
    }

    /// Number of the window up to which arenas may be cleared.
    pub(crate) fn clearable(self) -> u64 {
        let sealed_through = self.counter.sealed_through();
        // SeqCst: pairs with the fence in `enable`.
        fence(Ordering::SeqCst);
        match self.settled_window() {
            0 => sealed_through,
            settled => sealed_through.min(settled),
        }
    }

    /// Starts of the sealed windows whose arenas are kept, oldest first. Settled windows, whose
    /// arenas are about to be cleared, are left out.
    #[must_use]
    pub fn kept(self) -> Vec<u64> {
        let (sealed_through, settled) = (self.counter.sealed_through(), self.settled_window());
        let mut starts: Vec<_> = self
            .counter
            .rollover()
            .states()
            .filter_map(|(_, state)| match state {
                ArenaState::Sealed { window, .. }
                    if window > settled && window <= sealed_through =>
                {
                    Some(self.counter.start_of(window))
                }
                _ => None,
            })
            .collect();
        starts.sort_unstable();
        starts
    }

    /// Reads about `most` ids of the window that starts at `window_start`, from `position` on: 0 at
    /// first, then [`Piece::next`]. The calls return each id once if the window is sealed, or was
    /// being sealed at the first call. Of an open window, they return the ids that were present
    /// before the first call, some of them twice if the table grows meanwhile.
    ///
    /// # Errors
    /// [`Error::Window`], when the ids of that window are not kept.
    pub fn read_ids(self, window_start: u64, position: u64, most: usize) -> Result<Piece, Error> {
        let participant = self.counter.participant()?;
        let entered = self
            .counter
            .enter_kept(participant, window_start)
            .ok_or(Error::Window { start: window_start })?;
        let (arena, size_step) = (entered.word.arena(), entered.word.size_step());
        let mut sorted = IdsByShard::new(window_start);
        let next = self.counter.table(arena, size_step).visit_from(position, most, |word| {
            sorted.push(self.counter.mix().backward(word));
        });
        Ok(Piece { groups: sorted.groups().collect(), next })
    }
}
