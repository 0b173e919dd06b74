//! The resolver of the connections: returns only addresses that the egress policy permits. A
//! connection uses exactly the judged addresses, so a name that changes in between gains nothing.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{OnceCell, Semaphore};
use url::Host;

use crate::egress_policy::EgressPolicy;

/// Maximum number of look-ups at once: each holds a thread until the system answers.
const LOOKUPS: usize = 48;
/// Maximum number of look-ups per domain, whose name servers may be slow on purpose.
const PER_DOMAIN: usize = 6;
/// Number of semaphores for domains, chosen by a hash; domains with the same one share it.
const DOMAINS: usize = 512;
/// How long a look-up waits for its turn; less than the time limit of a connection.
const TURN_WAIT: Duration = Duration::from_secs(2);

/// A source of addresses.
pub trait Lookup: fmt::Debug + Send + Sync + 'static {
    /// Looks `name` up. May block.
    fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the system, with its hosts file and its configuration.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Lookup for System {
    fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// The egress policy permits none of the addresses.
#[derive(Clone, Debug)]
pub struct NotPermitted(pub String);

impl fmt::Display for NotPermitted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for NotPermitted {}

/// A name could not be resolved.
#[derive(Clone, Debug)]
pub struct NotResolved(pub String);

impl fmt::Display for NotResolved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for NotResolved {}

/// Too many other look-ups were in progress.
#[derive(Clone, Copy, Debug)]
pub struct Crowded;

impl fmt::Display for Crowded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("too many names are being looked up")
    }
}

impl Error for Crowded {}

/// The reason why a look-up returned no addresses.
#[derive(Clone, Debug)]
pub enum Unanswered {
    /// The name has no address, or its look-up failed.
    NotResolved(NotResolved),
    /// The look-up got no turn in time.
    Crowded(Crowded),
}

impl From<Unanswered> for Box<dyn Error + Send + Sync> {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotResolved(error) => error.into(),
            Unanswered::Crowded(error) => error.into(),
        }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotResolved(error) => error.fmt(formatter),
            Self::Crowded(error) => error.fmt(formatter),
        }
    }
}

type Answer = Result<Vec<IpAddr>, Unanswered>;
type SharedAnswer = Arc<OnceCell<Answer>>;

/// Looks names up and judges their addresses.
#[derive(Clone, Debug)]
pub struct Resolver {
    policy: Arc<EgressPolicy>,
    lookup: Arc<dyn Lookup>,
    /// The host of the egress proxy, which is not judged.
    proxy: Option<Arc<str>>,
    threads: Arc<Semaphore>,
    domains: Arc<[Arc<Semaphore>]>,
    place: RandomState,
    /// Look-ups in progress: requests for the same name share one answer.
    in_flight: Arc<Mutex<HashMap<String, SharedAnswer>>>,
}

/// A request that waits for a look-up. The last request to end removes the look-up from the map.
struct Waiter<'a> {
    resolver: &'a Resolver,
    name: &'a str,
    answer: SharedAnswer,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut in_flight = self.resolver.in_flight();
        // The map has one reference and this request another; others are added only while the map
        // is locked.
        let last = self.answer.initialized() || Arc::strong_count(&self.answer) <= 2;
        if last && in_flight.get(self.name).is_some_and(|answer| Arc::ptr_eq(answer, &self.answer))
        {
            in_flight.remove(self.name);
        }
    }
}

impl Resolver {
    /// A resolver that uses `lookup`; `proxy` is the only host that is not judged.
    pub fn new(
        policy: Arc<EgressPolicy>,
        lookup: Arc<dyn Lookup>,
        proxy: Option<Arc<str>>,
    ) -> Self {
        let threads = Arc::new(Semaphore::new(LOOKUPS));
        let domains = (0..DOMAINS).map(|_| Arc::new(Semaphore::new(PER_DOMAIN))).collect();
        let place = RandomState::new();
        Self { policy, lookup, proxy, threads, domains, place, in_flight: Arc::default() }
    }

    /// All addresses of a name, permitted or not.
    pub async fn addresses(&self, name: &str) -> Answer {
        let answer = self.in_flight().entry(name.to_owned()).or_default().clone();
        let waiter = Waiter { resolver: self, name, answer };
        // If the request that began the look-up gives up, another waiting one continues it.
        waiter.answer.get_or_init(|| self.look_up(name)).await.clone()
    }

    fn in_flight(&self) -> std::sync::MutexGuard<'_, HashMap<String, SharedAnswer>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index of the semaphore of a name's domain.
    fn place_of(&self, name: &str) -> usize {
        self.place.hash_one(domain_of(name)) as usize % DOMAINS
    }

    async fn look_up(&self, name: &str) -> Answer {
        let failed =
            |error: &dyn fmt::Display| Unanswered::NotResolved(NotResolved(format!("{error}")));
        let turn = async {
            let domain = self.domains[self.place_of(name)].clone().acquire_owned().await;
            (domain, self.threads.clone().acquire_owned().await)
        };
        let turn = tokio::time::timeout(TURN_WAIT, turn)
            .await
            .map_err(|_| Unanswered::Crowded(Crowded))?;
        let (lookup, name) = (self.lookup.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || {
            // Held by the thread, which stays busy even if the caller gives up.
            let _turn = turn;
            lookup.addresses(&name)
        })
        .await
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))
    }

    async fn permitted(self, name: String) -> Result<Addrs, Box<dyn Error + Send + Sync>> {
        let found = self.addresses(&name).await?;
        let any = self.proxy.as_deref() == Some(name.as_str());
        let host = Host::Domain(name.as_str());
        let permitted: Vec<SocketAddr> = found
            .iter()
            .filter(|&&address| any || self.policy.permits(&host, address))
            .map(|&address| (address, 0).into())
            .collect();
        if permitted.is_empty() {
            return Err(if found.is_empty() {
                NotResolved("the name has no address".into()).into()
            } else {
                NotPermitted(format!("no address of the host is permitted: {found:?}")).into()
            });
        }
        Ok(Box::new(permitted.into_iter()))
    }
}

/// The last two labels of a name, which most likely have one owner.
fn domain_of(name: &str) -> &str {
    name.rmatch_indices('.').nth(1).map_or(name, |(dot, _)| &name[dot + 1..])
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(self.clone().permitted(name.as_str().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Lookup, Resolver, Unanswered, domain_of};
    use crate::egress_policy::{AllowList, EgressPolicy, Mode};
    use std::io;
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// Answers for `slow.example` after a while, and for all else at once.
    #[derive(Debug)]
    struct Slow(Duration);

    impl Lookup for Slow {
        fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            if name.ends_with("slow.example") {
                std::thread::sleep(self.0);
            }
            Ok(vec![[8, 8, 8, 8].into()])
        }
    }

    fn resolver(slow: Duration) -> Resolver {
        let policy =
            EgressPolicy { mode: Mode::Public, allow_list: AllowList::default(), proxied: false };
        Resolver::new(Arc::new(policy), Arc::new(Slow(slow)), None)
    }

    #[test]
    fn a_domain_is_the_last_two_labels() {
        assert_eq!(domain_of("a.b.slow.example"), "slow.example");
        assert_eq!(domain_of("slow.example"), "slow.example");
        assert_eq!(domain_of("localhost"), "localhost");
    }

    #[tokio::test]
    async fn slow_names_delay_no_others_and_leave_nothing_behind() {
        let resolver = resolver(Duration::from_secs(5));
        let begin = Instant::now();
        let patience = Duration::from_millis(100);
        let given_up: Vec<_> = (0..96)
            .map(|number| {
                let resolver = resolver.clone();
                tokio::spawn(async move {
                    let name = format!("{number}.slow.example");
                    tokio::time::timeout(patience, resolver.addresses(&name)).await.is_err()
                })
            })
            .collect();
        tokio::task::yield_now().await;
        // A name that shares the semaphore of the slow domain would have to wait for it.
        let slow = resolver.place_of("slow.example");
        let apart = (0..).map(|number| format!("kind-{number}.test"));
        let name = apart.into_iter().find(|name| resolver.place_of(name) != slow).unwrap();
        assert!(resolver.addresses(&name).await.is_ok());
        for waiter in given_up {
            assert!(waiter.await.unwrap());
        }
        assert!(begin.elapsed() < Duration::from_secs(4), "a fast name waited for a slow one");
        assert!(resolver.in_flight().is_empty());
    }

    #[tokio::test]
    async fn a_look_up_without_a_turn_fails_as_crowded() {
        let resolver = resolver(Duration::from_secs(4));
        let names: Vec<_> = (0..7).map(|number| format!("{number}.slow.example")).collect();
        let waiters: Vec<_> = names
            .into_iter()
            .map(|name| {
                let resolver = resolver.clone();
                tokio::spawn(async move { resolver.addresses(&name).await })
            })
            .collect();
        let mut crowded = 0;
        for waiter in waiters {
            crowded += usize::from(matches!(waiter.await.unwrap(), Err(Unanswered::Crowded(_))));
        }
        assert_eq!(crowded, 1);
    }
}
