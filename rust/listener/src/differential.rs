//! The accept lane against hyper: what the lane takes, hyper reads the same way.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, Version};
use http_body_util::Empty;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::head::{ACCEPT, Head, parse};

const NEXT: &str = "GET /next HTTP/1.1\r\nconnection: close\r\n\r\n";

/// What hyper makes of bytes: the targets that it saw, and its answers.
async fn read_by_hyper(bytes: &[u8]) -> (Vec<Seen>, String) {
    let (mut caller, server) = tokio::io::duplex(1 << 20);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let its = seen.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        its.lock().unwrap().push(Seen::of(&request));
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    let connection =
        http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service);
    let mut answers = String::new();
    let client = async {
        caller.write_all(bytes).await.unwrap();
        caller.shutdown().await.unwrap();
        caller.read_to_string(&mut answers).await.unwrap();
    };
    let (_, ()) = tokio::join!(connection, client);
    (std::mem::take(&mut *seen.lock().unwrap()), answers)
}

#[derive(Debug)]
struct Seen {
    method: Method,
    version: Version,
    path: String,
    query: String,
    has_body: bool,
}

impl Seen {
    fn of(request: &Request<Incoming>) -> Self {
        Self {
            method: request.method().clone(),
            version: request.version(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            has_body: !request.body().is_end_stream(),
        }
    }
}

/// Heads that are accepts, nearly, and not at all.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let methods = select(vec![
        "GET", "GET", "GET", "GET", "GET", "GET", "POST", "get", "GET ", "\r\nGET", "\nGET", "HEAD",
    ]);
    let targets = prop_oneof![
        8 => "/api/verve/accept\\?id=[0-9]{1,3}(&[!-~]{0,6})?",
        1 => "/api/verve/accept[!-~]{0,4}",
        1 => select(vec!["/", "*", "http://x/api/verve/accept?id=7", "/api/verve/accept"])
            .prop_map(str::to_owned),
    ];
    let versions =
        select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.1 "]);
    let names = select(vec![
        "host",
        "Host",
        "accept",
        "connection",
        "Connection",
        "content-length",
        "expect",
        "transfer-encoding",
        "upgrade",
        "keep-alive",
        "te",
        "x y",
        "x\t",
        "",
        "proxy-connection",
    ]);
    let separators = select(vec![": ", ": ", ": ", ":", ":\t", " : ", ""]);
    let values = prop_oneof![
        3 => select(vec![
            "x", "close", "Close", "keep-alive", "close ", "keep-alive, close", "upgrade", "0", "5",
            "chunked", "identity", "100-continue", "h2c", "",
        ])
        .prop_map(str::to_owned),
        1 => "[ -~\\t]{0,8}",
    ];
    let ends = select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n "]);
    let field = (names, separators, values, ends)
        .prop_map(|(name, separator, value, end)| format!("{name}{separator}{value}{end}"));
    let first = select(vec!["\r\n", "\r\n", "\r\n", "\n"]);
    let last = select(vec!["\r\n", "\r\n", "\r\n", "\n"]);
    let line = (methods, targets, versions, first)
        .prop_map(|(method, target, version, end)| format!("{method} {target} {version}{end}"));
    let flipped = proptest::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    (line, prop::collection::vec(field, 0..3), last, flipped).prop_map(
        |(line, fields, last, flipped)| {
            let mut bytes = (line + &fields.concat() + last).into_bytes();
            if let Some((index, byte)) = flipped {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            bytes
        },
    )
}

#[test]
fn hyper_reads_what_the_lane_takes_in_the_same_way() {
    let full = std::env::var_os("VERVE_FULL").is_some();
    let cases = if full { 1_000_000 } else { 20_000 };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let taken = std::cell::Cell::new(0);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&heads(), |mut bytes| {
            bytes.extend_from_slice(NEXT.as_bytes());
            let Head::Accept { query, length, close } = parse(&bytes) else { return Ok(()) };
            taken.set(taken.get() + 1);
            let (seen, answers) = runtime.block_on(read_by_hyper(&bytes));
            let first = &seen[0];
            prop_assert_eq!(&first.method, Method::GET);
            prop_assert_eq!(first.version, Version::HTTP_11);
            prop_assert_eq!(&first.path, ACCEPT);
            prop_assert_eq!(first.query.as_bytes(), query);
            prop_assert!(!first.has_body);
            // The head ends at the same byte for both: what follows is read as if it stood alone.
            let (rest, _) = runtime.block_on(read_by_hyper(&bytes[length..]));
            prop_assert_eq!(seen.len() - 1, if close { 0 } else { rest.len() });
            let first = answers.split("\r\n\r\n").next().unwrap_or_default();
            prop_assert_eq!(first.contains("connection: close"), close);
            Ok(())
        })
        .unwrap();
    // Of generated heads, enough are taken for the comparison to say something.
    assert!(taken.get() > cases / 50, "{}", taken.get());
}
