//! The header of a segment as its file has it, read without mapping the file.

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;

use crate::segment::layout::{self, Header, MAGIC};

/// What the header of a segment of any format says. Of a format that is not this one's, only
/// `format` has a meaning.
#[derive(Debug)]
pub struct StoredHeader {
    /// Number of its format.
    pub format: u32,
    /// Length of a window in seconds.
    pub window_seconds: u32,
    /// The segment's random identity.
    pub identity: u64,
    /// Bytes of one arena.
    pub arena_bytes: u64,
    /// The cluster.
    pub cluster: String,
    /// The state directory.
    pub state_directory: String,
}

impl StoredHeader {
    /// Reads the header of `file`. `None` if the file is no segment.
    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = vec![0; size_of::<Header>()];
        let length = file.read_at(&mut bytes, 0)?;
        Ok(Self::parse(&bytes[..length]))
    }

    /// Reads a header from the first bytes of a file. `None` if it is no segment.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| u64::from_ne_bytes(first(&bytes[at..]));
        let half = |at: usize| u32::from_ne_bytes(first(&bytes[at..]));
        let name = |at: usize| layout::name_text(&first(&bytes[at..]));
        if bytes.len() < size_of::<Header>() || word(offset_of!(Header, magic)) != MAGIC {
            return None;
        }
        Some(Self {
            format: half(offset_of!(Header, format)),
            window_seconds: half(offset_of!(Header, window_seconds)),
            identity: word(offset_of!(Header, identity)),
            arena_bytes: word(offset_of!(Header, arena_bytes)),
            cluster: name(offset_of!(Header, cluster)),
            state_directory: name(offset_of!(Header, state_directory)),
        })
    }
}

/// The first `LENGTH` of `bytes`.
fn first<const LENGTH: usize>(bytes: &[u8]) -> [u8; LENGTH] {
    *bytes.first_chunk().expect("a field of the header")
}
