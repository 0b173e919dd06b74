//! The window: its word, the states of its arena, who has pinned it, and the ring of sealed windows.

pub mod pins;
pub mod ring;
pub mod rollover;
pub mod word;
