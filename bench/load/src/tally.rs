//! The sums of a run.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::histogram::Histogram;
use crate::wire::Fault;

pub struct Tally {
    /// Requests that were sent, whatever their answers.
    pub requests: u64,
    /// Requests answered as expected.
    pub ok: u64,
    /// Ids in them.
    pub ids: u64,
    /// Answers with another status than 200.
    pub refused: BTreeMap<u16, u64>,
    /// Requests without a good answer, and connections that could not be made.
    pub faults: BTreeMap<Fault, u64>,
    pub reconnects: u64,
    /// Requests of the open loop that were never sent, since the server was too far behind.
    pub unsent: u64,
    /// Acknowledged ids and new ones among them, by the window that the answers name.
    pub windows: BTreeMap<i64, (u64, u64)>,
    /// Latencies of requests that were due near a boundary, and of the others.
    pub near: Histogram,
    pub away: Histogram,
    /// How late the generator itself was with requests of the open loop.
    pub pacing: Histogram,
    /// The time of the last answer.
    pub last: u64,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            requests: 0,
            ok: 0,
            ids: 0,
            refused: BTreeMap::new(),
            faults: BTreeMap::new(),
            reconnects: 0,
            unsent: 0,
            windows: BTreeMap::new(),
            near: Histogram::new(),
            away: Histogram::new(),
            pacing: Histogram::new(),
            last: 0,
        }
    }

    pub fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub fn window(&mut self, start: i64, ids: u64, new: u64) {
        let entry = self.windows.entry(start).or_default();
        entry.0 += ids;
        entry.1 += new;
    }

    pub fn failures(&self) -> u64 {
        self.refused.values().sum::<u64>() + self.faults.values().sum::<u64>() + self.unsent
    }

    /// The result as one JSON object.
    pub fn report(&self, distinct: u64, buckets: bool) -> Value {
        let mut latency = self.near.clone();
        latency.merge(&self.away);
        let seconds = self.last as f64 / 1e9;
        let per_second = |n: u64| if self.last == 0 { 0.0 } else { n as f64 / seconds };
        let refused: Map<String, Value> =
            (self.refused.iter()).map(|(status, n)| (status.to_string(), json!(n))).collect();
        let faults: Map<String, Value> =
            (self.faults.iter()).map(|(fault, n)| (fault.name().to_owned(), json!(n))).collect();
        let windows: Value = (self.windows.iter())
            .map(|(start, (ids, new))| json!({"window_start": start, "ok": ids, "new": new}))
            .collect();
        let mut report = json!({
            "requests": self.requests,
            "ok": self.ok,
            "ids": self.ids,
            "distinct": distinct,
            "new": self.windows.values().map(|window| window.1).sum::<u64>(),
            "failed": refused,
            "errors": faults,
            "unsent": self.unsent,
            "reconnects": self.reconnects,
            "seconds": seconds,
            "rate": per_second(self.ok),
            "ids_rate": per_second(self.ids),
            "latency_us": latency.summary(),
            "near_us": self.near.summary(),
            "away_us": self.away.summary(),
            "pacing_us": self.pacing.summary(),
            "windows": windows,
        });
        if buckets {
            report["latency_buckets_ns"] = latency.pairs();
            report["near_buckets_ns"] = self.near.pairs();
            report["away_buckets_ns"] = self.away.pairs();
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_went_wrong_is_a_failure() {
        let mut tally = Tally::new();
        tally.ok = 10;
        assert_eq!(tally.failures(), 0);
        tally.fault(Fault::Closed);
        tally.refused.insert(503, 2);
        tally.unsent = 4;
        assert_eq!(tally.failures(), 7);
    }

    #[test]
    fn the_report_splits_and_adds_up() {
        let mut tally = Tally::new();
        tally.near.record(1_000);
        tally.away.record(3_000);
        tally.window(60, 2, 1);
        tally.window(60, 1, 1);
        (tally.ok, tally.ids, tally.last) = (3, 3, 1_500_000_000);
        let report = tally.report(2, true);
        assert_eq!(report["latency_us"]["count"], 2);
        assert_eq!(report["near_us"]["max"], 1.0);
        assert_eq!(report["rate"], 2.0);
        assert_eq!(report["windows"][0], json!({"window_start": 60, "ok": 3, "new": 2}));
        assert_eq!(report["latency_buckets_ns"].as_array().unwrap().len(), 2);
    }
}
