//! The clock that tests move.

use std::sync::Arc;

use pyo3::prelude::*;

const SECOND: f64 = 1e9;

/// A clock that stands still until it is moved, for tests.
///
/// `ManualClock(wall, boot=1000.0)`: `wall` is its start time, in seconds since the epoch, `boot` in
/// seconds since its boot. A segment keeps the difference of the two. Who attaches by the system's clock
/// later goes on at `wall` only if `boot` was that of the machine.
#[pyclass(frozen, module = "verve")]
pub struct ManualClock(pub Arc<verve_core::ManualClock>);

/// Nanoseconds since the boot, suspensions included (`CLOCK_BOOTTIME`). The clock of a counter adds
/// its offset to them.
#[pyfunction]
pub fn boot_nanoseconds() -> u64 {
    verve_core::platform::boot_nanoseconds()
}

#[pymethods]
impl ManualClock {
    #[new]
    #[pyo3(signature = (wall, boot = 1_000.0))]
    fn new(wall: f64, boot: f64) -> Self {
        let (wall, boot) = ((wall * SECOND) as u64, (boot * SECOND) as u64);
        Self(Arc::new(verve_core::ManualClock::booted(wall, boot)))
    }

    /// Nanoseconds since its boot, as `ReferenceClock.boot` returns them.
    fn boot(&self) -> u64 {
        self.0.boot()
    }

    /// Advances the clock by `seconds`.
    fn advance(&self, seconds: f64) {
        self.0.advance((seconds * SECOND) as u64);
    }

    /// Sets the wall clock forward, or back if negative, by `seconds`, as an operator would.
    fn step(&self, seconds: f64) {
        self.0.step((seconds * SECOND) as i64);
    }
}
