//! Connections that stay open and send nothing.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};

use crate::wire::pause_after;

/// Open connections outside the runtime, so that they cost the generator nothing.
pub struct Idle {
    streams: Vec<TcpStream>,
}

impl Idle {
    /// Opens `count` connections, before the load begins.
    pub fn open(address: SocketAddr, count: u32) -> Result<Self, String> {
        let mut streams = Vec::new();
        for number in 0..count {
            let stream = TcpStream::connect(address).and_then(|stream| {
                stream.set_nonblocking(true)?;
                Ok(stream)
            });
            streams.push(stream.map_err(|error| {
                format!(
                    "idle connection {number} of {count} cannot be made ({error}): `{address}`\n\
                     hint: is the limit of open files large enough? See `ulimit -n`"
                )
            })?);
            if let Some(pause) = pause_after(number + 1) {
                std::thread::sleep(pause);
            }
        }
        Ok(Self { streams })
    }

    /// How many of them the server has closed, or has sent something on.
    pub fn ended(&self) -> u64 {
        let open = |stream: &&TcpStream| {
            let found = stream.peek(&mut [0]);
            found.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        };
        (self.streams.len() - self.streams.iter().filter(open).count()) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_connection_that_the_server_ends_or_writes_to_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let idle = Idle::open(listener.local_addr().unwrap(), 3).unwrap();
        let mut accepted: Vec<TcpStream> = (0..3).map(|_| listener.accept().unwrap().0).collect();
        assert_eq!(idle.ended(), 0);
        drop(accepted.pop());
        assert_eq!(settled(&idle, 1), 1);
        accepted[0].write_all(b"x").unwrap();
        assert_eq!(settled(&idle, 2), 2);
    }

    /// The number once it is `expected`: bytes take a moment to arrive.
    fn settled(idle: &Idle, expected: u64) -> u64 {
        while idle.ended() != expected {
            std::thread::yield_now();
        }
        idle.ended()
    }

    #[test]
    fn a_server_that_is_not_there_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(Idle::open(address, 1).is_err());
    }
}
