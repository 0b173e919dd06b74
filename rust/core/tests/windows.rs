//! Windows against a naive model: any sequence of calls and clock movements gives the records, ids
//! and counts that a few sets would.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use support::{EPOCH, SECOND, in_memory, sorted};
use verve_core::window::ring::RECORDS;
use verve_core::{Counter, Error, ManualClock, Record, Rejection};

const RING: u64 = RECORDS as u64;
const GAPS: u64 = 60;
const MOST_HELD: usize = 8;

#[derive(Clone, Debug)]
enum Action {
    Add(i64),
    AddMany(Vec<i64>),
    Advance(u64),
    Step(i64),
    Seal,
    Hold,
    Release(usize),
    Tend,
    Lead,
    Resign,
    Populate,
    Refuse,
    Count,
    Ids,
    IdsOf(usize),
    Closed(usize),
}

fn action() -> impl Strategy<Value = Action> {
    let id = || prop_oneof![0_i64..40, any::<i64>()];
    let milliseconds = prop_oneof![
        4 => 1_u64..3_000,
        2 => 3_000_u64..12_000,
        1 => 12_000_u64..400_000,
    ];
    let steps = prop_oneof![
        Just(-3_600_i64),
        Just(-90),
        Just(-1),
        Just(1),
        Just(90),
        Just(3_600),
        Just(31_536_000),
        Just(-31_536_000),
    ];
    prop_oneof![
        12 => id().prop_map(Action::Add),
        3 => prop::collection::vec(id(), 0..200).prop_map(Action::AddMany),
        1 => (0_i64..50, 4_000_usize..9_000)
            .prop_map(|(first, length)| Action::AddMany((first..).take(length).collect())),
        8 => milliseconds.prop_map(Action::Advance),
        1 => steps.prop_map(Action::Step),
        2 => Just(Action::Seal),
        2 => Just(Action::Hold),
        1 => any::<usize>().prop_map(Action::Release),
        4 => Just(Action::Tend),
        1 => Just(Action::Lead),
        1 => Just(Action::Resign),
        1 => Just(Action::Populate),
        2 => Just(Action::Refuse),
        3 => Just(Action::Count),
        2 => Just(Action::Ids),
        2 => any::<usize>().prop_map(Action::IdsOf),
        2 => (0_usize..3_000).prop_map(Action::Closed),
    ]
}

/// What a window came to: ids, requests, gap.
type Window = (BTreeSet<i64>, u64, bool);

/// What everything should be, in plain sets.
struct Model {
    length: u64,
    boot: i64,
    wall: i64,
    offset: i64,
    suspected: Option<(i64, i64)>,
    leading: bool,
    current: u64,
    ids: BTreeSet<i64>,
    requests: u64,
    closed: BTreeMap<u64, Window>,
    /// The newest window of each place of the ring.
    ring: BTreeMap<u64, u64>,
    held: Vec<u64>,
    refused: u64,
}

impl Model {
    fn new(window_seconds: u32) -> Self {
        let second = SECOND as i64;
        Self {
            length: u64::from(window_seconds),
            boot: 1_000 * second,
            wall: EPOCH as i64 * second,
            offset: (EPOCH as i64 - 1_000) * second,
            suspected: None,
            leading: false,
            current: EPOCH / u64::from(window_seconds),
            ids: BTreeSet::new(),
            requests: 0,
            closed: BTreeMap::new(),
            ring: BTreeMap::new(),
            held: Vec::new(),
            refused: 0,
        }
    }

    fn now(&self) -> u64 {
        (self.boot + self.offset) as u64 / SECOND / self.length
    }

    fn discipline(&mut self) {
        let second = SECOND as i64;
        let observed = self.wall - self.boot;
        let difference = observed - self.offset;
        if difference.abs() <= 5 * second {
            (self.offset, self.suspected) = (observed, None);
            return;
        }
        match self.suspected {
            Some((since, offset)) if (observed - offset).abs() <= 5 * second => {
                if difference > 0 && self.boot - since >= 10 * second {
                    (self.offset, self.suspected) = (observed, None);
                }
            }
            _ => self.suspected = Some((self.boot, observed)),
        }
    }

    fn close(&mut self, window: u64, what: Window) {
        self.closed.insert(window, what);
        self.ring.insert(window % RING, window);
    }

    fn turn(&mut self, window: u64) {
        if window <= self.current {
            return;
        }
        let closed = (std::mem::take(&mut self.ids), std::mem::take(&mut self.requests), false);
        self.close(self.current, closed);
        for skipped in (self.current + 1).max(window.saturating_sub(GAPS))..window {
            self.close(skipped, (BTreeSet::new(), 0, true));
        }
        self.current = window;
    }

    fn tend(&mut self) {
        self.discipline();
        self.turn(self.now());
    }

    /// Enters as a writer, who tends where nobody leads.
    fn enter(&mut self) {
        if self.current < self.now() {
            self.turn(self.now());
            if !self.leading {
                self.tend();
            }
        }
    }

    fn records(&self, limit: usize) -> Vec<(u64, u64, u64, bool)> {
        let mut windows: Vec<u64> = self.ring.values().copied().collect();
        windows.sort_unstable();
        windows.drain(..windows.len().saturating_sub(limit.min(RING as usize - 1)));
        let record = |window: u64| {
            let (ids, requests, gap) = &self.closed[&window];
            (window * self.length, ids.len() as u64, *requests, *gap)
        };
        windows.into_iter().map(record).collect()
    }
}

fn figures(record: &Record) -> (u64, u64, u64, bool) {
    assert_eq!(record.late, 0);
    (record.window_start, record.unique, record.requests, record.gap)
}

fn set(ids: Vec<i64>) -> BTreeSet<i64> {
    let length = ids.len();
    let set: BTreeSet<i64> = ids.into_iter().collect();
    assert_eq!(set.len(), length, "an id is listed twice");
    set
}

fn act(
    counter: &Counter,
    clock: &Arc<ManualClock>,
    model: &mut Model,
    action: &Action,
) -> Result<(), Error> {
    match action {
        Action::Add(id) => {
            model.enter();
            let placement = counter.add(*id)?;
            assert_eq!(placement.window_start, model.current * model.length);
            assert_eq!(placement.new, model.ids.insert(*id));
            model.requests += 1;
        }
        Action::AddMany(ids) => {
            if !ids.is_empty() {
                model.enter();
            }
            let batch = counter.add_many(ids)?;
            let before = model.ids.len();
            model.ids.extend(ids);
            model.requests += ids.len() as u64;
            let shares: Vec<_> =
                batch.shares.iter().map(|share| (share.window_start, share.new)).collect();
            let new = (model.ids.len() - before) as u64;
            let expected = (!ids.is_empty()).then_some((model.current * model.length, new));
            assert_eq!(shares, Vec::from_iter(expected));
            assert!(batch.stopped.is_none() && batch.recorded == ids.len());
        }
        Action::Advance(milliseconds) => {
            clock.advance(milliseconds * 1_000_000);
            model.boot += *milliseconds as i64 * 1_000_000;
            model.wall += *milliseconds as i64 * 1_000_000;
        }
        Action::Step(seconds) => {
            clock.step(seconds * SECOND as i64);
            model.wall += seconds * SECOND as i64;
        }
        Action::Seal => {
            let window = model.current;
            model.turn(model.now().max(window + 1));
            let (ids, requests, _) = &model.closed[&window];
            let expected = (window * model.length, ids.len() as u64, *requests, false);
            assert_eq!(figures(&counter.seal()?), expected);
        }
        Action::Hold => {
            if model.held.len() < MOST_HELD {
                model.enter();
                model.held.push(model.current);
                assert_eq!(counter.hold()?, model.current * model.length);
            }
        }
        Action::Release(index) => {
            if !model.held.is_empty() {
                let window = model.held.swap_remove(index % model.held.len());
                counter.release(window * model.length)?;
            }
        }
        Action::Tend => {
            model.tend();
            counter.maintenance().run()?;
        }
        Action::Lead => {
            model.leading = true;
            assert!(counter.lease().acquire()?.is_some());
        }
        Action::Resign => {
            model.leading = false;
            counter.lease().release();
        }
        Action::Populate => counter.maintenance().populate()?,
        Action::Refuse => {
            model.refused += 1;
            counter.http().reject(Rejection::IdInvalid);
        }
        Action::Count => {
            model.enter();
            assert_eq!(counter.count()?, model.ids.len() as u64);
            let current = counter.current()?;
            let expected =
                (model.current * model.length, model.ids.len() as u64, model.requests, false);
            assert_eq!(figures(&current), expected);
        }
        Action::Ids => {
            model.enter();
            assert_eq!(set(counter.ids(None)?), model.ids);
        }
        Action::IdsOf(index) => {
            let windows: Vec<u64> = model.closed.keys().copied().collect();
            if let Some(&window) = windows.get(index % windows.len().max(1)) {
                match counter.ids(Some(window * model.length)) {
                    Ok(ids) => assert_eq!(set(ids), model.closed[&window].0),
                    Err(Error::Window { .. }) => assert!(!model.held.contains(&window)),
                    Err(error) => return Err(error),
                }
            }
        }
        Action::Closed(limit) => {
            model.turn(model.now());
            let records: Vec<_> = counter.closed(*limit)?.iter().map(figures).collect();
            assert_eq!(records, model.records(*limit));
        }
    }
    Ok(())
}

fn compare_all(counter: &Counter, model: &mut Model) -> Result<(), Error> {
    model.turn(model.now());
    let records = counter.closed(usize::MAX)?;
    assert_eq!(records.iter().map(figures).collect::<Vec<_>>(), model.records(usize::MAX));
    for &window in &model.held {
        let expected = if window == model.current { &model.ids } else { &model.closed[&window].0 };
        assert_eq!(&set(counter.ids(Some(window * model.length))?), expected);
    }
    if model.ring.len() == model.closed.len() {
        let rejected: u64 = records.iter().map(|record| record.rejected).sum();
        assert_eq!(rejected + counter.current()?.rejected, model.refused);
    }
    let stats = counter.stats()?;
    let unique: usize = model.closed.values().map(|(ids, ..)| ids.len()).sum();
    let requests: u64 = model.closed.values().map(|(_, requests, _)| requests).sum();
    assert_eq!(stats.new, (unique + model.ids.len()) as u64);
    assert_eq!(stats.requests, requests + model.requests);
    Ok(())
}

/// Takes the actions on a counter and on the model, and compares all that they show.
fn play(window_seconds: u32, max_ids: u64, actions: &[Action]) {
    let (counter, clock) = in_memory(window_seconds, max_ids);
    let mut model = Model::new(window_seconds);
    for action in actions {
        act(&counter, &clock, &mut model, action).expect("room and arenas");
    }
    // What is current when the clock has not moved stays so.
    model.leading = true;
    counter.lease().acquire().expect("a participant");
    compare_all(&counter, &mut model).expect("room and arenas");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn windows_are_what_sets_would_be(
        window_seconds in prop_oneof![Just(1_u32), Just(2), Just(60)],
        max_ids in prop_oneof![Just(50_000_u64), Just(200_000)],
        actions in prop::collection::vec(action(), 1..150),
    ) {
        play(window_seconds, max_ids, &actions);
    }
}

#[test]
fn work_that_is_left_to_do_does_not_change_the_window_of_an_id() {
    let actions = [
        Action::Step(90),
        Action::Seal,
        Action::Seal,
        Action::Seal,
        Action::Advance(4_000),
        // The writer leaves work, and suspects the clock.
        Action::Add(0),
        Action::Advance(10_000),
        // It goes to the next window, and follows the clock then.
        Action::Add(0),
    ];
    play(1, 50_000, &actions);
}

#[test]
fn a_window_goes_on_when_ids_are_listed_and_held() {
    let (counter, clock) = in_memory(60, 1_000);
    let start = counter.hold().expect("a window");
    for id in 0..100 {
        counter.add(id).expect("room");
    }
    clock.advance(60 * SECOND);
    counter.add(7).expect("room");
    counter.maintenance().run().expect("maintenance");
    assert_eq!(sorted(counter.ids(Some(start)).expect("held")), (0..100).collect::<Vec<_>>());
    assert_eq!(counter.ids(None).expect("current"), [7]);
    counter.release(start).expect("held");
    counter.maintenance().run().expect("maintenance");
    assert!(matches!(counter.ids(Some(start)), Err(Error::Window { .. })));
    assert!(matches!(counter.release(start), Err(Error::Window { .. })));
}

#[test]
fn held_windows_use_up_the_arenas_and_give_them_back() {
    let (counter, _clock) = in_memory(60, 1_000);
    let mut held = Vec::new();
    let refused = loop {
        held.push(counter.hold().expect("a window"));
        counter.add(held.len() as i64).expect("room");
        if let Err(error) = counter.seal() {
            break error;
        }
    };
    assert!(matches!(refused, Error::NoArena), "{refused}");
    assert_eq!(held.len(), 16);
    // The current window goes on meanwhile.
    assert!(counter.add(-1).expect("room").new);
    counter.release(held[3]).expect("held");
    assert_eq!(counter.seal().expect("an arena").unique, 2);
    for (index, &start) in held.iter().enumerate().filter(|&(index, _)| index != 3) {
        let ids = counter.ids(Some(start)).expect("held");
        assert!(ids.contains(&(index as i64 + 1)));
    }
}

#[test]
fn records_that_the_ring_lost_are_gone_and_no_others() {
    let (counter, _clock) = in_memory(1, 1_000);
    for id in 0..1_500 {
        counter.add(id).expect("room");
        assert_eq!(counter.seal().expect("a record").unique, 1);
    }
    let records = counter.closed(usize::MAX).expect("records");
    assert_eq!(records.len(), 1_439);
    assert_eq!(records[0].window_start, EPOCH + 1_500 - 1_439);
    assert!(records.iter().all(|record| (record.unique, record.gap) == (1, false)));
    assert_eq!(counter.closed(3).expect("records"), records[1_436..]);
    assert!(counter.closed(0).expect("records").is_empty());
}
