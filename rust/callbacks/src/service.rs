//! Callbacks as a whole: what takes them, and the thread that sends them.

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
use crate::destination::{host, number, origin};
use crate::egress_policy::{AllowList, EgressPolicy, Mode};
use crate::means::Means;
use crate::rate_limit::RateLimit;
use crate::report::{LogMode, Outcome, Report, Reports};
use crate::resolver::{Lookup, System};
use crate::sender::{Command, Sender};
use crate::signature::Signer;
use crate::transport::{Transport, TransportSettings};

/// Threads for look-ups of names.
const THREADS: usize = 64;

/// How callbacks are sent.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where they may go.
    pub mode: Mode,
    /// What the list opens.
    pub allow_list: AllowList,
    /// Posts a second to each public destination.
    pub rate: u32,
    /// What signs them.
    pub signer: Signer,
    /// How the wire is set up.
    pub wire: TransportSettings,
    /// Older callbacks are not sent.
    pub oldest: Duration,
    /// Posts under way at once.
    pub most: usize,
    /// Which attempts are reported.
    pub lines: LogMode,
    /// Reports a second.
    pub per_second: u32,
    /// Where addresses come from.
    pub lookup: Arc<dyn Lookup>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Public,
            allow_list: AllowList::default(),
            rate: 1_000,
            signer: Signer::default(),
            wire: TransportSettings::default(),
            oldest: Duration::from_secs(3_600),
            most: 1_024,
            lines: LogMode::All,
            per_second: 100,
            lookup: Arc::new(System),
        }
    }
}

/// Whether callbacks could be sent with these settings, and how many authorities they would trust.
pub fn check(settings: &Settings) -> Result<usize, Error> {
    let policy = Arc::new(EgressPolicy {
        proxied: settings.wire.proxy.is_some(),
        mode: settings.mode,
        allow_list: settings.allow_list.clone(),
    });
    let (lookup, signer) = (settings.lookup.clone(), settings.signer.clone());
    Transport::new(policy, lookup, signer, &settings.wire)
        .map(|transport| transport.authorities)
        .map_err(|message| Error::Setting { message })
}

/// Takes callbacks and sends them, from one process, through the cells of its counter's segment.
pub struct Callbacks {
    counter: Arc<Counter>,
    cells: Arc<Cells>,
    policy: Arc<EgressPolicy>,
    circuits: Arc<CircuitBreakers>,
    reports: Arc<Reports>,
    orders: UnboundedSender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Callbacks").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Callbacks {
    /// Starts the thread. To be called in the process that is to send, after any fork.
    pub fn start(counter: Arc<Counter>, settings: Settings) -> Result<Self, Error> {
        let setting = |message| Error::Setting { message };
        let policy = Arc::new(EgressPolicy {
            proxied: settings.wire.proxy.is_some(),
            mode: settings.mode,
            allow_list: settings.allow_list,
        });
        let transport =
            Transport::new(policy.clone(), settings.lookup, settings.signer, &settings.wire)
                .map_err(setting)?;
        let cells = Arc::new(Cells::new(counter.clone())?);
        // Before anything new is taken: what is left of this process can then be told from it.
        let left = cells.take_over(true);
        let circuits = Arc::new(CircuitBreakers::default());
        let reports = Arc::new(Reports::new(settings.lines, settings.per_second));
        let (orders, received) = unbounded_channel();
        let means = Arc::new(Means {
            counter: counter.clone(),
            cells: cells.clone(),
            transport,
            policy: policy.clone(),
            circuits: circuits.clone(),
            reports: reports.clone(),
            rate: RateLimit::new(settings.rate),
            most: settings.most.max(1),
            oldest: settings.oldest,
        });
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
            runtime.block_on(Sender::run(means, received, left));
            // A look-up that hangs holds nobody up.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new()
            .name("verve-callbacks".into())
            .spawn(body)
            .map_err(failed)?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { counter, cells, policy, circuits, reports, orders, thread })
    }

    /// Answers the query of a `GET /api/verve/accept`, as [`Http::accept`] does, and queues the
    /// callback if it names an endpoint.
    #[must_use]
    pub fn accept(&self, query: &[u8]) -> Answer {
        self.accept_placed(query).0
    }

    /// As [`Callbacks::accept`], with the id and its window unless it was refused.
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

    /// A cell is taken before the id is counted, and made ready after: what is answered `ok` is
    /// counted and will be sent, what fails is neither.
    fn add_and_queue(&self, id: i64, endpoint: &str) -> Result<Placement, Rejection> {
        let origin = origin(endpoint);
        self.policy.admit(&host(origin))?;
        if self.orders.is_closed() || !self.cells.is_ours() {
            return Err(Rejection::CallbacksUnavailable);
        }
        let destination = number(self.counter.callback_cells().secret(), origin);
        if !self.circuits.admits(destination) {
            return Err(Rejection::DestinationFailing);
        }
        let reservation = self.cells.reserve(destination, endpoint)?;
        let placement = self.counter.add(id).map_err(|error| Rejection::from(&error))?;
        let index = reservation.commit(placement.window_start);
        // If nobody listens any more, the cell is another process's, or waits for the next start.
        let _ = self.orders.send(Command::Send(index, destination));
        Ok(placement)
    }

    /// The reports since the last call, and how many were left out, by figure.
    #[must_use]
    pub fn drain(&self) -> (Vec<Report>, [u64; Outcome::ALL.len()]) {
        self.reports.drain()
    }

    /// Sends what is due, for at most `patience`, and ends the thread. What is left waits in the
    /// segment. Whether the thread has ended.
    pub fn stop(&self, patience: Duration) {
        let _ = self.orders.send(Command::Stop(Instant::now() + patience));
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            // A panic there was printed there.
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
