//! The locks of a segment: the one for attaching, and those that say which processes live.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Unusable};
use crate::layout::{LOCKS_AT, SLOTS};
use crate::platform;
use crate::segment::{Segment, check_owner, with_suffix};

/// How long to wait for another process to be done with attaching.
const ATTACH_PATIENCE: Duration = Duration::from_secs(5);

/// The lock under which a segment is made and attached.
#[derive(Debug)]
pub(crate) struct AttachLock(File);

impl AttachLock {
    /// Opens and locks `<path>.lock`, with a bound: a process that was stopped while it attached
    /// must not stop all others for ever.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        let path = with_suffix(path, ".lock");
        let shown = path.display().to_string();
        let failed =
            |error: io::Error| Error::io("the attach lock cannot be opened", &shown, &error);
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
                let lock = Self(file);
                let ours = lock.0.metadata().map_err(failed)?;
                // The file may have been removed between the opening and the lock.
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
        // Closing is not enough where a child was forked meanwhile, which has the same open file.
        let _ = platform::unlock(&self.0, 0, 1);
    }
}

/// The lock that says that a writer slot's owner lives: an open file of its own, so that neither
/// the mapping nor a forked child keeps it.
#[derive(Debug)]
pub(crate) struct Locks {
    /// Open until the drop in the process that opened it; closed in its children from the start.
    file: ManuallyDrop<File>,
    forks: u64,
}

impl Locks {
    pub(crate) fn new(segment: &Segment) -> io::Result<Self> {
        Ok(Self { file: platform::open_watched(&segment.file)?, forks: platform::forks() })
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
        let _ = platform::unlock(&self.file, LOCKS_AT + slot as u64, 1);
    }

    /// Whether a live process has `slot`; not to be asked of one's own.
    pub(crate) fn is_taken(&self, slot: usize) -> bool {
        platform::locked_by_another(&self.file, LOCKS_AT + slot as u64, 1).unwrap_or(true)
    }
}

impl Drop for Locks {
    #[expect(unsafe_code, reason = "closing a file that a forked child must not close again")]
    fn drop(&mut self) {
        if self.are_ours() {
            // Also for copies of the open file in processes that came about without `fork`.
            let _ = platform::unlock(&self.file, LOCKS_AT, SLOTS as u64);
            // SAFETY: this is the process that opened it, and the drop comes once, at the end.
            unsafe { platform::close_watched(&mut self.file) };
        }
    }
}
