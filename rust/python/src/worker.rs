//! What a worker of the service tells of itself in the segment.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use verve_core::{WorkerFigure, WorkerFigures};

use crate::counter::Counter;

#[pymethods]
impl Counter {
    /// Adds to a total of this worker: `sent`, `left_out`, `failed_batches` or `errors`.
    #[pyo3(signature = (name, times=1, /))]
    fn add_to_worker_figure(&self, py: Python<'_>, name: &str, times: u64) -> PyResult<()> {
        self.get(py)?.add_to_worker_figure(figure(name, true)?, times);
        Ok(())
    }

    /// Sets what holds of this worker now: `waiting`, `fast_path` or `draining`.
    #[pyo3(signature = (name, value, /))]
    fn set_worker_figure(&self, py: Python<'_>, name: &str, value: u64) -> PyResult<()> {
        self.get(py)?.set_worker_figure(figure(name, false)?, value);
        Ok(())
    }
}

fn figure(name: &str, is_total: bool) -> PyResult<WorkerFigure> {
    WorkerFigure::ALL
        .into_iter()
        .find(|figure| figure.name() == name && figure.is_total() == is_total)
        .ok_or_else(|| PyValueError::new_err(format!("no such figure of a worker: `{name}`")))
}

/// The figures of all workers, by name.
pub fn figures<'py>(py: Python<'py>, workers: &WorkerFigures) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (figure, value) in WorkerFigure::ALL.into_iter().zip(workers) {
        dict.set_item(figure.name(), value)?;
    }
    Ok(dict)
}
