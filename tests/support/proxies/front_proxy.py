"""A real proxy in front of a service, with a minimal configuration."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, ClassVar, Self

import pytest

from tests.support.network.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

START_SECONDS = 10.0


class FrontProxy:
    """One proxy on a free port of the loopback, for as long as the block lasts.

    Without the program the test is skipped; in CI it fails.
    """

    program: ClassVar[str]
    arguments: ClassVar[Sequence[str]]
    """Those before the name of the configuration file, with `directory`."""
    configuration: ClassVar[str]
    """A template with `port`, `upstream` and `directory`."""

    def __init__(self, directory: Path, upstream: str | int) -> None:
        """`upstream` is what the configuration names: a URL or a port."""
        self.port = free_port()
        self._directory = directory
        self._upstream = upstream

    @classmethod
    def _binary(cls) -> str:
        # Debian installs them in a directory that only the PATH of root contains.
        binary = shutil.which(cls.program, path=f"{os.environ['PATH']}:/usr/sbin")
        if binary is None:
            if os.environ.get("CI"):
                pytest.fail(f"{cls.program} is missing")
            pytest.skip(f"{cls.program} is missing; hint: scripts/setup installs it")
        return binary

    @classmethod
    def version(cls) -> str:
        """That of the program, such as 1.22.1."""
        told = subprocess.run([cls._binary(), "-v"], capture_output=True, text=True, check=True)
        found = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
        assert found is not None, told
        return found[0]

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True)
        configuration = self._directory / "configuration"
        values = {"directory": self._directory, "port": self.port, "upstream": self._upstream}
        configuration.write_text(self._text(values), encoding="utf-8")
        self._log = self._directory / "output.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [self._binary(), *(one.format(**values) for one in self.arguments), configuration],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        atexit.register(self._process.kill)
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise AssertionError(f"{self.program} does not answer: {self._log.read_text()}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        atexit.unregister(self._process.kill)

    def _text(self, values: Mapping[str, object]) -> str:
        return self.configuration.format(**values)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True
