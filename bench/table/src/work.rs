//! The measurements: the ids, the timing, the memory.

use std::time::Instant;

use serde_json::{Value, json};

use crate::tables::Table;

/// Ids per batch.
const BATCH: usize = 10_000;

/// How ids are added: one by one, or in batches.
#[derive(Clone, Copy, PartialEq)]
pub enum Handing {
    Single,
    Batch,
}

/// `operations` ids, `distinct` of them different, evenly often and in random order.
pub fn ids(operations: usize, distinct: usize) -> Vec<i64> {
    let mut ids: Vec<i64> = (0..operations).map(|n| scramble((n % distinct) as u64)).collect();
    for last in (1..ids.len()).rev() {
        let other = scramble(last as u64 ^ 0x5eed).cast_unsigned() % (last as u64 + 1);
        ids.swap(last, usize::try_from(other).expect("below the length"));
    }
    ids
}

/// A 64-bit id from a number, one to one (the finalizer of `SplitMix64`).
fn scramble(number: u64) -> i64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).cast_signed()
}

/// Adds `ids` and returns how many were new.
pub fn hand_over<T: Table>(table: &T, handing: Handing, ids: &[i64]) -> u64 {
    match handing {
        Handing::Single => ids.iter().map(|&id| u64::from(table.add(id))).sum(),
        Handing::Batch => ids.chunks(BATCH).map(|chunk| table.add_many(chunk)).sum(),
    }
}

/// Makes an empty table whose memory has been used before.
pub fn resident<T: Table>(ids: &[i64], distinct: usize) -> T {
    let mut table = T::make(Some(distinct));
    for _ in 0..T::FILLS {
        hand_over(&table, Handing::Batch, ids);
        table.empty();
    }
    table
}

/// Returns the time for all `ids`, shared among `threads`, and whether the count was right.
pub fn insert<T: Table>(
    table: &T,
    handing: Handing,
    threads: usize,
    ids: &[i64],
    distinct: usize,
) -> Value {
    let began = Instant::now();
    let (new, cpu) = std::thread::scope(|scope| {
        let share = ids.len().div_ceil(threads);
        let workers: Vec<_> = ids
            .chunks(share)
            .map(|share| scope.spawn(move || timed(|| hand_over(table, handing, share))))
            .collect();
        let results = workers.into_iter().map(|worker| worker.join().expect("no panic in it"));
        results.fold((0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    });
    let seconds = began.elapsed().as_secs_f64();
    json!({
        "seconds": seconds,
        "cpu_seconds": cpu,
        "per_second": ids.len() as f64 / seconds,
        "count": table.count(),
        "right": table.count() == distinct as u64 && new == distinct as u64,
    })
}

/// Returns the result of `work` and the CPU seconds that this thread spent on it.
fn timed<R>(work: impl FnOnce() -> R) -> (R, f64) {
    let before = cpu_seconds();
    let result = work();
    (result, cpu_seconds() - before)
}

/// CPU seconds of this thread so far.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let first = text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok());
    first.expect("nanoseconds on a CPU") / 1e9
}

/// Returns the bytes per id of a table that grew from empty.
pub fn memory<T: Table>(ids: &[i64], distinct: usize) -> Value {
    let before = resident_bytes();
    let table = T::make(None);
    hand_over(&table, Handing::Single, ids);
    let taken = resident_bytes().saturating_sub(before);
    json!({
        "bytes": taken,
        "bytes_per_id": taken as f64 / distinct as f64,
        "count": table.count(),
        "right": table.count() == distinct as u64,
    })
}

/// Resident memory of this process, shared memory included.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 =
        text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4_096
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::bare::Bare;
    use crate::tables::{Locked, Papaya, Scc};

    #[test]
    fn ids_are_as_many_and_as_different_as_asked_for() {
        let ids = ids(1_000, 300);
        assert_eq!(ids.len(), 1_000);
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 300);
    }

    fn counts_right<T: Table>() {
        let ids = ids(40_000, 20_000);
        for handing in [Handing::Single, Handing::Batch] {
            for threads in [1, 2] {
                let table: T = resident(&ids, 20_000);
                assert_eq!(table.count(), 0);
                assert_eq!(insert(&table, handing, threads, &ids, 20_000)["right"], true);
            }
        }
    }

    #[test]
    fn every_table_counts_right() {
        counts_right::<verve_core::Counter>();
        counts_right::<Bare>();
        counts_right::<dashmap::DashSet<i64, foldhash::fast::RandomState>>();
        counts_right::<Papaya>();
        counts_right::<Scc>();
        counts_right::<Locked>();
    }
}
