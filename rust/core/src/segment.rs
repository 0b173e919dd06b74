//! The segment as a file: made, found, checked, attached.
//!
//! Making and attaching happen under one lock on a file beside it. A new segment is built under
//! another name and linked into place when it is whole, so nobody meets half a header.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock::{Clock, SECOND};
use crate::error::{Error, Unusable};
use crate::layout::{self, FORMAT, FRONT, Header, LOCKS_AT, MAGIC, NAME, SLOTS};
use crate::mapping::{self, Mapping};
use crate::platform;
use crate::primitive::Ordering;
use crate::table::Bucket;
use crate::window::{ARENAS, State, Word, buckets_of_step, step_of_buckets};

/// Buckets of the first extent of a segment's first window: 65,536 ids' slots, 512 KiB.
pub(crate) const FIRST_BUCKETS: usize = 8_192;
/// How long to wait for another process to be done with attaching.
const ATTACH_PATIENCE: Duration = Duration::from_secs(5);
/// Longest window: a day.
const LONGEST_WINDOW: u32 = 86_400;
/// Most ids that a window may be meant for: a tebibyte of address space for all arenas.
const MOST_IDS: u64 = 1 << 31;

/// What a segment is made with, and what it must have been made with to be attached.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Length of a window in seconds, 1 to 86,400; `None`: whatever an existing segment has.
    pub window_seconds: Option<u32>,
    /// Ids that a window is meant to hold at the most. Memory is bounded to 26 bytes for each of
    /// them; an existing segment keeps the bound that it was made with.
    pub max_ids: u64,
    /// The cluster, or nothing.
    pub cluster: String,
    /// The state directory, or nothing.
    pub state_directory: String,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            window_seconds: Some(60),
            max_ids: 100_000_000,
            cluster: String::new(),
            state_directory: String::new(),
        }
    }
}

/// What the header of a segment says.
#[derive(Clone, Debug)]
pub struct Description {
    /// Number of its format; of another than [`FORMAT`] only this and `alive` are known.
    pub format: u32,
    /// Length of a window in seconds.
    pub window_seconds: u32,
    /// The segment's random identity.
    pub identity: u64,
    /// The cluster.
    pub cluster: String,
    /// The state directory.
    pub state_directory: String,
    /// Whether a live process is attached.
    pub alive: bool,
}

/// A segment's file and mapping.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: File,
    pub(crate) mapping: Mapping,
}

impl Segment {
    /// A segment in memory, for this process and the children that it forks.
    pub(crate) fn in_memory(identity: &Identity, clock: &Clock) -> Result<Self, Error> {
        let file = platform::memory_file()
            .map_err(|error| Error::io("a segment in memory cannot be made", "memory", &error))?;
        build(&file, identity, clock).map_err(|error| failed_build(error, "memory"))?;
        map(file, "memory")
    }

    /// The segment at `path`, made if there is none; the caller gets to claim a writer slot while
    /// the attach lock is held.
    pub(crate) fn open<T>(
        path: &Path,
        identity: &Identity,
        clock: &Clock,
        attach: impl FnOnce(Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let shown = path.display().to_string();
        let _lock = attach_lock(path)?;
        remove_unfinished(path);
        let file = match open_existing(path)? {
            Some(file) => file,
            None => {
                create(path, identity, clock).map_err(|error| failed_build(error, &shown))?;
                open_existing(path)?.ok_or_else(|| {
                    let error = io::ErrorKind::NotFound.into();
                    Error::io("the segment vanished while it was made", &shown, &error)
                })?
            }
        };
        check(&file, identity, &shown)?;
        let segment = map(file, &shown)?;
        follow_boot(&segment, clock);
        attach(segment)
    }
}

/// Reads what the segment at `path` is, without attaching.
pub fn describe(path: &Path) -> Result<Description, Error> {
    let shown = path.display().to_string();
    let file = open_existing(path)?.ok_or_else(|| {
        Error::io("there is no segment", &shown, &io::ErrorKind::NotFound.into())
    })?;
    let header = read_header(&file, &shown)?;
    let alive = is_alive(&file);
    if header.format != FORMAT {
        return Ok(Description {
            format: header.format,
            window_seconds: 0,
            identity: 0,
            cluster: String::new(),
            state_directory: String::new(),
            alive,
        });
    }
    Ok(Description {
        format: header.format,
        window_seconds: header.window_seconds,
        identity: header.identity,
        cluster: layout::name_text(&header.cluster),
        state_directory: layout::name_text(&header.state_directory),
        alive,
    })
}

fn is_alive(file: &File) -> bool {
    platform::locked_by_another(file, LOCKS_AT, SLOTS as u64).unwrap_or(true)
}

/// Opens and locks `<path>.lock`, with a bound: a process that was stopped while it attached must
/// not stop all others for ever.
fn attach_lock(path: &Path) -> Result<File, Error> {
    let path = with_suffix(path, ".lock");
    let shown = path.display().to_string();
    let failed = |error: io::Error| Error::io("the attach lock cannot be opened", &shown, &error);
    let deadline = Instant::now() + ATTACH_PATIENCE;
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(failed)?;
        check_owner(&file, &shown)?;
        if platform::try_lock_byte(&file, 0).map_err(failed)? {
            let ours = file.metadata().map_err(failed)?;
            // The file may have been removed between the opening and the lock.
            if fs::metadata(&path).is_ok_and(|now| (now.dev(), now.ino()) == (ours.dev(), ours.ino()))
            {
                return Ok(file);
            }
        } else if Instant::now() >= deadline {
            return Err(Error::Segment {
                reason: Unusable::Busy,
                alive: true,
                message: format!(
                    "another process has been attaching for 5 s: `{shown}`; hint: look for a \
                     stopped process"
                ),
            });
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes what a process left that was killed while it built; called under the attach lock.
fn remove_unfinished(path: &Path) {
    let unfinished = with_suffix(path, ".new");
    let _ = fs::remove_file(unfinished);
}

fn open_existing(path: &Path) -> Result<Option<File>, Error> {
    let shown = path.display().to_string();
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    match opened {
        Ok(file) => {
            check_owner(&file, &shown)?;
            Ok(Some(file))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            Err(refusal(Unusable::Kind, format!("the segment is a symbolic link: `{shown}`")))
        }
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            Err(refusal(Unusable::Kind, format!("the segment is a directory: `{shown}`")))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(refusal(
            Unusable::Owner,
            format!("the segment may not be opened: `{shown}`; hint: it belongs to another user"),
        )),
        Err(error) => Err(Error::io("the segment cannot be opened", &shown, &error)),
    }
}

fn refusal(reason: Unusable, message: String) -> Error {
    Error::Segment { reason, alive: false, message }
}

fn check_owner(file: &File, shown: &str) -> Result<(), Error> {
    let metadata =
        file.metadata().map_err(|error| Error::io("the file cannot be examined", shown, &error))?;
    if !metadata.is_file() {
        return Err(refusal(Unusable::Kind, format!("this is no regular file: `{shown}`")));
    }
    let (owner, user) = (metadata.uid(), platform::effective_user());
    if owner != user {
        return Err(refusal(
            Unusable::Owner,
            format!(
                "the file belongs to user {owner}, this process acts as {user}: `{shown}`; hint: \
                 run as its owner, or choose another `VERVE_SEGMENT`"
            ),
        ));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(refusal(
            Unusable::Mode,
            format!("others may read or write the file: `{shown}`; hint: `chmod 600` it"),
        ));
    }
    Ok(())
}

fn read_header(file: &File, shown: &str) -> Result<Header, Error> {
    let mut bytes = vec![0; size_of::<Header>()];
    let length = file
        .read_at(&mut bytes, 0)
        .map_err(|error| Error::io("the segment cannot be read", shown, &error))?;
    mapping::header_of(&bytes[..length]).filter(|header| header.magic == MAGIC).ok_or_else(|| Error::Segment {
        reason: Unusable::Format,
        alive: is_alive(file),
        message: format!(
            "this is no segment of Verve: `{shown}`; hint: choose another `VERVE_SEGMENT`"
        ),
    })
}

fn check(file: &File, identity: &Identity, shown: &str) -> Result<(), Error> {
    let header = read_header(file, shown)?;
    let refuse = |reason, message: String| {
        Err(Error::Segment { reason, alive: is_alive(file), message })
    };
    if header.format != FORMAT {
        return refuse(
            Unusable::Format,
            format!(
                "the segment has format {}, this version writes {FORMAT}: `{shown}`; hint: \
                 restart, do not reload",
                header.format
            ),
        );
    }
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    if length != layout::length(header.arena_bytes) {
        return refuse(Unusable::Format, format!("the segment has a wrong length: `{shown}`"));
    }
    let settings = [
        (
            "window",
            identity.window_seconds.map(|seconds| seconds.to_string()),
            header.window_seconds.to_string(),
        ),
        ("cluster", Some(identity.cluster.clone()), layout::name_text(&header.cluster)),
        (
            "state directory",
            Some(identity.state_directory.clone()),
            layout::name_text(&header.state_directory),
        ),
    ];
    for (name, wanted, found) in settings {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return refuse(
                Unusable::Mismatch,
                format!(
                    "the segment was made for the {name} `{found}`, not `{wanted}`: `{shown}`; \
                     hint: restart, do not reload"
                ),
            );
        }
    }
    Ok(())
}

fn map(file: File, shown: &str) -> Result<Segment, Error> {
    let header = read_header(&file, shown)?;
    let mapping = Mapping::new(&file, layout::length(header.arena_bytes), header.arena_bytes)
        .map_err(|error| Error::io("the segment cannot be mapped", shown, &error))?;
    Ok(Segment { file, mapping })
}

/// A segment on a disk outlives a boot, the boot clock does not.
fn follow_boot(segment: &Segment, clock: &Clock) {
    let header = &segment.mapping.front().header;
    let boot = platform::boot_identity();
    // Relaxed: under the attach lock.
    if header.boot.swap(boot, Ordering::Relaxed) != boot {
        if let Some(offset) = clock.offset() {
            header.clock.0.offset.store(offset, Ordering::Relaxed);
        }
    }
}

fn create(path: &Path, identity: &Identity, clock: &Clock) -> Result<(), BuildError> {
    let unfinished = with_suffix(path, ".new");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&unfinished)?;
    let built = build(&file, identity, clock)
        .and_then(|()| fs::hard_link(&unfinished, path).map_err(BuildError::Io));
    let removed = fs::remove_file(&unfinished);
    built?;
    Ok(removed?)
}

enum BuildError {
    Io(io::Error),
    Setting(String),
}

impl From<io::Error> for BuildError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn failed_build(error: BuildError, shown: &str) -> Error {
    match error {
        BuildError::Setting(message) => Error::Setting { message },
        BuildError::Io(error) if error.raw_os_error() == Some(libc::ENOSPC) => Error::Space,
        BuildError::Io(error) => Error::io("the segment cannot be made", shown, &error),
    }
}

fn build(mut file: &File, identity: &Identity, clock: &Clock) -> Result<(), BuildError> {
    let window_seconds = identity.window_seconds.unwrap_or(60);
    if !(1..=LONGEST_WINDOW).contains(&window_seconds) {
        return Err(BuildError::Setting(format!(
            "a window has 1 to 86,400 seconds: `{window_seconds}`"
        )));
    }
    if !(1..=MOST_IDS).contains(&identity.max_ids) {
        return Err(BuildError::Setting(format!(
            "a window may be made for 1 to {MOST_IDS} ids: `{}`",
            identity.max_ids
        )));
    }
    for name in [&identity.cluster, &identity.state_directory] {
        if name.len() > NAME - 2 {
            return Err(BuildError::Setting(format!(
                "a name is longer than {} bytes: `{name}`",
                NAME - 2
            )));
        }
    }
    // 3.25 slots an id: a first extent of up to 2.5 slots an id, and one more behind it.
    let bucket = size_of::<Bucket>() as u64;
    let buckets = (identity.max_ids * 13 / 4).div_ceil(8).max(8);
    let arena_bytes = (buckets * bucket).next_multiple_of(4096);
    file.set_len(layout::length(arena_bytes))?;
    platform::reserve(file, 0, FRONT)?;

    let mut front = mapping::zeroed_front();
    let header = &mut front.header;
    header.magic = MAGIC;
    header.format = FORMAT;
    header.window_seconds = window_seconds;
    header.identity = platform::random()?;
    header.key = [platform::random()?, platform::random()?, platform::random()?];
    header.arena_bytes = arena_bytes;
    header.max_ids = identity.max_ids;
    header.cluster = layout::name_bytes(&identity.cluster);
    header.state_directory = layout::name_bytes(&identity.state_directory);
    header.boot = platform::boot_identity().into();
    let offset = loop {
        if let Some(offset) = clock.offset() {
            break offset;
        }
    };
    header.clock.0.offset = offset.into();
    let window = clock.now(&header.clock.0) / SECOND / u64::from(window_seconds);
    let start = first_step(arena_bytes, FIRST_BUCKETS);
    header.current.0 = Word::new(window, start, 0).0.into();
    header.published.0 = (window - 1).into();
    let bytes = buckets_of_step(start) as u64 * bucket;
    platform::reserve(file, layout::ARENAS_AT, bytes)?;
    front.arenas[0].state = State::Tentative { window }.pack().into();
    front.arenas[0].reserved = bytes.into();
    debug_assert_eq!(front.arenas.len(), ARENAS);
    file.write_all(mapping::bytes_of(&front))?;
    Ok(())
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

/// The lock that says that a writer slot's owner lives: an open file of its own, so that neither
/// the mapping nor a forked child keeps it.
#[derive(Debug)]
pub(crate) struct Locks {
    file: std::mem::ManuallyDrop<File>,
    forks: u64,
}

impl Locks {
    pub(crate) fn new(segment: &Segment) -> io::Result<Self> {
        let file = platform::open_again(&segment.file)?;
        platform::watch_forks(file.as_raw_fd());
        Ok(Self { file: std::mem::ManuallyDrop::new(file), forks: platform::forks() })
    }

    /// Whether this process is the one that opened the locks, and not a child of it.
    #[inline]
    pub(crate) fn are_ours(&self) -> bool {
        self.forks == platform::forks()
    }

    pub(crate) fn try_lock(&self, slot: usize) -> bool {
        platform::try_lock_byte(&self.file, LOCKS_AT + slot as u64).unwrap_or(false)
    }

    pub(crate) fn unlock(&self, slot: usize) {
        let _ = platform::unlock_byte(&self.file, LOCKS_AT + slot as u64);
    }

    /// Whether a live process has `slot`; not to be asked of one's own.
    pub(crate) fn is_taken(&self, slot: usize) -> bool {
        platform::locked_by_another(&self.file, LOCKS_AT + slot as u64, 1).unwrap_or(true)
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        if self.are_ours() {
            platform::forget_lock(self.file.as_raw_fd());
            platform::close(&mut self.file);
        }
    }
}
