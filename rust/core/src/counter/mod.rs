//! The counter of one process: it inserts ids, reads counts, seals windows and frees arenas.

pub(crate) mod answer;
pub(crate) mod arena;
pub(crate) mod callback_cells;
pub(crate) mod drain;
pub(crate) mod handle;
pub(crate) mod insertion;
pub(crate) mod lease;
pub(crate) mod maintenance;
pub(crate) mod outbound_queue;
pub(crate) mod participant;
pub(crate) mod reading;
pub(crate) mod scan_limit;
pub(crate) mod sealed_ring;
pub(crate) mod sealing;
pub(crate) mod stats;
pub(crate) mod worker_figures;
