//! The arenas of sealed windows that wait for a store.

use pyo3::prelude::*;

use crate::counter::Counter;
use crate::records::IDS_PIECE;
use crate::replication::groups_for_python;

/// The arenas of sealed windows that wait for a store; see `Counter.retention`.
#[pyclass(frozen, module = "verve._verve")]
pub struct Retention(pub Py<Counter>);

#[pymethods]
impl Counter {
    /// Whether arenas of sealed windows are kept until a store has their ids, and which are.
    #[getter]
    fn retention(this: Py<Self>) -> Retention {
        Retention(this)
    }
}

#[pymethods]
impl Retention {
    /// Keeps arenas of sealed windows until `settle`, in all processes of the segment. Windows that
    /// were sealed before count as settled.
    fn enable(&self, py: Python<'_>) -> PyResult<()> {
        self.0.get().get(py)?.retention().enable();
        Ok(())
    }

    /// Clears arenas of sealed windows without waiting for `settle`, in all processes of the
    /// segment.
    fn disable(&self, py: Python<'_>) -> PyResult<()> {
        self.0.get().get(py)?.retention().disable();
        Ok(())
    }

    /// Permits to clear the arenas of the sealed windows up to the one that starts at
    /// `window_start`.
    fn settle(&self, py: Python<'_>, window_start: u64) -> PyResult<()> {
        self.0.get().get(py)?.retention().settle(window_start);
        Ok(())
    }

    /// Start of the window up to which all are settled; 0 while arenas are not kept.
    fn settled(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.0.get().get(py)?.retention().settled())
    }

    /// Starts of the sealed windows whose arenas are kept and not settled, oldest first.
    fn kept(&self, py: Python<'_>) -> PyResult<Vec<u64>> {
        Ok(self.0.get().get(py)?.retention().kept())
    }

    /// Reads about `most` ids of a window, from `position` on, 0 at first: an `IdsPiece`. The GIL
    /// is released.
    ///
    /// Raises `SettingError` if the ids of that window are not kept.
    fn read_ids<'py>(
        &self,
        py: Python<'py>,
        window_start: u64,
        position: u64,
        most: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let piece = self
            .0
            .get()
            .detached(py, |counter| counter.retention().read_ids(window_start, position, most))?;
        IDS_PIECE.of(py, (groups_for_python(py, &piece.groups)?, piece.next))
    }
}
