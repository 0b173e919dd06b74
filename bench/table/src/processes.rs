//! Two processes on one segment: this program starts itself as workers and sends them commands, one
//! per line, over their standard input.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use verve_core::{Clock, Counter};

use crate::tables::{identity, keep_up};
use crate::work::{Handing, hand_over, ids};

/// Windows that all workers fill before the measured one.
const ROUNDS: usize = 3;
/// Time from the command to the common start.
const AHEAD: Duration = Duration::from_millis(20);

struct Worker {
    child: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
}

impl Worker {
    fn start(path: &Path, number: usize, of: usize, sizes: (usize, usize)) -> Self {
        let program = std::env::current_exe().expect("a program has a path");
        let mut child = Command::new(program)
            .args(["verve", "worker"])
            .arg(path)
            .args([number, of, sizes.0, sizes.1].map(|part| part.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts itself");
        let orders = child.stdin.take().expect("piped");
        let reports = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, orders, reports }
    }

    fn order(&mut self, text: &str) {
        writeln!(self.orders, "{text}").expect("a worker that listens");
    }

    fn report(&mut self) -> u64 {
        let mut line = String::new();
        self.reports.read_line(&mut line).expect("a worker that answers");
        line.trim().parse().expect("a number")
    }
}

/// Time for all ids, shared among `count` processes.
pub fn measure(count: usize, handing: Handing, operations: usize, distinct: usize) -> Value {
    let name = format!("/dev/shm/verve-table-{}", std::process::id());
    let path = Path::new(&name);
    let counter = Counter::open(path, &identity(), Clock::System).expect("a new segment");
    let mut workers: Vec<Worker> = (0..count)
        .map(|number| Worker::start(path, number, count, (operations, distinct)))
        .collect();
    for _ in 0..ROUNDS {
        in_turn(&mut workers, "fill");
        counter.seal().expect("an arena for the next window");
        counter.maintenance().run().expect("upkeep");
        in_turn(&mut workers, "keep up");
    }
    let kind = if handing == Handing::Batch { "batch" } else { "single" };
    let begin = now() + u64::try_from(AHEAD.as_nanos()).expect("short");
    for worker in &mut workers {
        worker.order(&format!("{kind} {begin}"));
    }
    let last = workers.iter_mut().map(Worker::report).max().unwrap_or(0);
    let seconds = last as f64 / 1e9;
    let unique = counter.seal().expect("an arena for the next window").unique;
    for mut worker in workers {
        drop(worker.orders);
        worker.child.wait().expect("a worker that ends");
    }
    drop(counter);
    for path in [name.clone(), format!("{name}.lock")] {
        let _ = std::fs::remove_file(path);
    }
    json!({
        "seconds": seconds,
        "per_second": operations as f64 / seconds,
        "count": unique,
        "right": unique == distinct as u64,
    })
}

fn in_turn(workers: &mut [Worker], order: &str) {
    for worker in workers {
        worker.order(order);
        worker.report();
    }
}

/// Runs a worker until its commands end. Its arguments are the path, its number, the number of
/// workers, the operations and the distinct ids.
pub fn work(arguments: &[String]) {
    let counter = Counter::open(Path::new(&arguments[0]), &identity(), Clock::System)
        .expect("the segment of the parent");
    let part = |index: usize| -> usize { arguments[index].parse().expect("a number") };
    let (number, of) = (part(1), part(2));
    let all = ids(part(3), part(4));
    let share = all.len().div_ceil(of);
    let mine = all.chunks(share).nth(number).unwrap_or_default();
    for order in std::io::stdin().lines() {
        let order = order.expect("orders are text");
        let report = match order.split_once(' ') {
            None => hand_over(&counter, Handing::Batch, &all),
            Some(("keep", _)) => {
                keep_up(&counter);
                0
            }
            Some((kind, begin)) => {
                let handing = if kind == "batch" { Handing::Batch } else { Handing::Single };
                timed(&counter, handing, mine, begin.parse().expect("nanoseconds"))
            }
        };
        println!("{report}");
    }
}

/// Nanoseconds from `begin` until all of `ids` are in.
fn timed(counter: &Counter, handing: Handing, ids: &[i64], begin: u64) -> u64 {
    let ahead = Duration::from_nanos(begin.saturating_sub(now()));
    let start = Instant::now() + ahead;
    while Instant::now() < start {
        std::hint::spin_loop();
    }
    hand_over(counter, handing, ids);
    u64::try_from(start.elapsed().as_nanos()).expect("not that slow")
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(now.as_nanos()).expect("before 2554")
}
