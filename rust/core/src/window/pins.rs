//! Who is inside which arena.
//!
//! Entering is Dekker's pattern: a newcomer announces the arena, fences, and looks whether he may
//! stay; who wants to clear an arena takes it out of use, fences, and reads all announcements. At
//! least one of the two sees the other.

use crate::sync::{AtomicU32, Ordering, Site, fence, strong};
use crate::window::word::ARENAS;

/// Who is inside which arena, of one process: a cache line of its own, one count an arena.
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

impl Pins {
    /// Announces `arena`; what is read after this decides whether one may stay.
    #[inline]
    pub fn pin(&self, arena: usize) {
        // SeqCst, the step or the fence: pairs with the fence in `alone`. Either the announcement is
        // seen there, or what took the arena out of use is seen here.
        #[cfg(all(target_arch = "x86_64", not(loom)))]
        {
            // A locked step is a full fence there already. `mfence` would be one more, 17 ns, and
            // would keep the loads of one insert from overlapping those of the next.
            self.counts[arena].fetch_add(1, Ordering::SeqCst);
            core::sync::atomic::compiler_fence(Ordering::SeqCst);
        }
        #[cfg(any(not(target_arch = "x86_64"), loom))]
        {
            self.counts[arena].fetch_add(1, Ordering::Relaxed);
            if strong(Site::EnterFence) {
                fence(Ordering::SeqCst);
            }
        }
    }

    /// Leaves `arena`.
    #[inline]
    pub fn leave(&self, arena: usize) {
        // Release: pairs with the Acquire in `count`; what was done inside is done before.
        self.counts[arena].fetch_sub(1, Ordering::Release);
    }

    /// Announces `arena` and stays there if `may_stay` still holds then.
    #[inline]
    pub fn enter_if(&self, arena: usize, may_stay: impl FnOnce() -> bool) -> bool {
        self.pin(arena);
        let stays = !strong(Site::EnterRecheck) || may_stay();
        if !stays {
            self.leave(arena);
        }
        stays
    }

    /// For one who has entered `arena`: leaves it when the answer is dropped, on a panic too.
    #[inline]
    #[must_use]
    pub fn inside(&self, arena: usize) -> Inside<'_> {
        Inside { own: self, arena }
    }

    /// Threads of the process that announce `arena`.
    #[must_use]
    pub fn count(&self, arena: usize) -> u32 {
        // Acquire: pairs with the Release in `leave`.
        self.counts[arena].load(Ordering::Acquire)
    }

    /// Whether the caller, who announces `arena` once here, is alone there: no other thread and no
    /// other live process announces it. `others` says for the other processes whether one of them
    /// does, dead ones left out.
    pub fn alone(&self, arena: usize, others: impl FnOnce() -> bool) -> bool {
        // SeqCst: pairs with the fence in `pin`.
        if strong(Site::ReuseFence) {
            fence(Ordering::SeqCst);
        }
        self.count(arena) == 1 && !others()
    }

    /// Forgets all announcements of a process that is dead; only the holder of its lock may.
    pub fn reap(&self) {
        for count in &self.counts {
            // Release: pairs with the Acquire in `count`, as a `leave` of the dead would.
            count.store(0, Ordering::Release);
        }
    }
}

/// One's being inside of an arena.
#[derive(Debug)]
pub struct Inside<'a> {
    own: &'a Pins,
    arena: usize,
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.own.leave(self.arena);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Pins;

    #[test]
    fn an_arena_is_left_on_a_panic_too() {
        let own = Pins::default();
        for panics in [false, true] {
            let act = || {
                own.pin(3);
                let _inside = own.inside(3);
                assert_eq!(own.count(3), 1);
                assert!(!panics, "a fault");
            };
            assert_eq!(
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_err(),
                panics
            );
            assert_eq!(own.count(3), 0);
        }
    }
}
