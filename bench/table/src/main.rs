//! `verve-table`: one measurement of one table, printed as a JSON object.
//!
//! ```text
//! verve-table TABLE OPERATION [THREADS [DISTINCT]]
//!   TABLE       verve bare dashset papaya scc mutex
//!   OPERATION   single batch              into a table whose memory was used before
//!               growing growing-batch     into an empty table, page faults included
//!               memory                    bytes per id
//!               seal                      milliseconds to close a window (verve)
//!               processes                 batch, by THREADS processes on one segment (verve)
//! ```
//!
//! Twice as many operations as distinct ids (5,000,000), each id twice, in random order.

mod bare;
mod processes;
mod sealing;
mod tables;
mod work;

use std::process::ExitCode;

use dashmap::DashSet;
use foldhash::fast::RandomState;
use serde_json::Value;
use verve_core::Counter;

use bare::Bare;
use tables::{Locked, Papaya, Scc, Table};
use work::Handing;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [table, operation, rest @ ..] = arguments.as_slice() else {
        return usage();
    };
    if operation == "worker" {
        processes::work(rest);
        return ExitCode::SUCCESS;
    }
    let number = |index: usize, default: usize| {
        rest.get(index).map_or(Some(default), |text| text.parse().ok()).filter(|n| *n > 0)
    };
    let (Some(threads), Some(distinct)) = (number(0, 1), number(1, 5_000_000)) else {
        return usage();
    };
    let result = match (table.as_str(), operation.as_str()) {
        ("verve", "seal") => Some(sealing::measure(distinct)),
        ("verve", "processes") => {
            Some(processes::measure(threads, Handing::Batch, 2 * distinct, distinct))
        }
        ("verve", _) => measure::<Counter>(operation, threads, distinct),
        // It cannot grow.
        ("bare", "single" | "batch") => measure::<Bare>(operation, threads, distinct),
        ("dashset", _) => measure::<DashSet<i64, RandomState>>(operation, threads, distinct),
        ("papaya", _) => measure::<Papaya>(operation, threads, distinct),
        ("scc", _) => measure::<Scc>(operation, threads, distinct),
        ("mutex", _) => measure::<Locked>(operation, threads, distinct),
        _ => None,
    };
    let Some(mut result) = result else { return usage() };
    result["table"] = table.as_str().into();
    result["operation"] = operation.as_str().into();
    result["threads"] = threads.into();
    result["distinct"] = distinct.into();
    println!("{result}");
    if result["right"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure<T: Table>(operation: &str, threads: usize, distinct: usize) -> Option<Value> {
    let ids = work::ids(2 * distinct, distinct);
    let insert = |table: &T, handing| work::insert(table, handing, threads, &ids, distinct);
    match operation {
        "single" => Some(insert(&work::resident(&ids, distinct), Handing::Single)),
        "batch" => Some(insert(&work::resident(&ids, distinct), Handing::Batch)),
        "growing" => Some(insert(&T::make(None), Handing::Single)),
        "growing-batch" => Some(insert(&T::make(None), Handing::Batch)),
        "memory" => Some(work::memory::<T>(&ids, distinct)),
        _ => None,
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: verve-table TABLE OPERATION [THREADS [DISTINCT]]; see src/main.rs");
    ExitCode::from(2)
}
