//! The lease, and the progress through the ring that is tied to its term.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use verve_core::segment::layout::SINKS;

use crate::counter::Counter;

/// The lease of a counter's segment; see `Counter.lease`.
#[pyclass(frozen, module = "verve._verve")]
pub struct Lease(pub Py<Counter>);

/// The process that holds the lease: its `term`, writer `slot` and `process` id, and whether it is
/// `alive`; a stopped process is alive.
#[pyclass(frozen, get_all, module = "verve._verve")]
pub struct Leader {
    term: u32,
    slot: usize,
    process: u32,
    alive: bool,
}

/// How far windows are sealed, and how far each sink has taken them; see `Counter.ring`.
#[pyclass(frozen, module = "verve._verve")]
pub struct Ring(pub Py<Counter>);

#[pymethods]
impl Counter {
    /// The lease, which makes at most one process of the segment the leader.
    #[getter]
    fn lease(this: Py<Self>) -> Lease {
        Lease(this)
    }

    /// How far windows are sealed, and how far each sink has taken their records.
    #[getter]
    fn ring(this: Py<Self>) -> Ring {
        Ring(this)
    }
}

#[pymethods]
impl Lease {
    /// Takes or renews the lease. Returns the term if this process is the leader, else None.
    fn acquire(&self, py: Python<'_>) -> PyResult<Option<u32>> {
        self.0.get().detached(py, |counter| counter.lease().acquire())
    }

    /// Releases the lease, if this process holds it.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.0.get().get(py)?.lease().release();
        Ok(())
    }

    /// The leader; None while no process holds the lease.
    fn holder(&self, py: Python<'_>) -> PyResult<Option<Leader>> {
        let holder = self.0.get().detached(py, |counter| Ok(counter.lease().holder()))?;
        Ok(holder.map(|verve_core::Leader { term, slot, process, alive }| Leader {
            term,
            slot,
            process,
            alive,
        }))
    }

    /// Whether `term` is the term of the lease.
    fn is_current(&self, py: Python<'_>, term: u32) -> PyResult<bool> {
        Ok(self.0.get().get(py)?.lease().is_current(term))
    }
}

#[pymethods]
impl Ring {
    /// Start of the newest window up to which all are sealed, in seconds since the epoch.
    fn newest(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.0.get().get(py)?.ring().newest())
    }

    /// Start of the newest window that sink number `sink` (0 to 7) has taken; 0 if there is none.
    fn cursor(&self, py: Python<'_>, sink: usize) -> PyResult<u64> {
        check_sink(sink)?;
        Ok(self.0.get().get(py)?.ring().cursor(sink))
    }

    /// Notes that sink number `sink` has taken all windows up to `window_start`. Returns False, and
    /// notes nothing, if `term` is no longer the term of the lease.
    fn advance_cursor(
        &self,
        py: Python<'_>,
        sink: usize,
        window_start: u64,
        term: u32,
    ) -> PyResult<bool> {
        check_sink(sink)?;
        Ok(self.0.get().get(py)?.ring().advance_cursor(sink, window_start, term))
    }
}

fn check_sink(sink: usize) -> PyResult<()> {
    if sink < SINKS {
        Ok(())
    } else {
        Err(PyValueError::new_err(format!("sinks have numbers 0 to 7: `{sink}`")))
    }
}
