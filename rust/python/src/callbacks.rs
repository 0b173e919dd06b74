//! Callbacks for Python: settings in, reports out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use verve_callbacks::cells::Cells;
use verve_callbacks::egress_policy::{AllowList, Mode};
use verve_callbacks::failure::Cause;
use verve_callbacks::report::{LogMode, Outcome, Report, causes};
use verve_callbacks::signature::Signer;
use verve_callbacks::transport::{AttemptResult, Pem, TransportSettings};
use verve_callbacks::{Settings, diagnose};
use verve_core::{Answer, Placed};

use crate::answers::{Answers, Response};
use crate::counter::Counter;
use crate::errors;
use crate::http::query_bytes;
use crate::records::CALLBACK_REPORTS;

/// Takes and sends the callbacks of a counter from this process.
///
/// `options` are those of `diagnose_callback`, and `rate` (posts per second to each public
/// destination), `oldest` (maximum age of a callback in seconds), `most` (maximum number of posts
/// in flight), `log` (`all`, `failures` or `summary`) and `lines` (reports per second).
///
/// Raises `SettingError`. Create it in the process that sends, after any fork.
#[pyclass(frozen, module = "verve._verve")]
pub struct Callbacks {
    inner: ArcSwapOption<verve_callbacks::Callbacks>,
    counter: ArcSwapOption<verve_core::Counter>,
    answers: Answers,
}

impl Callbacks {
    pub fn get(&self) -> Option<Arc<verve_callbacks::Callbacks>> {
        self.inner.load_full()
    }

    fn answer(
        &self,
        py: Python<'_>,
        query: &Bound<'_, PyString>,
    ) -> PyResult<(Answer, Option<Placed>)> {
        let query = query_bytes(query);
        match (&*self.inner.load(), &*self.counter.load()) {
            (Some(callbacks), _) => errors::caught(py, || callbacks.accept_placed(query)),
            (None, Some(counter)) => errors::caught(py, || counter.http().accept_placed(query)),
            (None, None) => Err(errors::closed(py)),
        }
    }
}

#[pymethods]
impl Callbacks {
    #[new]
    #[pyo3(signature = (counter, **options))]
    fn new(
        py: Python<'_>,
        counter: &Bound<'_, Counter>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let settings = settings(py, options)?;
        let counter = counter.get().get(py)?;
        let shared = counter.clone();
        let inner = py
            .detach(|| verve_callbacks::Callbacks::start(shared, &settings))
            .map_err(|error| errors::to_python(py, &error))?;
        Ok(Self {
            inner: ArcSwapOption::from_pointee(inner),
            counter: ArcSwapOption::from(Some(counter)),
            answers: Answers::new(py)?,
        })
    }

    /// Answers the query of `GET /api/verve/accept`, as `Counter.accept` does, and queues the
    /// callback if it names an endpoint: (status, headers, body).
    #[pyo3(signature = (query, /))]
    fn accept<'py>(
        &self,
        py: Python<'py>,
        query: &Bound<'py, PyString>,
    ) -> PyResult<Response<'py>> {
        let (answer, _) = self.answer(py, query)?;
        self.answers.response(py, answer)
    }

    /// As `accept`, with the start of the window and the id: (response, None) if it was rejected.
    #[pyo3(signature = (query, /))]
    fn accept_placed<'py>(
        &self,
        py: Python<'py>,
        query: &Bound<'py, PyString>,
    ) -> PyResult<(Response<'py>, Option<(u64, i64)>)> {
        let (answer, placed) = self.answer(py, query)?;
        Ok((self.answers.response(py, answer)?, placed.map(|its| (its.window_start, its.id))))
    }

    /// The attempts since the last call, each a dict, and the number of unlogged attempts by
    /// outcome, as `CallbackReports`.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let left_out = PyDict::new(py);
        let Some(callbacks) = self.get() else {
            return CALLBACK_REPORTS.of(py, (PyList::empty(py), left_out));
        };
        let (reports, counts) = callbacks.drain();
        for (outcome, count) in Outcome::ALL.into_iter().zip(counts) {
            left_out.set_item(outcome.name(), count)?;
        }
        let reports = reports.iter().map(|one| report(py, one)).collect::<PyResult<Vec<_>>>()?;
        CALLBACK_REPORTS.of(py, (reports, left_out))
    }

    /// Sends callbacks that are due, for at most `patience` seconds, and none after that. The rest
    /// wait in the segment for another process.
    fn stop(&self, py: Python<'_>, patience: f64) {
        let patience = Duration::try_from_secs_f64(patience).unwrap_or_default();
        if let Some(callbacks) = self.get() {
            py.detach(|| callbacks.stop(patience));
        }
    }

    /// Leaves the segment. Call it after `stop`.
    fn close(&self) {
        self.inner.store(None);
        self.counter.store(None);
    }
}

/// The figures of callbacks since the segment was created, over all processes, by name. `pending`
/// is the number of callbacks that wait or are being sent.
#[pyfunction]
pub fn callback_figures<'py>(
    py: Python<'py>,
    counter: &Bound<'py, Counter>,
) -> PyResult<Bound<'py, PyDict>> {
    let counter = counter.get().get(py)?;
    let dict = PyDict::new(py);
    dict.set_item("pending", Cells::used(&counter))?;
    let ends = PyDict::new(py);
    for (outcome, count) in Outcome::ALL.into_iter().zip(Outcome::all(&counter)) {
        let target = if outcome.is_end() { &ends } else { &dict };
        target.set_item(outcome.name().replace(' ', "_"), count)?;
    }
    dict.set_item("ended", ends)?;
    let failures = PyDict::new(py);
    for (cause, count) in Cause::ALL.into_iter().zip(causes(&counter)) {
        failures.set_item(cause.name(), count)?;
    }
    dict.set_item("failures", failures)?;
    Ok(dict)
}

/// Checks options of `diagnose_callback`. Returns the number of trusted authorities. Raises
/// `SettingError`.
#[pyfunction]
#[pyo3(signature = (**options))]
pub fn check_callback_options(
    py: Python<'_>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<usize> {
    let settings = settings(py, options)?;
    verve_callbacks::check(&settings).map_err(|error| errors::to_python(py, &error))
}

/// Sends one callback to `url` that reports `count`, without any limit. Returns a dict of the
/// findings.
///
/// `options`: `mode` (`public`, `listed` or `off`), `allow` (networks, hosts, suffixes), `secrets`,
/// `authorities`, `certificate`, `key` (paths of PEM files with their content), `proxy` (a URL).
#[pyfunction]
#[pyo3(signature = (url, count, **options))]
pub fn diagnose_callback<'py>(
    py: Python<'py>,
    url: &str,
    count: u64,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyDict>> {
    let settings = settings(py, options)?;
    let found = py
        .detach(|| diagnose(url, count, &settings))
        .map_err(|error| errors::to_python(py, &error))?;
    let dict = PyDict::new(py);
    dict.set_item("endpoint", found.endpoint.as_deref().ok())?;
    dict.set_item("refusal", found.endpoint.as_ref().err().map(|refusal| refusal.name()))?;
    dict.set_item("resolver_error", found.addresses.as_ref().err())?;
    let addresses = found.addresses.unwrap_or_default();
    let shown: Vec<_> =
        addresses.iter().map(|(address, permitted)| (address.to_string(), *permitted)).collect();
    dict.set_item("addresses", shown)?;
    dict.set_item("authorities", found.authorities)?;
    let (status, failure, proxy_status) = match found.result {
        None => (None, None, None),
        Some(AttemptResult::Answered { status, .. }) => (Some(status), None, None),
        Some(AttemptResult::Failed(failure)) => (None, Some(failure.name()), None),
        Some(AttemptResult::Untunneled { failure, status }) => (None, Some(failure.name()), status),
    };
    dict.set_item("proxy_status", proxy_status)?;
    dict.set_item("status", status)?;
    dict.set_item("failure", failure)?;
    dict.set_item("seconds", found.elapsed.as_secs_f64())?;
    Ok(dict)
}

fn report<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("endpoint", &report.endpoint)?;
    dict.set_item("outcome", report.outcome.name())?;
    dict.set_item("status", report.status)?;
    dict.set_item("reason", report.reason)?;
    dict.set_item("attempt", report.attempt)?;
    dict.set_item("seconds", report.elapsed.as_secs_f64())?;
    dict.set_item("window_start", report.window_start)?;
    dict.set_item("unique", report.count)?;
    dict.set_item("id", &report.id)?;
    dict.set_item("logged", report.logged)?;
    dict.set_item("failed", report.outcome.is_end() && report.outcome != Outcome::Delivered)?;
    Ok(dict)
}

fn settings(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Settings> {
    let mut settings = Settings::default();
    let wrong = |message: String| errors::to_python(py, &verve_core::Error::Setting { message });
    for (name, value) in options.into_iter().flatten() {
        let name: String = name.extract()?;
        match name.as_str() {
            "mode" => settings.mode = mode(&value.extract::<String>()?)?,
            "allow" => {
                let entries: Vec<String> = value.extract()?;
                settings.allow_list =
                    AllowList::parse(entries.iter().map(String::as_str)).map_err(wrong)?;
            }
            "secrets" => {
                let secrets: Vec<String> = value.extract()?;
                settings.signer =
                    Signer::parse(secrets.iter().map(String::as_str)).map_err(wrong)?;
            }
            "rate" => settings.rate = value.extract()?,
            "oldest" => {
                settings.max_age = Duration::from_secs(value.extract()?);
            }
            "most" => settings.max_in_flight = value.extract()?,
            "log" => settings.log = lines(&value.extract::<String>()?)?,
            "lines" => settings.reports_per_second = value.extract()?,
            "authorities" | "certificate" | "key" | "proxy" => {
                wire(&mut settings.transport, &name, &value)?;
            }
            _ => return Err(PyValueError::new_err(format!("no such option: `{name}`"))),
        }
    }
    Ok(settings)
}

fn wire(wire: &mut TransportSettings, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let pem = || -> PyResult<Option<Pem>> {
        let read = value.extract::<Option<(PathBuf, Vec<u8>)>>()?;
        Ok(read.map(|(path, content)| Pem { path, content }))
    };
    match name {
        "authorities" => wire.authorities = pem()?,
        "certificate" => wire.certificate = pem()?,
        "key" => wire.key = pem()?,
        _ => wire.proxy = value.extract()?,
    }
    Ok(())
}

fn mode(name: &str) -> PyResult<Mode> {
    match name {
        "public" => Ok(Mode::Public),
        "listed" => Ok(Mode::Listed),
        "off" => Ok(Mode::Off),
        _ => Err(PyValueError::new_err(format!("no such mode: `{name}`"))),
    }
}

fn lines(name: &str) -> PyResult<LogMode> {
    match name {
        "all" => Ok(LogMode::All),
        "failures" => Ok(LogMode::Failures),
        "summary" => Ok(LogMode::Summary),
        _ => Err(PyValueError::new_err(format!("no such choice of lines: `{name}`"))),
    }
}
