//! The locks of a segment: the one for attaching, and those that show which processes are alive.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Unusable};
use crate::segment::attachment::{Segment, check_owner, with_suffix};
use crate::segment::layout::{LOCKS_AT, PARTICIPANTS};
use crate::{forks, platform};

/// Longest wait for another process that attaches.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);

/// The byte that processes lock in the presence file; not that of [`AttachLock`].
const PRESENCE: u64 = 1;

/// The lock under which a segment is made and attached.
#[derive(Debug)]
pub(crate) struct AttachLock(File);

impl AttachLock {
    /// Opens and locks `<path>.lock`. The wait is bounded: a process that was stopped while it attached
    /// must not block all others for ever.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        let path = with_suffix(path, ".lock");
        let shown = path.display().to_string();
        let failed =
            |error: io::Error| Error::io("the attach lock cannot be taken", &shown, &error);
        let deadline = Instant::now() + ATTACH_TIMEOUT;
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
                let lock = Self(file);
                let ours = lock.0.metadata().map_err(failed)?;
                // The file may have been removed before it was locked.
                if fs::symlink_metadata(&path)
                    .is_ok_and(|now| (now.dev(), now.ino()) == (ours.dev(), ours.ino()))
                {
                    return Ok(lock);
                }
            }
            if Instant::now() >= deadline {
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
}

impl Drop for AttachLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that was forked meanwhile has the same open file.
        let _ = platform::unlock(&self.0, 0, 1);
    }
}

/// An open file that is used for locks only, so that neither the mapping nor a forked child keeps them.
#[derive(Debug)]
struct LockFile {
    /// Open until the drop in the process that opened it. In its children the descriptor is closed
    /// from the start, and may be another file's.
    file: Option<File>,
    forks: u64,
}

impl LockFile {
    /// Another open file on the same file as `file`.
    fn new(file: &File) -> io::Result<Self> {
        Ok(Self { file: Some(forks::open_watched(file)?), forks: forks::count() })
    }

    /// Whether this process is the one that opened it, and not a child of it.
    #[inline]
    fn is_ours(&self) -> bool {
        self.forks == forks::count()
    }

    fn file(&self) -> &File {
        self.file.as_ref().expect("open until the drop")
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        if self.is_ours() {
            // For copies of the open file in processes that were made without `fork`.
            let _ = platform::unlock(&file, 0, 0);
            forks::close_watched(file);
        } else {
            let _ = file.into_raw_fd();
        }
    }
}

/// The locks that show that the owner of a participant slot is alive.
#[derive(Debug)]
pub(crate) struct Locks {
    slots: LockFile,
    /// Its lock shows that a process counts for the state directory.
    _presence: Option<LockFile>,
}

impl Locks {
    pub(crate) fn new(segment: &Segment) -> io::Result<Self> {
        let presence = segment.presence.as_ref().and_then(Presence::join);
        Ok(Self { slots: LockFile::new(&segment.file)?, _presence: presence })
    }

    /// Whether this process is the one that opened the locks, and not a child of it.
    #[inline]
    pub(crate) fn are_ours(&self) -> bool {
        self.slots.is_ours()
    }

    /// Takes the lock of `slot`. Returns false if another process has it.
    pub(crate) fn try_lock(&self, slot: usize) -> io::Result<bool> {
        platform::try_lock_byte(self.slots.file(), LOCKS_AT + slot as u64)
    }

    pub(crate) fn unlock(&self, slot: usize) {
        let _ = platform::unlock(self.slots.file(), LOCKS_AT + slot as u64, 1);
    }

    /// Whether another live process has `slot`. The caller must not have it.
    pub(crate) fn is_taken(&self, slot: usize) -> bool {
        platform::locked_by_another(self.slots.file(), LOCKS_AT + slot as u64, 1).unwrap_or(true)
    }
}

/// The file in the state directory that shows whether processes count for it: each of them holds a shared
/// lock. It reveals a segment that has lost its name and cannot be found.
#[derive(Debug)]
pub(crate) struct Presence(File);

impl Presence {
    /// `None` without a state directory, or if the file cannot be made.
    pub(crate) fn open(state_directory: &str) -> Option<Self> {
        let directory = Path::new(state_directory);
        if !directory.is_absolute() || !directory.is_dir() {
            return None;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        options.open(directory.join("presence.lock")).ok().map(Self)
    }

    /// Whether a live process counts for the state directory.
    pub(crate) fn is_held(&self) -> bool {
        platform::locked_by_another(&self.0, PRESENCE, 1).unwrap_or(false)
    }

    fn join(&self) -> Option<LockFile> {
        let file = LockFile::new(&self.0).ok()?;
        platform::share_byte(file.file(), PRESENCE).ok()?;
        Some(file)
    }
}

/// Keeps a segment reachable while no process counts in it, also without its name. One process at a time
/// does so. It takes no participant slot and maps nothing.
#[derive(Debug)]
pub struct Keeper {
    _file: LockFile,
}

impl Keeper {
    /// `None` if another process keeps the segment.
    pub(crate) fn new(segment: &Segment) -> io::Result<Option<Self>> {
        let file = LockFile::new(&segment.file)?;
        let taken = platform::try_lock_byte(file.file(), LOCKS_AT + PARTICIPANTS as u64)?;
        Ok(taken.then_some(Self { _file: file }))
    }
}
