//! Figures that each worker of the service reports in the segment, so that every worker can answer
//! for the host.

use crate::counter::handle::Counter;
use crate::segment::layout::{LISTENER_FIGURES, ParticipantSlot, WORKER_FIGURES};
use crate::sync::Ordering;

/// One figure of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum WorkerFigure {
    /// Ids that the store has acknowledged.
    Sent,
    /// Ids that were left out of the queue; they are sent after the end of their window.
    LeftOut,
    /// Batches that the store did not acknowledge at the first attempt.
    FailedBatches,
    /// Requests answered 500.
    Errors,
    /// Ids that wait to be sent at present.
    Waiting,
    /// 1 while the fast path answers accepts.
    FastPath,
    /// 1 while the worker drains.
    Draining,
    /// 1 while the worker serves requests.
    Serving,
    /// Batches that have begun and are not counted. Written while the worker drains.
    OpenBatches,
    /// Requests that wait for the store. Written while the worker drains.
    StoreWaits,
}

impl WorkerFigure {
    /// All figures, in order.
    pub const ALL: [Self; 10] = [
        Self::Sent,
        Self::LeftOut,
        Self::FailedBatches,
        Self::Errors,
        Self::Waiting,
        Self::FastPath,
        Self::Draining,
        Self::Serving,
        Self::OpenBatches,
        Self::StoreWaits,
    ];

    /// The name in Python.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::LeftOut => "left_out",
            Self::FailedBatches => "failed_batches",
            Self::Errors => "errors",
            Self::Waiting => "waiting",
            Self::FastPath => "fast_path",
            Self::Draining => "draining",
            Self::Serving => "serving",
            Self::OpenBatches => "open_batches",
            Self::StoreWaits => "store_waits",
        }
    }

    /// Whether the figure is a total, which only rises over all owners of a slot. The other figures
    /// end with their owner.
    #[must_use]
    pub const fn is_total(self) -> bool {
        (self as usize) <= Self::Errors as usize
    }
}

/// The figures of all workers of a host, by their index in [`WorkerFigure::ALL`].
pub type WorkerFigures = [u64; WorkerFigure::ALL.len()];

/// What the native listeners of a worker have served since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerFigures {
    /// Connections that are open.
    pub connections: u64,
    /// Accepts that the accept lane answered.
    pub accept_lane: u64,
    /// Accepts that were answered under hyper.
    pub hyper_lane: u64,
    /// Requests that the application answered.
    pub other: u64,
}

/// The figures of the listeners of the owner of `slot`, if it serves requests.
pub(crate) fn of_listeners(slot: &ParticipantSlot) -> Option<ListenerFigures> {
    // Relaxed: figures.
    let serves = slot.worker[WorkerFigure::Serving as usize].load(Ordering::Relaxed) != 0;
    let [connections, accept_lane, hyper_lane, other] =
        std::array::from_fn(|index| slot.listener[index].load(Ordering::Relaxed));
    serves.then_some(ListenerFigures { connections, accept_lane, hyper_lane, other })
}

/// Adds the figures of `slot` to `sums`: the totals of all owners, and the other figures if the
/// owner is alive.
pub(crate) fn add_up(slot: &ParticipantSlot, alive: bool, sums: &mut WorkerFigures) {
    const { assert!(WorkerFigure::ALL.len() <= WORKER_FIGURES) };
    for (figure, sum) in WorkerFigure::ALL.into_iter().zip(sums) {
        if alive || figure.is_total() {
            // Relaxed: a figure.
            *sum += slot.worker[figure as usize].load(Ordering::Relaxed);
        }
    }
}

/// Clears the figures of the previous owner that are not totals. The caller has the lock of the
/// slot.
pub(crate) fn forget(slot: &ParticipantSlot) {
    for figure in WorkerFigure::ALL.into_iter().filter(|figure| !figure.is_total()) {
        // Relaxed: a figure.
        slot.worker[figure as usize].store(0, Ordering::Relaxed);
    }
    for figure in &slot.listener {
        figure.store(0, Ordering::Relaxed);
    }
}

/// The figures of this process; see [`Counter::worker_figures`].
#[derive(Clone, Copy, Debug)]
pub struct OwnFigures<'a> {
    counter: &'a Counter,
}

impl Counter {
    /// The figures that this process reports of itself, for all processes to read in
    /// [`Counter::stats`].
    #[must_use]
    pub fn worker_figures(&self) -> OwnFigures<'_> {
        OwnFigures { counter: self }
    }
}

impl OwnFigures<'_> {
    /// Adds `times` to a figure of this process.
    pub fn add(self, figure: WorkerFigure, times: u64) {
        if let Ok(participant) = self.counter.participant() {
            // Relaxed: a figure.
            self.counter.front().participants[participant.slot].worker[figure as usize]
                .fetch_add(times, Ordering::Relaxed);
        }
    }

    /// Sets a figure of this process.
    pub fn set(self, figure: WorkerFigure, value: u64) {
        if let Ok(participant) = self.counter.participant() {
            // Relaxed: a figure.
            self.counter.front().participants[participant.slot].worker[figure as usize]
                .store(value, Ordering::Relaxed);
        }
    }

    /// Reports what the native listeners of this process have served. Of two reports at once the
    /// larger totals stay: they never fall.
    pub fn report_listeners(self, figures: ListenerFigures) {
        let ListenerFigures { connections, accept_lane, hyper_lane, other } = figures;
        if let Ok(participant) = self.counter.participant() {
            let words: &[_; LISTENER_FIGURES] =
                &self.counter.front().participants[participant.slot].listener;
            // Relaxed: figures.
            words[0].store(connections, Ordering::Relaxed);
            for (word, total) in words[1..].iter().zip([accept_lane, hyper_lane, other]) {
                word.fetch_max(total, Ordering::Relaxed);
            }
        }
    }
}
