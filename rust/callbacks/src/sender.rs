//! The sender: one task that owns all that waits, and one task a post.
//!
//! Destinations take turns, so that none keeps another waiting: each has a bound of what it has under
//! way, and all together have one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use verve_core::Unsealed;
use verve_core::platform::boot_nanoseconds;
use verve_core::segment::layout::CALLBACK_RATES;

use crate::cells::Content;
use crate::destination::{Destination, host, number, origin};
use crate::means::{Means, reason};
use crate::report::Outcome;
use crate::retry::{RETRY_PERIOD, Verdict, is_destination_failure, judge, pause};
use crate::transport::{AttemptResult, Post};

/// How long a post may take until its status has come.
const DEADLINE: Duration = Duration::from_secs(10);
/// The same at a destination that fails, so that what waits for it is through in minutes.
const SHORT_DEADLINE: Duration = Duration::from_secs(2);
/// How often cells of the dead are looked for.
const TAKE_OVER_EVERY: Duration = Duration::from_millis(100);
/// A destination that was not used for so long is forgotten, and any idle one beyond so many.
const FORGOTTEN: (Duration, usize) = (Duration::from_secs(30), 8_192);
/// Destinations whose connections are kept.
const KEPT: usize = 256;
/// A count is good for so long, nanoseconds, for callbacks accepted before it was taken.
const FRESH: u64 = 1_000_000;
/// How long to wait for a window that is being sealed, and when to see to it here, nanoseconds.
const SEALING: (Duration, u64) = (Duration::from_millis(5), 500_000_000);

/// A window that is neither open nor sealed so long after the request is not kept any more,
/// nanoseconds.
const UNKNOWN: u64 = 10_000_000_000;

/// What the sender is told.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Send the callback of a cell to a destination.
    Send(u32, u64),
    /// End when nothing is left to send, or at that time.
    Stop(Instant),
}

/// A post that came to its end.
struct FinishedAttempt {
    index: u32,
    destination: u64,
    began: Instant,
    end: AttemptResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Cell(u32, u64),
    Destination(u64),
}

/// Owns all that waits.
pub struct Sender {
    means: Arc<Means>,
    destinations: HashMap<u64, Destination>,
    /// Destinations that have something to send, in the order of their turns.
    turns: VecDeque<u64>,
    timers: BinaryHeap<Reverse<(Instant, Timer)>>,
    waiting: usize,
    in_flight: usize,
    kept: usize,
    done: UnboundedSender<FinishedAttempt>,
    /// The last count: window, when it was taken, count.
    count: (u64, u64, u64),
}

impl Sender {
    /// Sends until it is told to stop; `left` are the cells of before.
    pub async fn run(means: Arc<Means>, mut orders: UnboundedReceiver<Command>, left: Vec<u32>) {
        let (done, mut ends) = unbounded_channel();
        let mut sender = Self {
            means,
            destinations: HashMap::new(),
            turns: VecDeque::new(),
            timers: BinaryHeap::new(),
            waiting: 0,
            in_flight: 0,
            kept: 0,
            done,
            count: (0, 0, 0),
        };
        sender.inherit(left);
        let mut upkeep = interval(TAKE_OVER_EVERY);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop: Option<Instant> = None;
        let mut ordered = Vec::new();
        loop {
            sender.pump();
            if stop.is_some_and(|at| {
                sender.waiting + sender.in_flight == 0 && orders.is_empty() || Instant::now() >= at
            }) {
                return;
            }
            let wake = sender.timers.peek().map(|Reverse((at, _))| *at);
            let next = [wake, stop].into_iter().flatten().min();
            tokio::select! {
                Some(end) = ends.recv() => {
                    sender.ended(&end);
                    while let Ok(end) = ends.try_recv() {
                        sender.ended(&end);
                    }
                }
                received = orders.recv_many(&mut ordered, 256) => {
                    if received == 0 {
                        // The process forgot to say so.
                        stop.get_or_insert_with(Instant::now);
                    }
                    for order in ordered.drain(..) {
                        match order {
                            Command::Send(index, destination) => sender.enqueue(index, destination),
                            Command::Stop(at) => stop = Some(at),
                        }
                    }
                }
                () = sleep_until(next.unwrap_or_else(Instant::now).into()), if next.is_some() => {
                    sender.wake();
                }
                _ = upkeep.tick() => {
                    if stop.is_none() {
                        let taken = sender.means.cells.take_over(false);
                        sender.inherit(taken);
                    }
                    sender.forget();
                }
            }
        }
    }

    /// Sends what was taken over.
    fn inherit(&mut self, taken: Vec<u32>) {
        if taken.is_empty() {
            return;
        }
        Outcome::TakenOver.count(&self.means.counter, taken.len());
        for index in taken {
            let url = self.means.cells.read(index).url;
            self.enqueue(index, number(self.means.counter.callback_cells().secret(), origin(&url)));
        }
    }

    /// Puts a cell behind those that wait for its destination.
    fn enqueue(&mut self, index: u32, number: u64) {
        if !self.destinations.contains_key(&number) {
            let url = self.means.cells.read(index).url;
            let keep = self.kept < KEPT;
            self.kept += usize::from(keep);
            let limited = !self.means.policy.opens(&host(origin(&url)));
            self.destinations.insert(number, Destination::new(keep, limited));
        }
        if let Some(destination) = self.destinations.get_mut(&number) {
            destination.waiting.push_back(index);
        }
        self.waiting += 1;
        self.give_turn(number);
    }

    fn give_turn(&mut self, number: u64) {
        if let Some(destination) = self.destinations.get_mut(&number)
            && !destination.scheduled
            && destination.has_room()
        {
            destination.scheduled = true;
            self.turns.push_back(number);
        }
    }

    /// Does what is due.
    fn wake(&mut self) {
        let now = Instant::now();
        while let Some(&Reverse((at, wake))) = self.timers.peek() {
            if at > now {
                return;
            }
            self.timers.pop();
            match wake {
                Timer::Cell(index, number) => {
                    if let Some(destination) = self.destinations.get_mut(&number) {
                        destination.later -= 1;
                    }
                    self.enqueue(index, number);
                }
                Timer::Destination(number) => {
                    if let Some(destination) = self.destinations.get_mut(&number) {
                        destination.scheduled = false;
                    }
                    self.give_turn(number);
                }
            }
        }
    }

    /// Begins all posts that may begin.
    fn pump(&mut self) {
        while self.in_flight < self.means.most
            && let Some(number) = self.turns.pop_front()
        {
            let Some(destination) = self.destinations.get_mut(&number) else { continue };
            destination.scheduled = false;
            if !destination.has_room() {
                continue;
            }
            let now = Instant::now();
            let paused = destination.paused_until.filter(|&until| until > now);
            let limit = if destination.limited && paused.is_none() {
                let words = &self.means.counter.callback_cells().front().rates;
                let word = &words[number as usize % CALLBACK_RATES];
                self.means.rate.take(word, boot_nanoseconds()).err().map(|wait| now + wait)
            } else {
                None
            };
            if let Some(until) = paused.or(limit) {
                destination.scheduled = true;
                self.timers.push(Reverse((until, Timer::Destination(number))));
                continue;
            }
            if let Some(index) = destination.waiting.pop_front() {
                self.waiting -= 1;
                self.begin(index, number);
            }
            self.give_turn(number);
        }
    }

    /// Begins a post.
    fn begin(&mut self, index: u32, number: u64) {
        let content = self.means.cells.read(index);
        let now = self.means.counter.now();
        if Duration::from_nanos(now.saturating_sub(content.accepted)) > self.means.oldest {
            self.end(index, &content, Outcome::Expired, None, "too old");
            return;
        }
        let Some(count) = content.count.or_else(|| self.count(&content, now)) else {
            if now.saturating_sub(content.accepted) > UNKNOWN {
                self.end(index, &content, Outcome::Expired, None, "window forgotten");
                return;
            }
            self.later(index, number, Instant::now() + SEALING.0);
            return;
        };
        self.means.cells.begin(index, count);
        let id = self.means.id(index, &content);
        let Some(destination) = self.destinations.get_mut(&number) else { return };
        let began = Instant::now();
        destination.in_flight += 1;
        destination.used = began;
        self.in_flight += 1;
        let is_open = destination.pace.open_until().is_some();
        let post = Post {
            id,
            url: content.url,
            body: format!("{{\"unique_request_count\": {count}}}"),
            deadline: if is_open { SHORT_DEADLINE } else { DEADLINE },
            keep: destination.keep,
        };
        let (means, done) = (self.means.clone(), self.done.clone());
        tokio::spawn(async move {
            let end = means.transport.send(&post).await;
            // Fails only when nobody is interested any more.
            let _ = done.send(FinishedAttempt { index, destination: number, began, end });
        });
    }

    /// Distinct ids of the callback's window; `None` while it is being sealed.
    fn count(&mut self, content: &Content, now: u64) -> Option<u64> {
        let (window, taken, count) = self.count;
        if window == content.window_start && taken > content.accepted && now - taken < FRESH {
            return Some(count);
        }
        let waited = now.saturating_sub(content.accepted);
        let unsealed = if waited > SEALING.1 { Unsealed::Seal } else { Unsealed::Skip };
        let cells = self.means.counter.callback_cells();
        let count = cells.distinct(content.window_start, unsealed).ok()??;
        self.count = (content.window_start, now, count);
        Some(count)
    }

    fn later(&mut self, index: u32, number: u64, at: Instant) {
        if let Some(destination) = self.destinations.get_mut(&number) {
            destination.later += 1;
        }
        self.timers.push(Reverse((at, Timer::Cell(index, number))));
    }

    /// Takes the end of a post.
    fn ended(&mut self, done: &FinishedAttempt) {
        let FinishedAttempt { index, destination: number, began, end } = *done;
        let means = self.means.clone();
        let content = means.cells.read(index);
        let now = Instant::now();
        self.in_flight -= 1;
        let mut open_until = None;
        if let Some(destination) = self.destinations.get_mut(&number) {
            let limited = !destination.waiting.is_empty()
                && destination.in_flight >= destination.pace.window();
            destination.in_flight -= 1;
            if is_destination_failure(end) {
                destination.pace.failed(number, &means.circuits, now);
            } else {
                destination.pace.answered(number, &means.circuits, limited);
            }
            open_until = destination.pace.open_until();
            if let AttemptResult::Answered { status: 429 | 503, pause: Some(pause) } = end {
                destination.paused_until = Some(now + pause.min(RETRY_PERIOD));
            }
        }
        let reason = reason(end);
        let tell = Some((end, now - began));
        match judge(end) {
            Verdict::Ended(outcome) => self.end(index, &content, outcome, tell, reason),
            Verdict::Again(asked) => {
                let age =
                    Duration::from_nanos(means.counter.now().saturating_sub(content.accepted));
                let due = pause(content.attempts)
                    .map(|pause| now + pause.max(asked.unwrap_or_default()))
                    .map(|at| open_until.map_or(at, |until| at.max(until)))
                    .filter(|&at| age + (at - now) <= RETRY_PERIOD);
                match due {
                    None => self.end(index, &content, Outcome::Exhausted, tell, reason),
                    Some(at) => {
                        means.cells.wait(index);
                        self.means.tell(index, &content, Outcome::Retried, tell, reason);
                        self.later(index, number, at);
                    }
                }
            }
        }
        self.give_turn(number);
    }

    /// The callback has come to its end.
    fn end(
        &mut self,
        index: u32,
        content: &Content,
        outcome: Outcome,
        attempt: Option<(AttemptResult, Duration)>,
        reason: &'static str,
    ) {
        self.means.tell(index, content, outcome, attempt, reason);
        self.means.cells.finish(index);
    }

    /// Forgets destinations that were not used for a while.
    fn forget(&mut self) {
        let now = Instant::now();
        let remembered =
            if self.destinations.len() > FORGOTTEN.1 { Duration::ZERO } else { FORGOTTEN.0 };
        let (circuits, kept) = (&self.means.circuits, &mut self.kept);
        self.destinations.retain(|&number, destination| {
            let stays = !destination.is_idle() || now - destination.used < remembered;
            if !stays {
                destination.pace.forget(number, circuits);
                *kept -= usize::from(destination.keep);
            }
            stays
        });
    }
}
