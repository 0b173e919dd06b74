//! The counter: a caller opens it, uses it and drops it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use crate::counter::participant::Participant;
use crate::error::Error;
use crate::forks;
use crate::segment::attachment::{Segment, SegmentConfig};
use crate::segment::clock::{CachedWindow, Clock, SECOND, WindowReading};
use crate::segment::layout::Front;
use crate::segment::locks::Keeper;
use crate::table::mix::Mix;
use crate::window::rollover::Rollover;

/// Maximum number of processes in a line of forks that can use one counter.
const GENERATIONS: usize = 16;

/// Counts distinct ids per window; see the crate's documentation.
#[derive(Debug)]
pub struct Counter {
    segment: Segment,
    clock: Clock,
    mix: Mix,
    /// Length of a window in nanoseconds.
    window_length: u64,
    cached_window: CachedWindow,
    /// Whether the segment's clock is steered and this process does not read the wall clock.
    by_reference: AtomicBool,
    /// Number of forks that had led to this process when the counter was opened.
    born: u64,
    /// One participant per process of a line of forks; the first is the opener's.
    participants: [OnceLock<Participant>; GENERATIONS],
}

impl Counter {
    /// A counter in memory, for the threads of this process and the children that it forks.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Space`], [`Error::Segment`].
    pub fn in_memory(config: &SegmentConfig, clock: Clock) -> Result<Self, Error> {
        let segment = Segment::in_memory(config, &clock)?;
        Self::attached(segment, clock)
    }

    /// A counter on the segment at `path`, which is created if it does not exist.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Space`], and [`Error::Segment`] with its reasons.
    pub fn open(path: &Path, config: &SegmentConfig, clock: Clock) -> Result<Self, Error> {
        let for_segment = clock.clone();
        Segment::open(path, config, &for_segment, |segment| Self::attached(segment, clock))
    }

    fn attached(segment: Segment, clock: Clock) -> Result<Self, Error> {
        let header = &segment.mapping.front().header;
        let counter = Self {
            mix: Mix::new(header.key),
            window_length: u64::from(header.window_seconds) * SECOND,
            cached_window: CachedWindow::default(),
            by_reference: AtomicBool::new(false),
            born: forks::count(),
            participants: Default::default(),
            clock,
            segment,
        };
        counter.participant()?;
        Ok(counter)
    }

    /// Whether the file at `path` is the segment's. It may have been removed or replaced.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        let ours = self.segment.file.metadata().map(|found| (found.dev(), found.ino()));
        let there = fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()));
        ours.is_ok_and(|ours| there.is_ok_and(|there| ours == there))
    }

    /// Keeps the segment reachable while no process counts in it. `None` if another keeper has it.
    ///
    /// # Errors
    /// [`Error::Segment`], when its file cannot be opened or locked.
    pub fn keeper(&self) -> Result<Option<Keeper>, Error> {
        Keeper::new(&self.segment)
            .map_err(|error| Error::io("the segment cannot be kept", "segment", &error))
    }

    /// This process's participant; a forked child claims one of its own at first use.
    #[inline]
    pub(crate) fn participant(&self) -> Result<&Participant, Error> {
        let generation = (forks::count() - self.born) as usize;
        match self.participants.get(generation).and_then(OnceLock::get) {
            Some(participant) => Ok(participant),
            None => self.claim_slot(generation),
        }
    }

    #[cold]
    fn claim_slot(&self, generation: usize) -> Result<&Participant, Error> {
        let nested = || Error::no_slot("too many nested forks with one counter", generation);
        let place = self.participants.get(generation).ok_or_else(nested)?;
        let participant = Participant::claim(&self.segment)?;
        // If another thread was first, its participant is used and this one is vacated.
        if let Err(participant) = place.set(participant) {
            participant.vacate(&self.segment);
        }
        place.get().ok_or_else(nested)
    }

    /// The segment's time: nanoseconds since the epoch.
    #[inline]
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.now(&self.front().header.clock.0)
    }

    /// Nanoseconds until the end of the interval that the clock is in.
    #[must_use]
    pub fn until_boundary(&self) -> u64 {
        self.window_length - self.now() % self.window_length
    }

    #[inline]
    pub(crate) fn now_window(&self) -> u64 {
        self.read_window().window
    }

    /// The window that the clock is in.
    #[inline]
    pub(crate) fn read_window(&self) -> WindowReading {
        let words = &self.front().header.clock.0;
        let reading = self.clock.window(words, self.window_length, &self.cached_window);
        // There is no window 0: in the ring it stands for none.
        WindowReading { window: reading.window.max(1), ..reading }
    }

    pub(crate) fn cached_window(&self) -> &CachedWindow {
        &self.cached_window
    }

    pub(crate) fn start_of(&self, window: u64) -> u64 {
        window * u64::from(self.window_seconds())
    }

    /// Length of a window in seconds.
    #[must_use]
    pub fn window_seconds(&self) -> u32 {
        self.front().header.window_seconds
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn by_reference(&self) -> &AtomicBool {
        &self.by_reference
    }

    #[inline]
    pub(crate) fn mix(&self) -> &Mix {
        &self.mix
    }

    #[inline]
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    #[inline]
    pub(crate) fn front(&self) -> &Front {
        self.segment.mapping.front()
    }

    #[inline]
    pub(crate) fn rollover(&self) -> Rollover<'_> {
        let front = self.front();
        Rollover { current: &front.header.current.0, arenas: &front.arenas }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let generation = (forks::count() - self.born) as usize;
        if self.participants.get(generation).and_then(OnceLock::get).is_some() {
            self.lease().release();
        }
        for participant in self.participants.iter().filter_map(OnceLock::get) {
            participant.vacate(&self.segment);
        }
    }
}
