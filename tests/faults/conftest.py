"""Fixtures of the fault tests."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.faults.children import Child

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.children import Target

_numbers = itertools.count()


class Start(Protocol):
    """Starts a process that ends with the test."""

    def __call__(self, target: Target, *arguments: object) -> Child:
        """The process runs `target(link, *arguments)`."""


@pytest.fixture
def segment() -> Iterator[Path]:
    """A path for a segment, in shared memory, gone after the test with all that lies beside it."""
    shared_memory = Path("/dev/shm")  # noqa: S108 - where segments belong
    folder = shared_memory / f"verve-test-library-{os.getpid()}-{next(_numbers)}"
    folder.mkdir(mode=0o700)
    yield folder / "segment"
    shutil.rmtree(folder)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes by `start(target, *arguments)`."""
    children: list[Child] = []

    def begin(target: Target, *arguments: object) -> Child:
        children.append(Child(target, *arguments))
        return children[-1]

    yield begin
    for child in children:
        child.close()
