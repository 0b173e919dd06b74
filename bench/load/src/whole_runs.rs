//! Tests of whole runs against a server with deliberate faults.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use crate::options::Options;
use crate::run::{Outcome, drive};

/// The server's behaviour for the n-th request, counted from 0 over all connections.
#[derive(Clone, Copy)]
enum Act {
    Say(&'static str),
    Hang(u64),
    Die,
}

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nverve-seen: new\r\n\
    verve-window: 1700000040\r\n\r\nok";
const LAST: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const REFUSAL: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 6\r\n\r\nfailed";
const WRONG: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno";

type Script = fn(u64) -> Act;

async fn serve(mut stream: TcpStream, served: Rc<Cell<u64>>, script: Script) {
    let mut pending = Vec::new();
    let mut room = [0; 4_096];
    loop {
        while let Some(end) = pending.windows(4).position(|four| four == b"\r\n\r\n") {
            pending.drain(..end + 4);
            let number = served.replace(served.get() + 1);
            let answer = match script(number) {
                Act::Say(answer) => answer,
                Act::Hang(milliseconds) => {
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                    GOOD
                }
                Act::Die => return,
            };
            if stream.write_all(answer.as_bytes()).await.is_err() || answer == LAST {
                return;
            }
        }
        match stream.read(&mut room).await {
            Ok(count) if count > 0 => pending.extend_from_slice(&room[..count]),
            _ => return,
        }
    }
}

/// Runs against a server that follows `script`.
fn run(script: Script, arguments: &[&str]) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        spawn_local(async move {
            let served = Rc::new(Cell::new(0));
            while let Ok((stream, _)) = listener.accept().await {
                spawn_local(serve(stream, Rc::clone(&served), script));
            }
        });
        let fixed = [target.as_str(), "--quiet"];
        let options = Options::parse(fixed.iter().chain(arguments)).unwrap();
        drive(options).await.unwrap()
    })
}

fn number(report: &Value, path: &str) -> u64 {
    let value = report.pointer(path);
    value.and_then(Value::as_u64).unwrap_or(0)
}

#[test]
fn every_request_of_a_good_run_is_counted_once() {
    let outcome = run(
        |_| Act::Say(GOOD),
        &["--requests", "1001", "--connections", "7", "--depth", "4", "--verdict"],
    );
    assert!(outcome.clean);
    for path in ["/requests", "/ok", "/distinct", "/new", "/windows/0/ok", "/latency_us/count"] {
        assert_eq!(number(&outcome.report, path), 1_001, "{path}");
    }
}

#[test]
fn a_connection_that_dies_is_told_and_replaced() {
    let folder = std::env::temp_dir().join(format!("verve-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let out = folder.join("records");
    let outcome = run(
        |number| if number % 10 == 9 { Act::Die } else { Act::Say(GOOD) },
        &[
            "--requests",
            "400",
            "--connections",
            "4",
            "--depth",
            "2",
            "--out",
            out.to_str().unwrap(),
        ],
    );
    assert!(!outcome.clean);
    let report = &outcome.report;
    let lost = number(report, "/errors/closed") + number(report, "/errors/reset");
    assert!(lost >= 20, "{report}");
    assert_eq!(number(report, "/ok") + lost, 400);
    assert!(number(report, "/reconnects") >= 20);
    let records = std::fs::read(&out).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(records.len(), 32 + 400 * 32);
    let sent = records[32..].chunks(32).filter(|record| record[30] == 3);
    assert_eq!(sent.count() as u64, lost);
}

#[test]
fn a_server_that_says_goodbye_is_no_error() {
    let outcome = run(
        |number| Act::Say(if number % 5 == 4 { LAST } else { GOOD }),
        &["--requests", "100", "--connections", "3"],
    );
    assert!(outcome.clean, "{}", outcome.report);
    assert!(number(&outcome.report, "/reconnects") >= 17);
}

#[test]
fn wrong_answers_are_told_apart() {
    let script = |number| {
        Act::Say(match number % 4 {
            0 => REFUSAL,
            1 => WRONG,
            _ => GOOD,
        })
    };
    let outcome = run(script, &["--requests", "100", "--connections", "1"]);
    assert_eq!(number(&outcome.report, "/failed/503"), 25);
    assert_eq!(number(&outcome.report, "/errors/body"), 25);
    assert_eq!(number(&outcome.report, "/ok"), 50);
    // The answers lack the verdict on purpose.
    let outcome = run(|_| Act::Say(LAST), &["--requests", "3", "--connections", "1", "--verdict"]);
    assert_eq!(number(&outcome.report, "/errors/verdict"), 3);
}

#[test]
fn an_answer_that_does_not_come_is_a_timeout() {
    let outcome = run(
        |number| if number == 3 { Act::Hang(600) } else { Act::Say(GOOD) },
        &["--requests", "10", "--connections", "1", "--timeout", "0.2"],
    );
    assert_eq!(number(&outcome.report, "/errors/timeout"), 1);
    assert_eq!(number(&outcome.report, "/ok"), 9);
}

#[test]
fn a_stall_shows_in_the_requests_that_were_due_meanwhile() {
    // A closed loop would send one request in the stall, and call one in 500 slow.
    let outcome = run(
        |number| if number == 100 { Act::Hang(300) } else { Act::Say(GOOD) },
        &["--rate", "1000", "--duration", "0.5", "--connections", "1"],
    );
    assert!(outcome.clean, "{}", outcome.report);
    assert_eq!(number(&outcome.report, "/ok"), 500);
    let half = outcome.report["latency_us"]["p50"].as_f64().unwrap();
    let most = outcome.report["latency_us"]["max"].as_f64().unwrap();
    // 300 of 500 were due meanwhile. With 250 the median would be that of the fastest which waited,
    // or of the slowest which did not.
    assert!(half > 5_000.0, "half of the requests waited: {half} us");
    assert!(most > 290_000.0, "{most} us");
}

#[test]
fn a_server_that_stays_away_ends_the_run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        spawn_local(async move {
            // One connection, dropped at once with the listener.
            let _ = listener.accept().await;
        });
        let arguments = [&target, "--connections", "1", "--give-up", "0.2", "--quiet"];
        drive(Options::parse(arguments).unwrap()).await.unwrap()
    });
    assert!(outcome.gave_up);
    assert!(number(&outcome.report, "/errors/connect") > 0);
}
