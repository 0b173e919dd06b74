//! New ids for a store, acknowledged ids, and the counts of the cluster.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use verve_core::{Group, Noted};

use crate::counter::Counter;
use crate::ids;
use crate::records::GROUP;

/// A list of `Group` for Python.
pub fn groups_for_python<'py>(
    py: Python<'py>,
    groups: &[Group],
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let converted = |group: &Group| {
        let members: Vec<_> =
            group.ids.iter().map(|id| PyBytes::new(py, &id.to_le_bytes())).collect();
        GROUP.of(py, (group.window_start, group.shard, members))
    };
    groups.iter().map(converted).collect()
}

/// New ids for a store, acknowledged ids, and the counts of the cluster; see `Counter.replication`.
#[pyclass(frozen, module = "verve._verve")]
pub struct Replication(pub Py<Counter>);

#[pymethods]
impl Counter {
    /// The outbound queue of this process, the acknowledged ids, and the counts of the cluster.
    #[getter]
    fn replication(this: Py<Self>) -> Replication {
        Replication(this)
    }
}

#[pymethods]
impl Replication {
    /// Queues the ids that this process finds new from now on for `take`, at most `limit`. Ids
    /// beyond the limit are left out. With 0 no more are queued. A forked child begins with limit
    /// 0.
    fn queue(&self, py: Python<'_>, limit: u64) -> PyResult<()> {
        self.0.get().detached(py, |counter| counter.replication().queue(limit))
    }

    /// Takes the oldest ids of the queue, at most `most`: a list of `Group`.
    fn take<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let groups = self.0.get().detached(py, |counter| counter.replication().take(most))?;
        groups_for_python(py, &groups)
    }

    /// Ids that wait to be taken.
    fn queued(&self, py: Python<'_>) -> PyResult<u64> {
        self.0.get().detached(py, |counter| counter.replication().queued())
    }

    /// Ids that were left out because the queue was full.
    fn left_out(&self, py: Python<'_>) -> PyResult<u64> {
        self.0.get().detached(py, |counter| counter.replication().left_out())
    }

    /// Counts `count` ids as acknowledged by a store, which `take` returned for a window. Returns
    /// False, and counts nothing, if the window's arena is gone.
    fn acknowledge(&self, py: Python<'_>, window_start: u64, count: u64) -> PyResult<bool> {
        self.0.get().detached(py, |counter| counter.replication().acknowledge(window_start, count))
    }

    /// Ids of a window that a store has acknowledged, over all processes; None if its arena is
    /// gone. If this equals the count of the sealed window, each of its ids was acknowledged.
    fn acknowledged(&self, py: Python<'_>, window_start: u64) -> PyResult<Option<u64>> {
        self.0.get().detached(py, |counter| counter.replication().acknowledged(window_start))
    }

    /// Notes the cluster's count of a window, for the newest 16 windows. The count only rises,
    /// until a `final` count replaces it.
    #[pyo3(signature = (window_start, count, *, r#final=false))]
    fn note_cluster_count(
        &self,
        py: Python<'_>,
        window_start: u64,
        count: u64,
        r#final: bool,
    ) -> PyResult<()> {
        let how = if r#final { Noted::Final } else { Noted::SoFar };
        self.0.get().get(py)?.replication().note_cluster_count(window_start, count, how);
        Ok(())
    }

    /// The cluster's count of a window; None if it was not noted.
    fn cluster_count(&self, py: Python<'_>, window_start: u64) -> PyResult<Option<u64>> {
        Ok(self.0.get().get(py)?.replication().cluster_count(window_start))
    }
}

/// The shard of `id`, the same on all hosts. Raises `IdError` if it is outside int64.
#[pyfunction]
#[pyo3(signature = (id, /))]
pub fn shard_of(id: &Bound<'_, PyAny>) -> PyResult<usize> {
    ids::one(id, None).map(verve_core::shard_of)
}
