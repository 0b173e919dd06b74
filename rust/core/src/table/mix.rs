//! A keyed, invertible 64-bit mix: a slot holds the whole id, in an order that no caller can
//! foresee.
//!
//! Multiplications by odd numbers and xor-shifts are bijections of the 64-bit words (the
//! finalizer of `MurmurHash3` is built the same way). Two of the multipliers come from the
//! segment's random key, so ids cannot be crafted to pile up in one bucket.

/// The fixed multiplier of the middle round, from `MurmurHash3`'s 64-bit finalizer.
const MIDDLE: u64 = 0xff51_afd7_ed55_8ccd;

/// The mix of one segment.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    mask: u64,
    first: u64,
    last: u64,
    first_inverse: u64,
    middle_inverse: u64,
    last_inverse: u64,
}

impl Mix {
    /// The mix under a random `key`.
    #[must_use]
    pub fn new(key: [u64; 3]) -> Self {
        let (first, last) = (key[1] | 1, key[2] | 1);
        Self {
            mask: key[0],
            first,
            last,
            first_inverse: inverse(first),
            middle_inverse: inverse(MIDDLE),
            last_inverse: inverse(last),
        }
    }

    /// The word that stands for `id` in the table.
    #[inline]
    #[must_use]
    pub fn forward(&self, id: i64) -> u64 {
        let mut word = (id as u64 ^ self.mask).wrapping_mul(self.first);
        word ^= word >> 32;
        word = word.wrapping_mul(MIDDLE);
        word ^= word >> 29;
        word = word.wrapping_mul(self.last);
        word ^ (word >> 32)
    }

    /// The id that `word` stands for: `backward(forward(id)) == id`.
    #[inline]
    #[must_use]
    pub fn backward(&self, mut word: u64) -> i64 {
        word ^= word >> 32;
        word = word.wrapping_mul(self.last_inverse);
        word ^= (word >> 29) ^ (word >> 58);
        word = word.wrapping_mul(self.middle_inverse);
        word ^= word >> 32;
        (word.wrapping_mul(self.first_inverse) ^ self.mask) as i64
    }
}

/// The inverse of an odd number modulo 2^64, by Newton's iteration: each step doubles the bits.
fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    for _ in 0..5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::Mix;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn backward_undoes_forward(id: i64, key: [u64; 3]) {
            let mix = Mix::new(key);
            prop_assert_eq!(mix.backward(mix.forward(id)), id);
        }
    }

    #[test]
    fn consecutive_ids_spread_over_the_high_bits() {
        let mix = Mix::new([3, 5, 7]);
        let mut seen = [0_u32; 256];
        for id in 0..25_600 {
            seen[(mix.forward(id) >> 56) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (50..200).contains(&n)), "{seen:?}");
    }
}
