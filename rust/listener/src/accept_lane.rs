//! The accept lane: reads heads, answers accepts, and writes the answers of one read in one call.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::answer;
use crate::connections::Stage;
use crate::head::{self, Head};
use crate::limits::{FIRST_BYTE, UNWRITTEN};
use crate::listener::{Accept, Shared};

/// Bytes that are read at once.
const READ: usize = 64 << 10;
/// A head that is longer, and not complete, goes to hyper.
const SHORT_HEAD: usize = 4 << 10;

/// How the lane ends.
pub(crate) enum End {
    /// hyper is to go on, with these bytes first.
    HandOver(Bytes),
    /// The last answer was written: the connection is to be closed in order.
    Close,
    /// The caller went away, or was too slow.
    Drop,
}

thread_local! {
    /// Buffers of all connections of the thread: none is kept over an `await`.
    static BUFFERS: RefCell<Buffers> =
        RefCell::new(Buffers { read: vec![0; READ], write: Vec::with_capacity(READ) });
}

struct Buffers {
    read: Vec<u8>,
    write: Vec<u8>,
}

/// What follows once the answers are written.
enum Next {
    Read,
    /// The rest may hold more heads.
    Parse,
    HandOver,
    Close,
}

/// One connection in the lane.
struct Lane<'a> {
    stream: &'a mut TcpStream,
    accept: &'a dyn Accept,
    shared: &'a Shared,
    /// Bytes that were read and not used: part of a head, or what hyper is to read.
    rest: Vec<u8>,
    /// Answers that the caller did not take yet.
    unwritten: Vec<u8>,
    next: Next,
    /// The time at which this turn of the task began: the clock is read once per turn.
    now: Instant,
    /// Nothing was read from the connection yet.
    is_fresh: bool,
    /// When a stop gives up a fresh connection.
    end: Option<Instant>,
    deadline: Instant,
    timer: Pin<&'a mut Sleep>,
}

/// Serves a connection until something else than an accept comes, or its end.
pub(crate) async fn run(stream: &mut TcpStream, accept: &dyn Accept, shared: &Shared) -> End {
    let timer = std::pin::pin!(sleep(shared.limits.head_timeout));
    let deadline = timer.deadline();
    let (rest, unwritten) = (Vec::new(), Vec::new());
    let next = Next::Read;
    let now = Instant::now();
    let (is_fresh, end) = (true, None);
    let mut lane =
        Lane { stream, accept, shared, rest, unwritten, next, now, is_fresh, end, deadline, timer };
    poll_fn(|context| BUFFERS.with_borrow_mut(|buffers| lane.poll(context, buffers)))
        .await
        .unwrap_or(End::Drop)
}

impl Lane<'_> {
    fn poll(&mut self, context: &mut Context<'_>, buffers: &mut Buffers) -> Poll<io::Result<End>> {
        self.now = Instant::now();
        loop {
            if !self.unwritten.is_empty() {
                let mut unwritten = std::mem::take(&mut self.unwritten);
                let written = self.poll_write(context, &mut unwritten);
                self.unwritten = unwritten;
                if written?.is_pending() {
                    return self.poll_timer(context).map(|()| Ok(End::Drop));
                }
                self.wait_for_head();
            }
            match self.next {
                Next::Close => return Poll::Ready(Ok(End::Close)),
                Next::HandOver => {
                    let rest = std::mem::take(&mut self.rest);
                    return Poll::Ready(Ok(End::HandOver(rest.into())));
                }
                Next::Parse => {
                    let rest = std::mem::take(&mut self.rest);
                    self.answer(&rest, &mut buffers.write);
                }
                Next::Read => match self.poll_read(context, &mut buffers.read) {
                    Poll::Pending => return self.poll_idle(context),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    // What was asked in full is answered: a half-close is no reset.
                    Poll::Ready(Ok(0)) => return Poll::Ready(Ok(End::Close)),
                    Poll::Ready(Ok(length)) if self.rest.is_empty() => {
                        self.answer(&buffers.read[..length], &mut buffers.write);
                    }
                    Poll::Ready(Ok(length)) => {
                        let mut bytes = std::mem::take(&mut self.rest);
                        bytes.extend_from_slice(&buffers.read[..length]);
                        self.answer(&bytes, &mut buffers.write);
                    }
                },
            }
            if !buffers.write.is_empty() {
                let written = self.poll_write(context, &mut buffers.write);
                // Kept, or gone with an error.
                self.unwritten = buffers.write.clone();
                buffers.write.clear();
                if written?.is_pending() {
                    self.set_deadline(self.shared.limits.stall_timeout);
                } else {
                    self.wait_for_head();
                }
            }
        }
    }

    /// Answers the accepts at the front of `bytes`, keeps what is left, and decides what is next.
    fn answer(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut begin = 0;
        let mut number = 0;
        self.next = loop {
            if begin == bytes.len() {
                break Next::Read;
            }
            if out.len() >= UNWRITTEN {
                break Next::Parse;
            }
            match head::parse(&bytes[begin..]) {
                Head::Accept { query, length, close } => {
                    let ends = close || self.shared.connections.stage() > Stage::Serving;
                    answer::write(out, &self.accept.accept(query), ends, self.now.into_std());
                    number += 1;
                    begin += length;
                    if ends {
                        break Next::Close;
                    }
                }
                Head::Partial if bytes.len() - begin <= SHORT_HEAD => break Next::Read,
                Head::Partial | Head::Other => break Next::HandOver,
            }
        };
        self.shared.figures.add_accept_lane(number);
        if !matches!(self.next, Next::Close) {
            self.rest.extend_from_slice(&bytes[begin..]);
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        let was_empty = self.rest.is_empty();
        ready!(Pin::new(&mut *self.stream).poll_read(context, &mut buffer))?;
        self.is_fresh = false;
        if was_empty {
            self.set_deadline(self.shared.limits.head_timeout);
        }
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes `bytes` and removes what was written. Pending while some are left.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &mut Vec<u8>,
    ) -> io::Result<Poll<()>> {
        let mut written = 0;
        while written < bytes.len() {
            match Pin::new(&mut *self.stream).poll_write(context, &bytes[written..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(length)) => written += length,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    if written > 0 {
                        self.set_deadline(self.shared.limits.stall_timeout);
                    }
                    bytes.drain(..written);
                    return Ok(Poll::Pending);
                }
            }
        }
        bytes.clear();
        Ok(Poll::Ready(()))
    }

    /// Nothing to read: wait on, unless the time is over or the service ends.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<End>> {
        if self.rest.is_empty() && self.shared.connections.stage() == Stage::Closing {
            if !self.is_fresh {
                return Poll::Ready(Ok(End::Close));
            }
            let end = *self.end.get_or_insert(self.now + FIRST_BYTE);
            self.deadline = self.deadline.min(end);
        }
        self.poll_timer(context).map(|()| Ok(End::Close))
    }

    /// Ready when the deadline has passed. The timer fires at most once per timeout: most deadlines
    /// are moved on before.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.deadline < self.timer.deadline() {
                self.timer.as_mut().reset(self.deadline);
            }
            ready!(self.timer.as_mut().poll(context));
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.deadline);
        }
    }

    fn wait_for_head(&mut self) {
        let limits = &self.shared.limits;
        let timeout = if self.rest.is_empty() { limits.idle_timeout } else { limits.head_timeout };
        self.set_deadline(timeout);
    }

    fn set_deadline(&mut self, timeout: std::time::Duration) {
        self.deadline = self.now + timeout;
    }
}
