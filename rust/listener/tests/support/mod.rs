//! A listener over a counter in memory, with an application that says what it was asked.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use verve_core::{Answer, Clock, Counter, SegmentConfig};
use verve_listener::{Accept, BodyPart, BodySender, Event, Exchange, Inbox, Limits, Listener};

struct Counting(Arc<Counter>);

impl Accept for Counting {
    fn accept(&self, query: &[u8]) -> Answer {
        self.0.http().accept(query)
    }
}

/// A listener and its application.
pub struct Served {
    pub listener: Arc<Listener>,
    pub counter: Arc<Counter>,
    pub address: SocketAddr,
    /// The senders of the bodies that `GET /parts` asked for.
    pub streams: Arc<Mutex<Vec<BodySender>>>,
    ended: Arc<AtomicBool>,
    application: Option<JoinHandle<()>>,
}

impl Served {
    /// On a free port of the loopback.
    pub fn new(limits: Limits) -> Self {
        let counter = new_counter();
        let accept: Box<dyn Accept> = Box::new(Counting(counter.clone()));
        Self::with(limits, counter, Some(accept))
    }

    /// As `new`, but the application answers accepts too.
    pub fn without_accepts(limits: Limits) -> Self {
        Self::with(limits, new_counter(), None)
    }

    fn with(limits: Limits, counter: Arc<Counter>, accept: Option<Box<dyn Accept>>) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Arc::new(Listener::start(socket, accept, limits).unwrap());
        let ended = Arc::new(AtomicBool::new(false));
        let streams = Arc::<Mutex<Vec<BodySender>>>::default();
        let (inbox, its_end, kept) = (listener.inbox().clone(), ended.clone(), streams.clone());
        let application = Some(std::thread::spawn(move || apply(&inbox, &kept, &its_end)));
        Self { listener, counter, address, streams, ended, application }
    }

    /// A connection on which reads give up after five seconds.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }

    /// A connection that has asked for a body in parts, and what sends them.
    pub fn stream(&self) -> (TcpStream, BodySender) {
        let mut stream = self.connect();
        stream.write_all(b"GET /parts HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        loop {
            if let Some(sender) = self.streams.lock().unwrap().pop() {
                return (stream, sender);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// All that is answered to `sent`, until the listener closes.
    pub fn exchange(&self, sent: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(sent).unwrap();
        read_all(&mut stream)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.listener.stop(Duration::from_secs(5));
        // Relaxed: nothing is read by it.
        self.ended.store(true, Relaxed);
        if let Some(thread) = self.application.take() {
            thread.join().unwrap();
        }
    }
}

fn new_counter() -> Arc<Counter> {
    Arc::new(Counter::in_memory(&SegmentConfig::default(), Clock::System).unwrap())
}

/// Reads to the end of the stream.
pub fn read_all(stream: &mut TcpStream) -> String {
    let mut found = Vec::new();
    stream.read_to_end(&mut found).unwrap();
    String::from_utf8(found).unwrap()
}

/// Reads one answer with its body.
pub fn read_answer(stream: &mut TcpStream) -> String {
    let mut found = Vec::new();
    let mut byte = [0];
    while !found.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        found.push(byte[0]);
    }
    let head = String::from_utf8(found).unwrap();
    let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

/// Answers `<method> <path> <bytes of the body>`; `broken` stands for a body that broke. The body of
/// the answer to `/parts` is left to the test.
fn apply(inbox: &Inbox, streams: &Mutex<Vec<BodySender>>, ended: &AtomicBool) {
    let mut open: HashMap<u64, (Box<Exchange>, usize)> = HashMap::new();
    // Relaxed: nothing is read by it.
    while !ended.load(Relaxed) {
        for event in inbox.take() {
            match event {
                Event::Request(exchange) if exchange.head.uri.path() == "/parts" => {
                    streams.lock().unwrap().push(exchange.stream(Response::new(())));
                }
                Event::Request(exchange) => {
                    exchange.pull();
                    open.insert(exchange.number, (exchange, 0));
                }
                Event::Body { exchange, part } => {
                    let Some((asked, length)) = open.get_mut(&exchange) else { continue };
                    if let BodyPart::Data(data) = part {
                        *length += data.len();
                        asked.pull();
                        continue;
                    }
                    let end =
                        if part == BodyPart::End { length.to_string() } else { "broken".into() };
                    let said = format!("{} {} {end}", asked.head.method, asked.head.uri);
                    asked.respond(Response::new(Bytes::from(said)));
                    open.remove(&exchange);
                }
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
