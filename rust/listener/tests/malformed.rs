//! Malformed requests: the listener answers each as hyper does, and reads none in another way.

mod support;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use support::Served;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use verve_core::{Clock, Counter, SegmentConfig};
use verve_listener::{Limits, fields_of};

const PATH: &str = "/api/verve/accept";

/// First lines of requests.
const LINES: [&str; 40] = [
    "GET",
    "GET ",
    "GET @?id=7",
    "GET @?id=7 ",
    "GET @?id=7 HTTP",
    "GET @?id=7 HTTP/1",
    "GET @?id=7 HTTP/1.",
    "GET @?id=7 HTTP/1.2",
    "GET @?id=7 HTTP/1.11",
    "GET @?id=7 HTTP/0.9",
    "GET @?id=7 HTTP/2.0",
    "GET @?id=7 HTTPS/1.1",
    "GET @?id=7 http/1.1",
    "GET @?id=7 HTTP/1.1 ",
    "GET @?id=7 HTTP/1.1 x",
    "GET  @?id=7 HTTP/1.1",
    "GET @?id=7  HTTP/1.1",
    "GET\t@?id=7 HTTP/1.1",
    " GET @?id=7 HTTP/1.1",
    "\tGET @?id=7 HTTP/1.1",
    "\0GET @?id=7 HTTP/1.1",
    "\u{feff}GET @?id=7 HTTP/1.1",
    "G(T @?id=7 HTTP/1.1",
    "G\u{7f}T @?id=7 HTTP/1.1",
    "GET @?id=\0 HTTP/1.1",
    "GET @?id=\u{7f} HTTP/1.1",
    "GET @?id=7\u{1} HTTP/1.1",
    "GET @?id=\u{e9} HTTP/1.1",
    "GET @?id=7 8 HTTP/1.1",
    "GET @?id=7\r HTTP/1.1",
    "GET api/verve/accept?id=7 HTTP/1.1",
    "GET ?id=7 HTTP/1.1",
    "GET #x HTTP/1.1",
    "GET http:// HTTP/1.1",
    "GET http://[::1?id=7 HTTP/1.1",
    "GET x:y:z HTTP/1.1",
    "CONNECT @?id=7 HTTP/1.1",
    "PRI * HTTP/2.0",
    "HTTP/1.1 200 OK",
    "\u{16}\u{3}\u{1}",
];

/// Fields of `GET`.
const FIELDS: [&str; 26] = [
    "bad name: x",
    ": x",
    "x",
    "x : y",
    " x: y",
    "\tx: y",
    "x: y\r\n z",
    "x: \0",
    "x: \u{1}",
    "x: \u{7f}",
    "x: y\rz",
    "x: y\nz",
    "x\0: y",
    "(x): y",
    "x@y: z",
    "\u{e9}: y",
    "content-length: -1",
    "content-length: +3",
    "content-length: 3x",
    "content-length: 0x3",
    "content-length: 3 3",
    "content-length: 99999999999999999999",
    "content-length:",
    "content-length: 3\r\ncontent-length: 4",
    "transfer-encoding: identity",
    "transfer-encoding: gzip",
];

/// Fields and bodies of `POST`.
const BODIES: [(&str, &str); 20] = [
    ("content-length: 3\r\ncontent-length: 4", "1,2"),
    ("content-length: 3, 4", "1,2"),
    ("content-length: -3", "1,2"),
    ("content-length: 3\r\ntransfer-encoding: chunked", "3\r\n1,2\r\n0\r\n\r\n"),
    ("transfer-encoding: chunked\r\ncontent-length: 3", "3\r\n1,2\r\n0\r\n\r\n"),
    ("transfer-encoding: chunked, identity", "3\r\n1,2\r\n0\r\n\r\n"),
    ("transfer-encoding: identity", "1,2"),
    ("transfer-encoding: xchunked", "3\r\n1,2\r\n0\r\n\r\n"),
    ("transfer-encoding: gzip, gzip", "3\r\n1,2\r\n0\r\n\r\n"),
    ("transfer-encoding:\u{b}chunked", "3\r\n1,2\r\n0\r\n\r\n"),
    ("transfer-encoding : chunked", "3\r\n1,2\r\n0\r\n\r\n"),
    ("transfer-encoding: chunked", "x\r\n1,2\r\n0\r\n\r\n"),
    ("transfer-encoding: chunked", "-3\r\n1,2\r\n0\r\n\r\n"),
    ("transfer-encoding: chunked", "\r\n1,2\r\n0\r\n\r\n"),
    ("transfer-encoding: chunked", "ffffffffffffffffff\r\n1,2\r\n0\r\n\r\n"),
    ("transfer-encoding: chunked", "3\r\n1,2XX0\r\n\r\n"),
    ("transfer-encoding: chunked", "3\n1,2\n0\n\n"),
    ("transfer-encoding: chunked", "3\r\n1,2\r\n0\r\nbad trailer\r\n\r\n"),
    ("transfer-encoding: chunked", "3;\0\r\n1,2\r\n0\r\n\r\n"),
    ("transfer-encoding: chunked", "2\r\n1,2\r\n0\r\n\r\n"),
];

/// Each behind nothing, behind an accept and behind a page, with an accept after it.
fn requests() -> Vec<String> {
    let lines = LINES.iter().map(|line| format!("{line}\r\nhost: x\r\n\r\n"));
    let fields = FIELDS.iter().map(|field| format!("GET @?id=7 HTTP/1.1\r\n{field}\r\n\r\n"));
    let bodies =
        BODIES.iter().map(|(fields, body)| format!("POST @ HTTP/1.1\r\n{fields}\r\n\r\n{body}"));
    let long = format!("GET @?id=7 HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    let many = format!("GET @?id=7 HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101));
    let malformed: Vec<String> = lines.chain(fields).chain(bodies).chain([long, many]).collect();
    let before = ["", "GET @?id=8 HTTP/1.1\r\n\r\n", "GET /page HTTP/1.1\r\n\r\n"];
    let after = "GET @?id=9 HTTP/1.1\r\nconnection: close\r\n\r\n";
    let whole = |before| malformed.iter().map(move |one| format!("{before}{one}{after}"));
    before.into_iter().flat_map(whole).map(|one| one.replace('@', PATH)).collect()
}

/// What hyper makes of `sent`, with the limits of the listener and an application that answers as
/// that of [`Served`].
async fn read_by_hyper(sent: &[u8], counter: &Counter) -> Vec<u8> {
    let (mut caller, server) = tokio::io::duplex(8 << 10);
    let service = service_fn(|request: Request<Incoming>| async {
        if request.method() == Method::GET && request.uri().path() == PATH {
            let query = request.uri().query().unwrap_or_default().as_bytes();
            let (status, _, body) = fields_of(&counter.http().accept(query));
            let body = Full::new(Bytes::from_static(body.as_bytes()));
            return Ok(Response::builder().status(status).body(body).unwrap());
        }
        let (head, body) = request.into_parts();
        // Trailers are not known there: a body that has some is broken.
        let collected = body.collect().await.ok().filter(|all| all.trailers().is_none());
        let end = collected.map_or("broken".into(), |all| all.to_bytes().len().to_string());
        let said = format!("{} {} {end}", head.method, head.uri);
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(said))))
    });
    let limits = Limits::default();
    let connection = http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .max_headers(limits.fields)
        .max_buf_size(limits.head)
        .serve_connection(TokioIo::new(server), service);
    let mut answers = Vec::new();
    let client = async {
        // A server that has refused the head reads no more.
        let _ = caller.write_all(sent).await;
        let _ = caller.shutdown().await;
        let _ = caller.read_to_end(&mut answers).await;
    };
    let (_, ()) = tokio::join!(connection, client);
    answers
}

fn read_by_listener(sent: &[u8], served: &Served) -> Vec<u8> {
    let mut stream = served.connect();
    let mut answers = Vec::new();
    let _ = stream.write_all(sent);
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut answers);
    answers
}

/// Status and body of each answer.
fn bodies(answers: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(answers);
    let parts = text.split("HTTP/1.1 ").skip(1);
    parts
        .map(|answer| {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head.split(' ').next().unwrap().to_owned(), body.to_owned())
        })
        .collect()
}

#[test]
fn each_is_answered_as_hyper_does_and_read_in_no_other_way() {
    let requests = requests();
    assert!(requests.len() >= 200, "{}", requests.len());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = SegmentConfig::default();
    let mut refused = 0;
    for sent in &requests {
        // Of their own: what is counted shows how the ids were read.
        let served = Served::new(Limits::default());
        let counter = Arc::new(Counter::in_memory(&config, Clock::System).unwrap());
        let expected = bodies(&runtime.block_on(read_by_hyper(sent.as_bytes(), &counter)));
        let found = bodies(&read_by_listener(sent.as_bytes(), &served));
        let shown = &sent[..sent.len().min(300)];
        assert_eq!(found, expected, "{shown:?}");
        assert_eq!(served.counter.count().unwrap(), counter.count().unwrap(), "{shown:?}");
        refused += usize::from(expected.iter().any(|(status, _)| status.starts_with('4')));
    }
    // Most are malformed for hyper, too.
    assert!(refused > 150, "{refused}");
}
