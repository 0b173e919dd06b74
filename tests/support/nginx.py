"""A real nginx in front of a service, with a minimal configuration.

with Nginx(tmp_path / "nginx", service.url()) as nginx:
    httpx.get(f"http://127.0.0.1:{nginx.port}/livez")
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

MISSING = "nginx is missing; hint: on Debian and Ubuntu: sudo apt-get install nginx-light"
_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {upstream}; }}
    }}
}}
"""


class NginxError(AssertionError):
    """nginx is missing, or did not start."""


class Nginx:
    """One nginx on a free port of the loopback, for as long as the block lasts."""

    def __init__(self, directory: Path, upstream: str) -> None:
        self.port = free_port()
        self._directory = directory
        self._upstream = upstream

    def __enter__(self) -> Self:
        # Debian installs it in a directory that only the PATH of root contains.
        binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if binary is None:
            raise NginxError(MISSING)
        self._directory.mkdir(parents=True)
        configuration = self._directory / "nginx.conf"
        values = {"directory": self._directory, "port": self.port, "upstream": self._upstream}
        configuration.write_text(_CONFIGURATION.format(**values), encoding="utf-8")
        self._process = subprocess.Popen(
            [binary, "-p", str(self._directory), "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        atexit.register(self._process.kill)
        end = time.monotonic() + 10
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise NginxError(f"nginx does not answer: {self._end()}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> str:
        self._process.terminate()
        _, complaint = self._process.communicate(timeout=10)
        atexit.unregister(self._process.kill)
        return complaint.decode(errors="replace")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True
