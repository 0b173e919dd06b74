//! Bodies that come in parts: as they are sent, to callers who read them, and who do not.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use support::{Served, read_answer};
use verve_listener::{BodySender, Limits, Sending};

fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut found = Vec::new();
    let mut byte = [0];
    while !found.ends_with(end.as_bytes()) {
        stream.read_exact(&mut byte).unwrap();
        found.push(byte[0]);
    }
    String::from_utf8(found).unwrap()
}

#[test]
fn the_parts_of_a_body_come_as_they_are_sent() {
    let served =
        Served::new(Limits { idle_timeout: Duration::from_millis(300), ..Limits::default() });
    let (mut stream, sender) = served.stream();
    let head = read_until(&mut stream, "\r\n\r\n");
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    for part in ["one", "three"] {
        assert_eq!(sender.send(Bytes::from(part)), Sending::Sent);
        assert_eq!(
            read_until(&mut stream, &format!("{part}\r\n")),
            format!("{}\r\n{part}\r\n", part.len())
        );
        // The time for idle connections does not count while a body is on its way.
        std::thread::sleep(Duration::from_millis(400));
    }
    drop(sender);
    assert_eq!(read_until(&mut stream, "0\r\n\r\n"), "0\r\n\r\n");
    // The connection goes on.
    stream.write_all(b"GET /api/verve/accept?id=7 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(read_answer(&mut stream).ends_with("ok"));
}

#[test]
fn who_sends_parts_learns_that_the_caller_has_gone() {
    let served = Served::new(Limits::default());
    let (mut stream, sender) = served.stream();
    read_until(&mut stream, "\r\n\r\n");
    drop(stream);
    while sender.send(Bytes::from_static(b"part")) != Sending::Gone {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends until the caller's buffers are full, and stay so.
fn fill(sender: &BodySender) {
    fill_with(sender, 1 << 20);
}

/// As `fill`, in parts of `length`: their number.
fn fill_with(sender: &BodySender, length: usize) -> usize {
    let part = Bytes::from(vec![b'x'; length]);
    let (mut sent, mut refused) = (0, 0);
    while refused < 100 {
        if sender.send(part.clone()) == Sending::Full {
            refused += 1;
            std::thread::sleep(Duration::from_millis(1));
        } else {
            (sent, refused) = (sent + 1, 0);
        }
    }
    sent
}

#[test]
fn a_caller_that_takes_no_parts_is_disconnected() {
    let served =
        Served::new(Limits { stall_timeout: Duration::from_millis(300), ..Limits::default() });
    let (_stream, sender) = served.stream();
    fill(&sender);
    while sender.send(Bytes::from_static(b"part")) != Sending::Gone {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_stop_does_not_wait_for_a_caller_that_takes_no_parts() {
    let served = Served::new(Limits::default());
    let (_stream, sender) = served.stream();
    fill(&sender);
    // It would take ten seconds to be cut.
    assert!(served.listener.stop(Duration::from_secs(5)));
    assert_eq!(sender.send(Bytes::from_static(b"part")), Sending::Gone);
}

#[test]
fn a_stop_does_not_wait_for_a_caller_that_takes_no_end_of_a_stream() {
    const PART: usize = 16 << 10;
    let measured = Served::new(Limits::default());
    let (_stream, sender) = measured.stream();
    let full = fill_with(&sender, PART);
    drop(measured);
    // The sender is gone, and for some lengths only hyper's buffer and the kernel's hold the rest.
    for missing in 2..8 {
        let served = Served::new(Limits::default());
        let (_stream, sender) = served.stream();
        for _ in 0..full - missing {
            while sender.send(Bytes::from(vec![b'x'; PART])) == Sending::Full {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        drop(sender);
        assert!(served.listener.stop(Duration::from_secs(5)), "{missing}");
    }
}
