"""Wall clocks that a test sets, for the processes of a service only.

A small library, preloaded into them, shifts what they read. The time since boot is that of the
machine, and so are the times of files.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

from tests.support.paths import NATIVE

if TYPE_CHECKING:
    from pathlib import Path


def available() -> bool:
    """Whether there is a C compiler, which builds the library."""
    return shutil.which("cc") is not None


def build(directory: Path) -> Path:
    """Build the library."""
    library, source = directory / "clock_shift.so", NATIVE / "clock_shift.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return library


class WallClock:
    """The wall clock of the processes that are started with `environment`."""

    def __init__(self, directory: Path) -> None:
        """`directory` is for the library and the file with the shift."""
        directory.mkdir(parents=True, exist_ok=True)
        self._file = directory / "clock-shift"
        self._file.write_bytes(bytes(8))
        self.environment = {
            "LD_PRELOAD": str(build(directory)),
            "VERVE_TEST_SHIFT_FILE": str(self._file),
        }

    def set(self, seconds: float) -> None:
        """Set it to so many seconds after the machine's, at once and in all processes."""
        # Not made anew: the processes have it mapped.
        with self._file.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", int(seconds * 1e9)))
