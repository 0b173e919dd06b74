//! Reads the current window, its ids, and the records of sealed windows.

use std::time::Instant;

use crate::counter::handle::Counter;
use crate::counter::participant::Participant;
use crate::error::Error;
use crate::segment::layout::PARTICIPANTS;
use crate::sync::Ordering;
use crate::table::UNCERTAIN;
use crate::window::ring;
use crate::window::rollover::Entered;
use crate::window::word::{ArenaState, CurrentWord};

/// The record of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Start of the window, in seconds since the epoch.
    pub window_start: u64,
    /// Length in seconds.
    pub window_seconds: u32,
    /// Distinct ids.
    pub unique: u64,
    /// Accepted ids, duplicates included.
    pub requests: u64,
    /// Late ids: their window, the previous one, was frozen before the insert.
    pub late: u64,
    /// Requests rejected since the previous record.
    pub rejected: u64,
    /// Whether the window is a gap: no process ran, or the clock was set forward over it.
    pub gap: bool,
    /// Time of sealing, in milliseconds since the epoch; 0 while the window is open.
    pub sealed_at: u64,
}

/// How to read a window that is no longer open and not yet sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsealed {
    /// Return no count.
    Skip,
    /// Seal the window first.
    Seal,
}

/// Sums over all processes of their counts of one arena.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) requests: u64,
    pub(crate) new: u64,
    pub(crate) late: u64,
}

impl Counter {
    /// Distinct ids of the current window so far.
    ///
    /// # Errors
    /// As for [`Counter::current`].
    pub fn count(&self) -> Result<u64, Error> {
        self.current().map(|record| record.unique)
    }

    /// The record of the current window so far.
    ///
    /// # Errors
    /// As for [`Counter::add`], when the call has to roll the window over.
    pub fn current(&self) -> Result<Record, Error> {
        let participant = self.participant()?;
        let entered = self.enter(participant, self.now_window())?;
        let word = entered.word;
        let counted = self.counted(word.arena());
        let unique = self.unique(participant, word, &counted);
        drop(entered);
        let figures = ring::RecordFields {
            unique,
            requests: counted.requests.max(unique),
            late: counted.late,
            rejected_before: self.http().rejections().iter().sum(),
            ..ring::RecordFields::default()
        };
        Ok(self.record_of(word.window(), &figures, self.figures_before(word.window())))
    }

    /// Distinct ids so far of the window whose arena the caller has pinned. The caller read
    /// `counted` under that pin.
    fn unique(&self, participant: &Participant, word: CurrentWord, counted: &Counted) -> u64 {
        if self.is_certain(participant, word.arena()) {
            return counted.new;
        }
        let scans = || participant.scans.lock().expect("no panic while a count is looked at");
        let begun = Instant::now();
        if scans().begin(word, begun) {
            let found = self.table(word.arena(), word.size_step()).count();
            // In this order: a thread that has unpinned the arena has counted its ids, by the
            // Acquire in `count`.
            let alone = self.is_alone(participant, word.arena());
            let after = self.counted(word.arena()).new;
            let at_rest = alone && after == counted.new;
            scans().end(word, begun.elapsed(), found, at_rest.then_some(after));
        }
        let sum = self.counted(word.arena()).new;
        scans().give(word, sum)
    }

    /// See [`crate::CallbackCells::distinct`].
    pub(crate) fn distinct(
        &self,
        window_start: u64,
        unsealed: Unsealed,
    ) -> Result<Option<u64>, Error> {
        let participant = self.participant()?;
        let word = self.rollover().current();
        let pins = &self.front().participants[participant.slot].pins;
        if self.start_of(word.window()) == window_start
            && let Ok(entered) = self.rollover().enter(pins, word)
        {
            let unique = self.unique(participant, word, &self.counted(word.arena()));
            drop(entered);
            return Ok(Some(self.of_cluster(window_start, unique)));
        }
        if unsealed == Unsealed::Seal {
            self.seal_ended(participant);
        }
        let window = window_start / u64::from(self.window_seconds());
        Ok(self.figures(window).map(|figures| self.of_cluster(window_start, figures.unique)))
    }

    fn of_cluster(&self, window_start: u64, unique: u64) -> u64 {
        self.replication().cluster_count(window_start).map_or(unique, |count| count.max(unique))
    }

    /// Whether the processes' counts of an arena agree with its table. They may not after a process
    /// died while it had pinned the arena.
    fn is_certain(&self, participant: &Participant, arena: usize) -> bool {
        let front = self.front();
        // A process that reaps another sets the flag before it clears the pins. So the pins are
        // read before the flag, by the Acquire in `count`.
        (0..PARTICIPANTS).all(|slot| {
            front.participants[slot].pins.count(arena) == 0 || participant.is_alive(slot)
        }) && front.arenas[arena].flags.load(Ordering::Relaxed) & UNCERTAIN == 0
    }

    /// Whether no live process has pinned an arena, except for one pin of the caller.
    fn is_alone(&self, participant: &Participant, arena: usize) -> bool {
        (0..PARTICIPANTS).all(|slot| match self.front().participants[slot].pins.count(arena) {
            0 => true,
            1 if slot == participant.slot => true,
            _ => !participant.is_alive(slot),
        })
    }

    /// The ids of the current window, or of a sealed window whose arena is still held, in no order.
    ///
    /// # Errors
    /// [`Error::Window`], when the ids of that window are not kept; [`Error::Memory`], when there
    /// is no memory for them.
    pub fn ids(&self, window_start: Option<u64>) -> Result<Vec<i64>, Error> {
        let participant = self.participant()?;
        let entered = match window_start {
            None => self.enter(participant, self.now_window())?,
            Some(start) => self.enter_kept(participant, start).ok_or(Error::Window { start })?,
        };
        let words = self.table(entered.word.arena(), entered.word.size_step()).words();
        drop(entered);
        let words = words.map_err(|_| Error::Memory)?;
        Ok(words.into_iter().map(|word| self.mix().backward(word)).collect())
    }

    /// Pins the arena of a window whose ids are still in it.
    pub(crate) fn enter_kept(
        &self,
        participant: &Participant,
        window_start: u64,
    ) -> Option<Entered<'_>> {
        let rollover = self.rollover();
        let pins = &self.front().participants[participant.slot].pins;
        // Retry if the window was rolled over, sealed or cleared between the read and the pin.
        loop {
            let word = rollover.current();
            if self.start_of(word.window()) == window_start
                && let Ok(entered) = rollover.enter(pins, word)
            {
                return Some(entered);
            }
            let sealed_through = self.sealed_through();
            let (word, state) = rollover.states().find_map(|(arena, state)| {
                let (window, size_step) = match state {
                    // Up to `sealed_through`, a confirmed arena is a claim that lost: no window
                    // used it.
                    ArenaState::Confirmed { window, size_step } if window > sealed_through => {
                        (window, size_step)
                    }
                    ArenaState::Sealed { window, size_step } => (window, size_step),
                    _ => return None,
                };
                (self.start_of(window) == window_start)
                    .then(|| (CurrentWord::new(window, size_step, arena), state))
            })?;
            if let Some(pinned) = rollover.enter_in(pins, word.arena(), state) {
                return Some(Entered { word, pinned });
            }
        }
    }

    /// Keeps the ids of the current window until [`Counter::release`]. Returns the start of the
    /// window, in seconds since the epoch.
    ///
    /// # Errors
    /// As for [`Counter::add`], when the call has to roll the window over.
    pub fn hold(&self) -> Result<u64, Error> {
        let participant = self.participant()?;
        let Entered { word, pinned } = self.enter(participant, self.now_window())?;
        let start = self.start_of(word.window());
        pinned.hold();
        participant
            .held
            .lock()
            .expect("no panic while windows are held")
            .push((start, word.arena()));
        Ok(start)
    }

    /// Releases a held window.
    ///
    /// # Errors
    /// [`Error::Window`], when the window is not held.
    pub fn release(&self, window_start: u64) -> Result<(), Error> {
        let participant = self.participant()?;
        let mut held = participant.held.lock().expect("no panic while windows are held");
        let at = held
            .iter()
            .position(|&(start, _)| start == window_start)
            .ok_or(Error::Window { start: window_start })?;
        let (_, arena) = held.swap_remove(at);
        self.front().participants[participant.slot].pins.unpin(arena);
        Ok(())
    }

    /// Seals the current window now and returns its record. Later ids belong to the next window,
    /// which begins early.
    ///
    /// # Errors
    /// As for [`Counter::add`], when the window cannot be rolled over.
    pub fn seal(&self) -> Result<Record, Error> {
        let participant = self.participant()?;
        let word = self.rollover().current();
        self.roll_over_to(participant, self.now_window().max(word.window() + 1))?;
        self.seal_ended(participant);
        self.record(word.window())
            .ok_or_else(|| Error::Window { start: self.start_of(word.window()) })
    }

    /// The records of the newest `limit` sealed windows, oldest first.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own.
    pub fn closed(&self, limit: usize) -> Result<Vec<Record>, Error> {
        let participant = self.participant()?;
        // The next insert reports a shortage.
        let _ = self.roll_over_to(participant, self.now_window());
        self.seal_ended(participant);
        let sealed_through = self.sealed_through();
        let mut windows: Vec<u64> = self
            .front()
            .ring
            .iter()
            .filter_map(ring::RecordSlot::window)
            .filter(|&window| window <= sealed_through)
            .collect();
        windows.sort_unstable();
        // One less than the ring holds, so that the oldest record is never being replaced. One more
        // is read before it, since rejections are counted from the previous record.
        let limit = limit.min(ring::RECORDS - 1);
        let found: Vec<_> = windows[windows.len().saturating_sub(limit + 1)..]
            .iter()
            .filter_map(|&window| Some((window, self.figures(window)?)))
            .collect();
        let mut before = None;
        let mut records: Vec<_> = found
            .into_iter()
            .map(|(window, figures)| self.record_of(window, &figures, before.replace(figures)))
            .collect();
        records.drain(..records.len().saturating_sub(limit));
        Ok(records)
    }

    fn record(&self, window: u64) -> Option<Record> {
        let figures = self.figures(window)?;
        Some(self.record_of(window, &figures, self.figures_before(window)))
    }

    fn record_of(
        &self,
        window: u64,
        its: &ring::RecordFields,
        before: Option<ring::RecordFields>,
    ) -> Record {
        let rejected_before = before.map_or(0, |before| before.rejected_before);
        Record {
            window_start: self.start_of(window),
            window_seconds: self.window_seconds(),
            unique: its.unique,
            requests: its.requests,
            late: its.late,
            rejected: its.rejected_before.saturating_sub(rejected_before),
            gap: its.gap,
            sealed_at: its.sealed_at,
        }
    }

    fn figures(&self, window: u64) -> Option<ring::RecordFields> {
        ring::slot(&self.front().ring, window).read(window)
    }

    /// The record before that of `window`. It is mostly that of the previous window, but windows
    /// may be skipped.
    fn figures_before(&self, window: u64) -> Option<ring::RecordFields> {
        self.figures(window - 1).or_else(|| {
            let windows = self.front().ring.iter().filter_map(ring::RecordSlot::window);
            windows.filter(|&its| its < window).max().and_then(|window| self.figures(window))
        })
    }

    pub(crate) fn counted(&self, arena: usize) -> Counted {
        // Relaxed: figures; exact counts come from the table.
        self.front().participants.iter().fold(Counted::default(), |sum, slot| {
            let counts = &slot.counts[arena];
            Counted {
                requests: sum.requests + counts.requests.load(Ordering::Relaxed),
                new: sum.new + counts.new.load(Ordering::Relaxed),
                late: sum.late + counts.late.load(Ordering::Relaxed),
            }
        })
    }
}
