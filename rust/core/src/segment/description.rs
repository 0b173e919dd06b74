//! A segment from outside: its description, and its removal.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::{Error, Unusable};
use crate::segment::attachment::{
    is_alive, open_existing, read_header, remove_unfinished, with_suffix,
};
use crate::segment::layout::FORMAT;
use crate::segment::live;
use crate::segment::locks::AttachLock;

/// The content of a segment's header.
#[derive(Clone, Debug)]
pub struct Description {
    /// Number of its format. If it is not [`FORMAT`], only this and `alive` are known.
    pub format: u32,
    /// Length of a window in seconds.
    pub window_seconds: u32,
    /// The segment's random identity.
    pub identity: u64,
    /// The cluster.
    pub cluster: String,
    /// The state directory.
    pub state_directory: String,
    /// Whether a live process is attached.
    pub alive: bool,
}

/// Describes the segment at `path` without attaching to it: the one that live processes use, if its file
/// was removed or replaced.
pub fn describe(path: &Path) -> Result<Description, Error> {
    let shown = path.display().to_string();
    let file = match open_existing(path)? {
        Some(file) if is_alive(&file) => Some(file),
        found => live::find(path, "").or(found),
    };
    let file = file
        .ok_or_else(|| Error::io("there is no segment", &shown, &io::ErrorKind::NotFound.into()))?;
    let header = read_header(&file, &shown)?;
    let alive = is_alive(&file);
    if header.format != FORMAT {
        return Ok(Description {
            format: header.format,
            window_seconds: 0,
            identity: 0,
            cluster: String::new(),
            state_directory: String::new(),
            alive,
        });
    }
    Ok(Description {
        format: header.format,
        window_seconds: header.window_seconds,
        identity: header.identity,
        cluster: header.cluster,
        state_directory: header.state_directory,
        alive,
    })
}

/// Removes the segment at `path` and the files beside it, unless a live process uses it.
///
/// # Errors
/// [`Error::Segment`], if a live process uses it, it belongs to another user, or the system refuses.
pub fn remove(path: &Path) -> Result<(), Error> {
    let shown = path.display().to_string();
    let _lock = AttachLock::take(path)?;
    if open_existing(path)?.is_some_and(|file| is_alive(&file)) || live::find(path, "").is_some() {
        return Err(Error::Segment {
            reason: Unusable::Busy,
            alive: true,
            message: format!("a process lives in the segment: `{shown}`; hint: end it first"),
        });
    }
    remove_unfinished(path);
    // The lock last: a process that waits for it sees that its file is gone, and takes a new one.
    for name in [path.to_owned(), with_suffix(path, ".lock")] {
        match fs::remove_file(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("the segment cannot be removed", &shown, &error));
            }
            _ => {}
        }
    }
    Ok(())
}
