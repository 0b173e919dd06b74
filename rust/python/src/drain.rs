//! Which start of the service drains.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::counter::Counter;
use crate::worker_figures;

/// Which start of the service drains; see `Counter.drain`. A start is a number other than 0.
#[pyclass(frozen, module = "verve._verve")]
pub struct Drain(pub Py<Counter>);

#[pymethods]
impl Counter {
    /// Which start of the service drains, for all processes of the segment.
    #[getter]
    fn drain(this: Py<Self>) -> Drain {
        Drain(this)
    }
}

#[pymethods]
impl Drain {
    /// Notes that this process is a worker of `start`.
    #[pyo3(signature = (start, /))]
    fn announce(&self, py: Python<'_>, start: u64) -> PyResult<()> {
        self.0.get().get(py)?.drain().announce(start);
        Ok(())
    }

    /// Notes that this process is a worker no more; the last one of a start ends its drain.
    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        self.0.get().get(py)?.drain().leave();
        Ok(())
    }

    /// The figures of the live workers of `start`, and their `accepts`.
    #[pyo3(signature = (start, /))]
    fn figures<'py>(&self, py: Python<'py>, start: u64) -> PyResult<Bound<'py, PyDict>> {
        let found = self.0.get().get(py)?.drain().figures(start);
        let figures = worker_figures::figures(py, &found.workers)?;
        figures.set_item("accepts", found.accepts)?;
        Ok(figures)
    }

    /// The newest start with a live worker; 0: none.
    fn newest(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.0.get().get(py)?.drain().newest())
    }

    /// Has `start` drain; False if it drains already.
    #[pyo3(signature = (start, /))]
    fn begin(&self, py: Python<'_>, start: u64) -> PyResult<bool> {
        Ok(self.0.get().get(py)?.drain().begin(start))
    }

    /// Has no start drain; False if none did.
    fn end(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.0.get().get(py)?.drain().end())
    }

    /// The start that drains; 0: none.
    fn drained(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.0.get().get(py)?.drain().drained())
    }
}
