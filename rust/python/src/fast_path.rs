//! Answers on the thread on which Granian hands a request to Python, without the event loop.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::answers::Answers;
use crate::callbacks::Callbacks;
use crate::counter::Counter;

/// The path that the fast path answers.
const ACCEPT: &str = "/api/verve/accept";

/// Takes Granian's watchers: answers `GET /api/verve/accept` itself and hands all else to `stock`.
///
/// `schedule` is what Granian is to call. It returns None, never raises, never blocks, and answers
/// exactly once.
#[pyclass(frozen, module = "verve._verve")]
pub struct FastPath {
    counter: Arc<verve_core::Counter>,
    callbacks: Option<Arc<verve_callbacks::Callbacks>>,
    answers: Answers,
    stock: Py<PyAny>,
}

#[pymethods]
impl FastPath {
    #[new]
    fn new(
        py: Python<'_>,
        counter: &Bound<'_, Counter>,
        callbacks: Option<&Bound<'_, Callbacks>>,
        stock: Py<PyAny>,
    ) -> PyResult<Self> {
        let callbacks = callbacks.and_then(|callbacks| callbacks.get().get());
        Ok(Self { counter: counter.get().get(py)?, callbacks, answers: Answers::new(py)?, stock })
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
        let query = query.cast::<PyString>()?.to_str()?.as_bytes();
        let answer = match &self.callbacks {
            Some(callbacks) => callbacks.accept(query),
            None => self.counter.accept(query),
        };
        let response = self.answers.response(py, answer)?;
        respond.call1(response)?;
        Ok(true)
    }
}
