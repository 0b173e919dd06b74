//! Windows of distinct ids in a `DashSet`.

use std::cell::Cell;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dashmap::DashSet;
use foldhash::fast::RandomState;
use hyper::Uri;
use tokio::signal::unix::{SignalKind, signal};

/// The ids of the open window. All tasks run on one thread, so nothing is counted meanwhile when a
/// window ends.
pub struct Windows {
    seen: DashSet<i64, RandomState>,
    seconds: u64,
    start: Cell<u64>,
}

impl Windows {
    /// Opens the window of `seconds` that holds this moment.
    pub fn new(seconds: u64) -> Self {
        let start = Cell::new(now().as_secs() / seconds * seconds);
        Self { seen: DashSet::default(), seconds, start }
    }

    /// Counts `id` in the open window.
    pub fn add(&self, id: i64) {
        self.seen.insert(id);
    }

    /// Ends windows at the boundaries of the wall clock until SIGTERM, and then the open one.
    pub async fn rotate_until_stopped(&self) -> io::Result<()> {
        let mut stop = signal(SignalKind::terminate())?;
        loop {
            let end = Duration::from_secs(self.start.get() + self.seconds);
            tokio::select! {
                () = tokio::time::sleep(end.saturating_sub(now())) => {
                    // A timer may be early by its resolution.
                    if now() >= end {
                        self.rotate();
                    }
                }
                _ = stop.recv() => {
                    self.rotate();
                    return Ok(());
                }
            }
        }
    }

    fn rotate(&self) {
        let (start, count) = (self.start.get(), self.seen.len());
        eprintln!("window_start={start} Unique requests in the last minute: {count}");
        // The memory stays for the next window.
        self.seen.clear();
        self.start.set(now().as_secs() / self.seconds * self.seconds);
    }
}

/// The id of an accept; `None` for any other request.
pub fn id(uri: &Uri) -> Option<i64> {
    let query = uri.query().filter(|_| uri.path() == "/api/verve/accept")?;
    query.split('&').find_map(|part| part.strip_prefix("id="))?.parse().ok()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
