//! What is explored: which ids, from when on, and how much may go wrong in one run.

use crate::flaw::{Flaw, Flaws};
use crate::redis::Members;

/// How often each fault may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Ids whose worker dies before it sends them.
    pub unsent: u8,
    /// Acknowledgements that do not arrive.
    pub lost_replies: u8,
    /// Leaders that die. Another comes after it.
    pub deaths: u8,
    /// Hosts without a leader for so long that nobody waits for them. They come back.
    pub absences: u8,
    /// Attempts that are overtaken by another host, and go on later.
    pub slow: u8,
    /// Attempts that are overtaken by another one of the same host, and go on later.
    pub deposed: u8,
    /// Redis loses everything.
    pub flushes: u8,
    /// Redis loses a set.
    pub evictions: u8,
    /// Redis loses the hash `state`.
    pub state_losses: u8,
    /// A replica of a shard that is behind becomes the master.
    pub shard_failovers: u8,
    /// A replica of `state` and `hosts` that is behind becomes the master.
    pub state_failovers: u8,
    /// The keys of the window expire.
    pub expiries: u8,
}

/// A bounded model.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The ids of each host, as bits.
    pub ids: &'static [Members],
    /// The number of shards: ids of even numbers are in the first.
    pub shards: usize,
    /// Whether the hosts have yet to register. Else they did, and placed their markers.
    pub from_registration: bool,
    /// Whether the grace may be over before all hosts are complete.
    pub grace_may_end: bool,
    /// Whether hosts give their ids up.
    pub releasing: bool,
    /// What may go wrong.
    pub faults: Faults,
    /// What is wrong with the protocol.
    pub flaws: Flaws,
}

impl Scenario {
    /// Hosts with these ids, one shard, hosts that are ready, and no fault.
    pub fn of(ids: &'static [Members]) -> Self {
        Scenario {
            ids,
            shards: 1,
            from_registration: false,
            grace_may_end: true,
            releasing: false,
            faults: Faults::default(),
            flaws: Flaws::default(),
        }
    }

    /// The same with these faults.
    #[must_use]
    pub fn with(self, faults: Faults) -> Self {
        Scenario { faults, ..self }
    }

    /// The same under a protocol that is wrong.
    #[must_use]
    pub fn flawed(self, flaw: Flaw) -> Self {
        Scenario { flaws: Flaws(Some(flaw)), ..self }
    }

    /// The ids that some host has.
    pub fn all_ids(&self) -> Members {
        self.ids.iter().fold(0, |all, ids| all | ids)
    }

    /// The shard of an id.
    pub fn shard_of(&self, id: Members) -> usize {
        id.trailing_zeros() as usize % self.shards
    }

    /// The ids of `host` that are in `shard`.
    pub fn ids_of(&self, host: usize, shard: usize) -> Members {
        let ids = (0..Members::BITS).map(|bit| self.ids[host] & (1 << bit));
        ids.filter(|&id| id != 0 && self.shard_of(id) == shard).sum()
    }
}
