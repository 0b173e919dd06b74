"""A real HAProxy in front of a service, with a minimal configuration.

with HAProxy(tmp_path / "haproxy", service.port) as proxy:
    httpx.get(f"http://127.0.0.1:{proxy.port}/livez")
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

import pytest

from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

_CONFIGURATION = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen verve
  bind 127.0.0.1:{port}
  server one 127.0.0.1:{upstream}
"""


class HAProxy:
    """One HAProxy on a free port of the loopback, for as long as the block lasts.

    Without the program the test is skipped; in CI it fails.
    """

    def __init__(self, directory: Path, upstream: int) -> None:
        self.port = free_port()
        self._directory = directory
        self._upstream = upstream

    def __enter__(self) -> Self:
        # Debian has it where only root's PATH leads.
        binary = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
        if binary is None:
            if os.environ.get("CI"):
                pytest.fail("haproxy is missing")
            pytest.skip("haproxy is missing; hint: scripts/setup installs it")
        self._directory.mkdir(parents=True)
        configuration = self._directory / "haproxy.cfg"
        text = _CONFIGURATION.format(port=self.port, upstream=self._upstream)
        configuration.write_text(text, encoding="utf-8")
        self._process = subprocess.Popen([binary, "-db", "-f", configuration])
        atexit.register(self._process.kill)
        end = time.monotonic() + 10
        while not self._answers():
            assert self._process.poll() is None, "haproxy did not start"
            assert time.monotonic() < end, "haproxy does not answer"
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        atexit.unregister(self._process.kill)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True
