//! The table of one arena: a lock-free hash table of ids that is filled, grown and frozen.

pub(crate) mod bucket;
pub(crate) mod census;
pub(crate) mod extent;
pub mod freezing;
pub(crate) mod growth;
pub(crate) mod hash_table;
pub mod mix;
pub(crate) mod simd;

pub(crate) use self::hash_table::{HAS_CLOSED, HAS_EMPTY};
pub use self::{
    bucket::{Bucket, CLOSED, EMPTY, Insert, SLOTS_PER_BUCKET},
    extent::{EXTENTS, Extents, PROBE_LENGTH},
    hash_table::{ArenaHeader, Shortage, Storage, Table, UNCERTAIN, View},
};
