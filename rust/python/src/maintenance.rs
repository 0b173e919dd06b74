//! Maintenance of the segment.

use pyo3::prelude::*;

use crate::counter::Counter;

/// Work that any process does for the others; see `Counter.maintenance`.
#[pyclass(frozen, module = "verve._verve")]
pub struct Maintenance(pub Py<Counter>);

#[pymethods]
impl Counter {
    /// Work that any process, mostly the leader, does for the others.
    #[getter]
    fn maintenance(this: Py<Self>) -> Maintenance {
        Maintenance(this)
    }
}

#[pymethods]
impl Maintenance {
    /// Runs one round; the leader calls it about twenty times per second.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        self.0.get().detached(py, |counter| counter.maintenance().run())
    }

    /// Faults in pages ahead of use; each worker calls it about ten times per second.
    fn populate(&self, py: Python<'_>) -> PyResult<()> {
        self.0.get().detached(py, |counter| counter.maintenance().populate())
    }
}
