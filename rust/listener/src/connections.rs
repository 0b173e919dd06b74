//! The open connections of a listener, and the end of its service.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::task::Waker;

/// How far the end of the service has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Connections are kept open between requests.
    Serving,
    /// A connection ends with its next answer.
    Retiring,
    /// A connection without a request ends at once.
    Closing,
}

/// What the tasks of the connections share.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    stage: AtomicU8,
    tasks: Mutex<HashMap<u64, Waker>>,
}

impl Connections {
    pub(crate) fn stage(&self) -> Stage {
        // Acquire: pairs with the Release in `advance`.
        match self.stage.load(Acquire) {
            0 => Stage::Serving,
            1 => Stage::Retiring,
            _ => Stage::Closing,
        }
    }

    /// Goes on to a later stage and wakes every connection, so that each sees it.
    pub(crate) fn advance(&self, stage: Stage) {
        // Release: pairs with the Acquire in `stage`.
        self.stage.fetch_max(stage as u8, Release);
        for waker in self.lock().values() {
            waker.wake_by_ref();
        }
    }

    /// Enters the task of a connection.
    pub(crate) fn enter(&self, number: u64, waker: Waker) -> usize {
        let mut tasks = self.lock();
        tasks.insert(number, waker);
        tasks.len()
    }

    /// Removes the task of a connection.
    pub(crate) fn leave(&self, number: u64) -> usize {
        let mut tasks = self.lock();
        tasks.remove(&number);
        tasks.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Waker>> {
        self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
