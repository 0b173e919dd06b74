"""nginx and HAProxy with the configurations of `deploy/proxies/`, in front of services of a test.

    with PROXIES["nginx"](tmp_path / "nginx", [one.port, two.port]) as proxy:
        proxy.get("/livez")

Only addresses, paths and the rate limit are replaced, each where it is expected to be.
"""

from __future__ import annotations

import getpass
import ssl
from typing import TYPE_CHECKING, Any, ClassVar

import httpx

from tests.support.network.certificates import certificate
from tests.support.network.ports import free_port
from tests.support.paths import ROOT
from tests.support.proxies.front_proxy import FrontProxy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_SHIPPED = ROOT / "deploy/proxies"


class ShippedProxy(FrontProxy):
    """A proxy with TLS on `port`, and without on `plain_port`."""

    file: ClassVar[str]

    def __init__(self, directory: Path, upstreams: Sequence[int], rate: int | None = None) -> None:
        """`upstreams` are the ports of the two hosts; `rate` replaces the limit per second."""
        super().__init__(directory, "")
        self.plain_port, self.figures_port = free_port(), free_port()
        self.pem = directory / "verve.pem"
        self._upstreams = upstreams
        self._rate = rate

    def url(self, path: str = "") -> str:
        """The address of a path, by TLS."""
        return f"https://127.0.0.1:{self.port}{path}"

    def client(self) -> httpx.Client:
        """A client that trusts the proxy's certificate and keeps its connections."""
        trusted = ssl.create_default_context(cafile=str(self.pem))
        return httpx.Client(verify=trusted, trust_env=False, timeout=30)

    def get(self, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        """GET over a new connection."""
        with self.client() as client:
            return client.get(self.url(path), **options)

    def _text(self, values: Mapping[str, object]) -> str:  # noqa: ARG002 - of templates
        certificate(self._directory, "verve")
        text = (_SHIPPED / self.file).read_text(encoding="utf-8")
        return fill(text, self._replaced())

    def _replaced(self) -> Mapping[str, str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        """Whether requests reach a host that is ready."""
        try:
            return self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


class ShippedNginx(ShippedProxy):
    """`deploy/proxies/nginx.conf`."""

    program = "nginx"
    arguments = ("-g", "daemon off;", "-c")
    file = "nginx.conf"

    def _replaced(self) -> Mapping[str, str]:
        first, second = self._upstreams
        here = self._directory
        (here / "cache").mkdir()
        temporary = "".join(
            f"{name}_temp_path {here}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        rate = {}
        if self._rate is not None:
            rate = {"rate=1000r/s": f"rate={self._rate}r/s", "burst=1000": f"burst={self._rate}"}
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


class ShippedHAProxy(ShippedProxy):
    """`deploy/proxies/haproxy.cfg`."""

    program = "haproxy"
    arguments = ("-db", "-f")
    file = "haproxy.cfg"

    def figure(self, name: str) -> float:
        """The sum of one of its own figures over the hosts."""
        url = f"http://127.0.0.1:{self.figures_port}/metrics"
        lines = httpx.get(url, trust_env=False).text.splitlines()
        found = [line.split()[1] for line in lines if line.startswith(f"{name}{{")]
        assert found, f"HAProxy has no figure `{name}`"
        return sum(map(float, found))

    def _replaced(self) -> Mapping[str, str]:
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


PROXIES: Mapping[str, type[ShippedProxy]] = {"nginx": ShippedNginx, "haproxy": ShippedHAProxy}


def fill(text: str, replaced: Mapping[str, str]) -> str:
    """Replace each old text, which must occur exactly once, by the new one."""
    for old, new in replaced.items():
        assert text.count(old) == 1, f"`{old}` occurs {text.count(old)} times"
        text = text.replace(old, new)
    return text
