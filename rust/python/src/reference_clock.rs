//! A clock that many hosts share.

use pyo3::prelude::*;

use crate::counter::Counter;

/// A clock that many hosts share; see `Counter.reference_clock`.
#[pyclass(frozen, module = "verve._verve")]
pub struct ReferenceClock(pub Py<Counter>);

#[pymethods]
impl Counter {
    /// The clock that the segment's clock follows in place of the wall clock.
    #[getter]
    fn reference_clock(this: Py<Self>) -> ReferenceClock {
        ReferenceClock(this)
    }
}

#[pymethods]
impl ReferenceClock {
    /// From now on `Maintenance.run` in this process leaves the clock to `steer`.
    fn follow(&self, py: Python<'_>) -> PyResult<()> {
        self.0.get().get(py)?.reference_clock().follow();
        Ok(())
    }

    /// Follows a reference that is `offset` nanoseconds ahead of `boot`, by the rules for the wall
    /// clock.
    #[pyo3(signature = (offset, /))]
    fn steer(&self, py: Python<'_>, offset: i64) -> PyResult<()> {
        self.0.get().get(py)?.reference_clock().steer(offset);
        Ok(())
    }

    /// Whether the segment's clock has ever followed a reference, or was created with one.
    #[getter]
    fn was_followed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.0.get().get(py)?.reference_clock().was_followed())
    }

    /// Nanoseconds since the boot, by the counter's clock.
    fn boot(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.0.get().get(py)?.reference_clock().boot())
    }
}
