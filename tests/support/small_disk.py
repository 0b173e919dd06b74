"""A small disk that a test can fill: a tmpfs in its own mount namespace.

A holder process keeps the namespace. Services enter it by `command`, and the test reads the disk
through `/proc`. The disk disappears with the holder, however the test ends.
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
    """A disk of `size` bytes, mounted at `path` for the processes started with `command`."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        path.mkdir()
        as_root = os.geteuid() == 0
        if not shutil.which("unshare") or not shutil.which("nsenter"):
            pytest.skip("util-linux is missing: `unshare`, `nsenter`")
        namespaces = ["--mount"] if as_root else ["--mount", "--map-root-user"]
        self._holder = subprocess.Popen(
            ["unshare", *namespaces, "sh", "-c", _HOLD, path, str(size)],
            # Never written to: it closes when the test process ends, and so ends the holder.
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
        """The path of the disk outside the namespace."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmount it."""
        self._holder.kill()
        self._holder.communicate()

    def run(self, *command: str | Path) -> str:
        """The output of a command that runs in the namespace, with the disk at `path`."""
        return subprocess.run(
            [*self.command, *command], check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    @contextlib.contextmanager
    def filled(self) -> Iterator[None]:
        """Fill the disk for as long as the block lasts."""
        ballast = self.seen / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        try:
            yield
        finally:
            ballast.unlink()
