//! A cache line of slots, read as a whole.
//!
//! A comparison slot by slot ends at a slot that no branch predictor foresees, and loads the same
//! line up to eight times before it has arrived. Four vector loads and one branch let the processor
//! load the lines of the next ids meanwhile (measured: a third of the time per insert).

#[cfg(all(target_arch = "x86_64", not(any(loom, shuttle))))]
use core::arch::{
    asm,
    x86_64::{
        __m128i, _mm_cmpeq_epi32, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32,
        _mm_set1_epi64x,
    },
};

use crate::sync::AtomicU64;
#[cfg(any(not(target_arch = "x86_64"), loom, shuttle))]
use crate::sync::Ordering;
use crate::table::bucket::SLOTS_PER_BUCKET;

/// The content of a line while it was read. Each slot is loaded once, in no order, as if relaxed.
#[derive(Clone, Copy, Debug)]
#[cfg(all(target_arch = "x86_64", not(any(loom, shuttle))))]
pub struct Line([core::arch::x86_64::__m128i; 4]);

/// The content of a line while it was read. Each slot is loaded once, in no order, as if relaxed.
#[derive(Clone, Copy, Debug)]
#[cfg(any(not(target_arch = "x86_64"), loom, shuttle))]
pub struct Line([u64; SLOTS_PER_BUCKET]);

#[cfg(all(target_arch = "x86_64", not(any(loom, shuttle))))]
#[expect(unsafe_code, reason = "vector loads of shared memory have no safe form")]
impl Line {
    /// Reads the line.
    #[inline]
    #[must_use]
    pub fn read(slots: &[AtomicU64; SLOTS_PER_BUCKET]) -> Self {
        let (first, second, third, fourth): (__m128i, __m128i, __m128i, __m128i);
        // SAFETY: the slots are 64 bytes, aligned to 16 as part of a `Bucket`, and readable for as
        // long as the reference lives. The loads are in assembly, since other threads write the
        // slots meanwhile: each half of an aligned load is an atomic load of its slot on every
        // x86-64.
        unsafe {
            asm!(
                "movdqa {first}, xmmword ptr [{slots}]",
                "movdqa {second}, xmmword ptr [{slots} + 16]",
                "movdqa {third}, xmmword ptr [{slots} + 32]",
                "movdqa {fourth}, xmmword ptr [{slots} + 48]",
                slots = in(reg) slots.as_ptr(),
                first = out(xmm_reg) first,
                second = out(xmm_reg) second,
                third = out(xmm_reg) third,
                fourth = out(xmm_reg) fourth,
                options(readonly, nostack, preserves_flags),
            );
        }
        Self([first, second, third, fourth])
    }

    /// Whether a slot holds `word`.
    #[inline]
    #[must_use]
    pub fn contains(self, word: u64) -> bool {
        self.equal(word) != 0
    }

    /// Slots before the first that is zero.
    #[inline]
    #[must_use]
    pub fn occupied(self) -> usize {
        // One bit after the last slot, for a line without a zero.
        (self.equal(0) | 1 << (2 * SLOTS_PER_BUCKET)).trailing_zeros() as usize / 2
    }

    /// Two bits per slot, of which the even one is set if the slot is `word`.
    #[inline]
    fn equal(self, word: u64) -> u32 {
        // SAFETY: SSE2 is part of x86-64.
        let halves = unsafe {
            let word = _mm_set1_epi64x(word.cast_signed());
            let [first, second, third, fourth] = self.0.map(|pair| _mm_cmpeq_epi32(pair, word));
            let front = _mm_packs_epi32(first, second);
            let back = _mm_packs_epi32(third, fourth);
            _mm_movemask_epi8(_mm_packs_epi16(front, back)).cast_unsigned()
        };
        halves & (halves >> 1) & 0x5555
    }
}

#[cfg(any(not(target_arch = "x86_64"), loom, shuttle))]
impl Line {
    /// Reads the line.
    #[inline]
    #[must_use]
    pub fn read(slots: &[AtomicU64; SLOTS_PER_BUCKET]) -> Self {
        Self(slots.each_ref().map(|slot| slot.load(Ordering::Relaxed)))
    }

    /// Whether a slot holds `word`.
    #[inline]
    #[must_use]
    pub fn contains(self, word: u64) -> bool {
        self.0.contains(&word)
    }

    /// Slots before the first that is zero.
    #[inline]
    #[must_use]
    pub fn occupied(self) -> usize {
        self.0.iter().take_while(|&&slot| slot != 0).count()
    }
}

/// Prefetches a line.
#[cfg(all(target_arch = "x86_64", not(any(loom, shuttle))))]
#[inline]
#[expect(unsafe_code, reason = "prefetching has no safe form")]
pub fn prefetch(slots: &[AtomicU64; SLOTS_PER_BUCKET]) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch of any address is no access, and SSE is part of x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(slots.as_ptr().cast()) }
}

/// Does nothing: there is no prefetch for this processor.
#[cfg(any(not(target_arch = "x86_64"), loom, shuttle))]
#[inline]
pub fn prefetch(_slots: &[AtomicU64; SLOTS_PER_BUCKET]) {}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::Line;
    use crate::sync::Ordering;
    use crate::table::bucket::{Bucket, SLOTS_PER_BUCKET};
    use proptest::prelude::*;

    /// Words that are equal in one half, or in both.
    fn words() -> impl Strategy<Value = u64> {
        (0_u64..3, 0_u64..3).prop_map(|(high, low)| high << 32 | low)
    }

    proptest! {
        #[test]
        fn a_line_is_what_its_slots_are(
            slots in proptest::collection::vec(prop_oneof![words(), Just(u64::MAX)], SLOTS_PER_BUCKET),
            wanted in words(),
        ) {
            let bucket = Bucket::default();
            for (slot, &word) in bucket.slots().iter().zip(&slots) {
                slot.store(word, Ordering::Relaxed);
            }
            let line = Line::read(bucket.slots());
            prop_assert_eq!(line.contains(wanted), slots.contains(&wanted));
            let occupied = slots.iter().position(|&word| word == 0).unwrap_or(SLOTS_PER_BUCKET);
            prop_assert_eq!(line.occupied(), occupied);
        }
    }
}
