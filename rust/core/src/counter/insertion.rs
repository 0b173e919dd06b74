//! Counting ids: one at a time, and in batches.

use crate::counter::handle::Counter;
use crate::counter::participant::Participant;
use crate::error::Error;
use crate::segment::clock::WindowReading;
use crate::sync::Ordering;
use crate::table::{Insert, Shortage};
use crate::window::rollover::Entered;
use crate::window::word::CurrentWord;

/// Number of ids that a batch inserts per pin.
const CHUNK: usize = 4_096;
/// Number of ids whose probes are prefetched together.
const AHEAD: usize = 32;
/// Maximum number of new ids of a batch that the figures do not show yet.
const BEHIND: u64 = 64;

/// The result of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Whether the id was new in its window.
    pub new: bool,
    /// Start of the window that it is counted in, seconds since the epoch.
    pub window_start: u64,
}

/// The ids of a batch that were counted in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Start of the window, seconds since the epoch.
    pub window_start: u64,
    /// Ids of the batch that were new there.
    pub new: u64,
    /// Number of ids of the batch that were recorded there. They follow those of the shares before.
    pub recorded: usize,
}

/// The result of a batch.
#[derive(Debug, Default)]
pub struct Batch {
    /// Number of ids that were recorded: all of them unless `stopped` gives a reason.
    pub recorded: usize,
    /// Recorded ids by window, oldest first. Windows without new ids are included.
    pub shares: Vec<Share>,
    /// The reason why the batch stopped early.
    pub stopped: Option<Error>,
}

impl Batch {
    /// Adds the result for the ids that followed.
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

/// The progress of a batch within one pin.
struct Stretch {
    recorded: usize,
    new: u64,
    /// The next id met a frozen slot.
    sealed: bool,
    ended: Result<(), Shortage>,
}

impl Counter {
    /// Counts `id`. Returns whether it was new, and in which window.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Space`], [`Error::NoArena`]: the id was not counted.
    #[inline]
    pub fn add(&self, id: i64) -> Result<Placement, Error> {
        loop {
            if let Some(placement) = self.place::<true>(id)? {
                return Ok(placement);
            }
        }
    }

    /// As [`Counter::add`], but returns `None` if a rollover or other maintenance is due, which may take
    /// some milliseconds, or longer if storage has to be reserved. A caller that holds a lock then releases
    /// it and calls [`Counter::add`].
    ///
    /// # Errors
    /// As for [`Counter::add`].
    #[inline]
    pub fn add_at_once(&self, id: i64) -> Result<Option<Placement>, Error> {
        self.place::<false>(id)
    }

    /// With `MAINTAINS` the call does maintenance that is due; without it, `None` means that some is due.
    #[inline]
    fn place<const MAINTAINS: bool>(&self, id: i64) -> Result<Option<Placement>, Error> {
        let participant = self.participant()?;
        let slot = &self.front().participants[participant.slot];
        let mixed = self.mix().forward(id);
        // Prefetched before the clock is read and the arena pinned: it arrives meanwhile.
        let likely = self.rollover().current();
        let table = self.table(likely.arena(), likely.size_step());
        let mut view = table.view();
        view.prefetch(mixed);
        let mut late = false;
        loop {
            let reading = self.read_window();
            if self.is_maintenance_due(participant, reading)
                && !self.maintain_on::<MAINTAINS>(participant)
            {
                return Ok(None);
            }
            let Some(entered) = self.enter_if::<MAINTAINS>(participant, reading.window)? else {
                return Ok(None);
            };
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
                        participant.outbound.push(word.window(), id);
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
    /// [`Error::Segment`], if a forked child finds no slot of its own. A shortage midway is reported
    /// in [`Batch::stopped`].
    pub fn add_many(&self, ids: &[i64]) -> Result<Batch, Error> {
        let participant = self.participant()?;
        let mut batch = Batch::default();
        let mut late = false;
        while batch.recorded < ids.len() {
            let rest = &ids[batch.recorded..];
            let reading = self.read_window();
            if self.is_maintenance_due(participant, reading) {
                self.maintain_on::<true>(participant);
            }
            let entered = match self.enter(participant, reading.window) {
                Ok(entered) => entered,
                Err(error) => {
                    batch.stopped = Some(error);
                    break;
                }
            };
            let chunk = &rest[..rest.len().min(CHUNK)];
            // A plain buffer and one loop: with a second loop the compiler inlines no insert.
            let mut found = vec![0; if participant.outbound.is_on() { chunk.len() } else { 0 }];
            let word = entered.word;
            let stretch = self.add_stretch(participant, entered, chunk, late, &mut found);
            if !found.is_empty() && stretch.new > 0 {
                participant.outbound.extend(word.window(), &found[..stretch.new as usize]);
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

    /// Inserts `ids` into the arena that the caller has entered, and leaves the arena. `late` means that the
    /// first id met the freeze of the window before. New ids are put into `found`, as far as it has
    /// room.
    fn add_stretch(
        &self,
        participant: &Participant,
        entered: Entered<'_>,
        ids: &[i64],
        late: bool,
        found: &mut [i64],
    ) -> Stretch {
        let slot = &self.front().participants[participant.slot];
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
            // The lines of one id are prefetched per insert: whole blocks would wait for each other.
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
    pub(crate) fn enter(
        &self,
        participant: &Participant,
        window: u64,
    ) -> Result<Entered<'_>, Error> {
        loop {
            if let Some(entered) = self.enter_if::<true>(participant, window)? {
                return Ok(entered);
            }
        }
    }

    /// As `enter`; `None` if a rollover is due and `ROLLS_OVER` is false.
    #[inline]
    fn enter_if<const ROLLS_OVER: bool>(
        &self,
        participant: &Participant,
        window: u64,
    ) -> Result<Option<Entered<'_>>, Error> {
        let rollover = self.rollover();
        let pins = &self.front().participants[participant.slot].pins;
        let mut word = rollover.current();
        loop {
            if word.window() < window {
                if !ROLLS_OVER {
                    return Ok(None);
                }
                self.roll_over_as_writer(participant, window)?;
                word = rollover.current();
            }
            match rollover.enter(pins, word) {
                Ok(entered) => return Ok(Some(entered)),
                Err(now) => word = now,
            }
        }
    }

    #[cold]
    fn roll_over_as_writer(&self, participant: &Participant, window: u64) -> Result<(), Error> {
        self.roll_over_to(participant, window)?;
        if !self.lease().holder().is_some_and(|leader| leader.alive) {
            return self.maintain_as_writer(participant);
        }
        Ok(())
    }

    /// Whether a round by a writer left work, and it is time to go on. With a rollover a new round begins
    /// anyway.
    #[inline]
    fn is_maintenance_due(&self, participant: &Participant, reading: WindowReading) -> bool {
        reading.is_fresh
            && participant.due.load(Ordering::Relaxed)
            && self.rollover().current().window() >= reading.window
    }

    /// Continues the maintenance that writers do while there is no leader. False if it is left to do.
    #[cold]
    fn maintain_on<const MAINTAINS: bool>(&self, participant: &Participant) -> bool {
        if MAINTAINS {
            // The next call that enters meets the error again.
            let _ = self.continue_as_writer(participant);
        } else {
            self.cached_window().expire_within(0);
        }
        MAINTAINS
    }
}
