//! Raw sockets against the listener: what is answered, in which order, and when connections end.

mod support;

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use support::{Served, read_all, read_answer};
use verve_listener::Limits;

const SHORT: Duration = Duration::from_millis(300);

fn accept(id: u32) -> String {
    format!("GET /api/verve/accept?id={id} HTTP/1.1\r\nhost: x\r\n\r\n")
}

const LAST: &str = "GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[test]
fn an_accept_is_counted_and_answered() {
    let served = Served::new(Limits::default());
    let mut stream = served.connect();
    stream.write_all(accept(7).as_bytes()).unwrap();
    let answer = read_answer(&mut stream);
    let date = answer.split("date: ").nth(1).unwrap().split('\r').next().unwrap();
    assert_eq!(
        answer,
        format!(
            "HTTP/1.1 200 OK\r\nserver: verve\r\ncontent-type: text/plain\r\n\
             cache-control: no-store\r\nx-content-type-options: nosniff\r\n\
             content-length: 2\r\ndate: {date}\r\n\r\nok"
        )
    );
    assert!(httpdate::parse_http_date(date).is_ok());
    assert_eq!(served.counter.count().unwrap(), 1);
    assert_eq!(served.listener.figures().accept_lane(), 1);
    assert_eq!(served.listener.figures().connections(), 1);
}

#[test]
fn refusals_say_why() {
    let served = Served::new(Limits::default());
    let close = "GET /api/verve/accept?id=x HTTP/1.1\r\nconnection: close\r\n\r\n";
    let answer = served.exchange(close.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("\r\nverve-error: id invalid\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("failed"), "{answer}");
}

#[test]
fn both_lanes_answer_accepts_alike() {
    let served = Served::new(Limits::default());
    for query in ["id=7", "id=x", "id=7&id=7", "", "id=7&verdict=1", "id=8&endpoint=http%3A%2F%2Fx"]
    {
        let sorted = |first: &str, close: &str| {
            let sent =
                format!("{first}GET /api/verve/accept?{query} HTTP/1.1\r\nhost: x\r\n{close}\r\n");
            let answers = served.exchange(sent.as_bytes());
            let answer = answers.split("HTTP/1.1 ").last().unwrap().to_owned();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let mut lines: Vec<_> = head.split("\r\n").map(str::to_owned).collect();
            lines.retain(|line| !line.starts_with("date: "));
            lines.sort();
            (lines, body.to_owned())
        };
        // The first of each kind counts the id; the second is a duplicate in both.
        let close = "connection: close\r\n";
        sorted("", close);
        let through_hyper = sorted("GET /other HTTP/1.1\r\nhost: x\r\n\r\n", close);
        assert_eq!(sorted("", close), through_hyper, "{query}");
    }
    assert!(served.listener.figures().hyper_lane() > 0);
}

#[test]
fn pipelined_requests_are_answered_in_order_through_both_lanes() {
    let served = Served::new(Limits::default());
    let batch = "POST /api/verve/accept HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n1,2";
    let page = "GET /page HTTP/1.1\r\nhost: x\r\n\r\n";
    // Every order of three kinds in eight places; in short runs a part that has each kind in each.
    let step = if std::env::var_os("VERVE_FULL").is_some() { 1 } else { 41 };
    for order in (0..3_u32.pow(8)).step_by(step) {
        let (mut sent, mut expected) = (String::new(), Vec::new());
        let mut rest = order;
        for place in 0..8 {
            match rest % 3 {
                0 => {
                    sent += &accept(place);
                    expected.push("ok");
                }
                1 => {
                    sent += batch;
                    expected.push("POST /api/verve/accept 3");
                }
                _ => {
                    sent += page;
                    expected.push("GET /page 0");
                }
            }
            rest /= 3;
        }
        expected.push("GET /last 0");
        let answers = served.exchange((sent + LAST).as_bytes());
        let bodies: Vec<_> = answers
            .split("HTTP/1.1 200 OK\r\n")
            .skip(1)
            .map(|answer| answer.split_once("\r\n\r\n").unwrap().1)
            .collect();
        assert_eq!(bodies, expected, "{order}");
    }
}

#[test]
fn a_head_may_be_cut_at_every_byte() {
    let served = Served::new(Limits::default());
    for (text, body) in
        [(accept(7), "ok"), ("GET /x HTTP/1.1\r\nhost: x\r\n\r\n".into(), "GET /x 0")]
    {
        let mut stream = served.connect();
        for cut in 1..text.len() {
            stream.write_all(&text.as_bytes()[..cut]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            stream.write_all(&text.as_bytes()[cut..]).unwrap();
            assert!(read_answer(&mut stream).ends_with(body), "{cut}");
        }
    }
}

#[test]
fn many_pipelined_accepts_are_all_answered() {
    let served = Served::new(Limits::default());
    let number = 20_000;
    let sent: String = (0..number).map(accept).collect();
    let mut stream = served.connect();
    let mut writer = stream.try_clone().unwrap();
    // The reader begins late, so that answers pile up and the listener stops to read.
    let writing = std::thread::spawn(move || {
        writer.write_all(sent.as_bytes()).unwrap();
        writer.write_all(LAST.as_bytes()).unwrap();
    });
    std::thread::sleep(SHORT);
    let answers = read_all(&mut stream);
    writing.join().unwrap();
    assert_eq!(answers.matches("\r\n\r\nok").count(), number as usize);
    assert!(answers.ends_with("GET /last 0"));
    assert_eq!(served.counter.count().unwrap(), u64::from(number));
}

#[test]
fn a_half_close_is_answered() {
    let served = Served::new(Limits::default());
    for request in [accept(7), "GET /x HTTP/1.1\r\nhost: x\r\n\r\n".into()] {
        let mut stream = served.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(read_all(&mut stream).starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn a_body_that_ends_early_is_broken() {
    let served = Served::new(Limits::default());
    let mut stream = served.connect();
    stream.write_all(b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n123").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    // hyper may answer or close: the application has been told, and waits for nothing.
    let _ = read_all(&mut stream);
    assert!(served.exchange(LAST.as_bytes()).ends_with("GET /last 0"));
}

#[test]
fn what_is_malformed_is_refused_and_ends_the_connection() {
    let served = Served::new(Limits::default());
    for sent in [
        "\r\n\r\nnonsense\r\n\r\n",
        "GET /api/verve/accept?id=7 HTTP/1.1\r\nbad name: x\r\n\r\n",
        "GET /api/verve/accept?id=7 HTTP/9.9\r\n\r\n",
        "POST /x HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ] {
        let answer = served.exchange(sent.as_bytes());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{sent:?} {answer}");
    }
    let long = format!("GET /api/verve/accept?id=7 HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    let answer = served.exchange(long.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = format!("GET /x HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101));
    assert!(served.exchange(many.as_bytes()).starts_with("HTTP/1.1 431 "));
    assert_eq!(served.counter.count().unwrap(), 0);
}

#[test]
fn slow_heads_and_idle_connections_end() {
    let limits = Limits { head_timeout: SHORT, idle_timeout: 3 * SHORT, ..Limits::default() };
    let served = Served::new(limits);
    let hyper = "GET /x HTTP/1.1\r\nhost: x\r\n\r\n".to_owned();
    for (first, part) in [
        (String::new(), "GET /api/ver"),
        (accept(7), "GET /api/ver"),
        (hyper.clone(), "GET /x"),
        (accept(7), ""),
        (hyper, ""),
    ] {
        let mut stream = served.connect();
        if !first.is_empty() {
            stream.write_all(first.as_bytes()).unwrap();
            read_answer(&mut stream);
        }
        let begin = Instant::now();
        stream.write_all(part.as_bytes()).unwrap();
        assert_eq!(read_all(&mut stream), "", "{first} {part}");
        let expected = if part.is_empty() { 3 * SHORT } else { SHORT };
        assert!(begin.elapsed() + SHORT / 3 >= expected, "{first} {part}");
    }
}

#[test]
fn a_caller_that_takes_no_answers_costs_one_connection() {
    let limits = Limits { stall_timeout: SHORT, ..Limits::default() };
    let served = Served::new(limits);
    let mut stalled = served.connect();
    stalled.set_write_timeout(Some(SHORT)).unwrap();
    let many: String = (0..1_000).map(accept).collect();
    // Until the listener stops to read, and then drops the connection.
    let begin = Instant::now();
    while stalled.write_all(many.as_bytes()).is_ok() {
        assert!(begin.elapsed() < Duration::from_secs(20));
        assert!(served.exchange(LAST.as_bytes()).ends_with("GET /last 0"));
    }
    while served.listener.figures().connections() > 0 {
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn more_connections_than_allowed_wait() {
    let served = Served::new(Limits { connections: 2, ..Limits::default() });
    let mut open: Vec<_> = (0..2).map(|_| served.connect()).collect();
    for stream in &mut open {
        stream.write_all(accept(7).as_bytes()).unwrap();
        read_answer(stream);
    }
    let mut third = served.connect();
    third.write_all(accept(8).as_bytes()).unwrap();
    std::thread::sleep(SHORT);
    assert_eq!(served.counter.count().unwrap(), 1);
    open.clear();
    assert!(read_answer(&mut third).ends_with("ok"));
}

#[test]
fn a_stop_answers_what_is_under_way() {
    let served = Served::new(Limits::default());
    let mut idle = served.connect();
    idle.write_all(accept(1).as_bytes()).unwrap();
    read_answer(&mut idle);
    let mut slow = served.connect();
    slow.write_all(b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n12").unwrap();
    let mut half = served.connect();
    half.write_all(b"GET /api/verve/accept?id=2 HT").unwrap();
    std::thread::sleep(SHORT);
    let listener = served.listener.clone();
    let stopping = std::thread::spawn(move || listener.stop(Duration::from_secs(5)));
    assert_eq!(read_all(&mut idle), "");
    std::thread::sleep(SHORT);
    slow.write_all(b"34").unwrap();
    half.write_all(b"TP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let answer = read_all(&mut slow);
    assert!(answer.ends_with("POST /x 4") && answer.contains("connection: close"), "{answer}");
    let answer = read_all(&mut half);
    assert!(answer.ends_with("ok") && answer.contains("connection: close"), "{answer}");
    assert!(stopping.join().unwrap());
    assert!(std::net::TcpStream::connect(served.address).is_err());
}

#[test]
fn a_stop_answers_a_connection_whose_request_is_on_its_way() {
    for served in [Served::new(Limits::default()), Served::without_accepts(Limits::default())] {
        let mut fresh = served.connect();
        let _silent = served.connect();
        let mut idle = served.connect();
        idle.write_all(accept(1).as_bytes()).unwrap();
        read_answer(&mut idle);
        let listener = served.listener.clone();
        let stopping = std::thread::spawn(move || listener.stop(Duration::from_secs(5)));
        assert_eq!(read_all(&mut idle), "");
        fresh.write_all(accept(2).as_bytes()).unwrap();
        let answer = read_all(&mut fresh);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        // Less than the time for a head or for idle connections.
        assert!(stopping.join().unwrap());
    }
}

#[test]
fn a_stop_takes_time_up_to_its_patience() {
    let served = Served::new(Limits::default());
    let mut slow = served.connect();
    slow.write_all(b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n12").unwrap();
    std::thread::sleep(SHORT);
    let begin = Instant::now();
    assert!(!served.listener.stop(SHORT));
    assert!(begin.elapsed() < 5 * SHORT);
}

#[test]
fn one_that_retires_ends_connections_with_an_answer_and_takes_new_ones() {
    let served = Served::new(Limits::default());
    let mut stream = served.connect();
    stream.write_all(accept(1).as_bytes()).unwrap();
    assert!(!read_answer(&mut stream).contains("connection: close"));
    served.listener.retire();
    stream.write_all(accept(2).as_bytes()).unwrap();
    assert!(read_all(&mut stream).contains("connection: close"));
    assert!(served.exchange(accept(3).as_bytes()).contains("connection: close"));
}
