//! System calls that the standard library lacks: clocks, byte locks, storage.

#![expect(
    unsafe_code,
    reason = "no crate has byte locks of open files, or memory files with an old glibc"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
#[cfg(target_os = "linux")]
use std::os::fd::{FromRawFd, RawFd};
use std::sync::OnceLock;

#[cfg(target_os = "linux")]
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::fstatvfs;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, geteuid, sysconf};

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("Verve runs on Linux, and on macOS for development");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("a segment needs the address space of a 64-bit system");

/// Nanoseconds of the clock that goes on through suspension and is never set.
#[must_use]
pub fn boot_nanoseconds() -> u64 {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    #[cfg(target_os = "macos")]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC; // Counts suspension there.
    nanoseconds(CLOCK)
}

/// Nanoseconds of a clock that moves with the scheduler's tick. It is behind by up to 10 ms, stands
/// still while the machine is suspended, and costs a quarter of the others.
#[must_use]
pub fn coarse_nanoseconds() -> u64 {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC_COARSE;
    #[cfg(target_os = "macos")]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    nanoseconds(CLOCK)
}

/// Nanoseconds since the epoch by the wall clock.
#[must_use]
pub fn wall_nanoseconds() -> u64 {
    nanoseconds(ClockId::CLOCK_REALTIME)
}

#[inline]
fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("a clock that every system has");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// A request for a lock of `length` bytes from `byte` on; 0 bytes: all that follow.
fn lock_request(byte: u64, length: u64, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte as libc::off_t,
        l_len: length as libc::off_t,
        l_pid: 0,
    }
}

/// Makes a call about a lock of the open file, `F_OFD_SETLK` or `F_OFD_GETLK`.
fn call_lock(file: &File, command: libc::c_int, request: &mut libc::flock) -> nix::Result<()> {
    // SAFETY: the descriptor is open, and both commands take a valid `flock` to read and write.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, request) };
    nix::errno::Errno::result(result).map(drop)
}

/// Takes the lock of one byte for this open file. Returns false if another open file has it.
///
/// The lock is released by [`unlock`], or when the last copy of the descriptor is gone, so at the
/// latest when the process has died.
pub fn try_lock_byte(file: &File, byte: u64) -> io::Result<bool> {
    match call_lock(file, libc::F_OFD_SETLK, &mut lock_request(byte, 1, libc::F_WRLCK as _)) {
        Ok(()) => Ok(true),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes a shared lock of one byte for this open file.
pub fn share_byte(file: &File, byte: u64) -> io::Result<()> {
    Ok(call_lock(file, libc::F_OFD_SETLK, &mut lock_request(byte, 1, libc::F_RDLCK as _))?)
}

/// Releases the locks of `length` bytes from `byte` on; 0 bytes: of all that follow.
pub fn unlock(file: &File, byte: u64, length: u64) -> io::Result<()> {
    Ok(call_lock(file, libc::F_OFD_SETLK, &mut lock_request(byte, length, libc::F_UNLCK as _))?)
}

/// Whether another open file has a lock on one of `length` bytes from `byte` on. A lock of this open
/// file itself is not seen.
pub fn locked_by_another(file: &File, byte: u64, length: u64) -> io::Result<bool> {
    let mut request = lock_request(byte, length, libc::F_WRLCK as _);
    call_lock(file, libc::F_OFD_GETLK, &mut request)?;
    Ok(request.l_type != libc::F_UNLCK as libc::c_short)
}

/// Repeats `fallocate` while signals interrupt it.
#[cfg(target_os = "linux")]
fn allocate(file: &File, mode: FallocateFlags, offset: u64, length: u64) -> io::Result<()> {
    loop {
        match fallocate(file, mode, offset as libc::off_t, length as libc::off_t) {
            Err(nix::Error::EINTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Puts storage behind a range of the file, whose content stays as it is.
pub fn reserve(file: &File, offset: u64, length: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return allocate(file, FallocateFlags::empty(), offset, length);
    #[cfg(target_os = "macos")]
    {
        // No call of that system tells whether memory is short.
        let _ = (file, offset, length);
        Ok(())
    }
}

/// Gives the storage of a range back to the system. It reads as zeroes afterwards.
pub fn punch_hole(file: &File, offset: u64, length: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        allocate(file, mode, offset, length)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, offset, length);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Free bytes of the file system of `file`. `None` if it has no bound, or does not say.
#[must_use]
pub fn free_storage(file: &File) -> Option<u64> {
    let status = fstatvfs(file).ok().filter(|status| status.blocks() > 0)?;
    Some(status.blocks_available().saturating_mul(status.fragment_size()))
}

/// A file that is in memory only, and is gone with its last user.
pub fn memory_file() -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        // By its number: glibc has the function from 2.27 on, and a wheel for glibc 2.17 that names
        // it cannot be loaded before that.
        // SAFETY: the name ends with a zero, and the call gives a new descriptor or -1.
        let made =
            unsafe { libc::syscall(libc::SYS_memfd_create, c"verve".as_ptr(), libc::MFD_CLOEXEC) };
        let descriptor = RawFd::try_from(made).map_err(io::Error::other)?;
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is open, and nobody else has it.
        Ok(unsafe { File::from_raw_fd(descriptor) })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let path = std::env::temp_dir().join(format!(
            "verve-memory-{}-{}",
            std::process::id(),
            boot_nanoseconds()
        ));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(path)?;
        Ok(file)
    }
}

/// Opens the file of `file` again: another open file, also if the file has no name any more.
pub(crate) fn open_again(file: &File) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    #[cfg(not(target_os = "linux"))]
    let path = format!("/dev/fd/{}", file.as_raw_fd());
    File::options().read(true).write(true).open(path)
}

/// A random number from the system.
pub fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// A number that differs from boot to boot; 0 if the system has none.
#[must_use]
pub fn boot_identity() -> u64 {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or(0, |text| {
        // FNV-1a: any spread will do.
        text.trim().bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    })
}

/// The user that this process acts as.
#[must_use]
pub fn effective_user() -> u32 {
    geteuid().as_raw()
}

/// Bytes of a page.
#[must_use]
pub fn page_size() -> u64 {
    static SIZE: OnceLock<u64> = OnceLock::new();
    *SIZE.get_or_init(|| {
        let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
        u64::try_from(size).unwrap_or(4096).max(4096)
    })
}
