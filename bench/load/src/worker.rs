//! One connection: it connects, waits for its turn, sends, checks the answers and records them.

use std::rc::Rc;
use std::time::Duration;

use crate::ids::Cursor;
use crate::judge::{Judgement, judge};
use crate::records::{Kind, Record};
use crate::response::{Head, Seen};
use crate::run::Run;
use crate::schedule::Turn;
use crate::wire::{Fault, Wire};

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

pub struct Worker {
    run: Rc<Run>,
    number: u32,
    wire: Option<Wire>,
    cursor: Cursor,
    ids: Vec<i64>,
    outgoing: Vec<u8>,
    body: Vec<u8>,
}

/// When a turn was due and when it was sent.
#[derive(Clone, Copy)]
struct Times {
    intended: u64,
    sent: u64,
}

impl Worker {
    pub fn new(run: Rc<Run>, number: u32, wire: Wire) -> Self {
        Self {
            run,
            number,
            wire: Some(wire),
            cursor: Cursor::default(),
            ids: Vec::new(),
            outgoing: Vec::new(),
            body: Vec::new(),
        }
    }

    pub async fn work(mut self) {
        while let Some(wire) = self.connection().await {
            let Some(turn) = self.run.schedule.turn(&self.run.clock).await else {
                break;
            };
            self.wire = self.take_turn(wire, &turn).await;
        }
    }

    /// The open connection, or a new one; `None` when the run is over or the server stays away.
    async fn connection(&mut self) -> Option<Wire> {
        if let Some(wire) = self.wire.take() {
            return Some(wire);
        }
        let run = Rc::clone(&self.run);
        let options = &run.options;
        let given_up = run.clock.now() + options.give_up.as_nanos() as u64;
        let mut pause = FIRST_PAUSE;
        while !run.schedule.over() {
            match Wire::open(options.target, options.timeout).await {
                Ok(wire) => {
                    run.tally.borrow_mut().reconnects += 1;
                    return Some(wire);
                }
                Err(fault) => run.tally.borrow_mut().fault(fault),
            }
            if run.clock.now() > given_up {
                run.gave_up.set(true);
                run.schedule.stop();
                return None;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        None
    }

    /// Sends the requests of a turn and takes in their answers; gives back the connection when it
    /// can be used again.
    async fn take_turn(&mut self, mut wire: Wire, turn: &Turn) -> Option<Wire> {
        let run = Rc::clone(&self.run);
        let per_request = run.options.batch.as_ref().map_or(1, |batch| batch.size);
        self.prepare(turn, per_request);
        let sent = run.clock.now();
        let times = Times { intended: turn.intended.unwrap_or(sent), sent };
        run.tally.borrow_mut().requests += turn.requests as u64;
        if let Err(fault) = wire.send(&self.outgoing).await {
            self.lost(0, per_request, times, fault);
            return None;
        }
        let mut close = false;
        for request in 0..turn.requests {
            let answer = if close { Err(Fault::Closed) } else { wire.receive().await };
            match answer {
                Ok((head, body)) => {
                    let judgement = judge(&run.options, &head, body);
                    let ids = &self.ids[request * per_request..][..per_request];
                    self.answered(ids, times, &head, &judgement);
                    close = head.close;
                }
                Err(fault) => {
                    self.lost(request, per_request, times, fault);
                    return None;
                }
            }
        }
        // A server that sends more than one answer per request has lost count.
        if wire.has_rest() {
            run.tally.borrow_mut().fault(Fault::Syntax);
            return None;
        }
        (!close).then_some(wire)
    }

    fn prepare(&mut self, turn: &Turn, per_request: usize) {
        self.ids.clear();
        self.outgoing.clear();
        let mut source = self.run.ids.borrow_mut();
        for _ in 0..turn.requests * per_request {
            self.ids.push(source.next(&mut self.cursor, turn.block));
        }
        for ids in self.ids.chunks(per_request) {
            self.run.template.write(ids, &mut self.outgoing, &mut self.body);
        }
    }

    fn answered(&self, ids: &[i64], times: Times, head: &Head, judgement: &Judgement) {
        let run = &self.run;
        let now = run.clock.now();
        let guess = || run.clock.window_at(times.sent);
        let mut tally = run.tally.borrow_mut();
        tally.last = now;
        let (kind, window, seen) = match judgement {
            Judgement::Accepted { verdict: None } => (Kind::Acknowledged, None, None),
            Judgement::Accepted { verdict: Some((window, seen)) } => {
                tally.window(*window, 1, u64::from(*seen == Seen::New));
                (Kind::Placed, Some(*window), Some(*seen))
            }
            Judgement::Batch { windows } => {
                let single = windows.len() == 1;
                for (window, new) in windows {
                    tally.window(*window, if single { ids.len() as u64 } else { *new }, *new);
                }
                let kind = if single { Kind::Placed } else { Kind::Acknowledged };
                (kind, Some(windows[0].0), None)
            }
            Judgement::Refused => {
                *tally.refused.entry(head.status).or_default() += 1;
                (Kind::Refused, None, None)
            }
            Judgement::Wrong(fault) => {
                tally.fault(*fault);
                (Kind::Sent, None, None)
            }
        };
        if matches!(kind, Kind::Placed | Kind::Acknowledged) {
            tally.ok += 1;
            tally.ids += ids.len() as u64;
            let latency = now.saturating_sub(times.intended);
            if run.clock.is_near(times.intended) {
                tally.near.record(latency);
            } else {
                tally.away.record(latency);
            }
        }
        drop(tally);
        self.note(ids, kind, window.unwrap_or_else(guess), times.sent, now, head.status, seen);
    }

    /// Notes that request number `first` of the turn and all after it have no answer.
    fn lost(&self, first: usize, per_request: usize, times: Times, fault: Fault) {
        let now = self.run.clock.now();
        let ids = &self.ids[first * per_request..];
        let mut tally = self.run.tally.borrow_mut();
        tally.last = now;
        for _ in ids.chunks(per_request) {
            tally.fault(fault);
        }
        drop(tally);
        let window = self.run.clock.window_at(times.sent);
        self.note(ids, Kind::Sent, window, times.sent, now, 0, None);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a record, at their only maker")]
    fn note(
        &self,
        ids: &[i64],
        kind: Kind,
        window: i64,
        sent: u64,
        now: u64,
        status: u16,
        seen: Option<Seen>,
    ) {
        let mut records = self.run.records.borrow_mut();
        if !records.wanted() {
            return;
        }
        for id in ids {
            records.write(&Record {
                id: *id,
                window,
                sent,
                took: now - sent,
                connection: self.number,
                status,
                kind,
                seen,
            });
        }
    }
}
