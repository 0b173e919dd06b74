//! The counter: what a caller uses.

use std::path::Path;
use std::sync::OnceLock;

use crate::clock::{Clock, SECOND};
use crate::error::{Error, Unusable};
use crate::layout::{ARENAS_AT, Front, REFUSALS, SLOTS};
use crate::mix::Mix;
use crate::platform;
use crate::primitive::Ordering;
use crate::refusal::Refusal;
use crate::ring;
use crate::seat::{Seat, UNCERTAIN};
use crate::segment::{Identity, Segment};
use crate::table::{Bucket, Insert, Shortage, Storage, Table};
use crate::window::{State, Turn, Word, buckets_of_step};

/// Ids that a batch records between announcing itself and leaving again.
const CHUNK: usize = 4_096;
/// Ids whose walks are prefetched together.
const AHEAD: usize = 32;
/// Nested forks that a counter survives.
const GENERATIONS: usize = 16;

/// Counts distinct ids per window; see the crate's documentation.
#[derive(Debug)]
pub struct Counter {
    segment: Segment,
    clock: Clock,
    mix: Mix,
    /// Nanoseconds of a window.
    window_length: u64,
    /// Forks that had led to this process when the counter was opened.
    born: u64,
    /// One seat for each process of a line of forks: the first is that of the opener.
    seats: [OnceLock<Seat>; GENERATIONS],
}

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

/// A window's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Start, seconds since the epoch.
    pub window_start: u64,
    /// Length in seconds.
    pub window_seconds: u32,
    /// Distinct ids.
    pub unique: u64,
    /// Accepted ids, duplicates included.
    pub requests: u64,
    /// Ids that came for the window before and met its freeze.
    pub late: u64,
    /// Requests refused since the record before.
    pub rejected: u64,
    /// Nobody was there to count, or the clock was set forward over the window.
    pub gap: bool,
    /// Milliseconds since the epoch at which it was sealed; 0 for a window that is open.
    pub sealed_at: u64,
}

/// Sums of the processes' counts of one arena.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) requests: u64,
    pub(crate) new: u64,
    pub(crate) late: u64,
}

impl From<Shortage> for Error {
    fn from(shortage: Shortage) -> Self {
        match shortage {
            Shortage::Full => Self::Full,
            Shortage::Space => Self::Space,
        }
    }
}

impl Counter {
    /// A counter in memory, for the threads of this process and the children that it forks.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Space`], [`Error::Segment`].
    pub fn in_memory(identity: &Identity, clock: Clock) -> Result<Self, Error> {
        let segment = Segment::in_memory(identity, &clock)?;
        Self::seated(segment, clock)
    }

    /// A counter on the segment at `path`, which is made if there is none and continued if there
    /// is one.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Space`], and [`Error::Segment`] with its reasons.
    pub fn open(path: &Path, identity: &Identity, clock: Clock) -> Result<Self, Error> {
        let for_segment = clock.clone();
        Segment::open(path, identity, &for_segment, |segment| Self::seated(segment, clock))
    }

    fn seated(segment: Segment, clock: Clock) -> Result<Self, Error> {
        let header = &segment.mapping.front().header;
        let counter = Self {
            mix: Mix::new(header.key),
            window_length: u64::from(header.window_seconds) * SECOND,
            born: platform::forks(),
            seats: Default::default(),
            clock,
            segment,
        };
        counter.seat()?;
        Ok(counter)
    }

    /// This process's seat; a forked child claims one of its own at first use.
    #[inline]
    pub(crate) fn seat(&self) -> Result<&Seat, Error> {
        let generation = (platform::forks() - self.born) as usize;
        match self.seats.get(generation).and_then(OnceLock::get) {
            Some(seat) => Ok(seat),
            None => self.take_seat(generation),
        }
    }

    #[cold]
    fn take_seat(&self, generation: usize) -> Result<&Seat, Error> {
        let place = self.seats.get(generation).ok_or_else(|| Error::Segment {
            reason: Unusable::NoSlot,
            alive: true,
            message: format!("too many nested forks with one counter: `{generation}`"),
        })?;
        let seat = Seat::claim(&self.segment)?;
        // Another thread may have been first; its seat counts, and ours is given back.
        Ok(place.get_or_init(|| seat))
    }

    /// Counts `id`: whether it was new, and in which window.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Space`], [`Error::NoArena`]: the id is not counted then.
    #[inline]
    pub fn add(&self, id: i64) -> Result<Placement, Error> {
        let seat = self.seat()?;
        let slot = &self.front().slots[seat.slot];
        let mixed = self.mix.forward(id);
        let mut late = 0;
        loop {
            let word = self.enter(seat, self.now_window())?;
            let counts = &slot.counts[word.arena()];
            // Counted before the insert, so that requests are never fewer than ids.
            counts.requests.fetch_add(1, Ordering::Relaxed);
            let inserted = self.table(word.arena(), word.start()).insert(mixed);
            match inserted {
                Ok(Insert::New) => {
                    counts.new.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Insert::Present) => {}
                Ok(Insert::Sealed) | Err(_) => {
                    counts.requests.fetch_sub(1, Ordering::Relaxed);
                }
            }
            if late > 0 && matches!(inserted, Ok(Insert::New | Insert::Present)) {
                counts.late.fetch_add(1, Ordering::Relaxed);
            }
            slot.announced.leave(word.arena());
            match inserted? {
                Insert::Sealed => late += 1,
                insert => {
                    return Ok(Placement {
                        new: insert == Insert::New,
                        window_start: self.start_of(word.window()),
                    });
                }
            }
        }
    }

    /// Counts a batch of ids.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own. A shortage midway is told
    /// in [`Batch::stopped`].
    pub fn add_many(&self, ids: &[i64]) -> Result<Batch, Error> {
        let seat = self.seat()?;
        let mut batch = Batch::default();
        while batch.recorded < ids.len() {
            let rest = &ids[batch.recorded..];
            let word = match self.enter(seat, self.now_window()) {
                Ok(word) => word,
                Err(error) => {
                    batch.stopped = Some(error);
                    break;
                }
            };
            let (recorded, new, ended) = self.add_chunk(seat, word, &rest[..rest.len().min(CHUNK)]);
            batch.recorded += recorded;
            if recorded > 0 {
                let window_start = self.start_of(word.window());
                match batch.shares.last_mut() {
                    Some(share) if share.window_start == window_start => share.new += new,
                    _ => batch.shares.push(Share { window_start, new }),
                }
            }
            if let Err(shortage) = ended {
                batch.stopped = Some(shortage.into());
                break;
            }
        }
        Ok(batch)
    }

    /// Inserts `ids` into the arena that the caller has entered, and leaves it: how many were
    /// recorded, how many were new, and whether the table ran out of room.
    fn add_chunk(&self, seat: &Seat, word: Word, ids: &[i64]) -> (usize, u64, Result<(), Shortage>) {
        let slot = &self.front().slots[seat.slot];
        let counts = &slot.counts[word.arena()];
        let table = self.table(word.arena(), word.start());
        counts.requests.fetch_add(ids.len() as u64, Ordering::Relaxed);
        let (mut recorded, mut new) = (0, 0);
        let mut ended = Ok(());
        let extents = table.extents();
        let mut mixed = [0; AHEAD];
        'chunk: for block in ids.chunks(AHEAD) {
            for (mixed, &id) in mixed.iter_mut().zip(block) {
                *mixed = self.mix.forward(id);
                table.prefetch(*mixed, extents);
            }
            for &mixed in &mixed[..block.len()] {
                match table.insert(mixed) {
                    Ok(Insert::New) => new += 1,
                    Ok(Insert::Present) => {}
                    Ok(Insert::Sealed) => break 'chunk,
                    Err(shortage) => {
                        ended = Err(shortage);
                        break 'chunk;
                    }
                }
                recorded += 1;
            }
        }
        counts.requests.fetch_sub((ids.len() - recorded) as u64, Ordering::Relaxed);
        counts.new.fetch_add(new, Ordering::Relaxed);
        slot.batches.fetch_add(1, Ordering::Relaxed);
        slot.announced.leave(word.arena());
        (recorded, new, ended)
    }

    /// Enters the current arena, whose window is `window` or a later one.
    #[inline]
    fn enter(&self, seat: &Seat, window: u64) -> Result<Word, Error> {
        let turn = self.turn();
        let announced = &self.front().slots[seat.slot].announced;
        let mut word = turn.current();
        loop {
            if word.window() < window {
                self.turn_as_writer(seat, window)?;
                word = turn.current();
            }
            match announced.enter(turn, word) {
                Ok(()) => return Ok(word),
                Err(now) => word = now,
            }
        }
    }

    #[cold]
    fn turn_as_writer(&self, seat: &Seat, window: u64) -> Result<(), Error> {
        self.turn_to(seat, window)?;
        if !self.leader().is_some_and(|leader| leader.alive) {
            self.tend()?;
        }
        Ok(())
    }

    /// Distinct ids of the current window so far.
    ///
    /// # Errors
    /// As for [`Counter::current`].
    pub fn count(&self) -> Result<u64, Error> {
        self.current().map(|record| record.unique)
    }

    /// The current window as it stands.
    ///
    /// # Errors
    /// As for [`Counter::add`], when the window has to be turned.
    pub fn current(&self) -> Result<Record, Error> {
        let seat = self.seat()?;
        let word = self.enter(seat, self.now_window())?;
        let counted = self.counted(word.arena());
        let unique =
            if self.is_certain(seat, word.arena()) { counted.new } else { self.scan(word) };
        self.front().slots[seat.slot].announced.leave(word.arena());
        let before = self.figures(word.window() - 1).map_or(0, |figures| figures.rejected_before);
        Ok(Record {
            window_start: self.start_of(word.window()),
            window_seconds: self.window_seconds(),
            unique,
            requests: counted.requests.max(unique),
            late: counted.late,
            rejected: self.refusals().iter().sum::<u64>().saturating_sub(before),
            gap: false,
            sealed_at: 0,
        })
    }

    /// Whether the processes' counts of an arena agree with its table: not if one died inside.
    fn is_certain(&self, seat: &Seat, arena: usize) -> bool {
        let front = self.front();
        front.arenas[arena].flags.load(Ordering::Relaxed) & UNCERTAIN == 0
            && (0..SLOTS).all(|slot| {
                front.slots[slot].announced.count(arena) == 0 || seat.is_alive(slot)
            })
    }

    fn scan(&self, word: Word) -> u64 {
        let mut count = 0;
        self.table(word.arena(), word.start()).for_each(|_| count += 1);
        count
    }

    /// The ids of the current window, or of a closed one whose arena is still held; in no order.
    ///
    /// # Errors
    /// [`Error::Window`], when the ids of that window are not kept.
    pub fn ids(&self, window_start: Option<u64>) -> Result<Vec<i64>, Error> {
        let seat = self.seat()?;
        let announced = &self.front().slots[seat.slot].announced;
        let turn = self.turn();
        let (arena, start) = match window_start {
            None => {
                let word = self.enter(seat, self.now_window())?;
                (word.arena(), word.start())
            }
            Some(window_start) => {
                self.enter_kept(seat, window_start).ok_or(Error::Window { start: window_start })?
            }
        };
        debug_assert!(turn.state(arena) != State::Free);
        let mut ids = Vec::new();
        self.table(arena, start).for_each(|word| ids.push(self.mix.backward(word)));
        announced.leave(arena);
        Ok(ids)
    }

    fn enter_kept(&self, seat: &Seat, window_start: u64) -> Option<(usize, u8)> {
        let turn = self.turn();
        let announced = &self.front().slots[seat.slot].announced;
        let word = turn.current();
        if self.start_of(word.window()) == window_start && announced.enter(turn, word).is_ok() {
            return Some((word.arena(), word.start()));
        }
        (0..turn.arenas.len()).find_map(|arena| {
            let state = turn.state(arena);
            let (State::Closed { window, start } | State::Sealed { window, start }) = state else {
                return None;
            };
            if self.start_of(window) != window_start {
                return None;
            }
            announced.announce(arena);
            if turn.state(arena) == state {
                return Some((arena, start));
            }
            announced.leave(arena);
            None
        })
    }

    /// Keeps the ids of the current window until [`Counter::release`]: its start.
    ///
    /// # Errors
    /// As for [`Counter::add`], when the window has to be turned.
    pub fn hold(&self) -> Result<u64, Error> {
        let seat = self.seat()?;
        let word = self.enter(seat, self.now_window())?;
        let start = self.start_of(word.window());
        seat.held.lock().expect("no panic while windows are held").push((start, word.arena()));
        Ok(start)
    }

    /// Lets go of a held window.
    ///
    /// # Errors
    /// [`Error::Window`], when it is not held.
    pub fn release(&self, window_start: u64) -> Result<(), Error> {
        let seat = self.seat()?;
        let mut held = seat.held.lock().expect("no panic while windows are held");
        let at = held
            .iter()
            .position(|&(start, _)| start == window_start)
            .ok_or(Error::Window { start: window_start })?;
        let (_, arena) = held.swap_remove(at);
        self.front().slots[seat.slot].announced.leave(arena);
        Ok(())
    }

    /// Closes the current window now and gives its record. What comes after belongs to the next
    /// window, which begins early.
    ///
    /// # Errors
    /// As for [`Counter::add`], when the window cannot be turned.
    pub fn seal(&self) -> Result<Record, Error> {
        let seat = self.seat()?;
        let word = self.turn().current();
        self.turn_to(seat, self.now_window().max(word.window() + 1))?;
        self.publish(seat);
        self.record(word.window())
            .ok_or_else(|| Error::Window { start: self.start_of(word.window()) })
    }

    /// The newest `limit` sealed windows, oldest first.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own.
    pub fn closed(&self, limit: usize) -> Result<Vec<Record>, Error> {
        let seat = self.seat()?;
        // A shortage here is the next writer's to hear of.
        let _ = self.turn_to(seat, self.now_window());
        self.publish(seat);
        let published = self.published();
        let limit = limit.min(ring::RECORDS - 1) as u64;
        let mut records = Vec::new();
        for back in (0..limit).rev() {
            records.extend(published.checked_sub(back).and_then(|window| self.record(window)));
        }
        Ok(records)
    }

    fn record(&self, window: u64) -> Option<Record> {
        let figures = self.figures(window)?;
        let before = self.figures(window - 1).map_or(0, |before| before.rejected_before);
        Some(Record {
            window_start: self.start_of(window),
            window_seconds: self.window_seconds(),
            unique: figures.unique,
            requests: figures.requests,
            late: figures.late,
            rejected: figures.rejected_before.saturating_sub(before),
            gap: figures.gap,
            sealed_at: figures.sealed_at,
        })
    }

    fn figures(&self, window: u64) -> Option<ring::Figures> {
        ring::place(&self.front().ring, window).read(window)
    }

    /// Counts a refused request.
    pub fn refuse(&self, refusal: Refusal) {
        if let Ok(seat) = self.seat() {
            self.front().slots[seat.slot].refusals[refusal as usize]
                .fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Refused requests by kind, since the segment was made.
    #[must_use]
    pub fn refusals(&self) -> [u64; REFUSALS] {
        let mut sums = [0; REFUSALS];
        for slot in &self.front().slots {
            for (sum, count) in sums.iter_mut().zip(&slot.refusals) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        sums
    }

    pub(crate) fn counted(&self, arena: usize) -> Counted {
        // Relaxed: figures; what has to be exact is counted in the table.
        self.front().slots.iter().fold(Counted::default(), |sum, slot| {
            let counts = &slot.counts[arena];
            Counted {
                requests: sum.requests + counts.requests.load(Ordering::Relaxed),
                new: sum.new + counts.new.load(Ordering::Relaxed),
                late: sum.late + counts.late.load(Ordering::Relaxed),
            }
        })
    }

    /// Number of the newest window up to which all are in the ring.
    pub(crate) fn published(&self) -> u64 {
        // Acquire: pairs with the Release in `publish`.
        self.front().header.published.0.load(Ordering::Acquire)
    }

    /// The segment's time: nanoseconds since the epoch.
    #[inline]
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.now(&self.front().header.clock.0)
    }

    /// Nanoseconds until the interval that the clock is in comes to its end.
    #[must_use]
    pub fn until_boundary(&self) -> u64 {
        self.window_length - self.now() % self.window_length
    }

    #[inline]
    pub(crate) fn now_window(&self) -> u64 {
        self.now() / self.window_length
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

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    #[inline]
    pub(crate) fn front(&self) -> &Front {
        self.segment.mapping.front()
    }

    #[inline]
    pub(crate) fn turn(&self) -> Turn<'_> {
        let front = self.front();
        Turn { current: &front.header.current.0, arenas: &front.arenas }
    }

    #[inline]
    pub(crate) fn table(&self, arena: usize, start: u8) -> Table<'_, Arena<'_>> {
        Table::new(&self.front().arenas[arena], self.storage(arena), buckets_of_step(start))
    }

    #[inline]
    pub(crate) fn storage(&self, arena: usize) -> Arena<'_> {
        Arena { segment: &self.segment, arena }
    }

    pub(crate) fn arena_at(&self, arena: usize) -> u64 {
        ARENAS_AT + arena as u64 * self.front().header.arena_bytes
    }

    /// Bytes of the open extents of the table in `arena`.
    pub(crate) fn used_bytes(&self, arena: usize, start: u8) -> u64 {
        let extents = self.table(arena, start).extents();
        let (at, count) = extent_range(buckets_of_step(start), extents - 1);
        let whole = self.front().header.arena_bytes;
        (((at + count) * size_of::<Bucket>()) as u64).min(whole)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let generation = (platform::forks() - self.born) as usize;
        if self.seats.get(generation).and_then(OnceLock::get).is_some() {
            self.resign();
        }
        for seat in self.seats.iter().filter_map(OnceLock::get) {
            seat.vacate(&self.segment);
        }
    }
}

/// The buckets of one arena of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arena<'a> {
    segment: &'a Segment,
    arena: usize,
}

/// First bucket and number of buckets of extent `index`, where the first extent has `first`: the
/// extents follow each other, so that a table always uses the same pages from the arena's start.
fn extent_range(first: usize, index: usize) -> (usize, usize) {
    use crate::table::{EXTENTS, GROWTH};
    let grown = 1_usize << (GROWTH as usize * index.min(EXTENTS));
    (first.saturating_mul((grown - 1) / ((1 << GROWTH) - 1)), first.saturating_mul(grown))
}

impl Storage for Arena<'_> {
    #[inline]
    fn extent(&self, first: usize, index: usize) -> &[Bucket] {
        let (at, count) = if index == 0 { (0, first) } else { extent_range(first, index) };
        self.segment.mapping.buckets(self.arena, at, count)
    }

    fn reserve(&self, first: usize, index: usize) -> Result<(), Shortage> {
        let front = self.segment.mapping.front();
        let header = &front.arenas[self.arena];
        let (at, count) = extent_range(first, index);
        let whole = front.header.arena_bytes as usize / size_of::<Bucket>();
        if at >= whole {
            return Err(Shortage::Full);
        }
        let end = ((at + count).min(whole) * size_of::<Bucket>()) as u64;
        // Acquire and AcqRel: who sees the mark may touch what it covers.
        let reserved = header.reserved.load(Ordering::Acquire);
        if reserved >= end {
            return Ok(());
        }
        let offset = ARENAS_AT + self.arena as u64 * front.header.arena_bytes;
        platform::reserve(&self.segment.file, offset + reserved, end - reserved)
            .map_err(|_| Shortage::Space)?;
        header.reserved.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }
}
