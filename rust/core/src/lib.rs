//! The exact counter of Verve: how many different 64-bit ids came in this window?
//!
//! One [`Counter`] is used by any number of threads, and by all processes that open the same
//! segment, a memory-mapped file. Nothing in it waits: no lock is taken to count an id, to turn
//! the window, or to close one.
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
//!   insert and the return. It is the same whoever seals, and never changes.
//! * A window is a tumbling interval aligned to the epoch. An id belongs to the window that was
//!   current when it was inserted; one that meets the freeze of its window goes to the next.
//! * [`Counter::count`] and [`Counter::current`] are snapshots. `requests`, `late` and `rejected`
//!   are figures: a process that is killed inside a call may leave them one off.
//! * `kill -9` of any process at any instruction loses nothing that was acknowledged and holds
//!   nobody up. A stopped process keeps at most the arena that it is inside of.
//! * An id that was new is given out once by [`Replication::take`], by the process that inserted it,
//!   or not at all. So the sum of [`Replication::acknowledged`] never exceeds `unique`, and when they are
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
    counter::handle::Counter,
    counter::insertion::{Batch, Placement, Share},
    counter::lease::{Leader, Lease},
    counter::maintenance::Maintenance,
    counter::reading::{Record, Unsealed},
    counter::sealed_ring::Ring,
    counter::stats::Stats,
    counter::worker_figures::{OwnFigures, WorkerFigure, WorkerFigures},
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
    shard::{Group, SHARDS, shard_of},
};
