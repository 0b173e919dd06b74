//! Answers as Python objects: status, headers, body.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use verve_core::{Answer, BatchAnswer, Rejection};

const NO_STORE: (&str, &str) = ("cache-control", "no-store");
const NO_SNIFF: (&str, &str) = ("x-content-type-options", "nosniff");
const TEXT: (&str, &str) = ("content-type", "text/plain");
const JSON: (&str, &str) = ("content-type", "application/json");

/// Header for a rejected endpoint that the allow list would permit.
const LISTED: (&str, &str) = ("verve-hint", "VERVE_CALLBACK_ALLOW opens internal destinations");

/// Status, headers and body.
pub type Response<'py> = (u16, Bound<'py, PyList>, Bound<'py, PyBytes>);

/// Parts of answers, created once.
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
        let failed_headers = Rejection::ALL
            .into_iter()
            .map(|rejection| {
                let error = ("verve-error", rejection.name());
                let pairs = [TEXT, NO_STORE, NO_SNIFF, error, LISTED];
                // Most first endpoints are on the user's own machine.
                let opened =
                    matches!(rejection, Rejection::EndpointAddress | Rejection::EndpointNotListed);
                headers(py, &pairs[..4 + usize::from(opened)]).map(Bound::unbind)
            })
            .collect::<PyResult<_>>()?;
        Ok(Self {
            ok: PyBytes::new(py, b"ok").unbind(),
            failed: PyBytes::new(py, b"failed").unbind(),
            ok_headers: headers(py, &[TEXT, NO_STORE, NO_SNIFF])?.unbind(),
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
                let (seen, window) = (("verve-seen", seen), ("verve-window", window.as_str()));
                let pairs = [TEXT, NO_STORE, NO_SNIFF, seen, window];
                (200, headers(py, &pairs)?, self.ok.bind(py).clone())
            }
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
        let position = answer.position.map(|position| position.to_string());
        let Some(rejection) = answer.rejection else {
            return Ok((200, headers(py, &[JSON, NO_STORE, NO_SNIFF])?, body));
        };
        let place = if rejection.status() == 503 { "verve-recorded" } else { "verve-position" };
        let position = position.unwrap_or_default();
        let error = ("verve-error", rejection.name());
        let pairs = [TEXT, NO_STORE, NO_SNIFF, error, (place, &position)];
        Ok((rejection.status(), headers(py, &pairs)?, body))
    }
}
