"""The limits of this host: memory, space for the segment, processors, open files.

The default of `VERVE_MAX_IDS_PER_WINDOW` comes from here. A limit that cannot be read counts as
absent; nothing in this module raises.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

BYTES_PER_ID = 40
"""Maximum bytes of memory per id of a window, with the kept arenas; see `docs/guides/scale.md`."""
ADDRESSES_PER_ID = 450
"""Bytes of address space per id of a window: a process maps all arenas, used or not."""
ADDRESSES_OF_A_SEGMENT = 48 << 20
"""Bytes of address space of the smallest segment."""

_SMALLEST_TABLE = 4096
_LARGEST_TABLE = 2**31
# A cgroup of version 1 writes "no limit" as a huge number instead of a word.
_UNLIMITED = 2**60

RESERVED_FILES = 256
"""Open files of a worker that are not connections."""
_MOST_FILES = 1_048_576
_MOST_CONNECTIONS = 16_384


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def _control_groups(controller: str, proc: Path, mount: Path) -> list[Path]:
    """The directories whose limits hold for this process: its own group first, then the parents.

    Version 2 has one tree, version 1 has one per controller. Inside a container, the path in
    `/proc/self/cgroup` often exists on the host only: then only the limits of the root apply.
    """
    found: list[Path] = []
    for line in (_read(proc / "self" / "cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            root = mount
        elif controller in controllers.split(","):
            root = mount / controller
        else:
            continue
        own = root / group.lstrip("/")
        found += [own, *(parent for parent in own.parents if parent.is_relative_to(root))]
    return found


def memory_limit(proc: Path = Path("/proc"), mount: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that this process may use: the host's memory, or a control group's limit."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for directory in _control_groups("memory", proc, mount):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            value = _read(directory / name)
            if value is not None and value.isdecimal() and 0 < int(value) < _UNLIMITED:
                limits.append(int(value))
    return min(limits)


def room_for(segment: Path) -> int:
    """Bytes that the segment may occupy on its file system.

    The pages of an existing segment count as free, since the service uses that segment again.
    """
    try:
        figures = os.statvfs(segment.parent)
    except OSError:
        return _UNLIMITED
    if figures.f_blocks == 0:  # a tmpfs without a limit
        return _UNLIMITED
    room = figures.f_bavail * figures.f_frsize
    try:
        return room + segment.stat().st_blocks * 512
    except OSError:
        return room


def address_space() -> int:
    """Bytes that this process may map: the limit that `ulimit -v` sets."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return _UNLIMITED if limit == resource.RLIM_INFINITY else limit


def max_ids_per_window(segment: Path) -> int:
    """Number of ids per window that fit into half of the memory and half of the free tmpfs.

    If the address space is limited, they also fit into half of it.
    """
    storable = min(memory_limit(), room_for(segment)) // 2 // BYTES_PER_ID
    mappable = (address_space() // 2 - ADDRESSES_OF_A_SEGMENT) // ADDRESSES_PER_ID
    fitting = min(storable, mappable)
    return max(_SMALLEST_TABLE, min(_LARGEST_TABLE, fitting))


def processors(proc: Path = Path("/proc"), mount: Path = Path("/sys/fs/cgroup")) -> int:
    """Number of processors of this process: its affinity, or a control group's lower quota."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        usable = os.cpu_count() or 1
    for directory in _control_groups("cpu", proc, mount):
        quota, _, period = (_read(directory / "cpu.max") or "").partition(" ")
        if not period:  # version 1, where -1 means no limit
            quota = _read(directory / "cpu.cfs_quota_us") or ""
            period = _read(directory / "cpu.cfs_period_us") or ""
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            usable = min(usable, max(1, int(quota) // int(period)))
    return max(1, usable)


def max_connections() -> int:
    """Maximum number of connections per worker; each connection is an open file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MOST_FILES if hard == resource.RLIM_INFINITY else hard
    return max(64, min(_MOST_CONNECTIONS, files - RESERVED_FILES))


def max_streams(connections: int) -> int:
    """Maximum number of event streams per worker: a quarter of the connections that it takes."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY:
        connections = min(connections, files - RESERVED_FILES)
    return max(1, connections // 4)


def raise_open_files() -> int:
    """Raise the limit of open files as far as this process may. Returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return soft
    return wanted
