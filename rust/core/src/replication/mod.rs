//! The part of the counter for a store of many hosts: ids to send, to keep and to acknowledge.

pub(crate) mod acknowledged;
pub(crate) mod cluster_count;
pub(crate) mod handle;
pub(crate) mod outbound;
pub(crate) mod reference_clock;
pub(crate) mod retention;
