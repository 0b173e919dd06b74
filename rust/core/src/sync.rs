//! The atomics that everything shared is built from: those of `core`, of loom or of shuttle.
//!
//! The table, the rollover of the window and the pins are written once. Built with `--cfg loom`, the
//! same code runs under loom's model checker, with small tables. Built with `--cfg shuttle`, it runs
//! in random schedules, which may be far longer, and in which each operation is sequentially
//! consistent. In both, a test can weaken one [`Site`], to show that its model finds the fault. The
//! helpers below are the only places where the code may differ: in other builds, each of them is
//! exactly what its name says.

#[cfg(not(any(loom, shuttle)))]
pub use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(shuttle)]
pub use shuttle::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};

/// A place whose strength a proof depends on. For each there is a model in `tests/loom_*.rs` that
/// fails when the place is weakened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Site {
    /// The compare-and-swap that takes an empty slot of the table.
    ClaimSlot = 1,
    /// The compare-and-swap that puts `CLOSED` into the first empty slot of a bucket.
    CloseBucket,
    /// The release of that, behind the word of open extents, which says why the bucket was closed.
    MeetClosed,
    /// Closing a bucket before its ids are copied.
    CloseBeforeCopy,
    /// Leaving an extent behind the copies of all its ids.
    LeaveExtent,
    /// The frozen bit in the word of open extents, set before the buckets are passed over.
    FreezeExtents,
    /// Closing the buckets of a table that is being frozen before its ids are read.
    FreezeBeforeRead,
    /// The release of the word of open extents, behind the storage of the extent.
    OpenExtent,
    /// The fence between pinning an arena and looking whether the thread may stay.
    EnterFence,
    /// Looking whether the thread may stay after pinning.
    EnterRecheck,
    /// The fence between taking an arena out of use and reading the pins.
    ReuseFence,
    /// Looking at the state of a half-cleared arena again, once the thread is alone in it.
    ReuseRecheck,
    /// Taking a sealed arena out of readers' reach before it is zeroed.
    ClearBeforeZero,
    /// Confirming the old arena before the current word moves on.
    ConfirmBeforeMove,
    /// The release of a freed arena, which makes its zeroes visible to the thread that claims it.
    FreeArena,
}

/// Whether `site` keeps its strength: always, except for the one that a test weakens.
#[cfg(not(any(loom, shuttle)))]
#[inline(always)]
#[expect(clippy::inline_always, reason = "has to vanish from the insert path")]
const fn is_strong(_site: Site) -> bool {
    true
}

#[cfg(any(loom, shuttle))]
static WEAKENED: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

/// Whether `site` keeps its strength: always, except for the one that a test weakens.
#[cfg(any(loom, shuttle))]
fn is_strong(site: Site) -> bool {
    WEAKENED.load(core::sync::atomic::Ordering::Relaxed) != site as u64
}

/// Weakens one site (or none) for all models of this process, so one at a time.
#[cfg(any(loom, shuttle))]
pub fn weaken(site: Option<Site>) {
    WEAKENED.store(site.map_or(0, |site| site as u64), core::sync::atomic::Ordering::Relaxed);
}

/// `strong`. Where `site` is weakened: `weak`.
#[inline]
pub(crate) fn choose<T>(site: Site, strong: T, weak: T) -> T {
    if is_strong(site) { strong } else { weak }
}

/// `ordering`. Where `site` is weakened: `Relaxed`.
#[inline]
pub(crate) fn ordering(site: Site, ordering: Ordering) -> Ordering {
    choose(site, ordering, Ordering::Relaxed)
}

/// A fence that is sequentially consistent. Where `site` is weakened: nothing.
#[inline]
pub(crate) fn fence_at(site: Site) {
    if is_strong(site) {
        fence(Ordering::SeqCst);
    }
}

/// Whether `condition` holds. Where `site` is weakened: true, without a look.
#[inline]
pub(crate) fn check(site: Site, condition: impl FnOnce() -> bool) -> bool {
    !is_strong(site) || condition()
}

/// Does `step`. Where `site` is weakened: nothing.
#[inline]
pub(crate) fn perform<T>(site: Site, step: impl FnOnce() -> T) {
    if is_strong(site) {
        step();
    }
}

/// Where `site` is weakened: does what [`perform`] or [`choose`] has left out before.
#[cfg(any(loom, shuttle))]
pub(crate) fn make_up_for(site: Site, step: impl FnOnce()) {
    if !is_strong(site) {
        step();
    }
}

/// Puts `new` into `word` by a compare-and-swap if `current` is there, and returns whether it was.
/// Where `site` is weakened: by a store, whatever is there.
#[inline]
pub(crate) fn replace(
    site: Site,
    word: &AtomicU64,
    current: u64,
    new: u64,
    success: Ordering,
) -> bool {
    if is_strong(site) {
        return word.compare_exchange(current, new, success, Ordering::Relaxed).is_ok();
    }
    word.store(new, Ordering::Relaxed);
    true
}
