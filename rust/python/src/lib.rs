//! `verve._verve`: the counter for Python. Converts arguments, releases the GIL, maps errors.

use pyo3::prelude::*;

mod answers;
mod callbacks;
mod clock;
mod counter;
mod drain;
mod errors;
mod fast_path;
mod http;
mod ids;
mod lease;
mod listener;
mod maintenance;
mod record;
mod records;
mod reference_clock;
mod replication;
mod retention;
mod segment;
mod stats;
mod worker_figures;

/// The compiled half of the package `verve`.
#[pymodule(gil_used = false)]
mod _verve {
    use pyo3::prelude::*;
    use pyo3::types::PyDict;

    #[pymodule_export]
    use crate::callbacks::{
        Callbacks, callback_figures, check_callback_options, diagnose_callback,
    };
    #[pymodule_export]
    use crate::clock::{ManualClock, boot_nanoseconds};
    #[pymodule_export]
    use crate::counter::Counter;
    #[pymodule_export]
    use crate::drain::Drain;
    #[pymodule_export]
    use crate::fast_path::FastPath;
    #[pymodule_export]
    use crate::http::{Http, names_single};
    #[pymodule_export]
    use crate::lease::{Leader, Lease, Ring};
    #[pymodule_export]
    use crate::listener::{BodySender, Exchange, NativeListener};
    #[pymodule_export]
    use crate::maintenance::Maintenance;
    #[pymodule_export]
    use crate::record::WindowRecord;
    #[pymodule_export]
    use crate::reference_clock::ReferenceClock;
    #[pymodule_export]
    use crate::replication::{Replication, shard_of};
    #[pymodule_export]
    use crate::retention::Retention;
    #[pymodule_export]
    use crate::segment::{Keeper, remove_segment, segment_identity, segment_size};
    #[pymodule_export]
    use crate::worker_figures::WorkerFigures;

    /// Number of arenas of a segment.
    #[pymodule_export]
    const ARENAS: usize = verve_core::window::word::ARENAS;
    /// Size of the ring of sealed windows. One fewer is readable: the oldest may be replaced at any
    /// moment.
    #[pymodule_export]
    const RING_RECORDS: usize = verve_core::window::ring::RECORDS;
    /// Number of shards of a window's ids.
    #[pymodule_export]
    const SHARDS: usize = verve_core::SHARDS;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let rejections = PyDict::new(module.py());
        for rejection in verve_core::Rejection::ALL {
            rejections.set_item(rejection.name(), rejection.status())?;
        }
        module.add("REJECTIONS", rejections)?;
        crate::records::register(module)?;
        crate::errors::register(module)
    }
}
