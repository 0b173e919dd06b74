//! The pins: which process is inside which arena.
//!
//! Entering is Dekker's pattern. A newcomer pins the arena, fences, and looks whether it may stay. A
//! process that wants to clear an arena takes the arena out of use, fences, and reads all pins. At
//! least one of the two sees the other.

use crate::sync::{AtomicU32, Ordering, Site, check, fence_at};
use crate::window::word::ARENAS;

/// The pins of one process: one count per arena, in a cache line of their pins.
///
/// While a count of a live process is not zero, the arena is not zeroed or reused.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Pins {
    counts: [AtomicU32; ARENAS],
}

impl Default for Pins {
    fn default() -> Self {
        Self { counts: core::array::from_fn(|_| AtomicU32::new(0)) }
    }
}

/// A thread is inside of an arena until this is dropped, on a panic too.
#[derive(Debug)]
#[must_use = "the arena is left when the guard is dropped"]
pub struct Pinned<'a> {
    pins: &'a Pins,
    arena: usize,
}

impl Pinned<'_> {
    /// Keeps the arena pinned beyond the guard, until [`Pins::unpin`].
    pub fn hold(self) {
        core::mem::forget(self);
    }
}

impl Drop for Pinned<'_> {
    #[inline]
    fn drop(&mut self) {
        self.pins.unpin(self.arena);
    }
}

impl Pins {
    /// Pins `arena`. Whether the caller may stay is decided by what it reads after this.
    #[inline]
    pub fn pin(&self, arena: usize) -> Pinned<'_> {
        // SeqCst, the step or the fence: pairs with the fence in `is_alone`. Either the pin is seen
        // there, or what took the arena out of use is seen here.
        #[cfg(all(target_arch = "x86_64", not(any(loom, shuttle))))]
        {
            // A locked step is a full fence there already. `mfence` would be one more, 17 ns, and
            // would keep the loads of one insert from overlapping those of the next.
            self.counts[arena].fetch_add(1, Ordering::SeqCst);
            core::sync::atomic::compiler_fence(Ordering::SeqCst);
        }
        #[cfg(any(not(target_arch = "x86_64"), loom, shuttle))]
        {
            self.counts[arena].fetch_add(1, Ordering::Relaxed);
            fence_at(Site::EnterFence);
        }
        Pinned { pins: self, arena }
    }

    /// Pins `arena` and stays there if `may_stay` still holds then.
    #[inline]
    pub fn pin_if(&self, arena: usize, may_stay: impl FnOnce() -> bool) -> Option<Pinned<'_>> {
        let pinned = self.pin(arena);
        check(Site::EnterRecheck, may_stay).then_some(pinned)
    }

    /// Gives one pin of `arena` back: that of a guard, or one that [`Pinned::hold`] kept.
    #[inline]
    pub fn unpin(&self, arena: usize) {
        // Release: pairs with the Acquire in `count`; what was done inside is done before.
        self.counts[arena].fetch_sub(1, Ordering::Release);
    }

    /// The pins of `arena` by threads of the process.
    #[must_use]
    pub fn count(&self, arena: usize) -> u32 {
        // Acquire: pairs with the Release in `unpin`.
        self.counts[arena].load(Ordering::Acquire)
    }

    /// Whether the caller, which has pinned `arena` once, is alone there: no other thread of this
    /// process and no other live process has pinned it. `others` says whether another process has,
    /// dead ones left out.
    pub fn is_alone(&self, arena: usize, others: impl FnOnce() -> bool) -> bool {
        // SeqCst: pairs with the fence in `pin`.
        fence_at(Site::ReuseFence);
        self.count(arena) == 1 && !others()
    }

    /// Removes all pins of a process that is dead. Only the holder of its lock may call this.
    pub fn reap(&self) {
        for count in &self.counts {
            // Release: pairs with the Acquire in `count`, as an `unpin` of the dead process would.
            count.store(0, Ordering::Release);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::Pins;

    #[test]
    fn an_arena_is_left_on_a_panic_too() {
        let pins = Pins::default();
        for panics in [false, true] {
            let act = || {
                let _pinned = pins.pin(3);
                assert_eq!(pins.count(3), 1);
                assert!(!panics, "a fault");
            };
            assert_eq!(
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_err(),
                panics
            );
            assert_eq!(pins.count(3), 0);
        }
    }

    #[test]
    fn a_dead_process_is_in_no_arena() {
        let (dead, own) = (Pins::default(), Pins::default());
        dead.pin(3).hold();
        dead.pin(15).hold();
        let _pinned = own.pin(3);
        assert!(!own.is_alone(3, || dead.count(3) != 0));
        dead.reap();
        assert_eq!([dead.count(3), dead.count(15)], [0, 0]);
        assert!(own.is_alone(3, || dead.count(3) != 0));
    }
}
