//! The system calls that the standard library lacks: locks, clocks, storage, pages, forks.

#![expect(unsafe_code, reason = "system calls")]

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};
#[cfg(target_os = "linux")]
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("Verve runs on Linux, and on macOS for development");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("a segment needs the address space of a 64-bit system");

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

/// Nanoseconds of a clock that moves with the scheduler's tick: behind by up to 10 ms, stands still
/// while the machine is suspended, and costs a quarter of the others.
#[must_use]
pub fn coarse_nanoseconds() -> u64 {
    #[cfg(target_os = "linux")]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC_COARSE;
    #[cfg(target_os = "macos")]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
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
/// by [`unlock`], or when the last copy of the descriptor is gone, so at the latest when the
/// process has died.
pub fn try_lock_byte(file: &File, byte: u64) -> io::Result<bool> {
    let request = lock_request(byte, 1, libc::F_WRLCK as libc::c_int);
    // SAFETY: the descriptor is open and `request` is a valid `flock`.
    match check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) }) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Takes a shared lock of one byte for this open file.
pub fn share_byte(file: &File, byte: u64) -> io::Result<()> {
    let request = lock_request(byte, 1, libc::F_RDLCK as libc::c_int);
    // SAFETY: as above.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) }).map(drop)
}

/// Lets go of the locks of `length` bytes; of 0, of all that follow.
pub fn unlock(file: &File, byte: u64, length: u64) -> io::Result<()> {
    let request = lock_request(byte, length, libc::F_UNLCK as libc::c_int);
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

/// Repeats a call that a signal cut off.
fn uninterrupted(mut call: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Puts storage behind a range of the file, whose content stays as it is.
pub fn reserve(file: &File, offset: u64, length: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let (offset, length) = (offset as libc::off_t, length as libc::off_t);
        // SAFETY: the descriptor is open; the call touches no memory of ours.
        let allocate = || unsafe { libc::fallocate(file.as_raw_fd(), 0, offset, length) };
        uninterrupted(|| check(allocate()).map(drop))
    }
    #[cfg(target_os = "macos")]
    {
        // Memory there is never short in a way that can be asked.
        let _ = (file, offset, length);
        Ok(())
    }
}

/// Gives the storage of a range back; it reads as zeroes afterwards.
pub fn punch_hole(file: &File, offset: u64, length: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let (offset, length) = (offset as libc::off_t, length as libc::off_t);
        // SAFETY: as in `reserve`.
        let punch = || unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, length) };
        uninterrupted(|| check(punch()).map(drop))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, offset, length);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Bytes that the file system of `file` has free; `None` where it has no bound, or does not say.
#[must_use]
pub fn free_storage(file: &File) -> Option<u64> {
    // SAFETY: all-zero is a valid `statvfs`: it is plain data.
    let mut status: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and `status` is a valid place for the answer.
    match check(unsafe { libc::fstatvfs(file.as_raw_fd(), &raw mut status) }) {
        Ok(_) if status.f_blocks > 0 => {
            Some((status.f_bavail as u64).saturating_mul(status.f_frsize))
        }
        _ => None,
    }
}

/// A file that lives in memory only and goes with its last user.
pub fn memory_file() -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: the name is a valid C string.
        let descriptor =
            check(unsafe { libc::memfd_create(c"verve".as_ptr(), libc::MFD_CLOEXEC) })?;
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
        Ok(file)
    }
}

/// Another open file on the same file as `file`, which may have no name any more.
fn open_again(file: &File) -> io::Result<File> {
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

/// Keeps a mapped range out of core dumps, where the system can do so.
///
/// # Safety
/// The range is mapped.
pub unsafe fn exclude_from_dumps(address: *mut u8, length: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: the caller's: the range is mapped. The call changes no memory.
    unsafe {
        check(libc::madvise(address.cast(), length, libc::MADV_DONTDUMP)).map(drop)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (address, length);
        Ok(())
    }
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

/// Forks that led to this process since the first [`open_watched`].
static FORKS: AtomicU64 = AtomicU64::new(0);
/// Set while a watched descriptor is opened or closed, and over a fork: a child must never get one
/// that it does not know of.
static BUSY: AtomicBool = AtomicBool::new(false);
/// Descriptors that a forked child must not keep: they hold the parent's locks. Changed only with
/// [`BUSY`] set.
static OF_THE_PARENT: Descriptors = Descriptors::none();

/// A list of descriptors that only grows, so that it can be read between fork and exec.
struct Descriptors {
    places: [AtomicI32; 64],
    further: OnceLock<Box<Descriptors>>,
}

impl Descriptors {
    const fn none() -> Self {
        Self { places: [const { AtomicI32::new(-1) }; 64], further: OnceLock::new() }
    }

    fn all(&self) -> impl Iterator<Item = &AtomicI32> {
        std::iter::successors(Some(self), |list| list.further.get().map(Box::as_ref))
            .flat_map(|list| &list.places)
    }

    fn insert(&self, descriptor: RawFd) {
        // Relaxed, here and below: `BUSY` orders all changes.
        match self.places.iter().find(|place| place.load(Ordering::Relaxed) == -1) {
            Some(place) => place.store(descriptor, Ordering::Relaxed),
            None => self.further.get_or_init(|| Box::new(Self::none())).insert(descriptor),
        }
    }

    fn remove(&self, descriptor: RawFd) {
        if let Some(place) = self.all().find(|place| place.load(Ordering::Relaxed) == descriptor) {
            place.store(-1, Ordering::Relaxed);
        }
    }
}

/// How many forks led from the first [`open_watched`] to this process.
#[inline]
#[must_use]
pub fn forks() -> u64 {
    // Relaxed: written before any other thread of the child exists.
    FORKS.load(Ordering::Relaxed)
}

fn set_busy() {
    // Acquire: pairs with the Release in `clear_busy`.
    while BUSY.swap(true, Ordering::Acquire) {
        std::thread::yield_now();
    }
}

fn clear_busy() {
    BUSY.store(false, Ordering::Release);
}

fn watch_forks() {
    extern "C" fn before() {
        set_busy();
    }
    extern "C" fn in_parent() {
        clear_busy();
    }
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
        for place in OF_THE_PARENT.all() {
            let descriptor = place.swap(-1, Ordering::Relaxed);
            if descriptor != -1 {
                // SAFETY: the child's copy of a lock descriptor: its owner sees that it is in a
                // child, and neither uses nor closes it. `close` may be called after a fork.
                unsafe { libc::close(descriptor) };
            }
        }
        clear_busy();
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: plain functions that allocate nothing and touch only the statics above; the lock
        // that they hold over the fork is never held by a thread that forks.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}

/// Another open file on the same file as `file`, which [`close_watched`] closes, and a forked child
/// before it does anything else.
pub fn open_watched(file: &File) -> io::Result<ManuallyDrop<File>> {
    watch_forks();
    set_busy();
    let opened = open_again(file);
    if let Ok(file) = &opened {
        OF_THE_PARENT.insert(file.as_raw_fd());
    }
    clear_busy();
    opened.map(ManuallyDrop::new)
}

/// Closes what [`open_watched`] opened.
///
/// # Safety
/// Called once for a file, by the process that opened it, and the file is not used after that.
pub unsafe fn close_watched(file: &mut ManuallyDrop<File>) {
    set_busy();
    OF_THE_PARENT.remove(file.as_raw_fd());
    // SAFETY: the caller's: nobody uses the file any more.
    unsafe { ManuallyDrop::drop(file) };
    clear_busy();
}

/// Bytes of a page.
#[must_use]
pub fn page_size() -> u64 {
    static SIZE: OnceLock<u64> = OnceLock::new();
    *SIZE.get_or_init(|| {
        // SAFETY: the call has no preconditions.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        u64::try_from(size).unwrap_or(4096).max(4096)
    })
}
