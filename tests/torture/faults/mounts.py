"""Small disks that can be filled: a tmpfs per directory, in a mount namespace of the program's own.

The program starts itself again in such a namespace, so that all that it starts sees the disks, and
they are gone with it, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MARK = "TORTURE_NAMESPACE"


def enter_namespace(arguments: Sequence[str]) -> None:
    """Start `python -m tests.torture` again in a mount namespace of its own, if that is possible.

    A caller whose user may not have one stays where it is; `available` says so.
    """
    if os.environ.get(_MARK):
        return
    kind = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
    mark = "no"
    command: list[str] = []
    if (unshare := shutil.which("unshare")) is not None:
        tried = subprocess.run([unshare, *kind, "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            command, mark = [unshare, *kind], "yes"
    command += [sys.executable, "-m", "tests.torture", *arguments]
    os.execve(command[0], command, {**os.environ, _MARK: mark})  # noqa: S606


def available() -> bool:
    """Whether this program may mount disks."""
    return os.environ.get(_MARK) == "yes"


class Disk:
    """A tmpfs of `size` bytes at `path`."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        path.mkdir(parents=True)
        options = f"size={size},mode=700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "torture", path], check=True)

    def fill(self) -> None:
        """Leave no room."""
        ballast = self.path / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            # First by large pieces, then the rest.
            for piece in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while file.write(bytes(piece)) == piece:
                        pass

    def clear(self) -> None:
        """Give the room back."""
        (self.path / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it, as soon as nothing uses it."""
        subprocess.run(["umount", "--lazy", self.path], check=False)
