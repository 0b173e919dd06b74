//! The callbacks of a process: accepts them, and owns the thread that sends them.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use verve_core::request::query::{self, Accept};
use verve_core::{Answer, Counter, Error, Placed, Placement, Rejection};

use crate::cells::Cells;
use crate::circuit_breaker::CircuitBreakers;
use crate::destination::{Queued, hash_of, host, origin};
use crate::egress_policy::{AllowList, EgressPolicy, Mode};
use crate::rate_limit::RateLimit;
use crate::report::{LogMode, Outcome, Report, Reports};
use crate::resolver::{Lookup, System};
use crate::sender::{Command, Limits, Sender};
use crate::signature::Signer;
use crate::transport::{Transport, TransportSettings};

/// Maximum number of threads that look names up.
const THREADS: usize = 64;

/// The settings of callbacks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The destinations that they may be sent to.
    pub mode: Mode,
    /// The networks and hosts that are permitted explicitly.
    pub allow_list: AllowList,
    /// Maximum posts per second to each public destination.
    pub rate: u32,
    /// Signs callbacks.
    pub signer: Signer,
    /// TLS and the egress proxy.
    pub transport: TransportSettings,
    /// Maximum age of a callback that is sent.
    pub max_age: Duration,
    /// Maximum number of posts in flight.
    pub max_in_flight: usize,
    /// The attempts that are reported one by one.
    pub log: LogMode,
    /// Maximum reports per second.
    pub reports_per_second: u32,
    /// The source of addresses.
    pub lookup: Arc<dyn Lookup>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Public,
            allow_list: AllowList::default(),
            rate: 1_000,
            signer: Signer::default(),
            transport: TransportSettings::default(),
            max_age: Duration::from_secs(3_600),
            max_in_flight: 1_024,
            log: LogMode::All,
            reports_per_second: 100,
            lookup: Arc::new(System),
        }
    }
}

impl Settings {
    /// The egress policy and the transport of these settings.
    pub(crate) fn open(&self) -> Result<(Arc<EgressPolicy>, Transport), Error> {
        let policy = Arc::new(EgressPolicy {
            proxied: self.transport.proxy.is_some(),
            mode: self.mode,
            allow_list: self.allow_list.clone(),
        });
        let (lookup, signer) = (self.lookup.clone(), self.signer.clone());
        let transport = Transport::new(policy.clone(), lookup, signer, &self.transport)
            .map_err(|message| Error::Setting { message })?;
        Ok((policy, transport))
    }
}

/// Checks the settings. Returns the number of authorities that they trust.
pub fn check(settings: &Settings) -> Result<usize, Error> {
    settings.open().map(|(_, transport)| transport.authorities)
}

/// Accepts and sends callbacks, in one process, through the cells of its counter's segment.
pub struct Callbacks {
    counter: Arc<Counter>,
    cells: Arc<Cells>,
    policy: Arc<EgressPolicy>,
    breakers: Arc<CircuitBreakers>,
    reports: Arc<Reports>,
    commands: UnboundedSender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Callbacks").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Callbacks {
    /// Starts the sending thread. Call it after any fork.
    pub fn start(counter: Arc<Counter>, settings: &Settings) -> Result<Self, Error> {
        let (policy, transport) = settings.open()?;
        let cells = Arc::new(Cells::new(counter.clone())?);
        // Before this process reserves a cell: so that the cells of an earlier sender can be
        // distinguished.
        let left = cells.take_over_at_start();
        let breakers = Arc::new(CircuitBreakers::default());
        let reports =
            Arc::new(Reports::new(counter.clone(), settings.log, settings.reports_per_second));
        let sender = Sender::new(
            cells.clone(),
            transport,
            policy.clone(),
            breakers.clone(),
            reports.clone(),
            Limits {
                rate: RateLimit::new(settings.rate),
                in_flight: settings.max_in_flight.max(1),
                age: settings.max_age,
            },
        );
        let (commands, received) = unbounded_channel();
        let failed = |error: std::io::Error| Error::Setting {
            message: format!("the thread that sends callbacks cannot be started: {error}"),
        };
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(THREADS)
            .thread_name("verve-resolver")
            .build()
            .map_err(failed)?;
        let body = move || {
            runtime.block_on(sender.run(received, left));
            // Does not wait for look-ups that hang.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new()
            .name("verve-callbacks".into())
            .spawn(body)
            .map_err(failed)?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { counter, cells, policy, breakers, reports, commands, thread })
    }

    /// Answers the query of a `GET /api/verve/accept`, as [`Http::accept`] does, and queues the
    /// callback if it names an endpoint.
    #[must_use]
    pub fn accept(&self, query: &[u8]) -> Answer {
        self.accept_placed(query).0
    }

    /// As [`Callbacks::accept`], with the id and its window unless it was rejected.
    #[inline]
    #[must_use]
    pub fn accept_placed(&self, query: &[u8]) -> (Answer, Option<Placed>) {
        self.counter.http().answered(self.try_accept(query))
    }

    #[inline]
    fn try_accept(&self, query: &[u8]) -> Result<(Accept, Placement), Rejection> {
        let accept = query::parse_accept_with(query, |host| self.policy.opens(host))?;
        let placement = match &accept.endpoint {
            None => self.counter.add(accept.id).map_err(|error| Rejection::from(&error))?,
            Some(endpoint) => self.add_and_queue(accept.id, endpoint)?,
        };
        Ok((accept, placement))
    }

    /// Reserves a cell before the id is counted and makes it ready afterwards: a request answered
    /// `ok` is counted and its callback will be sent; a rejected one is neither.
    fn add_and_queue(&self, id: i64, endpoint: &str) -> Result<Placement, Rejection> {
        let origin = origin(endpoint);
        self.policy.admit(&host(origin))?;
        if self.commands.is_closed() || !self.cells.is_ours() {
            return Err(Rejection::CallbacksUnavailable);
        }
        let destination = hash_of(self.counter.callback_cells().secret(), origin);
        if !self.breakers.admits(destination) {
            return Err(Rejection::DestinationFailing);
        }
        let reservation = self.cells.reserve(destination, endpoint)?;
        let placement = self.counter.add(id).map_err(|error| Rejection::from(&error))?;
        let index = reservation.commit(placement.window_start);
        // Fails if the sender has stopped: another process, or the next start, takes the cell over.
        let _ = self.commands.send(Command::Send(Queued { index, destination }));
        Ok(placement)
    }

    /// The reports since the last call, and the number of unlogged attempts by outcome.
    #[must_use]
    pub fn drain(&self) -> (Vec<Report>, [u64; Outcome::ALL.len()]) {
        self.reports.drain()
    }

    /// Sends callbacks that are due, for at most `patience`, and ends the thread. The rest wait in
    /// the segment.
    pub fn stop(&self, patience: Duration) {
        let _ = self.commands.send(Command::Stop(Instant::now() + patience));
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        if self.cells.is_ours() {
            self.stop(Duration::ZERO);
        }
    }
}
