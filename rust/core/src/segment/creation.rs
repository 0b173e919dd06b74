//! The creation of a segment.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::Error;
use crate::platform;
use crate::segment::attachment::{LONGEST_WINDOW, MOST_IDS, SegmentConfig, with_suffix};
use crate::segment::clock::{Clock, SECOND};
use crate::segment::layout::{self, ARENAS_AT, FORMAT, FRONT, MAGIC, NAME};
use crate::segment::mapping::Mapping;
use crate::segment::size::arena_bytes;
use crate::table::Bucket;
use crate::window::word::{ArenaState, CurrentWord, buckets_of_step, step_of_buckets};

/// Size step of the smallest first extent, unless the arena is smaller: one page, which every arena
/// keeps, so that the next window can always be opened.
pub(crate) const SMALLEST: u8 = 16;
/// Buckets of the first extent of a segment's first window: 65,536 slots, 512 KiB.
pub(crate) const FIRST_BUCKETS: usize = 8_192;

pub(crate) fn create(path: &Path, config: &SegmentConfig, clock: &Clock) -> Result<(), BuildError> {
    let unfinished = with_suffix(path, ".new");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&unfinished)?;
    let built = build(&file, config, clock)
        .and_then(|()| fs::hard_link(&unfinished, path).map_err(BuildError::Io));
    let removed = fs::remove_file(&unfinished);
    built?;
    Ok(removed?)
}

pub(crate) enum BuildError {
    Io(io::Error),
    Setting(String),
}

impl From<io::Error> for BuildError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(crate) fn failed_build(error: BuildError, shown: &str) -> Error {
    match error {
        BuildError::Setting(message) => Error::Setting { message },
        BuildError::Io(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
            Error::Space(libc::ENOSPC)
        }
        BuildError::Io(error) => Error::io("the segment cannot be made", shown, &error),
    }
}

pub(crate) fn build(file: &File, config: &SegmentConfig, clock: &Clock) -> Result<(), BuildError> {
    let window_seconds = config.window_seconds.unwrap_or(60);
    if !(1..=LONGEST_WINDOW).contains(&window_seconds) {
        return Err(BuildError::Setting(format!(
            "a window has 1 to 86,400 seconds: `{window_seconds}`"
        )));
    }
    if !(1..=MOST_IDS).contains(&config.max_ids) {
        return Err(BuildError::Setting(format!(
            "a window may be made for 1 to {MOST_IDS} ids: `{}`",
            config.max_ids
        )));
    }
    for name in [&config.cluster, &config.state_directory] {
        if name.len() > NAME - 2 {
            return Err(BuildError::Setting(format!(
                "a name is longer than {} bytes: `{name}`",
                NAME - 2
            )));
        }
    }
    if let Some(offset) = config.clock_offset
        && clock.boot().checked_add_signed(offset).is_none()
    {
        return Err(BuildError::Setting(format!(
            "a reference clock is ahead of the epoch: `{offset}` ns after the boot"
        )));
    }
    let bucket = size_of::<Bucket>() as u64;
    let page = platform::page_size();
    let arena_bytes = arena_bytes(config.max_ids);
    let length =
        layout::length(arena_bytes).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    file.set_len(length)?;
    platform::reserve(file, 0, FRONT)?;

    let mut mapping = Mapping::new(file, arena_bytes)?;
    let front = mapping.front_mut();
    let header = &mut front.header;
    header.magic = MAGIC;
    header.format = FORMAT;
    header.window_seconds = window_seconds;
    let [identity, key @ ..] = random_numbers(config.seed)?;
    header.identity = identity;
    header.key = key;
    header.arena_bytes = arena_bytes;
    header.max_ids = config.max_ids;
    header.cluster = layout::name_bytes(&config.cluster);
    header.state_directory = layout::name_bytes(&config.state_directory);
    header.boot = platform::boot_identity().into();
    let offset = config.clock_offset.unwrap_or_else(|| clock.settled_offset());
    header.clock.0.offset = offset.into();
    header.clock.0.reference = u64::from(config.clock_offset.is_some()).into();
    // As in `Counter::now_window`.
    let window = (clock.now(&header.clock.0) / SECOND / u64::from(window_seconds)).max(1);
    let start = first_step(arena_bytes, FIRST_BUCKETS);
    header.current.0 = CurrentWord::new(window, start, 0).0.into();
    header.sealed_through.0 = (window - 1).into();
    front.arenas[0].state = ArenaState::Claimed { window }.pack().into();
    for (arena, header) in front.arenas.iter_mut().enumerate() {
        // Each arena keeps one page: the next window can be opened even if storage is short, and the old
        // one sealed and its storage given back.
        let step = if arena == 0 { start } else { start.min(SMALLEST) };
        let bytes = (buckets_of_step(step) as u64 * bucket).next_multiple_of(page);
        platform::reserve(file, ARENAS_AT + arena as u64 * arena_bytes, bytes)?;
        header.reserved = bytes.into();
    }
    Ok(())
}

/// Numbers from the system, or from `seed` by `SplitMix64`, whose outputs differ.
fn random_numbers(seed: Option<u64>) -> io::Result<[u64; 4]> {
    let mut numbers = [0; 4];
    for (place, number) in numbers.iter_mut().enumerate() {
        *number = match seed {
            Some(seed) => {
                let step = (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mut mixed = seed.wrapping_add(step);
                mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                mixed ^ mixed >> 31
            }
            None => platform::random()?,
        };
    }
    Ok(numbers)
}

/// The size step for a first extent of about `buckets` buckets that leaves room for one behind it.
pub(crate) fn first_step(arena_bytes: u64, buckets: usize) -> u8 {
    let whole = arena_bytes as usize / size_of::<Bucket>();
    let mut step = step_of_buckets(buckets.max(4));
    while step > 0 && buckets_of_step(step) > (whole * 4 / 5).max(4) {
        step -= 1;
    }
    step
}
