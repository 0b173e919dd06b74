//! The segment as a file: finding, checking and attaching it.
//!
//! Processes make and attach a segment under one lock, on a file beside it. A new segment is made under
//! another name and linked into place when it is whole, so that no process sees half a header.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Unusable};
use crate::platform;
use crate::segment::clock::Clock;
use crate::segment::creation::{build, create, failed_build};
use crate::segment::damage::damage;
use crate::segment::layout::{self, FORMAT, LOCKS_AT, PARTICIPANTS};
use crate::segment::live;
use crate::segment::locks::{AttachLock, Presence};
use crate::segment::mapping::Mapping;
use crate::segment::stored_header::StoredHeader;
use crate::sync::{AtomicU64, Ordering};

/// Longest window: a day.
pub(crate) const LONGEST_WINDOW: u32 = 86_400;
/// Nanoseconds after a shortage of storage after which a process asks again, whatever the file system
/// reports: it does not report every limit.
const RETRY_AFTER: u64 = 10_000_000;
/// Longest time for which a process that ends has left its segment, but not the state directory.
const LONGEST_END: Duration = Duration::from_secs(3);
/// Largest number of ids per window: a tebibyte of address space for all arenas.
pub(crate) const MOST_IDS: u64 = 1 << 31;

/// The settings with which a segment is made, and which a segment to attach must have.
#[derive(Clone, Debug)]
pub struct SegmentConfig {
    /// Length of a window in seconds, 1 to 86,400. `None`: that of an existing segment.
    pub window_seconds: Option<u32>,
    /// Number of ids that a window must be able to hold. [`segment_size`](crate::segment_size) says how
    /// much memory that takes at most. An existing segment keeps the bound with which it was made.
    pub max_ids: u64,
    /// The cluster; empty: none.
    pub cluster: String,
    /// The state directory; empty: none.
    pub state_directory: String,
    /// Nanoseconds that a reference is ahead of boot time: the offset of a new segment, instead of that
    /// of the wall clock. An existing segment keeps its own offset.
    pub clock_offset: Option<i64>,
    /// Determines the random numbers of a new segment: its identity, and the key by which its tables
    /// spread ids. `None`: the system does. An existing segment keeps its own.
    pub seed: Option<u64>,
}

impl Default for SegmentConfig {
    fn default() -> Self {
        Self {
            window_seconds: Some(60),
            max_ids: 100_000_000,
            cluster: String::new(),
            state_directory: String::new(),
            clock_offset: None,
            seed: None,
        }
    }
}

/// A segment's file and mapping.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: File,
    pub(crate) mapping: Mapping,
    /// The file by which processes show that they count for the state directory.
    pub(crate) presence: Option<Presence>,
    /// Until this time of the coarse clock, the process does not ask for storage that was refused...
    pub(crate) short_until: AtomicU64,
    /// ... unless the file system has more than this number of free bytes.
    pub(crate) short_at: AtomicU64,
    /// The error number of the refusal.
    pub(crate) short_by: AtomicU64,
}

impl Segment {
    /// A segment in memory, for this process and the children that it forks.
    pub(crate) fn in_memory(config: &SegmentConfig, clock: &Clock) -> Result<Self, Error> {
        let file = platform::memory_file()
            .map_err(|error| Error::io("a segment in memory cannot be made", "memory", &error))?;
        build(&file, config, clock).map_err(|error| failed_build(error, "memory"))?;
        map(file, "memory")
    }

    /// The segment at `path`, which is made if there is none. `attach` claims a participant slot while the
    /// attach lock is held.
    pub(crate) fn open<T>(
        path: &Path,
        config: &SegmentConfig,
        clock: &Clock,
        attach: impl FnOnce(Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let shown = path.display().to_string();
        if path.file_name().is_none() {
            let error = io::ErrorKind::InvalidInput.into();
            return Err(Error::io("a segment needs the name of a file", &shown, &error));
        }
        let _lock = AttachLock::take(path)?;
        remove_unfinished(path);
        let presence = Presence::open(&config.state_directory);
        let mut found = existing(path, config, presence.as_ref())?;
        if found.is_none() {
            create(path, config, clock).map_err(|error| failed_build(error, &shown))?;
            found = open_existing(path)?;
        }
        let file = found.ok_or_else(|| {
            let error = io::ErrorKind::NotFound.into();
            Error::io("the segment vanished while it was made", &shown, &error)
        })?;
        check(&file, config, &shown)?;
        let segment = Self { presence, ..map(file, &shown)? };
        if let Some(what) = damage(segment.mapping.front()) {
            return Err(Error::Segment {
                reason: Unusable::Format,
                alive: is_alive(&segment.file),
                message: format!(
                    "the segment is damaged, {what}: `{shown}`; hint: stop all that use it, and remove it"
                ),
            });
        }
        follow_boot(&segment, config, clock);
        attach(segment)
    }
}

impl Segment {
    /// Whether a request for storage would most likely fail: one failed a moment ago, and the file system
    /// has no more free bytes than then.
    pub(crate) fn is_short(&self) -> bool {
        // Relaxed, here and below: only this process uses these words.
        platform::coarse_nanoseconds() < self.short_until.load(Ordering::Relaxed)
            && platform::free_storage(&self.file).unwrap_or(0)
                <= self.short_at.load(Ordering::Relaxed)
    }

    /// The error number with which storage was last refused.
    pub(crate) fn shortage(&self) -> i32 {
        self.short_by.load(Ordering::Relaxed) as i32
    }

    /// Notes that storage was refused with error `number`.
    pub(crate) fn note_shortage(&self, number: i32) {
        self.short_by.store(number as u64, Ordering::Relaxed);
        let free = platform::free_storage(&self.file).unwrap_or(0);
        self.short_at.store(free, Ordering::Relaxed);
        let until = platform::coarse_nanoseconds() + RETRY_AFTER;
        self.short_until.store(until, Ordering::Relaxed);
    }
}

/// Whether a live process counts in the segment, or keeps it.
pub(crate) fn is_alive(file: &File) -> bool {
    platform::locked_by_another(file, LOCKS_AT, PARTICIPANTS as u64 + 1).unwrap_or(true)
}

/// The segment that live processes use, whether or not it still has its name. Otherwise the file at
/// `path`.
///
/// Fails if processes count for the state directory in a segment that cannot be reached: a second segment
/// would split their windows.
fn existing(
    path: &Path,
    config: &SegmentConfig,
    presence: Option<&Presence>,
) -> Result<Option<File>, Error> {
    let deadline = Instant::now() + LONGEST_END;
    loop {
        let found = open_existing(path)?;
        if found.as_ref().is_some_and(is_alive) {
            return Ok(found);
        }
        if let Some(file) = live::find(path, &config.state_directory) {
            return Ok(Some(file));
        }
        if !presence.is_some_and(Presence::is_held) {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(Error::Segment {
                reason: Unusable::Busy,
                alive: true,
                message: format!(
                    "processes count for this state directory in another segment than `{}`, and it \
                     cannot be reached from here; hint: end all of them, then start again",
                    path.display()
                ),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes the file of a process that was killed while it made a segment. The caller has the attach lock.
pub(crate) fn remove_unfinished(path: &Path) {
    let unfinished = with_suffix(path, ".new");
    let _ = fs::remove_file(unfinished);
}

pub(crate) fn open_existing(path: &Path) -> Result<Option<File>, Error> {
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
            Err(unusable(Unusable::Kind, format!("the segment is a symbolic link: `{shown}`")))
        }
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            Err(unusable(Unusable::Kind, format!("the segment is a directory: `{shown}`")))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(unusable(
            Unusable::Owner,
            format!(
                "the segment may not be opened: {error}: `{shown}`; hint: see who owns it, and the \
                 directory that it is in"
            ),
        )),
        Err(error) => Err(Error::io("the segment cannot be opened", &shown, &error)),
    }
}

fn unusable(reason: Unusable, message: String) -> Error {
    Error::Segment { reason, alive: false, message }
}

pub(crate) fn check_owner(file: &File, shown: &str) -> Result<(), Error> {
    let metadata =
        file.metadata().map_err(|error| Error::io("the file cannot be examined", shown, &error))?;
    if !metadata.is_file() {
        return Err(unusable(Unusable::Kind, format!("this is no regular file: `{shown}`")));
    }
    let (owner, user) = (metadata.uid(), platform::effective_user());
    if owner != user {
        return Err(unusable(
            Unusable::Owner,
            format!(
                "the file belongs to user {owner}, this process acts as {user}: `{shown}`; hint: \
                 run as its owner, or choose another `VERVE_SEGMENT`"
            ),
        ));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(unusable(
            Unusable::Mode,
            format!("others may read or write the file: `{shown}`; hint: `chmod 600` it"),
        ));
    }
    Ok(())
}

pub(crate) fn read_header(file: &File, shown: &str) -> Result<StoredHeader, Error> {
    let header = StoredHeader::read(file)
        .map_err(|error| Error::io("the segment cannot be read", shown, &error))?;
    header.ok_or_else(|| Error::Segment {
        reason: Unusable::Format,
        alive: is_alive(file),
        message: format!(
            "this is no segment of Verve: `{shown}`; hint: choose another `VERVE_SEGMENT`"
        ),
    })
}

fn check(file: &File, config: &SegmentConfig, shown: &str) -> Result<(), Error> {
    let header = read_header(file, shown)?;
    let fail =
        |reason, message: String| Err(Error::Segment { reason, alive: is_alive(file), message });
    if header.format != FORMAT {
        return fail(
            Unusable::Format,
            format!(
                "the segment has format {}, this version writes {FORMAT}: `{shown}`; hint: \
                 restart, do not reload",
                header.format
            ),
        );
    }
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    if !(1..=LONGEST_WINDOW).contains(&header.window_seconds)
        || layout::length(header.arena_bytes) != Some(length)
    {
        return fail(Unusable::Format, format!("the segment is damaged: `{shown}`"));
    }
    let settings = [
        (
            "window",
            config.window_seconds.map(|seconds| seconds.to_string()),
            header.window_seconds.to_string(),
        ),
        ("cluster", Some(config.cluster.clone()), header.cluster),
        ("state directory", Some(config.state_directory.clone()), header.state_directory),
    ];
    for (name, wanted, found) in settings {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return fail(
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
    let mapping = Mapping::new(&file, header.arena_bytes)
        .map_err(|error| Error::io("the segment cannot be mapped", shown, &error))?;
    Ok(Segment {
        file,
        mapping,
        presence: None,
        short_until: AtomicU64::new(0),
        short_at: AtomicU64::new(0),
        short_by: AtomicU64::new(0),
    })
}

/// Sets the clock's offset anew after a boot: a segment on a disk survives a boot, the boot clock does
/// not.
fn follow_boot(segment: &Segment, config: &SegmentConfig, clock: &Clock) {
    let header = &segment.mapping.front().header;
    let boot = platform::boot_identity();
    // Relaxed: under the attach lock.
    if header.boot.swap(boot, Ordering::Relaxed) != boot {
        let words = &header.clock.0;
        let offset = config.clock_offset.unwrap_or_else(|| clock.settled_offset());
        words.offset.store(offset, Ordering::Relaxed);
        words.reference.store(config.clock_offset.is_some().into(), Ordering::Relaxed);
    }
}
