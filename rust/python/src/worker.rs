//! What a worker of the service tells of itself in the segment.

use pyo3::prelude::*;

use crate::counter::Counter;
use crate::worker_figures::figure;

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
