//! A log-linear histogram of nanoseconds: 128 buckets for each power of two, so that a quantile is
//! off by less than 0.8 % at any scale.

use serde_json::{Value, json};

const SUB_BITS: u32 = 7;
const SUB: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB;

/// Counts of durations, in nanoseconds.
#[derive(Clone)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self { buckets: vec![0; BUCKETS].into_boxed_slice(), count: 0, sum: 0, max: 0 }
    }

    pub fn record(&mut self, nanoseconds: u64) {
        self.buckets[bucket_of(nanoseconds)] += 1;
        self.count += 1;
        self.sum += u128::from(nanoseconds);
        self.max = self.max.max(nanoseconds);
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// The value below or at which `share` (0 to 1) of the durations lie; 0 when there are none.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = ((share * self.count as f64).ceil() as u64).max(1);
        let mut passed = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            passed += count;
            if passed >= rank {
                return highest_in(index).min(self.max);
            }
        }
        self.max
    }

    /// Mean, quantiles and maximum in microseconds.
    pub fn summary(&self) -> Value {
        let micro = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        let mean = self.sum as f64 / (self.count.max(1) as f64);
        json!({
            "count": self.count,
            "mean": (mean / 1e3 * 1e3).round() / 1e3,
            "p50": micro(self.quantile(0.5)),
            "p90": micro(self.quantile(0.9)),
            "p99": micro(self.quantile(0.99)),
            "p99.9": micro(self.quantile(0.999)),
            "max": micro(self.max),
        })
    }

    /// The buckets in use as pairs of the highest value in nanoseconds and the count, for plots.
    pub fn pairs(&self) -> Value {
        let used = self.buckets.iter().enumerate().filter(|(_, n)| **n > 0);
        used.map(|(index, n)| json!([highest_in(index), n])).collect()
    }
}

fn bucket_of(value: u64) -> usize {
    let shift = (value | 1).ilog2().saturating_sub(SUB_BITS);
    ((shift as usize) << SUB_BITS) + (value >> shift) as usize
}

fn highest_in(index: usize) -> u64 {
    let shift = (index >> SUB_BITS).saturating_sub(1);
    let sub = (index - (shift << SUB_BITS)) as u64;
    // Two steps: the end of the last bucket is 2^64.
    (sub << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_hold_their_values() {
        let mut value = 0_u64;
        for index in 0..BUCKETS {
            assert_eq!(bucket_of(value), index);
            assert_eq!(bucket_of(highest_in(index)), index);
            value = highest_in(index).wrapping_add(1);
        }
        assert_eq!(value, 0, "the last bucket ends at the largest value");
    }

    #[test]
    fn quantiles_are_within_a_percent() {
        let mut histogram = Histogram::new();
        for microseconds in 1..=100_000_u64 {
            histogram.record(microseconds * 1_000);
        }
        for (share, exact) in [(0.5, 50_000e3), (0.99, 99_000e3), (0.999, 99_900e3)] {
            let off = histogram.quantile(share) as f64 / exact - 1.0;
            assert!(off.abs() < 0.01, "{share}: off by {off}");
        }
        assert_eq!(histogram.quantile(1.0), 100_000_000);
    }

    #[test]
    fn an_empty_one_is_all_zero_and_merging_adds() {
        let mut all = Histogram::new();
        assert_eq!(all.quantile(0.99), 0);
        let mut part = Histogram::new();
        part.record(7);
        part.record(9);
        all.merge(&part);
        all.merge(&part);
        assert_eq!((all.count, all.max, all.quantile(0.5)), (4, 9, 7));
    }
}
