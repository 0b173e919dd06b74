//! The private state of a host: in its segment, its ledger, and the memory of its leader.

use crate::redis::{Epochs, HostState, Members, Record, Sum, Token};

/// How far the leader is with completing its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Completion {
    /// It has to begin, or begin again.
    #[default]
    Open,
    /// A new marker is registered and the epochs were read; a full send follows.
    Marked(Epochs),
    /// The first half of the full send is done: the marker, and then the ids.
    HalfSent(Epochs),
    /// `complete` is to be called with this.
    Ready(HostState),
    /// `complete` was called.
    Completed,
}

/// How far a leader is with a commit. It may stop for good between any two steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// No commit is under way.
    #[default]
    None,
    /// It holds the token, on a master with these epochs.
    Begun(Token, u8),
    /// `fix` has answered, and this many shards were read.
    Summing(Sum, u8, u8),
    /// The epochs were read after the sum, and compared.
    Verified(Sum, u8),
}

impl Attempt {
    /// The token that it took.
    pub fn token(&self) -> Option<Token> {
        match self {
            Attempt::None => None,
            Attempt::Begun(token, _) => Some(*token),
            Attempt::Summing(sum, ..) | Attempt::Verified(sum, _) => Some(sum.token),
        }
    }
}

/// The leader of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Leader {
    /// It died.
    #[default]
    None,
    /// It has yet to renew the line for the first time.
    Fresh,
    /// It is at work.
    Working,
    /// It renewed the line, noticed a loss, and has yet to recover from it.
    Disturbed,
}

/// A host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Host {
    /// Its leader.
    pub leader: Leader,
    /// The number of its leader.
    pub term: u8,
    /// The number of its attempt to commit; an earlier one may still be under way.
    pub attempt: u8,
    /// Whether it registered for the window.
    pub registered: bool,
    /// The number of markers that it has used. The first is from before the start.
    pub markers: u8,
    /// The epochs of when the first marker was placed, as long as that marker is trusted.
    pub trusted: Option<Epochs>,
    /// The ids that were sent once.
    pub sent: Members,
    /// The ids that Redis acknowledged.
    pub acknowledged: Members,
    /// How far it is with its completion.
    pub completion: Completion,
    /// The epochs as of the last heartbeat.
    pub known: Epochs,
    /// After a loss: the hosts that may not have recovered yet, one bit each.
    pub pause: u8,
    /// The last record that it saw, which is in its ledger.
    pub seen: Record,
    /// Whether its ids are released from arena and spill.
    pub released: bool,
}
