//! Requests that the application answers: from the thread of the listener to the application and back.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::body::{Body, BodySender};

/// What the listener tells the application.
#[derive(Debug)]
pub enum Event {
    /// A request to be answered.
    Request(Box<Exchange>),
    /// The answer to [`Exchange::pull`].
    Body {
        /// The exchange that asked.
        exchange: u64,
        /// What came.
        part: BodyPart,
    },
}

/// What comes next of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyPart {
    /// Some of its bytes; never empty.
    Data(Bytes),
    /// All of it came before.
    End,
    /// It ended before its end, or its framing is broken.
    Broken,
}

/// A request that the application answers, once. Dropped without an answer, it is answered 503.
#[derive(Debug)]
pub struct Exchange {
    /// Number of the exchange, by which its events name it.
    pub number: u64,
    /// Method, target and header fields.
    pub head: Parts,
    /// The other end of the connection.
    pub peer: SocketAddr,
    orders: UnboundedSender<Order>,
}

#[derive(Debug)]
enum Order {
    Pull,
    Respond(Response<Body>),
}

impl Exchange {
    /// Asks for the next part of the body: an [`Event::Body`] follows. Nothing is read ahead of it.
    pub fn pull(&self) {
        // A caller that is gone has been told of already.
        let _ = self.orders.send(Order::Pull);
    }

    /// Answers.
    pub fn respond(&self, response: Response<Bytes>) {
        let _ = self.orders.send(Order::Respond(response.map(Body::whole)));
    }

    /// Answers with a body in parts, which the result sends.
    #[must_use]
    pub fn stream(&self, response: Response<()>) -> BodySender {
        let (sender, body) = Body::parts();
        let _ = self.orders.send(Order::Respond(response.map(|()| body)));
        sender
    }
}

/// Events that the application has not taken, and a descriptor that is readable while there are any.
#[derive(Clone, Debug)]
pub struct Inbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    events: Mutex<VecDeque<Event>>,
    reader: UnixStream,
    writer: UnixStream,
    numbers: AtomicU64,
}

impl Inbox {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let (events, numbers) = (Mutex::default(), AtomicU64::new(0));
        Ok(Self { shared: Arc::new(Shared { events, reader, writer, numbers }) })
    }

    /// Readable while there are events.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.shared.reader.as_raw_fd()
    }

    /// Takes all events.
    #[must_use]
    pub fn take(&self) -> VecDeque<Event> {
        // First, so that an event that comes from here on makes the descriptor readable again.
        while let Ok(1..) = (&self.shared.reader).read(&mut [0; 64]) {}
        std::mem::take(&mut self.lock())
    }

    fn put(&self, event: Event) {
        let mut events = self.lock();
        let was_empty = events.is_empty();
        events.push_back(event);
        drop(events);
        if was_empty {
            // A full pipe is readable already.
            let _ = (&self.shared.writer).write(&[1]);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Event>> {
        self.shared.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the application answer a request.
    pub(crate) async fn ask(
        &self,
        head: Parts,
        body: Incoming,
        peer: SocketAddr,
    ) -> Response<Body> {
        let (orders, received) = unbounded_channel();
        // Relaxed: numbers need only differ.
        let number = self.shared.numbers.fetch_add(1, Relaxed);
        self.put(Event::Request(Box::new(Exchange { number, head, peer, orders })));
        Conversation { inbox: self, number, body, received, is_awaited: false }.run().await
    }
}

/// The listener's half of an exchange. The caller may go away in the middle: then it is dropped.
struct Conversation<'a> {
    inbox: &'a Inbox,
    number: u64,
    body: Incoming,
    received: UnboundedReceiver<Order>,
    is_awaited: bool,
}

impl Conversation<'_> {
    async fn run(mut self) -> Response<Body> {
        while let Some(order) = self.received.recv().await {
            match order {
                Order::Pull => self.is_awaited = true,
                Order::Respond(response) => return response,
            }
            // The application may answer while the caller keeps it waiting for the body.
            while self.is_awaited {
                tokio::select! {
                    part = next_part(&mut self.body) => self.deliver(part),
                    order = self.received.recv() => match order {
                        Some(Order::Pull) => {}
                        Some(Order::Respond(response)) => return response,
                        None => return unanswered(),
                    },
                }
            }
        }
        unanswered()
    }

    fn deliver(&mut self, part: BodyPart) {
        self.is_awaited = false;
        self.inbox.put(Event::Body { exchange: self.number, part });
    }
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        if self.is_awaited {
            self.deliver(BodyPart::Broken);
        }
    }
}

async fn next_part(body: &mut Incoming) -> BodyPart {
    loop {
        let frame =
            std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context));
        match frame.await {
            None => return BodyPart::End,
            Some(Err(_)) => return BodyPart::Broken,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return BodyPart::Data(data),
                // Trailers: nobody sends them with a batch, and what they would mean is not known.
                Err(_) => return BodyPart::Broken,
            },
        }
    }
}

/// The application has stopped, or lost the request.
fn unanswered() -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::new()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    response
}
