//! The exact counter of Verve: how many distinct 64-bit ids arrived in this window?
//!
//! Any number of threads use one [`Counter`], and all processes that open the same segment, a
//! memory-mapped file, count together. No thread waits for a lock to count an id, to open a window, or
//! to seal one.
//!
//! The folders are the stages: [`table`] holds the ids of one window, [`window`] the windows and their
//! arenas, [`segment`] the file, [`request`] the grammar of requests. The counter and what replication
//! needs of it are built on these.
//!
//! ```
//! use verve_core::{Clock, Counter, SegmentConfig};
//!
//! let counter = Counter::in_memory(&SegmentConfig::default(), Clock::System)?;
//! assert!(counter.add(7)?.new);
//! assert_eq!(counter.add_many(&[7, 8, 9])?.shares[0].new, 2);
//! let record = counter.seal()?;
//! assert_eq!(record.unique, 3);
//! # Ok::<(), verve_core::Error>(())
//! ```
//!
//! # Consistency
//!
//! * `unique` of a sealed window is exact: the ids for which [`Counter::add`] or
//!   [`Counter::add_many`] returned that window, and those of callers that were killed between the
//!   insert and the return. Every process that seals gets the same number, and it never changes.
//! * A window is a tumbling interval aligned to the epoch. An id belongs to the window that was
//!   current when it was inserted. An id that meets the freeze of its window goes to the next.
//! * [`Counter::count`] and [`Counter::current`] are snapshots. `requests`, `late` and `rejected` may be
//!   off by one per process that was killed inside a call.
//! * `kill -9` of any process at any instruction loses no acknowledged id and holds up no other process.
//!   A stopped process keeps at most the arena that it is inside of.
//! * [`Replication::take`] hands out an id that was new once, in the process that inserted it, or not at
//!   all. So the sum of [`Replication::acknowledged`] never exceeds `unique`, and when they are
//!   equal, each id was acknowledged.
//! * The segment lives in memory: it outlives all processes, not the host.

mod counter;
mod error;
pub(crate) mod forks;
pub mod platform;
mod replication;
pub mod request;
pub mod segment;
pub mod shard;
pub mod sync;
pub mod table;
pub mod window;

pub use self::{
    counter::answer::{Answer, BatchAnswer, Http, Placed},
    counter::callback_cells::{CallbackCells, Owner},
    counter::drain::{Drain, ServiceFigures},
    counter::handle::Counter,
    counter::insertion::{Batch, Placement, Share},
    counter::lease::{Leader, Lease},
    counter::maintenance::Maintenance,
    counter::reading::{Record, Unsealed},
    counter::sealed_ring::Ring,
    counter::stats::Stats,
    counter::worker_figures::{ListenerFigures, OwnFigures, WorkerFigure, WorkerFigures},
    error::{Error, Unusable},
    replication::cluster_count::Noted,
    replication::handle::Replication,
    replication::reference_clock::ReferenceClock,
    replication::retention::{Piece, Retention},
    request::batch::BatchFormat,
    request::rejection::Rejection,
    segment::attachment::SegmentConfig,
    segment::clock::{Clock, ManualClock},
    segment::description::{Description, describe, remove},
    segment::locks::Keeper,
    segment::size::{SegmentSize, segment_size},
    shard::{Group, SHARDS, shard_of},
};
