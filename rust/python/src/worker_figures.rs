//! The figures that workers report of themselves in the segment, by name.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use verve_core::{ListenerFigures, WorkerFigure};

use crate::counter::Counter;

/// The figures of this worker; see `Counter.worker_figures`.
#[pyclass(frozen, module = "verve._verve")]
pub struct WorkerFigures(pub Py<Counter>);

#[pymethods]
impl Counter {
    /// The figures that this worker reports of itself, for all workers to read in `stats`.
    #[getter]
    fn worker_figures(this: Py<Self>) -> WorkerFigures {
        WorkerFigures(this)
    }
}

#[pymethods]
impl WorkerFigures {
    /// Adds to a total of this worker: `sent`, `left_out`, `failed_batches` or `errors`.
    #[pyo3(signature = (name, times=1, /))]
    fn add(&self, py: Python<'_>, name: &str, times: u64) -> PyResult<()> {
        self.0.get().get(py)?.worker_figures().add(figure(name, true)?, times);
        Ok(())
    }

    /// Sets a present figure of this worker, such as `waiting`.
    #[pyo3(signature = (name, value, /))]
    fn set(&self, py: Python<'_>, name: &str, value: u64) -> PyResult<()> {
        self.0.get().get(py)?.worker_figures().set(figure(name, false)?, value);
        Ok(())
    }

    /// Reports the open connections of this worker's native listeners, their accepts in the accept
    /// lane and under hyper, and their other requests. Totals never fall.
    #[pyo3(signature = (connections, accept_lane, hyper_lane, other, /))]
    fn report_listeners(
        &self,
        py: Python<'_>,
        connections: u64,
        accept_lane: u64,
        hyper_lane: u64,
        other: u64,
    ) -> PyResult<()> {
        let figures = ListenerFigures { connections, accept_lane, hyper_lane, other };
        self.0.get().get(py)?.worker_figures().report_listeners(figures);
        Ok(())
    }
}

/// The figure of this name: a total, or a present figure.
fn figure(name: &str, is_total: bool) -> PyResult<WorkerFigure> {
    WorkerFigure::ALL
        .into_iter()
        .find(|figure| figure.name() == name && figure.is_total() == is_total)
        .ok_or_else(|| PyValueError::new_err(format!("no such figure of a worker: `{name}`")))
}

/// The figures of all workers, by name.
pub fn figures<'py>(
    py: Python<'py>,
    workers: &verve_core::WorkerFigures,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (figure, value) in WorkerFigure::ALL.into_iter().zip(workers) {
        dict.set_item(figure.name(), value)?;
    }
    Ok(dict)
}
