//! The resolver that connections use: it gives them the addresses that the guard permits, and no
//! others. What was judged is what is connected to; a name that changes in between gains nothing.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{OnceCell, Semaphore};
use url::Host;

use crate::guard::Guard;

/// Look-ups that may be under way at once: each holds a thread until the system answers.
const LOOKUPS: usize = 48;

/// Where the addresses of a name come from.
pub trait Lookup: fmt::Debug + Send + Sync + 'static {
    /// The addresses of `name`; may block.
    fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the system, with its hosts file and all else that it is set up with.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Lookup for System {
    fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// The guard permits none of the addresses.
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

type Answer = Result<Vec<IpAddr>, NotResolved>;

/// Resolves and judges.
#[derive(Clone, Debug)]
pub struct Resolver {
    guard: Arc<Guard>,
    lookup: Arc<dyn Lookup>,
    /// The host of the egress proxy, which goes where its operator put it.
    proxy: Option<Arc<str>>,
    threads: Arc<Semaphore>,
    /// Look-ups under way: who asks for the same name meanwhile gets the same answer.
    under_way: Arc<Mutex<HashMap<String, Arc<OnceCell<Answer>>>>>,
}

impl Resolver {
    /// A resolver that asks `lookup`; `proxy` is the one host that is not judged.
    pub fn new(guard: Arc<Guard>, lookup: Arc<dyn Lookup>, proxy: Option<Arc<str>>) -> Self {
        let threads = Arc::new(Semaphore::new(LOOKUPS));
        Self { guard, lookup, proxy, threads, under_way: Arc::default() }
    }

    /// All addresses of a name.
    pub async fn addresses(&self, name: &str) -> Answer {
        let cell = self.under_way().entry(name.to_owned()).or_default().clone();
        // Whoever waits goes on with the look-up if the one who began it gives up.
        let answer = cell.get_or_init(|| self.look_up(name)).await.clone();
        let mut under_way = self.under_way();
        if under_way.get(name).is_some_and(|current| Arc::ptr_eq(current, &cell)) {
            under_way.remove(name);
        }
        answer
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<OnceCell<Answer>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_up(&self, name: &str) -> Answer {
        let failed = |error: &dyn fmt::Display| NotResolved(format!("{error}"));
        let thread = self.threads.clone().acquire_owned().await.map_err(|error| failed(&error))?;
        let (lookup, name) = (self.lookup.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || {
            // Held by the thread: a caller that gives up does not make it any freer.
            let _thread = thread;
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
            .filter(|&&address| any || self.guard.permits(&host, address))
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

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(self.clone().permitted(name.as_str().to_owned()))
    }
}
