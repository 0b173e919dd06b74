//! The commit of a record (rules 5 to 7): begin, fix, count each shard, verify, commit.

use crate::cluster::Cluster;
use crate::flaw::Flaw;
use crate::host::{Attempt, Completion, Leader};
use crate::redis::{Fixed, HOSTS, HostState, Line, STATE, Sum, Token, ids};
use crate::scenario::Scenario;

impl Cluster {
    /// Whether `host` may take the token, should it be free.
    pub fn may_begin(&self, host: usize, scenario: &Scenario) -> bool {
        let (flaws, its, state) = (scenario.flaws, &self.hosts[host], &self.redis.state);
        let stands = matches!(state.hosts[host], HostState::Complete(..))
            || flaws.has(Flaw::ScriptsTakeAnyState);
        let same_master =
            its.known[STATE] == self.redis.epochs[STATE] || flaws.has(Flaw::ScriptsTakeAnyMaster);
        its.leader == Leader::Working
            && its.completion == Completion::Completed
            && its.pause == 0
            && self.attempts[host] == Attempt::None
            && stands
            && same_master
            && state.asks()
            && (scenario.grace_may_end || self.all_are_complete())
    }

    /// Whether the token is free, that of `host`, or that of an attempt that has ended.
    pub fn token_is_free(&self, host: usize) -> bool {
        self.redis.state.token.is_none_or(|held| {
            usize::from(held.host) == host
                || !self.attempts.iter().any(|attempt| attempt.token() == Some(held))
        })
    }

    /// `begin`.
    pub fn begin(&mut self, host: usize) {
        let token = Token { host: host as u8, attempt: self.hosts[host].attempt };
        self.redis.state.token = Some(token);
        self.attempts[host] = Attempt::Begun(token, self.redis.epochs[STATE]);
    }

    /// The next step of an attempt.
    pub fn commit_step(&mut self, which: usize, scenario: &Scenario) {
        self.attempts[which] = match self.attempts[which] {
            Attempt::None => Attempt::None,
            Attempt::Begun(token, master) => self.fix(token, master, scenario),
            Attempt::Summing(sum, read, master) if usize::from(read) < scenario.shards => {
                Attempt::Summing(
                    self.read_shard(sum, usize::from(read), scenario),
                    read + 1,
                    master,
                )
            }
            Attempt::Summing(sum, _, master) => {
                Attempt::Verified(self.verify(sum, scenario), master)
            }
            Attempt::Verified(sum, master) => {
                let same_master = master == self.redis.epochs[STATE]
                    || scenario.flaws.has(Flaw::ScriptsTakeAnyMaster);
                if same_master && self.redis.state.commit(&sum, scenario.flaws) {
                    self.committed.note(&self.redis.state.record);
                }
                Attempt::None
            }
        };
    }

    /// `fix`, with the lines of `hosts`.
    fn fix(&mut self, token: Token, master: u8, scenario: &Scenario) -> Attempt {
        let same_master =
            master == self.redis.epochs[STATE] || scenario.flaws.has(Flaw::ScriptsTakeAnyMaster);
        if !same_master || !self.redis.state.is_held(token, scenario.flaws) {
            return Attempt::None;
        }
        let is_awaited =
            |host: &usize| self.hosts[*host].registered && self.redis.lines[*host] != Line::Silent;
        let owed = (0..scenario.ids.len())
            .filter(is_awaited)
            .fold(0, |owed, host| owed | scenario.ids[host]);
        let waited = self.awaited_hosts();
        let state = &mut self.redis.state;
        state.fixed = state.changes;
        let fixed = Fixed {
            hosts: state.hosts,
            waited,
            marks: state.marks,
            revision: state.record.revision,
            owed,
        };
        let marked = (1 << HOSTS) - 1;
        let sum = Sum { token, fixed, count: 0, marked, counted: 0, complete: false };
        Attempt::Summing(sum, 0, master)
    }

    /// One transaction: reads the size of the set, and which known markers are there.
    fn read_shard(&self, mut sum: Sum, shard: usize, scenario: &Scenario) -> Sum {
        let set = self.redis.sets[shard];
        let beside = if scenario.flaws.has(Flaw::NamesAreInTheStateOnly) {
            0
        } else {
            self.redis.names[shard]
        };
        sum.count += (set & !sum.fixed.marks & !beside).count_ones() as u8;
        sum.counted |= ids(set);
        for (host, state) in sum.fixed.hosts.iter().enumerate() {
            if let HostState::Complete(marker, _) = state
                && set & marker != *marker
            {
                sum.marked &= !(1 << host);
            }
        }
        sum
    }

    /// Reads the epochs, and judges each host by them and by its marker.
    fn verify(&mut self, mut sum: Sum, scenario: &Scenario) -> Sum {
        sum.complete = true;
        for (host, &state) in sum.fixed.hosts.iter().enumerate() {
            let is_waited_for = sum.fixed.waited & (1 << host) != 0;
            let holds = match state {
                HostState::Complete(_, epochs) => {
                    let same_epochs = epochs == self.redis.epochs
                        || scenario.flaws.has(Flaw::EpochsAreNotCompared);
                    let holds = same_epochs && sum.marked & (1 << host) != 0;
                    if !holds {
                        self.redis.state.set_back(host, state);
                    }
                    holds
                }
                HostState::Registered | HostState::Unknown => false,
            };
            sum.complete &= holds || !is_waited_for;
        }
        sum
    }
}
