//! `verve._verve`: the counter for Python. Converts arguments, releases the GIL, maps errors.

use pyo3::prelude::*;

mod answers;
mod callbacks;
mod clock;
mod counter;
mod errors;
mod fast_path;
mod ids;
mod record;

/// The compiled half of the package `verve`.
#[pymodule(gil_used = false)]
mod _verve {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::callbacks::{Callbacks, callback_figures, check_callback_options, probe_callback};
    #[pymodule_export]
    use crate::clock::ManualClock;
    #[pymodule_export]
    use crate::counter::{Counter, names_single, segment_identity};
    #[pymodule_export]
    use crate::fast_path::FastPath;
    #[pymodule_export]
    use crate::record::WindowRecord;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::errors::register(module)
    }
}
