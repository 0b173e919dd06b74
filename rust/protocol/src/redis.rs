//! What stands in Redis, and the scripts that change it: each of them is one step of the model.

use crate::flaw::{Flaw, Flaws};

/// The most hosts of a scenario.
pub const HOSTS: usize = 3;
/// The most shards of a scenario.
pub const SHARDS: usize = 2;
/// The most ids of a scenario; they are the low bits of [`Members`].
const IDS: u32 = 4;
/// The most markers of a host.
const MARKERS: u32 = 8;

/// The members of a set, a bit each: ids below, markers above.
pub type Members = u32;

/// The ids among `members`.
pub const fn ids(members: Members) -> Members {
    members & ((1 << IDS) - 1)
}

/// The marker of `host` with the number `number`, as a member of a set.
pub const fn marker(host: usize, number: u8) -> Members {
    assert!((number as u32) < MARKERS, "more closings than a scenario has markers for");
    1 << (IDS + MARKERS * host as u32 + number as u32)
}

/// The first `used` markers of `host`.
pub fn markers(host: usize, used: u8) -> Members {
    (0..used).map(|number| marker(host, number)).sum()
}

/// How often each master was replaced or restarted; what run id and replication id tell.
pub type Epochs = [u8; SHARDS + 1];

/// The master of the hash `state` and of `hosts`; those below are the masters of the shards.
pub const STATE: usize = SHARDS;

/// The field `host:<id>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HostState {
    /// There is no such field.
    #[default]
    Unknown,
    /// Waited for.
    Registered,
    /// All of its ids are in the sets, as long as this marker (0 without ids) is, and these epochs.
    Complete(Members, Epochs),
}

/// The line of a host in `hosts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Line {
    /// There is none.
    #[default]
    Missing,
    /// Renewed of late, by the leader with this term.
    Live(u8),
    /// There, and not renewed for 60 s.
    Silent,
}

/// A published count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// From 1 on; 0 is no record.
    pub revision: u8,
    /// As it was summed.
    pub count: u8,
    /// Whether it claims to count every id of the hosts waited for.
    pub complete: bool,
    /// Completions that it has in it.
    pub published_changes: u8,
    /// For the properties only: the ids that were in the sets at the sum.
    pub counted: Members,
    /// For the properties only: the ids of the hosts that were to be waited for.
    pub owed: Members,
}

/// Whoever is at publishing: a host, and which of its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Its host.
    pub host: u8,
    /// A number that no other attempt of the host has.
    pub attempt: u8,
}

/// The hash `state` of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateHash {
    /// The fields `host:<id>`.
    pub hosts: [HostState; HOSTS],
    /// The fields `mark:<marker>`: the markers that are known by name.
    pub marks: Members,
    /// Completions so far.
    pub changes: u8,
    /// Who publishes.
    pub token: Option<Token>,
    /// `changes`, as the holder of the token found it.
    pub fixed: u8,
    /// The record.
    pub record: Record,
    /// The host that has to deliver the record.
    pub delivery: Option<u8>,
}

/// What an attempt asks `commit` to note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sum {
    /// The attempt that made it.
    pub token: Token,
    /// The state as `fix` found it.
    pub fixed: Fixed,
    /// Members less known markers, of the shards that were read.
    pub count: u8,
    /// The hosts, a bit each, whose marker was found in each shard that was read.
    pub marked: u8,
    /// As in [`Record`].
    pub counted: Members,
    /// Whether all that are waited for stood the comparison.
    pub complete: bool,
}

/// What `fix` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fixed {
    /// The fields `host:<id>`.
    pub hosts: [HostState; HOSTS],
    /// The hosts that are waited for, a bit each.
    pub waited: u8,
    /// The markers that are known.
    pub marks: Members,
    /// The revision of the record.
    pub revision: u8,
    /// As in [`Record`].
    pub owed: Members,
}

/// Two histories of counts cannot both be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conflict;

/// Everything in Redis that is of the window, and `hosts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Redis {
    /// The sets.
    pub sets: [Members; SHARDS],
    /// Beside each set the names of the markers that were added to it, by the same transaction.
    pub names: [Members; SHARDS],
    /// The hash `state`.
    pub state: StateHash,
    /// The hash `hosts`.
    pub lines: [Line; HOSTS],
    /// The epochs of the masters.
    pub epochs: Epochs,
}

impl Redis {
    /// Adds `marker` and its name to each of the first `shards` sets.
    pub fn place(&mut self, marker: Members, shards: usize) {
        for set in self.sets[..shards].iter_mut().chain(&mut self.names[..shards]) {
            *set |= marker;
        }
    }

    /// Whether `member` is in each of the first `shards` sets.
    pub fn holds(&self, member: Members, shards: usize) -> bool {
        self.sets[..shards].iter().all(|set| set & member == member)
    }
}

impl StateHash {
    /// `register`: the host is waited for, and these markers of it are known.
    pub fn register(&mut self, host: usize, marks: Members) {
        self.marks |= marks;
        if self.hosts[host] == HostState::Unknown {
            self.hosts[host] = HostState::Registered;
        }
    }

    /// `complete`: the host has closed. False: Redis lost the registration, nothing was noted.
    pub fn complete(&mut self, host: usize, state: HostState, flaws: Flaws) -> bool {
        if self.hosts[host] == HostState::Unknown && !flaws.has(Flaw::ScriptsTakeAnyState) {
            return false;
        }
        if self.hosts[host] != state {
            self.hosts[host] = state;
            if !flaws.has(Flaw::CompletionsAreNoChanges) {
                self.changes += 1;
            }
        }
        true
    }

    /// Whether the record has to be made, or made again.
    pub fn asks(&self) -> bool {
        self.record.revision == 0 || self.changes > self.record.published_changes
    }

    /// Whether `token` is the one that stands here.
    pub fn is_held(&self, token: Token, flaws: Flaws) -> bool {
        self.token.is_some_and(|held| {
            let same_attempt = held.attempt == token.attempt || flaws.has(Flaw::TokenNamesTheHost);
            held.host == token.host && same_attempt
        })
    }

    /// The second half of the comparison: hosts that failed it close again, unless they just did.
    pub fn set_back(&mut self, host: usize, found: HostState) {
        if self.hosts[host] == found {
            self.hosts[host] = HostState::Registered;
        }
    }

    /// `commit`: the record is the sum, if that is news. Returns whether there is a new revision.
    pub fn commit(&mut self, sum: &Sum, flaws: Flaws) -> bool {
        if !flaws.has(Flaw::CommitsUnchecked) {
            let same_revision = self.record.revision == sum.fixed.revision;
            let same_marks =
                self.marks == sum.fixed.marks || flaws.has(Flaw::MarkersMayComeUpDuringTheSum);
            let held = self.is_held(sum.token, flaws);
            if held {
                self.token = None;
            }
            if !held || !same_revision || !same_marks {
                return false;
            }
        }
        let complete = if flaws.has(Flaw::CompletenessIsJudgedAtCommit) {
            self.hosts.iter().all(|&state| state != HostState::Registered)
        } else {
            sum.complete && self.hosts == sum.fixed.hosts
        };
        let noted = if flaws.has(Flaw::CommitNotesTheChangesOfItsOwnTime) {
            self.changes
        } else {
            self.fixed
        };
        let news = (sum.count, complete) != (self.record.count, self.record.complete);
        let falls = sum.count < self.record.count && !flaws.has(Flaw::CommitsUnchecked);
        // A sum that is refused is noted too: to repeat it would change nothing.
        self.record.published_changes = noted;
        if self.record.revision != 0 && (falls || !news) {
            return false;
        }
        self.record = Record {
            revision: self.record.revision + 1,
            count: sum.count,
            complete,
            published_changes: noted,
            counted: sum.counted,
            owed: sum.fixed.owed,
        };
        self.delivery = Some(sum.token.host);
        true
    }

    /// `restore`: puts a record back that was seen, and has the sets summed again.
    pub fn restore(&mut self, host: usize, seen: Record, flaws: Flaws) {
        // A host that saw a complete record has released its ids, and is never complete again.
        let completes = seen.complete && !self.record.complete && seen.count >= self.record.count;
        let same_number = seen.revision == self.record.revision;
        let same =
            same_number && (seen.count, seen.complete) == (self.record.count, self.record.complete);
        if same || (seen.revision < self.record.revision && !completes) {
            return;
        }
        let published_changes = self.record.published_changes;
        let is_better = seen.revision > self.record.revision
            || completes
            || (seen.count, seen.complete) > (self.record.count, self.record.complete);
        // Each of two records of one number was published by some host: the better gets the next.
        let revision = if seen.revision > self.record.revision {
            seen.revision
        } else {
            self.record.revision + 1
        };
        let record = if is_better { seen } else { self.record };
        self.record = Record { revision, ..record };
        self.delivery = Some(host as u8);
        if is_better && !flaws.has(Flaw::RestoreAsksForNoRevision) {
            self.record.published_changes = published_changes;
            self.changes += 1;
        }
    }
}
