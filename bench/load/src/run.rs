//! A run from the first connection to the result.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinSet, spawn_local};

use crate::clock::Clock;
use crate::idle::Idle;
use crate::ids::Ids;
use crate::options::Options;
use crate::records::Records;
use crate::request::Template;
use crate::schedule::Schedule;
use crate::tally::Tally;
use crate::wire::{Fault, Wire, pause_after};
use crate::worker::Worker;

/// The state that the connections of a run share, all on one thread.
pub struct Run {
    pub options: Options,
    pub template: Template,
    pub clock: Clock,
    pub schedule: Schedule,
    pub ids: RefCell<Ids>,
    pub tally: RefCell<Tally>,
    pub records: RefCell<Records>,
    /// The server stayed away for too long.
    pub gave_up: Cell<bool>,
}

/// The result of a run, and whether it is free of faults.
pub struct Outcome {
    pub report: Value,
    pub clean: bool,
    pub gave_up: bool,
}

/// Runs the load that `options` describe. Call it within a `LocalSet`.
pub async fn drive(options: Options) -> Result<Outcome, String> {
    // Connections are made before the clock starts: they are not measured.
    let wires = connect_all(&options).await?;
    let idle = Idle::open(options.target, options.idle)?;
    let clock = Clock::start(options.window, options.near);
    let out = options.out.as_deref();
    let records = Records::create(out, &clock, options.window.as_secs())
        .map_err(|error| unwritable(&options, &error))?;
    let run = Rc::new(Run {
        template: Template::new(&options),
        schedule: Schedule::new(&options, &clock),
        ids: RefCell::new(Ids::new(options.stream.clone(), options.base, options.seed)),
        tally: RefCell::new(Tally::new()),
        records: RefCell::new(records),
        gave_up: Cell::new(false),
        options,
        clock,
    });
    let cpu_before = cpu_seconds();
    let mut workers = JoinSet::new();
    for (number, wire) in (0..).zip(wires) {
        workers.spawn_local(Worker::new(Rc::clone(&run), number, wire).work());
    }
    let shared = Rc::clone(&run);
    let pacer = spawn_local(async move {
        let workers = shared.options.connections;
        shared.schedule.pace(&shared.clock, &shared.tally, workers).await;
    });
    let signals = spawn_local(stop_on_signal(Rc::clone(&run)));
    let progress = spawn_local(show_progress(Rc::clone(&run)));
    while let Some(worker) = workers.join_next().await {
        worker.map_err(|error| format!("a connection's task ended early: `{error}`"))?;
    }
    for task in [pacer, signals, progress] {
        task.abort();
    }
    let cpu = cpu_seconds() - cpu_before;
    for _ in 0..idle.ended() {
        run.tally.borrow_mut().fault(Fault::Idle);
    }
    finish(&run, cpu)
}

fn finish(run: &Run, cpu: f64) -> Result<Outcome, String> {
    let mut tally = run.tally.borrow_mut();
    tally.unsent = run.schedule.unsent();
    let clock = &run.clock;
    let records =
        Records::create(None, clock, 1).and_then(|none| run.records.replace(none).finish());
    records.map_err(|error| unwritable(&run.options, &error))?;
    let mut report = tally.report(run.ids.borrow().distinct(), run.options.histogram);
    report["cpu_seconds"] = cpu.into();
    report["connections"] = run.options.connections.into();
    report["idle"] = run.options.idle.into();
    report["gave_up"] = run.gave_up.get().into();
    report["started_at"] = (clock.wall_at_start() as f64 / 1e9).into();
    Ok(Outcome { report, clean: tally.failures() == 0, gave_up: run.gave_up.get() })
}

async fn connect_all(options: &Options) -> Result<Vec<Wire>, String> {
    let deadline = tokio::time::Instant::now() + options.wait;
    let mut wires = Vec::new();
    while wires.len() < options.connections as usize {
        match Wire::open(options.target, options.timeout).await {
            Ok(wire) => {
                wires.push(wire);
                if let Some(pause) = pause_after(wires.len() as u32) {
                    tokio::time::sleep(pause).await;
                }
            }
            Err(fault) if tokio::time::Instant::now() > deadline => {
                return Err(format!(
                    "no connection ({}), {} of {} made: `{}`\nhint: does the server listen there?",
                    fault.name(),
                    wires.len(),
                    options.connections,
                    options.target
                ));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    Ok(wires)
}

async fn stop_on_signal(run: Rc<Run>) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    run.schedule.stop();
}

async fn show_progress(run: Rc<Run>) {
    if run.options.quiet {
        return;
    }
    let mut before = 0;
    for second in 1_u64.. {
        tokio::time::sleep_until(run.clock.instant(second * 1_000_000_000)).await;
        let tally = run.tally.borrow();
        eprintln!(
            "{second:>5} s  {:>8} ok/s  {:>10} ok in all  {} failed",
            tally.ok - before,
            tally.ok,
            tally.failures()
        );
        before = tally.ok;
    }
}

fn unwritable(options: &Options, error: &std::io::Error) -> String {
    let path = options.out.as_deref().unwrap_or_else(|| "".as_ref());
    format!(
        "the records cannot be written ({error}): `{}`\nhint: is the disk full?",
        path.display()
    )
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
