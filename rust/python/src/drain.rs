//! Which start of the service drains.

use pyo3::prelude::*;

use crate::counter::Counter;

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
    /// Notes `start` as the newest start of the service.
    #[pyo3(signature = (start, /))]
    fn announce(&self, py: Python<'_>, start: u64) -> PyResult<()> {
        self.0.get().get(py)?.drain().announce(start);
        Ok(())
    }

    /// The newest start of the service; 0: none has announced itself.
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
