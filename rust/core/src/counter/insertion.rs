//! Counting ids: one at a time, and in batches.

use crate::counter::handle::Counter;
use crate::counter::participant::Seat;
use crate::error::Error;
use crate::segment::clock::WindowReading;
use crate::sync::Ordering;
use crate::table::{Insert, Shortage};
use crate::window::rollover::Entered;
use crate::window::word::CurrentWord;

/// Ids that a batch records between announcing itself and leaving again.
const CHUNK: usize = 4_096;
/// Ids whose walks are prefetched together.
const AHEAD: usize = 32;
/// A batch is behind with the count of its new ids by so many at the most.
const BEHIND: u64 = 64;

/// What became of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Whether the id was new in its window.
    pub new: bool,
    /// Start of the window that it is counted in, seconds since the epoch.
    pub window_start: u64,
}

/// How many ids of a batch were counted in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Start of the window, seconds since the epoch.
    pub window_start: u64,
    /// Ids of the batch that were new there.
    pub new: u64,
    /// Ids of the batch that were recorded there: those that follow on the shares before.
    pub recorded: usize,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Batch {
    /// Ids that were recorded; all of them unless `stopped` says why not.
    pub recorded: usize,
    /// New ids by window, oldest first; windows in which none was new are there too.
    pub shares: Vec<Share>,
    /// Why the batch came to an end before its end.
    pub stopped: Option<Error>,
}

impl Batch {
    /// Adds what became of the ids that followed.
    pub fn append(&mut self, next: Self) {
        self.recorded += next.recorded;
        for share in next.shares {
            self.add_share(share);
        }
        self.stopped = next.stopped;
    }

    fn add_share(&mut self, next: Share) {
        match self.shares.last_mut() {
            Some(share) if share.window_start == next.window_start => {
                share.new += next.new;
                share.recorded += next.recorded;
            }
            _ => self.shares.push(next),
        }
    }
}

/// How far one stretch of a batch came, inside one announcement.
struct Stretch {
    recorded: usize,
    new: u64,
    /// The next id met the freeze of its window.
    sealed: bool,
    ended: Result<(), Shortage>,
}

impl Counter {
    /// Counts `id`: whether it was new, and in which window.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Space`], [`Error::NoArena`]: the id is not counted then.
    #[inline]
    pub fn add(&self, id: i64) -> Result<Placement, Error> {
        loop {
            if let Some(placement) = self.place::<true>(id)? {
                return Ok(placement);
            }
        }
    }

    /// As [`Counter::add`], unless the window has to be turned or other upkeep is due, which may take
    /// some milliseconds, and more where storage has to be put behind a table: `None` then, for a caller
    /// who holds a lock to let go of it and call [`Counter::add`].
    ///
    /// # Errors
    /// As for [`Counter::add`].
    #[inline]
    pub fn add_at_once(&self, id: i64) -> Result<Option<Placement>, Error> {
        self.place::<false>(id)
    }

    /// `UPKEEP`: the caller does what upkeep is due; otherwise, `None` says that some is.
    #[inline]
    fn place<const UPKEEP: bool>(&self, id: i64) -> Result<Option<Placement>, Error> {
        let seat = self.seat()?;
        let slot = &self.front().participants[seat.slot];
        let mixed = self.mix().forward(id);
        // Asked for before the clock and the announcement, it is there when they are done.
        let likely = self.rollover().current();
        let table = self.table(likely.arena(), likely.size_step());
        let mut view = table.view();
        view.prefetch(mixed);
        let mut late = false;
        loop {
            let WindowReading { window, is_fresh } = self.read_window();
            if is_fresh && seat.due.load(Ordering::Relaxed) && !self.tend_on::<UPKEEP>(seat) {
                return Ok(None);
            }
            let Some(entered) = self.enter_if::<UPKEEP>(seat, window)? else { return Ok(None) };
            let word = entered.word;
            let counts = &slot.counts[word.arena()];
            // Relaxed throughout: figures. Counted before the insert, so that requests are never
            // fewer than ids.
            counts.requests.fetch_add(1, Ordering::Relaxed);
            let inserted =
                if word == likely { view.insert(mixed) } else { self.insert_in(word, mixed) };
            match inserted {
                Ok(Insert::New | Insert::Present) => {
                    if inserted == Ok(Insert::New) {
                        counts.new.fetch_add(1, Ordering::Relaxed);
                    }
                    if late {
                        counts.late.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(Insert::Frozen) | Err(_) => {
                    counts.requests.fetch_sub(1, Ordering::Relaxed);
                }
            }
            drop(entered);
            match inserted? {
                Insert::Frozen => late = true,
                insert => {
                    let new = insert == Insert::New;
                    if new {
                        seat.outgoing.push(word.window(), id);
                    }
                    let window_start = self.start_of(word.window());
                    return Ok(Some(Placement { new, window_start }));
                }
            }
        }
    }

    #[cold]
    fn insert_in(&self, word: CurrentWord, mixed: u64) -> Result<Insert, Shortage> {
        self.table(word.arena(), word.size_step()).insert(mixed)
    }

    /// Counts a batch of ids.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own. A shortage midway is told
    /// in [`Batch::stopped`].
    pub fn add_many(&self, ids: &[i64]) -> Result<Batch, Error> {
        let seat = self.seat()?;
        let mut batch = Batch::default();
        let mut late = false;
        while batch.recorded < ids.len() {
            let rest = &ids[batch.recorded..];
            let WindowReading { window, is_fresh } = self.read_window();
            if is_fresh && seat.due.load(Ordering::Relaxed) {
                self.tend_on::<true>(seat);
            }
            let entered = match self.enter(seat, window) {
                Ok(entered) => entered,
                Err(error) => {
                    batch.stopped = Some(error);
                    break;
                }
            };
            let chunk = &rest[..rest.len().min(CHUNK)];
            // A plain buffer, and one loop: with a second one nobody's inserts are inlined any more.
            let mut found = vec![0; if seat.outgoing.is_on() { chunk.len() } else { 0 }];
            let word = entered.word;
            let stretch = self.add_stretch(seat, entered, chunk, late, &mut found);
            if !found.is_empty() && stretch.new > 0 {
                seat.outgoing.extend(word.window(), &found[..stretch.new as usize]);
            }
            late = stretch.sealed;
            batch.recorded += stretch.recorded;
            if stretch.recorded > 0 {
                let window_start = self.start_of(word.window());
                let Stretch { new, recorded, .. } = stretch;
                batch.add_share(Share { window_start, new, recorded });
            }
            if let Err(shortage) = stretch.ended {
                batch.stopped = Some(shortage.into());
                break;
            }
        }
        Ok(batch)
    }

    /// Inserts `ids` into the arena that the caller has entered, and leaves the arena. `late`: the first of
    /// them met the freeze of the window before. Those that are new are put into `found`, as far as it
    /// has room.
    fn add_stretch(
        &self,
        seat: &Seat,
        entered: Entered<'_>,
        ids: &[i64],
        late: bool,
        found: &mut [i64],
    ) -> Stretch {
        let slot = &self.front().participants[seat.slot];
        let Entered { word, pinned: _pinned } = entered;
        let counts = &slot.counts[word.arena()];
        let table = self.table(word.arena(), word.size_step());
        // Relaxed throughout: figures.
        counts.requests.fetch_add(ids.len() as u64, Ordering::Relaxed);
        let mut stretch = Stretch { recorded: 0, new: 0, sealed: false, ended: Ok(()) };
        let mut view = table.view();
        let mut mixed = [0; AHEAD];
        for (place, &id) in ids.iter().take(AHEAD).enumerate() {
            mixed[place] = self.mix().forward(id);
            view.prefetch(mixed[place]);
        }
        for at in 0..ids.len() {
            let word = mixed[at & (AHEAD - 1)];
            // One id's lines are asked for with each insert: whole blocks would wait for each other.
            if let Some(&id) = ids.get(at + AHEAD) {
                mixed[at & (AHEAD - 1)] = self.mix().forward(id);
                view.prefetch(mixed[at & (AHEAD - 1)]);
            }
            match view.insert(word) {
                Ok(Insert::New) => {
                    if let Some(place) = found.get_mut(stretch.new as usize) {
                        *place = ids[at];
                    }
                    stretch.new += 1;
                    if stretch.new.is_multiple_of(BEHIND) {
                        counts.new.fetch_add(BEHIND, Ordering::Relaxed);
                    }
                }
                Ok(Insert::Present) => {}
                Ok(Insert::Frozen) => {
                    stretch.sealed = true;
                    break;
                }
                Err(shortage) => {
                    stretch.ended = Err(shortage);
                    break;
                }
            }
            stretch.recorded += 1;
        }
        counts.requests.fetch_sub((ids.len() - stretch.recorded) as u64, Ordering::Relaxed);
        counts.new.fetch_add(stretch.new % BEHIND, Ordering::Relaxed);
        counts.late.fetch_add(u64::from(late && stretch.recorded > 0), Ordering::Relaxed);
        slot.batches.fetch_add(1, Ordering::Relaxed);
        stretch
    }

    /// Enters the current arena, whose window is `window` or a later one.
    #[inline]
    pub(crate) fn enter(&self, seat: &Seat, window: u64) -> Result<Entered<'_>, Error> {
        loop {
            if let Some(entered) = self.enter_if::<true>(seat, window)? {
                return Ok(entered);
            }
        }
    }

    /// As `enter`; `None` where the window has to be turned and `ROLLS_OVER` says not to.
    #[inline]
    fn enter_if<const ROLLS_OVER: bool>(
        &self,
        seat: &Seat,
        window: u64,
    ) -> Result<Option<Entered<'_>>, Error> {
        let rollover = self.rollover();
        let pins = &self.front().participants[seat.slot].pins;
        let mut word = rollover.current();
        loop {
            if word.window() < window {
                if !ROLLS_OVER {
                    return Ok(None);
                }
                self.roll_over_as_writer(seat, window)?;
                word = rollover.current();
            }
            match rollover.enter(pins, word) {
                Ok(entered) => return Ok(Some(entered)),
                Err(now) => word = now,
            }
        }
    }

    #[cold]
    fn roll_over_as_writer(&self, seat: &Seat, window: u64) -> Result<(), Error> {
        self.roll_over_to(seat, window)?;
        if !self.lease().holder().is_some_and(|leader| leader.alive) {
            return self.tend_as_writer(seat);
        }
        Ok(())
    }

    /// Goes on with the upkeep that writers do while nobody leads; false if it is left to do.
    #[cold]
    fn tend_on<const UPKEEP: bool>(&self, seat: &Seat) -> bool {
        if UPKEEP {
            // An error is met again by whoever enters.
            let _ = self.tend_as_writer(seat);
        } else {
            self.cached_window().expire_within(0);
        }
        UPKEEP
    }
}
