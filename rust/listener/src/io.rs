//! The stream under hyper: first the bytes that were read before, then the socket; and for how long
//! nothing happened.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::limits::{BLOCKED_STREAM, Limits};

/// What a connection under hyper waits for.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The first byte of a head.
    Idle(Instant),
    /// The rest of a head.
    Head(Instant),
    /// An answer.
    Answer,
    /// The end of an answer whose body comes in parts.
    Stream,
}

/// What a connection under hyper waits for, and since when.
#[derive(Debug)]
pub(crate) struct Watch(Mutex<Waiting>);

#[derive(Clone, Copy, Debug)]
struct Waiting {
    phase: Phase,
    /// Since when the caller takes no bytes.
    stalled: Option<Instant>,
    /// Whether bytes of a body that comes in parts may be unwritten, also after its last part.
    is_stream: bool,
    /// Nothing was read from the connection yet.
    is_fresh: bool,
}

impl Watch {
    /// Of a connection of which `first` was read so far: part of a request, or nothing yet.
    pub(crate) fn new(first: &[u8]) -> Self {
        let phase = Phase::Head(Instant::now());
        Self(Mutex::new(Waiting {
            phase,
            stalled: None,
            is_stream: false,
            is_fresh: first.is_empty(),
        }))
    }

    /// A head is complete.
    pub(crate) fn requested(&self) {
        self.waiting().phase = Phase::Answer;
    }

    /// The answer is ready to be written.
    pub(crate) fn answered(&self) {
        self.waiting().phase = Phase::Idle(Instant::now());
    }

    /// The head of an answer is ready to be written, and its body comes in parts.
    pub(crate) fn streaming(&self) {
        let mut waiting = self.waiting();
        waiting.phase = Phase::Stream;
        waiting.is_stream = true;
    }

    /// Whether the caller takes nothing of a body that comes in parts.
    pub(crate) fn is_blocked_stream(&self) -> bool {
        let waiting = self.waiting();
        waiting.is_stream && waiting.stalled.is_some()
    }

    /// Whether nothing was read from the connection yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.waiting().is_fresh
    }

    /// When the connection has waited for too long, as things are.
    pub(crate) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let Waiting { phase, stalled, is_stream, .. } = *self.waiting();
        let waits = match phase {
            Phase::Idle(since) => Some(since + limits.idle_timeout),
            Phase::Head(since) => Some(since + limits.head_timeout),
            Phase::Answer | Phase::Stream => None,
        };
        let patience =
            if is_stream { limits.stall_timeout.min(BLOCKED_STREAM) } else { limits.stall_timeout };
        let stalls = stalled.map(|since| since + patience);
        waits.into_iter().chain(stalls).min()
    }

    fn received(&self) {
        let mut waiting = self.waiting();
        waiting.is_fresh = false;
        if matches!(waiting.phase, Phase::Idle(_)) {
            waiting.phase = Phase::Head(Instant::now());
        }
    }

    /// All that was handed over is written.
    fn flushed(&self) {
        let mut waiting = self.waiting();
        waiting.is_stream = matches!(waiting.phase, Phase::Stream);
    }

    fn wrote<T>(&self, result: Poll<T>) -> Poll<T> {
        let mut waiting = self.waiting();
        match (&result, waiting.stalled) {
            (Poll::Ready(_), Some(_)) => waiting.stalled = None,
            (Poll::Pending, None) => waiting.stalled = Some(Instant::now()),
            _ => {}
        }
        drop(waiting);
        result
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream of a connection that was begun in the accept lane.
pub(crate) struct Resumed<'a> {
    first: Bytes,
    stream: TokioIo<TcpStream>,
    watch: &'a Watch,
}

impl<'a> Resumed<'a> {
    pub(crate) fn new(stream: TcpStream, first: Bytes, watch: &'a Watch) -> Self {
        Self { first, stream: TokioIo::new(stream), watch }
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }
}

impl Read for Resumed<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let length = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if result.is_ready() {
            self.watch.received();
        }
        result
    }
}

impl Write for Resumed<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch.wrote(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        if result.is_ready() {
            self.watch.flushed();
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch.wrote(result)
    }
}
