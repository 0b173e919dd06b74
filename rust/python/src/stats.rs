//! The figures of a segment, by name.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use verve_core::Rejection;

use crate::counter::Counter;
use crate::worker_figures;

#[pymethods]
impl Counter {
    /// All figures of the segment, over all processes.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counter = self.get(py)?;
        let stats = self.detached(py, verve_core::Counter::stats)?;
        let dict = PyDict::new(py);
        dict.set_item("requests_total", stats.requests)?;
        dict.set_item("new_total", stats.new)?;
        dict.set_item("late_total", stats.late)?;
        dict.set_item("batches_total", stats.batches)?;
        let rejected = PyDict::new(py);
        let counts = counter.http().rejections();
        for rejection in Rejection::ALL {
            rejected.set_item(rejection.name(), counts[rejection as usize])?;
        }
        dict.set_item("rejected", rejected)?;
        let arenas = PyDict::new(py);
        for (name, count) in ["free", "open", "sealed"].into_iter().zip(stats.arenas) {
            arenas.set_item(name, count)?;
        }
        dict.set_item("arenas", arenas)?;
        dict.set_item("arena_bytes", stats.arena_bytes)?;
        dict.set_item("window_slots", stats.slots)?;
        dict.set_item("processes", stats.processes)?;
        dict.set_item("leader_term", stats.term)?;
        dict.set_item("clock_offset_seconds", stats.clock_offset as f64 / 1e9)?;
        dict.set_item("skew_seconds", stats.skew as f64 / 1e9)?;
        dict.set_item("clock_distrusted", u8::from(stats.distrusted))?;
        dict.set_item("max_ids", stats.max_ids)?;
        dict.set_item("identity", format!("{:016x}", stats.identity))?;
        dict.set_item("workers", worker_figures::figures(py, &stats.workers)?)?;
        let listeners = PyDict::new(py);
        for (process, its) in stats.listeners {
            let figures = (its.connections, its.accept_lane, its.hyper_lane, its.other);
            listeners.set_item(process, figures)?;
        }
        dict.set_item("listeners", listeners)?;
        Ok(dict)
    }
}
