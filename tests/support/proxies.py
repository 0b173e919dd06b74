"""nginx and HAProxy with the configurations of `deploy/proxies/`, in front of services of a test.

    with ShippedProxy("nginx", tmp_path, [one.port, two.port]) as proxy:
        proxy.client().get(proxy.url("/livez"))

Only addresses, paths and the rate limit are replaced, each where it is expected to be.
"""

from __future__ import annotations

import atexit
import getpass
import os
import shutil
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

from tests.support.certificates import certificate
from tests.support.paths import ROOT
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

START_SECONDS = 20.0
PROXIES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}


class ShippedProxy:
    """One proxy on free ports of the loopback, for as long as the block lasts.

    Without the program the test is skipped; in CI it fails.
    """

    def __init__(
        self, kind: str, directory: Path, upstreams: Sequence[int], rate: int | None = None
    ) -> None:
        """`upstreams` are the ports of the two hosts; `rate` replaces the limit per second."""
        self.kind = kind
        self.plain_port, self.port, self.figures_port = free_port(), free_port(), free_port()
        self._directory = directory / kind
        self._upstreams = upstreams
        self._rate = rate

    def __enter__(self) -> Self:
        binary = program(self.kind)
        self._directory.mkdir(parents=True)
        (self._directory / "cache").mkdir()
        self.pem = certificate(self._directory, "verve")
        self.tls = ssl.create_default_context(cafile=str(self.pem))
        configuration = self._directory / PROXIES[self.kind]
        text = (ROOT / "deploy/proxies" / PROXIES[self.kind]).read_text(encoding="utf-8")
        replaced = self._nginx() if self.kind == "nginx" else self._haproxy()
        configuration.write_text(fill(text, replaced), encoding="utf-8")
        command: list[str | Path] = [binary, "-db", "-f", configuration]
        if self.kind == "nginx":
            command = [binary, "-c", configuration, "-g", "daemon off;"]
        self._log = self._directory / "output.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        atexit.register(self._process.kill)
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # nginx ends its workers itself, and keeps no connection open at SIGTERM.
        self._process.terminate()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            atexit.unregister(self._process.kill)

    def url(self, path: str = "") -> str:
        """The address of a path, by TLS."""
        return f"https://127.0.0.1:{self.port}{path}"

    def client(self, **options: Any) -> httpx.Client:  # noqa: ANN401 - httpx's own
        """A client that trusts the proxy's certificate and keeps its connections."""
        return httpx.Client(verify=self.tls, trust_env=False, timeout=30, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401
        """GET over a new connection."""
        with self.client() as client:
            return client.get(self.url(path), **options)

    def figure(self, name: str) -> float:
        """The sum of a figure of HAProxy over the hosts."""
        url = f"http://127.0.0.1:{self.figures_port}/metrics"
        lines = httpx.get(url, trust_env=False).text.splitlines()
        found = [line.split()[1] for line in lines if line.startswith(f"{name}{{")]
        assert found, f"HAProxy has no figure `{name}`"
        return sum(map(float, found))

    def output(self) -> str:
        """What the proxy wrote."""
        return self._log.read_text(errors="replace")

    def _wait(self) -> None:
        """Wait until both hosts answer through the proxy, by the proxy's own checks."""
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, f"{self.kind} did not start: {self.output()}"
            assert time.monotonic() < end, f"{self.kind} does not answer: {self.output()}"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _haproxy(self) -> Mapping[str, str]:
        first, second = self._upstreams
        rate = {}
        if self._rate is not None:
            rate = {"sc0_gpc0_rate gt 1000": f"sc0_gpc0_rate gt {self._rate}"}
        return {
            "bind :80\n": f"bind 127.0.0.1:{self.plain_port}\n",
            "bind :443 ": f"bind 127.0.0.1:{self.port} ",
            "bind 127.0.0.1:8404": f"bind 127.0.0.1:{self.figures_port}",
            "/etc/haproxy/tls/verve.pem": str(self.pem),
            "server verve-1 verve-1:8000": f"server verve-1 127.0.0.1:{first}",
            "server verve-2 verve-2:8000": f"server verve-2 127.0.0.1:{second}",
            **rate,
        }

    def _nginx(self) -> Mapping[str, str]:
        first, second = self._upstreams
        here = self._directory
        rate = {}
        if self._rate is not None:
            rate = {"rate=1000r/s": f"rate={self._rate}r/s", "burst=1000": f"burst={self._rate}"}
        temporary = "".join(
            f"{name}_temp_path {here}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return {
            "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            "listen 443 ": f"listen 127.0.0.1:{self.port} ",
            "/etc/nginx/tls/verve.crt": str(self.pem),
            "/etc/nginx/tls/verve.key": str(self.pem),
            "/var/cache/nginx/": f"{here}/cache/",
            "/run/nginx.pid": f"{here}/pid",
            # The directories of a test belong to the user that runs it.
            "worker_processes auto;": f"user {getpass.getuser()};\nworker_processes 2;",
            "    access_log off;\n": f"    access_log off;\n{temporary}",
            "server verve-1:8000 max_fails": f"server 127.0.0.1:{first} max_fails",
            "server verve-1:8000 backup": f"server 127.0.0.1:{first} backup",
            "server verve-2:8000 max_fails": f"server 127.0.0.1:{second} max_fails",
            "server verve-2:8000 backup": f"server 127.0.0.1:{second} backup",
            **rate,
        }


def fill(text: str, replaced: Mapping[str, str]) -> str:
    """Replace each old text, which must occur exactly once, by the new one."""
    for old, new in replaced.items():
        assert text.count(old) == 1, f"`{old}` occurs {text.count(old)} times"
        text = text.replace(old, new)
    return text


def program(name: str) -> str:
    """The path of `nginx` or `haproxy`; without it the test is skipped, in CI it fails."""
    # Debian installs them in a directory that only the PATH of root contains.
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is not None:
        return found
    missing = f"{name} is missing; hint: scripts/setup installs it"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)
