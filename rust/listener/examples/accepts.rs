//! A listener over a counter in memory, to measure without Python:
//! `cargo run --release --package verve-listener --example accepts 127.0.0.1:8104`

use std::net::TcpListener;
use std::time::Duration;

use verve_core::{Answer, Clock, Counter, SegmentConfig};
use verve_listener::{Accept, Limits, Listener};

struct Counting(Counter);

impl Accept for Counting {
    fn accept(&self, query: &[u8]) -> Answer {
        self.0.http().accept(query)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: accepts 127.0.0.1:PORT")?;
    let counter = Counter::in_memory(&SegmentConfig::default(), Clock::System)?;
    let socket = TcpListener::bind(address)?;
    eprintln!("listening on {}", socket.local_addr()?);
    let listener = Listener::start(socket, Some(Box::new(Counting(counter))), Limits::default())?;
    loop {
        std::thread::sleep(Duration::from_secs(1));
        drop(listener.inbox().take());
    }
}
