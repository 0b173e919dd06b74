//! What a leader does apart from publishing: heartbeats, losses, closing, keeping (rules 2, 3, 8, 9).

use crate::cluster::{Cluster, Phase};
use crate::flaw::Flaw;
use crate::host::{Attempt, Closing, Leader};
use crate::redis::{HOSTS, Line, Members, Record, Standing, marker, markers};
use crate::scenario::Scenario;

impl Cluster {
    /// Whether the leader of `host` does anything about the window.
    pub fn is_at_work(&self, host: usize, scenario: &Scenario) -> bool {
        let is_over = self.phase == Phase::Expired
            && (!scenario.flaws.has(Flaw::AddsAfterExpiry) || self.hosts[host].seen.complete);
        self.hosts[host].leader != Leader::None && self.hosts[host].registered && !is_over
    }

    /// Whether the next heartbeat of `host` tells that Redis lost something.
    pub fn would_notice(&self, host: usize, scenario: &Scenario) -> bool {
        let its = &self.hosts[host];
        let line = match self.redis.lines[host] {
            Line::Missing => true,
            Line::Silent => !scenario.flaws.has(Flaw::LineNamesNoTerm),
            Line::Live(term) => term != its.term && !scenario.flaws.has(Flaw::LineNamesNoTerm),
        };
        let registration = self.redis.state.hosts[host] == Standing::Unknown
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
            self.no_longer_wait_for(host);
        }
    }

    /// The rest of rule 9.
    pub fn see_to_a_loss(&mut self, host: usize, scenario: &Scenario) {
        let flaws = scenario.flaws;
        let its = &mut self.hosts[host];
        if its.seen.revision > 0 && self.phase != Phase::Expired {
            self.redis.state.restore(host, its.seen, flaws);
        }
        // One that gave its ids up is registered, and never again complete.
        self.redis.state.register(host, markers(host, its.markers));
        if its.trusted.is_some() && flaws.has(Flaw::MarkerIsPlacedAgain) {
            self.redis.place(marker(host, 0), scenario.shards);
        }
        its.leader = Leader::Working;
        its.closing = Closing::Open;
        self.attempts[host] = Attempt::None;
        if !flaws.has(Flaw::NoPause) {
            self.pause(host, scenario);
        }
        self.no_longer_wait_for(host);
    }

    /// For two seconds `host` publishes nothing: until each of the others has renewed its line and
    /// has seen to what it noticed by that.
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

    /// `host` has seen to whatever was lost, or is away for so long that nobody waits.
    pub fn no_longer_wait_for(&mut self, host: usize) {
        for other in 0..HOSTS {
            self.hosts[other].pause &= !(1 << host);
        }
    }

    /// Another worker is elected. What the one before it remembered is gone.
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
        its.closing = Closing::Open;
        its.pause = 0;
        self.attempts[host] = Attempt::None;
    }

    /// Whether there is a next step of closing for `host`.
    pub fn has_to_close(&self, host: usize) -> bool {
        let its = &self.hosts[host];
        let was_set_back =
            its.closing == Closing::Closed && self.redis.state.hosts[host] == Standing::Registered;
        // Without its registration it can do nothing before the next heartbeat.
        let waits =
            its.closing == Closing::Open && self.redis.state.hosts[host] == Standing::Unknown;
        let ended = matches!(self.phase, Phase::Ended | Phase::Expired);
        its.leader == Leader::Working
            && ended
            && !its.gave_up
            && !waits
            && (its.closing != Closing::Closed || was_set_back)
    }

    /// The next step of closing (rule 3).
    pub fn close(&mut self, host: usize, scenario: &Scenario) {
        let flaws = scenario.flaws;
        let Self { redis, hosts, .. } = self;
        let its = &mut hosts[host];
        let ids = scenario.ids[host];
        its.closing = match its.closing {
            Closing::Open | Closing::Closed => {
                let first = marker(host, 0);
                if ids == 0 {
                    Closing::Ready(Standing::Complete(0, redis.epochs))
                } else if redis.holds(first, scenario.shards)
                    && its.acknowledged == ids
                    && its.trusted == Some(redis.epochs)
                {
                    Closing::Ready(Standing::Complete(first, redis.epochs))
                } else {
                    redis.state.register(host, marker(host, its.markers));
                    its.markers += 1;
                    Closing::Marked(redis.epochs)
                }
            }
            Closing::Marked(epochs) | Closing::HalfSent(epochs) => {
                let is_first = its.closing == Closing::Marked(epochs);
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
                    Closing::HalfSent(epochs)
                } else {
                    Closing::Ready(Standing::Complete(sent, epochs))
                }
            }
            Closing::Ready(standing) => {
                if redis.state.complete(host, standing, flaws) {
                    Closing::Closed
                } else {
                    Closing::Open
                }
            }
        };
    }

    /// Whether `host` may give its ids up (rule 8; the further window is left out).
    pub fn may_give_up(&self, host: usize, scenario: &Scenario) -> bool {
        let its = &self.hosts[host];
        let is_in_it = its.closing == Closing::Closed
            && matches!(self.redis.state.hosts[host], Standing::Complete(..))
            || scenario.flaws.has(Flaw::GivesUpBeforeItCloses);
        let record = &self.redis.state.record;
        its.leader == Leader::Working
            && !its.gave_up
            && is_in_it
            && its.seen.complete
            && (record.revision, record.count) == (its.seen.revision, its.seen.count)
            && !self.redis.state.asks()
    }

    /// `host` gives up its `ids`.
    pub fn give_up(&mut self, host: usize, ids: Members) {
        let its = &mut self.hosts[host];
        its.gave_up = true;
        self.is_an_id_given_up |= !its.seen.complete || its.seen.counted & ids != ids;
    }

    /// Whether `host` has not seen the record.
    pub fn has_to_see(&self, host: usize) -> bool {
        let told = |record: &Record| (record.revision, record.count, record.complete);
        let (record, seen) = (&self.redis.state.record, &self.hosts[host].seen);
        record.revision > 0 && record.revision >= seen.revision && told(record) != told(seen)
    }

    /// `host` sees the record: it is logged and served.
    pub fn see(&mut self, host: usize, scenario: &Scenario) {
        let mut record = self.redis.state.record;
        self.seen.note(&record);
        if !scenario.flaws.has(Flaw::RestoreAsksForNoRevision) {
            // Nobody needs it, and states differ by it.
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
