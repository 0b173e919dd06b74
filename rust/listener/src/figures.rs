//! What a listener has served.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Counts since the listener started. Only its own thread writes them.
#[derive(Debug, Default)]
pub struct Figures {
    connections: AtomicU64,
    accept_lane: AtomicU64,
    hyper_lane: AtomicU64,
    other: AtomicU64,
}

impl Figures {
    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> u64 {
        // Relaxed here and below: figures order nothing.
        self.connections.load(Relaxed)
    }

    /// Accepts that the accept lane answered.
    #[must_use]
    pub fn accept_lane(&self) -> u64 {
        self.accept_lane.load(Relaxed)
    }

    /// Accepts that were answered under hyper.
    #[must_use]
    pub fn hyper_lane(&self) -> u64 {
        self.hyper_lane.load(Relaxed)
    }

    /// Requests that the application answered.
    #[must_use]
    pub fn other(&self) -> u64 {
        self.other.load(Relaxed)
    }

    pub(crate) fn set_connections(&self, number: usize) {
        self.connections.store(number as u64, Relaxed);
    }

    pub(crate) fn add_accept_lane(&self, number: u64) {
        add(&self.accept_lane, number);
    }

    pub(crate) fn add_hyper_lane(&self) {
        add(&self.hyper_lane, 1);
    }

    pub(crate) fn add_other(&self) {
        add(&self.other, 1);
    }
}

/// One writer: no locked instruction is needed.
fn add(figure: &AtomicU64, number: u64) {
    figure.store(figure.load(Relaxed) + number, Relaxed);
}
