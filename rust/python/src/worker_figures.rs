//! The figures of workers, by name.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use verve_core::{WorkerFigure, WorkerFigures};

/// The figure of this name: a total, or what holds now.
pub fn figure(name: &str, is_total: bool) -> PyResult<WorkerFigure> {
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
