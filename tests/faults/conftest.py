"""Fixtures of the fault tests."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.support.processes.children import Child
from tests.support.processes.parts import Remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.processes.children import Target
    from tests.support.processes.parts import Opening

_numbers = itertools.count()


class Start(Protocol):
    """Starts a process that ends with the test."""

    def __call__(self, target: Target, *arguments: object) -> Child:
        """The process runs `target(link, *arguments)`."""


@pytest.fixture
def segment() -> Iterator[Path]:
    """A path for a segment in shared memory. Its folder is removed after the test."""
    shared_memory = Path("/dev/shm")  # noqa: S108 - where segments belong
    folder = shared_memory / f"verve-test-library-{os.getpid()}-{next(_numbers)}"
    folder.mkdir(mode=0o700)
    yield folder / "segment"
    shutil.rmtree(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The mount point of a file system of 4 MiB in memory."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    place = tmp_path / "small-disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "verve", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Callable[[Opening], Remote]]:
    """Open counters in other processes. The processes end with the test."""
    remotes: list[Remote] = []

    def begin(opening: Opening) -> Remote:
        remotes.append(Remote(opening, tmp_path / f"remote-{len(remotes)}"))
        return remotes[-1]

    yield begin
    for one in remotes:
        one.close()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes with `start(target, *arguments)`."""
    children: list[Child] = []

    def begin(target: Target, *arguments: object) -> Child:
        children.append(Child(target, *arguments))
        return children[-1]

    yield begin
    for child in children:
        child.close()
