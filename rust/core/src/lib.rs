//! The exact counter of Verve: how many different 64-bit ids came in this window?
//!
//! One [`Counter`] is used by any number of threads, and by all processes that open the same
//! segment, a memory-mapped file. Nothing in it waits: no lock is taken to count an id, to turn
//! the window, or to close one.
//!
//! ```
//! use verve_core::{Clock, Counter, Identity};
//!
//! let counter = Counter::in_memory(&Identity::default(), Clock::System)?;
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
//! * An id that was new is given out once by [`Counter::take_new`], by the process that inserted it,
//!   or not at all. So the sum of [`Counter::acknowledged`] never exceeds `unique`, and when they are
//!   equal, each id was acknowledged.
//! * The segment lives in memory: it outlives all processes, not the host.

#[cfg(not(loom))]
mod acknowledging;
#[cfg(not(loom))]
mod adding;
#[cfg(not(loom))]
pub mod address;
pub mod announcements;
#[cfg(not(loom))]
mod answer;
#[cfg(not(loom))]
mod arena;
#[cfg(not(loom))]
pub mod batch;
mod bucket;
#[cfg(not(loom))]
mod building;
#[cfg(not(loom))]
pub mod clock;
#[cfg(not(loom))]
mod cluster;
#[cfg(not(loom))]
mod counter;
#[cfg(not(loom))]
mod damage;
#[cfg(not(loom))]
mod description;
#[cfg(not(loom))]
pub mod endpoint;
#[cfg(not(loom))]
mod error;
mod extent;
#[cfg(not(loom))]
mod figures;
pub mod freezing;
#[cfg(not(loom))]
mod id;
#[cfg(not(loom))]
pub mod layout;
#[cfg(not(loom))]
mod lease;
mod line;
#[cfg(not(loom))]
mod live;
#[cfg(not(loom))]
mod locks;
#[cfg(not(loom))]
mod mapping;
pub mod mix;
mod moving;
#[cfg(not(loom))]
mod outgoing;
#[cfg(not(loom))]
pub mod platform;
pub mod primitive;
#[cfg(not(loom))]
mod publishing;
#[cfg(not(loom))]
pub mod query;
#[cfg(not(loom))]
mod reading;
#[cfg(not(loom))]
mod reference;
#[cfg(not(loom))]
pub mod refusal;
#[cfg(not(loom))]
mod retention;
#[cfg(not(loom))]
mod ring;
#[cfg(not(loom))]
mod scans;
#[cfg(not(loom))]
mod seat;
#[cfg(not(loom))]
mod segment;
#[cfg(not(loom))]
pub mod shard;
#[cfg(not(loom))]
mod slab;
pub mod table;
pub mod turn;
#[cfg(not(loom))]
mod upkeep;
pub mod window;
#[cfg(not(loom))]
mod worker;

#[cfg(not(loom))]
pub use self::{
    adding::{Batch, Placement, Share},
    answer::{Answer, BatchAnswer, Placed},
    batch::Kind,
    clock::{Clock, ManualClock},
    cluster::Noted,
    counter::Counter,
    description::{Description, describe, remove},
    error::{Error, Unusable},
    figures::Stats,
    lease::Leader,
    locks::Keeper,
    reading::Record,
    refusal::Refusal,
    retention::{Piece, Retention},
    segment::Identity,
    shard::{Group, SHARDS, shard_of},
    slab::Owner,
    worker::{WorkerFigure, WorkerFigures},
};
