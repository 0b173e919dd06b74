//! An epoll loop on one thread that answers each request with a fixed string.
//!
//! It parses nothing beyond the end of a head, and counts nothing: it shows what the kernel costs.
//!
//! ```text
//! cargo build --release && taskset -c 0 target/release/peer-epoll 127.0.0.1:8106
//! ```

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// The number of events that one call of `epoll_wait` may report.
const EVENTS: usize = 1_024;
const BUFFER: usize = 16 * 1_024;
const END: &[u8] = b"\r\n\r\n";
/// The same fields as in Verve's answer; the date stands still.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n\
cache-control: no-store\r\ncontent-length: 2\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nok";

/// A connection, and how many bytes of the end of a head were read last.
struct Connection {
    stream: TcpStream,
    matched: usize,
}

impl Connection {
    /// Answers the requests that end in the bytes that have arrived; `false` when it is closed.
    fn answer(&mut self, buffer: &mut [u8], out: &mut Vec<u8>) -> io::Result<bool> {
        let count = match self.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        out.clear();
        for &byte in &buffer[..count] {
            self.matched = match (byte == END[self.matched], byte == END[0]) {
                (true, _) => self.matched + 1,
                (false, true) => 1,
                (false, false) => 0,
            };
            if self.matched == END.len() {
                self.matched = 0;
                out.extend_from_slice(ANSWER);
            }
        }
        // Answers are far smaller than the buffer of a socket whose client reads them.
        self.stream.write_all(out)?;
        Ok(true)
    }
}

fn accept_all(
    listener: &TcpListener,
    poll: &OwnedFd,
    connections: &mut HashMap<u64, Connection>,
) -> io::Result<()> {
    loop {
        // None waits, or too many files are open: then those that wait are reported again.
        let Ok((stream, _)) = listener.accept() else { return Ok(()) };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let key = number(&stream);
        epoll::add(poll, &stream, EventData::new_u64(key), EventFlags::IN)?;
        connections.insert(key, Connection { stream, matched: 0 });
    }
}

/// The descriptor as a key: no two open files share one.
fn number(file: &impl AsFd) -> u64 {
    u64::from(file.as_fd().as_raw_fd().unsigned_abs())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: peer-epoll 127.0.0.1:PORT")?;
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    eprintln!("listening on {}", listener.local_addr()?);
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let listening = number(&listener);
    epoll::add(&poll, &listener, EventData::new_u64(listening), EventFlags::IN)?;
    let mut connections = HashMap::new();
    let mut events = Vec::with_capacity(EVENTS);
    let (mut buffer, mut out) = (vec![0; BUFFER], Vec::new());
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let key = event.data.u64();
            if key == listening {
                accept_all(&listener, &poll, &mut connections)?;
            } else if let Some(connection) = connections.get_mut(&key)
                && !matches!(connection.answer(&mut buffer, &mut out), Ok(true))
            {
                // The kernel forgets a descriptor with its file.
                connections.remove(&key);
            }
        }
    }
}
