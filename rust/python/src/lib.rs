//! `verve._verve`: the counter for Python. Converts arguments, releases the GIL, maps errors.

use pyo3::prelude::*;

mod accepting;
mod answers;
mod callbacks;
mod clock;
mod counter;
mod errors;
mod fast_path;
mod ids;
mod record;
mod segment;
mod store;
mod worker;
mod worker_figures;

/// The compiled half of the package `verve`.
#[pymodule(gil_used = false)]
mod _verve {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::accepting::names_single;
    #[pymodule_export]
    use crate::callbacks::{
        Callbacks, callback_figures, check_callback_options, diagnose_callback,
    };
    #[pymodule_export]
    use crate::clock::{ManualClock, boot_nanoseconds};
    #[pymodule_export]
    use crate::counter::Counter;
    #[pymodule_export]
    use crate::fast_path::FastPath;
    #[pymodule_export]
    use crate::record::WindowRecord;
    #[pymodule_export]
    use crate::segment::{Keeper, remove_segment, segment_identity};
    #[pymodule_export]
    use crate::store::shard_of;

    /// Sets of a store over which the ids of a window are spread.
    #[pymodule_export]
    const SHARDS: usize = verve_core::SHARDS;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::errors::register(module)
    }
}
