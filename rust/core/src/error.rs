//! The one error of the crate.

use std::fmt;
use std::io;
use std::path::Path;

use crate::table::Shortage;

/// Why a segment cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Its file belongs to another user.
    Owner,
    /// Other users may read or write its file.
    Mode,
    /// Its path is no regular file.
    Kind,
    /// It has another format, is damaged, or is no segment.
    Format,
    /// It was made with other settings.
    Mismatch,
    /// Live processes hold all participant slots.
    NoSlot,
    /// Another process has held the attach lock for too long.
    Busy,
    /// The system refused.
    Io,
}

impl Unusable {
    /// A short name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Mode => "mode",
            Self::Kind => "kind",
            Self::Format => "format",
            Self::Mismatch => "mismatch",
            Self::NoSlot => "no-slot",
            Self::Busy => "busy",
            Self::Io => "io",
        }
    }
}

/// Why a call failed. Such a call has recorded nothing, except for a batch that filled the table, which
/// says how many ids it recorded.
#[derive(Debug)]
pub enum Error {
    /// A setting is out of its range.
    Setting {
        /// The fault, with the value.
        message: String,
    },
    /// The segment cannot be used.
    Segment {
        /// The reason.
        reason: Unusable,
        /// Whether a live process uses it.
        alive: bool,
        /// The fault, with the path, and a hint.
        message: String,
    },
    /// The window has reached the bound of ids that the segment was made for.
    Full,
    /// The system has no storage for the table to grow: its error number.
    Space(i32),
    /// Every arena is in use: windows are held or kept, or stopped processes are inside.
    NoArena,
    /// The ids of that window are not kept.
    Window {
        /// Its start, seconds since the epoch.
        start: u64,
    },
    /// This process has no memory for the ids that it was asked for.
    Memory,
}

impl Error {
    pub(crate) fn no_slot(what: &str, value: usize) -> Self {
        Self::Segment {
            reason: Unusable::NoSlot,
            alive: true,
            message: format!("{what}: `{value}`; hint: run fewer processes"),
        }
    }

    /// Another process keeps the segment.
    #[must_use]
    pub fn kept(path: Option<&Path>) -> Self {
        let shown = path.map_or_else(|| "memory".to_owned(), |path| path.display().to_string());
        Self::Segment {
            reason: Unusable::Busy,
            alive: true,
            message: format!("another process keeps the segment: `{shown}`; hint: end it first"),
        }
    }

    pub(crate) fn io(what: &str, path: &str, error: &io::Error) -> Self {
        Self::Segment {
            reason: Unusable::Io,
            alive: false,
            message: format!("{what}: {error}: `{path}`{}", hint(error)),
        }
    }
}

/// The hint for an error that a limit of the process or the file system explains.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOMEM) => {
            "; hint: make it for fewer ids with `max_ids` (of the service: \
             `VERVE_MAX_IDS_PER_WINDOW`), or raise the limit of address space (`ulimit -v`)"
        }
        Some(libc::EFBIG) => "; hint: raise the limit of file sizes (`ulimit -f`)",
        Some(libc::EMFILE) => "; hint: raise the limit of open files (`ulimit -n`)",
        Some(libc::EDQUOT) => "; hint: raise the user's quota on that file system",
        Some(libc::EOPNOTSUPP | libc::ENOLCK | libc::ENOSYS) => {
            "; hint: choose a `VERVE_SEGMENT` on a tmpfs, such as `/dev/shm`"
        }
        _ => "",
    }
}

impl From<Shortage> for Error {
    fn from(shortage: Shortage) -> Self {
        match shortage {
            Shortage::Full => Self::Full,
            Shortage::Space(number) => Self::Space(number),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { message } | Self::Segment { message, .. } => to.write_str(message),
            Self::Full => to.write_str(
                "the window holds as many ids as the segment was made for; hint: raise \
                 `VERVE_MAX_IDS_PER_WINDOW` and make the segment anew",
            ),
            Self::Space(number) => {
                let error = io::Error::from_raw_os_error(*number);
                let hint = match hint(&error) {
                    "" => {
                        "; hint: enlarge the file system that holds the segment, or lower \
                         `VERVE_MAX_IDS_PER_WINDOW`"
                    }
                    hint => hint,
                };
                write!(to, "no room for the table to grow: {error}{hint}")
            }
            Self::NoArena => to.write_str(
                "no arena is free for the new window; hint: a stopped process, a held window or a \
                 store that is away keeps the old ones",
            ),
            Self::Window { start } => write!(
                to,
                "the ids of that window are not kept: `{start}`; hint: only those of the current \
                 window, and of windows that are held or wait for a store, can be listed"
            ),
            Self::Memory => to.write_str(
                "no memory for the ids; hint: raise the limit of this process (`ulimit -v`)",
            ),
        }
    }
}

impl std::error::Error for Error {}
