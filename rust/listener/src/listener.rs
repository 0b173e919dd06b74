//! The thread of a listener: takes connections, and ends in order.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as Socket};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use verve_core::Answer;

use crate::accept_lane::{self, End};
use crate::connections::{Connections, Stage};
use crate::exchange::Inbox;
use crate::figures::Figures;
use crate::hyper_lane;
use crate::limits::Limits;

/// For which a connection is read after its last answer, so that the caller sees the answer and no
/// reset.
const LINGER: Duration = Duration::from_secs(1);
/// Connections that a kernel's queue holds at most, as the service sets it up.
const QUEUE: usize = 4_096;
/// Bytes that are read for that.
const UNREAD: u64 = 1 << 20;
/// Before the next try, where the system denies a descriptor.
const DENIED: Duration = Duration::from_millis(50);

/// What answers accepts.
pub trait Accept: Send + Sync {
    /// Counts what the query of a `GET /api/verve/accept` names, and answers it.
    fn accept(&self, query: &[u8]) -> Answer;
}

/// What the connections of a listener share.
pub(crate) struct Shared {
    /// `None`: the application answers accepts.
    pub(crate) accept: Option<Box<dyn Accept>>,
    pub(crate) limits: Limits,
    pub(crate) inbox: Inbox,
    pub(crate) figures: Figures,
    pub(crate) connections: Connections,
    stop: Notify,
}

/// Serves one socket from a thread of its own, until it is stopped.
pub struct Listener {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.shared.figures;
        formatter.debug_struct("Listener").field("figures", figures).finish_non_exhaustive()
    }
}

impl Listener {
    /// Starts the thread. To be called in the process that serves, after any fork. Without `accept`
    /// there is no accept lane: hyper reads everything, and the application answers it.
    ///
    /// A panic of the thread ends the process: one that looks alive and takes no connections would
    /// be worse.
    pub fn start(
        socket: Socket,
        accept: Option<Box<dyn Accept>>,
        limits: Limits,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared {
            accept,
            limits,
            inbox: Inbox::new()?,
            figures: Figures::default(),
            connections: Connections::default(),
            stop: Notify::new(),
        });
        let its = shared.clone();
        let body = move || {
            let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                runtime.block_on(serve(socket, &its))
            }));
            if !matches!(served, Ok(Ok(()))) {
                eprintln!("the listener has failed: {served:?}");
                std::process::abort();
            }
        };
        let thread = std::thread::Builder::new().name("verve-listener".into()).spawn(body)?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Requests that the application is to answer.
    #[must_use]
    pub fn inbox(&self) -> &Inbox {
        &self.shared.inbox
    }

    /// What it has served.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// Ends each connection with its next answer, while new ones are still taken.
    pub fn retire(&self) {
        self.shared.connections.advance(Stage::Retiring);
    }

    /// Takes the connections in the socket's queue and no more, answers what is under way, and ends
    /// the thread. Whether that took no longer than `patience`.
    pub fn stop(&self, patience: Duration) -> bool {
        self.shared.stop.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return true };
        let deadline = std::time::Instant::now() + patience;
        while !thread.is_finished() {
            if std::time::Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        thread.join().is_ok()
    }
}

async fn serve(socket: Socket, shared: &Arc<Shared>) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let places = Arc::new(Semaphore::new(shared.limits.connections));
    let mut tasks = JoinSet::new();
    let mut number = 0;
    let mut begin = |stream: TcpStream, peer, tasks: &mut JoinSet<()>, place| {
        number += 1;
        let (shared, number) = (shared.clone(), number);
        tasks.spawn(async move {
            serve_connection(stream, peer, &shared, number).await;
            drop(place);
        });
    };
    loop {
        let place = tokio::select! {
            biased;
            () = shared.stop.notified() => break,
            place = places.clone().acquire_owned() => place,
        };
        let accepted = tokio::select! {
            biased;
            () = shared.stop.notified() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => begin(stream, peer, &mut tasks, place.ok()),
            // Of a caller that is gone, or for want of descriptors: others go on.
            Err(error) if is_of_caller(&error) => {}
            Err(_) => sleep(DENIED).await,
        }
        while tasks.try_join_next().is_some() {}
    }
    // No more than fit into a queue: a process that shares the socket takes what comes after.
    for _ in 0..QUEUE {
        let Some(Ok((stream, peer))) = next_in_queue(&listener).await else { break };
        begin(stream, peer, &mut tasks, None);
    }
    drop(listener);
    shared.connections.advance(Stage::Closing);
    while tasks.join_next().await.is_some() {}
    Ok(())
}

async fn next_in_queue(listener: &TcpListener) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    poll_fn(|context| match listener.poll_accept(context) {
        Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn is_of_caller(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Enters a connection for as long as its task lives.
struct Entry<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let open = self.shared.connections.leave(self.number);
        self.shared.figures.set_connections(open);
    }
}

async fn serve_connection(mut stream: TcpStream, peer: SocketAddr, shared: &Shared, number: u64) {
    let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
    shared.figures.set_connections(shared.connections.enter(number, waker));
    let _entry = Entry { shared, number };
    // Without it answers wait for acknowledgements; a socket that refuses it works.
    let _ = stream.set_nodelay(true);
    let end = match &shared.accept {
        Some(accept) => accept_lane::run(&mut stream, &**accept, shared).await,
        None => End::HandOver(Bytes::new()),
    };
    match end {
        End::Drop => {}
        End::Close => close(stream).await,
        End::HandOver(first) => {
            if let Some(stream) = hyper_lane::run(stream, first, peer, shared).await {
                close(stream).await;
            }
        }
    }
}

/// Ends the answers, and reads what the caller still sends, within bounds: closing with unread bytes
/// would reset the connection, and the caller might lose the last answer.
async fn close(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let rest = &mut stream.take(UNREAD);
    let _ = timeout(LINGER, tokio::io::copy(rest, &mut tokio::io::sink())).await;
}
