//! One keep-alive connection: bytes out, checked heads and bodies in.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::response::{self, Head, Malformed};

/// An answer is small; one that outgrows this is broken.
const LARGEST_ANSWER: usize = 4 << 20;

/// How long to pause after connection `number` (from 1), so that the server takes those that wait: a
/// connection that finds its queue full is tried again by the kernel only after a second.
pub fn pause_after(number: u32) -> Option<Duration> {
    const AT_ONCE: u32 = 256;
    const PAUSE: Duration = Duration::from_millis(10);
    number.is_multiple_of(AT_ONCE).then_some(PAUSE)
}

/// Why a request has no valid answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No connection could be made.
    Connect,
    /// The server closed the connection in the middle.
    Closed,
    /// The connection was reset, or broke in another way.
    Reset,
    /// No answer in time.
    Timeout,
    /// The answer is not HTTP/1.1 that can be checked.
    Syntax,
    /// The answer has no length.
    Length,
    /// The answer has another body than expected.
    Body,
    /// The verdict headers are missing or wrong.
    Verdict,
    /// The server ended a connection that sent nothing, or sent something on it.
    Idle,
}

impl Fault {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Syntax => "syntax",
            Self::Length => "length",
            Self::Body => "body",
            Self::Verdict => "verdict",
            Self::Idle => "idle",
        }
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Syntax => Self::Syntax,
            Malformed::Length => Self::Length,
        }
    }
}

pub struct Wire {
    stream: TcpStream,
    incoming: Vec<u8>,
    /// Bytes before `taken` were handed out, those between `taken` and `filled` were not yet.
    taken: usize,
    filled: usize,
    patience: Duration,
}

impl Wire {
    pub async fn open(address: SocketAddr, patience: Duration) -> Result<Self, Fault> {
        match timeout(patience, TcpStream::connect(address)).await {
            Err(_) => Err(Fault::Timeout),
            Ok(Err(_)) => Err(Fault::Connect),
            Ok(Ok(stream)) => {
                // A small write must not wait for the acknowledgement of the one before.
                stream.set_nodelay(true).map_err(|_| Fault::Connect)?;
                Ok(Self { stream, incoming: vec![0; 4_096], taken: 0, filled: 0, patience })
            }
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match timeout(self.patience, self.stream.write_all(bytes)).await {
            Err(_) => Err(Fault::Timeout),
            Ok(sent) => sent.map_err(|error| fault_of(&error)),
        }
    }

    /// Waits for the next answer.
    pub async fn receive(&mut self) -> Result<(Head, &[u8]), Fault> {
        loop {
            if let Some(head) = response::parse(&self.incoming[self.taken..self.filled])? {
                let body = self.taken + head.body_start;
                let end = body + head.length;
                if end <= self.filled {
                    self.taken = end;
                    return Ok((head, &self.incoming[body..end]));
                }
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<(), Fault> {
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
        } else if self.filled == self.incoming.len() {
            if self.taken > 0 {
                self.incoming.copy_within(self.taken..self.filled, 0);
                self.filled -= self.taken;
                self.taken = 0;
            } else if self.filled < LARGEST_ANSWER {
                self.incoming.resize(self.filled * 2, 0);
            } else {
                return Err(Fault::Length);
            }
        }
        let room = &mut self.incoming[self.filled..];
        match timeout(self.patience, self.stream.read(room)).await {
            Err(_) => Err(Fault::Timeout),
            Ok(Err(error)) => Err(fault_of(&error)),
            Ok(Ok(0)) => Err(Fault::Closed),
            Ok(Ok(count)) => {
                self.filled += count;
                Ok(())
            }
        }
    }

    /// Whether bytes are left that no request asked for.
    pub fn has_rest(&self) -> bool {
        self.taken != self.filled
    }
}

fn fault_of(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => Fault::Closed,
        _ => Fault::Reset,
    }
}
