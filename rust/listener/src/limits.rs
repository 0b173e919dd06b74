//! What one caller may take.

use std::time::Duration;

/// Unwritten bytes of answers beyond which a connection is not read.
pub(crate) const UNWRITTEN: usize = 64 << 10;

/// Without progress in writing a body that comes in parts, at most: it holds what others need.
pub(crate) const BLOCKED_STREAM: Duration = Duration::from_secs(10);

/// In which a stop waits for the first byte of a connection: its request may be on its way. One that was
/// answered before is closed at once.
pub(crate) const FIRST_BYTE: Duration = Duration::from_secs(1);

/// Bounds per connection and for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are open at once; others wait in the kernel's queue.
    pub connections: usize,
    /// Largest head of a request, in bytes.
    pub head: usize,
    /// Header fields in a head.
    pub fields: usize,
    /// From the first byte of a head to its last.
    pub head_timeout: Duration,
    /// From an answer to the first byte of the next head.
    pub idle_timeout: Duration,
    /// Without progress in writing an answer.
    pub stall_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            head: 64 << 10,
            fields: 100,
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(30),
        }
    }
}
