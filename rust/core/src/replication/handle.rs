//! What a store of many hosts needs of the counter: new ids to send, and what became of them.

use crate::counter::handle::Counter;

/// New ids on their way to a store, and counts of all hosts; see [`Counter::replication`].
#[derive(Clone, Copy, Debug)]
pub struct Replication<'a> {
    pub(super) counter: &'a Counter,
}

impl Counter {
    /// The outbound queue of this process, the acknowledged ids of the segment, and the counts of the
    /// cluster.
    #[must_use]
    pub fn replication(&self) -> Replication<'_> {
        Replication { counter: self }
    }
}
