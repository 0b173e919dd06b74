//! Forks of this process: how many there were, and the descriptors that a child must not keep.
//!
//! A child inherits the open files of its parent, and with them the locks that say that the parent
//! lives. So a fork handler closes these files in the child before the child does anything else.

#![expect(unsafe_code, reason = "fork handlers, and descriptors that they close")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use crate::platform;

/// Forks that led to this process since the first [`open_watched`].
static FORKS: AtomicU64 = AtomicU64::new(0);
/// Set while a watched descriptor is opened or closed, and during a fork: a child must never inherit
/// one that it does not know of.
static BUSY: AtomicBool = AtomicBool::new(false);
/// Descriptors that a forked child must not keep, since they hold the parent's locks. Changed only
/// while [`BUSY`] is set.
static WATCHED: Descriptors = Descriptors::none();

/// A list of descriptors that only grows, so that it can be read between fork and exec.
struct Descriptors {
    places: [AtomicI32; 64],
    further: OnceLock<Box<Descriptors>>,
}

impl Descriptors {
    const fn none() -> Self {
        Self { places: [const { AtomicI32::new(-1) }; 64], further: OnceLock::new() }
    }

    fn all(&self) -> impl Iterator<Item = &AtomicI32> {
        std::iter::successors(Some(self), |list| list.further.get().map(Box::as_ref))
            .flat_map(|list| &list.places)
    }

    fn insert(&self, descriptor: RawFd) {
        // Relaxed, here and below: `BUSY` orders all changes.
        match self.places.iter().find(|place| place.load(Ordering::Relaxed) == -1) {
            Some(place) => place.store(descriptor, Ordering::Relaxed),
            None => self.further.get_or_init(|| Box::new(Self::none())).insert(descriptor),
        }
    }

    fn remove(&self, descriptor: RawFd) {
        if let Some(place) = self.all().find(|place| place.load(Ordering::Relaxed) == descriptor) {
            place.store(-1, Ordering::Relaxed);
        }
    }
}

/// How many forks led from the first [`open_watched`] to this process.
#[inline]
#[must_use]
pub fn count() -> u64 {
    // Relaxed: written before any other thread of the child exists.
    FORKS.load(Ordering::Relaxed)
}

fn set_busy() {
    // Acquire: pairs with the Release in `clear_busy`.
    while BUSY.swap(true, Ordering::Acquire) {
        std::thread::yield_now();
    }
}

fn clear_busy() {
    // Release: pairs with the Acquire in `set_busy`.
    BUSY.store(false, Ordering::Release);
}

extern "C" fn before_fork() {
    set_busy();
}

extern "C" fn in_parent() {
    clear_busy();
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    for place in WATCHED.all() {
        let descriptor = place.swap(-1, Ordering::Relaxed);
        if descriptor != -1 {
            // SAFETY: the child's copy of a watched descriptor. Its owner sees that it is in a child,
            // and neither uses nor closes it. `close` may be called after a fork.
            unsafe { libc::close(descriptor) };
        }
    }
    clear_busy();
}

fn watch() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: plain functions that allocate nothing and touch only the statics above. No thread
        // that forks holds the lock that they hold during the fork.
        unsafe { libc::pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child)) };
    });
}

/// Opens the file of `file` again. [`close_watched`] closes it, and in a forked child the fork
/// handler does.
pub fn open_watched(file: &File) -> io::Result<File> {
    watch();
    set_busy();
    let opened = platform::open_again(file);
    if let Ok(file) = &opened {
        WATCHED.insert(file.as_raw_fd());
    }
    clear_busy();
    opened
}

/// Closes what [`open_watched`] opened in this process.
pub fn close_watched(file: File) {
    set_busy();
    WATCHED.remove(file.as_raw_fd());
    drop(file);
    clear_busy();
}
