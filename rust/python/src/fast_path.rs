//! Answers on the thread on which Granian hands a request to Python, without the event loop.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};
use verve_core::{Answer, BatchAnswer, Refusal};

use crate::counter::Counter;

/// The path that the fast path answers.
const ACCEPT: &str = "/api/verve/accept";
const NO_STORE: (&str, &str) = ("cache-control", "no-store");

type Response<'py> = (u16, Bound<'py, PyList>, Bound<'py, PyBytes>);

/// Parts of answers, made once.
pub struct Answers {
    ok: Py<PyBytes>,
    failed: Py<PyBytes>,
    ok_headers: Py<PyList>,
    failed_headers: Vec<Py<PyList>>,
}

fn headers<'py>(py: Python<'py>, pairs: &[(&str, &str)]) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, pairs)
}

impl Answers {
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let failed_headers = Refusal::ALL
            .into_iter()
            .map(|refusal| {
                let error = ("verve-error", refusal.name());
                headers(py, &[NO_STORE, error]).map(Bound::unbind)
            })
            .collect::<PyResult<_>>()?;
        Ok(Self {
            ok: PyBytes::new(py, b"ok").unbind(),
            failed: PyBytes::new(py, b"failed").unbind(),
            ok_headers: headers(py, &[NO_STORE])?.unbind(),
            failed_headers,
        })
    }

    /// Status, headers and body of an accept.
    pub fn response<'py>(&self, py: Python<'py>, answer: Answer) -> PyResult<Response<'py>> {
        Ok(match answer {
            Answer::Ok => (200, self.ok_headers.bind(py).clone(), self.ok.bind(py).clone()),
            Answer::Verdict(placement) => {
                let seen = if placement.new { "new" } else { "duplicate" };
                let window = placement.window_start.to_string();
                let pairs = [NO_STORE, ("verve-seen", seen), ("verve-window", &window)];
                (200, headers(py, &pairs)?, self.ok.bind(py).clone())
            }
            Answer::Failed(refusal) => (
                refusal.status(),
                self.failed_headers[refusal as usize].bind(py).clone(),
                self.failed.bind(py).clone(),
            ),
        })
    }

    /// Status, headers and body of a batch.
    pub fn batch_response<'py>(py: Python<'py>, answer: &BatchAnswer) -> PyResult<Response<'py>> {
        let body = PyBytes::new(py, answer.body.as_bytes());
        let position = answer.position.map(|position| position.to_string());
        let Some(refusal) = answer.refusal else {
            let json = ("content-type", "application/json");
            return Ok((200, headers(py, &[NO_STORE, json])?, body));
        };
        let place = if refusal.status() == 503 { "verve-recorded" } else { "verve-position" };
        let position = position.unwrap_or_default();
        let pairs = [NO_STORE, ("verve-error", refusal.name()), (place, &position)];
        Ok((refusal.status(), headers(py, &pairs)?, body))
    }
}

/// Takes Granian's watchers: answers `GET /api/verve/accept` itself and hands all else to `stock`.
///
/// `schedule` is what Granian is to call. It returns None, never raises, never blocks, and answers
/// exactly once.
#[pyclass(frozen, module = "verve._verve")]
pub struct FastPath {
    counter: Arc<verve_core::Counter>,
    answers: Answers,
    stock: Py<PyAny>,
}

#[pymethods]
impl FastPath {
    #[new]
    fn new(py: Python<'_>, counter: &Bound<'_, Counter>, stock: Py<PyAny>) -> PyResult<Self> {
        Ok(Self { counter: counter.get().get(py)?, answers: Answers::new(py)?, stock })
    }

    /// Schedules a request.
    #[pyo3(signature = (watcher, /))]
    fn schedule(&self, py: Python<'_>, watcher: &Bound<'_, PyAny>) {
        // What fails here has answered nothing yet: the stock path gets to answer it.
        if !self.answer(py, watcher).unwrap_or(false)
            && let Err(error) = self.stock.call1(py, (watcher,))
        {
            error.write_unraisable(py, Some(watcher));
        }
    }
}

impl FastPath {
    /// Answers, or says that the request is none of ours.
    fn answer(&self, py: Python<'_>, watcher: &Bound<'_, PyAny>) -> PyResult<bool> {
        let scope = watcher.getattr(pyo3::intern!(py, "scope"))?;
        let is = |name: &Bound<'_, PyString>, wanted: &str| -> PyResult<bool> {
            let value = scope.getattr(name)?;
            Ok(value.cast::<PyString>()?.to_str()? == wanted)
        };
        if !is(pyo3::intern!(py, "path"), ACCEPT)?
            || !is(pyo3::intern!(py, "method"), "GET")?
            || !is(pyo3::intern!(py, "proto"), "http")?
        {
            return Ok(false);
        }
        let query = scope.getattr(pyo3::intern!(py, "query_string"))?;
        let protocol = watcher.getattr(pyo3::intern!(py, "proto"))?;
        let respond = protocol.getattr(pyo3::intern!(py, "response_bytes"))?;
        let answer = self.counter.accept(query.cast::<PyString>()?.to_str()?.as_bytes());
        let response = self.answers.response(py, answer)?;
        respond.call1(response)?;
        Ok(true)
    }
}
