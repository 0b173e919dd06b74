//! The whole time that the caller waits for a seal.

use std::time::Instant;

use serde_json::{Value, json};
use verve_core::Counter;

use crate::tables::{Table, keep_up};
use crate::work::{Handing, hand_over, ids};

const REPEATS: usize = 5;

/// Milliseconds to seal a window of `distinct` ids, each time from the write to the record.
pub fn measure(distinct: usize) -> Value {
    let ids = ids(distinct, distinct);
    let counter = <Counter as Table>::make(None);
    let mut times = Vec::new();
    let mut right = true;
    // The first windows are still growing into their size.
    for round in 0..REPEATS + 2 {
        hand_over(&counter, Handing::Batch, &ids);
        let began = Instant::now();
        let record = counter.seal().expect("an arena for the next window");
        let elapsed = began.elapsed();
        right &= record.unique == distinct as u64;
        if round >= 2 {
            times.push(elapsed.as_secs_f64() * 1e3);
        }
        keep_up(&counter);
    }
    times.sort_by(f64::total_cmp);
    json!({ "milliseconds": times[REPEATS / 2], "all": times, "count": distinct, "right": right })
}
