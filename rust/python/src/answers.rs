//! Answers as Python objects: status, headers, body.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use verve_core::{Answer, BatchAnswer, Rejection};
use verve_listener::{common_fields, fields_of};

/// Status, headers and body.
pub type Response<'py> = (u16, Bound<'py, PyList>, Bound<'py, PyBytes>);

/// Parts of answers, created once.
pub struct Answers {
    ok: Py<PyBytes>,
    failed: Py<PyBytes>,
    ok_headers: Py<PyList>,
    failed_headers: Vec<Py<PyList>>,
}

fn headers<'py>(py: Python<'py>, answer: &Answer) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, fields_of(answer).1)
}

impl Answers {
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let failed_headers = Rejection::ALL
            .into_iter()
            .map(|rejection| headers(py, &Answer::Failed(rejection)).map(Bound::unbind))
            .collect::<PyResult<_>>()?;
        Ok(Self {
            ok: PyBytes::new(py, b"ok").unbind(),
            failed: PyBytes::new(py, b"failed").unbind(),
            ok_headers: headers(py, &Answer::Ok)?.unbind(),
            failed_headers,
        })
    }

    /// Status, headers and body of an accept.
    pub fn response<'py>(&self, py: Python<'py>, answer: Answer) -> PyResult<Response<'py>> {
        Ok(match answer {
            Answer::Ok => (200, self.ok_headers.bind(py).clone(), self.ok.bind(py).clone()),
            Answer::Verdict(_) => (200, headers(py, &answer)?, self.ok.bind(py).clone()),
            Answer::Failed(rejection) => (
                rejection.status(),
                self.failed_headers[rejection as usize].bind(py).clone(),
                self.failed.bind(py).clone(),
            ),
        })
    }

    /// Status, headers and body of a batch.
    pub fn batch_response<'py>(py: Python<'py>, answer: &BatchAnswer) -> PyResult<Response<'py>> {
        let body = PyBytes::new(py, answer.body.as_bytes());
        let Some(rejection) = answer.rejection else {
            return Ok((200, PyList::new(py, common_fields("application/json"))?, body));
        };
        let (status, mut fields, _) = fields_of(&Answer::Failed(rejection));
        let place = if status == 503 { "verve-recorded" } else { "verve-position" };
        let position = answer.position.map(|position| position.to_string());
        fields.push((place, position.unwrap_or_default().into()));
        Ok((status, PyList::new(py, fields)?, body))
    }
}
