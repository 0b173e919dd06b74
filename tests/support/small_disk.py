"""A small disk that a test can fill: a tmpfs in a mount namespace of its own.

A holder process has the namespace; services enter it by `command`, and the test sees the disk
through `/proc`. It is gone with the holder, whatever becomes of the test.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOLD = 'mount -t tmpfs -o size="$1",mode=700 test "$0" && echo mounted && exec cat'


class SmallDisk:
    """A disk of `size` bytes, mounted at `path` for those who are started with `command`."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        path.mkdir()
        as_root = os.geteuid() == 0
        if not shutil.which("unshare") or not shutil.which("nsenter"):
            pytest.skip("util-linux is missing: `unshare`, `nsenter`")
        namespaces = ["--mount"] if as_root else ["--mount", "--map-root-user"]
        self._holder = subprocess.Popen(
            ["unshare", *namespaces, "sh", "-c", _HOLD, path, str(size)],
            # Never written to: it ends with the test, and the holder with it.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"mounted\n":
            self.close()
            pytest.skip("this user may not mount a tmpfs, not even in a namespace of its own")
        target = ["nsenter", "--target", str(self._holder.pid), "--mount"]
        self.command = target if as_root else [*target, "--user", "--preserve-credentials"]
        self.seen = Path(f"/proc/{self._holder.pid}/root{path}")
        """Its path from outside."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmount it."""
        self._holder.kill()
        self._holder.communicate()

    def run(self, *command: str | Path) -> str:
        """What a command prints that sees the disk at `path`."""
        return subprocess.run(
            [*self.command, *command], check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    @contextlib.contextmanager
    def filled(self) -> Iterator[None]:
        """Leave no room on it."""
        ballast = self.seen / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        try:
            yield
        finally:
            ballast.unlink()
