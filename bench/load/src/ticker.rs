//! Regular wake-ups finer than a millisecond, which is the step of tokio's own timers.

use std::time::Duration;

#[cfg(target_os = "linux")]
pub use precise::Ticker;

#[cfg(not(target_os = "linux"))]
pub use coarse::Ticker;

#[cfg(target_os = "linux")]
mod precise {
    use std::os::fd::OwnedFd;

    use rustix::io;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::Duration;

    /// A periodic timer of the kernel.
    pub struct Ticker {
        timer: AsyncFd<OwnedFd>,
    }

    impl Ticker {
        pub fn new(period: Duration) -> Self {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)
                .expect("the kernel has timers to spare");
            let period = Timespec::try_from(period).expect("a period is short");
            let when = Itimerspec { it_interval: period, it_value: period };
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &when)
                .expect("the period is a valid time");
            #[expect(
                deprecated,
                reason = "its successor is unsafe for types that may change their descriptor; an \
                          OwnedFd does not"
            )]
            let timer = AsyncFd::with_interest(timer, Interest::READABLE)
                .expect("the runtime takes another descriptor");
            Self { timer }
        }

        /// Waits for the next tick; ticks that were missed are one.
        pub async fn tick(&mut self) {
            let read = |timer: &OwnedFd| Ok(io::read(timer, &mut [0_u8; 8])?);
            let _ = self.timer.async_io(Interest::READABLE, read).await;
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod coarse {
    use super::Duration;

    /// Elsewhere a tick takes a millisecond.
    pub struct Ticker(tokio::time::Interval);

    impl Ticker {
        pub fn new(period: Duration) -> Self {
            Self(tokio::time::interval(period.max(Duration::from_millis(1))))
        }

        pub async fn tick(&mut self) {
            self.0.tick().await;
        }
    }
}
