"""HAProxy in front of the hosts: it asks each whether it is ready, and names it in each answer."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Self

from tests.support.network.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CONFIGURATION = """\
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 20s
  retries 2
  option redispatch
listen verve
  bind 127.0.0.1:{port}
  balance roundrobin
  option httpchk GET /readyz
  http-response set-header x-host %s
{servers}
"""


class Proxy:
    """One process, started and stopped any number of times on the same port."""

    def __init__(self, directory: Path, hosts: Mapping[str, int]) -> None:
        self.port = free_port()
        directory.mkdir(parents=True)
        self._directory = directory
        servers = "\n".join(
            f"  server {name} 127.0.0.1:{port} check inter 500ms fall 2 rise 1"
            for name, port in hosts.items()
        )
        text = _CONFIGURATION.format(port=self.port, servers=servers)
        self._file = directory / "haproxy.cfg"
        self._file.write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def program() -> str | None:
        """Its path. Debian installs it in a directory that only the PATH of root contains."""
        return shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")

    def start(self) -> Self:
        """Start it, without waiting for the hosts."""
        program = self.program()
        assert program is not None
        with (self._directory / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [program, "-db", "-f", self._file],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        atexit.register(self.kill)
        return self

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        atexit.unregister(self.kill)

    def pause(self) -> None:
        """Stop it: connections stay, nothing is handed on."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it continue."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
