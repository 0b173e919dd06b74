"""A receiver of callbacks that counts them: `rust/callbacks/examples/storm.rs`."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Self

from bench.harness import build, machine

if TYPE_CHECKING:
    from collections.abc import Sequence


class Receiver:
    """A receiver that runs inside a `with` block; after it, `received` is the number of posts."""

    def __init__(self, cores: Sequence[int]) -> None:
        self._cores = cores
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.received = 0

    @property
    def url(self) -> str:
        """The URL of the receiver; the last part of its path is a number."""
        return f"http://127.0.0.1:{self.port}/hook/0"

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        command = machine.pinned(self._cores, [str(build.program(build.STORM)), "receive"])
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.port = int(self._process.stdout.readline()) if self._process.stdout else 0
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            # The program ends with its input, and then prints the number of posts.
            self.received = int(self._process.communicate()[0] or 0)
