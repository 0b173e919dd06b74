//! The sender: one task owns the queues of all destinations, which take turns; each post has one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use verve_core::Counter;
use verve_core::platform::boot_nanoseconds;
use verve_core::segment::layout::CALLBACK_RATES;

use crate::cells::{Cells, Content};
use crate::circuit_breaker::CircuitBreakers;
use crate::concurrency::Load;
use crate::counts::Counts;
use crate::destination::{Connections, Destination, Queued, Rate, hash_of, host, origin};
use crate::egress_policy::EgressPolicy;
use crate::rate_limit::RateLimit;
use crate::report::{Attempt, Outcome, Reports};
use crate::retry::{RETRY_PERIOD, Verdict, is_destination_failure, judge, pause};
use crate::transport::{AttemptResult, Post, Transport};

/// Maximum time of a post until the status of the answer is read.
const DEADLINE: Duration = Duration::from_secs(10);
/// The same for a destination that fails, so that its waiting callbacks are done within minutes.
const SHORT_DEADLINE: Duration = Duration::from_secs(2);
/// Interval at which the sender takes over the cells of dead processes.
const TAKE_OVER_EVERY: Duration = Duration::from_millis(100);
/// The sender forgets destinations that were idle for longer than this.
const REMEMBERED: Duration = Duration::from_secs(30);
/// Above this number of destinations, the sender forgets any that is idle.
const MOST_REMEMBERED: usize = 8_192;
/// Maximum number of destinations whose connections are kept.
const KEPT: usize = 256;
/// Pause before the next look at a window that is being sealed.
const SEALING_PAUSE: Duration = Duration::from_millis(5);
/// Nanoseconds after which a window that is neither open nor sealed counts as forgotten.
const UNKNOWN: u64 = 10_000_000_000;

/// The limits of a sender.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The rate of posts to each public destination.
    pub rate: RateLimit,
    /// Maximum number of posts in flight, to all destinations.
    pub in_flight: usize,
    /// Maximum age of a callback that is sent.
    pub age: Duration,
}

/// A command to the sender.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Send a callback.
    Send(Queued),
    /// Stop when no callback is left, or at this time.
    Stop(Instant),
}

/// A finished attempt.
struct FinishedAttempt {
    callback: Queued,
    began: Instant,
    result: AttemptResult,
}

/// What is due when a timer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Callback(Queued),
    Destination(u64),
}

/// Sends the callbacks of one process.
pub struct Sender {
    counter: Arc<Counter>,
    cells: Arc<Cells>,
    transport: Arc<Transport>,
    policy: Arc<EgressPolicy>,
    breakers: Arc<CircuitBreakers>,
    reports: Arc<Reports>,
    limits: Limits,
    destinations: HashMap<u64, Destination>,
    /// Destinations that have a callback to send, in the order of their turns.
    turns: VecDeque<u64>,
    timers: BinaryHeap<Reverse<(Instant, Timer)>>,
    waiting: usize,
    in_flight: usize,
    kept: usize,
    finished: UnboundedSender<FinishedAttempt>,
    results: UnboundedReceiver<FinishedAttempt>,
    counts: Counts,
}

impl Sender {
    /// A sender without callbacks.
    #[must_use]
    pub fn new(
        cells: Arc<Cells>,
        transport: Transport,
        policy: Arc<EgressPolicy>,
        breakers: Arc<CircuitBreakers>,
        reports: Arc<Reports>,
        limits: Limits,
    ) -> Self {
        let (finished, results) = unbounded_channel();
        Self {
            counter: cells.counter().clone(),
            counts: Counts::new(cells.counter().clone()),
            cells,
            transport: Arc::new(transport),
            policy,
            breakers,
            reports,
            limits,
            destinations: HashMap::new(),
            turns: VecDeque::new(),
            timers: BinaryHeap::new(),
            waiting: 0,
            in_flight: 0,
            kept: 0,
            finished,
            results,
        }
    }

    /// Sends callbacks until a command stops it; `left` are the cells of an earlier sender.
    pub async fn run(mut self, mut commands: UnboundedReceiver<Command>, left: Vec<u32>) {
        self.take_over(left);
        let mut maintenance = interval(TAKE_OVER_EVERY);
        maintenance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop: Option<Instant> = None;
        let mut received = Vec::new();
        loop {
            self.begin_posts();
            if stop.is_some_and(|at| {
                self.waiting + self.in_flight == 0 && commands.is_empty() || Instant::now() >= at
            }) {
                return;
            }
            let timer = self.timers.peek().map(|Reverse((at, _))| *at);
            let next = [timer, stop].into_iter().flatten().min();
            tokio::select! {
                Some(finished) = self.results.recv() => {
                    self.finish_attempt(&finished);
                    while let Ok(finished) = self.results.try_recv() {
                        self.finish_attempt(&finished);
                    }
                }
                number = commands.recv_many(&mut received, 256) => {
                    if number == 0 {
                        // The process dropped the channel without a `Stop`.
                        stop.get_or_insert_with(Instant::now);
                    }
                    for command in received.drain(..) {
                        match command {
                            Command::Send(callback) => self.enqueue(callback),
                            Command::Stop(at) => stop = Some(at),
                        }
                    }
                }
                () = sleep_until(next.unwrap_or_else(Instant::now).into()), if next.is_some() => {
                    self.run_timers();
                }
                _ = maintenance.tick() => {
                    if stop.is_none() {
                        let taken = self.cells.take_over();
                        self.take_over(taken);
                    }
                    self.forget_idle();
                }
            }
        }
    }

    /// Enqueues the callbacks of cells that this process took over.
    fn take_over(&mut self, taken: Vec<u32>) {
        if taken.is_empty() {
            return;
        }
        Outcome::TakenOver.count(&self.counter, taken.len());
        for index in taken {
            let url = self.cells.read(index).url;
            let destination = hash_of(self.counter.callback_cells().secret(), origin(&url));
            self.enqueue(Queued { index, destination });
        }
    }

    /// Appends a callback to the queue of its destination.
    fn enqueue(&mut self, Queued { index, destination: hash }: Queued) {
        if !self.destinations.contains_key(&hash) {
            let url = self.cells.read(index).url;
            let connections =
                if self.kept < KEPT { Connections::Kept } else { Connections::Closed };
            self.kept += usize::from(connections == Connections::Kept);
            let is_listed = self.policy.opens(&host(origin(&url)));
            let rate = if is_listed { Rate::Unlimited } else { Rate::Limited };
            self.destinations.insert(hash, Destination::new(connections, rate));
        }
        if let Some(destination) = self.destinations.get_mut(&hash) {
            destination.waiting.push_back(index);
        }
        self.waiting += 1;
        self.give_turn(hash);
    }

    fn give_turn(&mut self, hash: u64) {
        if let Some(destination) = self.destinations.get_mut(&hash)
            && !destination.is_scheduled
            && destination.has_room()
        {
            destination.is_scheduled = true;
            self.turns.push_back(hash);
        }
    }

    /// Runs the timers that are due.
    fn run_timers(&mut self) {
        let now = Instant::now();
        while let Some(&Reverse((at, timer))) = self.timers.peek() {
            if at > now {
                return;
            }
            self.timers.pop();
            match timer {
                Timer::Callback(callback) => {
                    if let Some(destination) = self.destinations.get_mut(&callback.destination) {
                        destination.delayed -= 1;
                    }
                    self.enqueue(callback);
                }
                Timer::Destination(hash) => {
                    if let Some(destination) = self.destinations.get_mut(&hash) {
                        destination.is_scheduled = false;
                    }
                    self.give_turn(hash);
                }
            }
        }
    }

    /// Begins all posts that the limits permit.
    fn begin_posts(&mut self) {
        while self.in_flight < self.limits.in_flight
            && let Some(hash) = self.turns.pop_front()
        {
            let Some(destination) = self.destinations.get_mut(&hash) else { continue };
            destination.is_scheduled = false;
            if !destination.has_room() {
                continue;
            }
            let now = Instant::now();
            let paused = destination.paused_until.filter(|&until| until > now);
            let limit = if destination.rate == Rate::Limited && paused.is_none() {
                let words = &self.counter.callback_cells().front().rates;
                let word = &words[hash as usize % CALLBACK_RATES];
                self.limits.rate.take(word, boot_nanoseconds()).err().map(|wait| now + wait)
            } else {
                None
            };
            if let Some(until) = paused.or(limit) {
                destination.is_scheduled = true;
                self.timers.push(Reverse((until, Timer::Destination(hash))));
                continue;
            }
            if let Some(index) = destination.waiting.pop_front() {
                self.waiting -= 1;
                self.begin_post(Queued { index, destination: hash });
            }
            self.give_turn(hash);
        }
    }

    /// Begins the post of a callback, unless it is too old or its window is being sealed.
    fn begin_post(&mut self, callback: Queued) {
        let index = callback.index;
        let content = self.cells.read(index);
        let now = self.counter.now();
        if Duration::from_nanos(now.saturating_sub(content.accepted)) > self.limits.age {
            self.end(index, &content, Outcome::Expired, None, "too old");
            return;
        }
        let Some(count) = content.count.or_else(|| self.counts.of(&content, now)) else {
            if now.saturating_sub(content.accepted) > UNKNOWN {
                self.end(index, &content, Outcome::Expired, None, "window forgotten");
                return;
            }
            self.delay(callback, Instant::now() + SEALING_PAUSE);
            return;
        };
        self.cells.begin(index, count);
        let id = Cells::webhook_id(&self.counter, index, &content);
        let Some(destination) = self.destinations.get_mut(&callback.destination) else { return };
        let began = Instant::now();
        destination.in_flight += 1;
        destination.last_used = began;
        self.in_flight += 1;
        let is_open = destination.breaker.open_until().is_some();
        let post = Post {
            id,
            url: content.url,
            body: format!("{{\"unique_request_count\": {count}}}"),
            deadline: if is_open { SHORT_DEADLINE } else { DEADLINE },
            connections: destination.connections,
        };
        let (transport, finished) = (self.transport.clone(), self.finished.clone());
        tokio::spawn(async move {
            let result = transport.send(&post).await;
            // Fails only after the sender has stopped.
            let _ = finished.send(FinishedAttempt { callback, began, result });
        });
    }

    fn delay(&mut self, callback: Queued, at: Instant) {
        if let Some(destination) = self.destinations.get_mut(&callback.destination) {
            destination.delayed += 1;
        }
        self.timers.push(Reverse((at, Timer::Callback(callback))));
    }

    /// Ends or retries the callback of a finished attempt.
    fn finish_attempt(&mut self, finished: &FinishedAttempt) {
        let FinishedAttempt { callback, began, result } = *finished;
        let Queued { index, destination: hash } = callback;
        let content = self.cells.read(index);
        let now = Instant::now();
        self.in_flight -= 1;
        let mut open_until = None;
        if let Some(destination) = self.destinations.get_mut(&hash) {
            let is_at_limit = !destination.waiting.is_empty()
                && destination.in_flight >= destination.concurrency.posts();
            destination.in_flight -= 1;
            if is_destination_failure(result) {
                destination.concurrency.failed();
                destination.breaker.failed(hash, &self.breakers, now);
            } else {
                let load = if is_at_limit { Load::AtLimit } else { Load::BelowLimit };
                destination.concurrency.answered(load);
                destination.breaker.answered(hash, &self.breakers);
            }
            open_until = destination.breaker.open_until();
            if let AttemptResult::Answered { status: 429 | 503, pause: Some(pause) } = result {
                destination.paused_until = Some(now + pause.min(RETRY_PERIOD));
            }
        }
        let reason = result.reason();
        let attempt = Some(Attempt { result, elapsed: now - began });
        match judge(result) {
            Verdict::Ended(outcome) => self.end(index, &content, outcome, attempt, reason),
            Verdict::Retry(asked) => {
                let age = Duration::from_nanos(self.counter.now().saturating_sub(content.accepted));
                let due = pause(content.attempts)
                    .map(|pause| now + pause.max(asked.unwrap_or_default()))
                    .map(|at| open_until.map_or(at, |until| at.max(until)))
                    .filter(|&at| age + (at - now) <= RETRY_PERIOD);
                match due {
                    None => self.end(index, &content, Outcome::Exhausted, attempt, reason),
                    Some(at) => {
                        self.cells.wait(index);
                        self.reports.record(index, &content, Outcome::Retried, attempt, reason);
                        self.delay(callback, at);
                    }
                }
            }
        }
        self.give_turn(hash);
    }

    /// Reports the outcome of a callback and empties its cell.
    fn end(
        &mut self,
        index: u32,
        content: &Content,
        outcome: Outcome,
        attempt: Option<Attempt>,
        reason: &'static str,
    ) {
        self.reports.record(index, content, outcome, attempt, reason);
        self.cells.finish(index);
    }

    /// Forgets destinations that have been idle for a while.
    fn forget_idle(&mut self) {
        let now = Instant::now();
        let is_full = self.destinations.len() > MOST_REMEMBERED;
        let remembered = if is_full { Duration::ZERO } else { REMEMBERED };
        let (breakers, kept) = (&self.breakers, &mut self.kept);
        self.destinations.retain(|&hash, destination| {
            let stays = !destination.is_idle() || now - destination.last_used < remembered;
            if !stays {
                destination.breaker.forget(hash, breakers);
                *kept -= usize::from(destination.connections == Connections::Kept);
            }
            stays
        });
    }
}
