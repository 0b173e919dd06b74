//! Zipf's law over 1..=n by rejection-inversion (Hörmann and Derflinger, 1996): no table, about one
//! draw of the uniform generator a sample, any exponent above 0.

/// A distribution in which rank k has a weight of `k^-exponent`.
pub struct Zipf {
    ranks: f64,
    exponent: f64,
    area_at_first: f64,
    area_at_last: f64,
    squeeze: f64,
}

impl Zipf {
    pub fn new(ranks: u64, exponent: f64) -> Self {
        let ranks = ranks as f64;
        let mut zipf =
            Self { ranks, exponent, area_at_first: 0.0, area_at_last: 0.0, squeeze: 0.0 };
        zipf.area_at_first = zipf.area(1.5) - 1.0;
        zipf.area_at_last = zipf.area(ranks + 0.5);
        zipf.squeeze = 2.0 - zipf.area_inverse(zipf.area(2.5) - zipf.weight(2.0));
        zipf
    }

    /// A rank between 1 and n.
    pub fn sample(&self, random: &mut fastrand::Rng) -> u64 {
        loop {
            let area = self.area_at_last + random.f64() * (self.area_at_first - self.area_at_last);
            let point = self.area_inverse(area);
            let rank = point.round().clamp(1.0, self.ranks);
            if rank - point <= self.squeeze || area >= self.area(rank + 0.5) - self.weight(rank) {
                return rank as u64;
            }
        }
    }

    fn weight(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of the weight from 1 to x.
    fn area(&self, x: f64) -> f64 {
        let log = x.ln();
        expm1_over((1.0 - self.exponent) * log) * log
    }

    fn area_inverse(&self, area: f64) -> f64 {
        // Rounding may carry the argument past the pole at -1.
        let t = (area * (1.0 - self.exponent)).max(-1.0);
        (log1p_over(t) * area).exp()
    }
}

/// `(e^x - 1) / x`, also near 0, where the exponent is 1.
fn expm1_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x * 0.5 }
}

/// `ln(1 + x) / x`, also near 0.
fn log1p_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x * 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_follow_the_law() {
        const DRAWS: u64 = 400_000;
        for exponent in [0.8, 1.0, 1.3] {
            let zipf = Zipf::new(50, exponent);
            let mut random = fastrand::Rng::with_seed(7);
            let mut seen = [0_u64; 51];
            for _ in 0..DRAWS {
                seen[zipf.sample(&mut random) as usize] += 1;
            }
            let total: f64 = (1..=50).map(|k| f64::from(k).powf(-exponent)).sum();
            for rank in [1_u32, 2, 3, 10, 50] {
                let expected = DRAWS as f64 * f64::from(rank).powf(-exponent) / total;
                let off = seen[rank as usize] as f64 - expected;
                // Five standard deviations of a binomial count.
                assert!(
                    off.abs() < 5.0 * expected.sqrt(),
                    "rank {rank} at {exponent}: {off} off {expected}"
                );
            }
        }
    }

    #[test]
    fn one_rank_is_always_drawn() {
        let zipf = Zipf::new(1, 1.1);
        assert_eq!(zipf.sample(&mut fastrand::Rng::with_seed(1)), 1);
    }
}
