//! The layout of a segment.
//!
//! ```text
//! 0           Header          identity and the shared words
//!             ArenaHeader     16 of them
//!             ParticipantSlot 256 of them, one per process
//!             RecordSlot      1,440 of them, the sealed ring
//!             CallbackFront   the words of the callback cells, and the counts of callbacks
//! FRONT       callback cells  16,384 of 2,304 bytes; they get storage as they are used
//! ARENAS_AT   arena 0, arena 1, ...   each `arena_bytes` long; they get storage as the tables grow
//! ```
//! The file has its full length from the start, and little storage behind it.

use crate::sync::{AtomicI64, AtomicU64};
use crate::table::ArenaHeader;
use crate::window::pins::Pins;
use crate::window::ring::{RECORDS, RecordSlot};
use crate::window::word::ARENAS;

/// The first eight bytes of every segment of any format: `VERVESEG`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"VERVESEG");
/// Number of this format. Raised by every change on which two builds must agree: of this layout, of the
/// mix, the probe and the growth of a table, of packed words and of shared indexes. The tests `format.rs`
/// of the core and of the callbacks pin a digest of these.
pub const FORMAT: u32 = 4;
/// Processes that may be attached at once.
pub const PARTICIPANTS: usize = 256;
/// Kinds of rejections that are counted.
pub const REJECTIONS: usize = 32;
const _: () = assert!(crate::request::rejection::Rejection::ALL.len() <= REJECTIONS);
/// Totals that are shown as never falling.
pub const TOTALS: usize = 3;
/// Figures that a worker of the service may report.
pub const WORKER_FIGURES: usize = 10;
/// Figures of the native listeners of a worker.
pub const LISTENER_FIGURES: usize = 4;
/// Sinks that may keep a cursor in the segment.
pub const SINKS: usize = 8;
/// Windows whose counts in the whole cluster are kept.
pub const CLUSTER_COUNTS: usize = 16;
/// Lock bytes of the participants: far behind all data, and at the same offset in every format, so that
/// a process of any version can tell whether a segment is in use.
pub const LOCKS_AT: u64 = 1 << 62;
/// Bytes of each name in the header.
pub const NAME: usize = 512;

/// Cells of the callback slab.
pub const CALLBACK_CELLS: usize = 16_384;
/// Bytes of a cell of the callback slab: a URL of 2,048 bytes and its words.
pub const CALLBACK_CELL: usize = size_of::<CallbackCell>();
/// Slots for the rates of destinations.
pub const CALLBACK_RATES: usize = 8_192;
/// Counts of callbacks.
pub const CALLBACK_FIGURES: usize = 16;

/// A value that has its cache lines to itself.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct CachePadded<T>(pub T);

/// Identity, and the words that all processes share.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`FORMAT`].
    pub format: u32,
    /// Length of a window in seconds.
    pub window_seconds: u32,
    /// Random: tells this segment from any other.
    pub identity: u64,
    /// Random: the key of the mix.
    pub key: [u64; 3],
    /// Bytes of one arena, a multiple of the page.
    pub arena_bytes: u64,
    /// Number of ids that a window must be able to hold.
    pub max_ids: u64,
    /// Cluster: its length, then UTF-8.
    pub cluster: [u8; NAME],
    /// State directory: its length, then UTF-8.
    pub state_directory: [u8; NAME],
    /// The boot that the clock offset belongs to.
    pub boot: AtomicU64,
    /// The largest sums seen of accepted, new and late ids. A reader sees less while an arena is zeroed.
    pub totals: [AtomicU64; TOTALS],
    spare_before: u64,
    /// The start of the service that drains; 0: none.
    pub drained_start: AtomicU64,
    spare: [u64; 3],

    /// The current word; see [`crate::window::word`].
    pub current: CachePadded<AtomicU64>,
    /// Number of the newest window up to which all are in the ring.
    pub sealed_through: CachePadded<AtomicU64>,
    /// The clock's words; see [`crate::segment::clock`].
    pub clock: CachePadded<ClockWords>,
    /// Leader: term in the high half, writer slot plus one in the low.
    pub lease: CachePadded<AtomicU64>,
    /// Incremented by the leader while it lives.
    pub heartbeat: CachePadded<AtomicU64>,
    /// Start of the newest window that each sink has taken, in seconds since the epoch.
    pub cursors: CachePadded<[AtomicU64; SINKS]>,
    /// Number of the window up to which arenas may be cleared; 0: no restriction. See
    /// [`crate::Retention::enable`].
    pub settled: CachePadded<AtomicU64>,
    /// Counts that the cluster published; see [`crate::Replication::note_cluster_count`].
    pub cluster_counts: CachePadded<[AtomicU64; CLUSTER_COUNTS]>,
}

/// The words of the clock discipline. The leader writes them, all processes read them.
#[repr(C)]
#[derive(Debug)]
pub struct ClockWords {
    /// Nanoseconds to add to the boot clock.
    pub offset: AtomicI64,
    /// Boot time at which a large step was first seen, in nanoseconds; 0: none.
    pub suspected_at: AtomicU64,
    /// The offset after that step.
    pub suspected_offset: AtomicI64,
    /// 1 while the wall clock is distrusted.
    pub distrusted: AtomicU64,
    /// Wall clock, or reference, minus the segment's clock at the last reading, in nanoseconds.
    pub skew: AtomicI64,
    /// 1 once the offset came from a reference.
    pub reference: AtomicU64,
}

/// Counts of one process in one arena; zeroed with the arena.
#[repr(C, align(32))]
#[derive(Debug, Default)]
pub struct ArenaCounts {
    /// Accepted ids.
    pub requests: AtomicU64,
    /// Ids that were new.
    pub new: AtomicU64,
    /// Ids that met the freeze of the window before.
    pub late: AtomicU64,
    /// Ids that a store has acknowledged.
    pub acknowledged: AtomicU64,
}

/// The words of one participant. The slot belongs to the process that holds its lock byte.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct ParticipantSlot {
    /// The arenas that the process is inside of.
    pub pins: Pins,
    /// Process id of the owner, for operators.
    pub process: AtomicU64,
    /// Incremented by each owner that claims the slot. The cell of a callback names its owner by slot and
    /// generation.
    pub generation: AtomicU64,
    /// Batches, since the segment was made, by all owners of the slot.
    pub batches: AtomicU64,
    /// The start of the service that the owner is a worker of; 0: none. See [`crate::Drain`].
    pub service_start: AtomicU64,
    /// What the native listeners of the owner have served; see [`crate::ListenerFigures`].
    pub listener: [AtomicU64; LISTENER_FIGURES],
    /// Counts of the arenas.
    pub counts: [ArenaCounts; ARENAS],
    /// Refusals by kind, since the segment was made, by all owners of the slot.
    pub rejections: [AtomicU64; REJECTIONS],
    /// Accepted ids of arenas that were zeroed, since the segment was made.
    pub requests_before: AtomicU64,
    /// New ids, likewise.
    pub new_before: AtomicU64,
    /// Late ids, likewise.
    pub late_before: AtomicU64,
    /// What the owner reports of itself; see [`crate::WorkerFigure`].
    pub worker: [AtomicU64; WORKER_FIGURES],
    spare_after: [u64; 3],
}

/// The part of a segment that has storage from the start.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Front {
    /// Identity and shared words.
    pub header: Header,
    /// The arenas' words.
    pub arenas: [ArenaHeader; ARENAS],
    /// The processes' words.
    pub participants: [ParticipantSlot; PARTICIPANTS],
    /// The sealed ring.
    pub ring: [RecordSlot; RECORDS],
    /// The shared words of callbacks, without the content of the cells.
    pub callbacks: CallbackFront,
}

/// The shared words of callbacks, without the content of the cells.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct CallbackFront {
    /// Number of cells that have storage, from the first on. Only rises.
    pub reserved: CachePadded<AtomicU64>,
    /// Counts of all processes since the segment was made.
    pub figures: [AtomicU64; CALLBACK_FIGURES],
    /// The state of each cell, its owner, and how often it was used.
    pub words: [AtomicU64; CALLBACK_CELLS],
    /// Time of the next callback to the destinations of each slot, in nanoseconds of the boot clock.
    pub rates: [AtomicU64; CALLBACK_RATES],
}

/// The content of a cell of the callback slab. Its word says which process owns it, and whether it is
/// whole.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct CallbackCell {
    /// Time at which the request was accepted, in nanoseconds since the epoch by the segment's clock.
    pub accepted: AtomicU64,
    /// Start of the window in which the id was counted, in seconds since the epoch.
    pub window_start: AtomicU64,
    /// One more than the count that is reported; 0 before the first attempt.
    pub count: AtomicU64,
    /// Attempts that have begun.
    pub attempts: AtomicU64,
    /// Bytes of the URL.
    pub length: AtomicU64,
    /// The URL, eight bytes per word.
    pub url: [AtomicU64; 256],
    spare: [u64; 27],
}

/// Bytes of the front.
pub const FRONT: u64 = size_of::<Front>() as u64;
/// Offset of the first arena.
pub const ARENAS_AT: u64 =
    (FRONT + (CALLBACK_CELLS * CALLBACK_CELL) as u64).next_multiple_of(1 << 16);

/// Length of a segment whose arenas have `arena_bytes` bytes. `None` if there can be no such segment.
#[must_use]
pub fn length(arena_bytes: u64) -> Option<u64> {
    if arena_bytes == 0 || !arena_bytes.is_multiple_of(4096) {
        return None;
    }
    arena_bytes.checked_mul(ARENAS as u64)?.checked_add(ARENAS_AT).filter(|&bytes| bytes < LOCKS_AT)
}

/// A name in the form of the header.
#[must_use]
pub fn name_bytes(name: &str) -> [u8; NAME] {
    let mut bytes = [0; NAME];
    let kept = &name.as_bytes()[..name.len().min(NAME - 2)];
    bytes[..2].copy_from_slice(&(kept.len() as u16).to_le_bytes());
    bytes[2..2 + kept.len()].copy_from_slice(kept);
    bytes
}

/// The name in `bytes`.
#[must_use]
pub fn name_text(bytes: &[u8; NAME]) -> String {
    let length = usize::from(u16::from_le_bytes([bytes[0], bytes[1]])).min(NAME - 2);
    String::from_utf8_lossy(&bytes[2..2 + length]).into_owned()
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_segment_has_a_front_and_its_arenas() {
        assert_eq!(ARENAS_AT % (1 << 16), 0);
        assert!(ARENAS_AT >= FRONT + CALLBACK_CELLS as u64 * CALLBACK_CELL as u64);
        assert!(ARENAS_AT < FRONT + CALLBACK_CELLS as u64 * CALLBACK_CELL as u64 + (1 << 16));
        assert_eq!(length(4096), Some(ARENAS_AT + 4096 * ARENAS as u64));
        for none in [0, 1, 4095, 4097, u64::MAX - 4095] {
            assert_eq!(length(none), None);
        }
        // The locks lie beyond.
        let most = (LOCKS_AT - ARENAS_AT - 1) / ARENAS as u64 / 4096 * 4096;
        assert!(length(most).is_some_and(|bytes| bytes < LOCKS_AT));
        assert_eq!(length(most + 4096), None);
    }

    #[test]
    fn a_name_is_kept_up_to_its_length() {
        for name in ["", "a", "verve", &"x".repeat(NAME - 2)] {
            assert_eq!(name_text(&name_bytes(name)), name);
        }
        assert_eq!(name_text(&name_bytes(&"y".repeat(NAME + 5))), "y".repeat(NAME - 2));
        // A damaged length.
        assert_eq!(name_text(&[0xff; NAME]).chars().count(), NAME - 2);
    }
}
