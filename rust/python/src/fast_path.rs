//! Answers accepts on the thread on which Granian hands a request to Python, without the event
//! loop.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::answers::Answers;
use crate::callbacks::Callbacks;
use crate::counter::Counter;
use crate::errors;
use crate::http::query_bytes;

/// The path that the fast path answers.
const ACCEPT: &str = "/api/verve/accept";

/// Takes Granian's watchers: answers `GET /api/verve/accept` itself and hands all other requests to
/// `stock`.
///
/// Granian shall call `schedule`, which returns None, never raises, never blocks, and answers
/// exactly once. `failed` gets the exceptions that nothing else reports.
#[pyclass(frozen, module = "verve._verve")]
pub struct FastPath {
    counter: Arc<verve_core::Counter>,
    callbacks: Option<Arc<verve_callbacks::Callbacks>>,
    answers: Answers,
    stock: Py<PyAny>,
    failed: Py<PyAny>,
    aside: AtomicBool,
}

/// An accept for the fast path: its query, and the method that answers it.
struct Asked<'py> {
    query: Bound<'py, PyString>,
    respond: Bound<'py, PyAny>,
}

#[pymethods]
impl FastPath {
    #[new]
    fn new(
        py: Python<'_>,
        counter: &Bound<'_, Counter>,
        callbacks: Option<&Bound<'_, Callbacks>>,
        stock: Py<PyAny>,
        failed: Py<PyAny>,
    ) -> PyResult<Self> {
        let callbacks = callbacks.and_then(|callbacks| callbacks.get().get());
        let counter = counter.get().get(py)?;
        let (answers, aside) = (Answers::new(py)?, AtomicBool::new(false));
        Ok(Self { counter, callbacks, answers, stock, failed, aside })
    }

    /// Hands every request to `stock` from now on.
    fn step_aside(&self) {
        // Relaxed: no other memory depends on it, and one more request may be answered here.
        self.aside.store(true, Relaxed);
    }

    /// Schedules a request.
    #[pyo3(signature = (watcher, /))]
    fn schedule(&self, py: Python<'_>, watcher: &Bound<'_, PyAny>) {
        // Relaxed: as in `step_aside`.
        let asked = if self.aside.load(Relaxed) { Ok(None) } else { Self::asked(py, watcher) };
        let done = match asked {
            // `answer` counts the request: the stock path would count it once more.
            Ok(Some(asked)) => self.answer(py, &asked),
            // A failure here has counted nothing: the stock path answers the request.
            Ok(None) | Err(_) => self.stock.call1(py, (watcher,)).map(drop),
        };
        if let Err(error) = done
            && let Err(error) = self.failed.call1(py, (error.into_value(py),))
        {
            error.write_unraisable(py, Some(watcher));
        }
    }
}

impl FastPath {
    /// The accept of `watcher`; None if the request is not an accept.
    fn asked<'py>(py: Python<'py>, watcher: &Bound<'py, PyAny>) -> PyResult<Option<Asked<'py>>> {
        let scope = watcher.getattr(pyo3::intern!(py, "scope"))?;
        let is = |name: &Bound<'_, PyString>, wanted: &str| -> PyResult<bool> {
            let value = scope.getattr(name)?;
            Ok(value.cast::<PyString>()?.to_str()? == wanted)
        };
        if !is(pyo3::intern!(py, "path"), ACCEPT)?
            || !is(pyo3::intern!(py, "method"), "GET")?
            || !is(pyo3::intern!(py, "proto"), "http")?
        {
            return Ok(None);
        }
        let query = scope.getattr(pyo3::intern!(py, "query_string"))?.cast_into::<PyString>()?;
        let protocol = watcher.getattr(pyo3::intern!(py, "proto"))?;
        let respond = protocol.getattr(pyo3::intern!(py, "response_bytes"))?;
        Ok(Some(Asked { query, respond }))
    }

    /// Counts and answers.
    fn answer(&self, py: Python<'_>, asked: &Asked<'_>) -> PyResult<()> {
        let query = query_bytes(&asked.query);
        let answer = errors::caught(py, || match &self.callbacks {
            Some(callbacks) => callbacks.accept(query),
            None => self.counter.http().accept(query),
        })?;
        asked.respond.call1(self.answers.response(py, answer)?).map(drop)
    }
}
