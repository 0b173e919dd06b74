//! The ids that are sent: streams that can be repeated from a seed and a base.

use std::str::FromStr;

use crate::zipf::Zipf;

/// Ids in the fixed set of `duplicates` and `mixed` when no size is given.
const FIXED_SET: u64 = 10_000;

/// What a stream draws, as written on the command line.
#[derive(Clone, Debug, PartialEq)]
pub enum Stream {
    /// `distinct`: base, base + 1, base + 2, ...
    Distinct,
    /// `duplicates[:N]`: N ids, again and again.
    Duplicates { size: u64 },
    /// `mixed:D/N[:SIZE]`: D parts from a fixed set, N parts never sent before.
    Mixed { old: u64, new: u64, size: u64 },
    /// `uniform:N`: any of N ids.
    Uniform { size: u64 },
    /// `zipf:N:S`: N ids, the k-th most frequent with weight `k^-S`.
    Zipf { size: u64, exponent: f64 },
    /// `same:N`: every connection sends the same N ids in the same order; a new block of N at
    /// each boundary.
    Same { size: u64 },
}

impl FromStr for Stream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let stream = match parts.as_slice() {
            ["distinct"] => Some(Self::Distinct),
            ["duplicates"] => Some(Self::Duplicates { size: FIXED_SET }),
            ["duplicates", size] => count(size).map(|size| Self::Duplicates { size }),
            ["mixed", shares] => mixed(shares, FIXED_SET),
            ["mixed", shares, size] => count(size).and_then(|size| mixed(shares, size)),
            ["uniform", size] => count(size).map(|size| Self::Uniform { size }),
            ["zipf", size, exponent] => zipf(size, exponent),
            ["same", size] => count(size).map(|size| Self::Same { size }),
            _ => None,
        };
        stream.ok_or_else(|| {
            format!(
                "no such id stream: `{text}`\nhint: distinct, duplicates[:N], mixed:90/10[:N], \
                 uniform:N, zipf:N:S or same:N"
            )
        })
    }
}

fn count(text: &str) -> Option<u64> {
    text.parse().ok().filter(|n| (1..=1 << 32).contains(n))
}

fn mixed(shares: &str, size: u64) -> Option<Stream> {
    let (old, new) = shares.split_once('/')?;
    let (old, new) = (count(old)?, count(new)?);
    Some(Stream::Mixed { old, new, size })
}

fn zipf(size: &str, exponent: &str) -> Option<Stream> {
    let size = count(size)?;
    let exponent = exponent.parse().ok().filter(|s| (0.01..=10.0).contains(s))?;
    Some(Stream::Zipf { size, exponent })
}

/// The position of one connection in a `same` stream.
#[derive(Default)]
pub struct Cursor {
    block: u64,
    position: u64,
}

/// The generator of a stream, shared by all connections of a run.
pub struct Ids {
    stream: Stream,
    base: i64,
    random: fastrand::Rng,
    zipf: Option<Zipf>,
    turn: u64,
    fresh: u64,
    drawn: Drawn,
}

impl Ids {
    pub fn new(stream: Stream, base: i64, seed: u64) -> Self {
        let zipf = match stream {
            Stream::Zipf { size, exponent } => Some(Zipf::new(size, exponent)),
            _ => None,
        };
        Self {
            stream,
            base,
            random: fastrand::Rng::with_seed(seed),
            zipf,
            turn: 0,
            fresh: 0,
            drawn: Drawn::default(),
        }
    }

    /// The next id for the connection at `cursor`; `block` numbers the boundary that it is sent
    /// near, 0 when the run is not bound to boundaries.
    pub fn next(&mut self, cursor: &mut Cursor, block: u64) -> i64 {
        let offset = match self.stream {
            Stream::Distinct => self.fresh(),
            Stream::Duplicates { size } => {
                self.turn += 1;
                self.bounded((self.turn - 1) % size)
            }
            Stream::Mixed { old, new, size } => {
                if self.random.u64(0..old + new) < old {
                    let offset = self.random.u64(0..size);
                    self.bounded(offset)
                } else {
                    size + self.fresh()
                }
            }
            Stream::Uniform { size } => {
                let offset = self.random.u64(0..size);
                self.bounded(offset)
            }
            Stream::Zipf { size, .. } => {
                let rank = self.zipf.as_ref().map(|z| z.sample(&mut self.random));
                self.bounded(rank.unwrap_or(size) - 1)
            }
            Stream::Same { size } => {
                if cursor.block != block {
                    *cursor = Cursor { block, position: 0 };
                }
                cursor.position += 1;
                self.bounded(block * size + (cursor.position - 1) % size)
            }
        };
        self.base.wrapping_add(offset as i64)
    }

    /// How many distinct ids have been drawn so far.
    pub fn distinct(&self) -> u64 {
        self.fresh + self.drawn.count
    }

    fn fresh(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh - 1
    }

    fn bounded(&mut self, offset: u64) -> u64 {
        self.drawn.note(offset);
        offset
    }
}

/// One bit per offset of a bounded stream, set once it was drawn.
#[derive(Default)]
struct Drawn {
    bits: Vec<u64>,
    count: u64,
}

impl Drawn {
    fn note(&mut self, offset: u64) {
        let word = (offset / 64) as usize;
        if word >= self.bits.len() {
            self.bits.resize((word + 1).next_power_of_two(), 0);
        }
        let bit = 1 << (offset % 64);
        self.count += u64::from(self.bits[word] & bit == 0);
        self.bits[word] |= bit;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn draw(text: &str, base: i64, seed: u64, count: usize) -> (Vec<i64>, u64) {
        let mut ids = Ids::new(text.parse().unwrap(), base, seed);
        let mut cursor = Cursor::default();
        let drawn = (0..count).map(|_| ids.next(&mut cursor, 0)).collect();
        (drawn, ids.distinct())
    }

    #[test]
    fn every_stream_says_how_many_distinct_ids_it_drew() {
        for text in
            ["distinct", "duplicates:70", "mixed:90/10", "uniform:500", "zipf:999:1.1", "same:9"]
        {
            let (drawn, distinct) = draw(text, -5, 3, 4_000);
            let set: HashSet<i64> = drawn.into_iter().collect();
            assert_eq!(set.len() as u64, distinct, "{text}");
        }
    }

    #[test]
    fn a_seed_repeats_its_stream() {
        for text in ["mixed:90/10", "uniform:1000000", "zipf:1000000:1.0"] {
            assert_eq!(draw(text, 0, 1, 100), draw(text, 0, 1, 100));
            assert_ne!(draw(text, 0, 1, 100), draw(text, 0, 2, 100));
        }
    }

    #[test]
    fn distinct_goes_on_from_the_base_and_past_the_largest_id() {
        assert_eq!(draw("distinct", 7, 0, 3).0, [7, 8, 9]);
        assert_eq!(draw("distinct", i64::MAX, 0, 2).0, [i64::MAX, i64::MIN]);
    }

    #[test]
    fn mixed_keeps_its_shares() {
        let (drawn, _) = draw("mixed:90/10:100", 0, 5, 20_000);
        let old = drawn.iter().filter(|id| **id < 100).count();
        assert!((17_700..18_300).contains(&old), "{old}");
    }

    #[test]
    fn same_gives_each_connection_the_same_ids_and_a_new_block_at_a_boundary() {
        let mut ids = Ids::new(Stream::Same { size: 3 }, 100, 0);
        let (mut one, mut two) = (Cursor::default(), Cursor::default());
        let mut take = |cursor: &mut Cursor, block, count: usize| -> Vec<i64> {
            (0..count).map(|_| ids.next(cursor, block)).collect()
        };
        assert_eq!(take(&mut one, 0, 4), [100, 101, 102, 100]);
        assert_eq!(take(&mut two, 0, 2), [100, 101]);
        assert_eq!(take(&mut two, 1, 4), [103, 104, 105, 103]);
        assert_eq!(take(&mut one, 1, 1), [103]);
    }

    #[test]
    fn nonsense_is_refused_with_a_hint() {
        for text in
            ["", "distinct:1", "uniform", "uniform:0", "zipf:5", "zipf:5:0", "mixed:90", "same:x"]
        {
            let message = text.parse::<Stream>().unwrap_err();
            assert!(message.contains("hint:"), "{message}");
        }
    }
}
