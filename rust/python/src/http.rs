//! The counter's answers to HTTP requests.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use verve_core::{BatchFormat, Rejection};

use crate::answers::{Answers, Response};
use crate::counter::Counter;
use crate::errors;
use crate::replication::groups_for_python;

/// Answers to HTTP requests; see `Counter.http`.
#[pyclass(frozen, module = "verve._verve")]
pub struct Http(pub Py<Counter>);

#[pymethods]
impl Counter {
    /// Answers to HTTP requests, and the count of rejected ones.
    #[getter]
    fn http(this: Py<Self>) -> Http {
        Http(this)
    }
}

#[pymethods]
impl Http {
    /// Answers the query of `GET /api/verve/accept`: (status, headers, body).
    #[pyo3(signature = (query, /))]
    fn accept<'py>(
        &self,
        py: Python<'py>,
        query: &Bound<'py, PyString>,
    ) -> PyResult<Response<'py>> {
        let counter = self.0.get().get(py)?;
        let answer = errors::caught(py, || counter.http().accept(query_bytes(query)))?;
        self.0.get().answers.response(py, answer)
    }

    /// Answers a batch: (status, headers, body). `kind` is binary, json or text. Releases the GIL.
    #[pyo3(signature = (kind, body, /))]
    fn accept_batch<'py>(
        &self,
        py: Python<'py>,
        kind: &str,
        body: &[u8],
    ) -> PyResult<Response<'py>> {
        let kind = batch_kind(kind)?;
        let counter = self.0.get().get(py)?;
        let answer = errors::caught(py, || py.detach(|| counter.http().accept_batch(kind, body)))?;
        Answers::batch_response(py, &answer)
    }

    /// As `accept`, with the start of the window and the id: (response, None) if it was rejected.
    #[pyo3(signature = (query, /))]
    fn accept_placed<'py>(
        &self,
        py: Python<'py>,
        query: &Bound<'py, PyString>,
    ) -> PyResult<(Response<'py>, Option<(u64, i64)>)> {
        let counter = self.0.get().get(py)?;
        let (answer, placed) =
            errors::caught(py, || counter.http().accept_placed(query_bytes(query)))?;
        let placed = placed.map(|its| (its.window_start, its.id));
        Ok((self.0.get().answers.response(py, answer)?, placed))
    }

    /// As `accept_batch`, with the recorded ids, duplicates included, as a list of `Group`.
    #[pyo3(signature = (kind, body, /))]
    fn accept_batch_placed<'py>(
        &self,
        py: Python<'py>,
        kind: &str,
        body: &[u8],
    ) -> PyResult<(Response<'py>, Vec<Bound<'py, PyAny>>)> {
        let kind = batch_kind(kind)?;
        let counter = self.0.get().get(py)?;
        let (answer, groups) =
            errors::caught(py, || py.detach(|| counter.http().accept_batch_placed(kind, body)))?;
        Ok((Answers::batch_response(py, &answer)?, groups_for_python(py, &groups)?))
    }

    /// Counts a request that was rejected before it reached the counter, by the name of the reason.
    fn reject(&self, py: Python<'_>, reason: &str) -> PyResult<()> {
        let rejection = Rejection::ALL
            .into_iter()
            .find(|rejection| rejection.name() == reason)
            .ok_or_else(|| PyValueError::new_err(format!("no such rejection: `{reason}`")))?;
        self.0.get().get(py)?.http().reject(rejection);
        Ok(())
    }
}

/// The bytes of a query. A query with a lone surrogate has none: it is read as one with an invalid
/// id.
pub fn query_bytes<'a>(query: &'a Bound<'_, PyString>) -> &'a [u8] {
    query.to_str().map_or(&b"id=%FF"[..], str::as_bytes)
}

/// The format of a batch's body, by its name.
pub fn batch_kind(kind: &str) -> PyResult<BatchFormat> {
    match kind {
        "binary" => Ok(BatchFormat::Binary),
        "json" => Ok(BatchFormat::Json),
        "text" => Ok(BatchFormat::Text),
        _ => Err(PyValueError::new_err(format!("no such kind of batch: `{kind}`"))),
    }
}

/// Whether `query` names `id` or `endpoint`, which only the query of a single accept may.
#[pyfunction]
#[pyo3(signature = (query, /))]
pub fn names_single(query: &Bound<'_, PyString>) -> bool {
    // A query without bytes may name anything, and is rejected.
    query
        .to_str()
        .map_or(true, |query| verve_core::request::query::check_batch(query.as_bytes()).is_err())
}
