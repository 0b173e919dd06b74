//! Finding the segment that live processes use, also without its name.
//!
//! A file that was removed, replaced or renamed exists while a process has it open. Linux shows each such
//! file under `/proc/<pid>/fd` to processes of the same user, and opening it there makes a new open file.
//! So a process that starts joins the others, and does not begin a second count.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::platform;
use crate::segment::attachment::is_alive;
use crate::segment::layout::{FORMAT, LOCKS_AT, PARTICIPANTS};
use crate::segment::stored_header::StoredHeader;

/// The suffix that the system shows after the name of a removed file.
const REMOVED: &str = " (deleted)";

/// A segment without its name that a live process uses: the one that had the name `path`, or that of the
/// state directory, if one is given. `None` on systems that do not show it.
pub(crate) fn find(path: &Path, state_directory: &str) -> Option<File> {
    if !any_is_alive() {
        return None;
    }
    let path = absolute(path)?;
    let user = platform::effective_user();
    processes(user)
        .flat_map(|process| open_files(&process))
        .filter(|(_, shown)| may_be(shown, &path))
        .filter_map(|(link, shown)| Some((open(&link, user)?, shown)))
        .find(|(file, shown)| is_meant(file, shown, &path, state_directory) && is_alive(file))
        .map(|(file, _)| file)
}

/// Whether a live process uses any segment of this machine. The system's list of locks is short.
fn any_is_alive() -> bool {
    let ours = LOCKS_AT..=LOCKS_AT + PARTICIPANTS as u64;
    fs::read_to_string("/proc/locks").map_or(true, |locks| {
        // `1: OFDLCK ADVISORY WRITE -1 00:1a:1234 <first byte> <last byte>`
        let first = |line: &str| line.rsplit(' ').nth(1)?.parse().ok();
        locks.lines().filter_map(first).any(|byte: u64| ours.contains(&byte))
    })
}

/// The path as the system shows it.
fn absolute(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = std::path::absolute(parent.unwrap_or(Path::new("."))).ok()?;
    // A directory that was removed as well has no links to follow.
    Some(fs::canonicalize(&parent).unwrap_or(parent).join(name))
}

/// The directories of the user's processes.
fn processes(user: u32) -> impl Iterator<Item = PathBuf> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()))
        .filter(move |entry| entry.metadata().is_ok_and(|found| found.uid() == user))
        .map(|entry| entry.path())
}

/// The links to the open files of a process, with the paths that they show.
fn open_files(process: &Path) -> impl Iterator<Item = (PathBuf, PathBuf)> + use<> {
    let all = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    all.filter_map(|entry| Some((entry.path(), fs::read_link(entry.path()).ok()?)))
}

/// Whether the path alone allows it. Other files are not opened, since a file system that hangs would
/// hold up this process.
fn may_be(shown: &Path, path: &Path) -> bool {
    let shown = named(shown);
    shown.parent() == path.parent() || shown.file_name() == path.file_name()
}

fn named(shown: &Path) -> PathBuf {
    let text = shown.to_string_lossy();
    PathBuf::from(text.strip_suffix(REMOVED).unwrap_or(&text))
}

fn open(link: &Path, user: u32) -> Option<File> {
    let found = fs::metadata(link).ok()?;
    if !found.is_file() || found.uid() != user || found.mode() & 0o077 != 0 {
        return None;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(link).ok()
}

fn is_meant(file: &File, shown: &Path, path: &Path, state_directory: &str) -> bool {
    let Ok(Some(header)) = StoredHeader::read(file) else { return false };
    let had_the_name = shown.to_string_lossy().ends_with(REMOVED) && named(shown) == path;
    had_the_name
        || (header.format == FORMAT
            && !state_directory.is_empty()
            && header.state_directory == state_directory)
}
