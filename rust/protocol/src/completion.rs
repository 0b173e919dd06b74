//! The work of a leader except commits: heartbeats, losses, completion, retention (rules 2, 3, 8
//! and 9).

use crate::cluster::{Cluster, Phase};
use crate::flaw::Flaw;
use crate::host::{Attempt, Completion, Leader};
use crate::redis::{HOSTS, HostState, Line, Members, Record, marker, markers};
use crate::scenario::Scenario;

impl Cluster {
    /// Whether the leader of `host` works on the window.
    pub fn is_at_work(&self, host: usize, scenario: &Scenario) -> bool {
        let is_over = self.phase == Phase::Expired
            && (!scenario.flaws.has(Flaw::AddsAfterExpiry) || self.hosts[host].seen.complete);
        self.hosts[host].leader != Leader::None && self.hosts[host].registered && !is_over
    }

    /// Whether the next heartbeat of `host` notices that Redis lost something.
    pub fn would_notice(&self, host: usize, scenario: &Scenario) -> bool {
        let its = &self.hosts[host];
        let line = match self.redis.lines[host] {
            Line::Missing => true,
            Line::Silent => !scenario.flaws.has(Flaw::LineNamesNoTerm),
            Line::Live(term) => term != its.term && !scenario.flaws.has(Flaw::LineNamesNoTerm),
        };
        let registration = self.redis.state.hosts[host] == HostState::Unknown
            && !scenario.flaws.has(Flaw::RegistrationIsNotWatched);
        line || registration || its.known != self.redis.epochs
    }

    /// Whether a heartbeat of `host` would change anything.
    pub fn has_to_renew(&self, host: usize, scenario: &Scenario) -> bool {
        let its = &self.hosts[host];
        its.leader == Leader::Fresh
            || its.leader == Leader::Working
                && (self.would_notice(host, scenario) || self.others_wait_for(host))
    }

    fn others_wait_for(&self, host: usize) -> bool {
        self.hosts.iter().any(|other| other.pause & (1 << host) != 0)
    }

    /// The heartbeat.
    pub fn renew(&mut self, host: usize, scenario: &Scenario) {
        let notices = self.would_notice(host, scenario);
        self.redis.lines[host] = Line::Live(self.hosts[host].term);
        self.hosts[host].known = self.redis.epochs;
        self.hosts[host].leader = if notices { Leader::Disturbed } else { Leader::Working };
        if !notices {
            self.stop_waiting_for(host);
        }
    }

    /// The recovery of rule 9.
    pub fn recover(&mut self, host: usize, scenario: &Scenario) {
        let flaws = scenario.flaws;
        let its = &mut self.hosts[host];
        if its.seen.revision > 0 && self.phase != Phase::Expired {
            self.redis.state.restore(host, its.seen, flaws);
        }
        // A host that released its ids is registered, and never complete again.
        self.redis.state.register(host, markers(host, its.markers));
        if its.trusted.is_some() && flaws.has(Flaw::MarkerIsPlacedAgain) {
            self.redis.place(marker(host, 0), scenario.shards);
        }
        its.leader = Leader::Working;
        its.completion = Completion::Open;
        self.attempts[host] = Attempt::None;
        if !flaws.has(Flaw::NoPause) {
            self.pause(host, scenario);
        }
        self.stop_waiting_for(host);
    }

    /// For two seconds `host` commits nothing: until each other host has renewed its line and has
    /// recovered from the losses that it noticed by that.
    pub fn pause(&mut self, host: usize, scenario: &Scenario) {
        let renews = |other: &usize| {
            *other != host
                && self.hosts[*other].registered
                && self.redis.lines[*other] != Line::Silent
                && (self.phase != Phase::Expired || self.is_at_work(*other, scenario))
        };
        self.hosts[host].pause =
            (0..scenario.ids.len()).filter(renews).map(|other| 1 << other).sum();
    }

    /// `host` has recovered, or is away for so long that no host waits for it.
    pub fn stop_waiting_for(&mut self, host: usize) {
        for other in 0..HOSTS {
            self.hosts[other].pause &= !(1 << host);
        }
    }

    /// Another worker is elected. The memory of the one before it is gone.
    pub fn elect(&mut self, host: usize, scenario: &Scenario) {
        let epochs = self.redis.epochs;
        let its = &mut self.hosts[host];
        its.leader = Leader::Fresh;
        its.term += 1;
        its.attempt += 1;
        its.known = epochs;
        let trusts = its.trusted.is_some() && scenario.flaws.has(Flaw::TrustsAnothersMarker);
        its.trusted = trusts.then_some(epochs);
    }

    /// The leader dies.
    pub fn lose_leader(&mut self, host: usize) {
        let its = &mut self.hosts[host];
        its.leader = Leader::None;
        its.completion = Completion::Open;
        its.pause = 0;
        self.attempts[host] = Attempt::None;
    }

    /// Whether there is a next step of completing `host`.
    pub fn has_to_complete(&self, host: usize) -> bool {
        let its = &self.hosts[host];
        let was_set_back = its.completion == Completion::Completed
            && self.redis.state.hosts[host] == HostState::Registered;
        // Without its registration it can do nothing before the next heartbeat.
        let waits = its.completion == Completion::Open
            && self.redis.state.hosts[host] == HostState::Unknown;
        let ended = matches!(self.phase, Phase::Ended | Phase::Expired);
        its.leader == Leader::Working
            && ended
            && !its.released
            && !waits
            && (its.completion != Completion::Completed || was_set_back)
    }

    /// The next step of completing `host` (rule 3).
    pub fn complete_step(&mut self, host: usize, scenario: &Scenario) {
        let flaws = scenario.flaws;
        let Self { redis, hosts, .. } = self;
        let its = &mut hosts[host];
        let ids = scenario.ids[host];
        its.completion = match its.completion {
            Completion::Open | Completion::Completed => {
                let first = marker(host, 0);
                if ids == 0 {
                    Completion::Ready(HostState::Complete(0, redis.epochs))
                } else if redis.holds(first, scenario.shards)
                    && its.acknowledged == ids
                    && its.trusted == Some(redis.epochs)
                {
                    Completion::Ready(HostState::Complete(first, redis.epochs))
                } else {
                    redis.state.register(host, marker(host, its.markers));
                    its.markers += 1;
                    Completion::Marked(redis.epochs)
                }
            }
            Completion::Marked(epochs) | Completion::HalfSent(epochs) => {
                let is_first = its.completion == Completion::Marked(epochs);
                let sends_ids = is_first == flaws.has(Flaw::MarkerGoesInBehindTheIds);
                let sent = marker(host, its.markers - 1);
                if sends_ids {
                    for (shard, set) in redis.sets[..scenario.shards].iter_mut().enumerate() {
                        *set |= scenario.ids_of(host, shard);
                    }
                } else {
                    redis.place(sent, scenario.shards);
                }
                if is_first {
                    Completion::HalfSent(epochs)
                } else {
                    Completion::Ready(HostState::Complete(sent, epochs))
                }
            }
            Completion::Ready(state) => {
                if redis.state.complete(host, state, flaws) {
                    Completion::Completed
                } else {
                    Completion::Open
                }
            }
        };
    }

    /// Whether `host` may release its ids (rule 8; the further window is left out).
    pub fn may_release(&self, host: usize, scenario: &Scenario) -> bool {
        let its = &self.hosts[host];
        let is_in_it = its.completion == Completion::Completed
            && matches!(self.redis.state.hosts[host], HostState::Complete(..))
            || scenario.flaws.has(Flaw::ReleasesBeforeCompletion);
        let record = &self.redis.state.record;
        its.leader == Leader::Working
            && !its.released
            && is_in_it
            && its.seen.complete
            && (record.revision, record.count) == (its.seen.revision, its.seen.count)
            && !self.redis.state.asks()
    }

    /// `host` releases its `ids`.
    pub fn release(&mut self, host: usize, ids: Members) {
        let its = &mut self.hosts[host];
        its.released = true;
        self.is_an_id_released |= !its.seen.complete || its.seen.counted & ids != ids;
    }

    /// Whether `host` has not seen the record.
    pub fn has_to_see(&self, host: usize) -> bool {
        let parts = |record: &Record| (record.revision, record.count, record.complete);
        let (record, seen) = (&self.redis.state.record, &self.hosts[host].seen);
        record.revision > 0 && record.revision >= seen.revision && parts(record) != parts(seen)
    }

    /// `host` sees the record: it is logged and served.
    pub fn see(&mut self, host: usize, scenario: &Scenario) {
        let mut record = self.redis.state.record;
        self.seen.note(&record);
        if !scenario.flaws.has(Flaw::RestoreAsksForNoRevision) {
            // It has no use, but would make states differ.
            record.published_changes = 0;
        }
        self.hosts[host].seen = record;
    }

    /// Whether `host` has to deliver what it saw (rule 10).
    pub fn has_to_deliver(&self, host: usize) -> bool {
        let by = self.redis.state.delivery.map(usize::from);
        by.is_some_and(|by| by == host || self.hosts[by].leader == Leader::None)
            && self.hosts[host].leader == Leader::Working
            && !self.has_to_see(host)
    }
}
