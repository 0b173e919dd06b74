//! The whole state: Redis, the hosts, the commits under way, and the memory of the properties.

use crate::flaw::Flaw;
use crate::host::{Attempt, Host, Leader};
use crate::redis::{HOSTS, HostState, Line, Record, Redis, STATE, marker};
use crate::scenario::{Faults, Scenario};

/// Where the window is. The clocks of the hosts agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has not started.
    Before,
    /// Ids come in.
    Open,
    /// It is frozen on all hosts.
    Ended,
    /// Its 24 h are over, and its keys are gone.
    Expired,
}

/// The counts of each revision so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    /// One more than the count of revision 1, 2, ...; 0 is none.
    counts: [u8; 8],
    /// Whether two of them contradict one another.
    pub is_broken: bool,
}

impl History {
    /// Adds a record: its count must be that of its revision, and not below those before it.
    pub fn note(&mut self, record: &Record) {
        let place = usize::from(record.revision) - 1;
        let (before, from) = self.counts.split_at_mut(place);
        let (same, after) = from.split_first_mut().expect("few revisions");
        let count = record.count + 1;
        self.is_broken |= (*same != 0 && *same != count)
            || before.iter().any(|&earlier| earlier > count)
            || after.iter().any(|&later| later != 0 && later < count);
        *same = count;
    }
}

/// The content of a replica that is behind its master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Replica {
    /// Its master.
    pub master: usize,
    /// The content when it fell behind.
    pub content: Redis,
}

/// A state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// Where the window is.
    pub phase: Phase,
    /// The shared state.
    pub redis: Redis,
    /// The hosts.
    pub hosts: [Host; HOSTS],
    /// The commits under way: one per leader, and one that its own host overtook.
    pub attempts: [Attempt; HOSTS + 1],
    /// A replica that is behind.
    pub replica: Option<Replica>,
    /// What may still go wrong.
    pub faults: Faults,
    /// The committed records, whether or not a host saw them.
    pub committed: History,
    /// The records that a host saw: only those are logged, served and delivered.
    pub seen: History,
    /// Whether a host released an id that no complete record counts.
    pub is_an_id_released: bool,
}

impl Cluster {
    /// The state in which `scenario` begins.
    pub fn new(scenario: &Scenario) -> Self {
        let mut cluster = Cluster {
            phase: Phase::Before,
            redis: Redis::default(),
            hosts: [Host::default(); HOSTS],
            attempts: [Attempt::None; HOSTS + 1],
            replica: None,
            faults: scenario.faults,
            committed: History::default(),
            seen: History::default(),
            is_an_id_released: false,
        };
        for host in 0..scenario.ids.len() {
            cluster.hosts[host].leader = Leader::Working;
            if !scenario.from_registration {
                cluster.register(host, scenario);
                cluster.hosts[host].pause = 0;
                cluster.place_first_marker(host, scenario);
            }
        }
        if !scenario.from_registration {
            cluster.phase = Phase::Open;
        }
        cluster
    }

    /// Rule 2, first half.
    pub fn register(&mut self, host: usize, scenario: &Scenario) {
        if !scenario.flaws.has(Flaw::StartsWithoutPause) {
            self.pause(host, scenario);
        }
        self.redis.state.register(host, marker(host, 0));
        self.redis.lines[host] = Line::Live(self.hosts[host].term);
        let host = &mut self.hosts[host];
        host.registered = true;
        host.markers = 1;
        host.known = self.redis.epochs;
    }

    /// Rule 2, second half.
    pub fn place_first_marker(&mut self, host: usize, scenario: &Scenario) {
        self.redis.place(marker(host, 0), scenario.shards);
        self.hosts[host].trusted = Some(self.hosts[host].known);
    }

    /// The hosts that a commit waits for, one bit each (rule 4).
    pub fn awaited_hosts(&self) -> u8 {
        let waited = |host: &usize| match self.redis.lines[*host] {
            Line::Live(_) => true,
            Line::Silent => false,
            Line::Missing => self.redis.state.hosts[*host] != HostState::Unknown,
        };
        (0..HOSTS).filter(waited).map(|host| 1 << host).sum()
    }

    /// Whether all that are waited for are complete.
    pub fn all_are_complete(&self) -> bool {
        let waited = self.awaited_hosts();
        (0..HOSTS).all(|host| {
            waited & (1 << host) == 0
                || matches!(self.redis.state.hosts[host], HostState::Complete(..))
        })
    }

    /// A master is replaced by a replica that lost the last writes.
    pub fn fail_over(&mut self, replica: &Replica) {
        let master = replica.master;
        if master == STATE {
            self.redis.state = replica.content.state;
            self.redis.lines = replica.content.lines;
        } else {
            self.redis.sets[master] = replica.content.sets[master];
            self.redis.names[master] = replica.content.names[master];
        }
        self.redis.epochs[master] += 1;
    }

    /// What a replica of `master` keeps if it falls behind now.
    pub fn fall_behind(&self, master: usize) -> Replica {
        // The rest is left out, so that states do not differ by it.
        let mut content = Redis::default();
        if master == STATE {
            content.state = self.redis.state;
            content.lines = self.redis.lines;
        } else {
            content.sets[master] = self.redis.sets[master];
            content.names[master] = self.redis.names[master];
        }
        Replica { master, content }
    }
}
