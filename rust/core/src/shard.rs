//! Shards: the sets of a store over which the ids of a window are spread, in the same way on all hosts.

/// Shards of a window.
pub const SHARDS: usize = 16;

/// Ids of one window and one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Start of the window, seconds since the epoch.
    pub window_start: u64,
    /// The shard.
    pub shard: usize,
    /// The ids, each of that shard.
    pub ids: Vec<i64>,
}

/// The shard of `id`: the highest bits of a fixed mix, since all hosts and versions must agree.
///
/// The mix is the finalizer of `SplitMix64` (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014). It has no key: crafted ids may crowd one shard, which is slower, but exact.
#[inline]
#[must_use]
pub fn shard_of(id: i64) -> usize {
    let mut word = id as u64;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^= word >> 31;
    (word >> (64 - SHARDS.ilog2())) as usize
}

/// Ids of one window, by shard.
#[derive(Debug)]
pub(crate) struct IdsByShard {
    window_start: u64,
    shards: [Vec<i64>; SHARDS],
}

impl IdsByShard {
    pub(crate) fn new(window_start: u64) -> Self {
        Self { window_start, shards: Default::default() }
    }

    pub(crate) fn window_start(&self) -> u64 {
        self.window_start
    }

    #[inline]
    pub(crate) fn push(&mut self, id: i64) {
        self.shards[shard_of(id)].push(id);
    }

    /// The shards that have ids, in ascending order.
    pub(crate) fn groups(self) -> impl Iterator<Item = Group> {
        let window_start = self.window_start;
        self.shards
            .into_iter()
            .enumerate()
            .filter(|(_, ids)| !ids.is_empty())
            .map(move |(shard, ids)| Group { window_start, shard, ids })
    }
}

#[cfg(test)]
mod tests {
    use super::{IdsByShard, SHARDS, shard_of};

    #[test]
    fn the_shards_of_known_ids_do_not_change() {
        let ids = [0, 1, 2, 3, 7, -1, i64::MIN, i64::MAX, 1_795_000_020];
        assert_eq!(ids.map(shard_of), [0, 5, 13, 1, 1, 11, 2, 5, 11]);
    }

    #[test]
    fn ids_are_spread_evenly() {
        for step in [1, 1 << 20, -1] {
            let mut counts = [0_u32; SHARDS];
            (0..16_000).for_each(|number| counts[shard_of(number * step)] += 1);
            assert!(counts.iter().all(|count| count.abs_diff(1_000) < 150), "{counts:?}");
        }
    }

    #[test]
    fn groups_have_the_ids_of_their_shard_in_order() {
        let mut sorted = IdsByShard::new(60);
        (0..1_000).for_each(|id| sorted.push(id));
        let groups: Vec<_> = sorted.groups().collect();
        assert_eq!(groups.iter().map(|group| group.ids.len()).sum::<usize>(), 1_000);
        assert!(groups.is_sorted_by_key(|group| group.shard));
        for group in groups {
            assert_eq!(group.window_start, 60);
            assert!(group.ids.is_sorted());
            assert!(group.ids.iter().all(|&id| shard_of(id) == group.shard));
        }
    }
}
