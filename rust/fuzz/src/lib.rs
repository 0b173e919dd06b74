//! What must hold for any bytes that reach Verve's own readers.
//!
//! Each module is a target: a function that takes bytes, has the real reader read them, and panics
//! if a naive reader, written from the documented grammar alone, disagrees. `harness/` has
//! libFuzzer call the targets (`make fuzz`); `tests/replay.rs` calls them with the inputs of
//! `corpus/`, among which are all that ever failed.

pub mod allow_list;
pub mod batch;
pub mod endpoint;
pub mod head;
pub mod id;
pub mod query;
pub mod segment;
pub mod special;

/// A target.
pub type Target = fn(&[u8]);

/// All targets, with the names of their folders in `corpus/`.
pub const TARGETS: [(&str, Target); 8] = [
    ("query", query::check),
    ("batch_binary", batch::check_binary),
    ("batch_json", batch::check_json),
    ("batch_text", batch::check_text),
    ("endpoint", endpoint::check),
    ("allow_list", allow_list::check),
    ("segment", segment::check),
    ("head", head::check),
];
