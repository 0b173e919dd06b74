//! The scenario as a model for stateright: what can happen next, and what must hold.

use stateright::{Model, Property};

use crate::cluster::{Cluster, Phase};
use crate::flaw::Flaw;
use crate::host::{Attempt, Leader};
use crate::redis::{HOSTS, Line, Redis, STATE, StateHash, ids};
use crate::scenario::Scenario;

/// A step. Hosts are given by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Rule 2: the host registers.
    Register(usize),
    /// Rule 2: its marker is placed.
    Place(usize),
    /// The window starts.
    Start,
    /// Rule 1: a worker sends its host's next id.
    Send(usize),
    /// The same, and the reply is lost.
    SendWithoutReply(usize),
    /// The window ends, and is frozen.
    End,
    /// Rule 3: a step of completing the host.
    Complete(usize),
    /// Rule 5: the host takes the free token.
    Begin(usize),
    /// Rule 5: it takes the token of a slow host.
    TakeOver(usize),
    /// Rules 5 to 7: a step of the commit.
    Commit(usize),
    /// The host reads the record.
    See(usize),
    /// Rule 10.
    Deliver(usize),
    /// Rule 8.
    Release(usize),
    /// Rule 9: a heartbeat that changes something.
    Renew(usize),
    /// Rule 9: the recovery from a loss.
    Recover(usize),
    /// An attempt is overtaken by another one of its host.
    Depose(usize),
    /// The leader dies.
    Die(usize),
    /// Another leader is elected.
    Elect(usize),
    /// The host had no leader for a minute.
    StayAway(usize),
    /// Redis loses everything.
    Flush,
    /// Redis loses a set.
    Evict(usize),
    /// Redis loses the names of markers beside a set.
    EvictNames(usize),
    /// Redis loses the hash `state`.
    LoseState,
    /// A replica of this master falls behind.
    FallBehind(usize),
    /// It becomes the master.
    FailOver,
    /// 24 h are over.
    Expire,
}

impl Scenario {
    fn add_steps(&self, cluster: &Cluster, host: usize, actions: &mut Vec<Action>) {
        let its = &cluster.hosts[host];
        let is_before_end = matches!(cluster.phase, Phase::Before | Phase::Open);
        if !its.registered && is_before_end {
            actions.push(Action::Register(host));
        }
        let is_in_time = cluster.phase == Phase::Before
            || cluster.phase == Phase::Open && self.flaws.has(Flaw::TrustsALateMarker);
        if its.registered && its.trusted.is_none() && is_in_time && its.leader == Leader::Working {
            actions.push(Action::Place(host));
        }
        if cluster.phase == Phase::Open && its.registered && its.sent != self.ids[host] {
            actions.push(Action::Send(host));
            if cluster.faults.lost_replies > 0 {
                actions.push(Action::SendWithoutReply(host));
            }
        }
        if !cluster.is_at_work(host, self) {
            return;
        }
        let steps = [
            (cluster.has_to_complete(host), Action::Complete(host)),
            (cluster.attempts[host] != Attempt::None, Action::Commit(host)),
            (its.leader == Leader::Working && cluster.has_to_see(host), Action::See(host)),
            (cluster.has_to_deliver(host), Action::Deliver(host)),
            (self.releasing && cluster.may_release(host, self), Action::Release(host)),
            (cluster.has_to_renew(host, self), Action::Renew(host)),
            (its.leader == Leader::Disturbed, Action::Recover(host)),
        ];
        actions.extend(steps.iter().filter(|(is_next, _)| *is_next).map(|(_, action)| *action));
        if cluster.may_begin(host, self) {
            if cluster.token_is_free(host) {
                actions.push(Action::Begin(host));
            } else if cluster.faults.slow > 0 {
                actions.push(Action::TakeOver(host));
            }
        }
    }

    fn add_faults(&self, cluster: &Cluster, actions: &mut Vec<Action>) {
        let faults = &cluster.faults;
        for host in 0..self.ids.len() {
            let its = &cluster.hosts[host];
            let is_alone = cluster.attempts[HOSTS] == Attempt::None;
            if faults.deposed > 0 && is_alone && cluster.attempts[host] != Attempt::None {
                actions.push(Action::Depose(host));
            }
            if its.leader == Leader::None {
                actions.push(Action::Elect(host));
                if faults.absences > 0 && cluster.redis.lines[host] != Line::Silent {
                    actions.push(Action::StayAway(host));
                }
            } else if faults.deaths > 0 && its.registered {
                actions.push(Action::Die(host));
            }
        }
        if cluster.redis != (Redis { epochs: cluster.redis.epochs, ..Redis::default() }) {
            if faults.flushes > 0 {
                actions.push(Action::Flush);
            }
            if faults.expiries > 0 && cluster.phase == Phase::Ended {
                actions.push(Action::Expire);
            }
        }
        if faults.state_losses > 0 && cluster.redis.state != StateHash::default() {
            actions.push(Action::LoseState);
        }
        if faults.evictions > 0 {
            let full = |shard: &usize| cluster.redis.sets[*shard] != 0;
            actions.extend((0..self.shards).filter(full).map(Action::Evict));
            let named = |shard: &usize| cluster.redis.names[*shard] != 0;
            actions.extend((0..self.shards).filter(named).map(Action::EvictNames));
        }
        if let Some(replica) = &cluster.replica {
            if cluster.fall_behind(replica.master) != *replica {
                actions.push(Action::FailOver);
            }
        } else {
            if faults.shard_failovers > 0 {
                actions.extend((0..self.shards).map(Action::FallBehind));
            }
            if faults.state_failovers > 0 {
                actions.push(Action::FallBehind(STATE));
            }
        }
    }

    fn may_end(&self, cluster: &Cluster) -> bool {
        let unsent = |host: usize| (self.ids[host] & !cluster.hosts[host].sent).count_ones();
        let all_registered = (0..self.ids.len()).all(|host| cluster.hosts[host].registered);
        let unsent: u32 = (0..self.ids.len()).map(unsent).sum();
        cluster.phase == Phase::Open && all_registered && unsent <= cluster.faults.unsent.into()
    }

    fn send(&self, cluster: &mut Cluster, host: usize, is_acknowledged: bool) {
        let its = &mut cluster.hosts[host];
        let left = self.ids[host] & !its.sent;
        let id = left & left.wrapping_neg();
        its.sent |= id;
        if is_acknowledged {
            its.acknowledged |= id;
        } else {
            cluster.faults.lost_replies -= 1;
        }
        cluster.redis.sets[self.shard_of(id)] |= id;
    }

    fn step(&self, cluster: &mut Cluster, action: Action) {
        match action {
            Action::Register(host) => cluster.register(host, self),
            Action::Place(host) => cluster.place_first_marker(host, self),
            Action::Start => cluster.phase = Phase::Open,
            Action::Send(host) => self.send(cluster, host, true),
            Action::SendWithoutReply(host) => self.send(cluster, host, false),
            Action::End => cluster.phase = Phase::Ended,
            Action::Complete(host) => cluster.complete_step(host, self),
            Action::Begin(host) => cluster.begin(host),
            Action::TakeOver(host) => {
                cluster.faults.slow -= 1;
                cluster.begin(host);
            }
            Action::Commit(which) => cluster.commit_step(which, self),
            Action::See(host) => cluster.see(host, self),
            Action::Deliver(_) => cluster.redis.state.delivery = None,
            Action::Release(host) => cluster.release(host, self.ids[host]),
            Action::Renew(host) => cluster.renew(host, self),
            Action::Recover(host) => cluster.recover(host, self),
            Action::Elect(host) => cluster.elect(host, self),
            _ => Self::fail(cluster, action),
        }
    }

    fn fail(cluster: &mut Cluster, fault: Action) {
        let redis = &mut cluster.redis;
        match fault {
            Action::Depose(host) => {
                cluster.faults.deposed -= 1;
                cluster.hosts[host].attempt += 1;
                cluster.attempts[HOSTS] = std::mem::take(&mut cluster.attempts[host]);
            }
            Action::Die(host) => {
                cluster.faults.deaths -= 1;
                cluster.lose_leader(host);
            }
            Action::StayAway(host) => {
                cluster.faults.absences -= 1;
                redis.lines[host] = Line::Silent;
                cluster.stop_waiting_for(host);
            }
            Action::Flush => {
                cluster.faults.flushes -= 1;
                *redis = Redis { epochs: redis.epochs, ..Redis::default() };
            }
            Action::Evict(shard) => {
                cluster.faults.evictions -= 1;
                redis.sets[shard] = 0;
            }
            Action::EvictNames(shard) => {
                cluster.faults.evictions -= 1;
                redis.names[shard] = 0;
            }
            Action::LoseState => {
                cluster.faults.state_losses -= 1;
                redis.state = StateHash::default();
            }
            Action::FallBehind(master) => {
                if master == STATE {
                    cluster.faults.state_failovers -= 1;
                } else {
                    cluster.faults.shard_failovers -= 1;
                }
                cluster.replica = Some(cluster.fall_behind(master));
            }
            Action::FailOver => {
                let replica = cluster.replica.take().expect("a replica is behind");
                cluster.fail_over(&replica);
            }
            Action::Expire => {
                cluster.faults.expiries -= 1;
                cluster.phase = Phase::Expired;
                let Redis { lines, epochs, .. } = *redis;
                *redis = Redis { lines, epochs, ..Redis::default() };
            }
            other => unreachable!("{other:?} is no fault"),
        }
    }

    /// Whether nothing but a fault can happen any more.
    fn is_at_rest(&self, cluster: &Cluster) -> bool {
        let mut actions = Vec::new();
        self.add_all_steps(cluster, &mut actions);
        actions.is_empty()
            && cluster.hosts[..self.ids.len()].iter().all(|host| host.leader != Leader::None)
    }

    fn add_all_steps(&self, cluster: &Cluster, actions: &mut Vec<Action>) {
        let all_registered = (0..self.ids.len()).all(|host| cluster.hosts[host].registered);
        if cluster.phase == Phase::Before && (all_registered || self.from_registration) {
            actions.push(Action::Start);
        }
        if self.may_end(cluster) {
            actions.push(Action::End);
        }
        for host in 0..self.ids.len() {
            self.add_steps(cluster, host, actions);
        }
        if cluster.attempts[HOSTS] != Attempt::None {
            actions.push(Action::Commit(HOSTS));
        }
    }
}

/// The names of the properties.
pub mod names {
    /// A complete record counts each id of the hosts that were to be waited for.
    pub const NONE_LOST: &str = "a complete record counts all ids";
    /// A count is that of the ids in the sets.
    pub const NONE_TWICE: &str = "no id is counted twice, and no marker";
    /// Of what hosts saw, so of what was logged, served or delivered.
    pub const SEEN: &str = "no revision that was seen contradicts another";
    /// Of what was committed, seen or not.
    pub const COMMITTED: &str = "no revision that was committed contradicts another";
    /// When faults have ended.
    pub const IN_THE_END: &str = "in the end a complete record counts all ids";
    /// Rule 8.
    pub const KEPT: &str = "ids are given up only when a complete record counts them";
    /// All of them.
    pub const ALL: [&str; 6] = [NONE_LOST, NONE_TWICE, SEEN, COMMITTED, IN_THE_END, KEPT];
}

impl Model for Scenario {
    type State = Cluster;
    type Action = Action;

    fn init_states(&self) -> Vec<Cluster> {
        vec![Cluster::new(self)]
    }

    fn actions(&self, cluster: &Cluster, actions: &mut Vec<Action>) {
        self.add_all_steps(cluster, actions);
        self.add_faults(cluster, actions);
    }

    fn next_state(&self, cluster: &Cluster, action: Action) -> Option<Cluster> {
        let mut next = cluster.clone();
        self.step(&mut next, action);
        // A replica that falls behind does so at the first write that it misses: earlier, the run
        // is the same.
        if let (Some(before), Some(after)) = (&cluster.replica, &next.replica)
            && cluster.fall_behind(before.master) == *before
            && next.fall_behind(after.master) == *after
        {
            return None;
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(names::NONE_LOST, |_, cluster: &Cluster| {
                let record = &cluster.redis.state.record;
                !record.complete || record.counted & record.owed == record.owed
            }),
            Property::always(names::NONE_TWICE, |_, cluster: &Cluster| {
                let record = &cluster.redis.state.record;
                u32::from(record.count) == ids(record.counted).count_ones()
            }),
            Property::always(names::SEEN, |_, cluster: &Cluster| !cluster.seen.is_broken),
            Property::always(names::COMMITTED, |_, cluster: &Cluster| !cluster.committed.is_broken),
            Property::always(names::IN_THE_END, |scenario: &Self, cluster: &Cluster| {
                let record = &cluster.redis.state.record;
                let released = cluster.hosts.iter().any(|host| host.released);
                let is_good = record.counted == scenario.all_ids()
                    && record.complete
                    && cluster.redis.state.delivery.is_none();
                is_good
                    || released && !record.complete
                    || cluster.phase == Phase::Expired
                    || !scenario.is_at_rest(cluster)
            }),
            Property::always(names::KEPT, |_, cluster: &Cluster| !cluster.is_an_id_released),
        ]
    }
}
