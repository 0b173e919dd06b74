//! The record of a window.

use pyo3::prelude::*;

/// The record of one window on this host.
///
/// `window_start` is in seconds since the epoch, `window_seconds` its length. `unique` counts the
/// distinct ids, exactly; `requests` the accepted ids, `duplicates` those that the window had
/// already counted; `late` those whose own window, the one before, was frozen before the insert;
/// `rejected` the rejected requests. `gap`: no process ran, or the clock was set forward over the
/// window. `sealed_at` is in seconds since the epoch, 0.0 while the window is open.
#[pyclass(frozen, eq, module = "verve")]
#[derive(PartialEq)]
pub struct WindowRecord(pub verve_core::Record);

#[pymethods]
impl WindowRecord {
    #[getter]
    fn window_start(&self) -> u64 {
        self.0.window_start
    }

    #[getter]
    fn window_seconds(&self) -> u32 {
        self.0.window_seconds
    }

    #[getter]
    fn unique(&self) -> u64 {
        self.0.unique
    }

    #[getter]
    fn requests(&self) -> u64 {
        self.0.requests
    }

    #[getter]
    fn duplicates(&self) -> u64 {
        self.0.requests - self.0.unique
    }

    #[getter]
    fn late(&self) -> u64 {
        self.0.late
    }

    #[getter]
    fn rejected(&self) -> u64 {
        self.0.rejected
    }

    #[getter]
    fn gap(&self) -> bool {
        self.0.gap
    }

    #[getter]
    fn sealed_at(&self) -> f64 {
        self.0.sealed_at as f64 / 1e3
    }

    fn __repr__(&self) -> String {
        let record = &self.0;
        format!(
            "WindowRecord(window_start={}, window_seconds={}, unique={}, requests={}, gap={})",
            record.window_start,
            record.window_seconds,
            record.unique,
            record.requests,
            if record.gap { "True" } else { "False" },
        )
    }
}
