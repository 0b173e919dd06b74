"""A memory cgroup at its limit: the kernel kills what asks for more."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")


class MemoryLimit:
    """A cgroup for the processes of one host. What they had before stays where it was charged."""

    def __init__(self, name: str, limit: int) -> None:
        root, limits = (_V1, "memory.limit_in_bytes") if _V1.is_dir() else (_V2, "memory.max")
        self._home = root / _own_group(root)
        self._path = root / name
        self._path.mkdir()
        (self._path / limits).write_text(str(limit))

    @classmethod
    def available(cls) -> bool:
        """Whether this user may make one."""
        try:
            one = cls(f"verve-torture-{os.getpid()}-try", 1 << 24)
        except OSError:
            return False
        one.close()
        return True

    def take(self, processes: Iterable[int]) -> None:
        """Move processes into it."""
        _move(processes, self._path)

    def close(self) -> None:
        """Move back what is left, and remove it."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            held = (self._path / "cgroup.procs").read_text().split()
            _move(map(int, held), self._home)
            with contextlib.suppress(OSError):
                self._path.rmdir()
                return
            time.sleep(0.05)


def _move(processes: Iterable[int], group: Path) -> None:
    for process in processes:
        # It may have ended.
        with contextlib.suppress(OSError):
            (group / "cgroup.procs").write_text(str(process))


def _own_group(root: Path) -> str:
    """The cgroup of this program, below `root`."""
    controller = "memory" if root == _V1 else ""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == controller:
            return path.lstrip("/")
    return ""
