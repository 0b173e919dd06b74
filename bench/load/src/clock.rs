//! Time within a run: nanoseconds since its start, and their place among the window boundaries.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Read once at the start; afterwards only the monotonic clock is read, so a step of the wall
/// clock cannot bend a latency.
#[derive(Clone)]
pub struct Clock {
    start: Instant,
    wall_at_start: i64,
    window: i64,
    near: i64,
}

impl Clock {
    pub fn start(window: Duration, near: Duration) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Self::starting_at(wall.unwrap_or_default(), window, near)
    }

    fn starting_at(wall: Duration, window: Duration, near: Duration) -> Self {
        Self {
            start: Instant::now(),
            wall_at_start: wall.as_nanos() as i64,
            window: window.as_nanos() as i64,
            near: near.as_nanos() as i64,
        }
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// The moment `time` nanoseconds after the start, for timers.
    pub fn instant(&self, time: u64) -> tokio::time::Instant {
        (self.start + Duration::from_nanos(time)).into()
    }

    /// Nanoseconds since the epoch at the start.
    pub fn wall_at_start(&self) -> i64 {
        self.wall_at_start
    }

    /// Start of the window that holds `time`, in seconds since the epoch.
    pub fn window_at(&self, time: u64) -> i64 {
        let wall = self.wall_at_start + time as i64;
        (wall - wall.rem_euclid(self.window)) / 1_000_000_000
    }

    /// Whether `time` lies near a boundary.
    pub fn is_near(&self, time: u64) -> bool {
        self.past_boundary(self.nearest_boundary(time), time).abs() <= self.near
    }

    /// The number of the boundary nearest to `time`, counted from the epoch.
    pub fn nearest_boundary(&self, time: u64) -> i64 {
        (self.wall_at_start + time as i64 + self.window / 2).div_euclid(self.window)
    }

    /// Nanoseconds from boundary `number` to `time`; negative before it.
    pub fn past_boundary(&self, number: i64, time: u64) -> i64 {
        self.wall_at_start + time as i64 - number * self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_among_boundaries() {
        let near = Duration::from_millis(250);
        let clock =
            Clock::starting_at(Duration::from_millis(119_500), Duration::from_secs(60), near);
        let milli = 1_000_000;
        assert_eq!(clock.window_at(0), 60);
        assert_eq!(clock.window_at(499 * milli), 60);
        assert_eq!(clock.window_at(500 * milli), 120);
        assert_eq!(clock.nearest_boundary(0), 2);
        assert_eq!(clock.past_boundary(2, 100 * milli), -400_000_000);
        let near: Vec<bool> = [249, 250, 750, 751].map(|t| clock.is_near(t * milli)).into();
        assert_eq!(near, [false, true, true, false]);
    }
}
