//! The segment from outside: its identity, its keeper, and its removal.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use verve_core::Error;

use crate::counter::Counter;
use crate::errors;

/// Keeps the segment of `counter` reachable for later processes while no process counts in it, even
/// if its file has lost its name.
///
/// Raises `SegmentError` if another keeper has the segment.
#[pyclass(frozen, module = "verve")]
pub struct Keeper(Mutex<Option<verve_core::Keeper>>);

#[pymethods]
impl Keeper {
    #[new]
    #[pyo3(signature = (counter, /))]
    fn new(py: Python<'_>, counter: &Bound<'_, Counter>) -> PyResult<Self> {
        let counter = counter.get();
        match counter.detached(py, verve_core::Counter::keeper)? {
            Some(keeper) => Ok(Self(Mutex::new(Some(keeper)))),
            None => Err(errors::to_python(py, &Error::kept(counter.path.as_deref()))),
        }
    }

    /// Gives up the segment.
    fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Removes the segment at `path` and the files that belong to it, unless a process uses it.
///
/// Raises `SegmentError`.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "arguments come by value from Python")]
pub fn remove_segment(py: Python<'_>, path: PathBuf) -> PyResult<()> {
    py.detach(|| verve_core::remove(&path)).map_err(|error| errors::to_python(py, &error))
}

/// The identity of the segment at `path`, without attaching: format, window, cluster, state
/// directory, identity, alive. For another format, only `format` and `alive` are known.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "arguments come by value from Python")]
pub fn segment_identity(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let found = verve_core::describe(&path).map_err(|error| errors::to_python(py, &error))?;
    let dict = PyDict::new(py);
    dict.set_item("format", found.format)?;
    dict.set_item("ours", found.format == verve_core::segment::layout::FORMAT)?;
    dict.set_item("window", found.window_seconds)?;
    dict.set_item("cluster", found.cluster)?;
    dict.set_item("state_directory", found.state_directory)?;
    dict.set_item("identity", format!("{:016x}", found.identity))?;
    dict.set_item("alive", found.alive)?;
    Ok(dict)
}

/// Bytes of a segment for `max_ids` ids, when windows have `ids` ids: file, front,
/// fixed, arena, table.
///
/// Raises `SettingError` if there can be no such segment.
#[pyfunction]
pub fn segment_size(py: Python<'_>, max_ids: u64, ids: u64) -> PyResult<Bound<'_, PyDict>> {
    let Some(size) = verve_core::segment_size(max_ids, ids) else {
        let message = format!("there is no segment for so many ids: `{max_ids}`");
        return Err(errors::to_python(py, &Error::Setting { message }));
    };
    let dict = PyDict::new(py);
    dict.set_item("file", size.file)?;
    dict.set_item("front", size.front)?;
    dict.set_item("fixed", size.fixed)?;
    dict.set_item("arena", size.arena)?;
    dict.set_item("table", size.table)?;
    Ok(dict)
}
