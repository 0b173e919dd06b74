//! The atomics that everything shared is built from: those of `core`, or those of loom.
//!
//! The table, the turn of the window and the entering of an arena are written once. Built with
//! `--cfg loom` the very same code runs under loom's model checker, with small tables. There, a
//! test can also weaken one [`Site`], to show that the model would find the fault.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};

/// A place whose strength a proof depends on. For each there is a model in `tests/loom_*.rs` that
/// fails when it is weakened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Site {
    /// The compare-and-swap that takes an empty slot of the table.
    ClaimSlot = 1,
    /// The compare-and-swap that puts `SEALED` into the first empty slot of a bucket.
    CloseBucket,
    /// The release of that, behind the word of open extents, which says why it was closed.
    MeetClosed,
    /// Closing a bucket before its ids are copied.
    CloseBeforeCopy,
    /// Leaving an extent behind the copies of all its ids.
    LeaveExtent,
    /// The sealed bit in the word of open extents, set before the buckets are passed over.
    FreezeExtents,
    /// Closing the buckets of a table that is being frozen before its ids are read.
    FreezeBeforeRead,
    /// The release of the word of open extents, behind the storage of the extent.
    OpenExtent,
    /// The fence between announcing an arena and looking whether one may stay.
    EnterFence,
    /// Looking whether one may stay after announcing.
    EnterRecheck,
    /// The fence between taking an arena out of use and reading the announcements.
    ReuseFence,
    /// Looking at the state of a half-cleared arena again, once one is alone in it.
    ReuseRecheck,
    /// Taking a sealed arena out of readers' reach before it is zeroed.
    ClearBeforeZero,
    /// Confirming the old arena before the current word moves on.
    ConfirmBeforeMove,
    /// The release of a freed arena, which makes its zeroes visible to whoever claims it.
    FreeArena,
}

/// Whether `site` keeps its strength: always, but for the one that a loom test weakens.
#[cfg(not(loom))]
#[inline(always)]
#[expect(clippy::inline_always, reason = "has to vanish from the insert path")]
#[must_use]
pub const fn strong(_site: Site) -> bool {
    true
}

#[cfg(loom)]
static WEAKENED: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

/// Whether `site` keeps its strength: always, but for the one that a loom test weakens.
#[cfg(loom)]
#[must_use]
pub fn strong(site: Site) -> bool {
    WEAKENED.load(core::sync::atomic::Ordering::Relaxed) != site as u64
}

/// Weakens one site (or none) for all loom models of this process, so one at a time.
#[cfg(loom)]
pub fn weaken(site: Option<Site>) {
    WEAKENED.store(site.map_or(0, |site| site as u64), core::sync::atomic::Ordering::Relaxed);
}

/// `ordering`, or `Relaxed` where `site` is weakened.
#[inline]
#[must_use]
pub fn ordering(site: Site, ordering: Ordering) -> Ordering {
    if strong(site) { ordering } else { Ordering::Relaxed }
}
