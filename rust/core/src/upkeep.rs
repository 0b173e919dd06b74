//! What somebody has to do once in a while: turn the window, publish, free arenas, think ahead.
//!
//! Every step may be done by any number of processes at once and be cut off anywhere.

use crate::clock::SECOND;
use crate::counter::Counter;
use crate::error::Error;
use crate::layout::SLOTS;
use crate::platform;
use crate::primitive::Ordering;
use crate::ring::{self, Figures};
use crate::seat::{Seat, Upkeep};
use crate::segment::{FIRST_BUCKETS, first_step};
use crate::table::{Bucket, SLOTS as BUCKET_SLOTS, Storage};
use crate::window::{ARENAS, State, Word, alone, buckets_of_step};

/// Skipped windows that are published, at the most.
const GAPS: u64 = 60;
/// Records that the size of a new table is taken from.
const RECENT: u64 = 4;
/// A freed arena keeps up to this many times what the next window needs.
const KEPT: u64 = 4;
/// Bytes that one call of `populate` faults in at the most: some milliseconds.
const POPULATED_AT_ONCE: u64 = 16 << 20;

impl Counter {
    /// One round of upkeep: clock, turn of the window, publishing, the dead, arenas, storage
    /// ahead of need. The leader calls it about twenty times a second.
    ///
    /// # Errors
    /// As for [`Counter::add`], when the window could not be turned; the rest was done.
    pub fn tend(&self) -> Result<(), Error> {
        let seat = self.seat()?;
        self.clock().discipline(&self.front().header.clock.0);
        let turned = self.turn_to(seat, self.now_window());
        self.publish(seat);
        if let Some(upkeep) = seat.try_upkeep() {
            for slot in 0..SLOTS {
                if self.front().slots[slot].process.load(Ordering::Relaxed) != 0
                    && !seat.is_alive(slot)
                {
                    seat.bury(&upkeep, self.segment(), slot);
                }
            }
            self.free(seat, &upkeep);
        }
        self.reserve_ahead(seat);
        turned
    }

    /// Moves the current word to `window`, unless it is there or beyond.
    #[cold]
    pub(crate) fn turn_to(&self, seat: &Seat, window: u64) -> Result<(), Error> {
        let turn = self.turn();
        let slot = &self.front().slots[seat.slot];
        let mut tried_to_free = false;
        loop {
            let word = turn.current();
            if word.window() >= window {
                return Ok(());
            }
            turn.confirm(word);
            let Some(arena) = turn.claim(window) else {
                if tried_to_free {
                    return Err(Error::NoArena);
                }
                tried_to_free = true;
                self.publish(seat);
                if let Some(upkeep) = seat.try_upkeep() {
                    self.free(seat, &upkeep);
                }
                continue;
            };
            // Announced, so that nobody gives storage back while it is reserved.
            slot.announced.announce(arena);
            let start = if turn.state(arena) == (State::Tentative { window }) {
                self.reserve_start(arena, self.next_step(word))
            } else {
                slot.announced.leave(arena);
                continue;
            };
            let moved = match start {
                Ok(start) => turn.advance(word, Word::new(window, start, arena)),
                Err(_) => false,
            };
            slot.announced.leave(arena);
            start?;
            if moved {
                return Ok(());
            }
            turn.take_back(arena);
        }
    }

    /// Puts storage behind the first extent of a table in `arena`: of step `step`, or smaller where
    /// that does not fit.
    fn reserve_start(&self, arena: usize, step: u8) -> Result<u8, Error> {
        let smallest = step.min(8);
        let mut at = step;
        loop {
            match self.storage(arena).reserve(buckets_of_step(at), 0) {
                Ok(()) => return Ok(at),
                Err(shortage) if at <= smallest => return Err(shortage.into()),
                Err(_) => at = at.saturating_sub(4).max(smallest),
            }
        }
    }

    /// The size step for the window after `word`'s: twice the ids of the recent windows.
    fn next_step(&self, word: Word) -> u8 {
        let front = self.front();
        let published = front.header.published.0.load(Ordering::Acquire);
        let recent = (0..RECENT)
            .filter_map(|back| ring::place(&front.ring, published - back).read(published - back))
            .map(|figures| figures.unique)
            .chain([self.counted(word.arena()).new])
            .max()
            .unwrap_or(0);
        let buckets = (2 * recent).div_ceil(BUCKET_SLOTS as u64) as usize;
        first_step(front.header.arena_bytes, buckets.max(FIRST_BUCKETS))
    }

    /// Freezes and publishes all windows before the current one, in their order.
    pub(crate) fn publish(&self, seat: &Seat) {
        let front = self.front();
        let published = &front.header.published.0;
        loop {
            // Acquire: pairs with the Release below; what was published before is complete.
            let before = published.load(Ordering::Acquire);
            let current = self.turn().current().window();
            let Some(window) = self.next_to_publish(before, current) else { return };
            if !self.seal_window(seat, window) {
                continue;
            }
            // Release: pairs with the Acquire of every reader of the ring.
            let _ = published.compare_exchange(before, window, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// The next window to publish: all that had an arena, and the newest of those that were skipped.
    fn next_to_publish(&self, published: u64, current: u64) -> Option<u64> {
        let skipped = (published + 1).max(current.saturating_sub(GAPS));
        let real = (0..ARENAS).filter_map(|arena| match self.turn().state(arena) {
            State::Closed { window, .. } | State::Sealed { window, .. } => Some(window),
            _ => None,
        });
        real.chain([skipped]).filter(|&window| window > published && window < current).min()
    }

    /// Writes the record of `window`; false if it has to be looked at again.
    fn seal_window(&self, seat: &Seat, window: u64) -> bool {
        let front = self.front();
        let turn = self.turn();
        let place = ring::place(&front.ring, window);
        let figures = Figures {
            rejected_before: self.refusals().iter().sum(),
            sealed_at: self.now() / (SECOND / 1_000),
            ..Figures::default()
        };
        let found = (0..ARENAS).find_map(|arena| match turn.state(arena) {
            state @ State::Closed { window: its, start } if its == window => {
                Some((arena, state, start))
            }
            State::Sealed { window: its, start } if its == window => {
                Some((arena, State::Sealed { window, start }, start))
            }
            _ => None,
        });
        let Some((arena, state, start)) = found else {
            // Nobody can publish a window, free its arena and leave no record: it is complete by
            // then, and this write changes nothing.
            place.write(window, &Figures { gap: true, ..figures });
            return true;
        };
        if matches!(state, State::Sealed { .. }) {
            return true;
        }
        let announced = &front.slots[seat.slot].announced;
        announced.announce(arena);
        let still = turn.state(arena) == state;
        if still {
            let unique = self.table(arena, start).freeze();
            let counts = self.counted(arena);
            place.write(
                window,
                &Figures {
                    unique,
                    requests: counts.requests.max(unique),
                    late: counts.late,
                    ..figures
                },
            );
            turn.step(arena, state, State::Sealed { window, start });
        }
        announced.leave(arena);
        still
    }

    /// Zeroes and frees the arenas of published windows that nobody is inside of.
    fn free(&self, seat: &Seat, upkeep: &Upkeep<'_>) {
        let front = self.front();
        let turn = self.turn();
        let published = front.header.published.0.load(Ordering::Acquire);
        let announced = &front.slots[seat.slot].announced;
        for arena in 0..ARENAS {
            turn.take_back(arena);
            if let closed @ State::Closed { window, start } = turn.state(arena)
                && window <= published
            {
                // A claim that lost, and that somebody with an old word in hand confirmed.
                turn.step(arena, closed, State::Sealed { window, start });
            }
            let state = turn.state(arena);
            let State::Sealed { window, start } = state else { continue };
            if window > published {
                continue;
            }
            announced.announce(arena);
            let others = || {
                (0..SLOTS).any(|slot| {
                    slot != seat.slot
                        && front.slots[slot].announced.count(arena) != 0
                        && !seat.bury(upkeep, self.segment(), slot)
                })
            };
            if turn.state(arena) == state && alone(announced, arena, others) {
                self.zero(arena, start);
                turn.step(arena, state, State::Free);
            }
            announced.leave(arena);
        }
    }

    /// Makes `arena` as new; the caller is alone in it.
    fn zero(&self, arena: usize, start: u8) {
        let front = self.front();
        let header = &front.arenas[arena];
        let used = self.used_bytes(arena, start);
        let next = buckets_of_step(self.next_step(self.turn().current())) * size_of::<Bucket>();
        let kept = (next as u64 * KEPT).next_multiple_of(4096);
        // Relaxed: the caller is alone; the step to `Free` releases all of this.
        let reserved = header.reserved.load(Ordering::Relaxed);
        if reserved > kept {
            header.reserved.store(kept, Ordering::Relaxed);
            if platform::release(&self.segment().file, self.arena_at(arena) + kept, reserved - kept)
                .is_err()
            {
                header.reserved.store(reserved, Ordering::Relaxed);
            }
        }
        let kept = header.reserved.load(Ordering::Relaxed);
        self.segment().mapping.zero(arena, used.min(kept) as usize);
        for slot in &front.slots {
            let counts = &slot.counts[arena];
            slot.requests_before
                .fetch_add(counts.requests.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            slot.new_before.fetch_add(counts.new.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            slot.late_before.fetch_add(counts.late.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            counts.acknowledged.store(0, Ordering::Relaxed);
        }
        // Release: stays behind the zeroing. Whoever is killed here leaves an arena that is zeroed
        // again; its extents must not be forgotten before they are clean.
        header.extents.store(0, Ordering::Release);
        header.flags.store(0, Ordering::Release);
    }

    /// Reserves the next extent of a table that is half full, and the start of the next window's.
    fn reserve_ahead(&self, seat: &Seat) {
        let turn = self.turn();
        let word = turn.current();
        let announced = &self.front().slots[seat.slot].announced;
        if announced.enter(turn, word).is_ok() {
            let table = self.table(word.arena(), word.start());
            let slots = self.used_bytes(word.arena(), word.start()) / 8;
            if self.counted(word.arena()).new * 2 > slots {
                // A shortage is told to the writer who meets it.
                let first = buckets_of_step(word.start());
                let _ = self.storage(word.arena()).reserve(first, table.extents());
            }
            announced.leave(word.arena());
        }
        if let Some(arena) = self.next_arena() {
            announced.announce(arena);
            if turn.state(arena) == State::Free {
                let _ = self.reserve_start(arena, self.next_step(word));
            }
            announced.leave(arena);
        }
    }

    /// The free arena that the next window will most likely have.
    fn next_arena(&self) -> Option<usize> {
        (0..ARENAS)
            .filter(|&arena| self.turn().state(arena) == State::Free)
            .max_by_key(|&arena| {
                let reserved = self.front().arenas[arena].reserved.load(Ordering::Relaxed);
                (reserved, core::cmp::Reverse(arena))
            })
    }

    /// Faults in pages that this process will soon write to, a bounded number at a call: a fresh
    /// page costs a request many times what an insert does. Each worker calls it every 100 ms.
    ///
    /// # Errors
    /// [`Error::Segment`], when a forked child finds no slot of its own.
    pub fn populate(&self) -> Result<(), Error> {
        let seat = self.seat()?;
        let word = self.turn().current();
        let current = (word.arena(), self.reserved(word.arena()));
        let next = self.next_arena().map(|arena| {
            let start = buckets_of_step(self.next_step(word)) * size_of::<Bucket>();
            (arena, self.reserved(arena).min(start as u64))
        });
        for (arena, wanted) in [current].into_iter().chain(next) {
            let have = &seat.populated[arena];
            // Relaxed: a note of this process to itself; pages given back are faulted on use.
            let from = have.load(Ordering::Relaxed).min(self.reserved(arena));
            let bytes = wanted.saturating_sub(from).min(POPULATED_AT_ONCE);
            if bytes > 0 {
                self.segment().mapping.populate(arena, from as usize, bytes as usize);
            }
            have.store(from + bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    fn reserved(&self, arena: usize) -> u64 {
        self.front().arenas[arena].reserved.load(Ordering::Relaxed)
    }
}
