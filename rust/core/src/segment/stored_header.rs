//! The header of a segment as its file has it, read without mapping the file.

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;

use crate::segment::layout::{self, Header, MAGIC};

/// What the header of a segment of any format says. Of a format that is not this one's, only
/// `format` has a meaning.
#[derive(Debug)]
pub(crate) struct StoredHeader {
    pub(crate) format: u32,
    pub(crate) window_seconds: u32,
    pub(crate) identity: u64,
    pub(crate) arena_bytes: u64,
    pub(crate) cluster: String,
    pub(crate) state_directory: String,
}

impl StoredHeader {
    /// Reads the header of `file`. `None` if the file is no segment.
    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = vec![0; size_of::<Header>()];
        let is_whole = file.read_at(&mut bytes, 0)? == bytes.len();
        let word = |at: usize| u64::from_ne_bytes(first(&bytes[at..]));
        let half = |at: usize| u32::from_ne_bytes(first(&bytes[at..]));
        let name = |at: usize| layout::name_text(&first(&bytes[at..]));
        if !is_whole || word(offset_of!(Header, magic)) != MAGIC {
            return Ok(None);
        }
        Ok(Some(Self {
            format: half(offset_of!(Header, format)),
            window_seconds: half(offset_of!(Header, window_seconds)),
            identity: word(offset_of!(Header, identity)),
            arena_bytes: word(offset_of!(Header, arena_bytes)),
            cluster: name(offset_of!(Header, cluster)),
            state_directory: name(offset_of!(Header, state_directory)),
        }))
    }
}

/// The first `LENGTH` of `bytes`.
fn first<const LENGTH: usize>(bytes: &[u8]) -> [u8; LENGTH] {
    *bytes.first_chunk().expect("a field of the header")
}
