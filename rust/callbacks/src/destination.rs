//! A destination: scheme, host and port, with all that waits for it.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use url::Host;

use crate::circuit_breaker::Pace;

/// What waits for a destination, and how it does.
#[derive(Debug)]
pub struct Destination {
    /// Cells to be sent, in order.
    pub waiting: VecDeque<u32>,
    /// Posts under way.
    pub in_flight: usize,
    /// Cells that wait for their time.
    pub later: usize,
    /// How many may be under way.
    pub pace: Pace,
    /// The receiver asked to be left alone until then.
    pub paused_until: Option<Instant>,
    /// Whether it has its turn coming, or a timer that gives it one.
    pub scheduled: bool,
    /// Whether its connections may be kept.
    pub keep: bool,
    /// Whether it is limited to the rate of public destinations.
    pub limited: bool,
    /// When something was last sent.
    pub used: Instant,
}

impl Destination {
    /// One that nothing is known of.
    #[must_use]
    pub fn new(keep: bool, limited: bool) -> Self {
        Self {
            waiting: VecDeque::new(),
            in_flight: 0,
            later: 0,
            pace: Pace::default(),
            paused_until: None,
            scheduled: false,
            keep,
            limited,
            used: Instant::now(),
        }
    }

    /// Whether a post may begin, as far as the destination itself goes.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.waiting.is_empty() && self.in_flight < self.pace.window()
    }

    /// Whether nothing waits for it in any way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0 && self.later == 0 && !self.scheduled
    }
}

/// Scheme, host and port of an endpoint in its normal form, which has a path.
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

/// The number of an origin, which nobody can choose: `key` is a secret of the segment.
#[must_use]
pub fn number(key: u64, origin: &str) -> u64 {
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
    fn an_origin_is_what_stands_before_the_path() {
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
