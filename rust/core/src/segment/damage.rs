//! Checks of a segment's words, so that a process does not attach to a damaged segment.
//!
//! Each word is checked by itself, since live processes may change others meanwhile.

use crate::segment::clock::SECOND;
use crate::segment::layout::{CALLBACK_CELLS, Front, PARTICIPANTS};
use crate::sync::Ordering;
use crate::table::{Bucket, EXTENTS};
use crate::window::word::{ARENAS, ArenaState, CurrentWord, buckets_of_step};

/// The first damaged word of `front`, with its value. `None` if there is none.
pub(crate) fn damage(front: &Front) -> Option<String> {
    let header = &front.header;
    // Relaxed throughout: each word is a value by itself.
    let word = CurrentWord(header.current.0.load(Ordering::Relaxed));
    if word.arena() >= ARENAS
        || !is_window(word.window(), header.window_seconds)
        || !is_size_step(word.size_step(), header.arena_bytes)
    {
        return Some(format!("the current word is `{:#x}`", word.0));
    }
    let sealed_through = header.sealed_through.0.load(Ordering::Relaxed);
    if sealed_through >> 48 != 0 {
        return Some(format!("the last sealed window is `{sealed_through}`"));
    }
    let lease = header.lease.0.load(Ordering::Relaxed);
    if lease & 0xffff_ffff > PARTICIPANTS as u64 {
        return Some(format!("the lease is `{lease:#x}`"));
    }
    let cells = front.callbacks.reserved.0.load(Ordering::Relaxed);
    if cells > CALLBACK_CELLS as u64 {
        return Some(format!("`{cells}` callback cells have storage"));
    }
    front.arenas.iter().enumerate().find_map(|(number, arena)| {
        let state = arena.state.load(Ordering::Relaxed);
        let is_sound = match ArenaState::unpack(state) {
            ArenaState::Free => state == 0,
            ArenaState::Claimed { window } => is_window(window, header.window_seconds),
            ArenaState::Confirmed { window, size_step }
            | ArenaState::Sealed { window, size_step }
            | ArenaState::Clearing { window, size_step } => {
                is_window(window, header.window_seconds)
                    && is_size_step(size_step, header.arena_bytes)
            }
        };
        let extents = arena.extents.load(Ordering::Relaxed);
        let (oldest, newest) = (extents >> 8 & 0xff, extents & 0xff);
        let reserved = arena.reserved.load(Ordering::Relaxed);
        if !is_sound {
            Some(format!("the state of arena {number} is `{state:#x}`"))
        } else if oldest > newest || newest >= EXTENTS as u64 {
            Some(format!("the extents of arena {number} are `{extents:#x}`"))
        } else if reserved > header.arena_bytes {
            Some(format!("arena {number} has `{reserved}` bytes of storage"))
        } else {
            None
        }
    })
}

/// Whether there is a window of that number: its end must be a time in nanoseconds.
fn is_window(window: u64, seconds: u32) -> bool {
    let length = u64::from(seconds) * SECOND;
    window > 0 && window.checked_add(1).is_some_and(|next| next.checked_mul(length).is_some())
}

/// Whether the first extent of a table may have the size of step `size_step`.
fn is_size_step(size_step: u8, arena_bytes: u64) -> bool {
    let buckets = arena_bytes / size_of::<Bucket>() as u64;
    size_step >> 2 < 48 && buckets_of_step(size_step) as u64 <= buckets
}

#[cfg(test)]
mod tests {
    use super::damage;
    use crate::platform;
    use crate::segment::layout::{self, Front};
    use crate::segment::mapping::Mapping;
    use crate::sync::AtomicU64;
    use crate::window::word::{ArenaState, CurrentWord};

    type Place = fn(&mut Front) -> &mut AtomicU64;

    fn sound() -> Mapping {
        let file = platform::memory_file().expect("a file");
        file.set_len(layout::length(1 << 24).expect("a length")).expect("a file of that length");
        let mut mapping = Mapping::new(&file, 1 << 24).expect("a mapping");
        let front = mapping.front_mut();
        front.header.window_seconds = 60;
        front.header.arena_bytes = 1 << 24;
        front.header.current.0 = CurrentWord::new(29_916_667, 20, 3).0.into();
        front.arenas[3].state = ArenaState::Claimed { window: 29_916_667 }.pack().into();
        mapping
    }

    #[test]
    fn every_damaged_word_is_named() {
        assert_eq!(damage(sound().front()), None);
        let damaged: [(&str, Place, &[u64]); 7] = [
            (
                "the current word",
                |front| &mut front.header.current.0,
                &[
                    0,
                    u64::MAX,
                    CurrentWord::new(1, 20, 16).0,
                    CurrentWord::new(1, 255, 0).0,
                    CurrentWord::new(1, 90, 0).0,
                ],
            ),
            ("the last sealed window", |front| &mut front.header.sealed_through.0, &[u64::MAX]),
            ("the lease", |front| &mut front.header.lease.0, &[257, u64::MAX]),
            ("callback cells", |front| &mut front.callbacks.reserved.0, &[16_385, u64::MAX]),
            (
                "the state of arena 5",
                |front| &mut front.arenas[5].state,
                &[
                    5,
                    u64::MAX,
                    1,
                    ArenaState::Sealed { window: 1, size_step: 191 }.pack(),
                    u64::MAX << 16 | 2,
                ],
            ),
            ("the extents of arena 5", |front| &mut front.arenas[5].extents, &[0x100, 32, 0x2020]),
            ("arena 5 has", |front| &mut front.arenas[5].reserved, &[(1 << 24) + 1, u64::MAX]),
        ];
        for (name, place, values) in damaged {
            for &value in values {
                let mut mapping = sound();
                *place(mapping.front_mut()) = value.into();
                let found =
                    damage(mapping.front()).unwrap_or_else(|| panic!("{name}: `{value:#x}`"));
                assert!(found.contains(name) && found.contains('`'), "{found}");
            }
        }
    }
}
