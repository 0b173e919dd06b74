//! The hyper lane: connections on which something else than plain accepts comes.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::answer;
use crate::body::Body;
use crate::connections::Stage;
use crate::head::ACCEPT;
use crate::io::{Resumed, Watch};
use crate::limits::FIRST_BYTE;
use crate::listener::Shared;

/// The smallest bound on heads that hyper takes.
const SMALLEST_HEAD: usize = 8 << 10;

/// Serves a connection to its end, and gives its stream back to be closed in order. `None` if the
/// caller was too slow.
pub(crate) async fn run(
    stream: TcpStream,
    first: Bytes,
    peer: SocketAddr,
    shared: &Shared,
) -> Option<TcpStream> {
    let watch = Arc::new(Watch::new(&first));
    let mut end = None;
    let service = service_fn(|request| {
        Box::pin(async {
            watch.requested();
            let mut response = answered(request, peer, shared).await;
            response.body_mut().tell(&watch);
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .max_headers(shared.limits.fields)
        .max_buf_size(shared.limits.head.max(SMALLEST_HEAD))
        .serve_connection(Resumed::new(stream, first, &watch), service);
    let mut timer = pin!(sleep_until(Instant::now() + shared.limits.head_timeout));
    let is_slow = poll_fn(|context| {
        loop {
            // hyper would close a fresh one at once.
            if shared.connections.stage() == Stage::Closing && !watch.is_fresh() {
                Pin::new(&mut connection).graceful_shutdown();
            }
            if connection.poll_without_shutdown(context).is_ready() {
                return Poll::Ready(false);
            }
            // A caller that takes nothing would keep a stop waiting for the end of its stream.
            if shared.connections.stage() == Stage::Closing && watch.is_blocked_stream() {
                return Poll::Ready(true);
            }
            let Some(mut deadline) = watch.deadline(&shared.limits) else { return Poll::Pending };
            if shared.connections.stage() == Stage::Closing && watch.is_fresh() {
                deadline = deadline.min(*end.get_or_insert_with(|| Instant::now() + FIRST_BYTE));
            }
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if deadline <= Instant::now() {
                return Poll::Ready(true);
            }
        }
    })
    .await;
    (!is_slow).then(|| connection.into_parts().io.into_stream())
}

async fn answered(request: Request<Incoming>, peer: SocketAddr, shared: &Shared) -> Response<Body> {
    let uri = request.uri();
    let mut response = match &shared.accept {
        Some(accept) if request.method() == Method::GET && uri.path() == ACCEPT => {
            shared.figures.add_hyper_lane();
            let answer = accept.accept(uri.query().unwrap_or_default().as_bytes());
            answer::response(&answer).map(Body::whole)
        }
        _ => {
            shared.figures.add_other();
            let (head, body) = request.into_parts();
            shared.inbox.ask(head, body, peer).await
        }
    };
    response.headers_mut().insert(http::header::SERVER, answer::SERVER);
    if shared.connections.stage() > Stage::Serving {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(http::header::CONNECTION, close);
    }
    response
}
