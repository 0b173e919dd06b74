//! What a store of many hosts needs of the counter: its methods for ids on their way, for arenas that
//! are kept, for the clock that hosts share and for the count of all of them.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use verve_core::{Group, Noted, Retention};

use crate::counter::Counter;
use crate::ids;

/// Ids of a shard, each as the 8 bytes of a little-endian int64.
pub type Members<'py> = Vec<Bound<'py, PyBytes>>;
/// Ids of a window and a shard.
pub type WindowGroup<'py> = (u64, usize, Members<'py>);

fn members<'py>(py: Python<'py>, group: &Group) -> Members<'py> {
    group.ids.iter().map(|id| PyBytes::new(py, &id.to_le_bytes())).collect()
}

/// Groups as Python gets them: (start of the window, shard, members).
pub fn window_groups<'py>(py: Python<'py>, groups: &[Group]) -> Vec<WindowGroup<'py>> {
    groups.iter().map(|group| (group.window_start, group.shard, members(py, group))).collect()
}

#[pymethods]
impl Counter {
    /// Keeps the ids that this process finds new from now on, `limit` at the most, for `take_new`;
    /// ids past the limit are left out. 0 ends it. A forked child begins without.
    fn send_new(&self, py: Python<'_>, limit: u64) -> PyResult<()> {
        self.detached(py, |counter| counter.send_new(limit))
    }

    /// Takes the ids that have waited longest, `most` at the most: a list of (start of the window,
    /// shard, members), a member being the id as 8 little-endian bytes.
    fn take_new<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Vec<WindowGroup<'py>>> {
        let groups = self.detached(py, |counter| counter.take_new(most))?;
        Ok(window_groups(py, &groups))
    }

    /// Ids that wait to be taken.
    fn waiting_new(&self, py: Python<'_>) -> PyResult<u64> {
        self.detached(py, verve_core::Counter::waiting_new)
    }

    /// Ids that were left out, since more than the limit would have waited.
    fn left_out_new(&self, py: Python<'_>) -> PyResult<u64> {
        self.detached(py, verve_core::Counter::left_out_new)
    }

    /// Counts that a store has acknowledged `count` ids that `take_new` gave for a window; False, and
    /// nothing counted, when the window's arena is gone.
    fn acknowledge(&self, py: Python<'_>, window_start: u64, count: u64) -> PyResult<bool> {
        self.detached(py, |counter| counter.acknowledge(window_start, count))
    }

    /// Ids of a window that a store has acknowledged, over all processes; None when its arena is gone.
    /// If this is the count of the sealed window, each of its ids was acknowledged.
    fn acknowledged(&self, py: Python<'_>, window_start: u64) -> PyResult<Option<u64>> {
        self.detached(py, |counter| counter.acknowledged(window_start))
    }

    /// Switches on, or off, for all processes, that arenas of sealed windows are kept until `settle`.
    /// What was published before counts as settled.
    #[pyo3(signature = (on, /))]
    fn retain(&self, py: Python<'_>, on: bool) -> PyResult<()> {
        self.get(py)?.retain(if on { Retention::On } else { Retention::Off });
        Ok(())
    }

    /// Lets go of the arenas of the published windows up to the one that starts at `window_start`.
    fn settle(&self, py: Python<'_>, window_start: u64) -> PyResult<()> {
        self.get(py)?.settle(window_start);
        Ok(())
    }

    /// Start of the window up to which all are settled; 0 while arenas are not kept.
    fn settled(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.get(py)?.settled())
    }

    /// Starts of the published windows whose arenas are there still and not settled, oldest first.
    fn kept(&self, py: Python<'_>) -> PyResult<Vec<u64>> {
        Ok(self.get(py)?.kept())
    }

    /// Reads about `most` ids of a window, from `position` on, 0 at first: a list of (shard, members),
    /// and the position to go on at, None at the end. The GIL is released.
    ///
    /// Raises `SettingError` if the ids of that window are not kept.
    #[expect(clippy::type_complexity, reason = "the shape that Python gets")]
    fn read_ids<'py>(
        &self,
        py: Python<'py>,
        window_start: u64,
        position: u64,
        most: usize,
    ) -> PyResult<(Vec<(usize, Members<'py>)>, Option<u64>)> {
        let piece = self.detached(py, |counter| counter.read_ids(window_start, position, most))?;
        let groups = piece.groups.iter().map(|group| (group.shard, members(py, group)));
        Ok((groups.collect(), piece.next))
    }

    /// From now on `tend` in this process leaves the clock to `steer`.
    fn follow_reference(&self, py: Python<'_>) -> PyResult<()> {
        self.get(py)?.follow_reference();
        Ok(())
    }

    /// Follows a reference that is `offset` nanoseconds ahead of `boot`, by the rules that hold for
    /// the wall clock.
    #[pyo3(signature = (offset, /))]
    fn steer(&self, py: Python<'_>, offset: i64) -> PyResult<()> {
        self.get(py)?.steer(offset);
        Ok(())
    }

    /// Whether the segment's clock has ever followed a reference, or was made with one.
    #[getter]
    fn has_reference(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.get(py)?.has_reference())
    }

    /// Nanoseconds since the boot, by the counter's clock.
    fn boot(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.get(py)?.boot())
    }

    /// Notes what the cluster counted in a window, one of the newest 16: it only rises, until a
    /// `final` count takes its place.
    #[pyo3(signature = (window_start, count, *, r#final=false))]
    fn note_cluster_count(
        &self,
        py: Python<'_>,
        window_start: u64,
        count: u64,
        r#final: bool,
    ) -> PyResult<()> {
        let how = if r#final { Noted::Final } else { Noted::SoFar };
        self.get(py)?.note_cluster_count(window_start, count, how);
        Ok(())
    }

    /// What the cluster counted in a window; None if nobody noted it.
    fn cluster_count(&self, py: Python<'_>, window_start: u64) -> PyResult<Option<u64>> {
        Ok(self.get(py)?.cluster_count(window_start))
    }
}

/// The shard of `id`, the same on all hosts. Raises `IdError` if it is outside int64.
#[pyfunction]
#[pyo3(signature = (id, /))]
pub fn shard_of(id: &Bound<'_, PyAny>) -> PyResult<usize> {
    ids::one(id, None).map(verve_core::shard_of)
}
