//! hyper on one thread, with the headers of Verve's answer.
//!
//! Bare, it answers `ok` to anything and counts nothing: it shows what HTTP alone costs, so it is a
//! limit, not a rival. With the length of a window it counts distinct ids in a `DashSet`.
//!
//! ```text
//! cargo build --release
//! taskset -c 0 target/release/peer-hyper 127.0.0.1:8103        # bare
//! taskset -c 0 target/release/peer-hyper 127.0.0.1:8105 60     # counts in windows of 60 s
//! ```

mod counting;

use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket};

use counting::Windows;

/// How long a connection may send nothing: as long as with Verve.
const IDLE: Duration = Duration::from_secs(75);

type Answer = Response<Full<Bytes>>;

fn text(status: StatusCode, body: &'static str) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Listens with room for as many waiting connections as Verve: those beyond it are tried again by the
/// kernel after a second.
fn listen(address: &str) -> io::Result<TcpListener> {
    let address = address.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4_096)
}

/// Answers on all connections of `address` with `answer`; runs until the process ends.
async fn serve<A>(address: &str, answer: A) -> io::Result<()>
where
    A: Fn(&Request<Incoming>) -> Answer + Clone + 'static,
{
    let listener = listen(address)?;
    eprintln!("listening on {}", listener.local_addr()?);
    let mut server = http1::Builder::new();
    // Connections that send nothing for longer than hyper's 30 s are part of a load.
    server.timer(TokioTimer::new()).header_read_timeout(IDLE);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many files are open: connections that end make room.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        let service =
            service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(&request))));
        let connection = server.serve_connection(TokioIo::new(stream), service);
        tokio::task::spawn_local(async move {
            // A client may close its connection at any time.
            let _ = connection.await;
        });
    }
}

async fn run(address: &str, window: Option<u64>) -> io::Result<()> {
    let Some(window) = window else {
        return serve(address, |_| text(StatusCode::OK, "ok")).await;
    };
    let windows = Rc::new(Windows::new(window));
    let counted = Rc::clone(&windows);
    let answer = move |request: &Request<Incoming>| match counting::id(request.uri()) {
        Some(id) => {
            counted.add(id);
            text(StatusCode::OK, "ok")
        }
        None => text(StatusCode::BAD_REQUEST, "failed"),
    };
    tokio::select! {
        served = serve(address, answer) => served,
        ended = windows.rotate_until_stopped() => ended,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: peer-hyper 127.0.0.1:PORT [WINDOW_SECONDS]")?;
    let window = arguments.next().map(|seconds| seconds.parse()).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, run(&address, window))?)
}
