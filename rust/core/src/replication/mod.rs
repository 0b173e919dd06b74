//! What a store of many hosts needs of the counter: ids to send, to keep and to acknowledge.

pub(crate) mod acknowledged;
pub(crate) mod cluster_count;
pub(crate) mod handle;
pub(crate) mod outbound;
pub(crate) mod reference_clock;
pub(crate) mod retention;
