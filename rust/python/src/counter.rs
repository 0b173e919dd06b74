//! The counter as users of the library see it.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use verve_core::{Batch, Clock, SegmentConfig};

use crate::answers::Answers;
use crate::clock::ManualClock;
use crate::errors;
use crate::ids;
use crate::record::WindowRecord;
use crate::records::shares_for_python;

/// Ids counted between two checks for signals: some 30 ms.
const PIECE: usize = 1 << 20;

/// Counts distinct 64-bit ids per window, exactly.
///
/// `Counter()` counts in memory, for the threads of this process and the children that it forks.
/// `Counter(path)` counts in a memory-mapped file, together with all processes that open it.
/// `window` is the length of a window in seconds (1 to 86,400; None: that of an existing file),
/// `max_ids` the maximum number of ids that a window is meant to hold. `cluster` and
/// `state_directory` are names that must be the same for all users of a file. `clock_offset` is the
/// number of nanoseconds by which a reference clock is ahead of boot time: a new file starts with
/// it instead of the wall clock. For tests, `clock` replaces the clocks of the system, and `seed`, an
/// unsigned integer of 64 bits, its random numbers: a new file gets its identity from it.
///
/// Raises `SettingError`, `SegmentError`, `CapacityError`; after `close()`, `ClosedError`.
#[pyclass(frozen, module = "verve")]
pub struct Counter {
    inner: ArcSwapOption<verve_core::Counter>,
    pub answers: Answers,
    pub path: Option<PathBuf>,
}

impl Counter {
    pub fn get(&self, py: Python<'_>) -> PyResult<Arc<verve_core::Counter>> {
        self.inner.load_full().ok_or_else(|| errors::closed(py))
    }

    /// Runs `work` on the counter without the GIL.
    pub fn detached<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&verve_core::Counter) -> Result<T, verve_core::Error> + Send,
    ) -> PyResult<T> {
        let counter = self.get(py)?;
        errors::caught(py, || py.detach(|| work(&counter)))?
            .map_err(|error| errors::to_python(py, &error))
    }

    fn batch(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<Batch> {
        let ids = ids::many(ids)?;
        let counter = self.get(py)?;
        let mut batch = Batch::default();
        for piece in ids.chunks(PIECE) {
            py.check_signals()?;
            let mut part = errors::caught(py, || py.detach(|| counter.add_many(piece)))?
                .map_err(|error| errors::to_python(py, &error))?;
            let stopped = part.stopped.take();
            batch.append(part);
            if let Some(error) = stopped {
                return Err(errors::stopped(py, &batch, &error));
            }
        }
        Ok(batch)
    }
}

#[pymethods]
impl Counter {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "one for each keyword of Python's")]
    #[pyo3(
        signature = (path=None, *, window=Some(60), max_ids=None, cluster="", state_directory="", clock=None, clock_offset=None, seed=None),
        text_signature = "(path=None, *, window=60, max_ids=None, cluster='', state_directory='', clock=None, clock_offset=None, seed=None)",
    )]
    fn new(
        py: Python<'_>,
        path: Option<PathBuf>,
        window: Option<i64>,
        max_ids: Option<i64>,
        cluster: &str,
        state_directory: &str,
        clock: Option<&Bound<'_, ManualClock>>,
        clock_offset: Option<i64>,
        seed: Option<u64>,
    ) -> PyResult<Self> {
        let default = SegmentConfig::default();
        let identity = SegmentConfig {
            // 0 stands for a value out of range, which the core rejects with the setting's name.
            window_seconds: window.map(|seconds| u32::try_from(seconds).unwrap_or(0)),
            max_ids: max_ids.map_or(default.max_ids, |ids| u64::try_from(ids).unwrap_or(0)),
            cluster: cluster.to_owned(),
            state_directory: state_directory.to_owned(),
            clock_offset,
            seed,
        };
        let clock = clock.map_or(Clock::System, |clock| Clock::Manual(clock.get().0.clone()));
        let open = || match &path {
            Some(path) => verve_core::Counter::open(path, &identity, clock),
            None => verve_core::Counter::in_memory(&identity, clock),
        };
        let counter = errors::caught(py, || py.detach(open))?
            .map_err(|error| errors::to_python(py, &error))?;
        Ok(Self { inner: ArcSwapOption::from_pointee(counter), answers: Answers::new(py)?, path })
    }

    /// Counts `id`. Returns True if it is new in the current window.
    ///
    /// Raises `IdError` if it is outside int64, `TypeError` if it is not an integer,
    /// `CapacityError` if there is no room. The id is not counted then.
    #[pyo3(signature = (id, /))]
    fn add(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.add_in_window(py, id).map(|(new, _)| new)
    }

    /// As `add`, with the start of the window that the id is counted in.
    #[pyo3(signature = (id, /))]
    fn add_in_window(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<(bool, u64)> {
        let id = ids::one(id, None)?;
        let counter = self.inner.load();
        let counter = counter.as_ref().ok_or_else(|| errors::closed(py))?;
        let placement = errors::caught(py, || match counter.add_at_once(id) {
            // A rollover or other maintenance is due: other threads can run meanwhile.
            Ok(None) => py.detach(|| counter.add(id)),
            Ok(Some(placement)) => Ok(placement),
            Err(error) => Err(error),
        })?;
        let placement = placement.map_err(|error| errors::to_python(py, &error))?;
        Ok((placement.new, placement.window_start))
    }

    /// Counts many ids and returns how many were new.
    ///
    /// `ids` is a buffer of int64 (numpy, array, memoryview) or an iterable of int; arrays of other
    /// integers are counted by value. All are read before the first is counted: an invalid id
    /// raises `IdError` or `TypeError` and changes nothing, and so does an input that could be read
    /// in several ways (raw bytes, masked arrays, bool, floats, times). `MemoryError`, if there is
    /// no memory for all ids, or if an iterable without a length gives more than 67,108,864,
    /// changes nothing either. The GIL is released. `CapacityError` states how many ids were
    /// recorded. An exception of a signal handler ends the call; the ids recorded by then stay.
    #[pyo3(signature = (ids, /))]
    fn add_many(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<u64> {
        Ok(self.batch(py, ids)?.shares.iter().map(|share| share.new).sum())
    }

    /// As `add_many`, but returns a list of `WindowShare`: the ids that were new, by window.
    #[pyo3(signature = (ids, /))]
    fn add_many_by_window<'py>(
        &self,
        py: Python<'py>,
        ids: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        shares_for_python(py, &self.batch(py, ids)?)
    }

    /// Distinct ids of the current window so far.
    fn count(&self, py: Python<'_>) -> PyResult<u64> {
        self.detached(py, verve_core::Counter::count)
    }

    /// The record of the current window so far.
    fn current(&self, py: Python<'_>) -> PyResult<WindowRecord> {
        self.detached(py, verve_core::Counter::current).map(WindowRecord)
    }

    /// The ids of the current window, or of a held one that starts at `window_start`, in no order,
    /// as an `array.array` of int64.
    ///
    /// Raises `SettingError` if the ids of that window are not kept.
    #[pyo3(signature = (window_start=None))]
    fn ids<'py>(&self, py: Python<'py>, window_start: Option<u64>) -> PyResult<Bound<'py, PyAny>> {
        let ids = self.detached(py, |counter| counter.ids(window_start))?;
        let array = py.import("array")?.getattr("array")?.call1(("q",))?;
        for piece in ids.chunks(PIECE) {
            py.check_signals()?;
            let bytes = PyBytes::new_with(py, size_of_val(piece), |bytes| {
                for (place, id) in bytes.chunks_exact_mut(size_of::<i64>()).zip(piece) {
                    place.copy_from_slice(&id.to_ne_bytes());
                }
                Ok(())
            })?;
            array.call_method1("frombytes", (bytes,))?;
        }
        Ok(array)
    }

    /// Keeps the ids of the current window until `release`, also when it is closed. Returns its
    /// start.
    fn hold(&self, py: Python<'_>) -> PyResult<u64> {
        self.detached(py, verve_core::Counter::hold)
    }

    /// Releases a held window.
    fn release(&self, py: Python<'_>, window_start: u64) -> PyResult<()> {
        self.detached(py, |counter| counter.release(window_start))
    }

    /// Closes the current window now and returns its record. Ids that follow belong to the next
    /// window, which begins early.
    fn seal(&self, py: Python<'_>) -> PyResult<WindowRecord> {
        self.detached(py, verve_core::Counter::seal).map(WindowRecord)
    }

    /// The records of the closed windows, oldest first: the newest `limit`, at most 1,439.
    #[pyo3(signature = (limit=None))]
    fn closed(&self, py: Python<'_>, limit: Option<usize>) -> PyResult<Vec<WindowRecord>> {
        let records = self.detached(py, |counter| counter.closed(limit.unwrap_or(usize::MAX)))?;
        Ok(records.into_iter().map(WindowRecord).collect())
    }

    /// Leaves the segment. Calls in progress end first.
    fn close(&self, py: Python<'_>) {
        let counter = self.inner.swap(None);
        py.detach(|| drop(counter));
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    /// The segment's path; None in memory.
    #[getter]
    fn path(&self) -> Option<String> {
        self.path.as_ref().map(|path| path.display().to_string())
    }

    /// Whether the file at `path` is still the segment's. It may have been removed or replaced:
    /// processes that count in it continue, and a process that opens the path joins them while one
    /// of them is alive.
    fn in_place(&self, py: Python<'_>) -> PyResult<bool> {
        self.detached(py, |counter| Ok(self.path.as_ref().is_none_or(|path| counter.is_at(path))))
    }

    /// Length of a window in seconds.
    #[getter]
    fn window(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.get(py)?.window_seconds())
    }

    /// Maximum number of ids that a window is meant to hold.
    #[getter]
    fn max_ids(&self, py: Python<'_>) -> PyResult<u64> {
        self.detached(py, verve_core::Counter::stats).map(|stats| stats.max_ids)
    }

    /// Whether `close` was called.
    #[getter]
    fn is_closed(&self) -> bool {
        self.inner.load().is_none()
    }

    /// The segment's time, in seconds since the epoch.
    fn now(&self, py: Python<'_>) -> PyResult<f64> {
        Ok(self.get(py)?.now() as f64 / 1e9)
    }

    /// Seconds until the end of the interval that the segment's clock is in.
    fn until_boundary(&self, py: Python<'_>) -> PyResult<f64> {
        Ok(self.get(py)?.until_boundary() as f64 / 1e9)
    }
}
