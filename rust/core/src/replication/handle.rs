//! The part of the counter for a store of many hosts: new ids, and those that are acknowledged.

use crate::counter::handle::Counter;

/// New ids for a store, acknowledged ids, and the counts of the cluster; see
/// [`Counter::replication`].
#[derive(Clone, Copy, Debug)]
pub struct Replication<'a> {
    pub(super) counter: &'a Counter,
}

impl Counter {
    /// The outbound queue of this process, the acknowledged ids of the segment, and the counts of
    /// the cluster.
    #[must_use]
    pub fn replication(&self) -> Replication<'_> {
        Replication { counter: self }
    }
}
