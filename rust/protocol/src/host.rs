//! What a host keeps for itself: in its segment, in its ledger, and in the memory of its leader.

use crate::redis::{Epochs, Members, Record, Standing, Sum, Token};

/// How far the leader is with closing the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Closing {
    /// It has to begin, or to begin again.
    #[default]
    Open,
    /// A new marker is known by name, the epochs were read; a full send follows.
    Marked(Epochs),
    /// The first half of the full send is done: the marker, and then the ids.
    HalfSent(Epochs),
    /// `complete` is to be called with this.
    Ready(Standing),
    /// It was called.
    Closed,
}

/// How far somebody is with publishing. Between any two of these steps it may stop for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// Nobody is at it.
    #[default]
    None,
    /// It holds the token, on a master with these epochs.
    Begun(Token, u8),
    /// `fix` has answered; so many shards were read.
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
    /// It has renewed the line, saw that Redis lost something, and has yet to see to it.
    Disturbed,
}

/// A host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Host {
    /// Its leader.
    pub leader: Leader,
    /// The number of its leader.
    pub term: u8,
    /// The number of its attempt at publishing; a new one where an old one may still be under way.
    pub attempt: u8,
    /// Whether it registered for the window.
    pub registered: bool,
    /// The markers that it has used. The first is that of before the start.
    pub markers: u8,
    /// The epochs of when the first marker was placed, as long as that marker is trusted.
    pub trusted: Option<Epochs>,
    /// The ids that were sent once.
    pub sent: Members,
    /// The ids of which Redis said so.
    pub acknowledged: Members,
    /// How far it is with closing.
    pub closing: Closing,
    /// The epochs as of the last heartbeat.
    pub known: Epochs,
    /// After a loss: the hosts that may not have seen to it yet, a bit each.
    pub pause: u8,
    /// The last record that it saw; in its ledger.
    pub seen: Record,
    /// Whether its ids are gone from arena and spill.
    pub gave_up: bool,
}
