//! The system calls that the standard library lacks: locks, clocks, storage, pages, forks.

#![expect(unsafe_code, reason = "system calls")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("Verve runs on Linux, and on macOS for development");

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Nanoseconds of the clock that goes on through suspension and is never set.
#[must_use]
pub fn boot_nanoseconds() -> u64 {
    #[cfg(target_os = "linux")]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    #[cfg(target_os = "macos")]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC; // Counts suspension there.
    clock(CLOCK)
}

/// Nanoseconds since the epoch by the wall clock.
#[must_use]
pub fn wall_nanoseconds() -> u64 {
    clock(libc::CLOCK_REALTIME)
}

#[inline]
fn clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer, and the clocks above exist everywhere.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn lock_request(byte: u64, length: u64, kind: libc::c_int) -> libc::flock {
    // SAFETY: all-zero is a valid `flock`: it is plain data.
    let mut request: libc::flock = unsafe { std::mem::zeroed() };
    request.l_type = kind as libc::c_short;
    request.l_whence = libc::SEEK_SET as libc::c_short;
    request.l_start = byte as libc::off_t;
    request.l_len = length as libc::off_t;
    request
}

/// Takes the lock of one byte for this open file; false if another open file has it. It is let go
/// by [`unlock_byte`], or when the last copy of the descriptor is gone, so at the latest when the
/// process has died.
pub fn try_lock_byte(file: &File, byte: u64) -> io::Result<bool> {
    let request = lock_request(byte, 1, libc::F_WRLCK as libc::c_int);
    // SAFETY: the descriptor is open and `request` is a valid `flock`.
    match check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) }) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets go of the lock of one byte.
pub fn unlock_byte(file: &File, byte: u64) -> io::Result<()> {
    let request = lock_request(byte, 1, libc::F_UNLCK as libc::c_int);
    // SAFETY: as above.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) }).map(drop)
}

/// Whether another open file has a lock on one of `length` bytes from `byte`. A lock of this open
/// file itself is not seen.
pub fn locked_by_another(file: &File, byte: u64, length: u64) -> io::Result<bool> {
    let mut request = lock_request(byte, length, libc::F_WRLCK as libc::c_int);
    // SAFETY: as above; the answer is written into `request`.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut request) })?;
    Ok(request.l_type != libc::F_UNLCK as libc::c_short)
}

/// Puts storage behind a range of the file, whose content stays as it is.
pub fn reserve(file: &File, offset: u64, length: u64) -> io::Result<()> {
    loop {
        #[cfg(target_os = "linux")]
        // SAFETY: the descriptor is open; the call touches no memory of ours.
        let result = check(unsafe {
            libc::fallocate(file.as_raw_fd(), 0, offset as libc::off_t, length as libc::off_t)
        });
        #[cfg(target_os = "macos")]
        let result = {
            let _ = (offset, length);
            file.metadata().map(|_| 0) // Memory there is never short in a way that can be asked.
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(drop),
        }
    }
}

/// Gives the storage of a range back; it reads as zeroes afterwards.
pub fn release(file: &File, offset: u64, length: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: as in `reserve`.
        check(unsafe {
            libc::fallocate(file.as_raw_fd(), mode, offset as libc::off_t, length as libc::off_t)
        })
        .map(drop)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, offset, length);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A file that lives in memory only and goes with its last user.
pub fn memory_file() -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: the name is a valid C string.
        let descriptor = check(unsafe { libc::memfd_create(c"verve".as_ptr(), libc::MFD_CLOEXEC) })?;
        // SAFETY: the call above gave us this descriptor, and nobody else has it.
        Ok(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
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
        let _: Option<OwnedFd> = None;
        Ok(file)
    }
}

/// Another open file on the same file as `file`, which may have no name any more.
pub fn open_again(file: &File) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    #[cfg(not(target_os = "linux"))]
    let path = format!("/dev/fd/{}", file.as_raw_fd());
    File::options().read(true).write(true).open(path)
}

/// Faults in the pages of a mapped range for writing, where the system can do so ahead of use.
///
/// # Safety
/// The range lies inside a live mapping.
pub unsafe fn populate(address: *mut u8, length: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: the caller's: the range is mapped. A failure leaves the pages to be faulted one by one.
    unsafe {
        libc::madvise(address.cast(), length, libc::MADV_POPULATE_WRITE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (address, length);
}

/// A random number from the system.
pub fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// A number that differs from boot to boot; 0 where the system has none.
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
    // SAFETY: the call has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

/// Forks that led to this process since the first [`watch_forks`].
static FORKS: AtomicU64 = AtomicU64::new(0);
/// Descriptors that a forked child must not keep: they hold the parent's locks.
static OF_THE_PARENT: [AtomicI32; 64] = [const { AtomicI32::new(-1) }; 64];

/// How many forks led from the first [`watch_forks`] to this process.
#[inline]
#[must_use]
pub fn forks() -> u64 {
    // Relaxed: written before any other thread of the child exists.
    FORKS.load(Ordering::Relaxed)
}

/// Makes [`forks`] count, and closes `descriptor` in forked children until [`forget_lock`]. With more
/// than 64 at once, a child keeps the rest until it first uses the counter.
pub fn watch_forks(descriptor: RawFd) {
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
        for place in &OF_THE_PARENT {
            let descriptor = place.swap(-1, Ordering::Relaxed);
            if descriptor != -1 {
                // SAFETY: the child's copy of a lock descriptor, that nothing uses before it has
                // noticed the fork; `close` may be called between fork and exec.
                unsafe { libc::close(descriptor) };
            }
        }
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler is a plain function that only closes descriptors.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    for place in &OF_THE_PARENT {
        if place.compare_exchange(-1, descriptor, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return;
        }
    }
}

/// Undoes [`watch_forks`] for one descriptor; false if it was closed by a fork meanwhile (or
/// never had a place), and so must not be closed again by its owner in this process.
pub fn forget_lock(descriptor: RawFd) -> bool {
    OF_THE_PARENT.iter().any(|place| {
        place.compare_exchange(descriptor, -1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    })
}

/// Closes a file that is not dropped by itself.
pub fn close(file: &mut std::mem::ManuallyDrop<File>) {
    // SAFETY: called once, from the owner's own drop.
    unsafe { std::mem::ManuallyDrop::drop(file) };
}
