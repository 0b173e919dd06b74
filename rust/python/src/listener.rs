//! The native listener for Python: a thread that serves a socket, and the requests it hands out.

use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use verve_core::Answer;
use verve_listener::{Accept, BodyPart, Event, Limits, Listener, Sending};

use crate::callbacks::Callbacks;
use crate::counter::Counter;
use crate::records::{BODY_PART, LISTENER_FIGURES};

/// The component that answers accepts: the sender of callbacks, or the counter alone.
enum Accepter {
    Callbacks(Arc<verve_callbacks::Callbacks>),
    Counter(Arc<verve_core::Counter>),
}

impl Accept for Accepter {
    fn accept(&self, query: &[u8]) -> Answer {
        match self {
            Self::Callbacks(callbacks) => callbacks.accept(query),
            Self::Counter(counter) => counter.http().accept(query),
        }
    }
}

/// Serves `descriptor`, a listening socket that it takes over, from a thread without Python.
///
/// Accepts are answered from the counter, or from `callbacks` if given; all other requests wait in
/// `take`. With `accepts=False` the application answers accepts too. Times are in seconds.
///
/// Create it in the process that serves, after any fork. Raises `OSError`.
#[pyclass(frozen, module = "verve._verve")]
pub struct NativeListener {
    inner: Listener,
}

#[pymethods]
impl NativeListener {
    #[new]
    #[pyo3(signature = (descriptor, counter, callbacks, *, accepts, connections, head, fields, head_timeout, idle_timeout, stall_timeout))]
    #[expect(clippy::too_many_arguments, reason = "each is a setting, given by its name")]
    fn new(
        py: Python<'_>,
        descriptor: RawFd,
        counter: &Bound<'_, Counter>,
        callbacks: Option<&Bound<'_, Callbacks>>,
        accepts: bool,
        connections: usize,
        head: usize,
        fields: usize,
        head_timeout: f64,
        idle_timeout: f64,
        stall_timeout: f64,
    ) -> PyResult<Self> {
        if descriptor < 0 {
            return Err(PyValueError::new_err(format!("no descriptor: `{descriptor}`")));
        }
        #[expect(unsafe_code, reason = "a descriptor from Python has no owner that Rust can see")]
        // SAFETY: the caller gives the descriptor away (`socket.detach()`), so that nothing else
        // closes it; if it is not a descriptor, the first call on it fails.
        let socket = TcpListener::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
        let seconds = |value: f64| {
            Duration::try_from_secs_f64(value)
                .map_err(|error| PyValueError::new_err(format!("{error}: `{value}`")))
        };
        let limits = Limits {
            connections,
            head,
            fields,
            head_timeout: seconds(head_timeout)?,
            idle_timeout: seconds(idle_timeout)?,
            stall_timeout: seconds(stall_timeout)?,
        };
        let accepter: Option<Box<dyn Accept>> = if accepts {
            let callbacks = callbacks.and_then(|callbacks| callbacks.get().get());
            Some(Box::new(match callbacks {
                Some(callbacks) => Accepter::Callbacks(callbacks),
                None => Accepter::Counter(counter.get().get(py)?),
            }))
        } else {
            None
        };
        let inner = Listener::start(socket, accepter, limits)?;
        Ok(Self { inner })
    }

    /// A descriptor that is readable while `take` has something.
    #[getter]
    fn descriptor(&self) -> RawFd {
        self.inner.inbox().descriptor()
    }

    /// The events since the last call: an `Exchange` per request, and a `BodyPart` per pulled part
    /// of a body: bytes, None at the end, False if the body is broken.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let converted = |event| match event {
            Event::Request(exchange) => {
                Exchange { inner: *exchange }.into_pyobject(py).map(Bound::into_any)
            }
            Event::Body { exchange, part } => {
                let part = match part {
                    BodyPart::Data(data) => PyBytes::new(py, &data).into_any(),
                    BodyPart::End => py.None().into_bound(py),
                    BodyPart::Broken => false.into_pyobject(py)?.to_owned().into_any(),
                };
                BODY_PART.of(py, (exchange, part))
            }
        };
        self.inner.inbox().take().into_iter().map(converted).collect()
    }

    /// Ends each connection with its next answer, while new connections are still taken.
    fn retire(&self) {
        self.inner.retire();
    }

    /// Takes the connections in the queue and no more, answers the requests in flight, and ends the
    /// thread. Returns False if that takes longer than `patience` seconds. The application
    /// continues to answer meanwhile, from another thread. Releases the GIL.
    fn stop(&self, py: Python<'_>, patience: f64) -> bool {
        let patience = Duration::try_from_secs_f64(patience).unwrap_or_default();
        py.detach(|| self.inner.stop(patience))
    }

    /// The `ListenerFigures` so far.
    fn figures<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let its = self.inner.figures();
        let values = (its.connections(), its.accept_lane(), its.hyper_lane(), its.other());
        LISTENER_FIGURES.of(py, values)
    }
}

/// A request that the application answers, once.
#[pyclass(frozen, module = "verve._verve")]
pub struct Exchange {
    inner: verve_listener::Exchange,
}

#[pymethods]
impl Exchange {
    /// The number by which parts of the body name the exchange.
    #[getter]
    fn number(&self) -> u64 {
        self.inner.number
    }

    /// The method as it was sent.
    #[getter]
    fn method(&self) -> &str {
        self.inner.head.method.as_str()
    }

    /// The path as it was sent: encoded, without the query.
    #[getter]
    fn path(&self) -> &str {
        self.inner.head.uri.path()
    }

    /// The query, encoded; empty if there is none.
    #[getter]
    fn query(&self) -> &str {
        self.inner.head.uri.query().unwrap_or_default()
    }

    /// The authority of an absolute target; None for other targets.
    #[getter]
    fn authority(&self) -> Option<&str> {
        self.inner.head.uri.authority().map(http::uri::Authority::as_str)
    }

    /// The address of the peer, without port.
    #[getter]
    fn peer(&self) -> String {
        self.inner.peer.ip().to_string()
    }

    /// All values of a header, by its name in lower case. Values outside visible ASCII are left
    /// out.
    #[pyo3(signature = (name, /))]
    fn header(&self, name: &str) -> Vec<&str> {
        let values = self.inner.head.headers.get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok()).collect()
    }

    /// The names of all headers, in lower case.
    fn header_names(&self) -> Vec<&str> {
        self.inner.head.headers.keys().map(HeaderName::as_str).collect()
    }

    /// Asks for the next part of the body, which `NativeListener.take` returns.
    fn pull(&self) {
        self.inner.pull();
    }

    /// Answers the request; length and date are added.
    #[pyo3(signature = (status, headers, body, /))]
    fn respond(&self, status: u16, headers: Vec<(String, String)>, body: &[u8]) -> PyResult<()> {
        let response = head(status, headers)?.map(|()| Bytes::copy_from_slice(body));
        self.inner.respond(response);
        Ok(())
    }

    /// Answers the request with a body in parts; it ends when what this returns is dropped.
    #[pyo3(signature = (status, headers, /))]
    fn stream(&self, status: u16, headers: Vec<(String, String)>) -> PyResult<BodySender> {
        Ok(BodySender { inner: self.inner.stream(head(status, headers)?) })
    }
}

fn head(status: u16, headers: Vec<(String, String)>) -> PyResult<Response<()>> {
    let wrong = |what: &str| PyValueError::new_err(format!("no such {what}"));
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| wrong("status"))?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|_| wrong("header"))?;
        let value = HeaderValue::try_from(value).map_err(|_| wrong("value of a header"))?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

/// Sends the parts of a body, which ends when this is dropped.
#[pyclass(frozen, module = "verve._verve")]
pub struct BodySender {
    inner: verve_listener::BodySender,
}

#[pymethods]
impl BodySender {
    /// Whether the part was taken; False while the caller reads too slowly, None once the
    /// connection has ended.
    #[pyo3(signature = (part, /))]
    fn send(&self, part: &[u8]) -> Option<bool> {
        match self.inner.send(Bytes::copy_from_slice(part)) {
            Sending::Sent => Some(true),
            Sending::Full => Some(false),
            Sending::Gone => None,
        }
    }
}
