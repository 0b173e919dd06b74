//! A destination: scheme, host and port of endpoints, with its waiting callbacks.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use url::Host;

use crate::circuit_breaker::CircuitBreaker;
use crate::concurrency::ConcurrencyLimit;

/// A callback in its cell, with the hash of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queued {
    /// The index of the cell.
    pub index: u32,
    /// The hash of the destination.
    pub destination: u64,
}

/// Whether the connections to a destination are kept open between posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// The connections are kept.
    Kept,
    /// Each post has its own connection.
    Closed,
}

/// Whether a destination is subject to the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// The limit applies: a public destination.
    Limited,
    /// The limit does not apply: the allow list names the destination.
    Unlimited,
}

/// The callbacks and the state of one destination.
#[derive(Debug)]
pub struct Destination {
    /// Cells to be sent, in order.
    pub waiting: VecDeque<u32>,
    /// Posts in flight.
    pub in_flight: usize,
    /// Cells that wait for a timer.
    pub delayed: usize,
    /// Limits the posts in flight.
    pub concurrency: ConcurrencyLimit,
    /// Stops new callbacks while the destination fails.
    pub breaker: CircuitBreaker,
    /// End of a pause that the receiver asked for.
    pub paused_until: Option<Instant>,
    /// Whether the destination is in the queue of turns, or has a timer that puts it there.
    pub is_scheduled: bool,
    /// Whether its connections are kept.
    pub connections: Connections,
    /// Whether the rate limit applies.
    pub rate: Rate,
    /// Time of the last post.
    pub last_used: Instant,
}

impl Destination {
    /// A new destination without callbacks.
    #[must_use]
    pub fn new(connections: Connections, rate: Rate) -> Self {
        Self {
            waiting: VecDeque::new(),
            in_flight: 0,
            delayed: 0,
            concurrency: ConcurrencyLimit::default(),
            breaker: CircuitBreaker::default(),
            paused_until: None,
            is_scheduled: false,
            connections,
            rate,
            last_used: Instant::now(),
        }
    }

    /// Whether a callback waits and the concurrency limit permits a post.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.waiting.is_empty() && self.in_flight < self.concurrency.posts()
    }

    /// Whether no callback waits, is delayed or is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0 && self.delayed == 0 && !self.is_scheduled
    }
}

/// Scheme, host and port of an endpoint in its normal form, which always has a path.
#[must_use]
pub fn origin(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..].find(['/', '?', '#']).map_or(url.len(), |at| authority + at);
    &url[..end]
}

/// The host of an origin.
#[must_use]
pub fn host(origin: &str) -> Host<&str> {
    let authority = origin.split_once("://").map_or(origin, |(_, authority)| authority);
    if let Some((address, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<Ipv6Addr>().map_or(Host::Domain(address), Host::Ipv6);
    }
    let name = authority.split(':').next().unwrap_or_default();
    name.parse::<Ipv4Addr>().map_or(Host::Domain(name), Host::Ipv4)
}

/// The hash of an origin. `key` is a secret of the segment, so that no caller can choose a hash.
#[must_use]
pub fn hash_of(key: u64, origin: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, origin).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::{host, origin};
    use std::net::{Ipv4Addr, Ipv6Addr};
    use url::Host;

    #[test]
    fn an_origin_ends_before_the_path() {
        for (url, expected, its_host) in [
            ("http://x.example/", "http://x.example", Host::Domain("x.example")),
            ("https://x.example:8443/a?b#c", "https://x.example:8443", Host::Domain("x.example")),
            (
                "http://8.8.8.8:81/a://b/",
                "http://8.8.8.8:81",
                Host::Ipv4(Ipv4Addr::new(8, 8, 8, 8)),
            ),
            ("http://[::1]/", "http://[::1]", Host::Ipv6(Ipv6Addr::LOCALHOST)),
            ("http://[::1]:81/", "http://[::1]:81", Host::Ipv6(Ipv6Addr::LOCALHOST)),
        ] {
            assert_eq!(origin(url), expected);
            assert_eq!(host(origin(url)), its_host);
        }
    }
}
